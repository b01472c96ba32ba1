//! What SORT and THREAD worked out, kept for the next one: the ranks of a mailbox's messages by a field, and what links them.
//!
//! All sessions of all cores share it, as they share the memory for messages: a person's phone and desktop are served by different cores, and ask
//! the same of one mailbox. It is here and not beside the digests, which are with the owner of the mailboxes: storage knows no RFC 5256, and
//! a sort goes through no lane where nothing is to be read.
//!
//! What must hold: what is kept is paid for from a part of `memory.read` of its own, so no command waits for it or is refused because of it; of that
//! part an account has a share, and makes room within it by its own oldest first. What is kept never changes and is true for ever: the same
//! UID of one mailbox and UIDVALIDITY is the same message. Which messages there are, and which a session may see, is never
//! looked up here. A command that uses what is forgotten meanwhile keeps it until it ends, and so does the charge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use imap::sort::SortField;
use imap::sort::ranked::Ranked;
use imap::thread::links::Links;
use mail::UidValidity;
use mailbox::MailboxId;
use runtime::{Budget, Charge, Holder};

use crate::limits::{ORDER_ENTRY_BYTES, ORDER_LOOKS_MAX};

/// Of which messages something is kept, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub mailbox: MailboxId,
    pub validity: UidValidity,
    /// `None`: what links them.
    pub field: Option<SortField>,
}

/// What is kept of many messages.
pub trait Order: Send + Sync + Sized + 'static {
    /// How many.
    fn count(&self) -> usize;
    fn memory_bytes(&self) -> usize;
    fn kept(self, charge: Charge) -> Kept;
    fn of(kept: &Kept) -> Option<&Arc<Paid<Self>>>;
}

/// It, and what pays for it.
pub struct Paid<T> {
    pub of: T,
    _charge: Charge,
}

/// Either kind of it.
#[derive(Clone)]
pub enum Kept {
    Ranked(Arc<Paid<Ranked>>),
    Links(Arc<Paid<Links>>),
}

/// Clones share it, across threads.
#[derive(Clone)]
pub struct Orders {
    budget: Budget,
    state: Arc<Mutex<State>>,
}

/// `by_use` and `by_holder` name each entry once.
#[derive(Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    /// The first was not used for the longest time.
    by_use: BTreeMap<u64, Key>,
    by_holder: BTreeSet<(u64, u64)>,
    /// How often something was used.
    uses: u64,
}

struct Entry {
    kept: Kept,
    holder: Holder,
    used: u64,
}

impl Order for Ranked {
    fn count(&self) -> usize {
        self.len()
    }

    fn memory_bytes(&self) -> usize {
        Ranked::memory_bytes(self)
    }

    fn kept(self, charge: Charge) -> Kept {
        Kept::Ranked(Arc::new(Paid {
            of: self,
            _charge: charge,
        }))
    }

    fn of(kept: &Kept) -> Option<&Arc<Paid<Ranked>>> {
        match kept {
            Kept::Ranked(ranked) => Some(ranked),
            Kept::Links(_) => None,
        }
    }
}

impl Order for Links {
    fn count(&self) -> usize {
        self.len()
    }

    fn memory_bytes(&self) -> usize {
        Links::memory_bytes(self)
    }

    fn kept(self, charge: Charge) -> Kept {
        Kept::Links(Arc::new(Paid {
            of: self,
            _charge: charge,
        }))
    }

    fn of(kept: &Kept) -> Option<&Arc<Paid<Links>>> {
        match kept {
            Kept::Links(links) => Some(links),
            Kept::Ranked(_) => None,
        }
    }
}

impl Kept {
    /// No command uses it now.
    fn is_at_rest(&self) -> bool {
        match self {
            Kept::Ranked(ranked) => Arc::strong_count(ranked) == 1,
            Kept::Links(links) => Arc::strong_count(links) == 1,
        }
    }
}

impl Orders {
    /// All accounts together have `bytes_max`, one `share_bytes_max`.
    pub fn new(bytes_max: usize, share_bytes_max: usize) -> Orders {
        Orders {
            budget: Budget::with_shares(bytes_max, share_bytes_max),
            state: Arc::default(),
        }
    }

    /// For the metrics.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What is kept, for a command that uses it now.
    pub fn find<T: Order>(&self, key: Key) -> Option<Arc<Paid<T>>> {
        let mut state = self.state();
        let state = &mut *state;
        let entry = state.entries.get_mut(&key)?;
        let holder = entry.holder.0;
        state.by_use.remove(&entry.used);
        state.by_holder.remove(&(holder, entry.used));
        state.uses += 1;
        entry.used = state.uses;
        state.by_use.insert(entry.used, key);
        state.by_holder.insert((holder, entry.used));
        T::of(&entry.kept).cloned()
    }

    /// Keeps `order`, which was made from `old`, where there is room or older ones of other commands make some. What another command made meanwhile
    /// stays when it has more messages.
    pub fn keep<T: Order>(&self, key: Key, holder: Holder, order: T, old: Option<Arc<Paid<T>>>) {
        let bytes = order.memory_bytes() + ORDER_ENTRY_BYTES;
        if bytes > self.budget.share_bytes_max() {
            return;
        }
        let mut state = self.state();
        if let Some(there) = state.entries.get(&key).and_then(|entry| T::of(&entry.kept)) {
            let is_old = old.as_ref().is_some_and(|old| Arc::ptr_eq(old, there));
            if !is_old && there.of.count() >= order.count() {
                return;
            }
        }
        // What pays for the old one pays for the new one, unless other commands use it still.
        state.forget(key);
        drop(old);
        if let Some(charge) = self.make_room(&mut state, holder, bytes) {
            state.put(key, holder, order.kept(charge));
        }
    }

    /// The mailbox is gone.
    pub fn forget(&self, mailbox: MailboxId) {
        let mut state = self.state();
        let first = Key {
            mailbox,
            validity: UidValidity(0),
            field: None,
        };
        let of_it = state.entries.range(first..).map(|(key, _)| *key);
        let of_it: Vec<Key> = of_it.take_while(|key| key.mailbox == mailbox).collect();
        for key in of_it {
            state.forget(key);
        }
    }

    /// Pays for `bytes`, at most a share, and forgets what was not used for the longest time: of the holder where its share is spent, of all where
    /// all is spent.
    fn make_room(&self, state: &mut State, holder: Holder, bytes: usize) -> Option<Charge> {
        for _ in 0..ORDER_LOOKS_MAX {
            if let Some(charge) = self.budget.take_for(holder, bytes) {
                return Some(charge);
            }
            let held = self.budget.held_bytes(holder);
            let oldest = match held + bytes > self.budget.share_bytes_max() {
                true => state.oldest_of(holder),
                false => state.oldest(),
            };
            state.forget(oldest?);
        }
        None
    }

    /// Held for a few look-ups at a time, never over an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl State {
    fn put(&mut self, key: Key, holder: Holder, kept: Kept) {
        self.uses += 1;
        let used = self.uses;
        self.by_use.insert(used, key);
        self.by_holder.insert((holder.0, used));
        let entry = Entry { kept, holder, used };
        self.entries.insert(key, entry);
    }

    fn forget(&mut self, key: Key) {
        if let Some(entry) = self.entries.remove(&key) {
            self.by_use.remove(&entry.used);
            self.by_holder.remove(&(entry.holder.0, entry.used));
        }
    }

    /// What a command uses gives no memory back.
    fn oldest(&self) -> Option<Key> {
        let oldest = self.by_use.values().take(ORDER_LOOKS_MAX);
        oldest
            .copied()
            .find(|key| self.entries[key].kept.is_at_rest())
    }

    fn oldest_of(&self, holder: Holder) -> Option<Key> {
        let all = self.by_holder.range((holder.0, 0)..=(holder.0, u64::MAX));
        let oldest = all.take(ORDER_LOOKS_MAX).map(|(_, used)| self.by_use[used]);
        oldest
            .into_iter()
            .find(|key| self.entries[key].kept.is_at_rest())
    }
}

#[cfg(test)]
mod tests;
