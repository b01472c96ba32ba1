//! The log of an open volume as its owner holds it: what has a number, what is durable, and what the next superblock will say.

mod entry;
mod mode;

use std::collections::VecDeque;

use crate::Checkpoint;
use crate::marks::Mark;
use crate::segment::Table;
use crate::superblock::{ClaimEntry, Spot};
use crate::types::*;

pub(crate) use entry::{Entry, LegWrite};
pub(crate) use mode::{Mode, TAKEN_OVER};

pub(crate) struct Log {
    pub mode: Mode,
    pub epoch: u64,
    pub term: u64,
    pub next: Lsn,
    pub acked: Lsn,
    /// Chain value of the last batch that got an LSN.
    pub chain: u128,
    /// Batches with an LSN and not yet durable, in order; the first `submitted` ones are at the devices.
    pub pipeline: VecDeque<Entry>,
    pub submitted: usize,
    pub table: Table,
    pub marks: VecDeque<Mark>,
    pub checkpoint: Checkpoint,
    pub start: Option<Spot>,
    pub table_spots: Vec<Spot>,
    pub table_lsn: Lsn,
    pub table_chain: u128,
    pub claims: Vec<ClaimEntry>,
    /// The first batch of this owner that is its own; while its table is not in the superblocks it may yet come to nothing.
    pub seal: Lsn,
    pub seq: u64,
    /// The last superblock that was durable on every counting leg; zero: none of this owner's yet.
    pub durable_seq: u64,
    /// Hash of the last superblock that was durable on every leg that counted.
    /// Hash of that one, at first of the one that recovery began with.
    pub parent: u128,
    pub clean: bool,
    /// A segment is being given up: nothing is submitted until its batches have moved.
    pub respooling: bool,
    /// A counting leg refused a batch and what that means is not decided: nothing is submitted until it is (`outage`).
    pub refused: bool,
    /// How often batches moved to other segments because a device refused them.
    pub moves: u64,
    /// Nothing is submitted while a leg joins.
    pub barrier: bool,
    /// The witness knows a set of legs that the superblocks do not name yet: nothing is acknowledged.
    pub unrecorded: bool,
    /// A task waits for a quiet moment to note the position.
    pub noting: bool,
    pub watching: bool,
    pub publishing_wanted: bool,
    /// A change of the witness whose outcome is unknown.
    pub attempted: Option<WitnessRecord>,
}

impl Log {
    /// The last acknowledged batch that stays even if the opening is interrupted now: what goes into records outside the log.
    pub fn settled(&self) -> Lsn {
        if self.table_lsn < self.seal {
            self.acked.min(Lsn(self.seal.0 - 1))
        } else {
            self.acked
        }
    }
}
