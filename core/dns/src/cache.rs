//! What was found, for as long as it holds: bounded in bytes, whatever is looked up.
//!
//! Two generations: when the younger one is half of the whole, the older one goes, and the younger one takes its place. What is asked for
//! again comes back into the younger one, so that names in use stay.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::NameFault;
use crate::limits::{ENTRY_BYTES, KEPT_MAX};

pub(crate) struct Cache<T> {
    young: Generation<T>,
    old: Generation<T>,
    bytes_max: usize,
    /// What a value weighs, its heap included.
    weigh: fn(&T) -> usize,
}

struct Generation<T> {
    entries: HashMap<String, Entry<T>>,
    bytes: usize,
}

#[derive(Clone)]
struct Entry<T> {
    outcome: Result<T, NameFault>,
    until: Instant,
}

impl<T> Default for Generation<T> {
    fn default() -> Generation<T> {
        Generation {
            entries: HashMap::new(),
            bytes: 0,
        }
    }
}

impl<T: Clone> Cache<T> {
    pub(crate) fn new(bytes_max: usize, weigh: fn(&T) -> usize) -> Cache<T> {
        Cache {
            young: Generation::default(),
            old: Generation::default(),
            bytes_max,
            weigh,
        }
    }

    /// What is known of `name`.
    pub(crate) fn get(&mut self, name: &str, now: Instant) -> Option<Result<T, NameFault>> {
        if let Some(entry) = self.young.entries.get(name) {
            return (entry.until > now).then(|| entry.outcome.clone());
        }
        let entry = self.old.entries.get(name)?.clone();
        if entry.until <= now {
            return None;
        }
        let outcome = entry.outcome.clone();
        self.insert(name, entry);
        Some(outcome)
    }

    /// Keeps what was found of `name`, for `lives` or less.
    pub(crate) fn put(
        &mut self,
        name: &str,
        outcome: &Result<T, NameFault>,
        lives: Duration,
        now: Instant,
    ) {
        if lives.is_zero() {
            return;
        }
        let entry = Entry {
            outcome: outcome.clone(),
            until: now + lives.min(KEPT_MAX),
        };
        self.insert(name, entry);
    }

    fn insert(&mut self, name: &str, entry: Entry<T>) {
        let bytes = self.bytes_of(name, &entry);
        if self.young.bytes + bytes > self.bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        if bytes > self.bytes_max / 2 {
            return;
        }
        self.young.bytes += bytes;
        if let Some(before) = self.young.entries.insert(name.to_owned(), entry) {
            self.young.bytes -= self.bytes_of(name, &before);
        }
    }

    fn bytes_of(&self, name: &str, entry: &Entry<T>) -> usize {
        let value = match &entry.outcome {
            Ok(value) => (self.weigh)(value),
            Err(NameFault::NoSuchDomain) => 0,
            Err(NameFault::Unavailable(why)) => why.len(),
        };
        ENTRY_BYTES + name.len() + value
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVES: Duration = Duration::from_secs(60);

    fn cache(bytes_max: usize) -> Cache<Vec<u8>> {
        Cache::new(bytes_max, Vec::len)
    }

    #[test]
    fn an_entry_weighs_no_more_than_is_counted() {
        let slot = size_of::<(String, Entry<crate::Exchangers>)>();
        assert!(slot.max(size_of::<(String, Entry<Vec<std::net::IpAddr>>)>()) <= 72);
        assert!(size_of::<(String, Entry<Vec<crate::Value>>)>() <= 72);
        // Seven of eight slots are used at most; just grown it is half of that. A byte for each slot comes in addition.
        assert!((slot + 1) * 16 / 7 + 32 <= ENTRY_BYTES);
    }

    #[test]
    fn what_is_kept_ends_with_its_time() {
        let mut cache = cache(100_000);
        let began = Instant::now();
        cache.put("a.example", &Ok(vec![1]), LIVES, began);
        cache.put("b.example", &Err(NameFault::NoSuchDomain), LIVES / 2, began);
        cache.put("c.example", &Ok(vec![3]), Duration::ZERO, began);
        assert_eq!(cache.get("a.example", began), Some(Ok(vec![1])));
        assert_eq!(
            cache.get("b.example", began),
            Some(Err(NameFault::NoSuchDomain))
        );
        assert_eq!(cache.get("c.example", began), None);
        assert_eq!(cache.get("b.example", began + LIVES / 2), None);
        assert_eq!(cache.get("a.example", began + LIVES / 2), Some(Ok(vec![1])));
        assert_eq!(cache.get("a.example", began + LIVES), None);
        // A zone may say a century: it is looked up again within the bound.
        cache.put("a.example", &Ok(vec![1]), KEPT_MAX * 1_000, began);
        assert_eq!(cache.get("a.example", began + KEPT_MAX), None);
    }

    #[test]
    fn bytes_stay_below_the_bound_and_names_in_use_stay() {
        let bytes_max = 50 * (ENTRY_BYTES + 100);
        let mut cache = cache(bytes_max);
        let now = Instant::now();
        cache.put("used.example", &Ok(vec![7]), LIVES, now);
        for at in 0..10_000usize {
            let value = vec![0; at * 7 % 300];
            cache.put(&format!("n{at}.example"), &Ok(value), LIVES, now);
            assert!(cache.bytes() <= bytes_max, "{} bytes", cache.bytes());
            if at % 8 == 0 {
                assert_eq!(cache.get("used.example", now), Some(Ok(vec![7])));
            }
        }
        assert_eq!(cache.get("n0.example", now), None);
        // The same name again weighs once; one that is larger than all of it is not kept.
        for _ in 0..1_000 {
            cache.put("same.example", &Ok(vec![0; 50]), LIVES, now);
        }
        cache.put("large.example", &Ok(vec![0; bytes_max]), LIVES, now);
        assert_eq!(cache.get("large.example", now), None);
        assert_eq!(cache.get("same.example", now), Some(Ok(vec![0; 50])));
        assert!(cache.bytes() <= bytes_max);
    }
}
