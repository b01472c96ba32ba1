//! Scripts at first delivery: what an account's Sieve scripts say about a message becomes a plan, and a plan becomes one durable step.
//!
//! The interpreter (`sieve`) has no effect. Here its questions are answered (`answers.rs`), it is run (`run.rs`), what it wants becomes copies,
//! letters and keys (`plan.rs`, `letters.rs`), and the plans of one message are made durable together (`group.rs`). `deliver.rs` has the ways that a
//! message comes in.
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
pub(crate) mod deliver;
pub(crate) mod group;
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

use bytes::Bytes;
use mail::Address;
use mailbox::{AccountId, MailboxFault};
use runtime::SessionHost;
use sieve::{Key, Remember, Wanted};
use store::LocalFuture;
use tenancy::Part;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use cache::Cache;

pub use cache::CACHE_BYTES_MAX;
pub(crate) use letters::Letter;
pub use letters::MADE_BYTES_MAX;
pub(crate) use plan::Plan;

/// Whose script it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The box's: for all mail.
    Global,
    /// In lower case.
    Domain(String),
    Account(AccountId),
}

/// One script of an owner, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Head {
    pub owner: Owner,
    pub name: String,
    /// Another text has another number.
    pub version: u64,
}

/// Where scripts and remembered keys are kept.
pub trait Shelf {
    /// Whether any owner has an active script. Without one a delivery does nothing that it would not do without scripts.
    fn has_any(&self) -> bool;
    /// The scripts that run for mail of the account, in this order.
    fn active<'s>(
        &'s self,
        account: AccountId,
        domain: &'s str,
    ) -> LocalFuture<'s, Result<Vec<Head>, MailboxFault>>;
    /// A script that one of the account includes.
    fn named<'s>(
        &'s self,
        account: AccountId,
        wanted: &'s Wanted,
    ) -> LocalFuture<'s, Result<Option<Head>, MailboxFault>>;
    /// `None`: it is gone, or has another version by now.
    fn text<'s>(&'s self, head: &'s Head) -> LocalFuture<'s, Result<Option<Bytes>, MailboxFault>>;
    fn is_remembered<'s>(
        &'s self,
        account: AccountId,
        key: &'s Key,
        now_unix_s: u64,
    ) -> LocalFuture<'s, Result<bool, MailboxFault>>;
    /// The part of a group that has the account remember keys; in the same turn as the commit.
    fn remember(&self, account: AccountId, keys: &[Remember], now_unix_s: u64) -> Part;
    /// Rows of that part, at most.
    fn rows_of(&self, keys: usize) -> u64;
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
    shelf: Box<dyn Shelf>,
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
}

impl Filter {
    /// `name`: the name of this box.
    pub fn new(shelf: Box<dyn Shelf>, host: SessionHost, name: String) -> Filter {
        let counters = Arc::<Counters>::default();
        Filter {
            inner: Rc::new(Inner {
                cache: RefCell::new(Cache::new(CACHE_BYTES_MAX)),
                away: Semaphore::new(AWAY_MAX),
                made: Arc::new(Semaphore::new(MADE_BYTES_MAX / letters::MADE_UNIT_BYTES)),
                locks: RefCell::default(),
                shelf,
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

/// Runs and compilations on the threads for large work at a time: other large work has its turns between them.
const AWAY_MAX: usize = 2;
/// Locks that are kept though no delivery has them: they are looked through only when there are more.
const LOCKS_KEPT: usize = 1_024;
