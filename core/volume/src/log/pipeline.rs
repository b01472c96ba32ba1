//! Numbers, places, and the way of a batch from its number to its acknowledgement.

use base::Time;
use device::{DeviceIndex, IoFault};

use super::{Entry, LegWrite, Log};
use crate::format::{CLAIM_BYTES, INLINE_BYTES_MAX, Inline, encode_inline};
use crate::limits::{BATCHES_IN_FLIGHT_MAX, LEGS_MAX};
use crate::segment::{Row, Table};
use crate::types::*;

/// Segment, generation and first block of a batch.
type Place = (SegmentIndex, Generation, u32);

/// What the header of a batch says of its owner, besides the batch itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    /// The membership number.
    pub epoch: u64,
    /// The ownership number.
    pub term: u64,
    /// Everything up to here is acknowledged.
    pub acked: Lsn,
}

impl Log {
    /// Batches with an LSN and not yet durable, in order.
    pub fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.pipeline.iter()
    }

    /// Those of them that are at the devices.
    pub fn submitted(&self) -> impl Iterator<Item = &Entry> {
        self.pipeline.iter().take(self.submitted)
    }

    /// How many are at the devices.
    pub fn in_flight(&self) -> usize {
        self.submitted
    }

    /// The oldest batch that is not durable.
    pub fn oldest(&self) -> Option<&Entry> {
        self.pipeline.front()
    }

    /// The batch of that number, while it waits.
    pub fn entry(&self, lsn: Lsn) -> Option<&Entry> {
        self.index_of(lsn).map(|index| &self.pipeline[index])
    }

    /// The batch's index in the pipeline, which has no gaps.
    fn index_of(&self, lsn: Lsn) -> Option<usize> {
        let front = self.pipeline.front()?.lsn;
        let index = lsn.0.checked_sub(front.0)? as usize;
        (index < self.pipeline.len()).then_some(index)
    }

    /// Claims, for the batch that gets the next number, as many segments ahead as are wanted and fit among its inline records.
    pub fn claim_ahead(&mut self, inline: &mut Vec<u8>) {
        while self.table.claims_wanted() > 0 && inline.len() + CLAIM_BYTES <= INLINE_BYTES_MAX {
            let Some((segment, generation)) = self.table.claim(self.next, self.acked) else {
                break;
            };
            let claim = Inline::Claim {
                segment,
                generation,
            };
            encode_inline(&claim, inline);
        }
    }

    /// The batch has its number, place and link; `chain` is its own link. The order of these calls is the order of the log.
    pub fn append(&mut self, entry: Entry, chain: u128) {
        assert_eq!(entry.lsn, self.next, "I3: numbers leave no gap");
        assert_eq!(entry.prev, self.chain, "the chain goes on");
        let row = self.table.row(entry.segment);
        assert_eq!(row.generation, entry.generation);
        assert_eq!(row.last, entry.lsn, "the table knows its place");
        self.chain = chain;
        self.next = entry.lsn.next();
        self.pipeline.push_back(entry);
    }

    /// The batch that goes to the devices next, and what its header says; `None`: none may now.
    pub fn next_to_submit(&mut self, in_flight_max: usize) -> Option<(&mut Entry, Stamp)> {
        let held = self.respooling || self.refused || self.barrier || !self.is_running();
        let in_flight_max = in_flight_max.clamp(1, BATCHES_IN_FLIGHT_MAX);
        if held || self.submitted >= in_flight_max {
            return None;
        }
        let entry = self.pipeline.get_mut(self.submitted)?;
        // I5: nothing is written to a segment before its claim is durable.
        if self.table.row(entry.segment).known > self.acked {
            return None;
        }
        let stamp = Stamp {
            epoch: self.epoch,
            term: self.term,
            acked: self.acked,
        };
        Some((entry, stamp))
    }

    /// The batch that `next_to_submit` named is at the devices.
    pub fn note_submitted(&mut self) {
        let entry = &self.pipeline[self.submitted];
        let flies = |write: &LegWrite| matches!(write, LegWrite::Flying { .. });
        assert!(entry.legs.iter().any(flies), "it is on its way to a leg");
        let at = entry.address();
        self.marks.note(at);
        self.submitted += 1;
    }

    /// The write of `lsn` on `leg` has ended. An earlier `attempt` of a batch that has moved since says nothing. Answers how long it took, where it
    /// is durable and was in flight.
    pub fn note_write(
        &mut self,
        lsn: Lsn,
        attempt: u32,
        leg: LegIndex,
        result: Result<(), IoFault>,
        now: Time,
    ) -> Option<u64> {
        let index = self.index_of(lsn)?;
        let entry = &mut self.pipeline[index];
        assert_eq!(entry.lsn, lsn, "numbers leave no gap");
        if entry.attempt != attempt {
            return None;
        }
        let write = &mut entry.legs[usize::from(leg.0)];
        let took_us = match (result, *write) {
            (Ok(()), LegWrite::Flying { since }) => Some(now.since_us(since)),
            _ => None,
        };
        *write = match result {
            Ok(()) => LegWrite::Durable,
            Err(fault) => LegWrite::Failed(fault),
        };
        took_us
    }

    /// Acknowledges the front of the pipeline if every leg in `counting` has it (I1), and only when the superblocks name those legs.
    pub fn take_durable(&mut self, counting: &[(LegIndex, DeviceIndex)]) -> Option<Entry> {
        if self.submitted == 0 || self.is_stopped() || self.unrecorded {
            return None;
        }
        let front = self.pipeline.front();
        let front = front.expect("submitted entries are in the pipeline");
        if !front.is_durable_on(counting) {
            return None;
        }
        let entry = self.pipeline.pop_front().expect("looked at just now");
        assert_eq!(
            entry.lsn,
            self.acked.next(),
            "acknowledgements leave no gap (I3)"
        );
        self.submitted -= 1;
        // A leg that refused may have left while its refusal was still to be judged: with the last batch the judgement is due no more.
        self.refused &= self.submitted > 0;
        self.acked = entry.lsn;
        Some(entry)
    }

    /// A counting leg refused a batch: nothing is submitted until it is decided what that means. Without a batch at the devices there is
    /// nothing to decide, and no event would bring the decision: `deadline` watches only while there is one.
    pub fn note_refused(&mut self) {
        self.refused = self.submitted > 0;
    }

    /// Whether that is still to be decided, in a mode in which it can be.
    pub fn is_to_be_judged(&self) -> bool {
        self.refused && self.takes_batches()
    }

    /// It was decided: either a leg leaves, or an outage has begun.
    pub fn judged(&mut self) {
        self.refused = false;
    }

    /// Nothing is submitted from here on, because a leg joins.
    pub fn raise_barrier(&mut self) {
        self.barrier = true;
    }

    /// Nothing joins any more.
    pub fn lower_barrier(&mut self) {
        assert!(self.barrier);
        self.barrier = false;
    }

    /// A segment is given up: nothing is submitted until its batches have moved. `false`: one is already.
    pub fn begin_respool(&mut self) -> bool {
        !std::mem::replace(&mut self.respooling, true)
    }

    /// The batches have moved, or stay where they are.
    pub fn end_respool(&mut self) {
        assert!(self.respooling);
        self.respooling = false;
    }

    /// Whether a segment is being given up.
    pub fn is_respooling(&self) -> bool {
        self.respooling
    }

    /// How often batches moved to other segments because a device refused them.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Whether every batch that is not durable has another place now: none is moved otherwise, because no claim can be made either while every
    /// leg refuses.
    pub fn have_places(&self, segment_blocks: u32) -> bool {
        self.other_places(segment_blocks).is_some()
    }

    /// Another place for every batch that is not durable, and the table with all of them there. The segments that hold them now end before them.
    fn other_places(&self, segment_blocks: u32) -> Option<(Table, Vec<Place>)> {
        let mut table = self.table.clone();
        let mut sealed = Vec::new();
        for entry in &self.pipeline {
            if !sealed.contains(&entry.segment) {
                sealed.push(entry.segment);
                table.seal_before(entry.segment, entry.block, entry.lsn);
            }
        }
        let usable = |row: &Row| row.known <= self.acked;
        let places = self.pipeline.iter().map(|entry| {
            let (lsn, blocks, holds) = (entry.lsn, entry.blocks(), entry.holds());
            table.place(lsn, blocks, segment_blocks, holds, usable)
        });
        let places = places.collect::<Option<_>>()?;
        Some((table, places))
    }

    /// Moves every batch that is not durable to a new place, or none of them (`false`). Call when nothing is in flight on a leg that counts.
    pub fn move_all(&mut self, segment_blocks: u32) -> bool {
        let Some((table, places)) = self.other_places(segment_blocks) else {
            return false;
        };
        assert_eq!(places.len(), self.pipeline.len());
        self.table = table;
        // No leg has refused them in their new places.
        (self.submitted, self.refused) = (0, false);
        self.moves += 1;
        if let Some(first) = self.pipeline.front() {
            self.marks.forget_from(first.lsn);
        }
        for (entry, place) in self.pipeline.iter_mut().zip(places) {
            (entry.segment, entry.generation, entry.block) = place;
            entry.attempt += 1;
            entry.legs = [LegWrite::Absent; LEGS_MAX];
        }
        true
    }
}
