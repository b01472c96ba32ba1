//! When which account elsewhere is due, and how the last conversation went. In memory: after a start all are due.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mailbox::AccountId;

use super::limits::WAIT_MAX;
use super::run::Stumbles;

pub(super) type Key = (AccountId, u32);

/// How a conversation went, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Last {
    pub unix_s: u64,
    pub fetched: u64,
    pub deleted: u64,
    pub left: u64,
    /// Why it failed.
    pub error: Option<String>,
    pub note: Option<String>,
}

pub(super) struct Entry {
    pub serial: u32,
    due: Instant,
    /// Failures one behind the other.
    failures: u32,
    /// The directory says that it is stopped: it is not due.
    pub is_stopped: bool,
    pub last: Option<Last>,
    pub stumbles: Stumbles,
}

#[derive(Default)]
pub(super) struct Table {
    entries: HashMap<Key, Entry>,
    /// Conversations under way, also with one that was removed meanwhile: their threads are there until `end`.
    running: Vec<Running>,
}

/// A conversation. A person has one, so its key says which it is.
struct Running {
    key: Key,
    /// It was changed or removed since the conversation began.
    is_stale: bool,
}

/// What follows a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// After its interval.
    Usual(Duration),
    /// There is more, and the server works.
    Soon,
    /// After its interval, doubled with each failure.
    Failed(Duration),
    Stopped,
}

impl Table {
    /// It is due at `due`, whatever was known of another account elsewhere under its number.
    pub fn set(&mut self, key: Key, serial: u32, due: Instant) {
        self.outdate(&key);
        match self.entries.get_mut(&key) {
            Some(entry) if entry.serial == serial => {
                entry.due = due;
                entry.failures = 0;
                entry.is_stopped = false;
            }
            Some(entry) => *entry = Entry::new(serial, due),
            None => _ = self.entries.insert(key, Entry::new(serial, due)),
        }
    }

    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// One that is due and whose person has no conversation, the longest due first; from now on it has one.
    pub fn begin(&mut self, now: Instant, running_max: usize) -> Option<Key> {
        if self.running() >= running_max {
            return None;
        }
        let is_due = |entry: &Entry| entry.due <= now && !entry.is_stopped;
        let mut due: Vec<(Instant, Key)> = self
            .entries
            .iter()
            .filter(|(_, entry)| is_due(entry))
            .map(|(key, entry)| (entry.due, *key))
            .collect();
        due.sort_unstable();
        let (_, key) = due.into_iter().find(|(_, key)| !self.is_busy(key.0))?;
        self.take(key);
        Some(key)
    }

    /// The same for one that an administrator wants now. `false`: its person has a conversation, or there are as many as there may be.
    pub fn begin_now(&mut self, key: Key, running_max: usize) -> bool {
        let can =
            self.running() < running_max && self.entries.contains_key(&key) && !self.is_busy(key.0);
        if can {
            self.take(key);
        }
        can
    }

    fn is_busy(&self, account: AccountId) -> bool {
        self.running.iter().any(|one| one.key.0 == account)
    }

    fn take(&mut self, key: Key) {
        let is_stale = false;
        self.running.push(Running { key, is_stale });
    }

    fn outdate(&mut self, key: &Key) {
        let own = self.running.iter_mut().filter(|one| one.key == *key);
        own.for_each(|one| one.is_stale = true);
    }

    /// The conversation that is under way began with what it was before a change, or before it was removed.
    pub fn is_stale(&self, key: &Key) -> bool {
        let mut own = self.running.iter().filter(|one| one.key == *key);
        own.any(|one| one.is_stale)
    }

    /// What broke conversations so far; it comes back with `end`.
    pub fn stumbles(&mut self, key: &Key) -> Stumbles {
        let entry = self.entries.get_mut(key);
        entry
            .map(|entry| std::mem::take(&mut entry.stumbles))
            .unwrap_or_default()
    }

    /// A conversation is over. What was changed meanwhile stays due as that said. `None`: a look that changes nothing.
    pub fn end(
        &mut self,
        key: Key,
        serial: u32,
        done: Option<(Last, Next)>,
        stumbles: Stumbles,
        now: Instant,
    ) {
        let is_stale = self.is_stale(&key);
        self.running.retain(|one| one.key != key);
        let entry = self.entries.get_mut(&key);
        let Some(entry) = entry.filter(|entry| entry.serial == serial) else {
            return;
        };
        entry.stumbles = stumbles;
        let Some((last, next)) = done.filter(|_| !is_stale) else {
            return;
        };
        entry.last = Some(last);
        entry.is_stopped = next == Next::Stopped;
        entry.failures = match next {
            Next::Failed(_) => entry.failures.saturating_add(1),
            _ => 0,
        };
        entry.due = match next {
            Next::Usual(every) => now + every,
            Next::Soon | Next::Stopped => now,
            Next::Failed(every) => {
                let doubled = every.saturating_mul(1 << (entry.failures - 1).min(10));
                now + doubled.min(WAIT_MAX.max(every))
            }
        };
    }

    /// It is not fetched any more. A conversation that is under way ends by itself.
    pub fn remove(&mut self, key: &Key) {
        self.outdate(key);
        self.entries.remove(key);
    }

    /// A conversation that began with this serial found nothing to fetch from: it is over. One that was added since stays.
    pub fn forget(&mut self, key: &Key, serial: u32) {
        self.running.retain(|one| one.key != *key);
        if self.get(key).is_some_and(|entry| entry.serial == serial) {
            self.entries.remove(key);
        }
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// All, those that are stopped, and those whose last conversation failed.
    pub fn counts(&self) -> (usize, usize, usize) {
        let all = self.entries.values();
        let stopped = all.clone().filter(|entry| entry.is_stopped).count();
        let failing = all.filter(|entry| !entry.is_stopped && entry.failures > 0);
        (self.entries.len(), stopped, failing.count())
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Instant> {
        let all = self.entries.iter();
        let waiting = all.filter(|(key, entry)| !self.is_running(key) && !entry.is_stopped);
        waiting.map(|(_, entry)| entry.due).min()
    }

    pub fn due_in(&self, key: &Key, now: Instant) -> Option<Duration> {
        let entry = self.get(key).filter(|entry| !entry.is_stopped)?;
        Some(entry.due.saturating_duration_since(now))
    }

    pub fn is_running(&self, key: &Key) -> bool {
        self.running.iter().any(|one| one.key == *key)
    }
}

impl Entry {
    fn new(serial: u32, due: Instant) -> Entry {
        Entry {
            serial,
            due,
            failures: 0,
            is_stopped: false,
            last: None,
            stumbles: Stumbles::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(account: u32, number: u32) -> Key {
        (AccountId(account), number)
    }

    #[test]
    fn a_person_has_one_conversation_and_failures_wait_ever_longer() {
        let (mut table, start) = (Table::default(), Instant::now());
        let every = Duration::from_secs(900);
        for (account, number) in [(1, 1), (1, 2), (2, 1), (3, 1)] {
            table.set(key(account, number), 5, start);
        }
        let mut begun: Vec<Key> = std::iter::from_fn(|| table.begin(start, 2)).collect();
        begun.sort_unstable();
        assert_eq!(
            begun,
            [key(1, 1), key(2, 1)],
            "two at a time, and one of each"
        );
        assert!(!table.begin_now(key(3, 1), 2) && !table.begin_now(key(1, 2), 9));
        let fail = |table: &mut Table, at| {
            let done = Some((Last::default(), Next::Failed(every)));
            table.end(key(1, 1), 5, done, Stumbles::default(), at);
        };
        let mut waits = Vec::new();
        for _ in 0..12 {
            fail(&mut table, start);
            waits.push(
                table
                    .due_in(&key(1, 1), start)
                    .expect("it is due")
                    .as_secs(),
            );
            assert!(table.begin_now(key(1, 1), 2));
        }
        assert_eq!(waits[..4], [900, 1_800, 3_600, 7_200]);
        assert_eq!(*waits.last().expect("some"), WAIT_MAX.as_secs());
        let done = Some((Last::default(), Next::Stopped));
        table.end(key(1, 1), 5, done, Stumbles::default(), start);
        assert_eq!(table.counts(), (4, 1, 0));
        assert_eq!(table.due_in(&key(1, 1), start), None);
        // It becomes another account elsewhere while a conversation with the earlier one is under way.
        table.set(key(2, 1), 6, start + every);
        assert!(table.is_running(&key(2, 1)));
        let done = Some((Last::default(), Next::Failed(every)));
        table.end(key(2, 1), 5, done, Stumbles::default(), start);
        assert_eq!(table.due_in(&key(2, 1), start), Some(every));
        assert_eq!((table.counts().2, table.running()), (0, 0));
        table.set(key(1, 1), 5, start);
        assert_eq!(table.counts().1, 0, "a new password starts it again");
        table.remove(&key(1, 1));
        assert_eq!(table.counts().0, 3);
    }

    /// Two conversations with one account elsewhere would each place the same messages.
    #[test]
    fn one_that_is_removed_and_added_again_waits_for_the_conversation_with_the_earlier_one() {
        let (mut table, start) = (Table::default(), Instant::now());
        table.set(key(1, 1), 5, start);
        assert_eq!(table.begin(start, 4), Some(key(1, 1)));
        table.remove(&key(1, 1));
        table.set(key(1, 1), 6, start);
        assert_eq!(table.running(), 1, "its thread is there");
        assert_eq!(table.begin(start, 4), None);
        assert!(!table.begin_now(key(1, 1), 4));
        table.set(key(2, 1), 7, start);
        assert_eq!(
            table.begin(start, 1),
            None,
            "no more threads than there may be"
        );
        let over = Some((Last::default(), Next::Stopped));
        table.end(key(1, 1), 5, over.clone(), Stumbles::default(), start);
        assert_eq!(
            table.begin(start, 4),
            Some(key(1, 1)),
            "the earlier one says nothing of it"
        );
        table.end(key(1, 1), 6, over, Stumbles::default(), start);
        assert_eq!((table.counts().1, table.running()), (1, 0));
    }
}
