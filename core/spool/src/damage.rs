//! What the spool's volume has lost on every leg: named, and given up when the operator says so.
//!
//! What must hold: after it the lists and the gauges are what the queue has, also where the log could be read on and more came in.

use std::collections::HashMap;

use queue::{Entry, QueueId};
use store::StoreFault;

use crate::{Inner, Spool, since};

impl Spool {
    /// The operator gives up acknowledged batches that no leg has (`tenancy::Tenancy::accept_damage`). `Err`: not completed; a restart and another try are due.
    pub async fn accept_damage(&self) -> Result<(), StoreFault> {
        let inner = &self.inner;
        let before = inner.queue.entries(None, usize::MAX);
        let accepted = inner.queue.tenancy().accept_damage().await;
        // What was read on counts, whatever came then.
        inner.settle_lists(&before);
        accepted
    }

    /// What damaged batches still show of themselves: a sentence for each message or change, at most `count_max`.
    pub async fn named_in_damage(&self, count_max: usize) -> Vec<String> {
        let store = self.inner.queue.tenancy().store();
        let records = store.records_in_damage(count_max).await;
        let records = records.iter().take(count_max);
        let named = records.map(|record| match queue::salvage::describe(record) {
            Some(words) => format!("a change of the spool: {words}"),
            None => "a record that cannot be read".to_owned(),
        });
        named.collect()
    }
}

impl Inner {
    /// `before`: what the queue had when the lists were right.
    fn settle_lists(&self, before: &[Entry]) {
        let bytes: HashMap<QueueId, u64> = before
            .iter()
            .map(|entry| (entry.id, u64::from(entry.body.raw_bytes)))
            .collect();
        let of = |id: &QueueId| bytes.get(id).copied().unwrap_or(0);
        let waits = |id: &QueueId| self.queue.entry(*id).is_some_and(|entry| !entry.held);
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|id| {
            let stays = waits(id);
            if !stays {
                self.gauges.leave(of(id));
            }
            stays
        });
        drop(waiting);
        let mut kept = self.kept.borrow_mut();
        kept.retain(|(at, id)| {
            let entry = self.queue.entry(*id);
            let stays = entry.is_some_and(|entry| entry.held && since(&entry) == *at);
            if !stays {
                self.gauges.unkeep(of(id));
            }
            stays
        });
        drop(kept);
        for entry in self.queue.entries(None, usize::MAX) {
            if !entry.held && !self.waiting.borrow().contains(&entry.id) {
                self.gauges.enter(u64::from(entry.body.raw_bytes));
            }
            self.place(&entry);
        }
        self.note_oldest();
        self.arrived.ring();
    }
}
