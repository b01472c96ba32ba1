//! What was placed of messages that were then deferred: the sender's next try places only the rest.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::BodyName;
use mailbox::AccountId;

/// Shared by the cores of a box, for the next try may come to any. Almost always empty, and then it costs one load.
///
/// A content is known by its BLAKE3 before our trace fields. Two different transactions with one and the same content are taken for
/// tries of one; a sender who repeats a message, Message-ID and all, while an earlier copy is deferred gets one copy placed, not two.
#[derive(Clone, Default)]
pub struct Placed {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    count: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    accounts: HashMap<BodyName, Vec<AccountId>>,
    /// Oldest first; may name contents that are forgotten already.
    order: VecDeque<BodyName>,
}

impl Placed {
    /// Those of `wanted` (sorted) who have this content from an earlier try.
    pub(super) fn recall(&self, content: &[u8], wanted: &[AccountId]) -> Vec<AccountId> {
        if self.shared.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let name = BodyName::of(content);
        let table = self.table();
        let known = table.accounts.get(&name).map_or(&[][..], Vec::as_slice);
        wanted
            .iter()
            .copied()
            .filter(|account| known.contains(account))
            .collect()
    }

    /// `accounts` got it, others did not.
    pub(super) fn remember(&self, content: &[u8], accounts: &[AccountId]) {
        if accounts.is_empty() {
            return;
        }
        let name = BodyName::of(content);
        let mut table = self.table();
        while table.order.len() >= CONTENTS_MAX {
            let Some(oldest) = table.order.pop_front() else {
                break;
            };
            table.accounts.remove(&oldest);
        }
        if !table.accounts.contains_key(&name) {
            table.order.push_back(name);
        }
        table
            .accounts
            .entry(name)
            .or_default()
            .extend_from_slice(accounts);
        self.shared
            .count
            .store(table.accounts.len(), Ordering::Release);
    }

    /// Everybody has it now.
    pub(super) fn forget(&self, content: &[u8]) {
        let mut table = self.table();
        table.accounts.remove(&BodyName::of(content));
        self.shared
            .count
            .store(table.accounts.len(), Ordering::Release);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic elsewhere leaves the table whole: each change is one step.
        self.shared
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Contents remembered; each with at most `smtp::limits::RECIPIENTS_MAX` accounts of 4 bytes.
const CONTENTS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    const A: AccountId = AccountId(1);
    const B: AccountId = AccountId(2);

    #[test]
    fn the_next_try_learns_what_the_first_placed() {
        let placed = Placed::default();
        assert_eq!(placed.recall(b"x", &[A, B]), []);
        placed.remember(b"x", &[A]);
        assert_eq!(placed.recall(b"x", &[A, B]), [A]);
        assert_eq!(placed.recall(b"y", &[A, B]), []);
        placed.remember(b"x", &[B]);
        assert_eq!(placed.recall(b"x", &[A, B]), [A, B]);
        placed.forget(b"x");
        assert_eq!(placed.recall(b"x", &[A, B]), []);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let placed = Placed::default();
        for index in 0..CONTENTS_MAX as u32 + 1 {
            placed.remember(&index.to_le_bytes(), &[A]);
        }
        assert_eq!(placed.recall(&0u32.to_le_bytes(), &[A]), []);
        assert_eq!(placed.recall(&1u32.to_le_bytes(), &[A]), [A]);
        let table = placed.table();
        assert!(table.accounts.len() <= CONTENTS_MAX && table.order.len() <= CONTENTS_MAX);
    }
}
