//! Refused writes: what they mean, and what happens while every leg refuses them (DESIGN.md B3).
//!
//! One leg that refuses leaves the mirror; when all legs refuse at once, no leg leaves. A thin pool that is full or an array that
//! restarts says nothing about one leg, so membership stays as it is, stored mail stays readable, new batches are refused, and those
//! that have an LSN wait in order. They are written again in their places at growing intervals until the legs take them.
//!
//! What must hold between calls: a refusal is judged only when no counting leg still has a write in flight (or the hard deadline
//! passed), so that "this leg" and "all legs" can be told apart; while the judgement is due nothing is submitted. A batch leaves the
//! pipeline by the same door as always: durable on every counting leg (`mirror`).

use std::rc::Rc;

use device::{DeviceIndex, IoFault};

use crate::gate::TIMED_OUT;
use crate::inner::Inner;
use crate::limits::{
    OUTAGE_MOVES_MAX, OUTAGE_RETRY_US_MAX, OUTAGE_RETRY_US_MIN, OUTAGE_TRIES_ALONE,
};
use crate::log::LegWrite;
use crate::types::*;

/// Legs that refused, and how.
type Refusing = Vec<(LegIndex, IoFault)>;

impl Inner {
    /// Decides what refused batches mean. `patient`: not while a counting leg has a write in flight, because it may refuse too.
    pub fn judge_refused(self: &Rc<Self>, patient: bool) {
        if !self.log.borrow().is_to_be_judged() {
            return;
        }
        let counting = self.legs_where(|leg| leg.counts() && !leg.is_failing());
        {
            let mut log = self.log.borrow_mut();
            let flies = |(leg, _): &(LegIndex, DeviceIndex)| {
                let mut submitted = log.submitted();
                submitted.any(|entry| matches!(entry.on(*leg), LegWrite::Flying { .. }))
            };
            if patient && counting.iter().any(flies) {
                return;
            }
            log.judged();
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
            let submitted = log.submitted();
            let faults = submitted.filter_map(|entry| match entry.on(leg) {
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
        let counting = self.legs_where(|leg| leg.counts() && !leg.is_failing());
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
        let mut log = self.log.borrow_mut();
        let has_moved = log.move_all(self.plan.segment_blocks());
        has_moved.then_some(()).ok_or(())
    }

    /// Whether the batches that every leg refused have been in one place only: two places that are bad on every leg are none of the
    /// places' fault.
    fn may_move_once(&self) -> bool {
        let log = self.log.borrow();
        log.table().room_segments() > 0
            && log.oldest().is_some_and(|entry| entry.attempt == 0)
            && log.have_places(self.plan.segment_blocks())
    }

    /// Whether the batches may move once more: their places are bad on every leg, and that costs no reserve.
    fn may_move_again(&self, refusing: &Refusing) -> bool {
        let log = self.log.borrow();
        let front = log.oldest();
        refusing.iter().all(|(_, fault)| *fault == IoFault::Medium)
            && !self.writes_fly()
            && log.table().room_segments() > 0
            && front.is_some_and(|entry| entry.attempt < OUTAGE_MOVES_MAX)
            && log.have_places(self.plan.segment_blocks())
    }

    fn move_in_outage(self: &Rc<Self>) {
        // Without other places they are tried in their own again.
        let _ = self.move_if_places();
    }

    /// Every counting leg refuses: no leg leaves. Those whose leaving is not recorded yet count as before.
    pub fn begin_outage(self: &Rc<Self>, refusing: &[(LegIndex, IoFault)]) {
        self.begin_outage_because(refusal_of_all(refusing));
    }

    /// All counting legs are acquitted: what they share is at fault. During an opening there is nothing to outlast yet, and the
    /// volume stops.
    pub fn begin_outage_because(self: &Rc<Self>, why: String) {
        if self.log.borrow().table().is_opening() {
            // Nothing is owned yet and nobody waits: the next start tries again.
            self.stop(&why);
            return;
        }
        for leg in self.legs.borrow_mut().iter_mut() {
            leg.acquit();
        }
        self.arena.set_legs(self);
        if !self.log.borrow_mut().begin_outage(why.clone()) {
            return;
        }
        tracing::error!(
            why,
            "no leg accepts writes; stored mail is served, new mail is deferred (4xx)"
        );
        self.count(|c| c.outages += 1);
        self.moved.ring();
        self.io.host.spawn(Box::pin(outlast(self.clone())));
    }

    /// Writes what waits again, in its place; without any, a superblock. Gives the counting legs that refuse.
    async fn try_again(self: &Rc<Self>) -> Refusing {
        let waiting: Vec<Lsn> = {
            let log = self.log.borrow();
            let submitted = log.submitted();
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
            let counting = self.legs_where(|leg| leg.counts() && !leg.is_failing());
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
            let Some(entry) = log.entry(lsn) else {
                return Ok(()); // acknowledged meanwhile
            };
            match entry.on(leg) {
                LegWrite::Durable => return Ok(()),
                LegWrite::Flying { .. } => return Err(TIMED_OUT),
                LegWrite::Absent | LegWrite::Failed(_) => {}
            }
            let at = self.plan.at(entry.segment, entry.block);
            (entry.attempt, at, entry.buffer.clone(), entry.bytes())
        };
        let result = self.write_raw(device, at, data, bytes).await;
        let now = self.io.host.now();
        self.log
            .borrow_mut()
            .note_write(lsn, attempt, leg, result, now);
        result
    }
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
        if !inner.log.borrow().is_outage() {
            return;
        }
        let refusing = inner.try_again().await;
        if !inner.log.borrow().is_outage() {
            return;
        }
        let counting = inner.legs_where(|leg| leg.counts() && !leg.is_failing());
        if refusing.is_empty() {
            break;
        }
        if refusing.len() < counting.len() {
            tries_alone += 1;
            pause_us = OUTAGE_RETRY_US_MIN;
            if tries_alone >= OUTAGE_TRIES_ALONE {
                for (leg, fault) in refusing {
                    let why = format!("it refuses writes that another leg accepts: {fault}");
                    inner.condemn_as(leg, &why, Some(true));
                }
                break;
            }
        } else {
            tries_alone = 0;
            pause_us = (pause_us * 2).min(OUTAGE_RETRY_US_MAX);
            if pause_us == OUTAGE_RETRY_US_MAX && inner.may_move_again(&refusing) {
                inner.move_in_outage();
            }
            let why = refusal_of_all(&refusing);
            inner.log.borrow_mut().outage_goes_on(why);
        }
    }
    // What landed meanwhile is judged like any other.
    if !inner.log.borrow_mut().end_outage() {
        return;
    }
    tracing::info!("the legs accept writes again");
    inner.settle();
    inner.judge_refused(true);
}
