//! Names, places, faults and reports: the words of this crate's public surface.

use base::Histogram;
use device::DeviceIndex;

/// Number of a commit batch: +1 each, per volume, for ever. The first batch is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The number of the batch after this one.
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Which segment of a leg, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentIndex(pub u32);

/// How often a segment was given back; +1 at each free. Old bytes never verify under a newer generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

/// A leg's place in the member table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegIndex(pub u8);

/// The identity of one leg, given when the leg is made and never to another one. It is written in each of the leg's
/// superblocks, so a device is recognised wherever it is attached. Shown as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub [u8; 16]);

/// The identity of a volume, chosen at random when the volume is made. Checksums are seeded with it, so blocks of one
/// volume never verify in another. Shown as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VolumeId(pub [u8; 16]);

macro_rules! shown_as_uuid {
    ($($name:ident),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}
shown_as_uuid!(LegId, VolumeId);

impl VolumeId {
    /// The id as two numbers, for checksum seeds.
    pub(crate) fn halves(&self) -> (u64, u64) {
        let all = u128::from_le_bytes(self.0);
        (all as u64, (all >> 64) as u64)
    }

    /// The seed under which `RecordAddress::check` is computed.
    pub fn check_seed(&self) -> u64 {
        let (low, high) = self.halves();
        base::hash::seed(&[low, high])
    }
}

/// Where a committed batch lies. `block` counts 4 KiB blocks from the start of the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchAddress {
    pub lsn: Lsn,
    /// The segment that holds the batch.
    pub segment: SegmentIndex,
    /// The segment's generation at the time of the write. A reader that finds another generation has a stale address.
    pub generation: Generation,
    /// Blocks from the start of the segment to the batch's header.
    pub block: u32,
}

/// A run of bytes inside one committed batch, with the checksum that proves it: `check` is
/// `base::hash::xxh3_64(bytes, volume.check_seed())`, independent of the address, so that a batch re-appended
/// elsewhere keeps its records' checks; the address is proved by the batch. Addresses are ordered as their bytes are on a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordAddress {
    /// The segment that holds the batch.
    pub segment: SegmentIndex,
    /// The segment's generation at the time of the write.
    pub generation: Generation,
    /// 4 KiB blocks from the start of the segment to the batch's header.
    pub batch_block: u32,
    /// Bytes from the batch's first byte (its header) to the run.
    pub at: u32,
    /// Length of the run in bytes.
    pub bytes: u32,
    /// XXH3-64 of the run, seeded with `VolumeId::check_seed`.
    pub check: u64,
}

/// Why a batch is not acknowledged. The caller answers its peer with a temporary refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitFault {
    /// No leg is left that could make it durable, or membership cannot be recorded. Nothing was acknowledged.
    ///
    /// A batch that already has an LSN waits for the witness to come back; it is answered with this only when the
    /// volume has stopped for good, and then nothing after it is acknowledged either until the volume is opened
    /// again (which may find the batch whole in the log).
    #[error("the volume defers: {0}")]
    Deferred(String),
    /// The batch needs a new segment, and the free ones are kept for purposes below this one. Reclaim must free a
    /// segment first.
    #[error("no free segment is left")]
    Full,
}

/// Why an address could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// Every copy is bad: a line of the damage list.
    #[error("every copy is damaged")]
    Damaged,
    /// The segment was freed or reused since the address was taken: look the address up again.
    #[error("the address is stale")]
    Stale,
    /// No leg that counts answered in time. The bytes may be intact: the caller answers temporarily and tries again.
    #[error("no leg answers")]
    Unavailable,
}

/// The small outside record that breaks a tie between legs (DESIGN.md B2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessRecord {
    /// The volume that the record is of.
    pub volume: VolumeId,
    /// The membership number. It grows with each change of `in_sync`.
    pub epoch: u64,
    /// Raised before an opening writes anything.
    pub term: u64,
    /// The last term whose opening came to its end: superblocks of that term are durable on every leg in sync. Zero: none is known.
    pub opened: u64,
    /// The legs that held every acknowledged batch when the record was written.
    pub in_sync: Vec<LegId>,
}

/// How far a volume had come at some moment, noted outside the legs: what a leg that is alone is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Number of a superblock that was durable on every leg in sync.
    pub seq: u64,
    /// Every LSN up to here was acknowledged.
    pub acked: Lsn,
}

/// Why the witness did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessFault {
    /// The record is not what `replace` expected. This process no longer owns the volume and must stop writing.
    #[error("another owner changed the witness first")]
    Lost,
    /// The witness cannot be read or written now. The caller retries; until then membership cannot change.
    #[error("the witness does not answer: {0}")]
    Unavailable(String),
}

/// Read and compare-and-set, durable when it returns. May block for one small file's fsync: membership changes are
/// rare.
pub trait Witness {
    /// The record of `volume`; `None` when the witness answers and has none. A witness that cannot answer is
    /// `Unavailable`, never `None`.
    fn read(&self, volume: VolumeId) -> Result<Option<WitnessRecord>, WitnessFault>;
    /// Replaces the record if it is still `expected` (`None`: there must be no record). Returns when the new one is
    /// durable.
    fn replace(
        &self,
        expected: Option<&WitnessRecord>,
        new: &WitnessRecord,
    ) -> Result<(), WitnessFault>;

    /// The last position that was noted and is durable; `None`: none is.
    fn position(&self, volume: VolumeId) -> Result<Option<Position>, WitnessFault> {
        let _ = volume;
        Ok(None)
    }

    /// Notes a position. Never blocks: acknowledgements wait behind the caller. It may be durable later or, after a crash,
    /// not at all; then less is proved, and nothing is wrong.
    fn note(&self, volume: VolumeId, position: Position) {
        let _ = (volume, position);
    }
}

/// DESIGN.md A3. Only `InSync` counts for an acknowledgement and serves reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LegState {
    /// Holds every acknowledged batch. It counts for acknowledgements and serves reads.
    InSync,
    /// Receives new batches while a resync copies the interval that it missed.
    CatchingUp,
    /// Receives new batches while everything live is copied to it.
    Rebuilding,
    /// A leg for the move to another place. The format has it; no code makes one yet.
    Bridge,
    /// Left the mirror and lacks batches after `stale_since`. It returns by `attach`.
    Stale,
    /// Its device answered with faults or not at all. The format has it; a leg that leaves is recorded as `Stale`.
    Failed,
    /// A device that waits to replace a leg. The format has it; no code makes one yet.
    Spare,
    /// Removed by an operator. Its row in the member table may be given to another leg.
    Retired,
}

/// What `leg list` and the metrics show.
#[derive(Debug, Clone)]
pub struct LegReport {
    /// The leg's row in the member table.
    pub index: LegIndex,
    /// The leg's identity, which stays the same when its device moves.
    pub id: LegId,
    /// What the leg may be used for now.
    pub state: LegState,
    /// The device that the leg is open on; `None` when the leg is absent.
    pub device: Option<DeviceIndex>,
    /// For a leg being resynced or rebuilt: bytes done and bytes to do.
    pub progress: Option<(u64, u64)>,
    /// Ranges that were bad on this leg and were rewritten from another one since the volume was opened.
    pub repairs: u64,
    /// Reads from it that failed since the volume was opened.
    pub read_faults: u64,
    /// Writes to it that failed since the volume was opened.
    pub write_faults: u64,
    /// How long batch writes to it took, from submission to durable, a second try included; those that failed are not in it.
    pub flushes: Histogram,
    /// The last batch up to which the leg is known to be complete; `None` for a leg in sync.
    pub stale_since: Option<Lsn>,
    /// Why it left the in-sync set, when it did so since the volume was opened.
    pub why: Option<String>,
    /// How the last probe of a leg that counts failed (`Volume::probe_legs`); `None`: it answered, or was not asked.
    pub unread: Option<String>,
}

/// What is known of scrubs; dates in Unix seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubState {
    /// When the last whole scrub ended; 0: never.
    pub ended: i64,
    /// When the one that is under way began; 0: none is. It may have begun before the last restart.
    pub began: i64,
    /// The one under way has read every segment that begins at or before this.
    pub cursor: Lsn,
    /// Of the segments: read, and in all. Zero until the scrub goes on after a restart.
    pub done_bytes: u64,
    /// All bytes of the segments that the scrub reads.
    pub all_bytes: u64,
}

/// Why a volume is not opened, made or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefusal {
    /// What the operator has to mend: one sentence with the fix.
    #[error("{0}")]
    Misfit(String),
}

/// Shorthand for a refusal with this sentence.
pub(crate) fn misfit<T>(sentence: impl Into<String>) -> Result<T, OpenRefusal> {
    Err(OpenRefusal::Misfit(sentence.into()))
}

/// What `open` left out or put right.
#[derive(Debug, Clone, Default)]
pub struct OpenReport {
    /// One sentence per device that was left out, with what to do.
    pub left_out: Vec<String>,
    /// Batches read while the tail was recovered.
    pub tail_batches: u64,
    /// Bytes read while the tail was recovered, all legs together.
    pub tail_bytes: u64,
    /// Copies written so that the legs are identical again.
    pub normalised: u64,
    /// Acknowledged batches that no leg holds whole: the volume is read-only until `accept_damage`.
    pub damaged: Vec<Lsn>,
    /// The volume had been closed properly.
    pub clean: bool,
}

/// The pointer recovery starts from; `note` is the store's own (at most `limits::NOTE_BYTES_MAX`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last batch that the checkpoint stands for. Recovery reads from the one after it.
    pub lsn: Lsn,
    /// Opaque bytes of the store, given back at the next opening.
    pub note: Vec<u8>,
}

/// One segment as `Volume::segments` lists it.
#[derive(Debug, Clone)]
pub struct SegmentReport {
    pub index: SegmentIndex,
    /// 1 at first, and one more each time that it becomes free. Addresses with another generation are stale.
    pub generation: Generation,
    /// What it is used for now.
    pub state: SegmentState,
    /// Bytes from its start to the end of the last batch in it.
    pub used_bytes: u64,
    pub first_lsn: Lsn,
    pub last_lsn: Lsn,
}

/// What is free in a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// All segments.
    pub segments: usize,
    /// Free ones, and those claimed ahead.
    pub spare_segments: usize,
    /// Pages (4 KiB) in one segment.
    pub segment_pages: u64,
    /// Blocks (4 KiB) left in the segment that is being filled.
    pub open_blocks: u64,
    /// Blocks that reclaim may write in it, or in the next one if it must begin that.
    pub reclaim_blocks: u64,
    /// Reclaim's next batch begins a segment: the open one holds what the last checkpoint needs.
    pub reclaim_begins: bool,
    /// Pages the arena has room for.
    pub arena_pages: u64,
    /// A segment is taken only by what the last checkpoint needs: the next checkpoint gives it back.
    pub checkpoint_gives: bool,
}

/// The uses of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// Free, or claimed ahead and still empty, or with nothing in it but what the volume itself gives back.
    Free,
    /// New batches are appended to it.
    Open,
    /// Full, or left early. It holds batches and gets no more of them.
    Sealed,
    /// It belongs to the arena and holds pages instead of batches.
    Arena,
}

/// What one scrub of the volume found.
#[derive(Debug, Clone, Default)]
pub struct ScrubReport {
    /// Bytes read from all legs together.
    pub bytes_read: u64,
    /// Ranges that were bad on one leg and were rewritten from another.
    pub repaired: u64,
    /// Batches whose every copy is bad.
    pub damaged: Vec<BatchAddress>,
    /// Arena pages of which no leg has what their owner says. A power cut while they were written leaves some that are not read
    /// any more; their owner makes the others again.
    pub pages_lost: u64,
}

/// What the volume did since it was opened, all legs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commit batches that became durable.
    pub batches: u64,
    /// Write operations handed to devices.
    pub device_writes: u64,
    /// Bytes in those writes.
    pub bytes_written: u64,
    /// Read operations handed to devices.
    pub device_reads: u64,
    /// Bytes in those reads.
    pub bytes_read: u64,
    /// Ranges rewritten on one leg from a good one.
    pub repairs: u64,
    /// Those among them that a reader of the arena asked for.
    pub repairs_for_readers: u64,
    /// Legs that left the set in sync.
    pub ejected: u64,
    /// Legs that returned to it after a resync or a rebuild.
    pub resynced: u64,
    /// Segments left early because a write to them failed: what follows goes to a new one.
    pub segments_spoiled: u64,
    /// Times that every leg refused writes at once.
    pub outages: u64,
    /// Superblocks written, each to every leg that receives.
    pub superblock_writes: u64,
}
