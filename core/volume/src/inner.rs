//! The state of an open volume: one thread, many tasks, no borrow held across an await.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use base::host::Bell;
use device::{Buffer, Completion, DeviceIndex, Io, IoFault, Op};

use crate::Settings;
use crate::arena::shared::ArenaShared;
use crate::checked::Checked;
use crate::gate::{Gate, TIMED_OUT, within};
use crate::layout::Plan;
use crate::legs::{Leg, Legs};
use crate::limits;
use crate::log::Log;
use crate::opening::Takeover;
use crate::pool::Pool;
use crate::skip::Skip;
use crate::types::*;

pub(crate) struct Inner {
    /// Devices, clock and tasks.
    pub io: Io,
    /// As `open` got them.
    pub settings: Settings,
    /// The identity that every checksum is seeded with.
    pub id: VolumeId,
    /// Where things are on a leg.
    pub plan: Plan,
    /// The record that breaks ties between legs.
    pub witness: Rc<dyn Witness>,
    /// Buffers for batches.
    pub pool: Rc<Pool>,
    /// The members.
    pub legs: Checked<Legs>,
    /// Numbers, segments and what is in flight.
    pub log: Checked<Log>,
    /// Held while the witness and the superblocks change.
    pub publishing: Gate,
    /// Held while a checkpoint is made.
    pub checkpointing: Gate,
    /// Held while a device is attached: the same one must not become two members.
    pub attaching: Gate,
    /// Held while arena pages are written or copied.
    pub arena_writing: Gate,
    /// What readers of the arena on other threads see.
    pub arena: Arc<ArenaShared>,
    /// Rings whenever an acknowledgement, a failure or a membership change may have freed a waiting caller.
    pub moved: Bell,
    /// What was done since the opening.
    pub counters: Cell<Counters>,
    /// What the opening left out or put right.
    pub report: RefCell<OpenReport>,
    /// Batches whose every copy is bad, by number and place.
    pub damage: RefCell<BTreeSet<(Lsn, SegmentIndex, u32)>>,
    /// Stretches of the log behind the checkpoint that were given up: nothing in them is missing.
    pub given_up: RefCell<Vec<Skip>>,
    /// Read-only because of damage that was found after the opening.
    pub held: Cell<bool>,
    /// When scrubs ran, and how far the present one is.
    pub scrubbed: Cell<ScrubState>,
    /// Held by the scrub that runs.
    pub scrubbing: Gate,
    /// Buffers of earlier reads, at most `READ_CACHE_BYTES_MAX`.
    pub read_cache: RefCell<Vec<Buffer>>,
    /// Asked by the scrub, once the arena's owner has given it.
    pub page_checks: RefCell<Option<PageChecks>>,
    /// Waits for the operator while the volume is read-only.
    pub takeover: RefCell<Option<Takeover>>,
}

/// What the arena's owner says a page's checksum is; `None`: the page holds nothing.
pub(crate) type PageChecks = Rc<dyn Fn(u64) -> Option<u64>>;

impl Inner {
    pub fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Legs that `pick` chooses and that have a device.
    pub fn legs_where(&self, pick: impl Fn(&Leg) -> bool) -> Vec<(LegIndex, DeviceIndex)> {
        let legs = self.legs.borrow();
        let chosen = legs.indexed().filter(|(_, leg)| pick(leg));
        chosen
            .filter_map(|(index, leg)| Some((index, leg.device()?)))
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
            None => Buffer::for_read(bytes.next_power_of_two().max(device::BLOCK_BYTES)),
        }
    }

    /// Keeps the buffer for the next read, within the cache's bound.
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
        // The operator accepted damage beside clients: what the opening writes comes before anything of theirs.
        let why = log.taken_over().or_else(|| log.mode().why());
        why.map(str::to_owned)
    }

    /// Not while an opening writes what comes before everything else.
    pub fn taken_over(&self) -> Result<(), CommitFault> {
        match self.log.borrow().taken_over() {
            Some(why) => Err(CommitFault::Deferred(why.into())),
            None => Ok(()),
        }
    }

    /// Nothing is written or acknowledged any more in this process.
    pub fn is_stopped(&self) -> bool {
        self.log.borrow().is_stopped()
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
