//! Who counts. A leg leaves (or joins) in this order and no other: acknowledgements stop by themselves, because a
//! failing leg still counts; the witness records the new set under the next epoch (compare-and-set); the superblocks of
//! the new set say so (`Log::unrecorded` holds acknowledgements back until they do); acknowledgements go on. Were one given
//! in between and the witness then lost, the survivors' superblocks would still count the leg that left, and `adopt` would
//! believe it. Checkpoints use the same door, so that superblocks have one writer.

use std::rc::Rc;
use std::sync::Arc;

use device::{BLOCK_BYTES, Buffer, DeviceIndex, IoFault};

use crate::gate::{TIMED_OUT, within};
use crate::inner::Inner;
use crate::layout::GUARD_AT;
use crate::leg::guard_page;
use crate::legs::Leg;
use crate::limits::{
    CLAIMS_OF_OPENING, OUTAGE_RETRY_US_MAX, OUTAGE_RETRY_US_MIN, OUTAGE_TRIES_ALONE,
    WITNESS_RETRY_US,
};
use crate::log::Mode;
use crate::outage::{no_leg_left, refusal_of_all};
use crate::superblock::{Superblock, slot_offset};
use crate::types::*;

/// What came of writing superblocks.
enum Verdict {
    /// They are durable on every leg that counts.
    Written,
    /// Legs that failed are to leave first.
    SomeLeave,
    /// Every counting leg refuses: try again.
    NobodyLeaves,
    /// One refuses that may only be later than the others.
    OnceMore,
}

impl Inner {
    /// `leg` did something that ends its membership; recording that begins at once, in the background.
    pub fn suspect(self: &Rc<Self>, leg: LegIndex, why: &str) {
        let counts = self.legs.borrow()[leg].counts();
        if counts && self.log.borrow().is_outage() {
            return; // the next try of `outage` tells whether it is this leg or all of them
        }
        self.condemn(leg, why);
    }

    /// As `suspect`, also during an outage.
    pub fn condemn(self: &Rc<Self>, leg: LegIndex, why: &str) {
        self.condemn_as(leg, why, None);
    }

    /// As `condemn`. `alone`: whether others were seen to take writes; `None`: nothing new is known of that.
    pub fn condemn_as(self: &Rc<Self>, leg: LegIndex, why: &str, alone: Option<bool>) {
        {
            let mut legs = self.legs.borrow_mut();
            let leg = &mut legs[leg];
            let is_new = leg.condemn(why);
            if let Some(alone) = alone {
                leg.set_alone(alone);
            }
            if !is_new {
                return;
            }
            tracing::warn!(leg = %leg.id(), why, "a leg is failing");
        }
        if self.log.borrow().is_read_only() {
            // Not (yet) the owner: nothing is recorded, it only serves no longer.
            self.arena.set_legs(self);
            return;
        }
        if self
            .legs_where(|leg| leg.counts() && !leg.is_failing())
            .is_empty()
        {
            self.begin_outage_because(no_leg_left(leg, why));
            return;
        }
        self.moved.ring();
        if self.log.borrow_mut().want_publishing() {
            let inner = self.clone();
            self.io.host.spawn(Box::pin(async move {
                // What it could not record has stopped the volume, and `Mode` tells everybody.
                let _ = inner.publish().await;
            }));
        }
    }

    /// See `Volume::retire`.
    pub async fn retire(self: &Rc<Self>, leg: LegIndex) -> Result<(), CommitFault> {
        {
            let mut legs = self.legs.borrow_mut();
            if legs.get(leg).is_none() {
                return Err(CommitFault::Deferred("there is no such leg".into()));
            }
            let leg = &mut legs[leg];
            if !leg.retire() {
                return Err(CommitFault::Deferred(
                    "the leg is still here: detach it first".into(),
                ));
            }
            tracing::warn!(leg = %leg.id(), "a leg is retired");
        }
        self.publish().await
    }

    /// Makes witness and superblocks say what memory says: failing legs leave the set, joining ones enter it, then one
    /// superblock goes to every leg that receives. Resolves when it is durable on all that count.
    pub async fn publish(self: &Rc<Self>) -> Result<(), CommitFault> {
        let _pass = self.publishing.enter().await;
        self.log.borrow_mut().publishing_begins();
        if let Mode::ReadOnly(why) = self.log.borrow().mode() {
            return Err(CommitFault::Deferred(why.clone()));
        }
        let mut pause_us = OUTAGE_RETRY_US_MIN;
        let mut tries_alone = 0;
        // until witness and superblocks agree with memory, or the volume stops
        let written = loop {
            self.ask_those_that_stay().await;
            let recorded = self.record_membership();
            if let Mode::Stopped(why) = self.log.borrow().mode() {
                return Err(CommitFault::Deferred(why.clone()));
            }
            if recorded.is_err() && self.call_off_joins() {
                continue;
            }
            if let Err(why) = recorded {
                self.defer(&why);
                self.rest(WITNESS_RETRY_US).await;
                continue;
            }
            let (written, failed) = self.write_superblocks().await;
            if failed.iter().any(|(_, fault)| *fault == IoFault::Conflict) {
                self.stop("another owner holds a device of this volume");
                continue;
            }
            match self.judge_superblocks(&failed, tries_alone) {
                Verdict::NobodyLeaves => pause_us = (pause_us * 2).min(OUTAGE_RETRY_US_MAX),
                Verdict::OnceMore => {
                    (pause_us, tries_alone) = (OUTAGE_RETRY_US_MIN, tries_alone + 1)
                }
                Verdict::SomeLeave => continue,
                Verdict::Written => break written,
            }
            self.rest(pause_us).await;
        };
        let counting = written.members.iter();
        let counting = counting.filter(|member| member.state == LegState::InSync);
        let counting = counting.map(|member| member.id).collect();
        self.log
            .borrow_mut()
            .superblock_is_durable(written.body_hash(), counting);
        self.resume();
        Ok(())
    }

    /// What it means that superblocks are not durable on `failed`. When all counting legs fail at once, no leg leaves (DESIGN.md B3); during an
    /// outage one of them gets a few tries more than the others.
    fn judge_superblocks(
        self: &Rc<Self>,
        failed: &[(LegIndex, IoFault)],
        tries_alone: u32,
    ) -> Verdict {
        let counting = self.legs_where(|leg| leg.counts() && !leg.is_failing());
        let refuses = |leg: LegIndex| failed.iter().any(|(failed, _)| *failed == leg);
        let refusing = counting.iter().filter(|(leg, _)| refuses(*leg)).count();
        if refusing > 0 && refusing == counting.len() {
            let why = refusal_of_all(failed);
            if self.log.borrow().table().is_opening() {
                // Nothing is owned yet and nobody waits: the next start tries again.
                self.stop(&why);
            }
            if failed.iter().any(|(_, fault)| *fault != TIMED_OUT) {
                self.defer(&why);
            }
            return Verdict::NobodyLeaves;
        }
        let outage = self.log.borrow().is_outage();
        if refusing > 0 && outage && tries_alone < OUTAGE_TRIES_ALONE {
            return Verdict::OnceMore;
        }
        for &(leg, fault) in failed {
            let why = format!("a superblock could not be written: {fault}");
            self.condemn_as(leg, &why, Some(outage));
        }
        if self.legs_where(|leg| leg.is_failing()).is_empty() {
            Verdict::Written
        } else {
            Verdict::SomeLeave
        }
    }

    /// Before a leg leaves: those that stay must take writes, or all of them are in the same trouble and no leg leaves. They write the
    /// guard page again, which no code reads and which never changes. A leg that is silent is not asked twice: the deadline of
    /// the writes in flight is for that.
    async fn ask_those_that_stay(self: &Rc<Self>) {
        let leaving = |leg: &Leg| leg.counts() && leg.is_failing() && !leg.fails_alone();
        if self.legs_where(leaving).is_empty() {
            return;
        }
        for (leg, fault) in self.refusing_guards().await {
            if fault != TIMED_OUT {
                self.suspect(leg, &format!("it accepts no writes: {fault}"));
            }
        }
    }

    /// The serving legs that do not take their guard page once more.
    pub async fn refusing_guards(&self) -> Vec<(LegIndex, IoFault)> {
        let serving = self.legs_where(|leg| leg.serves());
        let writes = serving.into_iter().map(|(leg, device)| {
            let id = self.legs.borrow()[leg].id();
            let page = Arc::new(guard_page(self.id, id));
            let write = self.write_raw(device, GUARD_AT, page, BLOCK_BYTES);
            (leg, Box::pin(write))
        });
        let writes: Vec<_> = writes.collect();
        let written = crate::gate::all(writes.into_iter()).await.into_iter();
        written
            .filter_map(|(leg, result)| Some((leg, result.err()?)))
            .collect()
    }

    /// Waits so long, or until the volume stops.
    pub async fn rest(&self, us: u64) {
        let until = self.io.host.now().after_us(us);
        // until the time is up
        while !self.is_stopped() {
            let left_us = until.since_us(self.io.host.now());
            if left_us == 0 {
                return;
            }
            within(&*self.io.host, left_us, self.moved.wait()).await;
        }
    }

    /// The witness could not even be read, and only joins wait for it: they can wait without holding anybody up. Not so when an
    /// answer got lost: then the witness may already count the leg.
    fn call_off_joins(&self) -> bool {
        let leaving = !self
            .legs_where(|leg| leg.counts() && leg.is_failing())
            .is_empty();
        if leaving || self.log.borrow().has_attempt() {
            return false;
        }
        self.legs
            .borrow_mut()
            .iter_mut()
            .for_each(|leg| leg.call_off_join());
        true
    }

    /// Takes failing legs out and joining ones in, through the witness. `Err`: it could not be recorded now.
    fn record_membership(self: &Rc<Self>) -> Result<(), String> {
        self.drop_uncounted();
        let changes = self.legs_where(|leg| leg.counts() && leg.is_failing() || leg.is_joining());
        if changes.is_empty() {
            return Ok(());
        }
        let staying: Vec<LegId> = {
            let legs = self.legs.borrow();
            let stays = legs
                .iter()
                .filter(|leg| !leg.is_failing() && (leg.counts() || leg.is_joining()));
            stays.map(|leg| leg.id()).collect()
        };
        if staying.is_empty() {
            self.begin_outage_because(refusal_of_all(&[]));
            return Ok(());
        }
        self.replace_witness(&staying)?;
        if self.is_stopped() {
            return Ok(());
        }
        self.log.borrow_mut().members_change();
        let acked = self.log.borrow().settled();
        for leg in self.legs.borrow_mut().iter_mut() {
            if leg.counts() && leg.is_failing() {
                leg.leave(acked);
                self.count(|c| c.ejected += 1);
                tracing::error!(leg = %leg.id(), stale_since = leg.stale_since().0, "a leg left the in-sync set");
            } else if leg.is_joining() {
                leg.join();
                self.count(|c| c.resynced += 1);
                tracing::info!(leg = %leg.id(), "a leg is in sync again");
            }
        }
        self.arena.set_legs(self);
        Ok(())
    }

    /// Lets go of failing legs that never counted: no acknowledgement waits for them.
    fn drop_uncounted(&self) {
        for leg in self
            .legs
            .borrow_mut()
            .iter_mut()
            .filter(|leg| leg.is_failing() && !leg.counts())
        {
            leg.let_go();
            tracing::warn!(leg = %leg.id(), "a leg failed before it was in sync");
        }
    }

    /// Compare-and-set of the witness to `in_sync` under the next epoch.
    fn replace_witness(self: &Rc<Self>, in_sync: &[LegId]) -> Result<(), String> {
        let current = self
            .witness
            .read(self.id)
            .map_err(|fault| fault.to_string())?;
        let attempted = self.log.borrow_mut().take_attempt();
        if let Some(record) = attempted.filter(|record| current.as_ref() == Some(record)) {
            // An attempt whose outcome was unknown had been recorded after all.
            self.log.borrow_mut().witness_says(&record);
            if record.in_sync == in_sync {
                return Ok(());
            }
        }
        let ours = |record: &WitnessRecord| self.log.borrow().is_ours(record);
        let Some(expected) = current.filter(ours) else {
            self.stop("the witness names another owner or epoch for this volume");
            return Ok(());
        };
        let in_sync = in_sync.to_vec();
        let new = WitnessRecord {
            epoch: expected.epoch + 1,
            in_sync,
            ..expected.clone()
        };
        match self.witness.replace(Some(&expected), &new) {
            Ok(()) => {
                self.log.borrow_mut().witness_says(&new);
                Ok(())
            }
            Err(WitnessFault::Lost) => {
                self.stop("another owner changed the witness: this owner is not alone");
                Ok(())
            }
            Err(WitnessFault::Unavailable(why)) => {
                self.log.borrow_mut().attempt(new);
                Err(format!("the witness does not answer: {why}"))
            }
        }
    }

    /// Says in the witness that superblocks of this term are durable on every leg in sync. Waits for a witness that does not
    /// answer.
    pub async fn record_opened(self: &Rc<Self>) -> Result<(), WitnessFault> {
        // until the witness says it, or this owner is not alone
        loop {
            match self.try_record_opened() {
                Err(WitnessFault::Unavailable(why)) if !self.is_stopped() => self.defer(&why),
                recorded => return recorded,
            }
            base::host::sleep_us(&*self.io.host, WITNESS_RETRY_US).await;
            // A change of membership whose outcome is unknown is settled first.
            let _ = self.publish().await;
        }
    }

    /// Compare-and-set, as every change of the record. `Unavailable`: a change of membership may or may not be recorded, and is
    /// settled first; `Lost`: another owner has the volume.
    fn try_record_opened(&self) -> Result<(), WitnessFault> {
        let term = self.log.borrow().term();
        let ours = |record: &WitnessRecord| self.log.borrow().is_ours(record);
        let expected = match self.witness.read(self.id)? {
            Some(record) if ours(&record) => record,
            _ if self.log.borrow().has_attempt() => {
                return Err(WitnessFault::Unavailable("a change is under way".into()));
            }
            _ => return Err(WitnessFault::Lost),
        };
        if expected.opened == term {
            return Ok(());
        }
        let new = WitnessRecord {
            opened: term,
            ..expected.clone()
        };
        self.witness.replace(Some(&expected), &new)
    }

    fn defer(self: &Rc<Self>, why: &str) {
        if self.log.borrow_mut().defer(why) {
            tracing::error!(why, "the volume defers");
        }
    }

    fn resume(self: &Rc<Self>) {
        if self.log.borrow_mut().resume() {
            tracing::info!("the volume accepts again");
        }
        self.settle();
    }

    /// The superblock memory asks for, with the next number.
    pub fn next_superblock(&self) -> Superblock {
        let members = self.legs.borrow().iter().map(Leg::member).collect();
        let scrub = ScrubState {
            done_bytes: 0,
            all_bytes: 0,
            ..self.scrubbed.get()
        };
        let log = self.log.borrow();
        log.superblock(self.id, self.plan, members, scrub)
    }

    /// Writes one new superblock to every leg that receives: that superblock, and the legs on which it is not durable. Its
    /// parent stays the last one that every leg had: one that was refused may be on some legs and not on others, and is not evidence against any leg.
    async fn write_superblocks(self: &Rc<Self>) -> (Superblock, Vec<(LegIndex, IoFault)>) {
        let superblock = self.next_superblock();
        self.log.borrow_mut().superblock_begins(&superblock);
        let targets = self.legs_where(|leg| leg.receives());
        let mut good = vec![0; targets.len()];
        let mut fault = vec![None; targets.len()];
        // H0 and T0 on every leg, then H1 and T1: at every moment one whole pair is old or new.
        for pair in [[0, 1], [2, 3]] {
            let mut writes = Vec::new();
            for (which, &(leg, device)) in targets.iter().enumerate() {
                for copy in pair {
                    writes.push((
                        which,
                        Box::pin(self.write_copy(&superblock, leg, device, copy)),
                    ));
                }
            }
            let results = crate::gate::all(writes.into_iter()).await;
            for (which, result) in results {
                match result {
                    Ok(()) => good[which] += 1,
                    Err(problem) => fault[which] = Some(problem),
                }
            }
        }
        let outcome = targets.iter().zip(good).zip(fault);
        // Three of four copies make it durable; a leg that is gone or not ours any more fails at once.
        let failed = outcome.filter_map(|((&(leg, _), good), fault)| {
            let fault = fault?;
            (good < 3 || matches!(fault, IoFault::Gone | IoFault::Conflict)).then_some((leg, fault))
        });
        let failed = failed.collect();
        (superblock, failed)
    }

    /// Writes one of the four copies. Leg, copy number and place are in the slot, so each copy is encoded by itself.
    pub async fn write_copy(
        &self,
        superblock: &Superblock,
        leg: LegIndex,
        device: DeviceIndex,
        copy: usize,
    ) -> Result<(), IoFault> {
        let (id, frame) = {
            let legs = self.legs.borrow();
            (
                legs[leg].id(),
                legs[leg].frame().expect("a leg with a device has a frame"),
            )
        };
        let at = frame.rings[copy] + slot_offset(superblock.seq);
        let mut buffer = Buffer::zeroed(BLOCK_BYTES);
        superblock.encode_slot(id, copy, at, &mut buffer);
        self.count(|c| c.superblock_writes += 1);
        self.write_raw(device, at, Arc::new(buffer), BLOCK_BYTES)
            .await
    }

    /// Takes `leg` out because the caller said so.
    pub async fn eject(self: &Rc<Self>, leg: LegIndex, why: &str) -> Result<(), CommitFault> {
        if usize::from(leg.0) >= self.legs.borrow().len() {
            return Err(CommitFault::Deferred(format!("there is no leg {}", leg.0)));
        }
        let others = self.legs_where(|other| other.counts() && !other.is_failing());
        if others.iter().all(|(other, _)| *other == leg) {
            return Err(CommitFault::Deferred("it is the last leg in sync".into()));
        }
        self.condemn(leg, why);
        self.publish().await
    }

    pub async fn close(self: &Rc<Self>) -> Result<(), CommitFault> {
        self.drained().await?;
        self.log.borrow_mut().close();
        self.publish().await?;
        self.note_position();
        self.stop("the volume was closed");
        Ok(())
    }

    /// Claims two more segments by superblock: when no claim of a durable batch is left to go on with.
    pub async fn claim_in_superblock(self: &Rc<Self>) -> Result<(), ()> {
        {
            let mut log = self.log.borrow_mut();
            let mut claimed = 0;
            for _ in 0..CLAIMS_OF_OPENING {
                if log.lists_claims() && log.claim_by_superblock().is_some() {
                    claimed += 1;
                }
            }
            if claimed == 0 {
                return Err(());
            }
        }
        self.publish().await.map_err(|_| ())
    }
}
