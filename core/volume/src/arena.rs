//! The arena: 4 KiB pages written in place on every leg, for a projection that may be thrown away (DESIGN.md A6).
//!
//! The volume does not know a page's checksum; the reader brings it. The index thread reads on its own, through
//! blocking readers and a snapshot of legs and segments; what it finds bad it leaves for the owner thread to repair.

pub(crate) mod shared;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use base::hash::xxh3_64;
use bytes::Bytes;
use device::{BLOCK_BYTES, Buffer, DeviceIndex, IoFault, Op};

use self::shared::ArenaShared;
use crate::format::{Inline, Kind};
use crate::gate::{TIMED_OUT, within};
use crate::inner::Inner;
use crate::limits::{KEPT_FROM_ARENA, READS_AT_ONCE_MAX, STREAM_READ_BYTES};
use crate::log::Mode;
use crate::outage::refusal_of_all;
use crate::segment::Purpose;
use crate::types::*;

/// The checksum of page number `page` of the arena.
pub fn page_check(page: u64, bytes: &[u8]) -> u64 {
    xxh3_64(bytes, page)
}

/// Who wants an arena page put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A reader of the projection met it.
    ByReader,
    /// The scrub met it.
    ByScrub,
}

impl ArenaShared {
    /// Makes the readers see the legs that serve now.
    pub fn set_legs(&self, inner: &Inner) {
        let serving = inner.legs_where(|leg| leg.serves());
        let readers = serving
            .iter()
            .map(|&(_, device)| inner.io.device.blocking_reader(device))
            .collect();
        self.show_legs(readers);
    }

    /// Makes the readers see the arena's segments of now.
    pub fn set_segments(&self, inner: &Inner) {
        let segments = inner
            .log
            .borrow()
            .table()
            .arena()
            .iter()
            .map(|&segment| inner.plan.at(segment, 0))
            .collect();
        self.show_segments(segments, inner.plan.pages_per_segment());
    }

    /// Starts the repairs that readers asked for.
    pub fn owner_turn(&self, inner: &Rc<Inner>) {
        if let Some(wanted) = self.take_repairs() {
            let inner = inner.clone();
            let host = inner.io.host.clone();
            host.spawn(Box::pin(async move {
                for (page, check) in wanted {
                    inner.repair_page(page, check, Asked::ByReader).await;
                }
            }));
        }
    }
}

/// Consecutive pages of one segment, to be written at once.
struct Run {
    at: u64,
    data: Arc<Buffer>,
}

impl Inner {
    /// One more segment for the arena, at its end. `Full`: the free segments are kept for more urgent purposes. A reader
    /// sees the segment only when its record is durable, so that no opening can give it to the log.
    pub async fn arena_grow(self: &Rc<Self>) -> Result<SegmentIndex, CommitFault> {
        let (segment, waiting) = {
            let record = {
                let mut log = self.log.borrow_mut();
                if let Some(why) = log.mode().why() {
                    return Err(CommitFault::Deferred(why.into()));
                }
                let blocks = self.plan.segment_blocks();
                if log.table().spare() <= KEPT_FROM_ARENA
                    || !log.table().has_room(1, blocks, Purpose::Own)
                {
                    return Err(CommitFault::Full);
                }
                let (next, acked) = (log.next(), log.acked());
                let grown = log.table_mut().grow_arena(next, acked);
                grown.ok_or(CommitFault::Full)?
            };
            let (segment, generation, ordinal) = record;
            (
                segment,
                self.enqueue_own(
                    Kind::Records,
                    &[],
                    &[Inline::ArenaGrow {
                        segment,
                        generation,
                        ordinal,
                    }],
                )?,
            )
        };
        waiting
            .await
            .unwrap_or_else(|| Err(CommitFault::Deferred("the volume stopped".into())))?;
        self.arena.set_segments(self);
        Ok(segment)
    }

    /// Writes pages to every leg that counts, with a flush. `Ok`: all of those have all of them. `Deferred`: some lack some,
    /// and what is there is not known; the caller's checkpoint must not name these pages.
    pub async fn arena_write(self: &Rc<Self>, pages: Vec<(u64, Bytes)>) -> Result<(), CommitFault> {
        let _pass = self.arena_writing.enter().await;
        self.arena.owner_turn(self);
        let numbers: Vec<u64> = pages.iter().map(|(page, _)| *page).collect();
        let runs = self.arena_runs(pages);
        // until the pages are written, a leg is known to be at fault, or the volume takes nothing
        let written = loop {
            if let Some(why) = self.log.borrow().mode().why_hopeless() {
                return Err(CommitFault::Deferred(why.into()));
            }
            let results = self.write_everywhere(&runs).await;
            // All legs slow at once is our own host or network: write again rather than eject everybody.
            let all_late = results.iter().all(|(_, result)| *result == Err(TIMED_OUT));
            if results.is_empty() || !all_late {
                break self.judge(results)?;
            }
        };
        self.note_missed(&numbers, &written);
        self.all_counting_are_sound().await?;
        // A leg that failed and did not leave after all (`outage`) lacks these pages: they are not written yet.
        let counting = self.legs_where(|leg| leg.counts());
        if counting.iter().all(|(leg, _)| written.contains(leg)) {
            Ok(())
        } else {
            Err(CommitFault::Deferred(
                "a leg that counts refused arena pages".into(),
            ))
        }
    }

    async fn write_everywhere(&self, runs: &[Run]) -> Vec<(LegIndex, Result<(), IoFault>)> {
        let targets = self.legs_where(|leg| leg.receives());
        let writes = targets
            .iter()
            .map(|&(leg, device)| (leg, Box::pin(self.write_runs(device, runs))));
        crate::gate::all(writes).await
    }

    /// The legs that have the pages; the others leave. `Deferred`: no counting leg took them, and no leg leaves (DESIGN.md B3).
    fn judge(
        self: &Rc<Self>,
        results: Vec<(LegIndex, Result<(), IoFault>)>,
    ) -> Result<Vec<LegIndex>, CommitFault> {
        let counting = self.legs_where(|leg| leg.counts() && !leg.is_failing());
        let refusing: Vec<(LegIndex, IoFault)> = results
            .iter()
            .filter(|(leg, _)| counting.iter().any(|(counts, _)| counts == leg))
            .filter_map(|(leg, result)| Some((*leg, result.err()?)))
            .filter(|(_, fault)| *fault != IoFault::Conflict)
            .collect();
        if !counting.is_empty() && refusing.len() == counting.len() {
            let why = refusal_of_all(&refusing);
            tracing::warn!(why, "arena pages are not written");
            return Err(CommitFault::Deferred(why));
        }
        let mut written = Vec::new();
        for (leg, result) in results {
            match result {
                Ok(()) => written.push(leg),
                Err(IoFault::Conflict) => self.stop("another owner holds a device of this volume"),
                Err(fault) => {
                    self.suspect(leg, &format!("arena pages could not be written: {fault}"))
                }
            }
        }
        Ok(written)
    }

    /// Waits until no counting leg is failing: then everything written to the rest is on every counting leg.
    async fn all_counting_are_sound(&self) -> Result<(), CommitFault> {
        // until membership is recorded or the volume stops
        loop {
            let moved = self.moved.wait();
            if let Mode::Stopped(why) = self.log.borrow().mode() {
                return Err(CommitFault::Deferred(why.clone()));
            }
            if self
                .legs_where(|leg| leg.counts() && leg.is_failing())
                .is_empty()
            {
                return Ok(());
            }
            moved.await;
        }
    }

    /// Notes which pages legs outside `written` now miss.
    fn note_missed(&self, numbers: &[u64], written: &[LegIndex]) {
        for (index, leg) in self.legs.borrow_mut().iter_mut().enumerate() {
            if !(leg.receives() && written.contains(&LegIndex(index as u8))) {
                leg.miss_pages(numbers);
            }
        }
    }

    /// Neighbouring pages joined, at most `STREAM_READ_BYTES` in a run and none across the end of a segment. The arena must
    /// reach to the last page: the caller grew it before.
    fn arena_runs(&self, mut pages: Vec<(u64, Bytes)>) -> Vec<Run> {
        pages.sort_by_key(|(page, _)| *page);
        let per_segment = self.plan.pages_per_segment();
        let run_pages_max = STREAM_READ_BYTES / BLOCK_BYTES;
        let mut runs = Vec::new();
        let mut rest = &pages[..];
        while let Some((first, _)) = rest.first() {
            let follows = |count: usize| {
                rest.get(count).is_some_and(|(page, _)| {
                    *page == first + count as u64 && page % per_segment != 0
                })
            };
            let mut count = 1;
            while count < run_pages_max && follows(count) {
                count += 1;
            }
            let mut data = Buffer::zeroed(count * BLOCK_BYTES);
            for (slot, (_, bytes)) in data.chunks_mut(BLOCK_BYTES).zip(&rest[..count]) {
                slot.copy_from_slice(bytes);
            }
            let segment = self.log.borrow().table().arena()[(first / per_segment) as usize];
            let at = self.plan.at(segment, (first % per_segment) as u32);
            runs.push(Run {
                at,
                data: Arc::new(data),
            });
            rest = &rest[count..];
        }
        runs
    }

    /// All runs on one device, then one flush for them. A run that meets a bad place is written again by itself; any other
    /// fault ends it, and the caller decides about the leg.
    async fn write_runs(&self, device: DeviceIndex, runs: &[Run]) -> Result<(), IoFault> {
        let mut flying = VecDeque::new();
        let mut runs = runs.iter();
        let deadline_us = self.settings.hard_deadline_us;
        // until every run is written
        loop {
            while flying.len() < READS_AT_ONCE_MAX
                && let Some(run) = runs.next()
            {
                let bytes = run.data.len();
                let op = Op::Write {
                    at: run.at,
                    data: run.data.clone(),
                    range: 0..bytes,
                    durable: false,
                };
                self.count(|c| {
                    (c.device_writes, c.bytes_written) =
                        (c.device_writes + 1, c.bytes_written + bytes as u64)
                });
                flying.push_back((run, self.io.device.start(device, op)));
            }
            let Some((run, pending)) = flying.pop_front() else {
                break;
            };
            let completion = within(&*self.io.host, deadline_us, pending).await;
            match completion.map(|completion| completion.result) {
                Some(Ok(())) => {}
                Some(Err(IoFault::Medium)) => {
                    self.write_raw(device, run.at, run.data.clone(), run.data.len())
                        .await?;
                }
                Some(Err(fault)) => return Err(fault),
                None => return Err(TIMED_OUT),
            }
        }
        let flush = self.io.device.start(device, Op::Flush);
        within(&*self.io.host, deadline_us, flush)
            .await
            .ok_or(TIMED_OUT)?
            .result
    }

    /// Puts one page right on every serving leg, if one of them still has it.
    ///
    /// `false`: none has.
    pub async fn repair_page(self: &Rc<Self>, page: u64, check: u64, asked: Asked) -> bool {
        let _pass = self.arena_writing.enter().await;
        self.repair_page_alone(page, check, asked).await
    }

    /// As `repair_page`, for a caller that keeps others from writing pages.
    pub async fn repair_page_alone(self: &Rc<Self>, page: u64, check: u64, asked: Asked) -> bool {
        let per_segment = self.plan.pages_per_segment();
        let Some(segment) = self
            .log
            .borrow()
            .table()
            .arena()
            .get((page / per_segment) as usize)
            .copied()
        else {
            return false;
        };
        let at = self.plan.at(segment, (page % per_segment) as u32);
        let mut good = None;
        let mut bad = Vec::new();
        for (leg, device) in self.legs_where(|leg| leg.serves()) {
            match self.read_raw(device, at, BLOCK_BYTES).await {
                Ok(buffer) if page_check(page, &buffer[..BLOCK_BYTES]) == check => {
                    good = Some(buffer)
                }
                _ => bad.push((leg, device)),
            }
        }
        // No good copy: the page was written anew since, or the store will hear `Damaged` at its next read.
        let Some(good) = good else { return false };
        let good = Arc::new(good);
        for (leg, device) in bad {
            match self.write_raw(device, at, good.clone(), BLOCK_BYTES).await {
                Ok(()) => {
                    self.legs.borrow_mut()[leg].note_page_repair();
                    self.count(|c| {
                        c.repairs += 1;
                        c.repairs_for_readers += u64::from(asked == Asked::ByReader);
                    });
                    tracing::warn!(leg = leg.0, page, "an arena page was repaired");
                }
                Err(fault) => self.suspect(
                    leg,
                    &format!("an arena page could not be repaired: {fault}"),
                ),
            }
        }
        true
    }
}
