//! Reading everything that is alive on every leg, so that rot is found while another leg still has a good copy.

use std::rc::Rc;

use device::BLOCK_BYTES;

use crate::arena::Asked;
use crate::inner::Inner;
use crate::leg::{Probe, probe};
use crate::limits::{SCRUB_PAUSE_US, SCRUB_RECORD_US, STREAM_READ_BYTES, SUPERBLOCK_LOOKS_MAX};
use crate::segment::Of;
use crate::segment::State;
use crate::stream::{Found, Stream};
use crate::types::*;

impl Inner {
    /// `goes_on`: from where an interrupted one had come to, else from the beginning.
    pub async fn scrub(self: &Rc<Self>, goes_on: bool) -> ScrubReport {
        let _pass = self.scrubbing.enter().await;
        let mut report = ScrubReport::default();
        let read_before = self.counters.get().bytes_read;
        // A reader's repair beside it is not the scrub's finding.
        let own_repairs = || self.counters.get().repairs - self.counters.get().repairs_for_readers;
        let repairs_before = own_repairs();
        self.arena.owner_turn(self);
        let segments = self.begin_scrub(goes_on);
        let mut recorded = self.io.host.now();
        let mut read_all = true;
        for (segment, first, bytes) in segments {
            for (leg, _) in self.legs_where(|leg| leg.serves()) {
                read_all &= self.scrub_segment(segment, leg, &mut report).await;
                base::host::sleep_us(&*self.io.host, SCRUB_PAUSE_US).await;
            }
            let mut scrubbed = self.scrubbed.get();
            // What could not be read for now is read by the one that goes on after a restart.
            if read_all {
                scrubbed.cursor = scrubbed.cursor.max(first);
            }
            scrubbed.done_bytes += bytes;
            self.scrubbed.set(scrubbed);
            if self.io.host.now().since_us(recorded) >= SCRUB_RECORD_US {
                // A volume that refuses just now keeps it in memory.
                let _ = self.record_scrub().await;
                recorded = self.io.host.now();
            }
        }
        self.scrub_arena(&mut report).await;
        self.scrub_superblocks(&mut report).await;
        self.end_scrub(read_all).await;
        report.bytes_read += self.counters.get().bytes_read - read_before;
        report.repaired += own_repairs() - repairs_before;
        tracing::info!(
            report.bytes_read,
            report.repaired,
            damaged = report.damaged.len(),
            "scrub ended"
        );
        report
    }

    /// What is to be read, in the order of the log: segment, first LSN, bytes.
    fn begin_scrub(&self, goes_on: bool) -> Vec<(SegmentIndex, Lsn, u64)> {
        let before = self.scrubbed.get();
        let goes_on = goes_on && before.began != 0;
        let (began, cursor) = if goes_on {
            (before.began, before.cursor)
        } else {
            (self.io.host.unix_seconds(), Lsn(0))
        };
        let log = self.log.borrow();
        let all = log.table().in_log_order().into_iter().map(|segment| {
            let row = log.table().row(segment);
            let bytes = u64::from(row.used_blocks) * BLOCK_BYTES as u64;
            (segment, row.first, bytes)
        });
        let all: Vec<(SegmentIndex, Lsn, u64)> = all.collect();
        let sum = |part: &[(SegmentIndex, Lsn, u64)]| part.iter().map(|(.., bytes)| bytes).sum();
        let (done, rest): (Vec<_>, Vec<_>) = all.iter().partition(|(_, first, _)| *first <= cursor);
        self.scrubbed.set(ScrubState {
            began,
            cursor,
            done_bytes: sum(&done),
            all_bytes: sum(&all),
            ..before
        });
        rest
    }

    /// `read_all`: nothing was passed over because no leg answered; else the scrub stays under way.
    async fn end_scrub(self: &Rc<Self>, read_all: bool) {
        if !read_all {
            tracing::warn!("the scrub could not read everything; the next one goes on");
            return;
        }
        self.scrubbed.set(ScrubState {
            ended: self.io.host.unix_seconds(),
            ..ScrubState::default()
        });
        if let Err(fault) = self.record_scrub().await {
            tracing::warn!(%fault, "the end of the scrub is not recorded yet; the next superblock does");
        }
    }

    /// New superblocks, unless they cannot be written just now.
    async fn record_scrub(self: &Rc<Self>) -> Result<(), CommitFault> {
        if let Some(why) = self.log.borrow().mode().why() {
            return Err(CommitFault::Deferred(why.into()));
        }
        self.publish().await
    }

    /// `false`: a leg did not answer, and part of the segment was not read there.
    async fn scrub_segment(
        self: &Rc<Self>,
        segment: SegmentIndex,
        leg: LegIndex,
        report: &mut ScrubReport,
    ) -> bool {
        let Some((of, end)) = self.settled_part(segment) else {
            return true;
        };
        let Some(device) = self.legs.borrow()[leg].device() else {
            return true; // it left: what it has is read when it returns
        };
        let mut stream = Stream::new(self.clone(), device, of, 0, end);
        let mut last = Lsn(self
            .log
            .borrow()
            .table()
            .row(segment)
            .first
            .0
            .saturating_sub(1));
        let mut in_damage = false;
        // bounded by the segment
        loop {
            match stream.next().await {
                Found::End => return true,
                Found::Batch(header, _) => (last, in_damage) = (header.lsn, false),
                Found::Nothing { block } => match self.repair_batch(of, block).await {
                    Ok(Some((header, _))) => {
                        (last, in_damage) = (header.lsn, false);
                        stream.skip_to(header.end_block().min(end)).await;
                    }
                    Ok(None) => {
                        stream.skip_one().await;
                        let bad = BatchAddress {
                            lsn: last.next(),
                            segment,
                            generation: of.generation,
                            block,
                        };
                        let listed = report
                            .damaged
                            .iter()
                            .any(|known| known.segment == segment && known.block == block);
                        if !std::mem::replace(&mut in_damage, true) && !listed {
                            self.note_damage(bad.lsn, segment, block);
                            report.damaged.push(bad);
                        }
                    }
                    // Given back or reused meanwhile: nothing to compare with.
                    Err(ReadFault::Stale) => return true,
                    Err(_) => return false,
                },
            }
            if stream.is_dead() {
                return false;
            }
        }
    }

    /// The part of a segment in which every batch is acknowledged.
    pub(crate) fn settled_part(&self, segment: SegmentIndex) -> Option<(Of, u32)> {
        let log = self.log.borrow();
        let row = log.table().row(segment);
        if !matches!(row.state, State::Open | State::Sealed) {
            return None;
        }
        let first_unsettled = log
            .waiting()
            .find(|entry| entry.segment == segment)
            .map(|entry| entry.block);
        let end = first_unsettled
            .unwrap_or(row.used_blocks)
            .min(row.used_blocks);
        Some((
            Of {
                segment,
                generation: row.generation,
            },
            end,
        ))
    }

    /// Arena pages, as far as their owner says what they should be (`Volume::set_page_checks`).
    pub(crate) async fn scrub_arena(self: &Rc<Self>, report: &mut ScrubReport) {
        if self.page_checks.borrow().is_none() {
            return;
        }
        let per_segment = self.plan.pages_per_segment();
        let chunk = (STREAM_READ_BYTES / BLOCK_BYTES) as u64;
        let segments = self.log.borrow().table().arena().to_vec();
        for (ordinal, segment) in segments.into_iter().enumerate() {
            for from in (0..per_segment).step_by(chunk as usize) {
                let count = chunk.min(per_segment - from);
                let first = ordinal as u64 * per_segment + from;
                let at = self.plan.at(segment, from as u32);
                for (_, device) in self.legs_where(|leg| leg.serves()) {
                    let size = count as usize * BLOCK_BYTES;
                    let bad = match self.read_raw(device, at, size).await {
                        Ok(data) => {
                            let bad = self.bad_pages(first, &data[..size]);
                            self.return_read_buffer(data);
                            bad
                        }
                        Err(_) => (0..count as usize).collect(),
                    };
                    for index in bad {
                        self.scrub_page(first + index as u64, report).await;
                    }
                }
                base::host::sleep_us(&*self.io.host, SCRUB_PAUSE_US).await;
            }
        }
    }

    /// A page without a check was never written. One that is bad on every leg is counted and left: its owner makes it again.
    async fn scrub_page(self: &Rc<Self>, page: u64, report: &mut ScrubReport) {
        // The check is asked for while no page is being written: before that it may be the one of a version that is going.
        let _pass = self.arena_writing.enter().await;
        let checks = self.page_checks.borrow().clone();
        let Some(check) = checks.and_then(|check_of| check_of(page)) else {
            return;
        };
        if !self.repair_page_alone(page, check, Asked::ByScrub).await {
            tracing::warn!(
                page,
                "an arena page is bad on every leg; its reader gets an error"
            );
            report.pages_lost += 1;
        }
    }

    /// All four superblock copies on every leg; a missing one is put right by writing the next superblock.
    async fn scrub_superblocks(self: &Rc<Self>, report: &mut ScrubReport) {
        if !self.log.borrow().is_running() {
            return; // nothing could be put right, and who writes superblocks just now may wait for the legs
        }
        let seq = self.log.borrow().seq();
        if self.legs_short_of_copies(seq).await == 0 {
            return;
        }
        for _ in 0..SUPERBLOCK_LOOKS_MAX {
            // A copy that is still being written is not missing: what was found counts only when no superblock was
            // begun since a moment at which none was on its way. Nothing is held while a leg is read; it may be slow.
            let seq = {
                let _pass = self.publishing.enter().await;
                self.log.borrow().seq()
            };
            let short = self.legs_short_of_copies(seq).await;
            if self.log.borrow().seq() == seq {
                if short > 0 && self.record_scrub().await.is_ok() {
                    report.repaired += short;
                }
                return;
            }
        }
    }

    /// Serving legs on which fewer than four copies hold superblock number `seq`. Four copies of an older one are none of it: the
    /// leg lost its last write.
    async fn legs_short_of_copies(&self, seq: u64) -> u64 {
        let mut short = 0;
        for (_, device) in self.legs_where(|leg| leg.serves()) {
            match probe(&self.io, device, self.settings.hard_deadline_us).await {
                Probe::Leg(quorum, _) if quorum.copies == 4 && quorum.superblock.seq == seq => {}
                _ => short += 1,
            }
        }
        short
    }
}
