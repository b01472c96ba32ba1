//! The segment table: what each segment holds, which are free, which are claimed; and where the next batch goes.
//!
//! Lives in memory; written whole at each checkpoint, in parts, and brought forward from there by the inline records
//! of later batches. Nothing here does I/O.
//!
//! What must hold between calls is what `check.rs` looks for. Room is in `room.rs`, the bytes are in `bytes.rs`, and what an opening makes of a table
//! is in `forward.rs`.

mod bytes;
mod check;
mod forward;
mod room;

use std::collections::{HashMap, VecDeque};

use crate::format::Holds;
use crate::limits::CLAIMS_AHEAD;
use crate::types::{Generation, Lsn, SegmentIndex, SegmentReport, SegmentState};

pub(crate) use room::Purpose;

/// What a segment is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Free, and its free may be recorded by a batch that is not durable yet (`Row::known`).
    Free,
    /// Claimed and empty.
    Claimed,
    /// Batches are appended to it.
    Open,
    /// Full, or left.
    Sealed,
    /// Segment `ordinal` of the arena.
    Arena { ordinal: u32 },
}

/// One row. `first` and `last` are zero while the segment holds nothing; for a claimed one `first` is the number of the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub state: State,
    /// 1 at first, and one more each time that the segment becomes free: an address of an earlier use is recognised as stale.
    pub generation: Generation,
    /// Blocks from the start to the end of the last batch.
    pub used_blocks: u32,
    /// Holds batches of the store's, not only the volume's own and provisional ones that no checkpoint stands for.
    pub holds_store: bool,
    /// The first provisional batch in it; zero: none. Not on disk, where a table says `holds_store` of those that its checkpoint stands for.
    pub provisional: Lsn,
    pub first: Lsn,
    pub last: Lsn,
    /// The batch that recorded the last claim or free: the segment may be used once it is durable. Not on disk.
    pub known: Lsn,
}

impl Row {
    /// Nothing was ever written here under `generation`. `known`: the batch that says so.
    fn free(generation: Generation, known: Lsn) -> Row {
        Row {
            state: State::Free,
            generation,
            used_blocks: 0,
            holds_store: false,
            provisional: Lsn(0),
            first: Lsn(0),
            last: Lsn(0),
            known,
        }
    }

    /// Without what means nothing in this state: earlier builds wrote what happened to be left there.
    fn without_leftovers(self) -> Row {
        let free = Row::free(self.generation, self.known);
        match self.state {
            State::Free => free,
            // Its number of the claim stays.
            State::Claimed | State::Arena { .. } => Row {
                state: self.state,
                first: self.first,
                ..free
            },
            State::Open | State::Sealed => self,
        }
    }

    /// Whether batches lie here.
    pub fn is_log(&self) -> bool {
        matches!(self.state, State::Open | State::Sealed)
    }

    /// Batch `lsn` lies here.
    fn hold(&mut self, holds: Holds, lsn: Lsn) {
        match holds {
            Holds::Own => {}
            Holds::Provisional if self.provisional == Lsn(0) => self.provisional = lsn,
            Holds::Provisional => {}
            Holds::Store => self.holds_store = true,
        }
    }
}

/// A segment under the generation the reader believes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Of {
    pub segment: SegmentIndex,
    pub generation: Generation,
}

/// All segments of the volume, and what follows from their rows.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// By segment index.
    rows: Vec<Row>,
    /// Claimed and empty, in order of use.
    claimed: VecDeque<SegmentIndex>,
    /// The one that batches go to.
    open: Option<SegmentIndex>,
    /// Arena segments by ordinal.
    arena: Vec<SegmentIndex>,
    /// Segments that the last checkpoint reads batches of `Kind::Index` in.
    needed: Vec<SegmentIndex>,
    free: usize,
    /// Segments not to be reused: a repair or a copy still writes there, or an opening has not given them up for good.
    pins: HashMap<SegmentIndex, u32>,
    /// Where the search for a free segment begins: behind the last one found, so that all are used in turn.
    search_from: usize,
    /// The last claim's number, by which claims are ordered.
    claim_number: u64,
    /// The volume is being opened: its own records may take what is kept for that.
    opening: bool,
    /// Something changed since `check` last looked.
    unchecked: std::cell::Cell<bool>,
}

impl Table {
    /// Every segment free at generation 1.
    pub fn new(segment_count: u32) -> Table {
        let row = Row::free(Generation(1), Lsn(0));
        Table::from_rows(vec![row; segment_count as usize])
    }

    /// A table as it was read from the log.
    pub fn from_rows(rows: Vec<Row>) -> Table {
        let mut table = Table {
            rows,
            claimed: VecDeque::new(),
            open: None,
            arena: Vec::new(),
            needed: Vec::new(),
            free: 0,
            pins: HashMap::new(),
            search_from: 0,
            claim_number: 0,
            opening: true,
            unchecked: std::cell::Cell::new(true),
        };
        table.derive();
        table
    }

    /// Recomputes everything that follows from the rows.
    fn derive(&mut self) {
        self.unchecked.set(true);
        self.free = self
            .rows
            .iter()
            .filter(|row| row.state == State::Free)
            .count();
        let indexes = || (0..self.rows.len() as u32).map(SegmentIndex);
        let mut claimed: Vec<_> = indexes()
            .filter(|&s| self.row(s).state == State::Claimed)
            .collect();
        claimed.sort_by_key(|&s| self.row(s).first);
        let open = indexes().find(|&s| self.row(s).state == State::Open);
        let mut arena: Vec<_> = indexes()
            .filter_map(|s| Some((self.ordinal(s)?, s)))
            .collect();
        arena.sort();
        self.claim_number = claimed.last().map_or(0, |&s| self.row(s).first.0);
        self.claimed = claimed.into();
        self.open = open;
        self.arena = arena.into_iter().map(|(_, s)| s).collect();
        let rows = &self.rows;
        self.needed.retain(|s| rows[s.0 as usize].is_log());
    }

    /// Its place in the arena.
    fn ordinal(&self, segment: SegmentIndex) -> Option<u32> {
        match self.row(segment).state {
            State::Arena { ordinal } => Some(ordinal),
            _ => None,
        }
    }

    pub fn row(&self, segment: SegmentIndex) -> &Row {
        &self.rows[segment.0 as usize]
    }

    /// As `row`, to be changed: `check` looks again.
    fn row_mut(&mut self, segment: SegmentIndex) -> &mut Row {
        self.unchecked.set(true);
        &mut self.rows[segment.0 as usize]
    }

    /// All segments of the volume.
    pub fn segments(&self) -> usize {
        self.rows.len()
    }

    /// The segment that is being filled.
    pub fn open(&self) -> Option<SegmentIndex> {
        self.open
    }

    /// Claimed and empty, in order of use.
    pub fn claimed(&self) -> impl Iterator<Item = SegmentIndex> {
        self.claimed.iter().copied()
    }

    /// Whether a segment is ready for when the open one is full.
    pub fn has_claimed(&self) -> bool {
        !self.claimed.is_empty()
    }

    /// The arena's segments by ordinal.
    pub fn arena(&self) -> &[SegmentIndex] {
        &self.arena
    }

    /// Segments that the last checkpoint reads batches of `Kind::Index` in.
    pub fn needed(&self) -> &[SegmentIndex] {
        &self.needed
    }

    pub fn is_opening(&self) -> bool {
        self.opening
    }

    /// An opening begins: the operator accepted damage beside clients.
    pub fn opening_begins(&mut self) {
        self.opening = true;
    }

    /// Everything that an opening writes is durable.
    pub fn opening_ends(&mut self) {
        assert!(self.opening);
        self.opening = false;
    }

    /// The checkpoint that the superblocks name now reads batches in `needed`, and in no other segment.
    pub fn need(&mut self, needed: Vec<SegmentIndex>) {
        let rows = &self.rows;
        self.needed = needed;
        self.needed.retain(|s| rows[s.0 as usize].is_log());
        self.unchecked.set(true);
    }

    /// The segment holds nothing of the store's that will be read again.
    pub fn is_dead(&self, segment: SegmentIndex) -> bool {
        !self.row(segment).holds_store && !self.needed.contains(&segment)
    }

    /// A checkpoint stands for everything up to `checkpoint`: provisional batches up to there are the store's like any other.
    pub fn keep_provisional(&mut self, checkpoint: Lsn) {
        self.unchecked.set(true);
        for row in &mut self.rows {
            row.holds_store |= row.provisional != Lsn(0) && row.provisional <= checkpoint;
        }
    }

    /// Free and claimed segments, the reserve not counted.
    pub fn room_segments(&self) -> usize {
        self.spare().saturating_sub(self.reserve())
    }

    /// Free and claimed segments.
    pub fn spare(&self) -> usize {
        self.claimed.len() + self.free
    }

    /// Takes the next place for a batch. `usable` says whether a claimed segment may be opened.
    pub fn place(
        &mut self,
        lsn: Lsn,
        blocks: u32,
        segment_blocks: u32,
        holds: Holds,
        usable: impl Fn(&Row) -> bool,
    ) -> Option<(SegmentIndex, Generation, u32)> {
        assert!(blocks <= segment_blocks);
        let moves_on = holds == Holds::Provisional && self.keeps_index_apart();
        let fits = self
            .open
            .is_some_and(|open| self.row(open).used_blocks + blocks <= segment_blocks)
            && !moves_on;
        if !fits {
            let at = self.claimed.iter().position(|&s| usable(self.row(s)))?;
            let next = self.claimed.remove(at).expect("a position just found");
            if let Some(open) = self.open {
                self.row_mut(open).state = State::Sealed;
            }
            let row = self.row_mut(next);
            assert_eq!(
                row.state,
                State::Claimed,
                "I5: only a claimed segment is opened"
            );
            assert_eq!(row.used_blocks, 0, "nothing is in a claimed segment");
            (row.state, row.first, row.last, row.used_blocks) = (State::Open, lsn, lsn, 0);
            self.open = Some(next);
        }
        let open = self.open.expect("opened above");
        let row = self.row_mut(open);
        assert!(
            row.state == State::Open && row.last <= lsn,
            "the log goes on"
        );
        let block = row.used_blocks;
        row.used_blocks += blocks;
        assert!(
            row.used_blocks <= segment_blocks,
            "a batch is in one segment"
        );
        row.hold(holds, lsn);
        row.last = lsn;
        if row.first == Lsn(0) {
            row.first = lsn;
        }
        Some((open, row.generation, block))
    }

    /// Ends the open segment before `block`: batches from `lsn` on move elsewhere.
    pub fn seal_before(&mut self, segment: SegmentIndex, block: u32, lsn: Lsn) {
        let row = self.row_mut(segment);
        assert!(row.is_log() && block <= row.used_blocks && lsn > Lsn(0));
        row.used_blocks = block;
        row.last = Lsn(lsn.0 - 1);
        if row.first >= lsn {
            row.first = row.last;
        }
        row.state = State::Sealed;
        if self.open == Some(segment) {
            self.open = None;
        }
    }

    /// Free segments that an opening may claim.
    pub fn claimable(&self) -> usize {
        let can =
            |s: &SegmentIndex| self.row(*s).state == State::Free && !self.pins.contains_key(s);
        (0..self.rows.len() as u32)
            .map(SegmentIndex)
            .filter(can)
            .count()
    }

    /// Free segments to claim now so that `CLAIMS_AHEAD` are ready. `acked`: only frees known durable may be reused.
    pub fn claims_wanted(&self) -> usize {
        CLAIMS_AHEAD
            .saturating_sub(self.claimed.len())
            .min(self.free)
    }

    /// Claims one free segment. `recorded` is the batch that will say so (zero: the superblock).
    pub fn claim(&mut self, recorded: Lsn, acked: Lsn) -> Option<(SegmentIndex, Generation)> {
        let count = self.rows.len();
        let found = (0..count)
            .map(|step| (self.search_from + step) % count)
            .find(|&index| {
                let row = &self.rows[index];
                let segment = SegmentIndex(index as u32);
                row.state == State::Free && row.known <= acked && !self.pins.contains_key(&segment)
            })?;
        self.search_from = found + 1;
        self.claim_number += 1;
        let number = self.claim_number;
        self.unchecked.set(true);
        let row = &mut self.rows[found];
        assert!(
            row.used_blocks == 0 && !row.holds_store,
            "I7: nothing is in a free segment"
        );
        (row.state, row.known, row.first, row.last) =
            (State::Claimed, recorded, Lsn(number), Lsn(0));
        (row.used_blocks, row.holds_store, row.provisional) = (0, false, Lsn(0));
        self.free -= 1;
        let segment = SegmentIndex(found as u32);
        self.claimed.push_back(segment);
        Some((segment, self.rows[found].generation))
    }

    /// Gives `segment` back under the next generation. `recorded` is the batch that says so (zero: the table that is written next).
    pub fn free(&mut self, segment: SegmentIndex, recorded: Lsn) -> Generation {
        self.needed.retain(|&needed| needed != segment);
        let row = self.row_mut(segment);
        assert_eq!(
            row.state,
            State::Sealed,
            "only a sealed segment is given back"
        );
        let generation = Generation(row.generation.0 + 1);
        *row = Row::free(generation, recorded);
        self.free += 1;
        generation
    }

    /// Turns a free segment into the next one of the arena; where all are claimed ahead, the claimed one that would be used last.
    pub fn grow_arena(
        &mut self,
        recorded: Lsn,
        acked: Lsn,
    ) -> Option<(SegmentIndex, Generation, u32)> {
        if self.claim(recorded, acked).is_none() && self.claimed.len() < 2 {
            return None;
        }
        let segment = self.claimed.pop_back()?;
        let generation = self.row(segment).generation;
        let ordinal = self.arena.len() as u32;
        let row = self.row_mut(segment);
        assert_eq!(row.state, State::Claimed);
        row.state = State::Arena { ordinal };
        self.arena.push(segment);
        Some((segment, generation, ordinal))
    }

    /// Sealed segments up to `checkpoint` in which nothing is needed.
    pub fn own_only(&self, checkpoint: Lsn) -> Vec<SegmentIndex> {
        let dead = |s: &SegmentIndex| {
            let row = self.row(*s);
            row.state == State::Sealed && self.is_dead(*s) && row.last <= checkpoint
        };
        (0..self.rows.len() as u32)
            .map(SegmentIndex)
            .filter(dead)
            .collect()
    }

    /// Keeps `segment` from being claimed until `unpin`.
    pub fn pin(&mut self, segment: SegmentIndex) {
        assert!((segment.0 as usize) < self.rows.len());
        *self.pins.entry(segment).or_default() += 1;
    }

    /// Another pin of the segment ends.
    pub fn unpin(&mut self, segment: SegmentIndex) {
        let count = self.pins.get_mut(&segment).expect("pinned before");
        *count -= 1;
        if *count == 0 {
            self.pins.remove(&segment);
        }
    }

    /// Segments that hold batches, in the order of their LSNs.
    pub fn in_log_order(&self) -> Vec<SegmentIndex> {
        let mut holding: Vec<_> = (0..self.rows.len() as u32)
            .map(SegmentIndex)
            .filter(|&s| {
                matches!(self.row(s).state, State::Open | State::Sealed)
                    && self.row(s).used_blocks > 0
            })
            .collect();
        holding.sort_by_key(|&s| self.row(s).first);
        holding
    }

    /// The segment as callers of the volume see it.
    pub fn report(&self, segment: SegmentIndex) -> SegmentReport {
        let row = self.row(segment);
        let (first_lsn, last_lsn) = match row.state {
            State::Open | State::Sealed => (row.first, row.last),
            _ => (Lsn(0), Lsn(0)),
        };
        SegmentReport {
            index: segment,
            generation: row.generation,
            state: match row.state {
                State::Free | State::Claimed => SegmentState::Free,
                State::Open => SegmentState::Open,
                // Nothing of the store's: the volume gives it back by itself.
                State::Sealed if self.is_dead(segment) && row.provisional == Lsn(0) => {
                    SegmentState::Free
                }
                State::Sealed => SegmentState::Sealed,
                State::Arena { .. } => SegmentState::Arena,
            },
            used_bytes: u64::from(row.used_blocks) * device::BLOCK_BYTES as u64,
            first_lsn,
            last_lsn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCKS: u32 = 64;

    #[test]
    fn batches_fill_a_segment_and_move_to_the_next_claimed_one() {
        let mut table = Table::new(8);
        let (first, _) = table.claim(Lsn(0), Lsn(0)).expect("free");
        let (second, _) = table.claim(Lsn(0), Lsn(0)).expect("free");
        assert_eq!(
            table.place(Lsn(1), 40, BLOCKS, Holds::Store, |_| true),
            Some((first, Generation(1), 0))
        );
        assert_eq!(
            table.place(Lsn(2), 24, BLOCKS, Holds::Store, |_| true),
            Some((first, Generation(1), 40))
        );
        assert_eq!(
            table.place(Lsn(3), 1, BLOCKS, Holds::Store, |_| true),
            Some((second, Generation(1), 0))
        );
        assert_eq!(table.row(first).state, State::Sealed);
        assert_eq!(
            (table.row(first).first, table.row(first).last),
            (Lsn(1), Lsn(2))
        );
        assert_eq!(table.in_log_order(), [first, second]);
    }

    #[test]
    fn a_freed_segment_is_not_reused_before_its_free_is_durable_or_while_pinned() {
        let mut table = Table::new(1);
        let (only, _) = table.claim(Lsn(0), Lsn(0)).expect("free");
        table.place(Lsn(1), 1, BLOCKS, Holds::Store, |_| true);
        table.seal_before(only, 1, Lsn(2));
        table.check(BLOCKS);
        assert_eq!(table.free(only, Lsn(9)), Generation(2));
        assert_eq!(table.claim(Lsn(10), Lsn(8)), None);
        table.pin(only);
        assert_eq!(table.claim(Lsn(10), Lsn(9)), None);
        table.unpin(only);
        assert_eq!(table.claim(Lsn(10), Lsn(9)), Some((only, Generation(2))));
    }

    #[test]
    fn the_arena_takes_a_claimed_segment_where_none_is_free() {
        let mut table = Table::new(3);
        let claimed: Vec<_> = (0..3).map(|_| table.claim(Lsn(0), Lsn(0))).collect();
        let last = claimed[2].expect("free").0;
        assert_eq!(
            table.grow_arena(Lsn(5), Lsn(4)),
            Some((last, Generation(1), 0))
        );
        assert_eq!((table.spare(), table.claimed.len()), (2, 2));
        assert!(table.grow_arena(Lsn(6), Lsn(4)).is_some());
        // The one that its own record may need stays.
        assert_eq!(table.grow_arena(Lsn(7), Lsn(4)), None);
    }

    #[test]
    fn provisional_batches_are_kept_once_a_checkpoint_stands_for_them() {
        let mut table = Table::new(3);
        for lsn in [4, 5, 6] {
            table.claim(Lsn(0), Lsn(0));
            table.place(Lsn(lsn), BLOCKS, BLOCKS, Holds::Provisional, |_| true);
        }
        table.keep_provisional(Lsn(5));
        let is_dead = |s: u32| table.is_dead(SegmentIndex(s));
        assert_eq!([0, 1, 2].map(is_dead), [false, false, true]);
        assert_eq!(table.report(SegmentIndex(2)).state, SegmentState::Open);
        let back = Table::decode(&table.encode(4096, &[]), 3).expect("whole");
        assert!(back.row(SegmentIndex(0)).holds_store);
        assert!(!back.row(SegmentIndex(2)).holds_store);
    }
}
