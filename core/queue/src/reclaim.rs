//! What reclaim asks: which bodies are still to be sent, where they went, and which records would be lost.
//!
//! Entries come into being with bodies that are written in the same group, so no reference passes a mark unseen: a body that was in
//! the segments before the mark has its entry before the mark.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use store::{BodyRef, LocalFuture, Lsn, Purpose, Record, StoreFault};
use volume::{RecordAddress, SegmentIndex};

use crate::arrived::DeliveryId;
use crate::limits::{ARRIVED_AT_ONCE, KEPT_IN_RECORD_MAX, RELOCATIONS_AT_ONCE};
use crate::record::Change;
use crate::{Inner, QueueFault, QueueId, lock_name, store_fault};

impl store::Tenant for Inner {
    fn live_bodies<'a>(
        &'a self,
        segments: &'a [SegmentIndex],
    ) -> LocalFuture<'a, Result<Vec<BodyRef>, StoreFault>> {
        let state = self.state.borrow();
        let bodies = state.entries.values().map(|entry| &entry.body);
        let live: Vec<BodyRef> = bodies
            .filter(|body| body.may_lie_in(segments))
            .cloned()
            .collect();
        Box::pin(async { Ok(live) })
    }

    fn moved<'a>(
        &'a self,
        pairs: Vec<(BodyRef, BodyRef)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move { self.redirect(pairs).await.map_err(store_fault) })
    }

    fn moved_bytes(&self, bodies: &[&BodyRef]) -> u64 {
        let asked: HashMap<RecordAddress, ()> = bodies.iter().map(|body| (body.body, ())).collect();
        let state = self.state.borrow();
        let entries = state.entries.values();
        let count = entries
            .filter(|entry| asked.contains_key(&entry.body.body))
            .count();
        (count * RELOCATION_BYTES_MAX) as u64
    }

    fn carried_bytes<'a>(
        &'a self,
        records: &'a [(Lsn, Record)],
    ) -> LocalFuture<'a, Result<u64, StoreFault>> {
        let carried = self.carried(records).map_err(store_fault);
        Box::pin(async move {
            let bytes = |change: &Change| change.encode().payload.len() + CARRIED_BYTES;
            Ok(carried?.iter().map(bytes).sum::<usize>() as u64)
        })
    }

    fn carry_forward<'a>(
        &'a self,
        records: Vec<(Lsn, Record)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move { self.carry(records).await.map_err(store_fault) })
    }
}

impl Inner {
    /// Durable before the old segment may go. A message that leaves the queue meanwhile makes the change of it void.
    async fn redirect(&self, pairs: Vec<(BodyRef, BodyRef)>) -> Result<(), QueueFault> {
        let moved: HashMap<RecordAddress, BodyRef> = pairs
            .into_iter()
            .map(|(old, new)| (old.body, new))
            .collect();
        let bodies: Vec<(QueueId, BodyRef)> = {
            let state = self.state.borrow();
            let new_place = |(id, entry): (&QueueId, &crate::Entry)| {
                Some((*id, moved.get(&entry.body.body)?.clone()))
            };
            state.entries.iter().filter_map(new_place).collect()
        };
        for some in bodies.chunks(RELOCATIONS_AT_ONCE) {
            let bodies = some.to_vec();
            self.commit(Purpose::Reclaim, vec![Change::Relocate { bodies }])
                .await?;
        }
        Ok(())
    }

    /// Writes again what would be lost with `records`. What a later snapshot covers is lost without harm.
    async fn carry(&self, records: Vec<(Lsn, Record)>) -> Result<(), QueueFault> {
        let said = Said::in_records(&records)?;
        // They may be a segment's worth; the rest of this may wait for the devices.
        drop(records);
        // In one turn, and before anything is awaited: no message of the range can come to be meanwhile, its numbers were given.
        for gone in self.gone(&said) {
            self.commit(Purpose::Reclaim, vec![gone]).await?;
        }
        let ids: Vec<DeliveryId> = said.arrived.iter().copied().collect();
        for some in ids.chunks(ARRIVED_AT_ONCE) {
            // What is known of one grows only: no lock. A delivery on its way to the log says the same or more.
            let again = self.arrived_again(some);
            if !again.is_empty() {
                self.commit(Purpose::Reclaim, again).await?;
            }
        }
        for (id, lsn) in said.messages {
            // Every change of a message takes this lock until it is applied: what is read here is the message at this place of the log.
            let _locked = self.locks.lock(lock_name(id)).await;
            if let Some(snapshot) = self.snapshot(id, lsn) {
                self.commit(Purpose::Reclaim, vec![snapshot]).await?;
            }
        }
        Ok(())
    }

    /// What `carry` would write.
    pub(crate) fn carried(&self, records: &[(Lsn, Record)]) -> Result<Vec<Change>, QueueFault> {
        let said = Said::in_records(records)?;
        let mut changes = self.gone(&said);
        let ids: Vec<DeliveryId> = said.arrived.iter().copied().collect();
        changes.extend(self.arrived_again(&ids));
        changes.extend(
            said.messages
                .iter()
                .filter_map(|(id, lsn)| self.snapshot(*id, *lsn)),
        );
        Ok(changes)
    }

    /// That every message of the removals' range is gone but those that are there.
    fn gone(&self, said: &Said) -> Vec<Change> {
        let Some((from, to)) = said.removed else {
            return Vec::new();
        };
        let state = self.state.borrow();
        let there: Vec<QueueId> = state.entries.range(from..to).map(|(id, _)| *id).collect();
        let mut changes = Vec::new();
        let mut begin = from;
        let mut parts = there.chunks(KEPT_IN_RECORD_MAX).peekable();
        loop {
            // until the range ends
            let kept = parts.next().map_or(Vec::new(), <[QueueId]>::to_vec);
            let end = parts.peek().map_or(to, |next| next[0]);
            changes.push(Change::Gone {
                from: begin,
                to: end,
                kept,
            });
            begin = end;
            if parts.peek().is_none() {
                return changes;
            }
        }
    }

    /// Those of the deliveries that are to be remembered.
    fn arrived_again(&self, ids: &[DeliveryId]) -> Vec<Change> {
        let state = self.state.borrow();
        let again = |id: &DeliveryId| {
            let served = state.arrived.find(*id)?.clone();
            let is_recent = state.arrived.is_recent(*id);
            is_recent.then_some(Change::Arrived { id: *id, served })
        };
        ids.iter().filter_map(again).collect()
    }

    /// The message as a record, unless a snapshot after `lsn` exists or the message does not.
    fn snapshot(&self, id: QueueId, lsn: Lsn) -> Option<Change> {
        let state = self.state.borrow();
        let entry = state
            .entries
            .get(&id)
            .filter(|entry| entry.snapshot <= lsn)?;
        Some(Change::Snapshot {
            entry: entry.clone(),
        })
    }
}

/// What records are about: messages with the latest of them, the range of numbers of those removed, and deliveries.
#[derive(Default)]
struct Said {
    messages: BTreeMap<QueueId, Lsn>,
    removed: Option<(QueueId, QueueId)>,
    arrived: BTreeSet<DeliveryId>,
}

impl Said {
    fn in_records(records: &[(Lsn, Record)]) -> Result<Said, QueueFault> {
        let mut said = Said::default();
        for (lsn, record) in records {
            match Change::decode(record)? {
                Change::Put { id, .. }
                | Change::Tried { id, .. }
                | Change::Hold { id, .. }
                | Change::Retry { id, .. } => said.note(id, *lsn),
                Change::Snapshot { entry } => said.note(entry.id, *lsn),
                Change::Relocate { bodies } => {
                    bodies.iter().for_each(|(id, _)| said.note(*id, *lsn));
                }
                Change::Arrived { id, .. } => _ = said.arrived.insert(id),
                Change::Remove { id } => said.note_removed(id, QueueId(id.0 + 1)),
                Change::Gone { from, to, .. } => said.note_removed(from, to),
            }
        }
        Ok(said)
    }

    fn note(&mut self, id: QueueId, lsn: Lsn) {
        let latest = self.messages.entry(id).or_insert(lsn);
        *latest = lsn.max(*latest);
    }

    /// One range over all, however far apart they are: `Gone` names the messages that are left in it, and those are few beside what a segment removes.
    fn note_removed(&mut self, from: QueueId, to: QueueId) {
        let (known_from, known_to) = self.removed.unwrap_or((from, to));
        self.removed = Some((known_from.min(from), known_to.max(to)));
    }
}

/// A body reference with its number, encoded.
const RELOCATION_BYTES_MAX: usize = 160;
/// The frame around a record.
const CARRIED_BYTES: usize = 64;
