//! Mail that a POP3 client deleted and that is kept for a while, because a rule of the operator says so.
//!
//! It is moved into a folder of the same account, which POP3 does not show and IMAP does, and goes when its time is over. What must hold:
//!
//! - QUIT is answered +OK when the move is durable. After a crash each message is in INBOX or in the folder, and in none twice.
//! - Only what was put there by a rule is ever removed: it has the keyword `KEPT_MARK`. A folder of that name with other mail in it loses none of
//!   that, and what a person takes out loses the mark by it, and stays when it is put back.
//! - An account for which no rule is in force any more keeps what it has: a rule that went by mistake costs no mail.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use mail::{Address, Keyword, Uid, spelling};
use mailbox::{AccountId, KEPT_MARK, MailboxFault, MailboxId, Mailboxes, Message};

use crate::junk::INBOX;

/// What is kept and how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The folder's name.
    pub folder: String,
    /// For every account that no other rule is about; 0: nothing is kept.
    pub days: u32,
    pub accounts: Vec<Rule>,
    pub domains: Vec<Rule>,
}

/// For one account or one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// An address as `Address::key` writes it, or a domain in lower case.
    pub of: String,
    /// 0: nothing is kept, whatever other rules say.
    pub days: u32,
}

/// What went since start. Any thread may read it.
#[derive(Debug, Default)]
pub struct Counters {
    pub expired: AtomicU64,
}

impl Rules {
    /// How long mail of the account is kept: its own rule comes before that of its domain, and that before the one for all. 0: not at all.
    pub fn days(&self, account: &Address) -> u32 {
        // In any spelling by which the directory finds it.
        let find = |rules: &[Rule], names: &[String]| {
            let found = rules.iter().find(|rule| names.contains(&rule.of));
            found.map(|rule| rule.days)
        };
        let own = find(&self.accounts, &spelling::keys(account));
        let of_domain = || find(&self.domains, &spelling::domains(account.domain()));
        own.or_else(of_domain).unwrap_or(self.days)
    }

    /// Some account has a rule.
    pub fn keep_some(&self) -> bool {
        let mut rules = self.accounts.iter().chain(&self.domains);
        self.days > 0 || rules.any(|rule| rule.days > 0)
    }
}

/// The time by which mail goes. A clock that jumps would make days of mail old at once, and what was removed does not come back when it is put right.
pub struct Clock {
    /// Believed when `up_s` was read.
    now_s: u64,
    up_s: u64,
    /// Since when the clock is ahead.
    ahead_since: Option<u64>,
}

impl Clock {
    /// `now_s` since 1970 by the clock; `up_s` counts on, whatever the clock does.
    pub fn new(now_s: u64, up_s: u64) -> Clock {
        Clock {
            now_s,
            up_s,
            ahead_since: None,
        }
    }

    /// What the clock says. If it went ahead of the time that passed, only after that has stood for a day; until then what passed counts.
    pub fn believed(&mut self, now_s: u64, up_s: u64) -> u64 {
        let passed = self.now_s + up_s.saturating_sub(self.up_s);
        if now_s > passed + JUMP_S {
            let since = *self.ahead_since.get_or_insert(up_s);
            if up_s.saturating_sub(since) < DAY_S {
                return passed;
            }
        }
        *self = Clock::new(now_s, up_s);
        now_s
    }
}

/// Moves what a client deleted from INBOX into the folder, which is made where it is missing. Answers how many were there to move; `None`: INBOX
/// is another mailbox by now.
pub async fn keep(
    mailboxes: &Mailboxes,
    account: AccountId,
    inbox: MailboxId,
    uids: &[Uid],
    folder: &str,
) -> Result<Option<usize>, MailboxFault> {
    // RFC 9051 §6.3.6: an INBOX that was renamed meanwhile is another mailbox now, and its messages are to be kept.
    if mailboxes.find(account, INBOX).await? != inbox {
        return Ok(None);
    }
    let to = match mailboxes.find(account, folder).await {
        Err(MailboxFault::NoMailbox) => {
            match mailboxes.create(account, folder, None).await {
                Ok(_) | Err(MailboxFault::Exists) => {}
                Err(fault) => return Err(fault),
            }
            mailboxes.find(account, folder).await?
        }
        found => found?,
    };
    // Mark and move are one step, so that nothing in INBOX has a mark, and what a person moves there later is not taken for the rule's.
    let moved = mailboxes.move_marked(inbox, uids, to).await?;
    match moved.fault {
        None => Ok(Some(moved.pairs.len())),
        Some(fault) => Err(fault),
    }
}

/// Removes what is kept long enough from the folders of the next `ACCOUNTS_AT_ONCE` accounts behind `after`. Answers the last one; `None`: it was the
/// last of all.
pub async fn expire(
    mailboxes: &Mailboxes,
    rules: &Rules,
    after: Option<&str>,
    now_s: u64,
    counters: &Arc<Counters>,
) -> Result<Option<String>, MailboxFault> {
    let accounts = mailboxes.directory().accounts(after, ACCOUNTS_AT_ONCE);
    let accounts = accounts.await?;
    for account in &accounts {
        let days = rules.days(&account.address);
        if days == 0 {
            continue;
        }
        let before = now_s.saturating_sub(u64::from(days) * DAY_S);
        // One account that cannot be read does not keep the mail of all others.
        if let Err(fault) = expire_of(mailboxes, account.id, rules, before, counters).await {
            tracing::debug!(account = account.id.0, %fault, "what POP3 deleted stays longer than it should");
        }
    }
    let is_last = accounts.len() < ACCOUNTS_AT_ONCE;
    let last = accounts.into_iter().next_back();
    Ok(last.filter(|_| !is_last).map(|last| last.address.key()))
}

async fn expire_of(
    mailboxes: &Mailboxes,
    account: AccountId,
    rules: &Rules,
    before_s: u64,
    counters: &Counters,
) -> Result<(), MailboxFault> {
    let folder = match mailboxes.find(account, &rules.folder).await {
        Ok(folder) => folder,
        Err(MailboxFault::NoMailbox) => return Ok(()),
        Err(fault) => return Err(fault),
    };
    let messages = mailboxes.view(folder).await?.messages;
    let mark = Keyword::parse(KEPT_MARK);
    // When it was moved there, whatever its own date is. Without that moment it stays.
    let is_over = |message: &&Message| {
        let is_marked = mark.iter().any(|word| message.flags.has_keyword(word));
        // A clock that was set back said when it was moved, if it arrived later than that.
        let arrived = message
            .internal_date
            .unix_seconds
            .saturating_sub(DAY_S as i64);
        let saved_s = u64::from(message.saved_s);
        let is_known = saved_s > 0 && saved_s as i64 > arrived;
        is_marked && is_known && saved_s < before_s
    };
    let over: Vec<Uid> = messages
        .iter()
        .filter(is_over)
        .map(|message| message.uid)
        .collect();
    drop(messages);
    for uids in over.chunks(REMOVED_AT_ONCE) {
        let gone = mailboxes.remove(folder, uids).await?;
        counters.expired.fetch_add(gone.len() as u64, Relaxed);
    }
    Ok(())
}

/// Accounts that are looked through in one go, and messages that one commit takes out: mail goes on between.
pub const ACCOUNTS_AT_ONCE: usize = 64;
const REMOVED_AT_ONCE: usize = 256;
const DAY_S: u64 = 86_400;
/// Time servers put a clock right by less, between two looks.
const JUMP_S: u64 = 900;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(path: &str) -> Address {
        Address::from_path(path).expect("an address")
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_believed_when_it_has_stood_for_a_day() {
        let mut clock = Clock::new(1_000_000, 50);
        assert_eq!(clock.believed(1_003_600, 3_650), 1_003_600);
        let year = 365 * DAY_S;
        assert_eq!(clock.believed(1_007_200 + year, 7_250), 1_007_200);
        let later = DAY_S - 1;
        let passed = 1_007_200 + later;
        assert_eq!(clock.believed(passed + year, 7_250 + later), passed);
        // Put right in time, and ahead once more: the day begins again.
        assert_eq!(clock.believed(passed + 9, 7_259 + later), passed + 9);
        let (now, up) = (passed + 9, 7_259 + later);
        assert_eq!(clock.believed(now + year, up + 1), now + 1);
        let stood = clock.believed(now + year + DAY_S, up + 1 + DAY_S);
        assert_eq!(stood, now + year + DAY_S);
        assert_eq!(clock.believed(1_000_000, up + 2 + DAY_S), 1_000_000, "back");
    }

    #[test]
    fn the_nearest_rule_counts() {
        let rule = |of: &str, days| Rule {
            of: of.to_owned(),
            days,
        };
        let rules = Rules {
            folder: "Kept".to_owned(),
            days: 30,
            accounts: vec![rule("ann@example.org", 0)],
            domains: vec![rule("example.org", 90)],
        };
        assert_eq!(rules.days(&address("Ann@Example.org")), 0);
        assert_eq!(rules.days(&address("bob@EXAMPLE.org")), 90);
        assert_eq!(rules.days(&address("carl@example.net")), 30);
        assert!(rules.keep_some() && !Rules::default().keep_some());
        // As the directory finds an account by either.
        let written = Rules {
            accounts: vec![rule("eve@xn--bcher-kva.example", 5)],
            domains: vec![rule("bücher.example", 7)],
            ..Rules::default()
        };
        assert_eq!(written.days(&address("eve@bücher.example")), 5);
        assert_eq!(written.days(&address("ann@xn--bcher-kva.example")), 7);
    }
}
