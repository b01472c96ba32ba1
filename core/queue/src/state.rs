//! What is in memory: every message that waits, and when each is due. A checkpoint collects what changed; nothing is evicted.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use base::cursor::Reader;
use store::{BodyRef, Change as Row, Table};
use tenancy::encoding::{Broken, decode_number, encode_number};

use crate::arrived::Arrived;
use crate::entry::{ENTRIES, Entry, entry_key};
use crate::limits::{AHEAD_MAX_S, DIRTY_MAX, SITES_PER_LOOK};
use crate::{QueueId, UnixSeconds};

/// The number of the next message, in one row.
pub(crate) const COUNTERS: Table = Table(64);

/// What one look for due messages may give.
pub struct Turn<'t> {
    /// What is past its time comes first, due or not.
    pub age_counts: bool,
    /// So does what its sender is to hear of.
    pub warns: bool,
    /// Messages in all.
    pub count_max: usize,
    /// How many for this site; 0: none go there now.
    pub room: &'t dyn Fn(&str) -> usize,
    /// Whether a message is under way already.
    pub is_taken: &'t dyn Fn(QueueId) -> bool,
}

pub(crate) struct State {
    pub entries: BTreeMap<QueueId, Entry>,
    /// Recipients of all of them.
    pub addressees: usize,
    /// Counts what entered and left.
    pub turns: u64,
    /// By the time of the next try.
    due: BTreeSet<(UnixSeconds, QueueId)>,
    /// The same for each site that messages wait for.
    sites: BTreeMap<String, BTreeSet<(UnixSeconds, QueueId)>>,
    /// By the time at which the sender is to hear that it waits.
    warnings: BTreeSet<(UnixSeconds, QueueId)>,
    /// By the time at which it is given up.
    ends: BTreeSet<(UnixSeconds, QueueId)>,
    /// Differ from the projection since the last `collect`, or gone from here.
    dirty: BTreeSet<QueueId>,
    /// What the checkpoint under way writes.
    writing: BTreeSet<QueueId>,
    next: QueueId,
    /// As the projection has it, and as the checkpoint under way writes it.
    next_written: QueueId,
    next_writing: QueueId,
    assigned: QueueId,
    /// Deliveries that came in lately.
    pub arrived: Arrived,
    /// Messages on their way to the log, and their recipients.
    pub arriving: usize,
    pub addressees_arriving: usize,
    /// Bodies that lost their message, until the caller takes them.
    pub dropped: Vec<BodyRef>,
}

impl State {
    pub fn new() -> State {
        State {
            entries: BTreeMap::new(),
            addressees: 0,
            turns: 0,
            due: BTreeSet::new(),
            sites: BTreeMap::new(),
            warnings: BTreeSet::new(),
            ends: BTreeSet::new(),
            dirty: BTreeSet::new(),
            writing: BTreeSet::new(),
            next: QueueId(1),
            next_written: QueueId(1),
            next_writing: QueueId(1),
            assigned: QueueId(1),
            arrived: Arrived::default(),
            arriving: 0,
            addressees_arriving: 0,
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
        self.enter(entry);
        Ok(())
    }

    // Changes; `Change::apply` alone calls these.

    pub fn put(&mut self, entry: Entry) {
        let id = entry.id;
        self.raise_next(id);
        self.leave(id);
        self.enter(entry);
        self.dirty.insert(id);
    }

    pub fn change(&mut self, id: QueueId, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.leave(id) {
            change(&mut entry);
            self.enter(entry);
            self.dirty.insert(id);
        }
    }

    pub fn remove(&mut self, id: QueueId) {
        self.raise_next(id);
        if let Some(entry) = self.leave(id) {
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

    /// Into `entries` and what finds it there.
    fn enter(&mut self, entry: Entry) {
        let id = entry.id;
        self.turns += 1;
        self.addressees += entry.recipients.len();
        self.due.extend(entry.next_try().map(|at| (at, id)));
        self.warnings.extend(entry.warning().map(|at| (at, id)));
        self.ends.extend(entry.end().map(|at| (at, id)));
        for (site, at) in entry.sites() {
            self.sites.entry(site).or_default().insert((at, id));
        }
        self.entries.insert(id, entry);
    }

    /// Out of all that `enter` put it into.
    fn leave(&mut self, id: QueueId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.turns += 1;
        self.addressees -= entry.recipients.len();
        if let Some(at) = entry.next_try() {
            self.due.remove(&(at, id));
        }
        if let Some(at) = entry.warning() {
            self.warnings.remove(&(at, id));
        }
        if let Some(at) = entry.end() {
            self.ends.remove(&(at, id));
        }
        for (site, at) in entry.sites() {
            if let Some(of_site) = self.sites.get_mut(&site) {
                of_site.remove(&(at, id));
                if of_site.is_empty() {
                    self.sites.remove(&site);
                }
            }
        }
        Some(entry)
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

    /// As `Queue::due_in_turn`.
    pub fn due_in_turn(
        &self,
        now: UnixSeconds,
        turn: &Turn<'_>,
        after: &mut String,
    ) -> Vec<QueueId> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        // Nothing is walked over here but what is found and what is under way: a look costs the same however much is past its time.
        let late = [(turn.age_counts, &self.ends), (turn.warns, &self.warnings)];
        for (_, id) in late
            .into_iter()
            .filter(|(counts, _)| *counts)
            .flat_map(|(_, by_time)| by_time.iter().take_while(|(at, _)| *at <= now))
        {
            if found.len() == turn.count_max {
                return found;
            }
            if !(turn.is_taken)(*id) && seen.insert(*id) {
                found.push(*id);
            }
        }
        let from = (Bound::Excluded(after.clone()), Bound::Unbounded);
        let behind = self.sites.range(from);
        let before = self.sites.range(..=after.clone());
        for (site, of_site) in behind.chain(before).take(SITES_PER_LOOK) {
            if found.len() == turn.count_max {
                break;
            }
            after.clone_from(site);
            let room = (turn.room)(site).min(turn.count_max - found.len());
            if room == 0 {
                continue;
            }
            let due = of_site.iter().take_while(|(at, _)| *at <= now);
            let ahead = UnixSeconds(now.0.saturating_add(AHEAD_MAX_S));
            let ahead = of_site.iter().rev().take_while(move |(at, _)| *at > ahead);
            let free = due.chain(ahead).map(|(_, id)| *id);
            let free = free.filter(|id| !(turn.is_taken)(*id) && !seen.contains(id));
            let some: Vec<QueueId> = free.take(room).collect();
            seen.extend(&some);
            found.extend(some);
        }
        found
    }

    /// When the next message is due, that of the oldest waits since, and how many wait now: held ones are not among them.
    pub fn first_due(&self) -> Option<UnixSeconds> {
        self.due.first().map(|(at, _)| *at)
    }

    // Rows out.

    pub fn is_dirty(&self) -> bool {
        let entries = !self.dirty.is_empty() || !self.writing.is_empty();
        entries || self.next != self.next_written || self.arrived.is_dirty()
    }

    pub fn is_behind(&self, part: usize) -> bool {
        self.dirty.len() + self.writing.len() >= DIRTY_MAX / 4 * part
    }

    pub fn dirty_rows(&self) -> u64 {
        (self.dirty.len() + self.writing.len() + self.arrived.dirty_rows()) as u64
    }

    /// Adds every row that differs from the projection. What an earlier checkpoint failed to write is among them.
    pub fn collect(&mut self, rows: &mut Vec<Row>) {
        self.writing.append(&mut self.dirty);
        self.arrived.collect(rows);
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
        self.arrived.settle();
        self.next_written = self.next_writing;
    }

    /// What must hold between calls; for tests and the simulator, which build everything from the entries again.
    pub fn check(&self) {
        let due: BTreeSet<_> = self
            .entries
            .values()
            .filter_map(|entry| Some((entry.next_try()?, entry.id)))
            .collect();
        assert_eq!(self.due, due);
        let entries = self.entries.values();
        let warnings: BTreeSet<_> = entries
            .clone()
            .filter_map(|entry| Some((entry.warning()?, entry.id)))
            .collect();
        assert_eq!(self.warnings, warnings);
        let ends: BTreeSet<_> = entries
            .clone()
            .filter_map(|entry| Some((entry.end()?, entry.id)))
            .collect();
        assert_eq!(self.ends, ends);
        let sites: BTreeSet<_> = entries
            .flat_map(|entry| {
                entry
                    .sites()
                    .into_iter()
                    .map(|(site, at)| (site, at, entry.id))
            })
            .collect();
        let indexed = self.sites.iter();
        let indexed =
            indexed.flat_map(|(site, of)| of.iter().map(|(at, id)| (site.clone(), *at, *id)));
        assert_eq!(indexed.collect::<BTreeSet<_>>(), sites);
        let count: usize = self
            .entries
            .values()
            .map(|entry| entry.recipients.len())
            .sum();
        assert_eq!(self.addressees, count);
        assert!(self.entries.keys().all(|id| *id < self.next));
        assert!(self.next <= self.assigned);
        self.arrived.check();
    }
}
