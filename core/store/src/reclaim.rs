//! Reclaim: segments whose records are dead become free again, without any moment in which something wanted has no place.
//!
//! One pass, beside foreground work: (1) segments emptied by earlier passes are freed, if a checkpoint that no longer needs them is
//! durable and nothing points into them; (2) the emptiest sealed segments are chosen by cost and benefit; (3) their live
//! bodies are read, proved by BLAKE3 and appended again; the layer above re-points (`Tenant::moved`) and carries its records
//! forward (`Tenant::carry_forward`). Freeing waits for the next pass, so that a record with an address taken before the
//! move has long been durable and is seen by the second look.
//!
//! Mark and sweep: `Tenant` says what is wanted, from what it knows to be f(log). Live bytes are only an estimate for choosing.
//! A segment with damage is never freed: `salvage` may still get something out of it.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use base::BodyName;
use base::host::job;
use bytes::Bytes;
use volume::{
    CommitFault, Generation, Lsn, ReadFault, RecordAddress, SegmentIndex, SegmentReport,
    SegmentState,
};

use crate::append::Origin;
use crate::frame::{Frames, Kind};
use crate::ledger::{Emptied, Ledger};
use crate::limits::*;
use crate::queue::Packed;
use crate::replay::replayed;
use crate::{BodyIn, BodyRef, Codec, Group, Inner, Purpose, Record, Store, StoreFault, append};

pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What reclaim asks of the layer above. Mark and sweep: the layer above knows which bodies and records still count.
pub trait Tenant {
    /// Every body reference for which `BodyRef::may_lie_in(segments)` and that is still wanted, from memory and projection together (one pass).
    fn live_bodies<'a>(
        &'a self,
        segments: &'a [SegmentIndex],
    ) -> LocalFuture<'a, Result<Vec<BodyRef>, StoreFault>>;
    /// The bodies were copied; make every reference point to the new place (appends records of its own and waits for them).
    fn moved<'a>(
        &'a self,
        pairs: Vec<(BodyRef, BodyRef)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>>;
    /// What `moved` will append for these bodies, in bytes, at most; they are among those that `live_bodies` gave.
    fn moved_bytes(&self, bodies: &[&BodyRef]) -> u64;
    /// What `carry_forward` would append for `records`, in bytes, at most.
    fn carried_bytes<'a>(
        &'a self,
        records: &'a [(Lsn, Record)],
    ) -> LocalFuture<'a, Result<u64, StoreFault>>;
    /// `records` are about to disappear from the log: append whatever is needed so that the log alone still gives the same state (snapshots).
    fn carry_forward<'a>(
        &'a self,
        records: Vec<(Lsn, Record)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>>;
}

impl Store {
    /// A body lost its last reference: a hint for choosing, not a promise. Free of cost.
    pub fn note_dead(&self, body: &BodyRef) {
        self.inner.reclaim.note_dead(body);
    }

    /// Segments that are emptied and wait for a checkpoint, and a pass after it, to be freed.
    pub fn emptied_segments(&self) -> usize {
        self.inner.reclaim.emptied.borrow().len()
    }

    /// Sealed segments that no pass has asked about yet.
    pub fn uncounted_segments(&self) -> usize {
        self.inner.uncounted_segments()
    }

    /// One reclaim pass; see `Tenant`, which is asked for live bodies once. Says how many segments were freed: those that an earlier
    /// pass emptied and a checkpoint made since then let go. While most of the volume is free (`limits::RECLAIM_IDLE_PART`) nothing new
    /// is emptied, and nothing that would write more than it gives back (`limits::RECLAIM_GAIN_PERCENT_EASY`). A second call while one
    /// runs answers 0.
    pub async fn reclaim(&self, tenant: &dyn Tenant) -> Result<usize, StoreFault> {
        let inner = &self.inner;
        if inner.reclaim.running.replace(true) {
            return Ok(0);
        }
        let _running = Running(inner.clone());
        inner.bury_chunks().await?;
        let due = inner.due();
        let candidates = if inner.space.is_roomy(&inner.volume) {
            Vec::new()
        } else {
            inner.candidates()
        };
        if due.is_empty() && candidates.is_empty() {
            inner.reclaim.note_pass(false);
            return Ok(0);
        }
        let indexes = candidates.iter().map(|segment| segment.index);
        let asked: Vec<SegmentIndex> = due.iter().copied().chain(indexes).collect();
        let mut live = tenant.live_bodies(&asked).await?;
        live.retain(|body| body.may_lie_in(&asked));
        let mut located = Vec::with_capacity(live.len());
        let segments = inner.volume.segments();
        for body in live {
            let places = inner.places_of(&body, &segments).await?;
            located.push((body, places));
        }
        let freed = inner.free_emptied(&due, &located).await?;
        let victims = inner.choose(tenant, candidates, &located).await?;
        let before = inner.reclaim.emptied.borrow().len();
        let emptied = inner.empty(tenant, victims, located).await;
        // A pass that stopped for want of room before it had emptied a segment found nothing, too.
        let gained = inner.reclaim.emptied.borrow().len() > before;
        inner.reclaim.note_pass(!due.is_empty() || gained);
        emptied?;
        Ok(freed)
    }
}

/// A live body and how many bytes of it lie where.
pub(crate) type Located = (BodyRef, Vec<(SegmentIndex, u64)>);

/// A segment to be emptied.
pub(crate) struct Victim {
    pub report: SegmentReport,
    /// Of the layer above, to be carried forward where they still count.
    pub records: Vec<(Lsn, Record)>,
    /// What that writes, about.
    pub records_bytes: u64,
}

/// Ends the pass also when its future is dropped.
struct Running(Rc<Inner>);
impl Drop for Running {
    fn drop(&mut self) {
        self.0.reclaim.running.set(false);
    }
}

/// The same of the part that a checkpoint at the bottom waits for.
struct Emptying<'a>(&'a Ledger);
impl Drop for Emptying<'_> {
    fn drop(&mut self) {
        self.0.emptying.set(false);
        self.0.rested.ring();
    }
}

/// What these bodies take as they are stored; copies of them are packed at least as well.
fn stored_bytes(located: &[Located]) -> u64 {
    let places = located.iter().flat_map(|(_, places)| places);
    places.map(|(_, bytes)| *bytes).sum()
}

impl Inner {
    /// Goes on where the last checkpoint's note says reclaim was.
    pub(crate) fn resume_reclaim(&self, noted: &[(SegmentIndex, Generation)]) {
        let segments = self.volume.segments();
        let since = self.projection.applied();
        let still_there = |&(segment, generation): &(SegmentIndex, Generation)| {
            let report = segments.get(segment.0 as usize)?;
            let same = report.state == SegmentState::Sealed && report.generation == generation;
            same.then_some(Emptied {
                segment,
                generation,
                since,
            })
        };
        let emptied = noted.iter().filter_map(still_there);
        self.reclaim.emptied.borrow_mut().extend(emptied);
    }

    /// Large bodies that died: what lay in their chunks' segments counts no more.
    async fn bury_chunks(&self) -> Result<(), StoreFault> {
        for body in self.reclaim.take_dead_lists() {
            match self.chunks(&body).await {
                Ok(chunks) => chunks.iter().for_each(|chunk| {
                    let bytes = u64::from(chunk.address.bytes);
                    self.reclaim.subtract(chunk.address.segment, bytes)
                }),
                // Its segment is gone already.
                Err(ReadFault::Damaged | ReadFault::Stale) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(())
    }

    /// Emptied segments that a checkpoint has let go.
    fn due(&self) -> Vec<SegmentIndex> {
        self.forget_given_back();
        let due = |emptied: &&Emptied| {
            self.projection.applied() >= emptied.since
                && !self.projection.chain_lies_in(&[emptied.segment])
        };
        let emptied = self.reclaim.emptied.borrow();
        emptied
            .iter()
            .filter(due)
            .map(|emptied| emptied.segment)
            .collect()
    }

    /// Whether an emptied segment would be free but for the index in it.
    pub(crate) fn index_holds_emptied(&self) -> bool {
        self.forget_given_back();
        let emptied = self.reclaim.emptied.borrow();
        emptied.iter().any(|emptied| {
            self.projection.applied() >= emptied.since
                && self.projection.chain_lies_in(&[emptied.segment])
        })
    }

    fn is_still_emptied(&self, segment: SegmentIndex) -> bool {
        let emptied = self.reclaim.emptied.borrow();
        let ours = emptied.iter().find(|emptied| emptied.segment == segment);
        let now = self.volume.segments();
        let now = now.get(segment.0 as usize);
        ours.zip(now).is_some_and(|(ours, now)| {
            now.state == SegmentState::Sealed && now.generation == ours.generation
        })
    }

    /// A segment that held nothing but what an earlier checkpoint needed the volume gives back by itself, once the next one needs it no
    /// more. It may hold new batches since.
    fn forget_given_back(&self) {
        let segments = self.volume.segments();
        self.reclaim.emptied.borrow_mut().retain(|emptied| {
            let report = segments.get(emptied.segment.0 as usize);
            report.is_some_and(|report| {
                report.state == SegmentState::Sealed && report.generation == emptied.generation
            })
        });
    }

    /// The second look. A segment with a body that is wanted again stays, and leaves the list: it must be emptied once more.
    /// One that the volume does not free yet stays on the list.
    async fn free_emptied(
        &self,
        due: &[SegmentIndex],
        located: &[Located],
    ) -> Result<usize, StoreFault> {
        let mut freed = 0;
        for segment in due {
            let wanted = located
                .iter()
                .flat_map(|(_, places)| places)
                .any(|(place, _)| place == segment);
            // What held nothing but an index that no checkpoint needs any more, the volume gave back itself.
            if !wanted && self.is_still_emptied(*segment) {
                match self.volume.free_segment(*segment).await {
                    Ok(()) => freed += 1,
                    Err(CommitFault::Deferred(why)) => {
                        tracing::debug!(segment = segment.0, why, "freed by a later pass");
                        continue;
                    }
                    Err(fault) => return Err(fault.into()),
                }
            }
            // Otherwise somebody took an old address before the move: a later pass empties it once more.
            self.reclaim
                .emptied
                .borrow_mut()
                .retain(|emptied| emptied.segment != *segment);
            self.reclaim.forget(*segment);
        }
        if freed > 0 {
            self.counted(|counters| counters.reclaimed_segments += freed as u64);
            tracing::debug!(freed, "segments freed");
        }
        Ok(freed)
    }

    /// Bytes of `body` by segment, those of chunks where the chunks are. Not where another generation has taken the segment since: a
    /// reference that outlived its bytes, as a rebuild past damage may leave one, must not keep the segment's new content.
    async fn places_of(
        &self,
        body: &BodyRef,
        segments: &[SegmentReport],
    ) -> Result<Vec<(SegmentIndex, u64)>, StoreFault> {
        let mut runs = vec![body.body, body.summary];
        if body.codec == Codec::Chunked {
            match self.chunks(body).await {
                Ok(chunks) => runs.extend(chunks.into_iter().map(|chunk| chunk.address)),
                // Its chunks are out of reach for ever.
                Err(ReadFault::Damaged | ReadFault::Stale) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        let is_there = |run: &RecordAddress| {
            let now = segments.get(run.segment.0 as usize);
            now.is_some_and(|now| now.generation == run.generation)
        };
        let runs = runs.into_iter().filter(is_there);
        Ok(runs
            .map(|run| (run.segment, u64::from(run.bytes)))
            .collect())
    }

    /// Copies what is live in `victims` and lets the layer above follow.
    async fn empty(
        self: &Rc<Self>,
        tenant: &dyn Tenant,
        victims: Vec<Victim>,
        mut located: Vec<Located>,
    ) -> Result<(), StoreFault> {
        if victims.is_empty() {
            return Ok(());
        }
        if self.space.is_at_the_bottom(&self.volume) {
            // Its index would come to lie among what is given up when this pass is cut off.
            self.projection.rests().await;
        }
        self.reclaim.emptying.set(true);
        let _emptying = Emptying(&self.reclaim);
        let is_victim =
            |segment: &SegmentIndex| victims.iter().any(|victim| victim.report.index == *segment);
        located.retain(|(_, places)| places.iter().any(|(segment, _)| is_victim(segment)));
        // In log order: neighbours stay neighbours.
        located.sort_by_key(|(body, _)| (body.body.segment, body.body.batch_block, body.body.at));
        located.dedup_by(|(a, _), (b, _)| a == b);
        let mut damaged = Vec::new();
        let mut moved = Vec::new();
        let (mut rest, mut copied_bytes) = (&located[..], 0);
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |(body, _): &&Located| {
                bytes += body.raw_bytes as usize + body.summary.bytes as usize;
                bytes <= RECLAIM_COPY_BYTES
            };
            let count = rest
                .iter()
                .take_while(fits)
                .take(RECLAIM_COPY_BODIES)
                .count()
                .max(1);
            let (now, later) = rest.split_at(count);
            if !self.admits_copies(stored_bytes(now)) {
                // New mail was quicker. What was copied is wanted where it is now; the victims are for another pass.
                tenant.moved(std::mem::take(&mut moved)).await?;
                tracing::debug!("reclaim stops: there is no room for more copies");
                return Ok(());
            }
            match self.copy(now, &mut moved, &mut damaged).await {
                Ok(bytes) => copied_bytes += bytes,
                Err(fault) => {
                    // What was copied before is wanted where it is now.
                    tenant.moved(std::mem::take(&mut moved)).await?;
                    return Err(fault);
                }
            }
            rest = later;
            if moved.len() >= RECLAIM_MOVED_MAX || rest.is_empty() && !moved.is_empty() {
                tenant.moved(std::mem::take(&mut moved)).await?;
            }
        }
        let victims_count = victims.len();
        for victim in victims {
            let Victim {
                report,
                records,
                records_bytes,
            } = victim;
            let segment = report.index;
            if damaged.contains(&segment) {
                tracing::warn!(segment = segment.0, "a segment with damage is kept");
                self.reclaim.damaged.borrow_mut().push(segment);
                continue;
            }
            if !records.is_empty() {
                if !self.admits_copies(records_bytes) {
                    return Ok(());
                }
                tenant.carry_forward(records).await?;
            }
            // One by one: what comes after it may find no room.
            self.reclaim.emptied.borrow_mut().push(Emptied {
                segment,
                generation: report.generation,
                since: self.freeable_since(&report),
            });
        }
        self.counted(|counters| counters.reclaim_copied_bytes += copied_bytes);
        tracing::debug!(
            victims = victims_count,
            bodies = located.len(),
            copied_bytes,
            "segments emptied"
        );
        Ok(())
    }

    /// What a checkpoint must stand for before an emptied segment is free: all that the layer above said of it. While a group waits for its
    /// chunks they may lie there without anything that names them: then it must stand for the segment's end, which that group comes after.
    fn freeable_since(&self, victim: &SegmentReport) -> Lsn {
        match self.queue.borrow().chunked_under_way() {
            0 => self.told.get(),
            _ => self.told.get().max(victim.last_lsn),
        }
    }

    /// Copies some bodies; says how many bytes. A body that no leg has stays where it is, and its segments with it.
    async fn copy(
        self: &Rc<Self>,
        located: &[Located],
        moved: &mut Vec<(BodyRef, BodyRef)>,
        damaged: &mut Vec<SegmentIndex>,
    ) -> Result<u64, StoreFault> {
        let bodies: Vec<BodyRef> = located.iter().map(|(body, _)| body.clone()).collect();
        let (raws, summaries) = (self.bodies(&bodies).await, self.summaries(&bodies).await);
        let mut read = Vec::new();
        for (((body, places), raw), summary) in located.iter().zip(raws).zip(summaries) {
            match (raw, summary) {
                (Ok(raw), Ok(summary)) => read.push((
                    body,
                    places,
                    BodyIn {
                        name: body.name,
                        raw,
                        summary,
                    },
                )),
                (Err(ReadFault::Damaged), _) | (_, Err(ReadFault::Damaged)) => {
                    damaged.extend(places.iter().map(|(segment, _)| *segment))
                }
                // Its bytes are gone: the reference is dead, and nothing is left to copy.
                (Err(ReadFault::Stale), _) | (_, Err(ReadFault::Stale)) => {
                    tracing::warn!(body = ?body.name, "a reference to what is not there any more")
                }
                (Err(fault), _) | (_, Err(fault)) => return Err(fault.into()),
            }
        }
        let proved = self
            .prove_and_pack(
                read.iter()
                    .map(|(.., body)| (body.name, body.raw.clone()))
                    .collect(),
            )
            .await;
        let (mut old, mut left, mut packed) = (Vec::new(), Vec::new(), Packed::new());
        let mut group = Group {
            purpose: Purpose::Reclaim,
            ..Group::default()
        };
        for ((body, places, copy), proved) in read.into_iter().zip(proved) {
            match proved {
                Some(form) => {
                    old.push(body.clone());
                    left.extend(places.iter().copied());
                    packed.push(form);
                    group.bodies.push(copy);
                }
                None => damaged.extend(places.iter().map(|(segment, _)| *segment)),
            }
        }
        if old.is_empty() {
            return Ok(0);
        }
        let copied_bytes = group.bodies.iter().map(|body| body.raw.len() as u64).sum();
        let receiver = self.enqueue(group, None, Origin::Reclaim(packed))?;
        let committed = receiver.await.unwrap_or_else(|| Err(append::stopped()))?;
        moved.extend(old.into_iter().zip(committed.bodies));
        // A large body lies in more segments than those that are emptied: its chunks are dead there too.
        for (segment, bytes) in left {
            self.reclaim.subtract(segment, bytes);
        }
        Ok(copied_bytes)
    }

    /// Away from the owner thread: holds each body against its name (`None`: it is not that body) and compresses it; what came in
    /// under load was stored raw.
    async fn prove_and_pack(
        &self,
        bodies: Vec<(BodyName, Bytes)>,
    ) -> Vec<Option<Vec<Option<Bytes>>>> {
        let (zstd, sizes) = (self.zstd_away.clone(), self.sizes);
        let work = move || {
            let pack = |raw: &Bytes| {
                let whole = raw.len() <= sizes.chunk_bytes;
                let piece_bytes = if whole {
                    raw.len().max(1)
                } else {
                    sizes.chunk_bytes
                };
                let pack = |(index, piece)| match index {
                    0 => zstd.compress(piece),
                    _ => zstd.compress_piece(piece),
                };
                raw.chunks(piece_bytes).enumerate().map(pack).collect()
            };
            let prove =
                |(name, raw): &(BodyName, Bytes)| (BodyName::of(raw) == *name).then(|| pack(raw));
            bodies.iter().map(prove).collect()
        };
        job(&*self.io.host, work).await
    }

    /// The records of the layer above in one segment.
    pub(crate) async fn records_of(
        &self,
        segment: SegmentIndex,
    ) -> Result<Vec<(Lsn, Record)>, StoreFault> {
        let mut records = Vec::new();
        for (address, payload) in self.volume.walk_segment(segment).await? {
            let mut frames = Frames::new(payload, self.seed);
            while let Some(frame) = frames.next()? {
                if frame.kind == Kind::Group {
                    let group = replayed(&frame, &address)?;
                    // A copy of its own: a slice would hold the whole batch in memory.
                    let own = |record: Record| {
                        (
                            group.lsn,
                            Record {
                                kind: record.kind,
                                payload: Bytes::copy_from_slice(&record.payload),
                            },
                        )
                    };
                    records.extend(group.records.into_iter().map(own));
                }
            }
        }
        Ok(records)
    }
}
