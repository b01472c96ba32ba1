//! Refused writes: what they mean, and what happens while every leg refuses them (DESIGN.md B3).
//!
//! One leg that refuses leaves the mirror; all legs that refuse at once leave nobody. A thin pool that is full or an array that
//! restarts says nothing about one leg, so membership stays as it is, stored mail stays readable, new batches are refused, and those
//! that have an LSN wait in order. They are written again in their places at growing intervals until the legs take them.
//!
//! What must hold between calls: a refusal is judged only when no counting leg still has a write in flight (or the hard deadline
//! passed), so that "this leg" and "all legs" can be told apart; while the judgement is due nothing is submitted. A batch leaves the
//! pipeline by the same door as always: durable on every counting leg (`mirror`).

use std::rc::Rc;

use device::{DeviceIndex, IoFault};

use crate::format::{Holds, blocks_of};
use crate::gate::TIMED_OUT;
use crate::inner::Inner;
use crate::limits::{
    OUTAGE_MOVES_MAX, OUTAGE_RETRY_US_MAX, OUTAGE_RETRY_US_MIN, OUTAGE_TRIES_ALONE,
};
use crate::log::{Entry, LegWrite, Log, Mode};
use crate::types::*;

/// Legs that refused, and how.
type Refusing = Vec<(LegIndex, IoFault)>;

impl Inner {
    /// Decides what refused batches mean. `patient`: not while a counting leg has a write in flight, because it may refuse too.
    pub fn judge_refused(self: &Rc<Self>, patient: bool) {
        let judges = {
            let log = self.log.borrow();
            log.refused && matches!(log.mode, Mode::Running | Mode::Deferring(_))
        };
        if !judges {
            return;
        }
        let counting = self.legs_where(|leg| leg.counts() && !leg.failing);
        {
            let mut log = self.log.borrow_mut();
            let flies = |(leg, _): &(LegIndex, DeviceIndex)| {
                let mut submitted = log.pipeline.iter().take(log.submitted);
                submitted.any(|entry| matches!(entry.legs[leg.0 as usize], LegWrite::Flying { .. }))
            };
            if patient && counting.iter().any(flies) {
                return;
            }
            log.refused = false;
        }
        let refusing = self.refusing(&counting);
        let all = !refusing.is_empty() && refusing.len() == counting.len();
        let places_alone = refusing.iter().all(|(_, fault)| *fault == IoFault::Medium);
        if all && !(places_alone && self.may_move_once()) {
            self.begin_outage(&refusing);
            return;
        }
        for (leg, fault) in refusing {
            match fault {
                IoFault::Medium => self.give_up_segment(leg),
                fault => self.suspect(leg, &format!("a write failed: {fault}")),
            }
        }
        self.pump();
    }

    /// Those of `counting` that refused a batch.
    fn refusing(&self, counting: &[(LegIndex, DeviceIndex)]) -> Refusing {
        let log = self.log.borrow();
        let worst = |leg: LegIndex| {
            let submitted = log.pipeline.iter().take(log.submitted);
            let faults = submitted.filter_map(|entry| match entry.legs[leg.0 as usize] {
                LegWrite::Failed(fault) => Some(fault),
                _ => None,
            });
            // A bad place is the mildest of them: another place may be good.
            Some((leg, faults.max_by_key(|fault| *fault != IoFault::Medium)?))
        };
        counting.iter().filter_map(|(leg, _)| worst(*leg)).collect()
    }

    /// Batches were refused in their places, and there are no others: the legs that refused leave, or it is an outage.
    pub fn judge_without_places(self: &Rc<Self>) {
        let counting = self.legs_where(|leg| leg.counts() && !leg.failing);
        let refusing = self.refusing(&counting);
        if !refusing.is_empty() && refusing.len() == counting.len() {
            self.begin_outage(&refusing);
            return;
        }
        for (leg, fault) in refusing {
            let why = format!("a write failed, and no segment is left for another try: {fault}");
            self.suspect(leg, &why);
        }
    }

    /// Moves every batch that is not durable, or none of them.
    pub fn move_if_places(&self) -> Result<(), ()> {
        if self.have_places(&self.log.borrow()) {
            return self.move_pipeline();
        }
        Err(())
    }

    /// Whether the batches that every leg refused have been in one place only: two places that are bad on every leg are none of the
    /// places' fault.
    fn may_move_once(&self) -> bool {
        let log = self.log.borrow();
        log.table.room_segments() > 0
            && log.pipeline.front().is_some_and(|entry| entry.attempt == 0)
            && self.have_places(&log)
    }

    /// Whether every batch that is not durable has another place now: none is moved otherwise, because no claim can be made either while every
    /// leg refuses.
    fn have_places(&self, log: &Log) -> bool {
        let mut table = log.table.clone();
        let mut moved_segments = Vec::new();
        for entry in &log.pipeline {
            if !moved_segments.contains(&entry.segment) {
                moved_segments.push(entry.segment);
                table.seal_before(entry.segment, entry.block, entry.lsn);
            }
        }
        log.pipeline.iter().all(|entry| {
            let place = table.place(
                entry.lsn,
                blocks_of(entry.payload_bytes),
                self.plan.segment_blocks(),
                Holds::of(entry.kind, &entry.inline),
                |row| row.known <= log.acked,
            );
            place.is_some()
        })
    }

    /// Whether the batches may move once more: their places are bad on every leg, and that costs no reserve.
    fn may_move_again(&self, refusing: &Refusing) -> bool {
        let log = self.log.borrow();
        let front = log.pipeline.front();
        refusing.iter().all(|(_, fault)| *fault == IoFault::Medium)
            && !self.writes_fly()
            && log.table.room_segments() > 0
            && front.is_some_and(|entry| entry.attempt < OUTAGE_MOVES_MAX)
            && self.have_places(&log)
    }

    fn move_in_outage(self: &Rc<Self>) {
        // Without other places they are tried in their own again.
        let _ = self.move_if_places();
    }

    /// Every counting leg refuses: nobody leaves. Those whose leaving is not recorded yet count as before.
    pub fn begin_outage(self: &Rc<Self>, refusing: &[(LegIndex, IoFault)]) {
        self.begin_outage_because(refusal_of_all(refusing));
    }

    pub fn begin_outage_because(self: &Rc<Self>, why: String) {
        if self.log.borrow().table.opening {
            // Nothing is owned yet and nobody waits: the next start tries again.
            self.stop(&why);
            return;
        }
        for leg in self.legs.borrow_mut().iter_mut() {
            // One that does not hold what it should leaves all the same; another one serves then (`prove`).
            if leg.counts() && leg.proven.is_none() {
                (leg.failing, leg.alone, leg.why) = (false, false, None);
            }
        }
        self.arena.set_legs(self);
        {
            let mut log = self.log.borrow_mut();
            if !matches!(log.mode, Mode::Running | Mode::Deferring(_)) {
                return;
            }
            log.refused = false;
            log.mode = Mode::Outage(why.clone());
        }
        tracing::error!(
            why,
            "no leg takes writes; stored mail is served, new mail waits at its senders"
        );
        self.count(|c| c.outages += 1);
        self.moved.ring();
        self.io.host.spawn(Box::pin(outlast(self.clone())));
    }

    /// Writes what waits again, in its place; without any, a superblock. Gives the counting legs that refuse.
    async fn try_again(self: &Rc<Self>) -> Refusing {
        let waiting: Vec<Lsn> = {
            let log = self.log.borrow();
            let submitted = log.pipeline.iter().take(log.submitted);
            submitted.map(|entry| entry.lsn).collect()
        };
        if waiting.is_empty() {
            // It tries until they are durable on every leg that counts, and takes out who alone refuses.
            let _ = self.publish().await;
            return Refusing::new();
        }
        // One that has everything already has taken nothing just now.
        let mut refusing: Refusing = self.refusing_guards().await;
        for lsn in waiting {
            let counting = self.legs_where(|leg| leg.counts() && !leg.failing);
            let mut writes = Vec::new();
            for (leg, device) in counting {
                if refusing.iter().all(|(refuses, _)| *refuses != leg) {
                    writes.push((leg, Box::pin(self.write_lacking(lsn, leg, device))));
                }
            }
            if writes.is_empty() {
                break;
            }
            for (leg, result) in crate::gate::all(writes.into_iter()).await {
                if let Err(fault) = result {
                    refusing.push((leg, fault));
                }
            }
        }
        refusing
    }

    /// Writes batch `lsn` to a leg that does not have it, the same bytes in the same place.
    async fn write_lacking(
        &self,
        lsn: Lsn,
        leg: LegIndex,
        device: DeviceIndex,
    ) -> Result<(), IoFault> {
        let (attempt, at, data, bytes) = {
            let log = self.log.borrow();
            let Some(entry) = entry_at(log.pipeline.iter(), lsn) else {
                return Ok(()); // acknowledged meanwhile
            };
            match entry.legs[leg.0 as usize] {
                LegWrite::Durable => return Ok(()),
                LegWrite::Flying { .. } => return Err(TIMED_OUT),
                LegWrite::Absent | LegWrite::Failed(_) => {}
            }
            let at = self.plan.at(entry.segment, entry.block);
            (entry.attempt, at, entry.buffer.clone(), entry.bytes())
        };
        let result = self.write_raw(device, at, data, bytes).await;
        let mut log = self.log.borrow_mut();
        let entry = log.pipeline.iter_mut().find(|entry| entry.lsn == lsn);
        if let Some(entry) = entry.filter(|entry| entry.attempt == attempt) {
            entry.legs[leg.0 as usize] = match result {
                Ok(()) => LegWrite::Durable,
                Err(fault) => LegWrite::Failed(fault),
            };
        }
        result
    }
}

fn entry_at<'a>(mut entries: impl Iterator<Item = &'a Entry>, lsn: Lsn) -> Option<&'a Entry> {
    entries.find(|entry| entry.lsn == lsn)
}

/// One sentence: who refuses what, and what becomes of it.
pub(crate) fn refusal_of_all(refusing: &[(LegIndex, IoFault)]) -> String {
    let legs: Vec<String> = refusing
        .iter()
        .map(|(leg, fault)| format!("leg {}: {fault}", leg.0))
        .collect();
    let gone = refusing.iter().any(|(_, fault)| *fault == IoFault::Gone);
    let what_to_do = if gone { WHEN_GONE } else { "" };
    format!(
        "every leg refuses writes ({}); they are tried again automatically{what_to_do}",
        legs.join(", ")
    )
}

/// As `refusal_of_all`, where the last leg failed otherwise.
pub(crate) fn no_leg_left(leg: LegIndex, why: &str) -> String {
    format!(
        "every leg fails (the last one, leg {}: {why}); they are tried again automatically{WHEN_GONE}",
        leg.0
    )
}

const WHEN_GONE: &str = "; a device that was gone is opened again by a restart of ringpostd";

/// Tries again until the legs take what waits, or until it shows that only some of them do.
async fn outlast(inner: Rc<Inner>) {
    let mut pause_us = OUTAGE_RETRY_US_MIN;
    let mut tries_alone = 0;
    // until the outage is over, or the volume stops
    loop {
        inner.rest(pause_us).await;
        if !matches!(inner.log.borrow().mode, Mode::Outage(_)) {
            return;
        }
        let refusing = inner.try_again().await;
        if !matches!(inner.log.borrow().mode, Mode::Outage(_)) {
            return;
        }
        let counting = inner.legs_where(|leg| leg.counts() && !leg.failing);
        if refusing.is_empty() {
            break;
        }
        if refusing.len() < counting.len() {
            tries_alone += 1;
            pause_us = OUTAGE_RETRY_US_MIN;
            if tries_alone >= OUTAGE_TRIES_ALONE {
                for (leg, fault) in refusing {
                    inner.legs.borrow_mut()[leg.0 as usize].alone = true;
                    inner.condemn(
                        leg,
                        &format!("it refuses writes that another leg takes: {fault}"),
                    );
                }
                break;
            }
        } else {
            tries_alone = 0;
            pause_us = (pause_us * 2).min(OUTAGE_RETRY_US_MAX);
            if pause_us == OUTAGE_RETRY_US_MAX && inner.may_move_again(&refusing) {
                inner.move_in_outage();
            }
            inner.log.borrow_mut().mode = Mode::Outage(refusal_of_all(&refusing));
        }
    }
    {
        let mut log = inner.log.borrow_mut();
        if !matches!(log.mode, Mode::Outage(_)) {
            return;
        }
        // What landed meanwhile is judged like any other.
        (log.mode, log.refused) = (Mode::Running, true);
    }
    tracing::info!("the legs take writes again");
    inner.settle();
    inner.judge_refused(true);
}
