//! What must hold of a segment table between any two calls.

use std::collections::BTreeSet;

use super::{State, Table};
use crate::limits::SUPERBLOCK_CLAIMS_MAX;
use crate::types::{Generation, Lsn, SegmentIndex};

impl Table {
    /// Stops the process where the table contradicts itself. Looks only when it changed since the last call.
    pub fn check(&self, segment_blocks: u32) {
        if !self.unchecked.replace(false) {
            return;
        }
        if let Some(why) = self.contradiction(segment_blocks) {
            panic!("the segment table contradicts itself: {why}");
        }
    }

    /// One sentence where the rows contradict one another, or what is derived from them is not what a recount gives.
    pub fn contradiction(&self, segment_blocks: u32) -> Option<String> {
        self.bad_row(segment_blocks)
            .or_else(|| self.bad_count())
            .or_else(|| self.bad_list())
    }

    fn bad_row(&self, segment_blocks: u32) -> Option<String> {
        let is_bad = |row: &super::Row| {
            let holds = row.used_blocks > 0 || row.holds_store || row.provisional != Lsn(0);
            let state = match row.state {
                State::Free => holds || row.first != Lsn(0) || row.last != Lsn(0),
                State::Claimed => holds,
                State::Open | State::Sealed => row.used_blocks > 0 && row.first > row.last,
                State::Arena { .. } => row.holds_store,
            };
            state || row.used_blocks > segment_blocks || row.generation == Generation(0)
        };
        let bad = self.rows.iter().position(is_bad)?;
        Some(format!("segment {bad} is {:?}", self.rows[bad]))
    }

    fn bad_count(&self) -> Option<String> {
        let count = |is: fn(&State) -> bool| self.rows.iter().filter(|row| is(&row.state)).count();
        let free = count(|state| matches!(state, State::Free));
        let claimed = count(|state| matches!(state, State::Claimed));
        let open = count(|state| matches!(state, State::Open));
        let arena = count(|state| matches!(state, State::Arena { .. }));
        let derived = (
            self.free,
            self.claimed.len(),
            usize::from(self.open.is_some()),
            self.arena.len(),
        );
        let counted = (free, claimed, open, arena);
        (derived != counted).then(|| {
            format!(
                "free, claimed, open, arena are {counted:?} segments, and {derived:?} are known"
            )
        })
    }

    fn bad_list(&self) -> Option<String> {
        let state = |s: &SegmentIndex| self.rows.get(s.0 as usize).map(|row| row.state);
        let claims: BTreeSet<_> = self.claimed.iter().collect();
        if claims.len() < self.claimed.len()
            || !claims.iter().all(|s| state(s) == Some(State::Claimed))
        {
            return Some(format!("{:?} are not claimed", self.claimed));
        }
        if let Some(open) = self.open.filter(|s| state(s) != Some(State::Open)) {
            return Some(format!("segment {} is not open", open.0));
        }
        let mut arena = self.arena.iter().enumerate();
        if let Some((at, segment)) = arena.find(|(at, s)| {
            let ordinal = *at as u32;
            state(s) != Some(State::Arena { ordinal })
        }) {
            return Some(format!(
                "segment {} is not number {at} of the arena",
                segment.0
            ));
        }
        if let Some(needed) = self.needed.iter().find(|s| {
            let row = self.rows.get(s.0 as usize);
            !row.is_some_and(super::Row::is_log)
        }) {
            return Some(format!("segment {} is needed and holds nothing", needed.0));
        }
        let pinned = self.pins.iter().find(|(_, count)| **count == 0);
        pinned.map(|(s, _)| format!("segment {} is pinned by nothing", s.0))
    }
}

const _: () = assert!(SUPERBLOCK_CLAIMS_MAX >= crate::limits::CLAIMS_OF_OPENING);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Holds;

    const BLOCKS: u32 = 64;

    fn table() -> Table {
        let mut table = Table::new(8);
        for lsn in 1..=3 {
            table.claim(Lsn(0), Lsn(0));
            table.place(Lsn(lsn), 40, BLOCKS, Holds::Store, |_| true);
        }
        table.claim(Lsn(0), Lsn(0));
        table.grow_arena(Lsn(4), Lsn(3));
        table.check(BLOCKS);
        table
    }

    #[test]
    fn each_kind_of_contradiction_is_seen() {
        type Spoil = fn(&mut Table);
        let spoils: [(&str, Spoil); 9] = [
            ("free and used", |t| t.rows[7].used_blocks = 1),
            ("free and live", |t| t.rows[7].holds_store = true),
            ("overfull", |t| t.rows[0].used_blocks = BLOCKS + 1),
            ("numbers turned round", |t| t.rows[0].first = Lsn(9)),
            ("never numbered", |t| t.rows[7].generation = Generation(0)),
            ("miscounted", |t| t.free += 1),
            ("claimed twice", |t| t.claimed[0] = SegmentIndex(2)),
            ("an arena out of order", |t| t.arena[0] = SegmentIndex(7)),
            ("needed and free", |t| t.needed.push(SegmentIndex(7))),
        ];
        for (what, spoil) in spoils {
            let mut table = table();
            assert_eq!(table.contradiction(BLOCKS), None);
            spoil(&mut table);
            assert!(table.contradiction(BLOCKS).is_some(), "{what}");
        }
    }

    #[test]
    fn a_table_from_a_leg_with_two_first_arena_segments_is_refused_and_stops_nothing() {
        let mut table = table();
        table.claim(Lsn(0), Lsn(0));
        table.grow_arena(Lsn(5), Lsn(4));
        let second = table.arena[1];
        table.row_mut(second).state = State::Arena { ordinal: 0 };
        let back = Table::decode(&table.encode(4096, &[]), 8).expect("whole");
        assert!(back.contradiction(BLOCKS).is_some());
    }
}
