//! The table of recipients that an inbound node has, for all of its cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::Time;
use mail::Address;
use mailbox::{AccountId, MailboxFault};
use storage::arrival::{Found, Looked, Resident};
use storage::recipients::Recipients;

use super::limits::TARGETS_MAX;

/// Clones are the same.
#[derive(Clone)]
pub struct Table {
    shared: Arc<Shared>,
}

struct Shared {
    /// Past this age what is not in it is not known.
    age_max: Duration,
    now: Mutex<Now>,
    /// What cores remember of an older table is good for nothing.
    generation: Arc<AtomicU64>,
}

#[derive(Default)]
struct Now {
    table: Option<Arc<Recipients>>,
    /// Whose table it is.
    origin: Origin,
    /// When a storage node last said that this is its table.
    confirmed: Option<Time>,
    /// Why it could not be fetched; empty while it can.
    trouble: String,
}

/// Storage nodes number their accounts on their own: one number may be two people's in two tables. So what is given out of a table has a mark of
/// whose it is, and a transaction that goes on over a change of tables takes no two addresses for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Origin {
    /// Of an earlier run: which storage node sent it is not known.
    #[default]
    Unknown,
    /// The index of the storage node.
    Node(usize),
}

impl Origin {
    fn mark(self, account: AccountId) -> AccountId {
        let origin = match self {
            Origin::Unknown => 0,
            Origin::Node(index) => index as u32 + 1,
        };
        // Numbers of a table are below that: it could not hold so many accounts.
        AccountId(account.0 ^ (origin << 28))
    }
}

const _: () = assert!(TARGETS_MAX < 16);

/// What a table says of a person's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Account,
    /// It did when the table was fresh.
    Perhaps,
    /// It has the address: as an alias or a group, or as a route, behind which there may be an account that the table does not show.
    Listed,
    Nothing,
    /// There is no table, or none that is fresh enough to say that it does not.
    Unknown,
}

/// What is shown of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    pub version: String,
    pub addresses: usize,
    pub domains: usize,
    pub bytes: usize,
    /// Since a storage node confirmed it; `None`: none did since the start.
    pub age_s: Option<u64>,
    /// Young enough to refuse what is not in it.
    pub is_fresh: bool,
    pub trouble: String,
}

impl Table {
    pub fn new(age_max: Duration) -> Table {
        Table {
            shared: Arc::new(Shared {
                age_max,
                now: Mutex::default(),
                generation: Arc::default(),
            }),
        }
    }

    /// A table of an earlier run: what is in it is taken, and nothing is refused for not being in it.
    pub fn remember(&self, table: Recipients) {
        let mut held = self.now();
        held.table = Some(Arc::new(table));
        held.origin = Origin::Unknown;
        drop(held);
        self.shared.generation.fetch_add(1, Ordering::Release);
    }

    /// The storage node of this index sent this one at `now`.
    pub fn replace(&self, table: Recipients, from: usize, now: Time) {
        let mut held = self.now();
        held.table = Some(Arc::new(table));
        held.origin = Origin::Node(from);
        held.confirmed = Some(now);
        held.trouble.clear();
        drop(held);
        self.shared.generation.fetch_add(1, Ordering::Release);
    }

    /// A storage node said at `now` that ours is its own.
    pub fn confirm(&self, now: Time) {
        let mut held = self.now();
        held.confirmed = Some(now);
        held.trouble.clear();
    }

    pub fn trouble(&self, why: &str) {
        let mut held = self.now();
        if held.trouble != why {
            tracing::warn!(why, "the table of recipients cannot be fetched");
            why.clone_into(&mut held.trouble);
        }
    }

    pub fn version(&self) -> Option<String> {
        let table = self.now().table.clone()?;
        Some(table.version().to_owned())
    }

    pub fn state(&self, now: Time) -> TableState {
        let held = self.now();
        let table = held.table.as_deref();
        TableState {
            version: table.map_or_else(String::new, |table| table.version().to_owned()),
            addresses: table.map_or(0, Recipients::addresses),
            domains: table.map_or(0, Recipients::domains),
            bytes: table.map_or(0, |table| table.bytes().len()),
            age_s: held.confirmed.map(|at| now.since_us(at) / 1_000_000),
            is_fresh: self.is_fresh(&held, now),
            trouble: held.trouble.clone(),
        }
    }

    /// As `arrival::look_up`. What is not known is a fault, which defers.
    pub(super) fn look_up(&self, address: &Address, now: Time) -> Looked {
        // Read first: a table that comes meanwhile makes the answer old, not the other way round.
        let at = self.shared.generation.load(Ordering::Acquire);
        let held = self.now();
        let found = match &held.table {
            None => Err(unknown("there is no table of recipients yet")),
            Some(table) => match table.find(address) {
                Found::NoMailbox | Found::NotOurs if !self.is_fresh(&held, now) => Err(unknown(
                    "the table of recipients is too old to refuse by it",
                )),
                Found::Account(resident) => Ok(Found::Account(Resident {
                    account: held.origin.mark(resident.account),
                    ..resident
                })),
                found => Ok(found),
            },
        };
        Looked {
            found,
            generation: self.shared.generation.clone(),
            at,
        }
    }

    /// Whether the storage node of this table holds the account that a person logs in to as `user`: its address, or the local part where there is one
    /// domain.
    pub fn holds(&self, user: &str, now: Time) -> Holds {
        let held = self.now();
        let is_fresh = self.is_fresh(&held, now);
        let Some(table) = held.table.clone() else {
            return Holds::Unknown;
        };
        drop(held);
        let address = match (user.rsplit_once('@'), table.only_domain()) {
            (Some((local, domain)), _) => Address::from_parts(local, domain),
            (None, Some(domain)) => Address::from_parts(user, domain),
            (None, None) => None,
        };
        let is_listed = |address: &Address| table.names(address);
        match address.as_ref().map(|address| table.find(address)) {
            Some(Found::Account(_)) if is_fresh => Holds::Account,
            Some(Found::Account(_)) => Holds::Perhaps,
            _ if !is_fresh => Holds::Unknown,
            _ if address.as_ref().is_some_and(is_listed) => Holds::Listed,
            _ => Holds::Nothing,
        }
    }

    /// Whether it is a group, as far as the table goes: who may post only the storage node knows.
    pub(super) fn is_group(&self, address: &Address) -> bool {
        let table = self.now().table.clone();
        table.is_some_and(|table| table.is_group(address))
    }

    fn is_fresh(&self, held: &Now, now: Time) -> bool {
        let age_max = self.shared.age_max.as_micros() as u64;
        held.confirmed.is_some_and(|at| now.since_us(at) <= age_max)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // A panic elsewhere leaves it whole: each change is one step.
        let now = self.shared.now.lock();
        now.unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(why: &str) -> MailboxFault {
    MailboxFault::Unavailable(why.to_owned())
}
