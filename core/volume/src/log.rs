//! The log of an open volume as its owner holds it: what has a number, what is durable, and what the next superblock will say.
//!
//! What must hold between calls is in `check.rs`. Each method names one thing that happens and asserts what it relies on, so each field has
//! one place where it changes: numbers and the pipeline in `pipeline.rs`, whether batches are taken in `mode.rs`, what superblocks and the witness
//! say in `word.rs`. Nothing here does I/O, and nothing outside this folder writes a field.

mod check;
mod entry;
mod mode;
mod pipeline;
mod word;

use std::collections::VecDeque;

use crate::Checkpoint;
use crate::marks::{Mark, Marks};
use crate::opening::Recovered;
use crate::segment::Table;
use crate::superblock::{ClaimEntry, Spot, Superblock};
use crate::types::*;

pub(crate) use entry::{Entry, LegWrite};
pub(crate) use mode::Mode;
pub(crate) use pipeline::Stamp;
pub(crate) use word::WrittenTable;

pub(crate) struct Log {
    mode: Mode,
    epoch: u64,
    term: u64,
    next: Lsn,
    acked: Lsn,
    /// Chain value of the last batch that got an LSN.
    chain: u128,
    /// Batches with an LSN and not yet durable, in order; the first `submitted` ones are at the devices.
    pipeline: VecDeque<Entry>,
    submitted: usize,
    table: Table,
    marks: Marks,
    checkpoint: Checkpoint,
    start: Option<Spot>,
    table_spots: Vec<Spot>,
    table_lsn: Lsn,
    table_chain: u128,
    claims: Vec<ClaimEntry>,
    /// The first batch of this owner that is its own; while its table is not in the superblocks it may yet come to nothing.
    seal: Lsn,
    seq: u64,
    /// The last superblock that was durable on every counting leg; zero: none of this owner's yet.
    durable_seq: u64,
    /// Hash of that one, at first of the one that recovery began with.
    parent: u128,
    /// The members that count by that one; `None`: none of this owner's yet.
    counting: Option<Vec<LegId>>,
    clean: bool,
    /// A segment is being given up: nothing is submitted until its batches have moved.
    respooling: bool,
    /// A counting leg refused a batch that is at the devices, and what that means is not decided: nothing is submitted until it is (`outage`).
    refused: bool,
    /// How often batches moved to other segments because a device refused them.
    moves: u64,
    /// Nothing is submitted while a leg joins.
    barrier: bool,
    /// The witness knows a set of legs that the superblocks do not name yet: nothing is acknowledged.
    unrecorded: bool,
    /// A task waits for a quiet moment to note the position.
    noting: bool,
    watching: bool,
    publishing_wanted: bool,
    /// A change of the witness whose outcome is unknown.
    attempted: Option<WitnessRecord>,
}

impl Log {
    /// What the newest superblock says, before recovery: nothing may be written yet. `body_hash` is that superblock's.
    pub fn found(superblock: &Superblock, record: &WitnessRecord, body_hash: u128) -> Log {
        let segments = superblock.plan.segment_count;
        let claims = superblock.claims.iter();
        Log {
            // Until `take_over`: a leg that fails meanwhile is forgotten in memory only.
            mode: Mode::ReadOnly("the volume is being opened".into()),
            epoch: record.epoch,
            term: record.term,
            next: superblock.acked.next(),
            acked: superblock.acked,
            chain: 0,
            pipeline: VecDeque::new(),
            submitted: 0,
            table: Table::new(segments),
            marks: Marks::default(),
            checkpoint: Checkpoint {
                lsn: superblock.checkpoint,
                note: superblock.note.clone(),
            },
            start: superblock.start,
            table_spots: superblock.table.clone(),
            table_lsn: superblock.table_lsn,
            table_chain: superblock.table_chain,
            claims: claims
                .filter(|claim| claim.segment.0 < segments)
                .copied()
                .collect(),
            seal: Lsn(0),
            seq: superblock.seq,
            durable_seq: 0,
            parent: body_hash,
            counting: None,
            clean: false,
            respooling: false,
            refused: false,
            moves: 0,
            barrier: false,
            unrecorded: false,
            noting: false,
            watching: false,
            publishing_wanted: false,
            attempted: None,
        }
    }

    /// Takes over what recovery found, for reading.
    pub fn adopt(&mut self, recovered: &mut Recovered) {
        assert!(self.is_read_only() && self.pipeline.is_empty());
        self.table = std::mem::replace(&mut recovered.table, Table::new(0));
        self.marks = std::mem::take(&mut recovered.marks);
        (self.next, self.acked) = (recovered.top.next(), recovered.top);
        self.chain = recovered.chain;
        assert!(self.checkpoint.lsn <= self.acked, "I6: it was acknowledged");
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn term(&self) -> u64 {
        self.term
    }

    /// The number that the next batch gets.
    pub fn next(&self) -> Lsn {
        self.next
    }

    /// Every LSN up to here was acknowledged.
    pub fn acked(&self) -> Lsn {
        self.acked
    }

    /// Chain value of the last batch that got an LSN.
    pub fn chain(&self) -> u128 {
        self.chain
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// For what happens to segments; the table's own methods say what may.
    pub fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Where a walk to `lsn` may begin.
    pub fn mark_before(&self, lsn: Lsn) -> Option<Mark> {
        self.marks.before(lsn)
    }

    /// The last acknowledged batch that stays even if the opening is interrupted now: what goes into records outside the log.
    pub fn settled(&self) -> Lsn {
        if self.table_lsn < self.seal {
            self.acked.min(Lsn(self.seal.0 - 1))
        } else {
            self.acked
        }
    }

    /// A task waits for a quiet moment from now on. `false`: one does already.
    pub fn begin_noting(&mut self) -> bool {
        !std::mem::replace(&mut self.noting, true)
    }

    pub fn end_noting(&mut self) {
        assert!(self.noting);
        self.noting = false;
    }

    /// A task looks for late writes from now on. `false`: one does already.
    pub fn begin_watching(&mut self) -> bool {
        !std::mem::replace(&mut self.watching, true)
    }

    /// Nothing is in flight, so nothing can be late: the task ends. `false`: something is.
    pub fn end_watching(&mut self) -> bool {
        if self.submitted > 0 {
            return false;
        }
        self.watching = false;
        true
    }
}
