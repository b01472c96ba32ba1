//! What was placed of messages that were then deferred: the sender's next try places only the rest.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{BodyName, Time};
use mailbox::AccountId;
use smtp::limits::RECIPIENTS_MAX;

/// Shared by the cores of a box, for the next try may come to any. Almost always empty, and then it costs one load.
///
/// A content is known by its BLAKE3 before our trace fields. A transaction is taken for the next try of a deferred one when it brings
/// the same content within `AGE_US_MAX` to at least one account that was not served then. Without such an account it is another
/// message with the same bytes, and all of it is placed.
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
    deferred: HashMap<BodyName, Deferred>,
    /// Oldest first; may name contents that are forgotten already.
    order: VecDeque<(BodyName, Time)>,
}

/// Of one content.
struct Deferred {
    /// Of the first deferral.
    since: Time,
    /// The accounts that have it.
    placed: Vec<AccountId>,
    /// The accounts that the sender is expected to try again.
    missing: Vec<AccountId>,
}

impl Placed {
    /// Those of `wanted` that have this content from an earlier try; none unless the transaction is the next try.
    pub(super) fn recall(&self, content: &[u8], wanted: &[AccountId], now: Time) -> Vec<AccountId> {
        if self.is_empty() {
            return Vec::new();
        }
        let name = BodyName::of(content);
        let table = self.table();
        let fresh = |deferred: &&Deferred| now.since_us(deferred.since) <= AGE_US_MAX;
        let Some(deferred) = table.deferred.get(&name).filter(fresh) else {
            return Vec::new();
        };
        let known = |accounts: &[AccountId]| -> Vec<AccountId> {
            let wanted = wanted.iter().copied();
            wanted
                .filter(|account| accounts.contains(account))
                .collect()
        };
        match known(&deferred.missing).is_empty() {
            true => Vec::new(),
            false => known(&deferred.placed),
        }
    }

    /// The accounts of `placed` have it, those of `missing` do not, and the sender was asked to try again.
    pub(super) fn remember(
        &self,
        content: &[u8],
        placed: &[AccountId],
        missing: &[AccountId],
        now: Time,
    ) {
        if placed.is_empty() && self.is_empty() {
            return;
        }
        let name = BodyName::of(content);
        let mut table = self.table();
        table.forget_aged(now);
        if !table.deferred.contains_key(&name) {
            if placed.is_empty() {
                return;
            }
            table.make_room();
            table.order.push_back((name, now));
        }
        let deferred = table.deferred.entry(name).or_insert(Deferred {
            since: now,
            placed: Vec::new(),
            missing: Vec::new(),
        });
        deferred.missing.retain(|account| !placed.contains(account));
        // An account is on one list only. Another message with the same bytes may fail for one that has the first.
        deferred.placed.retain(|account| !missing.contains(account));
        add(&mut deferred.placed, placed);
        add(&mut deferred.missing, missing);
        // Several transactions with one content, each for others.
        if deferred.placed.len() + deferred.missing.len() > ACCOUNTS_MAX {
            table.deferred.remove(&name);
        }
        self.counted(&table);
    }

    /// All of `served` have it. The content is forgotten when that was the last one missing.
    pub(super) fn settle(&self, content: &[u8], served: &[AccountId]) {
        if self.is_empty() {
            return;
        }
        let name = BodyName::of(content);
        let mut table = self.table();
        let Some(deferred) = table.deferred.get_mut(&name) else {
            return;
        };
        let (has, lacks) = std::mem::take(&mut deferred.missing)
            .into_iter()
            .partition::<Vec<_>, _>(|account| served.contains(account));
        deferred.missing = lacks;
        add(&mut deferred.placed, &has);
        if deferred.missing.is_empty() {
            table.deferred.remove(&name);
        }
        self.counted(&table);
    }

    fn is_empty(&self) -> bool {
        self.shared.count.load(Ordering::Acquire) == 0
    }

    fn counted(&self, table: &Table) {
        let count = table.deferred.len();
        self.shared.count.store(count, Ordering::Release);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic elsewhere leaves the table whole: each change is one step.
        self.shared
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget_aged(&mut self, now: Time) {
        let aged = |&(_, since): &(BodyName, Time)| now.since_us(since) > AGE_US_MAX;
        while self.order.front().is_some_and(aged) {
            self.forget_first();
        }
    }

    fn make_room(&mut self) {
        while self.order.len() >= CONTENTS_MAX {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((name, since)) = self.order.pop_front() else {
            return;
        };
        // One that was forgotten and came again has a later place too.
        let same = |deferred: &Deferred| deferred.since == since;
        if self.deferred.get(&name).is_some_and(same) {
            self.deferred.remove(&name);
        }
    }
}

fn add(accounts: &mut Vec<AccountId>, more: &[AccountId]) {
    for account in more {
        if !accounts.contains(account) {
            accounts.push(*account);
        }
    }
}

/// Contents remembered; each with at most `ACCOUNTS_MAX` accounts of 4 bytes.
const CONTENTS_MAX: usize = 4_096;
/// What one transaction can name. With more it is forgotten, which costs a second copy.
const ACCOUNTS_MAX: usize = RECIPIENTS_MAX;
/// RFC 5321 §4.5.4.1: a sender gives up after 4 to 5 days.
const AGE_US_MAX: u64 = 5 * 24 * 60 * 60 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const A: AccountId = AccountId(1);
    const B: AccountId = AccountId(2);
    const C: AccountId = AccountId(3);

    #[test]
    fn the_next_try_learns_what_the_first_placed() {
        let (placed, now) = (Placed::default(), Time(7));
        assert_eq!(placed.recall(b"x", &[A, B], now), []);
        placed.remember(b"x", &[A], &[B, C], now);
        assert_eq!(placed.recall(b"x", &[A, B], now), [A]);
        assert_eq!(placed.recall(b"y", &[A, B], now), []);
        placed.remember(b"x", &[B], &[C], now);
        assert_eq!(placed.recall(b"x", &[A, B, C], now), [A, B]);
        placed.settle(b"x", &[C]);
        assert_eq!(placed.recall(b"x", &[A, B, C], now), []);
    }

    #[test]
    fn without_a_missing_account_it_is_no_next_try() {
        let (placed, now) = (Placed::default(), Time(7));
        placed.remember(b"x", &[A], &[B], now);
        assert_eq!(placed.recall(b"x", &[A], now), []);
        assert_eq!(placed.recall(b"x", &[A, C], now), []);
        placed.settle(b"x", &[A, C]);
        assert_eq!(placed.recall(b"x", &[A, B], now), [A]);
    }

    #[test]
    fn what_no_sender_tries_again_is_forgotten() {
        let (placed, now) = (Placed::default(), Time(7));
        placed.remember(b"x", &[A], &[B], now);
        assert_eq!(placed.recall(b"x", &[A, B], now.after_us(AGE_US_MAX)), [A]);
        let later = now.after_us(AGE_US_MAX + 1);
        assert_eq!(placed.recall(b"x", &[A, B], later), []);
        // The same content again, as something new: its age begins then.
        placed.remember(b"x", &[B], &[A], later);
        assert_eq!(
            placed.recall(b"x", &[A, B], later.after_us(AGE_US_MAX)),
            [B]
        );
        assert_eq!(placed.table().order.len(), 1);
    }

    #[test]
    fn nothing_is_kept_of_a_transaction_that_placed_nothing() {
        let (placed, now) = (Placed::default(), Time(7));
        placed.remember(b"x", &[], &[A, B], now);
        placed.remember(b"y", &[A], &[B], now);
        placed.remember(b"x", &[], &[A, B], now);
        assert_eq!(placed.table().deferred.len(), 1);
    }

    #[test]
    fn one_content_does_not_collect_accounts_for_ever() {
        let (placed, now) = (Placed::default(), Time(7));
        for index in 0..2 * ACCOUNTS_MAX as u32 {
            placed.remember(
                b"x",
                &[AccountId(2 * index)],
                &[AccountId(2 * index + 1)],
                now,
            );
            let table = placed.table();
            let of = |deferred: &Deferred| deferred.placed.len() + deferred.missing.len();
            assert!(
                table
                    .deferred
                    .values()
                    .all(|deferred| of(deferred) <= ACCOUNTS_MAX)
            );
        }
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let (placed, now) = (Placed::default(), Time(7));
        for index in 0..CONTENTS_MAX as u32 + 1 {
            placed.remember(&index.to_le_bytes(), &[A], &[B], now);
        }
        assert_eq!(placed.recall(&0u32.to_le_bytes(), &[A, B], now), []);
        assert_eq!(placed.recall(&1u32.to_le_bytes(), &[A, B], now), [A]);
        let table = placed.table();
        assert!(table.deferred.len() <= CONTENTS_MAX && table.order.len() <= CONTENTS_MAX);
    }
}
