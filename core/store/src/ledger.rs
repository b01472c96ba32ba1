//! What reclaim knows of the segments: what emptying each would write, what is emptied already, and what it may still spend.
//!
//! A count is exact when a pass asks the layer above, and an estimate from then on: deaths lower it (`note_dead`, and what is copied elsewhere), and nothing raises it, since a sealed
//! segment gains nothing. So a segment is asked about again only when enough of it died, or enough changed elsewhere that its records may have become
//! worthless. At rest nothing is asked.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use base::host::Bell;
use volume::{Generation, Lsn, SegmentIndex, SegmentReport};

use crate::limits::*;
use crate::{BodyRef, Codec};

/// Only what is emptied outlives the process, in the note of each checkpoint.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Of segments that hold bodies or records.
    counts: RefCell<HashMap<SegmentIndex, Count>>,
    /// Segments that wait for a checkpoint, which names them in its note.
    pub emptied: RefCell<Vec<Emptied>>,
    /// Left alone: something in them cannot be read on any leg.
    pub damaged: RefCell<Vec<SegmentIndex>>,
    /// A pass is under way. There is one at a time.
    pub running: Cell<bool>,
    /// A pass is between its first copy and the last word on what it emptied; `rested` rings at the end.
    pub emptying: Cell<bool>,
    /// Rung when a pass has ended its work on segments.
    pub rested: Bell,
    /// Large bodies that died: their chunks are looked up by the next pass.
    dead_lists: RefCell<Vec<BodyRef>>,
    /// Bytes that the layer above appended, and bytes of bodies that died, since open.
    changed_bytes: Cell<u64>,
    /// `changed_bytes` when a pass last came to its end without having freed or emptied a segment.
    found_nothing_at: Cell<Option<u64>>,
    /// Bytes that reclaim may write beyond what it gains.
    credit_bytes: Cell<u64>,
}

/// Bytes that emptying a segment would write.
#[derive(Debug, Clone, Copy)]
struct Count {
    bytes: u64,
    /// When it was last asked about; `None`: counted as it was filled.
    asked: Option<Asked>,
}

/// An answer of the layer above about one segment.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// The bytes by that answer.
    bytes: u64,
    /// `changed_bytes` then.
    at: u64,
}

/// Nothing live is left in it; free once a checkpoint stands for `since`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Emptied {
    pub segment: SegmentIndex,
    /// Its generation, by which the free is recorded.
    pub generation: Generation,
    /// A checkpoint that stands for this needs nothing of the segment: the layer above recorded all new places before it.
    pub since: Lsn,
}

impl Ledger {
    /// Of a volume with so many bytes in its segments.
    pub fn of_volume(bytes: u64) -> Ledger {
        let ledger = Ledger::default();
        ledger.credit_bytes.set(bytes / RECLAIM_CREDIT_PART);
        ledger
    }

    /// Stops the process where a segment is emptied twice, or is damaged and emptied: it would be freed under what it still holds.
    pub fn check(&self) {
        let emptied = self.emptied.borrow();
        let damaged = self.damaged.borrow();
        for (at, one) in emptied.iter().enumerate() {
            let mut others = emptied[at + 1..].iter();
            assert!(
                others.all(|other| other.segment != one.segment),
                "segment {} is emptied twice",
                one.segment.0
            );
            assert!(
                !damaged.contains(&one.segment),
                "I9: segment {} has damage and is to be freed",
                one.segment.0
            );
        }
        assert!(self.found_nothing_at.get() <= Some(self.changed_bytes.get()));
        assert!(self.running.get() || !self.emptying.get());
    }

    /// The segments that wait, without the rest.
    pub fn emptied_segments(&self) -> Vec<SegmentIndex> {
        self.emptied
            .borrow()
            .iter()
            .map(|emptied| emptied.segment)
            .collect()
    }

    /// Those that a checkpoint with `applied` lets go.
    pub fn emptied_by(&self, applied: Lsn) -> Vec<(SegmentIndex, Generation)> {
        self.emptied
            .borrow()
            .iter()
            .filter(|emptied| emptied.since <= applied)
            .take(EMPTIED_NOTED_MAX)
            .map(|emptied| (emptied.segment, emptied.generation))
            .collect()
    }

    /// Bytes of bodies went into `segment`, which this process fills from its beginning.
    pub fn note_placed(&self, segment: SegmentIndex, bytes: u64) {
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(segment).or_insert(Count {
            bytes: 0,
            asked: None,
        });
        count.bytes += bytes;
    }

    /// The layer above appended so much, or so much died. It is credit: reclaim may write as much more than it gains.
    pub fn note_change(&self, bytes: u64) {
        self.changed_bytes.set(self.changed_bytes.get() + bytes);
        self.credit_bytes.set(self.credit_bytes.get() + bytes);
    }

    /// A body has no reference any more. Its bytes are subtracted where they are known; the chunks of a large one are
    /// looked up by the next pass.
    pub fn note_dead(&self, body: &BodyRef) {
        for run in [&body.body, &body.summary] {
            self.subtract(run.segment, u64::from(run.bytes));
        }
        self.note_change(u64::from(body.raw_bytes));
        let mut lists = self.dead_lists.borrow_mut();
        if body.codec == Codec::Chunked && lists.len() < RECLAIM_DEAD_LISTS_MAX {
            lists.push(body.clone());
        }
    }

    /// The large bodies that died, given out once.
    pub fn take_dead_lists(&self) -> Vec<BodyRef> {
        std::mem::take(&mut self.dead_lists.borrow_mut())
    }

    /// So much of `segment` is dead.
    pub fn subtract(&self, segment: SegmentIndex, bytes: u64) {
        if let Some(count) = self.counts.borrow_mut().get_mut(&segment) {
            count.bytes = count.bytes.saturating_sub(bytes);
        }
    }

    /// Emptying `segment` would write so much, as things are now.
    pub fn note_asked(&self, segment: SegmentIndex, bytes: u64) {
        let at = self.changed_bytes.get();
        let asked = Some(Asked { bytes, at });
        self.counts
            .borrow_mut()
            .insert(segment, Count { bytes, asked });
    }

    /// Emptying `segment` would pay, but others came first: it may be asked about again at once.
    pub fn note_left(&self, segment: SegmentIndex) {
        if let Some(count) = self.counts.borrow_mut().get_mut(&segment) {
            count.asked = None;
        }
    }

    /// Nothing is known of `segment` any more: it was freed or taken again.
    pub fn forget(&self, segment: SegmentIndex) {
        self.counts.borrow_mut().remove(&segment);
    }

    /// What is thought to be written for `segment`, if asking about it may be worth the work: `None` when it was never counted.
    pub fn estimate(&self, segment: SegmentIndex) -> Option<u64> {
        self.counts.borrow().get(&segment).map(|count| count.bytes)
    }

    /// Whether `segment` may be asked about: it was not yet, or enough died in it or changed elsewhere since.
    pub fn is_worth_asking(&self, segment: SegmentIndex, segment_bytes: u64, change: u64) -> bool {
        let counts = self.counts.borrow();
        let Some(Count {
            bytes,
            asked: Some(asked),
        }) = counts.get(&segment)
        else {
            return true;
        };
        asked.bytes - bytes.min(&asked.bytes) >= segment_bytes / RECLAIM_LOOK_AGAIN_PART
            || self.changed_bytes.get() - asked.at >= change
    }

    /// A pass is over.
    pub fn note_pass(&self, moved_anything: bool) {
        let now = (!moved_anything).then_some(self.changed_bytes.get());
        self.found_nothing_at.set(now);
    }

    /// Whether the last pass found nothing to do, and nothing happened since.
    pub fn found_nothing(&self) -> bool {
        self.found_nothing_at.get() == Some(self.changed_bytes.get())
    }

    /// Bytes that reclaim may still write beyond what it gains.
    pub fn credit_bytes(&self) -> u64 {
        self.credit_bytes.get()
    }

    /// Reclaim wrote so much beyond what it gained.
    pub fn spend(&self, bytes: u64) {
        self.credit_bytes
            .set(self.credit_bytes.get().saturating_sub(bytes));
    }
}

/// A segment that might be emptied, and what that would write.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub report: SegmentReport,
    /// Bytes of bodies in the segment, and of the records of their moves.
    pub bodies_bytes: u64,
    /// The bodies whole.
    pub copied_bytes: u64,
    /// Records carried forward.
    pub records_bytes: u64,
    /// The largest batch of all that: where it does not fit, the rest of a segment stays empty.
    pub piece_bytes: u64,
}

impl Candidate {
    /// What emptying it would write.
    pub fn write_bytes(&self) -> u64 {
        self.bodies_bytes + self.records_bytes
    }

    /// Room that must be free for it: the bodies whole, and the records.
    pub fn room_bytes(&self) -> u64 {
        self.copied_bytes + self.records_bytes
    }
}

/// Cost and benefit (DESIGN.md A9): age · (1 − u) / (1 + u), where u is what must be written, as a part of the whole segment.
pub(crate) fn score(age: u64, write_bytes: u64, segment_bytes: u64) -> u128 {
    let percent = u128::from((write_bytes * 100 / segment_bytes).min(100));
    u128::from(age) * 1_000 * (100 - percent) / (100 + percent)
}
