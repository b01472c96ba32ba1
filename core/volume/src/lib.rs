//! One mirrored raw volume. (API agreed on 2026-11-21; the story belongs here once the code does.)
#![forbid(unsafe_code)]
#![allow(unused_variables, dead_code)]

use bytes::Bytes;
use device::{DeviceIndex, Io};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentIndex(pub u32);
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegIndex(pub u8);
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LegId(pub [u8; 16]);
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VolumeId(pub [u8; 16]);

/// Where a committed batch lies. `block` counts 4 KiB blocks from the start of the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchAddress {
    pub lsn: Lsn,
    pub segment: SegmentIndex,
    pub generation: Generation,
    pub block: u32,
}

/// A run of bytes inside one committed batch, with the checksum that proves it: `check` is
/// `base::hash::xxh3_64(bytes, base::hash::seed(&[volume id halves]))`, i.e. independent of the address, so that a
/// batch re-appended elsewhere keeps its records' checks; the address is proved by the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordAddress {
    pub segment: SegmentIndex,
    pub generation: Generation,
    /// 4 KiB blocks from the start of the segment to the batch's header.
    pub batch_block: u32,
    /// Bytes from the batch's first byte (its header) to the run.
    pub at: u32,
    pub bytes: u32,
    pub check: u64,
}

/// A batch being filled: one aligned pool buffer whose first `BATCH_HEADER_BYTES` are the header's.
pub struct Batch {}
pub const BATCH_HEADER_BYTES: usize = 4096;
/// Header, payload and padding together.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

impl Batch {
    /// Bytes that still fit.
    pub fn room_bytes(&self) -> usize {
        unimplemented!()
    }
    /// Appends `bytes`, 8-byte aligned, and says where they begin (bytes from the batch's first byte).
    /// Stops the process without room.
    pub fn place(&mut self, bytes: &[u8]) -> u32 {
        unimplemented!()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitFault {
    /// No leg is left that could make it durable, or membership cannot be recorded. Nothing was acknowledged.
    #[error("the volume defers: {0}")]
    Deferred(String),
    #[error("no free segment is left")]
    Full,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// Every copy is bad: a line of the damage list.
    #[error("every copy is damaged")]
    Damaged,
    /// The segment was freed or reused since the address was taken: look the address up again.
    #[error("the address is stale")]
    Stale,
    #[error("no leg answers")]
    Unavailable,
}

/// The small outside record that breaks a tie between legs (storage.md B2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessRecord {
    pub volume: VolumeId,
    pub epoch: u64,
    pub term: u64,
    pub in_sync: Vec<LegId>,
}
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessFault {
    #[error("somebody else changed the witness first")]
    Lost,
    #[error("the witness does not answer: {0}")]
    Unavailable(String),
}
/// Read and compare-and-set, durable when it returns. May block for one small file's fsync: membership changes are rare.
pub trait Witness {
    fn read(&self, volume: VolumeId) -> Result<Option<WitnessRecord>, WitnessFault>;
    fn replace(
        &self,
        expected: Option<&WitnessRecord>,
        new: &WitnessRecord,
    ) -> Result<(), WitnessFault>;
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub segment_bytes: u64,
    /// Oldest outstanding write older than this: the leg is ejected.
    pub hard_deadline_us: u64,
    pub batches_in_flight_max: usize,
    pub batch_buffers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LegState {
    InSync,
    CatchingUp,
    Rebuilding,
    Bridge,
    Stale,
    Failed,
    Spare,
    Retired,
}

/// What `leg list` and the metrics show.
#[derive(Debug, Clone)]
pub struct LegReport {
    pub index: LegIndex,
    pub id: LegId,
    pub state: LegState,
    pub device: Option<DeviceIndex>,
    /// For a leg being resynced or rebuilt: bytes done and bytes to do.
    pub progress: Option<(u64, u64)>,
    pub repairs: u64,
    pub read_faults: u64,
    pub write_faults: u64,
    pub stale_since: Option<Lsn>,
}

#[derive(Clone)]
pub struct Volume {}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefusal {
    #[error("{0}")]
    Misfit(String),
}

/// The pointer recovery starts from; `note` is the store's own (bounded, 2 KiB).
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    pub lsn: Lsn,
    pub note: Vec<u8>,
}

impl Volume {
    /// Formats blank devices (refuses anything that is not blank unless `force`) as the legs of a new volume.
    pub async fn create(
        io: &Io,
        legs: &[DeviceIndex],
        settings: &Settings,
        witness: &dyn Witness,
        seed: u64,
    ) -> Result<VolumeId, OpenRefusal> {
        unimplemented!()
    }
    /// Opens, raises the term, recovers the log's tail, normalises the legs. Legs that are absent, stale or blank are
    /// left out and reported. Afterwards `walk` from the checkpoint gives the store what it must replay.
    pub async fn open(
        io: &Io,
        legs: &[DeviceIndex],
        settings: &Settings,
        witness: std::rc::Rc<dyn Witness>,
    ) -> Result<Volume, OpenRefusal> {
        unimplemented!()
    }
    pub fn id(&self) -> VolumeId {
        unimplemented!()
    }
    /// The seed under which `RecordAddress::check` is computed.
    pub fn check_seed(&self) -> u64 {
        unimplemented!()
    }
    /// A batch buffer from the pool; waits while all are in use (that is the back-pressure).
    pub async fn begin(&self) -> Batch {
        unimplemented!()
    }
    /// Seals `batch`, gives it the next LSN and place (in call order, before the first await), writes it to every counting leg, resolves in LSN order
    /// once durable on all of them. `on_durable` order = LSN order.
    pub async fn commit(&self, batch: Batch) -> Result<BatchAddress, CommitFault> {
        unimplemented!()
    }
    /// One verified run of bytes; a bad copy is repaired from a good leg on the way (the whole batch is rewritten and read back).
    pub async fn read(&self, address: &RecordAddress) -> Result<Bytes, ReadFault> {
        unimplemented!()
    }
    /// Many at once: neighbours on the leg are fetched by one device read of at most 1 MiB; answers in the order asked.
    pub async fn read_many(&self, addresses: &[RecordAddress]) -> Vec<Result<Bytes, ReadFault>> {
        unimplemented!()
    }
    pub fn checkpoint(&self) -> Checkpoint {
        unimplemented!()
    }
    /// Records durably (superblocks) that recovery may begin after `checkpoint.lsn`.
    pub async fn set_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), CommitFault> {
        unimplemented!()
    }
    /// The log after `after`, in LSN order, read from the legs: (address, payload without header). `None` at the end.
    pub fn walk(&self, after: Lsn) -> Walk {
        unimplemented!()
    }
    /// Segments that hold batches, oldest first, and what is free.
    pub fn segments(&self) -> Vec<SegmentReport> {
        unimplemented!()
    }
    /// All batches of one sealed segment, in order.
    pub async fn walk_segment(
        &self,
        segment: SegmentIndex,
    ) -> Result<Vec<(BatchAddress, Bytes)>, ReadFault> {
        unimplemented!()
    }
    /// Gives a sealed segment back (generation + 1) after the caller's checkpoint no longer needs it. The volume keeps it until no leg needs it for resync.
    pub async fn free_segment(&self, segment: SegmentIndex) -> Result<(), CommitFault> {
        unimplemented!()
    }

    // The arena: segments that hold 4 KiB pages written in place (the projection).
    /// Allocates one more segment of class arena; durable before it returns.
    pub async fn arena_grow(&self) -> Result<SegmentIndex, CommitFault> {
        unimplemented!()
    }
    /// Writes pages (page number inside the arena, exactly 4 KiB each) to every counting leg and flushes.
    pub async fn arena_write(&self, pages: Vec<(u64, Bytes)>) -> Result<(), CommitFault> {
        unimplemented!()
    }
    /// A handle for the index thread: reads a page, verifies `check` (xxh3_64 of the page seeded with its number), tries the other legs, and notes a repair.
    pub fn arena_reader(&self) -> std::sync::Arc<dyn ArenaRead> {
        unimplemented!()
    }

    // Legs.
    pub fn legs(&self) -> Vec<LegReport> {
        unimplemented!()
    }
    /// Admits a returned leg (resync of exactly the missed interval) or a blank one (full rebuild), in the background.
    pub async fn attach(&self, device: DeviceIndex) -> Result<LegIndex, OpenRefusal> {
        unimplemented!()
    }
    /// Takes a leg out: membership change through the witness.
    pub async fn eject(&self, leg: LegIndex, why: &str) -> Result<(), CommitFault> {
        unimplemented!()
    }
    /// Reads every live byte on every leg, repairs; resolves with the findings. Runs beside foreground work.
    pub async fn scrub(&self) -> ScrubReport {
        unimplemented!()
    }
    /// Batches no reply is awaited for are finished; superblocks marked clean.
    pub async fn close(&self) -> Result<(), CommitFault> {
        unimplemented!()
    }
}

pub struct Walk {}
impl Walk {
    pub async fn next(&mut self) -> Result<Option<(BatchAddress, Bytes)>, ReadFault> {
        unimplemented!()
    }
}

pub trait ArenaRead: Send + Sync {
    fn read_page(&self, page: u64, check: u64, into: &mut [u8]) -> Result<(), ReadFault>;
}

#[derive(Debug, Clone)]
pub struct SegmentReport {
    pub index: SegmentIndex,
    pub generation: Generation,
    pub state: SegmentState,
    pub used_bytes: u64,
    pub first_lsn: Lsn,
    pub last_lsn: Lsn,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    Free,
    Open,
    Sealed,
    Arena,
}

#[derive(Debug, Clone, Default)]
pub struct ScrubReport {
    pub bytes_read: u64,
    pub repaired: u64,
    /// Batches whose every copy is bad.
    pub damaged: Vec<BatchAddress>,
}
