//! A core's own memory of who has a mailbox: good while the directory's generation stands still.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mail::Address;
use mailbox::{Account, AccountId};

/// What a look-up found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Account(Entry),
    /// Our domain, no such mailbox.
    NoMailbox,
    /// Not our domain.
    NotOurs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub account: AccountId,
    /// Left of the quota when looked up; `None`: no quota.
    pub left_bytes: Option<u64>,
    looked_up: Instant,
}

impl Entry {
    pub fn of(account: &Account) -> Entry {
        let left_bytes = (account.quota_bytes > 0)
            .then(|| account.quota_bytes.saturating_sub(account.used_bytes));
        Entry {
            account: account.id,
            left_bytes,
            looked_up: Instant::now(),
        }
    }

    /// A message of `bytes` (0: not said) may come. The store has the last word.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.left_bytes.is_none_or(|left| left > 0 && bytes <= left)
    }

    fn is_fresh(&self) -> bool {
        self.left_bytes.is_none() || self.looked_up.elapsed() < QUOTA_AGE_MAX
    }
}

/// Accounts only: who guesses addresses would otherwise drive out those that are used.
#[derive(Default)]
pub(super) struct Directory {
    generation: Option<Arc<AtomicU64>>,
    at: u64,
    entries: HashMap<Address, Entry>,
}

impl Directory {
    pub fn find(&self, address: &Address) -> Option<Entry> {
        if self.generation.as_ref()?.load(Ordering::Acquire) != self.at {
            return None;
        }
        self.entries
            .get(address)
            .filter(|entry| entry.is_fresh())
            .cloned()
    }

    /// Keeps `entry`, which was looked up when the generation was `at`.
    pub fn keep(&mut self, generation: Arc<AtomicU64>, at: u64, address: &Address, entry: Entry) {
        if self.generation.is_none() || self.at != at || self.entries.len() >= ENTRIES_MAX {
            self.entries.clear();
            self.at = at;
        }
        self.generation = Some(generation);
        self.entries.insert(address.clone(), entry);
    }
}

/// Addresses remembered on one core, about 150 bytes each. When it is full it begins anew: the busy ones are back at once.
const ENTRIES_MAX: usize = 16_384;
/// How old a remembered quota may be. What arrives meanwhile is caught when it is placed.
const QUOTA_AGE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn address(local: &str) -> Address {
        Address::from_parts(local, "example.org").unwrap()
    }

    fn entry(left_bytes: Option<u64>) -> Entry {
        Entry {
            account: AccountId(7),
            left_bytes,
            looked_up: Instant::now(),
        }
    }

    #[test]
    fn a_changed_directory_is_asked_again() {
        let generation = Arc::new(AtomicU64::new(1));
        let mut directory = Directory::default();
        assert_eq!(directory.find(&address("a")), None);
        directory.keep(generation.clone(), 1, &address("a"), entry(None));
        assert!(directory.find(&address("a")).is_some());
        generation.store(2, Ordering::Release);
        assert_eq!(directory.find(&address("a")), None);
        // An answer that was on its way while the directory changed is old when it comes.
        directory.keep(generation.clone(), 1, &address("b"), entry(None));
        assert_eq!(directory.find(&address("b")), None);
        directory.keep(generation, 2, &address("b"), entry(None));
        assert!(directory.find(&address("b")).is_some());
        assert_eq!(directory.find(&address("a")), None);
    }

    #[test]
    fn it_stays_bounded() {
        let generation = Arc::new(AtomicU64::new(0));
        let mut directory = Directory::default();
        for index in 0..ENTRIES_MAX + 10 {
            directory.keep(
                generation.clone(),
                0,
                &address(&format!("u{index}")),
                entry(None),
            );
        }
        assert!(directory.entries.len() <= ENTRIES_MAX);
    }

    #[test]
    fn an_announced_size_must_fit_the_quota() {
        assert!(entry(None).has_room(u64::MAX));
        assert!(entry(Some(10)).has_room(10) && entry(Some(10)).has_room(0));
        assert!(!entry(Some(10)).has_room(11) && !entry(Some(0)).has_room(0));
    }
}
