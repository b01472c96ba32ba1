//! The state of an open volume: one thread, many tasks, no borrow held across an await.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use base::host::{Bell, Sender};
use base::{Histogram, Time};
use device::{Buffer, Completion, DeviceIndex, Io, IoFault, Op};

use crate::arena::ArenaShared;
use crate::format::{Kind, blocks_of};
use crate::gate::{Gate, TIMED_OUT, within};
use crate::layout::{Frame, Plan};
use crate::limits;
use crate::pool::Pool;
use crate::scan::Skip;
use crate::segment::Table;
use crate::superblock::{ClaimEntry, Spot};
use crate::takeover::Takeover;
use crate::types::*;
use crate::{Checkpoint, Settings};

pub(crate) struct Inner {
    pub io: Io,
    pub settings: Settings,
    pub id: VolumeId,
    pub plan: Plan,
    pub witness: Rc<dyn Witness>,
    pub pool: Rc<Pool>,
    pub legs: RefCell<Vec<Leg>>,
    pub log: RefCell<Log>,
    /// Held while the witness and the superblocks change.
    pub publishing: Gate,
    /// Held while a checkpoint is made.
    pub checkpointing: Gate,
    /// Held while arena pages are written or copied.
    pub arena_writing: Gate,
    pub arena: Arc<ArenaShared>,
    /// Rings whenever an acknowledgement, a failure or a membership change may have freed somebody.
    pub moved: Bell,
    pub counters: Cell<Counters>,
    pub report: RefCell<OpenReport>,
    pub damage: RefCell<BTreeSet<(Lsn, SegmentIndex, u32)>>,
    /// Stretches of the log behind the checkpoint that were given up: nothing in them is missing.
    pub given_up: RefCell<Vec<Skip>>,
    /// Read-only because of damage that was found after the opening.
    pub held: Cell<bool>,
    pub scrubbed: Cell<ScrubState>,
    /// Held by the scrub that runs.
    pub scrubbing: Gate,
    pub read_cache: RefCell<Vec<Buffer>>,
    pub page_checks: RefCell<Option<PageChecks>>,
    /// Waits for the operator while the volume is read-only.
    pub takeover: RefCell<Option<Takeover>>,
}

pub(crate) struct Leg {
    pub id: LegId,
    pub state: LegState,
    pub device: Option<DeviceIndex>,
    pub frame: Option<Frame>,
    pub wwid: u64,
    pub stale_since: Lsn,
    /// Set from the first fault that will end its membership until it has ended.
    pub failing: bool,
    /// It fails while others were seen to take writes.
    pub alone: bool,
    pub why: Option<String>,
    /// Caught up: the next membership record may count it.
    pub joining: bool,
    /// Which attach this is: a copy task of an earlier one must not go on.
    pub session: u64,
    /// Batch writes at its device.
    pub flying: usize,
    pub reading: usize,
    pub repairs: u64,
    pub read_faults: u64,
    pub write_faults: u64,
    /// Of batch writes, from submission to durable.
    pub flushes: Histogram,
    pub progress: Option<(u64, u64)>,
    /// How the last probe of it failed (`health`).
    pub unread: Option<String>,
    /// Arena pages not written here since it left; `None`: unknown, so all of them.
    pub arena_missed: Option<BTreeSet<u64>>,
    pub spoiled: VecDeque<Time>,
    pub repaired: VecDeque<Time>,
    /// It does not hold what it should: when it leaves (or at the opening that finds it so), this is how far it is believed.
    pub proven: Option<Lsn>,
    /// It lacked acknowledged batches at the opening; they were put right, and its arena pages are looked at as well.
    pub arena_unsure: bool,
}

impl Leg {
    /// A member without a device.
    pub fn absent(id: LegId, state: LegState, stale_since: Lsn, wwid: u64) -> Leg {
        Leg {
            id,
            state,
            device: None,
            frame: None,
            wwid,
            stale_since,
            failing: false,
            alone: false,
            why: None,
            joining: false,
            session: 0,
            flying: 0,
            reading: 0,
            repairs: 0,
            read_faults: 0,
            write_faults: 0,
            flushes: Histogram::default(),
            progress: None,
            unread: None,
            arena_missed: None,
            spoiled: VecDeque::new(),
            repaired: VecDeque::new(),
            proven: None,
            arena_unsure: false,
        }
    }

    pub fn counts(&self) -> bool {
        self.state == LegState::InSync
    }

    /// Gets new batches and pages, whether or not they count.
    pub fn receives(&self) -> bool {
        !self.failing
            && matches!(
                self.state,
                LegState::InSync | LegState::CatchingUp | LegState::Rebuilding
            )
    }

    pub fn serves(&self) -> bool {
        self.counts() && !self.failing && self.device.is_some()
    }
}

/// Why nothing is taken while an opening goes on beside clients.
pub(crate) const TAKEN_OVER: &str = "the volume is being taken over";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    Running,
    /// Membership cannot be recorded just now: new commits are refused, those with an LSN wait.
    Deferring(String),
    /// Every counting leg refuses writes: new commits are refused, those with an LSN wait and are written again (`outage`).
    Outage(String),
    /// Acknowledged batches are missing: no writes until somebody accepts that.
    ReadOnly(String),
    /// Never again in this process.
    Stopped(String),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub lsn: Lsn,
    pub segment: SegmentIndex,
    pub generation: Generation,
    pub block: u32,
}

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

/// What the arena's owner says a page's checksum is; `None`: the page holds nothing.
pub(crate) type PageChecks = Rc<dyn Fn(u64) -> Option<u64>>;

pub(crate) struct Entry {
    pub lsn: Lsn,
    pub kind: Kind,
    pub payload_bytes: u32,
    pub inline: Vec<u8>,
    pub unix_seconds: i64,
    pub prev: u128,
    pub content: u128,
    pub segment: SegmentIndex,
    pub generation: Generation,
    pub block: u32,
    pub attempt: u32,
    pub buffer: Arc<Buffer>,
    /// When it got its number.
    pub since: Time,
    pub legs: [LegWrite; limits::LEGS_MAX],
    pub waiter: Option<Sender<Result<BatchAddress, CommitFault>>>,
}

impl Entry {
    /// Header, payload and padding.
    pub fn bytes(&self) -> usize {
        blocks_of(self.payload_bytes) as usize * device::BLOCK_BYTES
    }

    pub fn address(&self) -> BatchAddress {
        BatchAddress {
            lsn: self.lsn,
            segment: self.segment,
            generation: self.generation,
            block: self.block,
        }
    }
}

/// One batch's write on one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LegWrite {
    Absent,
    Flying { since: Time },
    Durable,
    Failed(IoFault),
}

impl Inner {
    pub fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Legs that `pick` chooses and that have a device.
    pub fn legs_where(&self, pick: impl Fn(&Leg) -> bool) -> Vec<(LegIndex, DeviceIndex)> {
        let legs = self.legs.borrow();
        let chosen = legs.iter().enumerate().filter(|(_, leg)| pick(leg));
        chosen
            .filter_map(|(index, leg)| Some((LegIndex(index as u8), leg.device?)))
            .collect()
    }

    /// Reads `bytes` (a multiple of a block) at `at`, or says why not. A leg slower than the hard deadline counts as
    /// failed for this read only.
    pub async fn read_raw(
        &self,
        device: DeviceIndex,
        at: u64,
        bytes: usize,
    ) -> Result<Buffer, IoFault> {
        self.count(|c| {
            (c.device_reads, c.bytes_read) = (c.device_reads + 1, c.bytes_read + bytes as u64)
        });
        let into = self.read_buffer(bytes);
        let pending = self.io.device.start(device, Op::Read { at, into, bytes });
        match within(&*self.io.host, self.settings.hard_deadline_us, pending).await {
            Some(Completion {
                result: Ok(()),
                buffer: Some(buffer),
            }) => Ok(buffer),
            Some(Completion {
                result: Err(fault),
                buffer,
            }) => {
                if let Some(buffer) = buffer {
                    self.return_read_buffer(buffer);
                }
                Err(fault)
            }
            Some(_) => Err(IoFault::Medium),
            None => Err(TIMED_OUT),
        }
    }

    /// Writes and makes durable `data[..bytes]` at `at`, within the hard deadline.
    pub async fn write_raw(
        &self,
        device: DeviceIndex,
        at: u64,
        data: Arc<Buffer>,
        bytes: usize,
    ) -> Result<(), IoFault> {
        self.count(|c| {
            (c.device_writes, c.bytes_written) =
                (c.device_writes + 1, c.bytes_written + bytes as u64)
        });
        let op = Op::Write {
            at,
            data,
            range: 0..bytes,
            durable: true,
        };
        let pending = self.io.device.start(device, op);
        match within(&*self.io.host, self.settings.hard_deadline_us, pending).await {
            Some(completion) => completion.result,
            None => Err(TIMED_OUT),
        }
    }

    /// A buffer of at least `bytes`, from the cache when one fits.
    pub fn read_buffer(&self, bytes: usize) -> Buffer {
        let mut cache = self.read_cache.borrow_mut();
        let fits =
            |buffer: &Buffer| buffer.len() >= bytes && buffer.len() <= bytes.max(16 << 10) * 4;
        match cache.iter().position(fits) {
            Some(index) => cache.swap_remove(index),
            None => Buffer::zeroed(bytes.next_power_of_two().max(device::BLOCK_BYTES)),
        }
    }

    pub fn return_read_buffer(&self, buffer: Buffer) {
        let mut cache = self.read_cache.borrow_mut();
        let kept: usize = cache.iter().map(|buffer| buffer.len()).sum();
        if kept + buffer.len() <= limits::READ_CACHE_BYTES_MAX {
            cache.push(buffer);
        }
    }

    /// See `Volume::refuses`.
    pub fn refuses(&self) -> Option<String> {
        let log = self.log.borrow();
        match &log.mode {
            // The operator accepted damage beside clients: what the opening writes comes before anything of theirs.
            Mode::Running if log.table.opening => Some(TAKEN_OVER.into()),
            Mode::Running => None,
            Mode::Deferring(why) | Mode::Outage(why) | Mode::ReadOnly(why) | Mode::Stopped(why) => {
                Some(why.clone())
            }
        }
    }

    /// Not while an opening writes what comes before everything else.
    pub fn taken_over(&self) -> Result<(), CommitFault> {
        let log = self.log.borrow();
        match log.mode {
            Mode::Running if log.table.opening => Err(CommitFault::Deferred(TAKEN_OVER.into())),
            _ => Ok(()),
        }
    }

    pub fn is_stopped(&self) -> bool {
        matches!(self.log.borrow().mode, Mode::Stopped(_))
    }

    /// Whether every number from `from` up to `next`, which is not one of them, was given up; so also when there is none.
    pub fn is_given_up(&self, from: Lsn, next: Lsn) -> bool {
        let given_up = self.given_up.borrow();
        let mut lsn = from;
        // bounded by the stretches: each step passes one
        while lsn < next {
            let Some(skip) = given_up.iter().find(|skip| skip.covers(lsn)) else {
                return false;
            };
            lsn = skip.until.next();
        }
        true
    }

    /// Remembers a batch whose every copy is bad.
    pub fn note_damage(&self, lsn: Lsn, segment: SegmentIndex, block: u32) {
        let mut damage = self.damage.borrow_mut();
        if damage.len() < limits::DAMAGE_MAX && damage.insert((lsn, segment, block)) {
            tracing::error!(
                lsn = lsn.0,
                segment = segment.0,
                block,
                "every copy of a batch is damaged"
            );
        }
    }
}
