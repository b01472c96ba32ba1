//! Reclaim: segments whose records are dead become free again, without any moment in which something wanted has no place.
//!
//! One pass, beside foreground work: (1) segments emptied by earlier passes are freed, if a checkpoint that no longer needs them is
//! durable and nothing points into them; (2) the emptiest sealed segments are chosen by cost and benefit; (3) their live
//! bodies are read, proved by BLAKE3 and appended anew; the layer above re-points (`Tenant::moved`) and carries its records
//! forward (`Tenant::carry_forward`). Freeing waits for the next pass, so that whoever took an old address before the move has
//! long been durable and is seen by the second look.
//!
//! Mark and sweep: `Tenant` says what is wanted, from what it knows to be f(log). Live bytes are only an estimate for choosing.
//! A segment with damage is never freed: `salvage` may still get something out of it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use base::BodyName;
use base::host::job;
use bytes::Bytes;
use volume::{Generation, Lsn, ReadFault, SegmentIndex, SegmentReport, SegmentState};

use crate::append::{Origin, Packed};
use crate::frame::{Frames, Kind};
use crate::limits::*;
use crate::replay::replayed;
use crate::{BodyIn, BodyRef, Codec, Group, Inner, Record, Store, StoreFault, append};

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
    /// `records` are about to disappear from the log: append whatever is needed so that the log alone still gives the same state (snapshots).
    fn carry_forward<'a>(
        &'a self,
        records: Vec<(Lsn, Record)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>>;
}

/// What reclaim knows of the segments. Only what is emptied outlives the process, in the note of each checkpoint.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Live body bytes, where a pass has counted them.
    live: RefCell<HashMap<SegmentIndex, u64>>,
    emptied: RefCell<Vec<Emptied>>,
    /// Left alone: something in them cannot be read on any leg.
    damaged: RefCell<Vec<SegmentIndex>>,
    running: std::cell::Cell<bool>,
}

/// Nothing live is left in it; free once a checkpoint stands for `since`.
#[derive(Debug, Clone, Copy)]
struct Emptied {
    segment: SegmentIndex,
    generation: Generation,
    since: Lsn,
}

impl Ledger {
    pub fn emptied_segments(&self) -> Vec<SegmentIndex> {
        self.emptied
            .borrow()
            .iter()
            .map(|emptied| emptied.segment)
            .collect()
    }

    /// Those that a checkpoint with `applied` lets go.
    pub fn emptied_by(&self, applied: Lsn) -> Vec<(SegmentIndex, Generation)> {
        self.emptied
            .borrow()
            .iter()
            .filter(|emptied| emptied.since <= applied)
            .take(EMPTIED_NOTED_MAX)
            .map(|emptied| (emptied.segment, emptied.generation))
            .collect()
    }
}

impl Store {
    /// A body lost its last reference: a hint for choosing, not a promise. Free of cost.
    pub fn note_dead(&self, body: &BodyRef) {
        for run in [&body.body, &body.summary] {
            if let Some(live) = self.inner.reclaim.live.borrow_mut().get_mut(&run.segment) {
                *live = live.saturating_sub(u64::from(run.bytes));
            }
        }
    }

    /// One reclaim pass; see `Tenant`, which is asked for live bodies once. Says how many segments were freed: those that an earlier
    /// pass emptied and a checkpoint made since then let go. While most of the volume is free (`limits::RECLAIM_IDLE_PART`) nothing new
    /// is emptied. A second call while one runs answers 0.
    pub async fn reclaim(&self, tenant: &dyn Tenant) -> Result<usize, StoreFault> {
        let inner = &self.inner;
        if inner.reclaim.running.replace(true) {
            return Ok(0);
        }
        let _running = Running(inner.clone());
        inner.space.set_reclaiming(true);
        let due = inner.due();
        let candidates = if inner.space.is_roomy() {
            Vec::new()
        } else {
            inner.candidates()
        };
        if due.is_empty() && candidates.is_empty() {
            return Ok(0);
        }
        let indexes = candidates.iter().map(|segment| segment.index);
        let asked: Vec<SegmentIndex> = due.iter().copied().chain(indexes).collect();
        let mut live = tenant.live_bodies(&asked).await?;
        live.retain(|body| body.may_lie_in(&asked));
        let mut located = Vec::with_capacity(live.len());
        for body in live {
            let places = inner.places_of(&body).await?;
            located.push((body, places));
        }
        let freed = inner.free_emptied(&due, &located).await?;
        let victims = inner.choose(candidates, &located);
        let is_lived_in = |victim: &SegmentReport| {
            let mut places = located.iter().flat_map(|(_, places)| places);
            places.any(|(segment, _)| *segment == victim.index)
        };
        let (lived_in, deserted): (Vec<_>, Vec<_>) = victims.into_iter().partition(is_lived_in);
        // First what needs no room for copies: where there is none left, it comes back all the same.
        inner.empty(tenant, &deserted, Vec::new()).await?;
        inner.empty(tenant, &lived_in, located).await?;
        Ok(freed)
    }
}

/// A live body and how many bytes of it lie where.
type Located = (BodyRef, Vec<(SegmentIndex, u64)>);

/// Ends the pass also when its future is dropped.
struct Running(Rc<Inner>);
impl Drop for Running {
    fn drop(&mut self) {
        self.0.reclaim.running.set(false);
        self.0.space.set_reclaiming(false);
    }
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
            // A checkpoint beside this pass may have given it back meanwhile.
            self.forget_given_back();
            let still_emptied = self.reclaim.emptied_segments().contains(segment);
            if !wanted && still_emptied {
                self.volume.free_segment(*segment).await?;
                freed += 1;
            }
            // Otherwise somebody took an old address before the move: a later pass empties it once more.
            self.reclaim
                .emptied
                .borrow_mut()
                .retain(|emptied| emptied.segment != *segment);
            self.reclaim.live.borrow_mut().remove(segment);
        }
        if freed > 0 {
            self.space.recount(&self.volume);
            self.counted(|counters| counters.reclaimed_segments += freed as u64);
            tracing::debug!(freed, "segments freed");
        }
        Ok(freed)
    }

    /// Sealed segments to ask for: half of them those that look emptiest, the rest the oldest that nobody has counted yet.
    fn candidates(&self) -> Vec<SegmentReport> {
        let (emptied, damaged) = (
            self.reclaim.emptied_segments(),
            self.reclaim.damaged.borrow(),
        );
        let mut live = self.reclaim.live.borrow_mut();
        let mut sealed = self.volume.segments();
        sealed.retain(|segment| {
            let left_alone = emptied.contains(&segment.index) || damaged.contains(&segment.index);
            segment.state == SegmentState::Sealed && !left_alone
        });
        sealed.sort_by_key(|segment| segment.first_lsn);
        let (counted, unknown): (Vec<_>, Vec<_>) = sealed
            .into_iter()
            .partition(|segment| live.contains_key(&segment.index));
        let mut worth: Vec<(u128, SegmentReport)> = counted
            .into_iter()
            .filter_map(|segment| Some((self.score(&segment, live[&segment.index])?, segment)))
            .collect();
        worth.sort_by_key(|(score, segment)| (std::cmp::Reverse(*score), segment.first_lsn));
        if worth.is_empty() && unknown.is_empty() {
            // What was counted once may have died since: the next pass counts anew.
            live.clear();
        }
        let mut candidates: Vec<_> = worth
            .into_iter()
            .take(RECLAIM_SEGMENTS_ASKED_MAX / 2)
            .map(|(_, segment)| segment)
            .collect();
        candidates.extend(
            unknown
                .into_iter()
                .take(RECLAIM_SEGMENTS_ASKED_MAX - candidates.len()),
        );
        candidates
    }

    /// Cost and benefit (storage.md A9): age · (1 − u) / (1 + u). `None`: not worth it now.
    fn score(&self, segment: &SegmentReport, live_bytes: u64) -> Option<u128> {
        let live_percent_max = if self.space.is_pressed() {
            RECLAIM_LIVE_PERCENT_PRESSED
        } else {
            RECLAIM_LIVE_PERCENT_EASY
        };
        let live_percent = (live_bytes * 100).checked_div(segment.used_bytes)?.min(100);
        let age = u128::from(self.landed.get().0.saturating_sub(segment.last_lsn.0) + 1);
        let score = age * 1_000 * u128::from(100 - live_percent) / u128::from(100 + live_percent);
        (live_percent <= live_percent_max).then_some(score)
    }

    /// The best of the candidates, now that their live bytes are known.
    fn choose(&self, candidates: Vec<SegmentReport>, located: &[Located]) -> Vec<SegmentReport> {
        let mut counted: HashMap<SegmentIndex, u64> = candidates
            .iter()
            .map(|segment| (segment.index, 0))
            .collect();
        for (segment, bytes) in located.iter().flat_map(|(_, places)| places) {
            if let Some(live) = counted.get_mut(segment) {
                *live += bytes;
            }
        }
        let mut worth: Vec<(u128, SegmentReport)> = candidates
            .into_iter()
            .filter_map(|segment| Some((self.score(&segment, counted[&segment.index])?, segment)))
            .collect();
        self.reclaim.live.borrow_mut().extend(counted);
        worth.sort_by_key(|(score, segment)| (std::cmp::Reverse(*score), segment.first_lsn));
        worth
            .into_iter()
            .take(RECLAIM_VICTIMS_MAX)
            .map(|(_, segment)| segment)
            .collect()
    }

    /// Bytes of `body` by segment, those of chunks where the chunks are.
    async fn places_of(&self, body: &BodyRef) -> Result<Vec<(SegmentIndex, u64)>, StoreFault> {
        let mut places: Vec<_> = [&body.body, &body.summary]
            .map(|run| (run.segment, u64::from(run.bytes)))
            .into();
        if body.codec == Codec::Chunked {
            match self.chunks(body).await {
                Ok(chunks) => {
                    let runs = chunks.iter().map(|chunk| &chunk.address);
                    places.extend(runs.map(|run| (run.segment, u64::from(run.bytes))));
                }
                // Its chunks are out of reach for ever.
                Err(ReadFault::Damaged | ReadFault::Stale) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(places)
    }

    /// Copies what is live in `victims` and lets the layer above follow.
    async fn empty(
        self: &Rc<Self>,
        tenant: &dyn Tenant,
        victims: &[SegmentReport],
        mut located: Vec<Located>,
    ) -> Result<(), StoreFault> {
        if victims.is_empty() {
            return Ok(());
        }
        let is_victim =
            |segment: &SegmentIndex| victims.iter().any(|victim| victim.index == *segment);
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
            copied_bytes += self.copy(now, &mut moved, &mut damaged).await?;
            rest = later;
            if moved.len() >= RECLAIM_MOVED_MAX || rest.is_empty() && !moved.is_empty() {
                tenant.moved(std::mem::take(&mut moved)).await?;
            }
        }
        for victim in victims {
            let segment = victim.index;
            if !damaged.contains(&segment) {
                match self.records_of(segment).await {
                    Ok(records) if records.is_empty() => {}
                    Ok(records) => tenant.carry_forward(records).await?,
                    Err(StoreFault::Damaged) => damaged.push(segment),
                    Err(fault) => return Err(fault),
                }
            }
            if damaged.contains(&segment) {
                tracing::warn!(segment = segment.0, "a segment with damage is kept");
                self.reclaim.damaged.borrow_mut().push(segment);
            } else {
                // One by one: what comes after it may find no room.
                self.reclaim.emptied.borrow_mut().push(Emptied {
                    segment,
                    generation: victim.generation,
                    since: self.content.get(),
                });
            }
        }
        self.counted(|counters| counters.reclaim_copied_bytes += copied_bytes);
        tracing::debug!(
            victims = victims.len(),
            bodies = located.len(),
            copied_bytes,
            "segments emptied"
        );
        Ok(())
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
        let (mut old, mut packed, mut group) = (Vec::new(), Packed::new(), Group::default());
        for ((body, places, copy), proved) in read.into_iter().zip(proved) {
            match proved {
                Some(form) => {
                    old.push(body.clone());
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
                raw.chunks(piece_bytes)
                    .map(|piece| zstd.compress(piece))
                    .collect()
            };
            let prove =
                |(name, raw): &(BodyName, Bytes)| (BodyName::of(raw) == *name).then(|| pack(raw));
            bodies.iter().map(prove).collect()
        };
        job(&*self.io.host, work).await
    }

    /// The records of the layer above in one segment.
    async fn records_of(&self, segment: SegmentIndex) -> Result<Vec<(Lsn, Record)>, StoreFault> {
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
