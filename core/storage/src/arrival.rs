//! Mail that arrives: whose address it is, and where a message is first placed.
//!
//! `inbound` asks both through the owner's lane. It gets an account's number and what is left of its quota; the account's row, with its
//! password hash, stays on this thread. Which mailbox of an account a message goes to is decided here.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mail::{Address, InternalDate};
use mailbox::{AccountId, Delivery, MailboxFault, Mailboxes};
use queue::{Addressee, Terms};
use store::BodyIn;

use crate::addresses::{self, Meaning};
use crate::{junk, reserved};

pub use crate::filter::deliver::Refusing;

/// What a look-up found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Account(Resident),
    /// No mailbox of its own: it leads to others, if `addresses::admit` lets the sender.
    Listed,
    /// Our domain, no such mailbox.
    NoMailbox,
    /// Not our domain.
    NotOurs,
}

/// An account as senders may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    pub account: AccountId,
    /// Left of the quota when looked up, in bytes; `None`: no quota.
    pub left_bytes: Option<u64>,
}

impl Resident {
    /// A message of `bytes` (0: unknown) may come. The store decides again when it comes.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.left_bytes.is_none_or(|left| left > 0 && bytes <= left)
    }
}

/// An answer about an address, and how long it is good.
pub struct Looked {
    pub found: Result<Found, MailboxFault>,
    /// The answer stands while `generation` is still `at`.
    pub generation: Arc<AtomicU64>,
    pub at: u64,
}

/// A message for accounts of this box.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub body: BodyIn,
    pub internal_date: InternalDate,
    /// Without duplicates.
    pub accounts: Vec<AccountId>,
    /// Those of them for which it looks like junk.
    pub junk: Vec<AccountId>,
    pub posted: Posted,
}

/// Who sent a message and to whom, as far as scripts ask.
#[derive(Debug, Clone, Default)]
pub struct Posted {
    /// The reverse-path without brackets; empty: the null one.
    pub from: String,
    /// For each account the recipient that it stands for. Without one it is the account's own address.
    pub to: Vec<Addressee>,
    /// On what terms, for what waits in the queue.
    pub terms: Terms,
    pub refusing: Refusing,
}

/// The account of `address`. A fault is an answer too: `Looked::found`.
pub async fn look_up(mailboxes: &Mailboxes, address: &Address) -> Looked {
    let generation = mailboxes.directory_generation();
    // Read first: a change during the look-up makes the answer old, not the other way round.
    let at = generation.load(Ordering::Acquire);
    if reserved::is_reserved(address.domain()) {
        return Looked {
            found: Ok(Found::NotOurs),
            generation,
            at,
        };
    }
    let found = match addresses::meaning(mailboxes, address).await {
        Ok(Meaning::Account(..)) => resident(mailboxes, address).await,
        Ok(Meaning::NoMailbox) => Ok(Found::NoMailbox),
        Ok(Meaning::NotOurs) => Ok(Found::NotOurs),
        Ok(_) => Ok(Found::Listed),
        Err(fault) => Err(fault),
    };
    Looked {
        found,
        generation,
        at,
    }
}

/// The account of an address that has one, with what is left of its quota.
async fn resident(mailboxes: &Mailboxes, address: &Address) -> Result<Found, MailboxFault> {
    let Some(account) = mailboxes.account(address).await? else {
        return Ok(Found::NoMailbox);
    };
    let left = account.quota_bytes.saturating_sub(account.used_bytes);
    Ok(Found::Account(Resident {
        account: account.id,
        left_bytes: (account.quota_bytes > 0).then_some(left),
    }))
}

/// Places the message in the INBOX of each account, or in its folder for junk; one result for each, `Ok` when it is durable. Where there is a queue,
/// `Outgoing::deliver` runs scripts too.
pub async fn deliver(mailboxes: &Mailboxes, arrival: Arrival) -> Vec<Result<(), MailboxFault>> {
    let mut recipients = Vec::with_capacity(arrival.accounts.len());
    for account in arrival.accounts {
        let is_junk = arrival.junk.contains(&account);
        recipients.push(junk::place(mailboxes, account, is_junk).await);
    }
    let delivery = Delivery {
        body: arrival.body,
        internal_date: arrival.internal_date,
        recipients,
    };
    let placed = mailboxes.deliver(delivery).await;
    placed.into_iter().map(|result| result.map(drop)).collect()
}
