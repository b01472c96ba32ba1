//! What must hold of the log between any two calls, as far as memory alone can tell.

use super::{Entry, LegWrite, Log};
use crate::layout::Plan;
use crate::limits::{BATCHES_IN_FLIGHT_MAX, SUPERBLOCK_CLAIMS_MAX};

impl Log {
    /// Stops the process where the log contradicts itself. Bounded by the pipeline, and by the segments when their table changed.
    pub fn check(&self, plan: &Plan) {
        self.table.check(plan.segment_blocks());
        self.check_numbers();
        self.check_word();
        let mut before: Option<&Entry> = None;
        for (index, entry) in self.pipeline.iter().enumerate() {
            self.check_entry(index, entry, before, plan);
            before = Some(entry);
        }
        for mark in self.marks.from(self.acked.next()) {
            let entry = self.entry(mark.lsn);
            let place = (mark.segment, mark.generation, mark.block);
            assert!(
                entry.is_none_or(|at| (at.segment, at.generation, at.block) == place),
                "LSN {} was marked at {place:?} and lies elsewhere",
                mark.lsn
            );
        }
    }

    /// Durable, written and numbered: in this order.
    fn check_numbers(&self) {
        assert!(self.acked < self.next);
        assert!(self.submitted <= self.pipeline.len());
        assert!(self.submitted <= BATCHES_IN_FLIGHT_MAX);
        if self.is_stopped() {
            assert!(self.pipeline.is_empty(), "nothing waits any more");
            return;
        }
        let numbered = self.next.0 - 1 - self.acked.0;
        assert_eq!(
            numbered,
            self.pipeline.len() as u64,
            "I3: every number beyond {} waits",
            self.acked
        );
        assert!(self.pipeline.is_empty() || !self.is_being_opened());
    }

    /// Not owned yet: nothing has a number.
    fn is_being_opened(&self) -> bool {
        self.is_read_only() && self.counting.is_none()
    }

    /// What superblocks say lies behind what the log says.
    fn check_word(&self) {
        assert!(self.checkpoint.lsn <= self.acked, "I6");
        assert!(self.durable_seq <= self.seq);
        assert!(self.seal <= self.next);
        assert!(self.settled() <= self.acked);
        assert!(self.claims.len() <= SUPERBLOCK_CLAIMS_MAX);
        assert!(
            self.counting.is_some() == (self.durable_seq > 0),
            "a durable superblock says who counts"
        );
    }

    fn check_entry(&self, index: usize, entry: &Entry, before: Option<&Entry>, plan: &Plan) {
        let lsn = entry.lsn;
        assert_eq!(lsn.0, self.acked.0 + 1 + index as u64, "I3");
        let row = self.table.row(entry.segment);
        assert!(
            row.is_log() && row.generation == entry.generation,
            "I7: LSN {lsn} waits in segment {}, which is {row:?}",
            entry.segment.0
        );
        let end = entry.block + entry.blocks();
        assert!(end <= row.used_blocks && end <= plan.segment_blocks());
        assert!(row.first <= lsn && lsn <= row.last, "LSN {lsn} in {row:?}");
        if let Some(before) = before.filter(|before| before.segment == entry.segment) {
            let ends = before.block + before.blocks();
            assert!(ends <= entry.block, "LSN {lsn} overlaps the one before");
        }
        if index < self.submitted {
            assert!(
                row.known <= self.acked,
                "I5: LSN {lsn} is written to segment {}, whose claim {} is not durable",
                entry.segment.0,
                row.known
            );
        } else {
            let begun = |write: &LegWrite| *write != LegWrite::Absent;
            assert!(!entry.legs.iter().any(begun), "LSN {lsn} is not submitted");
        }
    }
}
