//! Proofs that a leg holds what the segment table says, without reading bodies (INVARIANTS.md I11): the tail and the superblocks
//! are read at every opening anyway; what lies before is proved by samples.
//!
//! A sealed segment's first block names the segment, its generation and the batch. A leg that was put back from an older
//! state, or whose device lost writes that it called durable, lacks the first blocks of the segments begun since: so one
//! block for each segment and leg finds it at any distance. A few of the newest are read before an opening is over, the rest
//! behind it, and all of them of a leg that returns. One missing block is rot: its segment is read whole and repaired. More
//! are a leg that went back: it leaves, and is trusted up to the first segment that it may lack.

use std::rc::Rc;

use device::{BLOCK_BYTES, DeviceIndex};

use crate::BATCH_HEADER_BYTES;
use crate::format::Header;
use crate::inner::Inner;
use crate::leg::read;
use crate::limits::{HEADS_AT_OPEN, HEADS_LACKING_MAX, HEADS_PAUSE_US, LEGS_MAX};
use crate::log::Mode;
use crate::scan::Union;
use crate::segment::Of;
use crate::segment::Table;
use crate::stream::{Found, Stream};
use crate::superblock::{SlotContent, decode_slot, slot_offset};
use crate::types::*;

/// A segment whose first block every leg must have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Headed {
    /// The segment, under the generation that the batches have.
    pub of: Of,
    /// Every batch up to here is in segments before it.
    pub before: Lsn,
}

/// Segments full of batches up to `until`, in log order.
pub(crate) fn headed(table: &Table, until: Lsn) -> Vec<Headed> {
    let order = table.in_log_order().into_iter();
    let full = order.filter(|&s| table.row(s).first > Lsn(0) && table.row(s).last <= until);
    let headed = full.map(|segment| Headed {
        of: Of {
            segment,
            generation: table.row(segment).generation,
        },
        before: Lsn(table.row(segment).first.0 - 1),
    });
    headed.collect()
}

/// What a leg surely holds that lacks the head of segment `index`: it may lack the end of the one before as well.
pub(crate) fn held_without(heads: &[Headed], index: usize) -> Lsn {
    index
        .checked_sub(1)
        .map_or(Lsn(0), |before| heads[before].before)
}

impl Inner {
    /// Whether the first batch of a segment stands on a device, as far as its header tells. `None`: it could not be read.
    async fn has_head(&self, device: DeviceIndex, of: Of) -> Option<bool> {
        let at = self.plan.at(of.segment, 0);
        let head = self.read_raw(device, at, BATCH_HEADER_BYTES).await.ok()?;
        let found = Header::decode(&head, self.id, of.segment, of.generation, 0).is_some();
        self.return_read_buffer(head);
        Some(found)
    }

    /// Whether `device` lacks the head of a segment that a serving leg has.
    pub async fn lacks_head(&self, device: DeviceIndex, of: Of) -> bool {
        // Twice: one read may have gone astray.
        for _ in 0..2 {
            if self.has_head(device, of).await != Some(false) {
                return false;
            }
        }
        for (_, other) in self.legs_where(|leg| leg.serves()) {
            if other != device && self.has_head(other, of).await == Some(true) {
                return true;
            }
        }
        false
    }

    /// Looks at the newest of `heads` on every serving leg: legs that lack too many, and how far each is trusted.
    pub async fn legs_without_heads(&self, heads: &[Headed]) -> Vec<(LegIndex, Lsn)> {
        let mut behind = Vec::new();
        let serving = self.legs_where(|leg| leg.serves());
        if serving.len() < 2 {
            return behind;
        }
        for (leg, device) in serving {
            let mut lacking = Vec::new();
            let older = heads.len().saturating_sub(HEADS_AT_OPEN);
            for (index, head) in heads.iter().enumerate().skip(older) {
                if self.lacks_head(device, head.of).await {
                    lacking.push(index);
                }
            }
            if lacking.len() > HEADS_LACKING_MAX {
                behind.push((leg, held_without(heads, lacking[0])));
            }
        }
        behind
    }

    /// Looks at every segment's head on every serving leg, slowly, newest first: what an opening could not wait for. `unsure`: a
    /// leg lacked batches behind the checkpoint, so those just before it are looked at one by one.
    pub async fn prove_heads(self: Rc<Self>, unsure: bool) {
        let (heads, last) = {
            let log = self.log.borrow();
            let last = segments_of_interval(log.table(), Lsn(0), log.checkpoint().lsn);
            (headed(log.table(), log.checkpoint().lsn), last)
        };
        if unsure {
            for of in last.into_iter().rev().take(2) {
                self.repair_segment(of).await;
            }
        }
        let mut lacking: Vec<Vec<usize>> = vec![Vec::new(); LEGS_MAX];
        for (index, headed) in heads.iter().enumerate().rev() {
            base::host::sleep_us(&*self.io.host, HEADS_PAUSE_US).await;
            let serving = self.legs_where(|leg| leg.serves());
            if serving.len() < 2 || self.is_stopped() {
                return;
            }
            for (leg, device) in serving {
                let lacks = self.lacks_head(device, headed.of).await;
                // Not when it was given back meanwhile, and used again.
                if lacks && self.is_of_now(headed.of) {
                    lacking[usize::from(leg.0)].push(index);
                }
            }
        }
        for (leg, lacking) in (0u8..).map(LegIndex).zip(lacking) {
            let Some(&oldest) = lacking.last() else {
                continue;
            };
            if lacking.len() > HEADS_LACKING_MAX {
                let holds = held_without(&heads, oldest);
                self.believe_up_to(leg, holds, "it lacks segments that it should hold");
                continue;
            }
            for of in &heads[oldest.saturating_sub(1)..=oldest] {
                self.repair_segment(of.of).await;
            }
        }
    }

    fn is_of_now(&self, of: Of) -> bool {
        self.log.borrow().table().row(of.segment).generation == of.generation
    }

    /// `leg` does not hold what it should: it leaves, and only what it held up to `holds` is trusted when it returns.
    /// The last leg stays; what it lacks is found by reads.
    pub fn believe_up_to(self: &Rc<Self>, leg: LegIndex, holds: Lsn, why: &str) {
        if matches!(
            self.log.borrow().mode(),
            Mode::ReadOnly(_) | Mode::Stopped(_)
        ) {
            return;
        }
        let others = self.legs_where(|other| other.serves());
        if others.iter().all(|(other, _)| *other == leg) {
            return;
        }
        {
            let mut legs = self.legs.borrow_mut();
            legs[leg].believe_up_to(holds);
        }
        self.suspect(leg, why);
    }

    /// Every batch of one segment, whole on every leg.
    async fn repair_segment(self: &Rc<Self>, of: Of) {
        let Some((now, end)) = self.settled_part(of.segment) else {
            return;
        };
        let mut block = 0;
        while block < end && now == of {
            match self.repair_batch(of, block).await {
                Ok(Some((header, _))) => block = header.end_block(),
                Ok(None) => block += 1,
                Err(_) => return,
            }
        }
    }

    /// The superblock written last must be on every counting leg. One that lost all copies of it went back in time while it
    /// was running: nothing else would say so before the next opening.
    pub async fn look_for_last_superblock(self: &Rc<Self>) {
        let (seq, hash) = {
            let _pass = self.publishing.enter().await;
            let log = self.log.borrow();
            (log.durable_seq(), log.parent())
        };
        if seq == 0 {
            return;
        }
        for (leg, device) in self.legs_where(|leg| leg.serves()) {
            let Some(frame) = self.legs.borrow()[leg].frame() else {
                continue;
            };
            let mut answered = true;
            let mut found = false;
            for (copy, ring) in frame.rings.into_iter().enumerate() {
                let at = ring + slot_offset(seq);
                match read(
                    &self.io,
                    device,
                    at,
                    BLOCK_BYTES,
                    self.settings.hard_deadline_us,
                )
                .await
                {
                    Ok(block) => {
                        let content = decode_slot(&block[..BLOCK_BYTES], copy, at);
                        found |=
                            matches!(content, SlotContent::Valid(slot) if slot.body_hash == hash);
                    }
                    Err(_) => answered = false,
                }
                if found || !answered {
                    break;
                }
            }
            if answered && !found {
                self.believe_up_to(
                    leg,
                    Lsn(0),
                    "the superblock that was written last is not on it",
                );
            }
        }
    }

    /// Looks at the arena pages of legs that lacked batches at the opening, now that their owner says what they should be.
    pub fn look_at_unsure_arenas(self: &Rc<Self>) {
        if self.log.borrow().is_read_only() {
            return; // nothing is written to a volume that is not owned
        }
        let mut legs = self.legs.borrow_mut();
        let mut unsure = false;
        for leg in legs.iter_mut() {
            unsure |= leg.take_arena_unsure();
        }
        if unsure {
            let inner = self.clone();
            self.io.host.spawn(Box::pin(async move {
                inner.scrub_arena(&mut ScrubReport::default()).await;
            }));
        }
    }
}

/// What the serving legs hold of the batches in (`from`, `until`], which lie before the checkpoint: for a leg that holds
/// only up to `from` by its own word. The segments are read whole.
pub(crate) async fn read_interval(
    inner: &Rc<Inner>,
    table: &Table,
    (from, until): (Lsn, Lsn),
) -> Union {
    let mut union = Union::default();
    for of in segments_of_interval(table, from, until) {
        let end = table
            .row(of.segment)
            .used_blocks
            .min(inner.plan.segment_blocks());
        for (leg, device) in inner.legs_where(|leg| leg.serves()) {
            let mut stream = Stream::new(inner.clone(), device, of, 0, end);
            // bounded by the segment
            loop {
                match stream.next().await {
                    Found::End => break,
                    Found::Batch(header, _) if header.lsn > from && header.lsn <= until => {
                        union.add(header, leg);
                    }
                    Found::Batch(..) => {}
                    Found::Nothing { .. } if stream.is_dead() => {
                        inner.suspect(leg, "it did not answer while its batches were proved");
                        break;
                    }
                    Found::Nothing { .. } => stream.skip_one().await,
                }
            }
        }
    }
    union
}

pub(crate) fn segments_of_interval(table: &Table, from: Lsn, until: Lsn) -> Vec<Of> {
    let order = table.in_log_order().into_iter();
    let wanted = order.filter(|&s| table.row(s).last > from && table.row(s).first <= until);
    wanted
        .map(|segment| Of {
            segment,
            generation: table.row(segment).generation,
        })
        .collect()
}
