//! Which segments a reclaim pass empties.
//!
//! What counts is what emptying a segment *writes*: the live bodies, the records of their moves, and what the layer above carries forward of its
//! records (whole snapshots, for a single record of a large mailbox). A segment is taken when the rest of it is worth that: at
//! least a stated share of the whole segment comes back. So the log's garbage shrinks with every pass, and at rest passes end.
//! Snapshots pay for more than the segment they are written for: every older record becomes worthless. Under pressure a set that does not
//! pay for itself is emptied all the same, out of a credit that only changes of the layer above fill.
//!
//! Where bodies are refused, order is by cost: first what costs nothing, and nothing else in the same pass; then the cheapest. A process that is
//! killed again and again leaves segments with little in them: those are merged before anything larger is begun.

use std::rc::Rc;

use volume::{SegmentIndex, SegmentReport, SegmentState};

use crate::ledger::{Candidate, score};
use crate::limits::*;
use crate::reclaim::{Located, Victim};
use crate::{BodyRef, Inner, StoreFault, Tenant};

/// What is left of the segment that reclaim writes in. A batch that does not fit begins the next one, and the rest stays empty: two segments
/// that each fill most of one would otherwise be copied in turns for ever.
struct Rest {
    bytes: u64,
    segment_bytes: u64,
    /// Room is scarce.
    counts: bool,
}

impl Rest {
    fn lost_bytes(&self, one: &Candidate) -> u64 {
        self.lost(one.room_bytes(), one.piece_bytes)
    }

    fn lost(&self, room_bytes: u64, piece_bytes: u64) -> u64 {
        if !self.counts || room_bytes <= self.bytes {
            0
        } else {
            self.bytes.min(piece_bytes)
        }
    }

    fn fill(&mut self, bytes: u64) {
        let bytes = bytes % self.segment_bytes;
        self.bytes = if bytes <= self.bytes {
            self.bytes - bytes
        } else {
            self.bytes + self.segment_bytes - bytes
        };
    }
}

impl Inner {
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.volume.room().segment_pages * PAGE_BYTES as u64
    }

    /// The share of a segment, in percent, that must come back.
    fn gain_percent(&self) -> u64 {
        if self.space.is_pressed(&self.volume) {
            RECLAIM_GAIN_PERCENT_PRESSED
        } else {
            RECLAIM_GAIN_PERCENT_EASY
        }
    }

    /// Whether deletions are all that can still make room.
    pub(crate) fn has_nothing_to_reclaim(&self) -> bool {
        self.reclaim.found_nothing() && self.uncounted_segments() == 0
    }

    /// Sealed segments that no pass has asked about yet.
    pub(crate) fn uncounted_segments(&self) -> usize {
        let mut segments = self.volume.segments();
        segments.retain(|segment| {
            segment.state == SegmentState::Sealed && self.reclaim.estimate(segment.index).is_none()
        });
        segments.len()
    }

    fn pays(&self, write_bytes: u64, segments: u64) -> bool {
        let bytes = segments * self.segment_bytes();
        write_bytes <= bytes * (100 - self.gain_percent()) / 100
    }

    fn age(&self, segment: &SegmentReport) -> u64 {
        self.landed.get().0.saturating_sub(segment.last_lsn.0) + 1
    }

    /// Sealed segments to ask about: half of them those that look cheapest to empty, the rest the oldest that were never counted.
    pub(crate) fn candidates(&self) -> Vec<SegmentReport> {
        let (ledger, segment_bytes) = (&self.reclaim, self.segment_bytes());
        let scarce = self.space.is_scarce(&self.volume);
        let segments = self.volume.segments();
        let change = if scarce {
            segment_bytes / RECLAIM_LOOK_AGAIN_PART
        } else {
            segment_bytes * (segments.len() as u64).div_ceil(RECLAIM_LOOK_AGAIN_SEGMENTS)
        };
        let emptied = ledger.emptied_segments();
        let damaged = ledger.damaged.borrow();
        let mut unknown = Vec::new();
        let mut worth: Vec<(u128, SegmentReport)> = Vec::new();
        for segment in segments {
            let left_alone = emptied.contains(&segment.index)
                || damaged.contains(&segment.index)
                || segment.state != SegmentState::Sealed
                || !ledger.is_worth_asking(segment.index, segment_bytes, change);
            match ledger.estimate(segment.index) {
                _ if left_alone => {}
                None => unknown.push(segment),
                Some(bytes) if self.pays(bytes, 1) => {
                    worth.push((self.rank(&segment, bytes, scarce), segment))
                }
                Some(_) => {}
            }
        }
        worth.sort_by_key(|(rank, segment)| (std::cmp::Reverse(*rank), segment.first_lsn));
        unknown.sort_by_key(|segment| segment.first_lsn);
        let known_max =
            RECLAIM_SEGMENTS_ASKED_MAX - unknown.len().min(RECLAIM_SEGMENTS_ASKED_MAX / 2);
        let mut candidates: Vec<_> = worth
            .into_iter()
            .take(known_max)
            .map(|(_, segment)| segment)
            .collect();
        candidates.extend(
            unknown
                .into_iter()
                .take(RECLAIM_SEGMENTS_ASKED_MAX - candidates.len()),
        );
        candidates
    }

    /// Greater is better. Where room is scarce the cheapest is best, else cost, benefit and age decide.
    fn rank(&self, segment: &SegmentReport, write_bytes: u64, scarce: bool) -> u128 {
        let age = if scarce { 1_000_000 } else { self.age(segment) };
        score(age, write_bytes, self.segment_bytes())
    }

    /// The best of the candidates, now that it is known what lives in them, with their records.
    pub(crate) async fn choose(
        self: &Rc<Self>,
        tenant: &dyn Tenant,
        segments: Vec<SegmentReport>,
        located: &[Located],
    ) -> Result<Vec<Victim>, StoreFault> {
        let scarce = self.space.is_scarce(&self.volume);
        let mut candidates: Vec<Candidate> = Vec::new();
        for report in segments {
            let (bodies_bytes, copied_bytes) = self.weigh(tenant, report.index, located);
            // Bodies are copied many at once, and a batch lies in one segment.
            let piece_bytes = copied_bytes.min(RECLAIM_COPY_BYTES as u64);
            self.reclaim.note_asked(report.index, bodies_bytes);
            if self.pays(bodies_bytes, 1) {
                candidates.push(Candidate {
                    report,
                    bodies_bytes,
                    copied_bytes,
                    records_bytes: 0,
                    piece_bytes,
                });
            }
        }
        let rank = |one: &Candidate| self.rank(&one.report, one.write_bytes(), scarce);
        candidates.sort_by_key(|one| (std::cmp::Reverse(rank(one)), one.report.first_lsn));
        let mut held_bytes = 0;
        let mut read: Vec<(Candidate, Victim)> = Vec::new();
        for mut candidate in candidates.into_iter().take(RECLAIM_SEGMENTS_READ_MAX) {
            if held_bytes > RECLAIM_RECORDS_HELD_BYTES {
                break;
            }
            let records = match self.records_of(candidate.report.index).await {
                Ok(records) => records,
                Err(StoreFault::Damaged) => {
                    let segment = candidate.report.index;
                    tracing::warn!(segment = segment.0, "a segment with damage is kept");
                    self.reclaim.damaged.borrow_mut().push(segment);
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            held_bytes += records
                .iter()
                .map(|(_, record)| record.payload.len() + 32)
                .sum::<usize>();
            candidate.records_bytes = tenant.carried_bytes(&records).await?;
            let group_bytes = self.sizes.group_fixed_bytes_max as u64;
            let record_bytes = candidate.records_bytes.min(group_bytes);
            candidate.piece_bytes = candidate.piece_bytes.max(record_bytes);
            self.reclaim
                .note_asked(candidate.report.index, candidate.write_bytes());
            let victim = Victim {
                report: candidate.report.clone(),
                records,
                records_bytes: candidate.records_bytes,
            };
            read.push((candidate, victim));
        }
        read.sort_by_key(|(one, _)| (std::cmp::Reverse(rank(one)), one.report.first_lsn));
        self.take(tenant, read, scarce).await
    }

    /// Those that pay, as many as there is room for; else all together, where a snapshot that each of them needs is written once.
    async fn take(
        &self,
        tenant: &dyn Tenant,
        read: Vec<(Candidate, Victim)>,
        scarce: bool,
    ) -> Result<Vec<Victim>, StoreFault> {
        let costs_nothing = read.iter().any(|(one, _)| one.write_bytes() == 0);
        let mut budget = self.budget();
        let mut open = self.open_rest();
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for (one, victim) in read {
            let (bytes, room_bytes) = (one.write_bytes(), one.room_bytes());
            let lost_bytes = open.lost_bytes(&one);
            let fits = taken.len() < RECLAIM_VICTIMS_MAX
                && self.pays(bytes + lost_bytes, 1)
                && room_bytes <= budget
                && !(scarce && costs_nothing && bytes > 0);
            if fits {
                budget -= room_bytes;
                open.fill(room_bytes + lost_bytes);
                taken.push(victim);
            } else {
                left.push((one, victim));
            }
        }
        for (one, _) in &left {
            if self.pays(one.write_bytes() + open.lost_bytes(one), 1) {
                // It waits for its turn only.
                self.reclaim.note_left(one.report.index);
            }
        }
        if !taken.is_empty() || left.is_empty() {
            return Ok(taken);
        }
        self.take_together(tenant, left).await
    }

    /// As many as there is room for beside the snapshots that all of them need, if those pay together, or out of the credit.
    async fn take_together(
        &self,
        tenant: &dyn Tenant,
        mut left: Vec<(Candidate, Victim)>,
    ) -> Result<Vec<Victim>, StoreFault> {
        left.sort_by_key(|(one, _)| (one.copied_bytes, one.report.first_lsn));
        let records: Vec<_> = left
            .iter()
            .flat_map(|(_, victim)| victim.records.iter().cloned())
            .collect();
        let records_bytes = tenant.carried_bytes(&records).await?;
        drop(records);
        let mut room_bytes = self.room_bytes().saturating_sub(records_bytes);
        let fits = |(one, _): &&(Candidate, Victim)| {
            let fits = one.copied_bytes <= room_bytes;
            room_bytes = room_bytes.saturating_sub(one.copied_bytes);
            fits
        };
        let count = left.iter().take_while(fits).count();
        left.truncate(count);
        let bodies_bytes: u64 = left.iter().map(|(one, _)| one.bodies_bytes).sum();
        let lost_bytes = {
            let pieces = left.iter().map(|(one, _)| one.piece_bytes);
            let copied_bytes: u64 = left.iter().map(|(one, _)| one.copied_bytes).sum();
            let piece_bytes = pieces.max().unwrap_or(0);
            self.open_rest()
                .lost(copied_bytes + records_bytes, piece_bytes)
        };
        let credit = if self.space.is_pressed(&self.volume) {
            self.reclaim.credit_bytes()
        } else {
            0
        };
        let pays_bytes = count as u64 * self.segment_bytes() * (100 - self.gain_percent()) / 100;
        let short_bytes = (records_bytes + bodies_bytes + lost_bytes).saturating_sub(pays_bytes);
        if short_bytes > credit || records_bytes > self.room_bytes() {
            return Ok(Vec::new());
        }
        self.reclaim.spend(short_bytes);
        Ok(left.into_iter().map(|(_, victim)| victim).collect())
    }

    fn open_rest(&self) -> Rest {
        let room = self.volume.room();
        // Where reclaim begins a segment of its own, the checkpoint that follows gives the open one back.
        let blocks = if room.reclaim_begins {
            room.segment_pages
        } else {
            room.open_blocks
        };
        Rest {
            bytes: blocks * PAGE_BYTES as u64,
            segment_bytes: self.segment_bytes(),
            counts: self.space.is_scarce(&self.volume),
        }
    }

    /// Whether reclaim may go on and write so much: into another segment, or at least into the open one.
    pub(crate) fn admits_copies(&self, bytes: u64) -> bool {
        let room = self.volume.room();
        room.spare_segments > KEPT_FROM_RECLAIM
            || bytes <= room.reclaim_blocks * PAGE_BYTES as u64 / 8 * 7
    }

    /// Bytes that a pass may write at most, with what checkpoints need left.
    fn room_bytes(&self) -> u64 {
        let room = self.volume.room();
        let kept = KEPT_FROM_RECLAIM + usize::from(room.reclaim_begins);
        let spare = room.spare_segments.saturating_sub(kept) as u64;
        // Batches end on whole blocks, and a snapshot begins a batch of its own.
        (room.reclaim_blocks * PAGE_BYTES as u64 + spare * self.segment_bytes()) / 8 * 7
    }

    /// Bytes that a pass writes where each victim pays for itself: what is above the reserve, else `RESERVE_RECLAIM_SEGMENTS`. Should the power
    /// go before the pass is over, no more than that is lost to the next.
    fn budget(&self) -> u64 {
        let room = self.volume.room();
        let above = room
            .spare_segments
            .saturating_sub(self.space.kept_from_bodies(&room));
        let segments = above.max(RESERVE_RECLAIM_SEGMENTS) as u64;
        self.room_bytes().min(segments * self.segment_bytes())
    }

    /// What lives in `segment`, the records of the moves included; and the same with all of the large bodies of which a part is there. Those are
    /// copied whole, but what they leave in other segments is gained there.
    fn weigh(&self, tenant: &dyn Tenant, segment: SegmentIndex, located: &[Located]) -> (u64, u64) {
        let lives_there =
            |(_, places): &&Located| places.iter().any(|(place, _)| *place == segment);
        let there: Vec<&Located> = located.iter().filter(lives_there).collect();
        if there.is_empty() {
            return (0, 0);
        }
        let bodies: Vec<&BodyRef> = there.iter().map(|(body, _)| body).collect();
        let places = || there.iter().flat_map(|(_, places)| places);
        let here = places().filter(|(place, _)| *place == segment);
        let moves = tenant.moved_bytes(&bodies);
        let here_bytes = here.map(|(_, bytes)| bytes).sum::<u64>() + moves;
        let whole_bytes = places().map(|(_, bytes)| bytes).sum::<u64>() + moves;
        (here_bytes, whole_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_piece_loses_the_rest_of_the_segment_where_room_is_scarce() {
        let rest = |bytes, counts| Rest {
            bytes,
            segment_bytes: 256,
            counts,
        };
        // It fits.
        assert_eq!(rest(56, true).lost(56, 50), 0);
        // One piece of 207: what is left before it stays empty, and nothing is gained by copying it.
        assert_eq!(rest(56, true).lost(207, 200), 56);
        assert_eq!(rest(56, false).lost(207, 200), 0);
        // Small pieces fill the segment up to the last of them.
        assert_eq!(rest(56, true).lost(207, 3), 3);
    }

    #[test]
    fn what_is_filled_goes_on_in_the_next_segment() {
        let mut rest = Rest {
            bytes: 56,
            segment_bytes: 256,
            counts: true,
        };
        rest.fill(50);
        assert_eq!(rest.bytes, 6);
        rest.fill(56);
        assert_eq!(rest.bytes, 206);
        rest.fill(256 + 206);
        assert_eq!(rest.bytes, 0);
    }
}
