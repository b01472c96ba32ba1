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
use std::sync::Arc;

use base::host::job;
use volume::{Lsn, ReadFault, SegmentIndex, SegmentReport, SegmentState};

use crate::append::{Origin, Packed};
use crate::body::Zstd;
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

/// What reclaim knows of the segments; nothing of it outlives the process.
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

    /// One reclaim pass; see `Tenant`. Says how many segments were freed: those that an earlier pass emptied and a checkpoint made since
    /// then let go. While most of the volume is free (`limits::RECLAIM_IDLE_PART`) nothing new is emptied. A second call while one runs answers 0.
    pub async fn reclaim(&self, tenant: &dyn Tenant) -> Result<usize, StoreFault> {
        let ledger = &self.inner.reclaim;
        if ledger.running.replace(true) {
            return Ok(0);
        }
        let _running = Running(self.inner.clone());
        self.inner.space.set_reclaiming(true);
        let freed = self.inner.free_emptied(tenant).await?;
        if self.inner.space.is_roomy() {
            return Ok(freed);
        }
        let victims = self.inner.choose(tenant).await?;
        if !victims.is_empty() {
            self.inner.empty(tenant, victims).await?;
        }
        Ok(freed)
    }
}

/// Ends the pass also when its future is dropped.
struct Running(Rc<Inner>);
impl Drop for Running {
    fn drop(&mut self) {
        self.0.reclaim.running.set(false);
        self.0.space.set_reclaiming(false);
    }
}

impl Inner {
    async fn free_emptied(self: &Rc<Self>, tenant: &dyn Tenant) -> Result<usize, StoreFault> {
        let due = |emptied: &Emptied| {
            self.projection.applied() >= emptied.since
                && !self.projection.chain_lies_in(&[emptied.segment])
        };
        let segments: Vec<SegmentIndex> = self
            .reclaim
            .emptied
            .borrow()
            .iter()
            .filter(|emptied| due(emptied))
            .map(|emptied| emptied.segment)
            .collect();
        if segments.is_empty() {
            return Ok(0);
        }
        let wanted = self.places(&self.live_in(tenant, &segments).await?).await?;
        let mut freed = 0;
        for segment in segments {
            if wanted.contains_key(&segment) {
                // Somebody took an old address before the move: emptied once more by this pass or a later one.
                self.reclaim
                    .emptied
                    .borrow_mut()
                    .retain(|emptied| emptied.segment != segment);
                continue;
            }
            self.volume.free_segment(segment).await?;
            self.reclaim
                .emptied
                .borrow_mut()
                .retain(|emptied| emptied.segment != segment);
            self.reclaim.live.borrow_mut().remove(&segment);
            freed += 1;
        }
        self.space.recount(&self.volume);
        self.counted(|counters| counters.reclaimed_segments += freed as u64);
        tracing::debug!(freed, "segments freed");
        Ok(freed)
    }

    /// Sealed segments worth emptying, best first.
    async fn choose(
        self: &Rc<Self>,
        tenant: &dyn Tenant,
    ) -> Result<Vec<SegmentReport>, StoreFault> {
        let segments = self.volume.segments();
        let (emptied, damaged) = (
            self.reclaim.emptied_segments(),
            self.reclaim.damaged.borrow().clone(),
        );
        let mut sealed: Vec<SegmentReport> = segments
            .into_iter()
            .filter(|segment| segment.state == SegmentState::Sealed)
            .collect();
        sealed.retain(|segment| {
            !emptied.contains(&segment.index) && !damaged.contains(&segment.index)
        });
        sealed.sort_by_key(|segment| segment.first_lsn);
        self.count_live(tenant, &sealed).await?;

        let all_counted = sealed
            .iter()
            .all(|segment| self.reclaim.live.borrow().contains_key(&segment.index));
        let live_percent_max = if self.space.is_pressed() {
            RECLAIM_LIVE_PERCENT_PRESSED
        } else {
            RECLAIM_LIVE_PERCENT_EASY
        };
        let newest = self.landed.get().0;
        let live = self.reclaim.live.borrow();
        let mut scored: Vec<(u128, SegmentReport)> = Vec::new();
        for segment in sealed {
            let (Some(live), true) = (live.get(&segment.index), segment.used_bytes > 0) else {
                continue;
            };
            let live_percent = (live * 100 / segment.used_bytes).min(100);
            if live_percent <= live_percent_max {
                // storage.md A9: age · (1 − u) / (1 + u).
                let age = u128::from(newest.saturating_sub(segment.last_lsn.0) + 1);
                scored.push((
                    age * 1_000 * u128::from(100 - live_percent) / u128::from(100 + live_percent),
                    segment,
                ));
            }
        }
        drop(live);
        if scored.is_empty() && all_counted {
            // What was counted once may have died since: the next pass counts anew.
            self.reclaim.live.borrow_mut().clear();
        }
        scored.sort_by_key(|(score, segment)| (std::cmp::Reverse(*score), segment.first_lsn));
        Ok(scored
            .into_iter()
            .take(RECLAIM_VICTIMS_MAX)
            .map(|(_, segment)| segment)
            .collect())
    }

    /// Counts the live bytes of some segments that no pass has counted yet, oldest first.
    async fn count_live(
        self: &Rc<Self>,
        tenant: &dyn Tenant,
        sealed: &[SegmentReport],
    ) -> Result<(), StoreFault> {
        let unknown: Vec<SegmentIndex> = {
            let live = self.reclaim.live.borrow();
            let unknown = sealed
                .iter()
                .map(|segment| segment.index)
                .filter(|index| !live.contains_key(index));
            unknown.take(RECLAIM_SEGMENTS_ASKED_MAX).collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let places = self.places(&self.live_in(tenant, &unknown).await?).await?;
        let mut live = self.reclaim.live.borrow_mut();
        for segment in unknown {
            live.insert(segment, places.get(&segment).copied().unwrap_or(0));
        }
        Ok(())
    }

    async fn live_in(
        &self,
        tenant: &dyn Tenant,
        segments: &[SegmentIndex],
    ) -> Result<Vec<BodyRef>, StoreFault> {
        let mut bodies = tenant.live_bodies(segments).await?;
        bodies.retain(|body| body.may_lie_in(segments));
        Ok(bodies)
    }

    /// Bytes of `bodies` by segment, those of chunks where the chunks are.
    async fn places(
        self: &Rc<Self>,
        bodies: &[BodyRef],
    ) -> Result<HashMap<SegmentIndex, u64>, StoreFault> {
        let mut places = HashMap::new();
        for body in bodies {
            for (segment, bytes) in self.places_of(body).await? {
                *places.entry(segment).or_default() += bytes;
            }
        }
        Ok(places)
    }

    async fn places_of(&self, body: &BodyRef) -> Result<Vec<(SegmentIndex, u64)>, StoreFault> {
        let mut places: Vec<_> = [&body.body, &body.summary]
            .map(|run| (run.segment, u64::from(run.bytes)))
            .into();
        if body.codec == Codec::Chunked {
            match self.chunks(body).await {
                Ok(chunks) => places.extend(
                    chunks
                        .iter()
                        .map(|chunk| (chunk.address.segment, u64::from(chunk.address.bytes))),
                ),
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
        victims: Vec<SegmentReport>,
    ) -> Result<(), StoreFault> {
        let segments: Vec<SegmentIndex> = victims.iter().map(|victim| victim.index).collect();
        let mut copy = Vec::new();
        for body in self.live_in(tenant, &segments).await? {
            if self
                .places_of(&body)
                .await?
                .iter()
                .any(|(segment, _)| segments.contains(segment))
            {
                copy.push(body);
            }
        }
        // In log order: neighbours stay neighbours.
        copy.sort_by_key(|body| (body.body.segment, body.body.batch_block, body.body.at));
        copy.dedup();
        let mut damaged = Vec::new();
        let (mut rest, mut copied_bytes) = (&copy[..], 0);
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |body: &&BodyRef| {
                bytes += body.raw_bytes as usize + body.summary.bytes as usize;
                bytes <= RECLAIM_COPY_BYTES
            };
            let count = rest
                .iter()
                .take_while(fits)
                .take(GROUP_BODIES_MAX / 2)
                .count()
                .max(1);
            let (now, later) = rest.split_at(count);
            copied_bytes += self.copy(tenant, now, &mut damaged).await?;
            rest = later;
        }
        for segment in &segments {
            if damaged.contains(segment) {
                continue;
            }
            match self.records_of(*segment).await {
                Ok(records) if records.is_empty() => {}
                Ok(records) => tenant.carry_forward(records).await?,
                Err(StoreFault::Damaged) => damaged.push(*segment),
                Err(fault) => return Err(fault),
            }
        }
        let since = self.landed.get();
        for segment in segments {
            if damaged.contains(&segment) {
                tracing::warn!(segment = segment.0, "a segment with damage is kept");
                self.reclaim.damaged.borrow_mut().push(segment);
            } else {
                self.reclaim
                    .emptied
                    .borrow_mut()
                    .push(Emptied { segment, since });
            }
        }
        self.counted(|counters| counters.reclaim_copied_bytes += copied_bytes);
        tracing::debug!(
            victims = victims.len(),
            bodies = copy.len(),
            copied_bytes,
            "segments emptied"
        );
        Ok(())
    }

    /// Copies some bodies and has every reference follow. A body that no leg has stays where it is, and its segments with it.
    async fn copy(
        self: &Rc<Self>,
        tenant: &dyn Tenant,
        bodies: &[BodyRef],
        damaged: &mut Vec<SegmentIndex>,
    ) -> Result<u64, StoreFault> {
        let mut old = Vec::new();
        let mut group = Group::default();
        let mut copied_bytes = 0;
        for body in bodies {
            let read = match (self.body_proved(body).await, self.summary(body).await) {
                (Ok(raw), Ok(summary)) => Ok((raw, summary)),
                (Err(fault), _) | (_, Err(fault)) => Err(fault),
            };
            match read {
                Ok((raw, summary)) => {
                    copied_bytes += raw.len() as u64;
                    group.bodies.push(BodyIn {
                        name: body.name,
                        raw,
                        summary,
                    });
                    old.push(body.clone());
                }
                Err(ReadFault::Damaged) => damaged.extend(
                    self.places_of(body)
                        .await?
                        .iter()
                        .map(|(segment, _)| *segment),
                ),
                Err(fault) => return Err(fault.into()),
            }
        }
        if old.is_empty() {
            return Ok(0);
        }
        let packed = self.pack(&group).await;
        let receiver = self.enqueue(group, None, Origin::Reclaim(packed))?;
        let committed = receiver.await.unwrap_or_else(|| Err(append::stopped()))?;
        tenant
            .moved(old.into_iter().zip(committed.bodies).collect())
            .await?;
        Ok(copied_bytes)
    }

    /// Compresses away from the owner thread: what came in under load was stored raw.
    async fn pack(&self, group: &Group) -> Packed {
        let bodies: Vec<_> = group.bodies.iter().map(|body| body.raw.clone()).collect();
        let zstd: Arc<Zstd> = self.zstd_away.clone();
        job(&*self.io.host, move || {
            bodies.iter().map(|raw| zstd.compress(raw)).collect()
        })
        .await
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
                                payload: bytes::Bytes::copy_from_slice(&record.payload),
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
