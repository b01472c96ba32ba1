//! Bringing a leg (back) in: the story of a leg that comes back.
//!
//! A returned leg gets exactly the batches that it missed, a blank one every live batch. Both are the same walk from an LSN on; for the
//! blank leg that LSN is zero.
//!
//! # Whether it may come back
//!
//! Volume id, leg id and the device's own name must agree with the member table (I15). A leg of another volume, a copy of a leg that is here,
//! and a leg with a later epoch (it went on elsewhere) are refused by name. So is a device with operations still in flight from before: a late write
//! that lands after the copy, in a segment that is used again, would be rot that no error reports.
//!
//! # What it is trusted to hold
//!
//! The least of three: what the survivors' member table says (`stale_since`), what its own superblocks prove, and the batch before the
//! first segment whose first block it lacks (`believe_heads`). It may come back older than it left, for instance from a snapshot. Trust
//! can only be lowered here, and is lowered durably before anything is copied, so that an interrupted copy begins with the heads
//! again. There is no bitmap of dirty blocks that could be cleared by mistake (I11): what a leg lacks is an interval of LSNs.
//!
//! # Two streams that do not meet
//!
//! From `admit` on the leg gets every new batch and page, and does not count. What was in flight at that moment may have missed it, so
//! `join` is the first number behind all of that, and the copy begins when everything before `join` is acknowledged and so can be read. The copy
//! then works on numbers below `join`, the foreground on those from `join` on. Batches never change once written, so
//! neither has to wait for the other, and no order between them has to be kept. A segment is pinned while it is copied: it may be
//! given back meanwhile, but it is not used again under the copy.
//!
//! # The copy
//!
//! In LSN order: each batch is read and proved on a leg in sync, written, read back and compared (I4). What the survivors
//! believed the leg to have and it did not prove is read there first, and written only where it differs; a leg that had lacked such a batch
//! gets every arena page too. The cursor is `stale_since` itself. It goes into the superblocks every `CURSOR_SEGMENTS` segments, so an
//! interrupted copy goes on there, after a restart too. A batch that no leg has whole is on the damage list, and the copy
//! continues behind it: one bad sector never restarts a rebuild.
//!
//! # The barrier
//!
//! At the end nothing is submitted for a moment: no batch in flight on any leg, no page being written. Then the witness counts the leg
//! under the next epoch, the superblocks say so, and it serves. If a write does not end within twice the hard deadline, the attach
//! ends instead of holding all callers up. If the witness does not answer, the volume goes on without the leg and asks again.
//!
//! # When it fails on the way
//!
//! Every failure is one end (`Ended`): the leg is put out, with the reason in `leg list`, and `stale_since` stays where the copy had come
//! to. A later attach of the same leg has a new session, and the old task stops at its next step (`still`).
//!
//! # What it costs
//!
//! - Every byte copied is one read on a leg in sync, one write and one read on the returning leg.
//! - Whole batches are copied, dead records among them: this crate does not know which records are wanted.
//! - The leg does not count before the end. If the only other leg dies a minute earlier, what was copied does not save the mail
//!   that came in since; a bridge that would count from its first batch on is not built.
//! - The rate is not limited, so a copy competes with mail for the devices.
//! - Acknowledgements wait during the barrier, and for one witness record and one superblock each time.

use std::rc::Rc;
use std::sync::Arc;

use base::hash::xxh3_128;
use bytes::Bytes;
use device::{BLOCK_BYTES, Buffer, DeviceIndex, IoFault};

use crate::format::Header;
use crate::gate::within;
use crate::inner::Inner;
use crate::layout::Frame;
use crate::leg::{Probe, clear, probe, wwid};
use crate::legs::Leg;
use crate::limits::{CURSOR_SEGMENTS, LEGS_MAX, STREAM_READ_BYTES, WITNESS_RETRY_US};
use crate::log::Mode;
use crate::prove::{headed, held_without};
use crate::segment::Of;
use crate::trust::{moved, too_short};
use crate::types::*;
use crate::walk::Walk;

/// Why a copy ended early: the leg failed, another attach took over, or the volume stopped.
pub(crate) struct Ended;

/// One attach of one leg.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The leg's row in the member table.
    pub leg: LegIndex,
    /// The device that it came back on.
    pub device: DeviceIndex,
    /// By which work of an earlier attach notices that it is over.
    session: u64,
    /// Batches up to here should be on the leg: they are read there first, and written only where they differ.
    believed: Lsn,
}

impl Inner {
    /// See `Volume::attach`. One at a time: two that look at the same blank device would each make a member of it.
    pub async fn attach(self: &Rc<Self>, device: DeviceIndex) -> Result<LegIndex, OpenRefusal> {
        let _pass = self.attaching.enter().await;
        let name = self.io.device.geometry(device).stable_id;
        if self
            .legs
            .borrow()
            .iter()
            .any(|leg| leg.device() == Some(device))
        {
            return misfit(format!("device {name} is already a leg of this volume"));
        }
        let in_flight = self.io.device.in_flight(device);
        if in_flight > 0 {
            return misfit(format!(
                "device {name} still has {in_flight} operations from before; attach it again when they have ended"
            ));
        }
        if let Mode::Stopped(why) | Mode::ReadOnly(why) = self.log.borrow().mode() {
            return misfit(format!("the volume accepts no legs now: {why}"));
        }
        let believed = |slot: LegIndex| self.legs.borrow()[slot].stale_since();
        let (slot, frame, believed) = match probe(&self.io, device, self.settings.hard_deadline_us)
            .await
        {
            Probe::Unusable(why) => return misfit(why),
            Probe::Leg(quorum, frame) => {
                let theirs = quorum.superblock.volume;
                if theirs != self.id {
                    return misfit(format!(
                        "device {name} belongs to volume {theirs}, not to {}",
                        self.id
                    ));
                }
                if quorum.superblock.epoch > self.log.borrow().epoch() {
                    return misfit(format!(
                        "device {name} has a later epoch than this volume: it was used elsewhere since"
                    ));
                }
                if quorum.superblock.plan != self.plan || !self.plan.fits(&frame) {
                    return misfit(too_short(&name, quorum.leg, self.plan.segments_end()));
                }
                let slot = self.returning_slot(device, quorum.leg, &name)?;
                let believed = believed(slot);
                self.believe_no_further(slot, quorum.proves());
                (slot, frame, believed)
            }
            Probe::Blank(frame) => (self.blank_slot(device, &frame, &name).await?, frame, Lsn(0)),
        };
        let target = self.admit(slot, device, frame, believed);
        self.publish()
            .await
            .or_else(|fault| misfit(fault.to_string()))?;
        self.io.host.spawn(Box::pin(follow(self.clone(), target)));
        Ok(slot)
    }

    /// The member that a returned leg is, if it may come back on this device (I15: volume, leg and device name).
    fn returning_slot(
        &self,
        device: DeviceIndex,
        id: LegId,
        name: &str,
    ) -> Result<LegIndex, OpenRefusal> {
        let legs = self.legs.borrow();
        let Some(slot) = legs.position(|leg| leg.id() == id && !leg.is_retired()) else {
            return misfit(format!(
                "leg {id} on device {name} is no longer a member of this volume: blank it first"
            ));
        };
        if legs[slot].device().is_some() {
            return misfit(format!(
                "leg {id} is already here on another device: {name} is a copy of it"
            ));
        }
        if legs[slot].wwid() != wwid(&self.io, device) && !self.settings.accept_moved {
            return misfit(moved(name, id));
        }
        Ok(slot)
    }

    /// Makes a member of a blank device: a new leg, stale since the beginning.
    async fn blank_slot(
        self: &Rc<Self>,
        device: DeviceIndex,
        frame: &Frame,
        name: &str,
    ) -> Result<LegIndex, OpenRefusal> {
        let plan = self.plan;
        if frame.segments_at != plan.segments_at
            || frame.segments(plan.segment_bytes) < u64::from(plan.segment_count)
        {
            return misfit(format!(
                "device {name} is too small (or differs too much from the others) for volume {}: {} segments of {} bytes are needed",
                self.id, plan.segment_count, plan.segment_bytes
            ));
        }
        let own_name = wwid(&self.io, device);
        let id = {
            let log = self.log.borrow();
            let mut bytes = self.id.0.to_vec();
            for part in [
                log.epoch(),
                log.seq(),
                own_name,
                self.io.host.unix_seconds() as u64,
            ] {
                bytes.extend_from_slice(&part.to_le_bytes());
            }
            LegId(xxh3_128(&bytes, 0).to_le_bytes())
        };
        let cleared = clear(
            &self.io,
            device,
            frame,
            self.id,
            id,
            self.settings.hard_deadline_us,
        )
        .await;
        if let Err(fault) = cleared {
            return misfit(format!(
                "device {name} could not be formatted: {fault}; replace it"
            ));
        }
        let fresh = Leg::absent(id, LegState::Stale, Lsn(0), own_name);
        match self.legs.borrow_mut().place_for(fresh) {
            Some(slot) => Ok(slot),
            None => misfit(format!(
                "the volume already has {LEGS_MAX} legs; retire one first"
            )),
        }
    }

    /// Lowers what a leg that is not in sync is trusted to hold. It can only be lowered.
    fn believe_no_further(&self, slot: LegIndex, holds: Lsn) {
        self.legs.borrow_mut()[slot].believe_no_further(holds);
    }

    /// From here on the leg gets everything new.
    fn admit(&self, slot: LegIndex, device: DeviceIndex, frame: Frame, believed: Lsn) -> Target {
        let mut legs = self.legs.borrow_mut();
        let leg = &mut legs[slot];
        let session = leg.admit(device, frame, wwid(&self.io, device));
        tracing::info!(leg = %leg.id(), stale_since = leg.stale_since().0, "a leg is being brought up to date");
        Target {
            leg: slot,
            device,
            session,
            believed,
        }
    }

    /// `Err` as soon as this attach is over.
    pub fn still(&self, target: Target) -> Result<(), Ended> {
        let legs = self.legs.borrow();
        let leg = &legs[target.leg];
        let same = leg.session() == target.session
            && leg.device() == Some(target.device)
            && !leg.is_failing();
        if same && !self.is_stopped() {
            Ok(())
        } else {
            Err(Ended)
        }
    }

    /// Up to here the leg is trusted now: where an interrupted copy would go on.
    fn stale_since(&self, target: Target) -> Lsn {
        self.legs.borrow()[target.leg].stale_since()
    }

    /// Lowers what the leg is trusted to hold to before the first segment whose head it lacks, and records that before anything is
    /// copied: a copy that is interrupted begins with the heads.
    async fn believe_heads(self: &Rc<Self>, target: Target) -> Result<(), Ended> {
        let until = self.stale_since(target);
        let heads = headed(self.log.borrow().table(), until);
        for (index, head) in heads.iter().enumerate() {
            self.still(target)?;
            if self.lacks_head(target.device, head.of).await {
                self.believe_no_further(target.leg, held_without(&heads, index));
                self.legs.borrow_mut()[target.leg].miss_unknown_pages();
                return self.publish().await.map_err(|_| Ended);
            }
        }
        Ok(())
    }

    /// Copies every live batch in (`stale_since`, `join`), in LSN order.
    async fn copy_batches(self: &Rc<Self>, target: Target, join: Lsn) -> Result<(), Ended> {
        let from = self.stale_since(target);
        let segments: Vec<(Of, u64)> = {
            let log = self.log.borrow();
            let order = log.table().in_log_order().into_iter();
            let wanted = order
                .filter(|&s| log.table().row(s).last > from && log.table().row(s).first < join);
            wanted
                .map(|segment| {
                    let row = log.table().row(segment);
                    let of = Of {
                        segment,
                        generation: row.generation,
                    };
                    (of, u64::from(row.used_blocks) * BLOCK_BYTES as u64)
                })
                .collect()
        };
        self.progress(target, 0, segments.iter().map(|(_, bytes)| bytes).sum());
        for (count, (of, bytes)) in segments.into_iter().enumerate() {
            // Pinned: a freed segment must not be reused while old bytes are still being written into it.
            self.log.borrow_mut().table_mut().pin(of.segment);
            let copied = self.copy_segment(target, of, from, join).await;
            self.log.borrow_mut().table_mut().unpin(of.segment);
            copied?;
            self.progress(target, bytes, 0);
            if (count + 1) % CURSOR_SEGMENTS == 0 {
                self.publish().await.map_err(|_| Ended)?;
            }
        }
        Ok(())
    }

    /// Progress in bytes, for `leg list`.
    pub fn progress(&self, target: Target, done: u64, more: u64) {
        self.legs.borrow_mut()[target.leg].note_progress(done, more);
    }

    /// Copies what is live in one segment, from `from` on and before `join`. The segment may be given back meanwhile;
    /// then it has nothing that matters.
    async fn copy_segment(
        self: &Rc<Self>,
        target: Target,
        of: Of,
        from: Lsn,
        join: Lsn,
    ) -> Result<(), Ended> {
        let mut walk = Walk::of_segment(self.clone(), of.segment);
        let mut chunk: Vec<(Header, Bytes)> = Vec::new();
        let mut last = Lsn(0);
        // bounded by the segment
        loop {
            self.still(target)?;
            let next = match walk.next_any().await {
                Ok(next) => next.filter(|(header, _)| header.lsn < join),
                // On the damage list already; what lies behind it is copied.
                Err(ReadFault::Damaged) => continue,
                // Given back meanwhile: what still matters of it has later LSNs.
                Err(ReadFault::Stale) => return Ok(()),
                Err(ReadFault::Unavailable) => return Err(Ended),
            };
            let wanted = next.filter(|(header, _)| header.generation == of.generation);
            let Some((header, bytes)) = wanted else {
                self.copy_chunk(target, of, &chunk).await?;
                self.legs.borrow_mut()[target.leg].copied_up_to(last);
                return Ok(());
            };
            if header.lsn <= from {
                continue;
            }
            last = header.lsn;
            let size: usize = chunk.iter().map(|(_, bytes)| bytes.len()).sum();
            // What is compared and what is only written goes in different chunks.
            let follows = chunk.last().is_none_or(|(before, _)| {
                before.end_block() == header.block
                    && (before.lsn <= target.believed) == (header.lsn <= target.believed)
            });
            if !chunk.is_empty() && (!follows || size + bytes.len() > STREAM_READ_BYTES) {
                self.copy_chunk(target, of, &chunk).await?;
                chunk.clear();
            }
            chunk.push((header, bytes));
        }
    }

    /// Neighbouring batches at once: those that should be there are compared; the others, and what differs, are written, read
    /// back and compared.
    async fn copy_chunk(
        &self,
        target: Target,
        of: Of,
        chunk: &[(Header, Bytes)],
    ) -> Result<(), Ended> {
        let Some((first, _)) = chunk.first() else {
            return Ok(());
        };
        let size = chunk.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut data = Buffer::zeroed(size);
        let mut at = 0;
        for (_, bytes) in chunk {
            data[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        }
        let at = self.plan.at(of.segment, first.block);
        if first.lsn <= target.believed {
            if let Ok(there) = self.read_raw(target.device, at, size).await {
                let same = there[..size] == data[..];
                self.return_read_buffer(there);
                if same {
                    return Ok(());
                }
            }
            tracing::warn!(
                leg = target.leg.0,
                lsn = first.lsn.0,
                "a leg came back without a batch that it had"
            );
            self.legs.borrow_mut()[target.leg].miss_unknown_pages();
        }
        self.copy_verified(target, at, data).await
    }

    /// Writes, reads back and compares. A device that does not give back what was written to it does not get the leg.
    pub async fn copy_verified(&self, target: Target, at: u64, data: Buffer) -> Result<(), Ended> {
        self.still(target)?;
        let size = data.len();
        let data = Arc::new(data);
        let mut result = self.write_raw(target.device, at, data.clone(), size).await;
        if result == Err(IoFault::Medium) {
            result = self.write_raw(target.device, at, data.clone(), size).await;
        }
        if result.is_ok() {
            result = match self.read_raw(target.device, at, size).await {
                Ok(back) if back[..size] == data[..] => {
                    self.return_read_buffer(back);
                    Ok(())
                }
                Ok(_) => Err(IoFault::Medium),
                Err(fault) => Err(fault),
            };
        }
        result.map_err(|fault| {
            self.legs.borrow_mut()[target.leg].note_write_fault();
            self.note_why(target, &format!("a copy did not hold: {fault}"));
            Ended
        })
    }

    /// The barrier: nothing in flight, nothing being written in the arena, then the witness counts the leg. `Ok(false)`: the
    /// witness could not be asked; everything goes on without the leg meanwhile.
    async fn join(self: &Rc<Self>, target: Target) -> Result<bool, Ended> {
        let _pass = self.arena_writing.enter().await;
        self.log.borrow_mut().raise_barrier();
        let joined = self.join_behind_barrier(target).await;
        self.log.borrow_mut().lower_barrier();
        self.settle();
        joined
    }

    /// The barrier itself, raised by `join`.
    async fn join_behind_barrier(self: &Rc<Self>, target: Target) -> Result<bool, Ended> {
        let patience_us = 2 * self.settings.hard_deadline_us;
        let until = self.io.host.now().after_us(patience_us);
        // until nothing is in flight on any leg; everybody waits meanwhile, so not for ever
        loop {
            let moved = self.moved.wait();
            self.still(target)?;
            let quiet =
                self.log.borrow().in_flight() == 0 && self.legs.borrow()[target.leg].flying() == 0;
            if quiet {
                break;
            }
            if within(&*self.io.host, patience_us, moved).await.is_none()
                || self.io.host.now() > until
            {
                self.note_why(target, "a write did not end while the volume waited for it");
                return Err(Ended);
            }
        }
        self.legs.borrow_mut()[target.leg].may_join();
        self.publish().await.map_err(|_| Ended)?;
        self.still(target)?;
        Ok(self.legs.borrow()[target.leg].counts())
    }

    /// Why the attach does not come to its end, for `leg list`.
    fn note_why(&self, target: Target, why: &str) {
        self.legs.borrow_mut()[target.leg].note_why(target.session, why);
    }
}

/// The background task of one attach.
async fn follow(inner: Rc<Inner>, target: Target) {
    if catch_up(&inner, target).await.is_err()
        && inner.legs.borrow()[target.leg].session() == target.session
    {
        let why = inner.legs.borrow()[target.leg].why().map(str::to_owned);
        inner.suspect(
            target.leg,
            &why.unwrap_or_else(|| "it could not be brought up to date".into()),
        );
    }
}

/// One attach from its beginning to the moment when the leg counts.
async fn catch_up(inner: &Rc<Inner>, target: Target) -> Result<(), Ended> {
    // Everything submitted from here on reaches the leg by itself; what is in flight just now may not.
    let join = {
        let log = inner.log.borrow();
        Lsn(log.acked().0 + log.in_flight() as u64 + 1)
    };
    // until everything before `join` is acknowledged, and so readable
    loop {
        let moved = inner.moved.wait();
        inner.still(target)?;
        if inner.log.borrow().acked().next() >= join {
            break;
        }
        moved.await;
    }
    inner.believe_heads(target).await?;
    inner.copy_batches(target, join).await?;
    inner.copy_arena(target).await?;
    // Before the witness counts it the leg itself says how far it has come: should the power go while it joins, the next opening
    // has little to prove.
    inner.publish().await.map_err(|_| Ended)?;
    // until the witness counts it, or this attach is over
    while !inner.join(target).await? {
        base::host::sleep_us(&*inner.io.host, WITNESS_RETRY_US).await;
    }
    Ok(())
}
