//! What senders and owners of mailboxes were answered; it survives crashes.

use std::collections::{BTreeMap, BTreeSet};

use mailbox::AccountId;

/// Each account's owner sends as well.
pub const ACCOUNTS: usize = 3;

/// One account's messages, by number.
#[derive(Default)]
pub struct Known {
    /// Answered `Ok` and not expunged.
    pub accepted: BTreeSet<u64>,
    /// Sent, and refused or not answered: they may come once.
    pub open: BTreeSet<u64>,
    /// Expunged: they never come back.
    pub gone: BTreeSet<u64>,
    /// To be expunged, and not answered.
    pub expunging: BTreeSet<u64>,
}

#[derive(Default)]
pub struct Model {
    pub known: [Known; ACCOUNTS],
    pub accounts: Vec<AccountId>,
    pub accepted: u64,
    next: BTreeMap<usize, u64>,
}

impl Model {
    /// The number of a sender's next message.
    pub fn next(&mut self, sender: usize) -> u64 {
        let next = self.next.entry(sender).or_insert(0);
        *next += 1;
        *next * ACCOUNTS as u64 + sender as u64
    }

    pub fn answered(&mut self, account: usize, number: u64, is_ok: bool) {
        let known = &mut self.known[account];
        if is_ok {
            known.open.remove(&number);
            // Read and expunged before its sender had the answer.
            if !known.gone.contains(&number) {
                known.accepted.insert(number);
            }
        }
    }

    /// What an INBOX has, in order, and what waits in the spool for its account.
    pub fn check(
        &mut self,
        account: usize,
        inbox: &[u64],
        spooled: &BTreeSet<u64>,
    ) -> Result<(), String> {
        let known = &mut self.known[account];
        let there: BTreeSet<u64> = inbox.iter().copied().collect();
        if there.len() < inbox.len() {
            return Err(format!("a message is twice in INBOX {account}: {inbox:?}"));
        }
        for number in std::mem::take(&mut known.expunging) {
            if !there.contains(&number) {
                known.expunged(number);
            }
        }
        if let Some(number) = there.intersection(&known.gone).next() {
            return Err(format!("message {number} came back to INBOX {account}"));
        }
        let missing = known.accepted.iter();
        let mut missing =
            missing.filter(|number| !there.contains(number) && !spooled.contains(number));
        if let Some(number) = missing.next() {
            return Err(format!("message {number} for account {account} is lost"));
        }
        let is_known =
            |number: &&u64| known.accepted.contains(number) || known.open.contains(number);
        if let Some(number) = inbox.iter().find(|number| !is_known(number)) {
            return Err(format!(
                "message {number} in INBOX {account} was never sent"
            ));
        }
        for sender in 0..ACCOUNTS as u64 {
            let of_sender = inbox
                .iter()
                .filter(|number| *number % ACCOUNTS as u64 == sender);
            let accepted: Vec<u64> = of_sender
                .filter(|number| known.accepted.contains(number))
                .copied()
                .collect();
            if !accepted.is_sorted() {
                return Err(format!("INBOX {account} is out of order: {accepted:?}"));
            }
        }
        Ok(())
    }
}

impl Known {
    pub fn expunged(&mut self, number: u64) {
        self.accepted.remove(&number);
        self.open.remove(&number);
        self.gone.insert(number);
    }
}
