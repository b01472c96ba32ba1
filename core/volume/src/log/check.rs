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
        assert!(
            !self.refused || self.submitted > 0,
            "a judgement is due of which no batch is at the devices: nothing would ever be submitted again"
        );
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

    /// What superblocks say is never ahead of what the log says.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::Time;
    use device::{Buffer, DeviceIndex};

    use super::*;
    use crate::format::{Holds, Kind, blocks_of};
    use crate::limits::LEGS_MAX;
    use crate::segment::Row;
    use crate::superblock::Superblock;
    use crate::types::*;

    const PLAN: Plan = Plan {
        segments_at: 256 << 10,
        segment_bytes: 32 << 10,
        segment_count: 8,
    };
    const COUNTING: [(LegIndex, DeviceIndex); 1] = [(LegIndex(0), DeviceIndex(0))];

    /// A log that runs, with one claimed segment and no batch.
    fn log() -> Log {
        let volume = VolumeId([7; 16]);
        let superblock = Superblock {
            volume,
            seq: 1,
            parent: 0,
            epoch: 1,
            term: 1,
            plan: PLAN,
            clean: true,
            acked: Lsn(0),
            members: Vec::new(),
            checkpoint: Lsn(0),
            start: None,
            table: Vec::new(),
            table_lsn: Lsn(0),
            table_chain: 0,
            claims: Vec::new(),
            note: Vec::new(),
            scrub: ScrubState::default(),
        };
        let record = WitnessRecord {
            volume,
            epoch: 1,
            term: 1,
            opened: 1,
            in_sync: vec![LegId([1; 16])],
        };
        let mut log = Log::found(&superblock, &record, 0);
        assert!(log.own(1, 2));
        log.table_mut().claim(Lsn(0), Lsn(0)).expect("free");
        log
    }

    /// Numbers a batch that fills a segment; the first one also claims segments ahead.
    fn append(log: &mut Log) {
        let (lsn, mut inline) = (log.next(), Vec::new());
        log.claim_ahead(&mut inline);
        let payload_bytes = 28 << 10;
        let usable = |row: &Row| row.known < lsn;
        let blocks = blocks_of(payload_bytes);
        let place = log
            .table_mut()
            .place(lsn, blocks, PLAN.segment_blocks(), Holds::Store, usable);
        let (segment, generation, block) = place.expect("a claimed segment");
        let entry = Entry {
            lsn,
            kind: Kind::Store,
            payload_bytes,
            inline,
            unix_seconds: 0,
            prev: log.chain(),
            content: 0,
            segment,
            generation,
            block,
            attempt: 0,
            buffer: Arc::new(Buffer::zeroed(4096)),
            since: Time(0),
            legs: [LegWrite::Absent; LEGS_MAX],
            waiter: None,
        };
        log.append(entry, u128::from(lsn.0));
    }

    /// Submits the next batch, if it may go.
    fn submit(log: &mut Log) -> Option<Lsn> {
        let (entry, _) = log.next_to_submit(8)?;
        entry.legs[0] = LegWrite::Flying { since: Time(0) };
        let lsn = entry.lsn;
        log.note_submitted();
        Some(lsn)
    }

    #[test]
    fn a_batch_is_not_submitted_before_the_claim_of_its_segment_is_durable() {
        let mut log = log();
        append(&mut log);
        append(&mut log);
        log.check(&PLAN);
        assert_eq!(submit(&mut log), Some(Lsn(1)));
        assert_eq!(submit(&mut log), None, "batch 1 carries the claim");
        log.check(&PLAN);
        log.note_write(Lsn(1), 0, LegIndex(0), Ok(()), Time(5));
        let taken = log.take_durable(&COUNTING).expect("durable");
        assert_eq!((taken.lsn, log.acked()), (Lsn(1), Lsn(1)));
        assert_eq!(submit(&mut log), Some(Lsn(2)));
        assert!(log.take_durable(&COUNTING).is_none(), "in flight");
        log.check(&PLAN);
    }

    #[test]
    #[should_panic(expected = "I5")]
    fn a_write_before_the_claim_is_seen() {
        let mut log = log();
        append(&mut log);
        append(&mut log);
        for entry in &mut log.pipeline {
            entry.legs[0] = LegWrite::Flying { since: Time(0) };
        }
        log.submitted = 2;
        log.check(&PLAN);
    }

    #[test]
    fn a_judgement_is_due_no_more_when_the_last_batch_is_acknowledged_or_moves() {
        let mut log = log();
        append(&mut log);
        log.note_refused();
        assert!(!log.is_to_be_judged(), "nothing is at the devices");
        submit(&mut log).expect("it may go");
        log.note_refused();
        assert!(log.is_to_be_judged());
        log.check(&PLAN);
        // Another leg refused it, and does not count any more.
        log.note_write(Lsn(1), 0, LegIndex(0), Ok(()), Time(5));
        log.take_durable(&COUNTING).expect("durable");
        assert!(!log.is_to_be_judged());
        append(&mut log);
        assert_eq!(submit(&mut log), Some(Lsn(2)));
        log.note_refused();
        assert!(log.move_all(PLAN.segment_blocks()), "there is room");
        assert!(!log.is_to_be_judged());
        assert_eq!(submit(&mut log), Some(Lsn(2)));
        log.check(&PLAN);
    }

    #[test]
    #[should_panic(expected = "a judgement is due")]
    fn a_judgement_without_a_batch_is_seen() {
        let mut log = log();
        log.refused = true;
        log.check(&PLAN);
    }

    #[test]
    fn nothing_leads_out_of_a_stop() {
        let mut log = log();
        append(&mut log);
        let waiting = log.stop("a test").expect("it ran");
        assert_eq!(waiting.len(), 1);
        assert!(log.stop("again").is_none());
        assert!(!log.own(2, 3) && !log.release() && !log.resume() && !log.end_outage());
        assert!(!log.defer("no") && !log.begin_outage("no".into()) && !log.hold("no".into()));
        log.stay_read_only("no".into());
        log.outage_goes_on("no".into());
        assert!(log.is_stopped());
        log.check(&PLAN);
    }
}
