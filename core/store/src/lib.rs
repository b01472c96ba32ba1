//! The append log as the only truth, the projection that can be thrown away, and reclaim.
//!
//! A [`Store`] stands on one `volume::Volume`. What the layer above appends as a [`Group`] (records and bodies) becomes durable on
//! every counting leg wholly or not at all, in the order of the calls; groups of many callers share one batch. Everything the
//! layer above knows is a function of that log. So that opening does not mean reading all of it, the layer above
//! hands over rows now and then ([`Store::checkpoint`]): they live in redb, on pages of the same volume, and replay begins after
//! the LSN they stand for. If those pages are ever lost the whole log is replayed instead; nothing else is.
//!
//! What must hold:
//! - a group is wholly inside one batch, and no group comes before one appended earlier;
//! - `applied` callbacks run in log order, at the moment of durability, before any waiter learns of it: memory above is always
//!   f(log prefix);
//! - a group answered with a fault is not in the log;
//! - the pages of the last logged checkpoint are never overwritten before the next one is logged (redb copies on write, one
//!   redb commit per logged checkpoint), and every page read is proved by a check that the log holds;
//! - a segment is freed only after a checkpoint that no longer points into it is durable.
//!
//! Main path: `append.rs` (queue, durability) → `place.rs` (batches) → `volume`; `chunk.rs` for large bodies. Then `checkpoint.rs` over `projection.rs`, `backend.rs`, `pages.rs`;
//! `open.rs` and `replay.rs` for the way back; `reclaim.rs` for space. Start reading at `append.rs`; `FORMAT.md` has the bytes.
#![forbid(unsafe_code)]

mod ahead;
mod append;
mod backend;
mod body;
mod checkpoint;
mod choose;
mod chunk;
mod committer;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod ledger;
pub mod limits;
mod open;
mod pages;
mod piece;
mod place;
mod projection;
mod queue;
mod read;
mod reclaim;
mod replay;
pub mod salvage;
mod space;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use base::host::Bell;
use base::{BodyName, Histogram};
use bytes::Bytes;
use device::Io;
use volume::{BatchAddress, CommitFault, Volume};

pub use body::{BODY_REF_BYTES_MAX, BodyRef, Codec, Lead, no_lead};
pub use checkpoint::ProjectionScrub;
pub use open::OpenReport;
pub use piece::Pieces;
pub use reclaim::{LocalFuture, Tenant};
pub use replay::Replay;
pub use volume::{Lsn, ReadFault};

/// What a record is, to the layer above; 0–127 are that layer's, 128–255 the store's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKind(pub u8);

/// One entry of the log that belongs to the layer above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub kind: RecordKind,
    pub payload: Bytes,
}

/// A body to be stored: immutable bytes with their name and a short digest kept beside them (for mail: envelope and structure).
#[derive(Debug, Clone)]
pub struct BodyIn {
    /// BLAKE3 of `raw`; the store believes it and proves it when asked to (`Store::body_proved`, reclaim).
    pub name: BodyName,
    /// At most `limits::BODY_BYTES_MAX`.
    pub raw: Bytes,
    pub summary: Bytes,
}

/// What becomes durable together or not at all. Records and summaries together stay under `limits::GROUP_FIXED_BYTES_MAX`.
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub bodies: Vec<BodyIn>,
    pub records: Vec<Record>,
    pub purpose: Purpose,
    /// Rows that the next checkpoint has to write because of it, at most; never counted as less than one for each record.
    pub rows: u64,
}

/// What a group is for: how far into the reserve it may go (`limits::KEPT_FROM_BODIES` and its neighbours).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// New mail and all that stays.
    #[default]
    Keep,
    /// Takes something away: it goes on when mail is refused.
    Delete,
    /// What a `Tenant` appends for reclaim: it goes on when deletions wait. It must say nothing new: until a checkpoint stands for it an
    /// opening may give it up, and with it the bodies that it brought.
    Reclaim,
}

#[derive(Debug, Clone)]
pub struct Committed {
    pub lsn: Lsn,
    /// One for each of the group's bodies, in order.
    pub bodies: Vec<BodyRef>,
}

/// A group found in the log at open, newer than the projection.
#[derive(Debug, Clone)]
pub struct Replayed {
    pub lsn: Lsn,
    pub bodies: Vec<BodyRef>,
    pub records: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// The reserve is reached (`limits::KEPT_FROM_BODIES`): bodies are refused first, then records, then deletions. Reclaim goes on.
    #[error("storage is full")]
    Full,
    #[error("storage defers: {0}")]
    Deferred(String),
    #[error("every copy is damaged")]
    Damaged,
    #[error("the projection failed: {0}")]
    Projection(String),
    /// The group passes a limit of `limits.rs`; nothing was written.
    #[error("a group is larger than the log takes at once")]
    TooLarge,
    /// The log was written by a newer version.
    #[error("{0}")]
    Misfit(String),
}
impl From<CommitFault> for StoreFault {
    fn from(fault: CommitFault) -> StoreFault {
        match fault {
            CommitFault::Deferred(why) => StoreFault::Deferred(why),
            CommitFault::Full => StoreFault::Full,
        }
    }
}
impl From<ReadFault> for StoreFault {
    fn from(fault: ReadFault) -> StoreFault {
        match fault {
            ReadFault::Damaged => StoreFault::Damaged,
            ReadFault::Stale | ReadFault::Unavailable => StoreFault::Deferred(fault.to_string()),
        }
    }
}

/// One row to write (`Some`) or delete (`None`) in the projection.
#[derive(Debug, Clone)]
pub struct Change {
    pub table: Table,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}
/// A table of the projection: byte keys in memcmp order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub u8);

#[derive(Debug, Clone)]
pub struct Settings {
    pub projection_cache_bytes: usize,
    /// zstd level for bodies, 0: store raw. Bodies are compressed on the way in only when nothing else waits; reclaim compresses
    /// the rest.
    pub compression_level: i32,
    /// What of each body is read alone most often.
    pub lead: Lead,
}

/// Totals since open, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub groups: u64,
    /// How long groups took from `append` to durable, the wait for a batch included; those that were refused are not in it.
    pub commits: Histogram,
    pub batches: u64,
    /// Payload bytes of the batches, framing included.
    pub batch_bytes: u64,
    /// Raw bytes of the bodies in, and what they took stored.
    pub body_raw_bytes: u64,
    pub body_stored_bytes: u64,
    pub checkpoints: u64,
    pub checkpoint_rows: u64,
    pub checkpoint_pages: u64,
    /// Pages, page tables and page 0 together, per leg.
    pub checkpoint_bytes: u64,
    pub reclaimed_segments: u64,
    pub reclaim_copied_bytes: u64,
}

/// One volume's log and projection; lives on the volume's owner thread. Clones share one state.
#[derive(Clone)]
pub struct Store {
    inner: Rc<Inner>,
}

pub(crate) struct Inner {
    io: Io,
    volume: Volume,
    /// Under which runs and frames are checked.
    seed: u64,
    sizes: limits::Sizes,
    zstd: body::Zstd,
    /// The same for jobs on the index thread.
    zstd_away: std::sync::Arc<body::Zstd>,
    queue: RefCell<queue::Queue>,
    /// Wakes the committer.
    queue_bell: Bell,
    /// Wakes callers waiting for room.
    room_bell: Bell,
    /// The newest durable batch.
    landed: Cell<Lsn>,
    /// The newest durable batch with records of the layer above; the greatest number until replay has seen all of them. What came
    /// later (copies, a checkpoint's own frames) no replay has to see.
    told: Cell<Lsn>,
    /// Writes as releases did that knew no provisional batches.
    #[cfg(test)]
    keeps_all: Cell<bool>,
    space: space::Space,
    projection: checkpoint::Checkpointer,
    reclaim: ledger::Ledger,
    since_checkpoint: SinceCheckpoint,
    counters: RefCell<Counters>,
    report: Cell<OpenReport>,
}

/// A length of log. The store's own records count as bytes, not as groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSince {
    pub bytes: u64,
    pub groups: u64,
}

/// What the log took since the last checkpoint began.
#[derive(Default)]
pub(crate) struct SinceCheckpoint {
    bytes: Cell<u64>,
    groups: Cell<u64>,
}

impl Store {
    /// The volume underneath, for reports and administration. Appending past the store breaks it.
    pub fn volume(&self) -> &Volume {
        &self.inner.volume
    }

    /// Resolves when the queue has room. Callers that hold large bodies wait here *before* they decide the order of their group;
    /// `append` itself never waits for room, so that its order is that of the calls.
    pub async fn room(&self) {
        // Bounded by the queue's progress: every landed batch rings.
        while self.inner.queue.borrow().is_past_soft() {
            self.inner.room_bell.wait().await;
        }
    }

    /// Queues `group`; its order in the log is the order of these calls (decided before the first await). Resolves when durable on every
    /// counting leg, in log order. Groups of many callers share one batch (group commit: submit at once when idle, else gather).
    /// Dropping the future does not take the group back.
    ///
    /// `Full`: the reserve is reached. `TooLarge`: a limit is passed. `Deferred`: the volume takes nothing just now, or more waits than
    /// memory is planned for (see `room`).
    pub async fn append(&self, group: Group) -> Result<Committed, StoreFault> {
        let receiver = self.inner.enqueue(group, None, append::Origin::Layer)?;
        receiver.await.unwrap_or_else(|| Err(append::stopped()))
    }

    /// As `append`, but `applied` runs on this thread at the moment of durability, in log order, before any waiter is woken: the layer above
    /// applies its change there, so that its memory is always f(log prefix) and `applied_lsn` needs no guess. The groups of one
    /// batch share its LSN and are applied without a pause between them.
    pub async fn append_then(
        &self,
        group: Group,
        applied: Box<dyn FnOnce(&Committed)>,
    ) -> Result<Committed, StoreFault> {
        let receiver = self
            .inner
            .enqueue(group, Some(applied), append::Origin::Layer)?;
        receiver.await.unwrap_or_else(|| Err(append::stopped()))
    }

    /// Whether a group of this purpose would be taken now; with bodies it is `has_bodies`.
    pub fn admits(&self, purpose: Purpose, has_bodies: bool, rows: u64) -> bool {
        let wanted = space::Wanted {
            purpose,
            has_bodies,
            rows,
            bytes: self.inner.queue.borrow().bytes() as u64,
        };
        self.inner.admits(&wanted)
    }

    /// Whether bodies are refused for want of segments: a checkpoint alone does not help, reclaim may.
    pub fn is_short(&self) -> bool {
        self.inner.space.is_short(&self.inner.volume)
    }

    /// Whether a checkpoint should be made at once: half of the room that the projection can still take is spoken for.
    pub fn owes_much(&self) -> bool {
        self.inner.space.owes_much(&self.inner.volume)
    }

    /// Resolves once no reclaim pass is in the middle of emptying segments with hardly any room left. Wait here before the changes of a
    /// checkpoint are collected: one that stands for half of a pass keeps what it wrote and frees nothing.
    pub async fn between_passes(&self) {
        while !self.is_between_passes() {
            self.inner.reclaim.rested.wait().await;
        }
    }

    /// Whether `between_passes` would resolve at once.
    pub fn is_between_passes(&self) -> bool {
        !self.inner.reclaim.emptying.get() || !self.inner.space.is_at_the_bottom(&self.inner.volume)
    }

    /// Room is short and a checkpoint makes some, even one that has nothing new to say: what the last one needs takes a segment for
    /// itself, or keeps an emptied one from being freed.
    pub fn checkpoint_gives(&self) -> bool {
        self.is_short()
            && (self.inner.volume.room().checkpoint_gives || self.inner.index_holds_emptied())
    }

    /// Rows that one group should change at most, and one checkpoint beside what groups owe: more may not fit a full volume's reserve.
    pub fn rows_at_once(&self) -> u64 {
        self.inner.space.rows_at_once(&self.inner.volume)
    }

    /// Replayed groups changed so many rows: they count like those of new groups.
    pub fn note_replayed(&self, rows: u64) {
        self.inner.space.owe_landed(rows);
    }

    /// What the log took since the last checkpoint began: when to call it.
    pub fn since_checkpoint(&self) -> LogSince {
        let since = &self.inner.since_checkpoint;
        LogSince {
            bytes: since.bytes.get(),
            groups: since.groups.get(),
        }
    }

    /// Whether a group with a body would be taken, as far as room goes.
    pub fn admits_bodies(&self) -> bool {
        self.admits(Purpose::Keep, true, 1)
    }

    /// Stops the process where what memory counts is not what a recount gives (INVARIANTS.md I16). Cheap, and for between two steps, as
    /// `Volume::check`, which is not called.
    pub fn check(&self) {
        self.inner.check();
    }

    /// As `check`, without keeping the store alive. `false`: every handle was dropped.
    pub fn checker(&self) -> impl Fn() -> bool + 'static {
        let inner = Rc::downgrade(&self.inner);
        move || {
            let inner = inner.upgrade();
            inner.inspect(|inner| inner.check()).is_some()
        }
    }

    pub fn counters(&self) -> Counters {
        *self.inner.counters.borrow()
    }

    /// What opening found.
    pub fn open_report(&self) -> OpenReport {
        self.inner.report.get()
    }
}

impl Inner {
    fn admits(&self, wanted: &space::Wanted) -> bool {
        self.space
            .admits(&self.volume, wanted, || self.has_nothing_to_reclaim())
    }

    /// See `Store::check`.
    fn check(&self) {
        if !self.queue.borrow().check(self.space.queued_rows()) {
            return;
        }
        self.space.check();
        self.reclaim.check();
        self.projection.check(self.landed.get());
    }

    fn note_group(&self, group: &Group, stored_bytes: u64) {
        let mut counters = self.counters.borrow_mut();
        counters.groups += 1;
        counters.body_raw_bytes += group
            .bodies
            .iter()
            .map(|body| body.raw.len() as u64)
            .sum::<u64>();
        counters.body_stored_bytes += stored_bytes;
    }

    fn note_batch(&self, address: &BatchAddress, bytes: u64, groups: u64) {
        {
            let mut counters = self.counters.borrow_mut();
            counters.batches += 1;
            counters.batch_bytes += bytes;
        }
        assert!(
            address.lsn > self.landed.get(),
            "batches are durable in the order of the log"
        );
        self.since_checkpoint.add(bytes, groups);
        self.landed.set(address.lsn);
    }

    fn counted(&self, count: impl FnOnce(&mut Counters)) {
        count(&mut self.counters.borrow_mut());
    }
}

impl SinceCheckpoint {
    fn add(&self, bytes: u64, groups: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        self.groups.set(self.groups.get() + groups);
    }

    fn subtract(&self, (bytes, groups): (u64, u64)) {
        self.bytes.set(self.bytes.get() - bytes);
        self.groups.set(self.groups.get() - groups);
    }
}
