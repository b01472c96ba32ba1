//! A core's own memory of who has a mailbox: good while the directory's generation stands still.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::Time;
use mail::Address;
use storage::arrival::Resident;

struct Entry {
    resident: Resident,
    /// No later than the owner read the account.
    asked: Time,
}

impl Entry {
    fn is_fresh(&self, now: Time) -> bool {
        self.resident.left_bytes.is_none() || now.since_us(self.asked) < QUOTA_AGE_US_MAX
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
    pub fn find(&self, address: &Address, now: Time) -> Option<Resident> {
        if self.generation.as_ref()?.load(Ordering::Acquire) != self.at {
            return None;
        }
        self.entries
            .get(address)
            .filter(|entry| entry.is_fresh(now))
            .map(|entry| entry.resident.clone())
    }

    /// The account of `address` as it was known last, where the directory has not changed since; its room is not known.
    pub fn last_known(&self, address: &Address) -> Option<Resident> {
        if self.generation.as_ref()?.load(Ordering::Acquire) != self.at {
            return None;
        }
        let entry = self.entries.get(address)?;
        Some(Resident {
            left_bytes: None,
            ..entry.resident.clone()
        })
    }

    /// Keeps what was found for `address` when the generation was `at`; `asked`: when the look-up began.
    pub fn keep(
        &mut self,
        generation: Arc<AtomicU64>,
        at: u64,
        address: &Address,
        resident: Resident,
        asked: Time,
    ) {
        if self.generation.is_none() || self.at != at || self.entries.len() >= ENTRIES_MAX {
            self.entries.clear();
            self.at = at;
        }
        self.generation = Some(generation);
        self.entries
            .insert(address.clone(), Entry { resident, asked });
    }
}

/// Addresses remembered on one core, about 150 bytes each. When it is full it is emptied: the busy ones are back at once.
const ENTRIES_MAX: usize = 16_384;
/// How old a remembered quota may be. What arrives meanwhile is caught when it is placed.
const QUOTA_AGE_US_MAX: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use mailbox::AccountId;

    use super::*;

    const NOW: Time = Time(7);

    fn address(local: &str) -> Address {
        Address::from_parts(local, "example.org").unwrap()
    }

    /// Keeps `local` as an account, looked up just now.
    fn keep(
        directory: &mut Directory,
        generation: &Arc<AtomicU64>,
        at: u64,
        local: &str,
        left_bytes: Option<u64>,
    ) {
        let resident = Resident {
            account: AccountId(7),
            left_bytes,
        };
        directory.keep(generation.clone(), at, &address(local), resident, NOW);
    }

    #[test]
    fn a_changed_directory_is_asked_again() {
        let generation = Arc::new(AtomicU64::new(1));
        let mut directory = Directory::default();
        assert_eq!(directory.find(&address("a"), NOW), None);
        keep(&mut directory, &generation, 1, "a", None);
        assert!(directory.find(&address("a"), NOW).is_some());
        generation.store(2, Ordering::Release);
        assert_eq!(directory.find(&address("a"), NOW), None);
        // An answer that was on its way while the directory changed is old when it comes.
        keep(&mut directory, &generation, 1, "b", None);
        assert_eq!(directory.find(&address("b"), NOW), None);
        keep(&mut directory, &generation, 2, "b", None);
        assert!(directory.find(&address("b"), NOW).is_some());
        assert_eq!(directory.find(&address("a"), NOW), None);
    }

    #[test]
    fn it_stays_bounded() {
        let generation = Arc::new(AtomicU64::new(0));
        let mut directory = Directory::default();
        for index in 0..ENTRIES_MAX + 10 {
            keep(&mut directory, &generation, 0, &format!("u{index}"), None);
        }
        assert!(directory.entries.len() <= ENTRIES_MAX);
    }

    #[test]
    fn an_old_quota_is_asked_for_again() {
        let generation = Arc::new(AtomicU64::new(0));
        let mut directory = Directory::default();
        for (local, left_bytes) in [("quota", Some(10)), ("none", None)] {
            keep(&mut directory, &generation, 0, local, left_bytes);
        }
        let found = |local, us| directory.find(&address(local), NOW.after_us(us)).is_some();
        assert!(found("quota", QUOTA_AGE_US_MAX - 1) && found("none", QUOTA_AGE_US_MAX - 1));
        assert!(!found("quota", QUOTA_AGE_US_MAX));
        assert!(found("none", QUOTA_AGE_US_MAX));
    }
}
