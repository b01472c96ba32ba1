//! The groups on their way into the log: those that wait, the one whose chunks go ahead, and what is in the batches at the volume.
//!
//! What must hold between calls: `bytes` is what the waiting groups hold; each group that was queued is in exactly one of the three places until it is
//! durable or has failed, so what they owe the projection together is what `Space` counts as queued. `check` recounts it.

use std::cell::Cell;
use std::collections::VecDeque;

use base::host::{Sender, Time};
use bytes::Bytes;
use volume::RecordAddress;

use crate::frame::Kind;
use crate::limits::*;
use crate::{Committed, Group, Lsn, Purpose, StoreFault};

/// Told where a frame of the store's own lies, once durable.
pub(crate) type OnPlaced = Box<dyn FnOnce(Result<(Lsn, RecordAddress), StoreFault>)>;
/// Where the answer of a caller goes.
pub(crate) type Reply<T> = Sender<Result<T, StoreFault>>;

/// What a caller does with its group at the moment of durability, in the order of the log.
pub(crate) type Applied = Box<dyn FnOnce(&Committed)>;
/// For each body its zstd form where that pays: one for a body stored whole, one for each chunk of a larger one.
pub(crate) type Packed = Vec<Vec<Option<Bytes>>>;
/// A group that waits for a batch.
pub(crate) struct Waiting {
    /// What the caller appends.
    pub group: Group,
    /// What the caller does at the moment of durability, before it gets its answer.
    pub applied: Option<Applied>,
    /// The caller that waits for the group.
    pub reply: Reply<Committed>,
    /// Compressed forms made beforehand (reclaim); empty: decide when placing.
    pub packed: Packed,
    /// The reserve that the group may draw on.
    pub purpose: Purpose,
    /// What it counts for in the queue's bound, about.
    pub bytes: usize,
    /// Of the projection, owed until a checkpoint. None: it has no records.
    pub rows: u64,
    /// When it was queued; the first of the queue decides how long a batch is waited for.
    pub since: Time,
}

/// A frame of the store's own that waits for a batch.
pub(crate) struct OwnFrame {
    pub kind: Kind,
    /// The single run that it carries.
    pub run: Bytes,
    /// Of the group that it belongs to.
    pub purpose: Purpose,
    /// Called once, with the frame's place or the fault.
    pub placed: OnPlaced,
}

/// The batch that landed last.
#[derive(Default, Clone, Copy)]
pub(crate) struct Landed {
    /// When it was durable.
    pub at: Time,
    /// Microseconds from its submission to its durability.
    pub took_us: u64,
    /// Groups in it. The next batch waits briefly for as many.
    pub groups: usize,
}

/// What one batch at the volume carries of groups.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Rows that its groups owe the projection.
    pub rows: u64,
    /// Groups whose chunks went ahead.
    pub chunked: u32,
}

/// See the head of the file.
#[derive(Default)]
pub(crate) struct Queue {
    groups: VecDeque<Waiting>,
    /// The store's own frames: chunks the head group waits for, page tables. They go first.
    own: VecDeque<OwnFrame>,
    bytes: usize,
    landed: Landed,
    /// The committer is to be woken when so many groups wait; 0: it waits for no number.
    awaited: usize,
    committing: bool,
    /// What the group owes whose chunks go ahead.
    chunking: Option<u64>,
    /// Of the batches at the volume, in their order.
    flying: VecDeque<Load>,
    unchecked: Cell<bool>,
}

impl Queue {
    /// Bytes of the groups that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The group that goes next.
    pub fn first(&self) -> Option<&Waiting> {
        self.groups.front()
    }

    /// The store's own frame that goes next.
    pub fn first_own(&self) -> Option<&OwnFrame> {
        self.own.front()
    }

    pub fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// Whether nothing waits. Batches may still be on their way.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.own.is_empty()
    }

    /// Past this `Store::room` holds callers back.
    pub fn is_past_soft(&self) -> bool {
        self.bytes >= QUEUE_BYTES_SOFT || self.groups.len() >= QUEUE_GROUPS_SOFT
    }

    /// Whether a group of `bytes` more would be past the hard bound: it is refused with `Deferred`.
    pub fn is_past_hard(&self, bytes: usize) -> bool {
        self.bytes + bytes > QUEUE_BYTES_HARD || self.groups.len() >= QUEUE_GROUPS_HARD
    }

    /// The group waits behind the others. `true`: the committer has something to do now that it did not have before; `full_bytes` of waiting groups
    /// fill a batch.
    pub fn push(&mut self, waiting: Waiting, full_bytes: usize) -> bool {
        assert!(!self.is_past_hard(waiting.bytes), "refused before");
        let was_full = self.bytes >= full_bytes;
        self.bytes += waiting.bytes;
        self.groups.push_back(waiting);
        self.unchecked.set(true);
        let is_full = !was_full && self.bytes >= full_bytes;
        self.groups.len() == 1 || self.groups.len() == self.awaited || is_full
    }

    /// The frame waits behind the other frames of the store's own, and before every group.
    pub fn push_own(&mut self, frame: OwnFrame) {
        self.own.push_back(frame);
    }

    /// The first group, which goes into a batch, or ahead in chunks.
    pub fn take_first(&mut self) -> Option<Waiting> {
        let waiting = self.groups.pop_front()?;
        assert!(waiting.bytes <= self.bytes, "counted when it was queued");
        self.bytes -= waiting.bytes;
        self.unchecked.set(true);
        Some(waiting)
    }

    /// It did not go after all: it is the first again.
    pub fn put_back(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes;
        self.groups.push_front(waiting);
    }

    /// The store's own frame that waits longest.
    pub fn take_own(&mut self) -> Option<OwnFrame> {
        self.own.pop_front()
    }

    /// The group that was first goes ahead in chunks; groups behind it wait.
    pub fn chunking_begins(&mut self, rows: u64) {
        assert!(self.chunking.is_none(), "one at a time");
        self.chunking = Some(rows);
        self.unchecked.set(true);
    }

    /// It goes into a batch itself, or has failed.
    pub fn chunking_ends(&mut self) {
        assert!(self.chunking.take().is_some());
        self.unchecked.set(true);
    }

    /// A batch with `load` goes to the volume.
    pub fn flight_begins(&mut self, load: Load) {
        assert!(self.flying.len() < BATCHES_IN_FLIGHT_MAX);
        self.flying.push_back(load);
        self.unchecked.set(true);
    }

    /// The oldest batch at the volume is durable, or failed.
    pub fn flight_ends(&mut self, landed: Landed) {
        assert!(self.flying.pop_front().is_some(), "batches land in order");
        self.landed = landed;
        self.unchecked.set(true);
    }

    /// The batch that landed last. Its callers are likely to append again, so the next batch waits briefly for as many groups.
    pub fn landed(&self) -> Landed {
        self.landed
    }

    /// The committer waits until `groups` wait; 0: for no number.
    pub fn await_groups(&mut self, groups: usize) {
        self.awaited = groups;
    }

    /// A committer runs from here on. `false`: one does already.
    pub fn begin_committing(&mut self) -> bool {
        !std::mem::replace(&mut self.committing, true)
    }

    /// The committer ends. It may do so only when nothing waits and nothing is on its way, or a caller would wait for
    /// ever.
    pub fn end_committing(&mut self) {
        assert!(self.is_empty(), "no caller is left behind");
        assert!(self.flying.is_empty() && self.chunking.is_none());
        self.committing = false;
    }

    /// Groups whose chunks are in the log or go there, and which are not durable themselves.
    pub fn chunked_under_way(&self) -> u32 {
        let flying: u32 = self.flying.iter().map(|load| load.chunked).sum();
        u32::from(self.chunking.is_some()) + flying
    }

    /// Stops the process where a recount gives something else than what is known; `queued_rows` is what `Space` knows of it. `false`: nothing has
    /// changed since the last call, so nothing was looked at.
    pub fn check(&self, queued_rows: u64) -> bool {
        if !self.unchecked.replace(false) {
            return false;
        }
        let bytes: usize = self.groups.iter().map(|waiting| waiting.bytes).sum();
        assert_eq!(self.bytes, bytes, "bytes of the groups that wait");
        let waiting: u64 = self.groups.iter().map(|waiting| waiting.rows).sum();
        let flying: u64 = self.flying.iter().map(|load| load.rows).sum();
        let owed = waiting + self.chunking.unwrap_or(0) + flying;
        assert_eq!(queued_rows, owed, "rows owed by groups under way");
        assert!(self.groups.len() <= QUEUE_GROUPS_HARD && self.bytes <= QUEUE_BYTES_HARD);
        assert!(self.flying.len() <= BATCHES_IN_FLIGHT_MAX);
        assert!(
            self.committing || (self.is_empty() && self.flying.is_empty()),
            "what waits has a committer"
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(bytes: usize, rows: u64) -> Waiting {
        Waiting {
            group: Group::default(),
            applied: None,
            reply: base::host::oneshot().0,
            packed: Packed::new(),
            purpose: Purpose::Keep,
            bytes,
            rows,
            since: Time(0),
        }
    }

    #[test]
    fn a_group_counts_once_wherever_it_is() {
        let mut queue = Queue::default();
        assert!(queue.begin_committing() && !queue.begin_committing());
        assert!(queue.push(waiting(100, 3), 1_000));
        assert!(!queue.push(waiting(200, 4), 1_000));
        assert!(queue.push(waiting(900, 0), 1_000), "a batch is full");
        assert!(queue.check(7));
        let first = queue.take_first().expect("it waits");
        queue.put_back(first);
        assert!(queue.check(7) && !queue.check(7));
        let first = queue.take_first().expect("it waits");
        queue.chunking_begins(first.rows);
        assert!(queue.check(7));
        assert_eq!((queue.bytes(), queue.chunked_under_way()), (1_100, 1));
        queue.chunking_ends();
        let second = queue.take_first().expect("it waits");
        let rows = first.rows + second.rows;
        queue.flight_begins(Load { rows, chunked: 1 });
        assert!(queue.check(7));
        assert_eq!(queue.chunked_under_way(), 1);
        queue.flight_ends(Landed::default());
        assert!(queue.check(0));
        queue.take_first();
        queue.end_committing();
        assert!(queue.check(0));
    }

    #[test]
    #[should_panic(expected = "rows owed")]
    fn a_debt_that_nothing_stands_for_is_seen() {
        let mut queue = Queue::default();
        queue.begin_committing();
        queue.push(waiting(100, 3), 1_000);
        queue.take_first();
        assert!(queue.check(3));
    }
}
