//! What is in memory: every message that waits, and when each is due. A checkpoint collects what changed; nothing is evicted.

use std::collections::{BTreeMap, BTreeSet};

use base::cursor::Reader;
use store::{BodyRef, Change as Row, Table};
use tenancy::encoding::{Broken, decode_number, encode_number};

use crate::entry::{ENTRIES, Entry, entry_key};
use crate::limits::DIRTY_MAX;
use crate::{QueueId, UnixSeconds};

/// The number of the next message, in one row.
pub(crate) const COUNTERS: Table = Table(64);

pub(crate) struct State {
    pub entries: BTreeMap<QueueId, Entry>,
    /// By the time of the next try.
    due: BTreeSet<(UnixSeconds, QueueId)>,
    /// Differ from the projection since the last `collect`, or gone from here.
    dirty: BTreeSet<QueueId>,
    /// What the checkpoint under way writes.
    writing: BTreeSet<QueueId>,
    next: QueueId,
    /// As the projection has it, and as the checkpoint under way writes it.
    next_written: QueueId,
    next_writing: QueueId,
    assigned: QueueId,
    /// Messages on their way to the log.
    pub arriving: usize,
    /// Bodies that lost their message, until the caller takes them.
    pub dropped: Vec<BodyRef>,
}

impl State {
    pub fn new() -> State {
        State {
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            dirty: BTreeSet::new(),
            writing: BTreeSet::new(),
            next: QueueId(1),
            next_written: QueueId(1),
            next_writing: QueueId(1),
            assigned: QueueId(1),
            arriving: 0,
            dropped: Vec::new(),
        }
    }

    // Rows in.

    pub fn install_counters(&mut self, row: &[u8]) -> Result<(), Broken> {
        self.next = QueueId(decode_number(row)?);
        (self.assigned, self.next_written) = (self.next, self.next);
        Ok(())
    }

    pub fn install(&mut self, row: &[u8]) -> Result<(), Broken> {
        let reader = &mut Reader::new(row);
        let entry = Entry::decode(reader)?;
        if !reader.is_empty() {
            return Err(Broken);
        }
        self.due.extend(entry.next_try().map(|at| (at, entry.id)));
        self.entries.insert(entry.id, entry);
        Ok(())
    }

    // Changes; `Change::apply` alone calls these.

    pub fn put(&mut self, entry: Entry) {
        let id = entry.id;
        self.raise_next(id);
        self.forget_due(id);
        self.due.extend(entry.next_try().map(|at| (at, id)));
        self.entries.insert(id, entry);
        self.dirty.insert(id);
    }

    pub fn change(&mut self, id: QueueId, change: impl FnOnce(&mut Entry)) {
        self.forget_due(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            change(entry);
            self.due.extend(entry.next_try().map(|at| (at, id)));
            self.dirty.insert(id);
        }
    }

    pub fn remove(&mut self, id: QueueId) {
        self.raise_next(id);
        self.forget_due(id);
        if let Some(entry) = self.entries.remove(&id) {
            self.dropped.push(entry.body);
            self.dirty.insert(id);
        }
    }

    /// The number is taken.
    pub fn raise_next(&mut self, id: QueueId) {
        if id >= self.next {
            self.next = QueueId(id.0 + 1);
        }
        self.assigned = self.assigned.max(self.next);
    }

    fn forget_due(&mut self, id: QueueId) {
        if let Some(at) = self.entries.get(&id).and_then(Entry::next_try) {
            self.due.remove(&(at, id));
        }
    }

    /// A number for a new message.
    pub fn assign(&mut self) -> QueueId {
        let id = self.assigned;
        self.assigned = QueueId(id.0 + 1);
        id
    }

    /// Numbers of messages with a recipient to be tried at `now` or before, the longest due first.
    pub fn due(&self, now: UnixSeconds, count_max: usize) -> Vec<QueueId> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        due.take(count_max).map(|(_, id)| *id).collect()
    }

    // Rows out.

    pub fn is_dirty(&self) -> bool {
        self.next != self.next_written || !self.dirty.is_empty() || !self.writing.is_empty()
    }

    pub fn is_behind(&self, part: usize) -> bool {
        self.dirty.len() + self.writing.len() >= DIRTY_MAX / 4 * part
    }

    pub fn dirty_rows(&self) -> u64 {
        (self.dirty.len() + self.writing.len()) as u64
    }

    /// Adds every row that differs from the projection. What an earlier checkpoint failed to write is among them.
    pub fn collect(&mut self, rows: &mut Vec<Row>) {
        self.writing.append(&mut self.dirty);
        self.next_writing = self.next;
        if self.next != self.next_written {
            rows.push(Row {
                table: COUNTERS,
                key: Vec::new(),
                value: Some(encode_number(self.next.0)),
            });
        }
        for id in &self.writing {
            let value = self.entries.get(id).map(|entry| {
                let mut out = Vec::with_capacity(400);
                entry.encode(&mut out);
                out
            });
            rows.push(Row {
                table: ENTRIES,
                key: entry_key(*id),
                value,
            });
        }
    }

    /// What the last `collect` gave is durable in the projection.
    pub fn settle(&mut self) {
        self.writing.clear();
        self.next_written = self.next_writing;
    }

    /// What must hold between calls.
    #[cfg(test)]
    pub fn check(&self) {
        let due: BTreeSet<_> = self
            .entries
            .values()
            .filter_map(|entry| Some((entry.next_try()?, entry.id)))
            .collect();
        assert_eq!(self.due, due);
        assert!(self.entries.keys().all(|id| *id < self.next));
        assert!(self.next <= self.assigned);
    }
}
