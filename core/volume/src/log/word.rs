//! What the next superblock says, and what the witness said last.

use super::Log;
use crate::Checkpoint;
use crate::layout::Plan;
use crate::limits::{NOTE_BYTES_MAX, SUPERBLOCK_CLAIMS_MAX, TABLE_PARTS_MAX};
use crate::marks::Mark;
use crate::superblock::{ClaimEntry, Member, Spot, Superblock};
use crate::types::*;

/// Where a segment table lies.
pub(crate) struct WrittenTable {
    pub spots: Vec<Spot>,
    /// Of its first part.
    pub lsn: Lsn,
    /// Of its last part.
    pub chain: u128,
}

impl Log {
    /// The number of the newest superblock that was begun.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The last superblock that was durable on every counting leg; zero: none of this owner's yet.
    pub fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Hash of that one, at first of the one that recovery began with.
    pub fn parent(&self) -> u128 {
        self.parent
    }

    /// Superblocks with numbers up to `seq` were seen.
    pub fn pass_seq(&mut self, seq: u64) {
        self.seq = self.seq.max(seq);
    }

    /// What the superblock with the next number says of a volume with these members.
    pub fn superblock(
        &self,
        volume: VolumeId,
        plan: Plan,
        members: Vec<Member>,
        scrub: ScrubState,
    ) -> Superblock {
        Superblock {
            volume,
            seq: self.seq + 1,
            parent: self.parent,
            epoch: self.epoch,
            term: self.term,
            plan,
            clean: self.clean,
            acked: self.settled(),
            members,
            checkpoint: self.checkpoint.lsn,
            start: self.start,
            table: self.table_spots.clone(),
            table_lsn: self.table_lsn,
            table_chain: self.table_chain,
            claims: self.claims.clone(),
            note: self.checkpoint.note.clone(),
            scrub,
        }
    }

    /// `superblock` is being written.
    pub fn superblock_begins(&mut self, superblock: &Superblock) {
        assert!(superblock.seq > self.seq, "a number is used once");
        self.seq = superblock.seq;
    }

    /// It is durable on every leg that counts, and nothing else was begun since. `counting`: the members that count by it.
    pub fn superblock_is_durable(&mut self, body_hash: u128, counting: Vec<LegId>) {
        assert!(self.seq > self.durable_seq);
        assert!(!counting.is_empty(), "I1: at least one leg counts");
        (self.unrecorded, self.durable_seq, self.parent) = (false, self.seq, body_hash);
        self.counting = Some(counting);
    }

    /// The members that count by the last superblock that is durable on every leg that counts; `None`: this owner has written none yet, or the
    /// witness counts others already and nothing is acknowledged (`unrecorded`).
    pub fn recorded(&self) -> Option<&[LegId]> {
        self.counting.as_deref().filter(|_| !self.unrecorded)
    }

    /// The next superblock marks the volume as closed.
    pub fn close(&mut self) {
        self.clean = true;
    }

    /// A task publishes soon. `false`: one does already.
    pub fn want_publishing(&mut self) -> bool {
        !std::mem::replace(&mut self.publishing_wanted, true)
    }

    pub fn publishing_begins(&mut self) {
        self.publishing_wanted = false;
    }

    /// The witness counts other legs than before: nothing is acknowledged until the superblocks name them.
    pub fn members_change(&mut self) {
        self.unrecorded = true;
    }

    /// The witness holds `record`, which this owner wrote.
    pub fn witness_says(&mut self, record: &WitnessRecord) {
        assert_eq!(record.term, self.term, "another owner's record");
        assert!(
            record.epoch > self.epoch,
            "I2: each change of the members raises the epoch"
        );
        self.epoch = record.epoch;
    }

    /// Whether `record` is the present owner's, under the present epoch.
    pub fn is_ours(&self, record: &WitnessRecord) -> bool {
        record.epoch == self.epoch && record.term == self.term
    }

    /// A change of the witness whose outcome is unknown.
    pub fn attempt(&mut self, record: WitnessRecord) {
        assert!(self.attempted.is_none(), "the one before is settled first");
        self.attempted = Some(record);
    }

    pub fn take_attempt(&mut self) -> Option<WitnessRecord> {
        self.attempted.take()
    }

    pub fn has_attempt(&self) -> bool {
        self.attempted.is_some()
    }

    /// The next batch is the first of this owner that is its own (SEAL).
    pub fn begin_seal(&mut self) {
        assert_eq!(self.seal, Lsn(0), "an owner opens once");
        self.seal = self.next;
    }

    /// The superblocks are about to name `checkpoint` and the table written for it. `start`: where replay from there begins.
    pub fn set_checkpoint(
        &mut self,
        checkpoint: Checkpoint,
        start: Option<Mark>,
        table: WrittenTable,
    ) {
        assert!(checkpoint.note.len() <= NOTE_BYTES_MAX);
        assert!(table.spots.len() <= TABLE_PARTS_MAX && !table.spots.is_empty());
        assert!(
            self.checkpoint.lsn <= checkpoint.lsn && checkpoint.lsn <= self.acked,
            "a checkpoint of what is durable"
        );
        assert!(self.table_lsn < table.lsn && table.lsn <= self.acked);
        self.start = start.map(|mark| Spot {
            segment: mark.segment.0,
            generation: mark.generation.0,
            block: mark.block,
        });
        self.checkpoint = checkpoint;
        self.table_spots = table.spots;
        self.table_lsn = table.lsn;
        self.table_chain = table.chain;
        // The table knows them.
        self.claims.clear();
        if let Some(mark) = start {
            self.marks.forget_before(mark);
        }
    }

    /// Claims made since the last table that name a segment under an earlier generation mean nothing any more.
    pub fn drop_old_claims(&mut self) {
        let table = &self.table;
        self.claims
            .retain(|claim| table.row(claim.segment).generation == claim.generation);
    }

    /// Claims a segment by the next superblock. `None`: none is free.
    ///
    /// `Err`: the superblock lists as many as it can.
    pub fn claim_by_superblock(&mut self) -> Option<Result<(), ()>> {
        let (segment, generation) = self.table.claim(Lsn(0), self.acked)?;
        if self.claims.len() == SUPERBLOCK_CLAIMS_MAX {
            return Some(Err(()));
        }
        self.claims.push(ClaimEntry {
            segment,
            generation,
        });
        Some(Ok(()))
    }

    /// Whether the superblock can list another claim.
    pub fn lists_claims(&self) -> bool {
        self.claims.len() < SUPERBLOCK_CLAIMS_MAX
    }
}
