//! Scripts at first delivery: what an account's Sieve scripts say about a message becomes a plan, and a plan becomes one durable step.
//!
//! The interpreter (`sieve`) has no effect. Here its questions are answered (`answers.rs`), scripts are compiled (`compiled.rs`) and run (`run.rs`),
//! what they want becomes copies, letters and keys (`plan.rs`, `letters.rs`), and the plans of one message are made durable together (`group.rs`).
//! `deliver.rs` does so for all recipients of a message; `outgoing` has the ways that a message comes in. `event.rs` is about messages that are in a
//! mailbox already.
//!
//! What must hold:
//! - One account's share of a message is whole or not there: copies, letters and remembered keys are parts of one group of the log.
//! - What is remembered is asked again under a lock of the account that is held until the group has an outcome: two messages that come together get
//!   one vacation reply.
//! - The owner's thread runs a script for `QUICK_STEPS` at most. What needs more, and every compilation, is done on a thread for large work.
//! - A script never loses a message: what fails is kept in INBOX; what cannot be looked up defers the message.
//! - Memory is bounded: `CACHE_BYTES_MAX` of compiled scripts, `MADE_BYTES_MAX` of messages that scripts made, `AWAY_MAX` runs elsewhere.

mod answers;
mod cache;
mod compiled;
pub(crate) mod deliver;
mod event;
pub(crate) mod group;
mod happened;
mod letters;
mod plan;
mod run;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ::scripts::{Owner, ScriptFault, Scripts, Version};
use mail::Address;
use mailbox::{AccountId, MailboxFault, Mailboxes};
use runtime::SessionHost;
use sieve::{Key, Location, Wanted};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use cache::Cache;

pub use cache::CACHE_BYTES_MAX;
pub use event::{COMMON_NAME, Event, SCRIPT_ENTRY};
pub use happened::Cause;
pub(crate) use letters::Letter;
pub use letters::MADE_BYTES_MAX;
pub(crate) use plan::Plan;

/// An active script, or one that is included, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub owner: Owner,
    pub version: Version,
}

/// What scripts did since start. Any thread may read them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages that scripts ran for, one for each account.
    pub runs: AtomicU64,
    /// Of them, runs that were too long for the owner's thread.
    pub away: AtomicU64,
    /// Runs that failed: the message is in INBOX.
    pub failures: AtomicU64,
    pub filed: AtomicU64,
    pub discarded: AtomicU64,
    pub redirected: AtomicU64,
    /// Redirects that were not performed, since the message had been there before.
    pub loops: AtomicU64,
    pub rejected: AtomicU64,
    pub replies: AtomicU64,
    pub notifications: AtomicU64,
    /// Scripts compiled.
    pub compiled: AtomicU64,
    /// Bytes of compiled scripts in memory now.
    pub cache_bytes: AtomicU64,
}

/// Runs scripts beside the mailboxes; on the owner's thread. Clones share one state.
#[derive(Clone)]
pub struct Filter {
    inner: Rc<Inner>,
}

struct Inner {
    scripts: Scripts,
    host: SessionHost,
    /// Of this box, in ids of messages that it writes.
    name: String,
    counters: Arc<Counters>,
    cache: RefCell<Cache>,
    /// Turns on the threads for large work.
    away: Semaphore,
    /// Bytes of messages that scripts made and that are not in the log yet.
    made: Arc<Semaphore>,
    /// One for each account of which something is about to be remembered.
    locks: RefCell<HashMap<AccountId, Arc<Mutex<()>>>>,
    /// What scripts sent because of what clients did.
    sent: RefCell<event::Sent>,
}

/// A message on its way in, before its recipients are looked at.
pub(crate) struct Message<'m> {
    pub body: &'m store::BodyIn,
    /// The reverse-path without brackets; empty: the null one.
    pub from: &'m str,
    /// Its sender asked for SMTPUTF8.
    pub is_utf8: bool,
}

/// One recipient of it with an account here.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    pub account: AccountId,
    /// The address that it was sent to; `None`: the account's own.
    pub to: Option<Address>,
    pub is_junk: bool,
    /// It is in a mailbox already; `None`: it is being delivered.
    pub event: Option<Arc<happened::Happened>>,
}

impl Filter {
    /// `name`: the name of this box.
    pub fn new(
        scripts: Scripts,
        host: SessionHost,
        name: String,
        counters: Arc<Counters>,
    ) -> Filter {
        Filter {
            inner: Rc::new(Inner {
                cache: RefCell::new(Cache::new(CACHE_BYTES_MAX)),
                away: Semaphore::new(AWAY_MAX),
                made: Arc::new(Semaphore::new(MADE_BYTES_MAX / letters::MADE_UNIT_BYTES)),
                locks: RefCell::default(),
                sent: RefCell::default(),
                scripts,
                host,
                name,
                counters,
            }),
        }
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.inner.counters
    }

    fn now(&self) -> u64 {
        self.inner.host.unix_seconds().max(0) as u64
    }

    /// The active scripts for mail of an account of `domain`: of the box, of the domain, of the person.
    fn active(&self, mailboxes: &Mailboxes, account: AccountId, domain: &str) -> Vec<Head> {
        let of_domain = crate::scripts::domain(mailboxes, domain);
        let owners = [Some(Owner::Box), of_domain, Some(Owner::Account(account.0))];
        let heads = owners.into_iter().flatten().filter_map(|owner| {
            let version = self.inner.scripts.active_version(&owner)?;
            Some(Head { owner, version })
        });
        heads.collect()
    }

    /// A script that one of the account includes. A person includes scripts of their own, and those of the box.
    fn named(&self, account: AccountId, wanted: &Wanted) -> Option<Head> {
        let owner = match wanted.location {
            Location::Personal => Owner::Account(account.0),
            Location::Global => Owner::Box,
        };
        let version = self.inner.scripts.named_version(&owner, &wanted.name)?;
        Some(Head { owner, version })
    }

    fn remembers(&self, account: AccountId, key: &Key) -> bool {
        self.inner.scripts.remembers(account.0, &key.0, self.now())
    }

    /// The lock of what an account remembers. Those of several accounts are taken in ascending order.
    async fn lock(&self, account: AccountId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.inner.locks.borrow_mut();
            // One that is neither held nor waited for has no other owner.
            if locks.len() >= LOCKS_KEPT {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            locks.entry(account).or_default().clone()
        };
        lock.lock_owned().await
    }
}

fn script_fault(fault: ScriptFault) -> MailboxFault {
    match fault {
        ScriptFault::Store(fault) => fault.into(),
        ScriptFault::Refused(why) => MailboxFault::Unavailable(why.to_string()),
    }
}

/// Runs and compilations on the threads for large work at a time: other large work has its turns between them.
const AWAY_MAX: usize = 2;
/// Locks that are kept though no delivery has them: they are looked through only when there are more.
const LOCKS_KEPT: usize = 1_024;
