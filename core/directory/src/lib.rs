//! *Who* there is: the domains this volume has mail for, and its accounts with their addresses, secrets and quotas.
//!
//! A tenant of the log (`tenancy`): records and tables 1–31 are the directory's. What an account's mailboxes are, and what they
//! hold, `mailbox` knows; it makes and removes an account's folders in the same group as the account itself.
//!
//! What must hold between calls:
//! * memory laid over the projection = f(log): `apply` of each noun is the only writer of what is visible, live and in replay.
//! * a number of an account is never given twice, also when it was removed.
//! * one address, in any of its spellings, is one account, one alias or one group (`Address::key`).
//! * memory is bounded: accounts by `limits::ACCOUNTS_CACHED_MAX` beside those in use, what is newer than the projection by `DIRTY_MAX`.
//!
//! One file for each durable noun, with its records, its row and what they do to memory: `domain.rs`, `account.rs`, and those that are a name
//! with what it stands for (`whole.rs`): `alias.rs`, `group.rs`, `route.rs`, `grant.rs`, `key.rs`, `allowance.rs`,
//! `kept_policy.rs`, `mark.rs`, `fetch.rs`. DKIM keys are in `dkim_key.rs`. To add a noun,
//! write such a file, give it kinds and a table in `record.rs`, and a line in `State::apply`, `Salvage` and `describe`.
//! Operations are in `domains.rs`, `accounts.rs`, `aliases.rs`, `groups.rs`, `routes.rs`, `grants.rs`, `kept_policies.rs`, `marks.rs`, `fetches.rs` and `dkim_keys.rs`; start reading there.
#![forbid(unsafe_code)]

mod account;
mod accounts;
mod alias;
mod aliases;
mod allowance;
mod dkim_key;
mod dkim_keys;
mod domain;
mod domains;
mod fetch;
mod fetches;
#[doc(hidden)]
pub mod fuzzing;
mod grant;
mod grants;
mod group;
mod groups;
mod kept_policies;
mod kept_policy;
mod key;
pub mod limits;
mod load;
mod mark;
mod marks;
mod record;
mod route;
mod routes;
pub mod salvage;
mod share;
mod state;
#[cfg(test)]
mod tests;
mod whole;

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::host::Bell;
use mail::Address;
use store::{Committed, Lsn, Purpose, Store, StoreFault};
use tenancy::encoding::Broken;
use tenancy::{Locks, Part, Tenancy, Tenant};

pub use accounts::{Leaving, Vacancy};
pub use alias::Alias;
pub use aliases::Listed;
pub use dkim_key::{DkimAlgorithm, DkimKey, DkimState, PrivateKey};
pub use fetch::{FetchProtocol, FetchRow, FetchTls, Keep, Sealed, SeenMark};
pub use fetches::{Fetching, Noting};
pub use group::{Group, Posters};
pub use groups::GroupChange;
pub use kept_policy::KeptPolicy;
pub use load::Pin;
pub use mark::Mark;
pub use marks::{Marked, NewHash};
pub use route::Route;
pub use routes::parse_scope;
pub use share::share;

use record::Entry;
use state::{Collected, State};

/// From 1, in the order in which accounts are made; a number is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u32);

/// What is known of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub address: Address,
    /// argon2id, PHC string form; never logged.
    pub password_hash: String,
    /// 0: no limit.
    pub quota_bytes: u64,
}

/// Why an operation was refused (`NoAccount` to `TooMany`: the caller's) or failed (`Store`: try again).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryFault {
    /// It does not exist, or is being removed.
    #[error("no such account")]
    NoAccount,
    /// The address or domain is there already, in one of its spellings.
    #[error("it exists already")]
    Exists,
    /// The text says what is wrong.
    #[error("not allowed: {0}")]
    Refused(&'static str),
    /// A table's bound was reached.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// The log or the projection refused.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// The directory of one volume; lives on the volume's owner thread. Clones share one state.
#[derive(Clone)]
pub struct Directory {
    inner: Rc<Inner>,
}

/// What all clones share.
struct Inner {
    me: Weak<Inner>,
    tenancy: Tenancy,
    store: Store,
    state: RefCell<State>,
    /// Rises with every change.
    generation: Arc<AtomicU64>,
    locks: Locks,
    loading: RefCell<HashSet<AccountId>>,
    loaded: Bell,
    /// What replay read and has not applied, in log order.
    ahead: RefCell<VecDeque<(Lsn, Vec<Entry>)>>,
    /// The checkpoint under way.
    collected: Cell<Option<Collected>>,
}

impl Directory {
    /// One of several tenants: nothing of it is there before `Tenancy::open`.
    pub fn new(tenancy: &Tenancy) -> Directory {
        let inner = Rc::new_cyclic(|me| Inner {
            me: me.clone(),
            tenancy: tenancy.clone(),
            store: tenancy.store().clone(),
            state: RefCell::new(State::new()),
            generation: Arc::default(),
            locks: Locks::default(),
            loading: RefCell::default(),
            loaded: Bell::new(),
            ahead: RefCell::default(),
            collected: Cell::default(),
        });
        Directory { inner }
    }

    /// For the list of tenants with which the log is opened.
    pub fn tenant(&self) -> Rc<dyn Tenant> {
        self.inner.clone()
    }

    /// Rises with every change of the directory: caches of look-ups elsewhere are good while it stands still.
    pub fn generation(&self) -> Arc<AtomicU64> {
        self.inner.generation.clone()
    }
}

impl Inner {
    /// Makes `entries` durable and then visible. `keep` is let go then, or when it failed.
    async fn commit(
        &self,
        purpose: Purpose,
        entries: Vec<Entry>,
        keep: Vec<Pin>,
    ) -> Result<Committed, DirectoryFault> {
        let part = self.part(entries, keep);
        let committed = self.tenancy.commit(purpose, Vec::new(), vec![part]).await;
        committed.map_err(DirectoryFault::Store)
    }

    /// `entries` as this tenant's part of a group.
    fn part(&self, entries: Vec<Entry>, keep: Vec<Pin>) -> Part {
        let inner = self
            .me
            .upgrade()
            .expect("it is borrowed from what holds it");
        Part {
            records: entries.iter().map(Entry::encode).collect(),
            rows: {
                let state = self.state.borrow();
                entries.iter().map(|entry| entry.rows(&state)).sum()
            },
            applied: Box::new(move |committed: &Committed| {
                // No look-up is about what is fetched for a person: with each message that comes in so, all caches of look-ups would be emptied.
                let is_looked_up = entries
                    .iter()
                    .any(|entry| !matches!(entry, Entry::Fetch(_)));
                {
                    let mut state = inner.state.borrow_mut();
                    for entry in &entries {
                        state.apply(committed.lsn, entry);
                    }
                    state.evict();
                }
                if is_looked_up {
                    inner.changed();
                }
                drop(keep);
            }),
        }
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl From<Broken> for DirectoryFault {
    fn from(_: Broken) -> DirectoryFault {
        let why = "a row or record is not of this release's making";
        DirectoryFault::Store(StoreFault::Deferred(why.to_owned()))
    }
}

/// What the tenancy is answered.
fn store_fault(fault: DirectoryFault) -> StoreFault {
    match fault {
        DirectoryFault::Store(fault) => fault,
        fault => StoreFault::Deferred(fault.to_string()),
    }
}
