//! One mirrored raw volume: N legs that hold the same log, one owner, and nothing acknowledged before it is durable on
//! every leg that counts.
//!
//! # What it is
//!
//! A *leg* is one device's full copy. A leg is cut into *segments*; the log fills segments front to back with *commit
//! batches*, each one contiguous write per leg: a 4 KiB header, the store's payload, padding, all under checksums that
//! name their place. There is no separate commit record and nothing is overwritten in place, so there is no write hole:
//! a batch is whole on a leg or it is not there. `FORMAT.md` has every byte.
//!
//! Which legs count is recorded in two places, in this order: the *witness* (a small record outside, compare-and-set), then
//! the *superblocks* of the legs that count. A leg that fails keeps counting, and so holds acknowledgements back, until
//! its leaving is recorded; a leg that left serves nothing until every batch it missed was copied and verified.
//!
//! Some segments belong to the *arena* instead: 4 KiB pages written in place for a projection that can be made again.
//!
//! # What must hold (core/INVARIANTS.md)
//!
//! - I1, I3: an entry leaves the pipeline only from its front, only durable on every counting leg (`mirror`).
//! - I2: term and epoch never decrease along the accepted chain (`chain`).
//! - I4: a leg joins only behind a barrier, after its interval was copied, read back and compared (`resync`).
//! - I5: batches go only into segments whose claim is durable; a new owner appends the torn tail again in its own.
//! - I6: a number at or below any acknowledged number seen is damage, never the end of the log (`chain`).
//! - I7: a segment is reused under the next generation, after its free is durable and no write to it is in flight (`segment`).
//! - I11, I12: nothing is clean by inference; EIO, silence and "not found" are three things (`leg`, `stream`, `recover`).
//! - I13: every structure is under a checksum seeded with its place (`format`, `superblock`).
//! - I15: a device is a leg only if volume, leg id and the device's own name agree (`open`, `resync`).
//!
//! # The main path
//!
//! `Volume::begin` gives a buffer of the pool (waiting for one is the back-pressure) → `Batch::place` fills it →
//! `Volume::commit` numbers and places it in the call itself (`mirror::enqueue`) → `mirror::pump` seals the header and
//! starts one durable write per leg → completions come back to `mirror::settle`, which acknowledges in LSN order.
//!
//! # Where to start reading
//!
//! `mirror.rs`, then `membership.rs`; `scan.rs` and `recover.rs` for what a crash leaves; `resync.rs` for how a leg comes back. `inner.rs` is the
//! state they share: one thread, many tasks, no borrow held across an await. `tests/volume/torture.rs` cuts the power everywhere.
//!
//! # What it does not do
//!
//! It never interprets a payload, reads no clock and draws no random number of its own, and makes no promise about
//! arena pages beyond "these bytes were written to every counting leg": the reader of a page brings its checksum. Bridges
//! and hot spares have their place in the format and no code yet.
#![forbid(unsafe_code)]

mod adopt;
mod arena;
mod chain;
mod check;
mod checked;
mod checkpoint;
mod create;
mod damage;
mod deadline;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod health;
mod inner;
mod layout;
mod leg;
mod legs;
pub mod limits;
mod log;
mod marks;
mod membership;
mod mirror;
mod normalise;
mod open;
mod opening;
pub mod orphan;
mod outage;
mod pages;
mod pool;
mod position;
mod prove;
mod read;
mod reclaim;
mod recover;
mod resync;
mod scan;
mod scrub;
mod segment;
mod skip;
mod stream;
mod superblock;
mod takeover;
mod trust;
mod types;
mod walk;

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use base::units::round_up;
use bytes::Bytes;
use device::{Buffer, DeviceIndex, Io};

use crate::format::{Inline, Kind, encode_inline};
use crate::inner::Inner;
use crate::mirror::Sealed;
use crate::pool::Pool;
use crate::segment::Purpose;

pub use crate::arena::page_check;
pub use crate::leg::blank_samples;
pub use crate::pool::Premade;
pub use crate::superblock::{HEAD_BYTES, leg_on};
pub use crate::types::*;
pub use crate::walk::Walk;

pub const BATCH_HEADER_BYTES: usize = 4096;
/// Header, payload and padding together. Volumes with segments smaller than this have smaller batches.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// How a volume behaves. `..Settings::default()` is the appliance's.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Size of a segment of a *new* volume; an existing one keeps its own.
    pub segment_bytes: u64,
    /// Oldest outstanding write older than this: the leg is ejected.
    pub hard_deadline_us: u64,
    /// Batches written and not yet durable; at most `limits::BATCHES_IN_FLIGHT_MAX`.
    pub batches_in_flight_max: usize,
    /// Batch buffers, `BATCH_BYTES_MAX` each.
    pub batch_buffers: usize,
    /// Batch buffers made elsewhere (registered with a ring); counted in `batch_buffers`.
    pub premade: Premade,
    /// `create` may overwrite what an earlier `create` with the same devices, settings and seed left on them: those bytes
    /// and zeroes, nothing else.
    pub format_over: bool,
    /// Legs may be on other devices than those they were made on.
    pub accept_moved: bool,
    /// `open` takes the volume over even when acknowledged batches are missing on every leg.
    pub accept_damage: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            segment_bytes: 64 << 20,
            hard_deadline_us: 2_000_000,
            batches_in_flight_max: 8,
            batch_buffers: 16,
            premade: Premade::default(),
            format_over: false,
            accept_moved: false,
            accept_damage: false,
        }
    }
}

/// A batch being filled: one aligned pool buffer whose first `BATCH_HEADER_BYTES` are the header's. Dropped unused, it
/// goes back to the pool.
pub struct Batch {
    buffer: Option<Buffer>,
    used: usize,
    bytes_max: usize,
    kind: Kind,
    purpose: Purpose,
    inline: Vec<u8>,
    pool: Rc<Pool>,
}

impl Batch {
    /// Bytes that still fit, if placed now.
    pub fn room_bytes(&self) -> usize {
        self.bytes_max.saturating_sub(round_up(self.used, 8))
    }

    /// Bytes placed so far, alignment included.
    pub fn used_bytes(&self) -> usize {
        self.used - BATCH_HEADER_BYTES
    }

    /// Appends `bytes`, 8-byte aligned, and says where they begin (bytes from the batch's first byte).
    /// Stops the process without room.
    pub fn place(&mut self, bytes: &[u8]) -> u32 {
        assert!(bytes.len() <= self.room_bytes());
        let begin = round_up(self.used, 8);
        let buffer = self
            .buffer
            .as_mut()
            .expect("a batch has its buffer until it is committed");
        buffer[self.used..begin].fill(0);
        buffer[begin..begin + bytes.len()].copy_from_slice(bytes);
        self.used = begin + bytes.len();
        begin as u32
    }

    /// Lets this batch use the segments kept back for what makes room by letting mail die.
    pub fn for_deletions(&mut self) {
        self.purpose = Purpose::Deletes;
    }

    /// The batch only repeats what the log says already. It may use the segments kept back for reclaim, and is provisional: an opening
    /// gives it up when no checkpoint stands for it and its segment and later ones hold nothing else of the store's.
    pub fn for_reclaim(&mut self) {
        assert_eq!(self.kind, Kind::Store);
        self.purpose = Purpose::Reclaim;
        self.inline.clear();
        encode_inline(&Inline::Provisional, &mut self.inline);
    }

    /// The batch is of use only to the checkpoint that will name its segment (`Volume::set_checkpoint_with`): `walk` leaves it
    /// out, it may use what is kept for the volume's own records, and the next opening gives its segment back when no
    /// checkpoint named it.
    pub fn for_checkpoint(&mut self) {
        (self.kind, self.purpose) = (Kind::Index, Purpose::Index);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.pool.put(buffer);
        }
    }
}

/// An open volume; clones are the same volume.
#[derive(Clone)]
pub struct Volume {
    inner: Rc<Inner>,
}

impl Volume {
    /// Formats blank devices (refuses anything that is not blank; see `settings.format_over`) as the legs of a new
    /// volume.
    pub async fn create(
        io: &Io,
        legs: &[DeviceIndex],
        settings: &Settings,
        witness: &dyn Witness,
        seed: u64,
    ) -> Result<VolumeId, OpenRefusal> {
        create::create(io, legs, settings, witness, seed).await
    }

    /// Whether `create` with these arguments would format every device: each one is blank (see `settings.format_over`).
    /// Reads only.
    pub async fn check_blank(
        io: &Io,
        legs: &[DeviceIndex],
        settings: &Settings,
        seed: u64,
    ) -> Result<(), OpenRefusal> {
        create::check_blank(io, legs, settings, seed).await
    }

    /// Makes the witness's record again when it was lost and every leg that counted is here; `None` when no device is a
    /// leg. Refuses when a leg that counted is missing, and when the witness still has a record.
    pub async fn adopt(
        io: &Io,
        legs: &[DeviceIndex],
        settings: &Settings,
        witness: &dyn Witness,
    ) -> Result<Option<VolumeId>, OpenRefusal> {
        adopt::adopt(io, legs, settings, witness).await
    }

    /// Opens, raises the term, recovers the log's tail, normalises the legs. Legs that are absent, stale or blank are
    /// left out and reported. Afterwards `walk` from the checkpoint gives the store what it must replay.
    pub async fn open(
        io: &Io,
        legs: &[DeviceIndex],
        settings: &Settings,
        witness: Rc<dyn Witness>,
    ) -> Result<Volume, OpenRefusal> {
        open::open(io, legs, settings, witness).await
    }

    pub fn id(&self) -> VolumeId {
        self.inner.id
    }

    /// What `open` left out, repaired or found missing.
    pub fn open_report(&self) -> OpenReport {
        self.inner.report.borrow().clone()
    }

    pub fn counters(&self) -> Counters {
        self.inner.counters.get()
    }

    /// The seed under which `RecordAddress::check` is computed.
    pub fn check_seed(&self) -> u64 {
        self.inner.id.check_seed()
    }

    /// A batch buffer from the pool; waits while all are in use (that is the back-pressure).
    pub async fn begin(&self) -> Batch {
        let buffer = self.inner.pool.take().await;
        Batch {
            buffer: Some(buffer),
            used: BATCH_HEADER_BYTES,
            bytes_max: self.inner.plan.batch_bytes_max(),
            kind: Kind::Store,
            purpose: Purpose::Ordinary,
            inline: Vec::new(),
            pool: self.inner.pool.clone(),
        }
    }

    /// Seals `batch`, gives it the next LSN and place (in this call, before any await), writes it to every counting leg;
    /// the future resolves in LSN order once durable on all of them. The order of calls is the order of the log.
    pub fn commit(
        &self,
        mut batch: Batch,
    ) -> impl Future<Output = Result<BatchAddress, CommitFault>> + 'static {
        let waiting = self.inner.enqueue(Sealed {
            kind: batch.kind,
            payload_bytes: (batch.used - BATCH_HEADER_BYTES) as u32,
            buffer: batch.buffer.take().expect("a batch is committed once"),
            inline: std::mem::take(&mut batch.inline),
            purpose: batch.purpose,
        });
        async move {
            waiting?
                .await
                .unwrap_or_else(|| Err(CommitFault::Deferred("the volume was dropped".into())))
        }
    }

    /// One verified run of bytes; a bad copy is repaired from a good leg on the way (the whole batch is rewritten and
    /// read back).
    pub async fn read(&self, address: &RecordAddress) -> Result<Bytes, ReadFault> {
        self.read_many(std::slice::from_ref(address))
            .await
            .remove(0)
    }

    /// Many at once: neighbours on the leg are fetched by one device read of at most 1 MiB; answers in the order asked.
    pub async fn read_many(&self, addresses: &[RecordAddress]) -> Vec<Result<Bytes, ReadFault>> {
        self.inner.read_many(addresses).await
    }

    pub fn checkpoint(&self) -> Checkpoint {
        self.inner.checkpoint_now()
    }

    /// Records durably (segment table, superblocks) that recovery may begin after `checkpoint.lsn`, which must be
    /// acknowledged and not before the last one. Stops the process otherwise, or with a note over
    /// `limits::NOTE_BYTES_MAX`. Segments that the last checkpoint needs stay needed.
    pub async fn set_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), CommitFault> {
        self.inner.taken_over()?;
        self.inner.set_checkpoint(checkpoint, None).await
    }

    /// As `set_checkpoint`; the checkpoint reads batches written `for_checkpoint` in `needed`, and in no other segment. The
    /// others are given back.
    pub async fn set_checkpoint_with(
        &self,
        checkpoint: Checkpoint,
        needed: Vec<SegmentIndex>,
    ) -> Result<(), CommitFault> {
        self.inner.taken_over()?;
        self.inner.set_checkpoint(checkpoint, Some(needed)).await
    }

    /// The log after `after`, in LSN order, read from the legs: (address, payload without header). LSNs may skip: the
    /// volume's own batches are left out. Ends with what was acknowledged at this call.
    pub fn walk(&self, after: Lsn) -> Walk {
        Walk::new(self.inner.clone(), after)
    }

    /// Every segment, by index.
    pub fn segments(&self) -> Vec<SegmentReport> {
        let log = self.inner.log.borrow();
        (0..self.inner.plan.segment_count)
            .map(|index| log.table().report(SegmentIndex(index)))
            .collect()
    }

    /// All batches of one segment, in order.
    pub async fn walk_segment(
        &self,
        segment: SegmentIndex,
    ) -> Result<Vec<(BatchAddress, Bytes)>, ReadFault> {
        self.inner.walk_segment(segment).await
    }

    /// Gives a sealed segment back (generation + 1); durable when it returns. `Deferred` when the segment holds batches
    /// after the checkpoint. Stops the process when the segment is not sealed.
    pub async fn free_segment(&self, segment: SegmentIndex) -> Result<(), CommitFault> {
        self.inner.taken_over()?;
        self.inner.free_segment(segment).await
    }

    /// Allocates one more segment of class arena; durable before it returns.
    pub async fn arena_grow(&self) -> Result<SegmentIndex, CommitFault> {
        self.inner.taken_over()?;
        self.inner.arena_grow().await
    }

    /// What is free just now.
    pub fn room(&self) -> Room {
        let log = self.inner.log.borrow();
        Room {
            segments: log.table().segments(),
            spare_segments: log.table().spare(),
            segment_pages: self.inner.plan.pages_per_segment(),
            open_blocks: log.table().open().map_or(0, |open| {
                let used = log.table().row(open).used_blocks;
                u64::from(self.inner.plan.segment_blocks() - used)
            }),
            reclaim_blocks: u64::from(log.table().reclaim_blocks(self.inner.plan.segment_blocks())),
            reclaim_begins: log.table().keeps_index_apart(),
            arena_pages: log.table().arena().len() as u64 * self.inner.plan.pages_per_segment(),
            checkpoint_gives: log.table().replaces_index(),
        }
    }

    /// Pages the arena has room for.
    pub fn arena_pages(&self) -> u64 {
        self.inner.log.borrow().table().arena().len() as u64 * self.inner.plan.pages_per_segment()
    }

    /// Writes pages (page number inside the arena, exactly 4 KiB each) to every counting leg and flushes.
    pub async fn arena_write(&self, pages: Vec<(u64, Bytes)>) -> Result<(), CommitFault> {
        self.inner.taken_over()?;
        self.inner.arena_write(pages).await
    }

    /// Says what each arena page's checksum should be, so that scrub and rebuild can tell a good page from a bad one;
    /// without it they copy pages as they are. `None`: the page holds nothing, or is about to be written.
    pub fn set_page_checks(&self, check_of: Rc<dyn Fn(u64) -> Option<u64>>) {
        *self.inner.page_checks.borrow_mut() = Some(check_of);
        self.inner.look_at_unsure_arenas();
    }

    /// A handle for the index thread: reads a page, verifies `check` (`page_check`), tries the other legs, and notes a
    /// repair.
    pub fn arena_reader(&self) -> Arc<dyn ArenaRead> {
        self.inner.arena.clone()
    }

    pub fn legs(&self) -> Vec<LegReport> {
        let legs = self.inner.legs.borrow();
        let reports = legs.indexed().map(|(index, leg)| leg.report(index));
        reports.collect()
    }

    /// Takes a leg out: membership change through the witness. `Deferred` when it is the last one that counts.
    pub async fn eject(&self, leg: LegIndex, why: &str) -> Result<(), CommitFault> {
        self.inner.eject(leg, why).await
    }

    /// The member will not come back: its place may be given to another, and nothing is kept for it any more. `Deferred`
    /// while it is in the mirror or its device is open.
    pub async fn retire(&self, leg: LegIndex) -> Result<(), CommitFault> {
        self.inner.retire(leg).await
    }

    /// Admits a returned leg (resync of exactly the missed interval) or a blank one (full rebuild), in the background.
    pub async fn attach(&self, device: DeviceIndex) -> Result<LegIndex, OpenRefusal> {
        self.inner.attach(device).await
    }

    /// Reads every live byte on every leg, repairs; resolves with the findings. Runs beside foreground work, one at a time.
    pub async fn scrub(&self) -> ScrubReport {
        self.inner.scrub(false).await
    }

    /// As `scrub`, but goes on where one that was interrupted, by a restart too, had come to.
    pub async fn scrub_on(&self) -> ScrubReport {
        self.inner.scrub(true).await
    }

    /// When the last whole scrub ended and how far the present one is. Kept on the legs.
    pub fn scrub_state(&self) -> ScrubState {
        self.inner.scrubbed.get()
    }

    /// Reads the newest superblock of each leg that counts, one block each; what failed is in `LegReport::unread`, and a device that
    /// is gone leaves. Ends within the hard deadline.
    pub async fn probe_legs(&self) {
        self.inner.probe_legs().await;
    }

    /// Writes the guard page of each leg that counts once more, durably: what it holds for ever, so nothing grows by it. For when nothing else
    /// was written for long. A leg that refuses leaves; `Deferred`: no mail can be taken just now. Ends within the hard deadline.
    pub async fn probe_writes(&self) -> Result<(), CommitFault> {
        self.inner.probe_writes().await
    }

    /// How long the oldest batch has waited to become durable; `None`: none waits.
    pub fn oldest_wait_us(&self) -> Option<u64> {
        self.inner.oldest_wait_us()
    }

    /// Batches whose every copy was found bad since the volume was opened.
    pub fn damage(&self) -> Vec<(Lsn, SegmentIndex)> {
        self.inner
            .damage
            .borrow()
            .iter()
            .map(|&(lsn, segment, _)| (lsn, segment))
            .collect()
    }

    /// The reader of the log met damage: from here the volume is only read, until `accept_damage`. Does nothing where the volume
    /// refuses already, or was opened with `Settings::accept_damage`.
    pub fn hold_for_damage(&self) {
        self.inner.hold_for_damage();
    }

    /// The batches that `accept_damage` would give up now. An empty list: what lies beyond an unreadable end of the log. `None`: there is
    /// nothing to accept.
    pub fn would_give_up(&self) -> Option<Vec<Lsn>> {
        self.inner.would_give_up()
    }

    /// What can still be read of damaged batches whose place is known, payloads only, at most `count_max`. No checksum agrees with
    /// them: the caller must trust only what carries its own checksum.
    pub async fn damaged_payloads(&self, count_max: usize) -> Vec<Bytes> {
        self.inner.damaged_payloads(count_max).await
    }

    /// Why commits are refused just now, if they are.
    pub fn refuses(&self) -> Option<String> {
        self.inner.refuses()
    }

    /// The operator gives up the batches in `would_give_up`, or what may lie beyond an unreadable end of the log: the volume is
    /// taken over and may be written again. Does nothing when it already is. What recovery had kept and not every leg had is
    /// in the log only from here on: a caller that replayed the log replays on.
    pub async fn accept_damage(&self) -> Result<(), OpenRefusal> {
        self.inner.accept_damage().await
    }

    /// Stops the process where what memory holds contradicts itself (INVARIANTS.md I16). Cheap: it looks only at what may have changed since the
    /// last call. For between two steps: no future of this volume may be polled meanwhile.
    pub fn check(&self) {
        self.inner.check();
    }

    /// As `check`, without keeping the volume alive: what a simulator calls after each of its steps. `false`: every handle was dropped.
    pub fn checker(&self) -> impl Fn() -> bool + 'static {
        let inner = Rc::downgrade(&self.inner);
        move || {
            let inner = inner.upgrade();
            inner.inspect(|inner| inner.check()).is_some()
        }
    }

    /// Stops at once: whatever waits is answered with `Deferred`, and nothing more is written. For a shutdown while the volume
    /// refuses; the next opening recovers it.
    pub fn abandon(&self, why: &str) {
        self.inner.stop(why);
    }

    /// Waits for everything committed so far, then marks the superblocks clean. Later commits are refused.
    pub async fn close(&self) -> Result<(), CommitFault> {
        self.inner.close().await
    }
}

/// Reads arena pages on a thread that may block.
pub trait ArenaRead: Send + Sync {
    /// Fills `into`, exactly 4 KiB, with page `page` from the first leg on which `check` agrees.
    fn read_page(&self, page: u64, check: u64, into: &mut [u8]) -> Result<(), ReadFault>;

    /// As `read_page` for neighbours, one check for each, by one device read where they lie side by side.
    fn read_pages(&self, first: u64, checks: &[u64], into: &mut [u8]) -> Result<(), ReadFault>;
}
