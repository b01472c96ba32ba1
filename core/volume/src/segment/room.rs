//! Which batch still has a place: FORMAT.md, "Room".

use super::{State, Table};
use crate::limits::{
    KEPT_FOR_OPENING, KEPT_FROM_CHECKPOINT, KEPT_FROM_RECLAIM, OPEN_KEPT_SHARE,
    RESERVE_SEGMENTS_MIN, RESERVE_SHARE,
};
use crate::types::Lsn;

/// Which segments a batch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Not the reserve.
    Ordinary,
    /// What lets mail die. The store keeps it further from the bottom as long as reclaim finds anything (`KEPT_FROM_DELETES`).
    Deletes,
    /// Reclaim: what it writes is provisional.
    Reclaim,
    /// All but `KEPT_FROM_CHECKPOINT`, or one more where an earlier checkpoint's segment comes back for it.
    Index,
    /// All but those kept for openings, which take them: the volume's own records, above all the one that frees a segment.
    Own,
}

impl Table {
    /// Segments that ordinary batches may not take.
    pub fn reserve(&self) -> usize {
        RESERVE_SEGMENTS_MIN.max(self.rows.len() / RESERVE_SHARE)
    }

    /// Whether a batch of `blocks` has a place, as FORMAT.md ("Room") lays down for each purpose: what one leaves behind after a power
    /// cut is the segment that is open now, and the opening takes another one.
    pub fn has_room(&self, blocks: u32, segment_blocks: u32, purpose: Purpose) -> bool {
        let index = if self.replaces_index() {
            KEPT_FOR_OPENING
        } else {
            KEPT_FROM_CHECKPOINT
        };
        // Spare segments from which the open one may be written in, where a restart would give it back; and more of them than this before
        // the next one is begun.
        let (here, next) = match purpose {
            Purpose::Ordinary => (self.reserve(), self.reserve()),
            Purpose::Deletes | Purpose::Reclaim => (KEPT_FROM_CHECKPOINT, KEPT_FROM_CHECKPOINT),
            Purpose::Index => (index, index),
            Purpose::Own if self.opening => (0, 0),
            Purpose::Own => (0, KEPT_FOR_OPENING),
        };
        let spare = self.spare();
        if purpose == Purpose::Reclaim && self.keeps_index_apart() {
            return !self.claimed.is_empty()
                && blocks <= self.usable_blocks(purpose, here, segment_blocks);
        }
        let usable_blocks = self.usable_blocks(purpose, here, segment_blocks);
        let open_fits = |open| self.row(open).used_blocks + blocks <= usable_blocks;
        if self.open.is_some_and(open_fits) {
            return true;
        }
        let full = |open| self.row(open).used_blocks + blocks > segment_blocks;
        self.open.is_none_or(full) && !self.claimed.is_empty() && spare > next
    }

    /// Of the open segment, the blocks that `purpose` may fill.
    fn usable_blocks(&self, purpose: Purpose, here: usize, segment_blocks: u32) -> u32 {
        let only_own = self.open.is_some_and(|open| !self.row(open).holds_store);
        let spare = self.spare();
        match purpose {
            Purpose::Own => segment_blocks,
            Purpose::Index if spare >= here || !only_own => segment_blocks,
            Purpose::Ordinary if spare >= here => segment_blocks,
            Purpose::Index | Purpose::Ordinary => 0,
            _ if spare >= here.max(KEPT_FROM_RECLAIM) => segment_blocks,
            // What frees segments has the last word in the open one.
            _ if spare >= here || !only_own => segment_blocks - segment_blocks / OPEN_KEPT_SHARE,
            _ => 0,
        }
    }

    /// Whether the open segment holds what the last checkpoint needs and nothing else that stays: provisional batches go into another
    /// one, because an opening gives up whole segments.
    pub fn keeps_index_apart(&self) -> bool {
        self.open
            .is_some_and(|open| !self.row(open).holds_store && self.needed.contains(&open))
    }

    /// Blocks that reclaim may write: in the open segment, and in the next one where it must begin that, or where this one is as good as full.
    pub fn reclaim_blocks(&self, segment_blocks: u32) -> u32 {
        let usable = self.usable_blocks(Purpose::Reclaim, KEPT_FROM_CHECKPOINT, segment_blocks);
        let Some(open) = self.open else { return 0 };
        if self.keeps_index_apart() {
            return if self.claimed.is_empty() { 0 } else { usable };
        }
        let kept = segment_blocks / OPEN_KEPT_SHARE;
        let rest = usable.saturating_sub(self.row(open).used_blocks);
        if rest < kept && !self.claimed.is_empty() && self.spare() > KEPT_FROM_CHECKPOINT {
            return rest + segment_blocks - kept;
        }
        rest
    }

    /// Whether a segment is occupied only by what the last checkpoint needs: the next checkpoint lets it go.
    pub fn replaces_index(&self) -> bool {
        self.needed.iter().any(|&s| {
            let row = self.row(s);
            row.state == State::Sealed && !row.holds_store && row.provisional == Lsn(0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Holds;
    use crate::types::SegmentIndex;

    const BLOCKS: u32 = 64;

    #[test]
    fn the_reserve_is_kept_from_ordinary_batches() {
        let mut table = Table::new(RESERVE_SEGMENTS_MIN as u32);
        table.claim(Lsn(0), Lsn(0));
        assert!(!table.has_room(1, BLOCKS, Purpose::Ordinary));
        assert!(table.has_room(1, BLOCKS, Purpose::Own));
    }

    #[test]
    fn the_last_segments_are_kept_for_the_next_openings() {
        let mut table = Table::new(KEPT_FOR_OPENING as u32);
        table.claim(Lsn(0), Lsn(0));
        assert!(table.has_room(1, BLOCKS, Purpose::Own));
        table.opening = false;
        assert!(!table.has_room(1, BLOCKS, Purpose::Own));
    }

    #[test]
    fn what_frees_segments_has_the_last_word_in_the_open_one() {
        let mut table = Table::new(KEPT_FROM_CHECKPOINT as u32);
        table.claim(Lsn(0), Lsn(0));
        table.opening = false;
        assert!(
            table
                .place(Lsn(1), 1, BLOCKS, Holds::Own, |_| true)
                .is_some()
        );
        // The next opening gives this segment back: it is not to be spoilt.
        assert!(!table.has_room(1, BLOCKS, Purpose::Reclaim));
        assert!(!table.has_room(1, BLOCKS, Purpose::Deletes));
        table.row_mut(SegmentIndex(0)).holds_store = true;
        assert!(!table.has_room(1, BLOCKS, Purpose::Ordinary));
        for purpose in [Purpose::Reclaim, Purpose::Deletes] {
            assert!(!table.has_room(BLOCKS - 1, BLOCKS, purpose));
            assert!(table.has_room(1, BLOCKS, purpose));
        }
        assert!(table.has_room(BLOCKS - 1, BLOCKS, Purpose::Own));
    }

    /// A table of `spare` segments and an open one that the next opening would give back.
    fn opened(spare: usize) -> Table {
        let mut table = Table::new(spare as u32 + 1);
        table.claim(Lsn(0), Lsn(0));
        table.place(Lsn(1), 1, BLOCKS, Holds::Own, |_| true);
        table.opening = false;
        table
    }

    #[test]
    fn each_purpose_leaves_the_one_below_it_room_after_a_power_cut() {
        let order = [
            (Purpose::Own, 0),
            (Purpose::Index, 2),
            (Purpose::Reclaim, 2),
            (Purpose::Deletes, 2),
            (Purpose::Ordinary, 5),
        ];
        for (purpose, least) in order {
            for spare in 0..8 {
                let fits = opened(spare).has_room(1, BLOCKS, purpose);
                assert_eq!(fits, spare >= least, "{purpose:?} with {spare}");
            }
        }
    }

    #[test]
    fn an_index_that_takes_another_ones_place_needs_one_segment_less() {
        for (provisional, least) in [(0, 1), (3, 2)] {
            for spare in 0..4 {
                let mut table = opened(spare + 1);
                let (index, _) = table.claim(Lsn(0), Lsn(0)).expect("free");
                table.claimed.retain(|segment| *segment != index);
                let row = table.row_mut(index);
                (row.state, row.provisional) = (State::Sealed, Lsn(provisional));
                table.needed = vec![index];
                assert_eq!(table.spare(), spare);
                let fits = table.has_room(1, BLOCKS, Purpose::Index);
                assert_eq!(fits, spare >= least, "{provisional}, {spare}");
            }
        }
    }

    #[test]
    fn reclaim_begins_a_segment_where_the_open_one_holds_an_index() {
        let mut table = opened(3);
        assert_eq!(table.reclaim_blocks(BLOCKS), BLOCKS - 1);
        table.needed = table.open.into_iter().collect();
        assert!(!table.has_room(1, BLOCKS, Purpose::Reclaim));
        let (next, _) = table.claim(Lsn(0), Lsn(0)).expect("free");
        assert_eq!(table.reclaim_blocks(BLOCKS), BLOCKS);
        assert!(table.has_room(BLOCKS, BLOCKS, Purpose::Reclaim));
        let placed = table.place(Lsn(2), 1, BLOCKS, Holds::Provisional, |_| true);
        assert_eq!(placed.map(|(segment, ..)| segment), Some(next));
        assert!(table.is_dead(next));
    }
}
