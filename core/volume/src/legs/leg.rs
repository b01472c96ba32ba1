//! What is known of one member, and what may happen to it. Membership, what it is trusted to hold, and its device each have their block.

use std::collections::{BTreeSet, VecDeque};

use base::{Histogram, Time};
use device::DeviceIndex;

use super::Leg;
use crate::layout::Frame;
use crate::limits::{
    ARENA_MISSED_MAX, REPAIRS_MAX, REPAIRS_WINDOW_US, SPOILED_SEGMENTS_MAX, SPOILED_WINDOW_US,
};
use crate::superblock::Member;
use crate::types::*;

/// What is known of a member.
impl Leg {
    /// A member without a device.
    pub fn absent(id: LegId, state: LegState, stale_since: Lsn, wwid: u64) -> Leg {
        Leg {
            id,
            state,
            device: None,
            frame: None,
            wwid,
            stale_since,
            failing: false,
            alone: false,
            why: None,
            joining: false,
            session: 0,
            flying: 0,
            reading: 0,
            repairs: 0,
            read_faults: 0,
            write_faults: 0,
            flushes: Histogram::default(),
            progress: None,
            unread: None,
            arena_missed: None,
            spoiled: VecDeque::new(),
            repaired: VecDeque::new(),
            proven: None,
            arena_unsure: false,
        }
    }

    pub fn id(&self) -> LegId {
        self.id
    }

    /// The device that the leg is open on; `None` while it is absent.
    pub fn device(&self) -> Option<DeviceIndex> {
        self.device
    }

    /// Where things are on its device. It is there exactly when the device is.
    pub fn frame(&self) -> Option<Frame> {
        self.frame
    }

    /// The hash of the device's stable name, as the leg's superblocks have it.
    pub fn wwid(&self) -> u64 {
        self.wwid
    }

    /// It has every live batch up to here. Meaningless while it counts.
    pub fn stale_since(&self) -> Lsn {
        self.stale_since
    }

    /// Whether acknowledgements wait for it. Only such a leg has every acknowledged batch.
    pub fn counts(&self) -> bool {
        self.state == LegState::InSync
    }

    /// Gets new batches and pages, whether or not they count.
    pub fn receives(&self) -> bool {
        !self.failing
            && matches!(
                self.state,
                LegState::InSync | LegState::CatchingUp | LegState::Rebuilding
            )
    }

    /// Whether reads may be sent to it.
    pub fn serves(&self) -> bool {
        self.counts() && !self.failing && self.device.is_some()
    }

    /// Whether it is leaving: it does something that ends its membership, and that is not recorded yet.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// It fails, and others were seen to take writes.
    pub fn fails_alone(&self) -> bool {
        self.failing && self.alone
    }

    /// Whether the next membership record may count it.
    pub fn is_joining(&self) -> bool {
        self.joining
    }

    /// Whether an operator gave it up.
    pub fn is_retired(&self) -> bool {
        self.state == LegState::Retired
    }

    /// Which attach of the leg this is. Work of an earlier attach compares it and ends.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Batch writes in flight at its device.
    pub fn flying(&self) -> usize {
        self.flying
    }

    /// Reads in flight at its device.
    pub fn reading(&self) -> usize {
        self.reading
    }

    /// Why it left, or why its return does not come to its end.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Arena pages that it lacks, by number; `None`: what it lacks is not known, so all pages must be copied.
    pub fn arena_missed(&self) -> Option<&BTreeSet<u64>> {
        self.arena_missed.as_ref()
    }

    /// Whether its arena pages must be looked at, because it lacked batches at the opening.
    pub fn is_arena_unsure(&self) -> bool {
        self.arena_unsure
    }

    /// As a superblock lists it.
    pub fn member(&self) -> Member {
        Member {
            id: self.id,
            state: self.state,
            stale_since: self.stale_since,
            wwid: self.wwid,
        }
    }

    /// What `leg list` and the metrics show of it.
    pub fn report(&self, index: LegIndex) -> LegReport {
        LegReport {
            index,
            id: self.id,
            state: self.state,
            device: self.device,
            progress: self.progress,
            repairs: self.repairs,
            read_faults: self.read_faults,
            write_faults: self.write_faults,
            flushes: self.flushes,
            stale_since: (!self.counts()).then_some(self.stale_since),
            why: self.why.clone(),
            unread: self.unread.clone().filter(|_| self.counts()),
        }
    }

    /// What must hold of one member between calls; stops the process where it does not.
    pub(super) fn check(&self) {
        let id = self.id;
        assert_eq!(self.device.is_some(), self.frame.is_some(), "{id}");
        assert!(!self.failing || self.device.is_some(), "{id}: absent");
        assert!(!self.alone || self.failing, "{id}: alone in what?");
        assert!(
            !self.joining || matches!(self.state, LegState::CatchingUp | LegState::Rebuilding),
            "{id} joins and is not copied to"
        );
        let copied_to = matches!(self.state, LegState::CatchingUp | LegState::Rebuilding);
        assert!(!copied_to || self.device.is_some(), "{id}: copied to what?");
        assert!(
            !self.is_retired() || self.device.is_none(),
            "{id} is retired and here"
        );
        assert!(
            self.arena_missed
                .as_ref()
                .is_none_or(|missed| missed.len() <= ARENA_MISSED_MAX)
        );
        assert!(self.spoiled.len() <= SPOILED_SEGMENTS_MAX + 1);
    }
}

/// Membership.
impl Leg {
    /// While the volume is opened: this device is that member, in sync as far as it says itself. `holds_less`: it is trusted only so far.
    pub fn is_here(
        &mut self,
        device: DeviceIndex,
        frame: Frame,
        wwid: u64,
        holds_less: Option<Lsn>,
    ) {
        assert!(self.counts() && self.device.is_none());
        (self.device, self.frame, self.wwid) = (Some(device), Some(frame), wwid);
        self.proven = holds_less;
    }

    /// It does something that ends its membership. `false`: that is known, or it is absent.
    pub fn condemn(&mut self, why: &str) -> bool {
        if self.failing || self.device.is_none() {
            return false;
        }
        self.failing = true;
        self.why = Some(why.to_string());
        true
    }

    /// It fails, and others were seen to take writes (or not).
    pub fn set_alone(&mut self, alone: bool) {
        self.alone = alone && self.failing;
    }

    /// Every leg refuses at once, which says nothing about this one. One that does not hold what it should leaves all the same; another one serves
    /// then (`prove`).
    pub fn acquit(&mut self) {
        if self.counts() && self.proven.is_none() {
            (self.failing, self.alone, self.why) = (false, false, None);
        }
    }

    /// The witness does not count it any more; everything up to `acked` was acknowledged with it.
    pub fn leave(&mut self, acked: Lsn) {
        assert!(self.counts() && self.failing, "{} stays", self.id);
        (self.state, self.stale_since) = (LegState::Stale, acked);
        (self.failing, self.alone, self.device, self.frame) = (false, false, None, None);
        self.arena_missed.get_or_insert_default();
        if let Some(proven) = self.proven.take() {
            (self.stale_since, self.arena_missed) = (acked.min(proven), None);
            self.repaired.clear();
        }
        assert!(self.stale_since <= acked && !self.counts());
    }

    /// A new owner does not find it among the legs that serve, though the witness counted it: it has what was acknowledged, as far as it is
    /// believed. Answers since when it is stale.
    pub fn is_left_out(&mut self, acked: Lsn) -> Lsn {
        assert!(!self.serves());
        let since = self.proven.take().map_or(acked, |proven| proven.min(acked));
        (self.state, self.stale_since) = (LegState::Stale, since);
        (self.device, self.frame, self.failing) = (None, None, false);
        self.alone = false;
        since
    }

    /// An opening goes on without it, because it holds only so much: the take-over records that.
    pub fn leave_behind(&mut self, holds: Lsn) {
        assert!(self.counts(), "only such a leg is read at an opening");
        self.state = LegState::Stale;
        self.believe_up_to(holds);
        (self.device, self.frame) = (None, None);
        (self.failing, self.alone) = (false, false);
    }

    /// It failed before it counted: nothing waits for it.
    pub fn let_go(&mut self) {
        assert!(self.failing && !self.counts());
        (self.state, self.joining, self.progress) = (LegState::Stale, false, None);
        (self.failing, self.alone, self.device, self.frame) = (false, false, None, None);
    }

    /// It comes back on `device` and gets everything new from here on. Answers which attach this is.
    pub fn admit(&mut self, device: DeviceIndex, frame: Frame, wwid: u64) -> u64 {
        assert!(self.device.is_none() && !self.counts() && !self.is_retired());
        self.state = if self.stale_since == Lsn(0) {
            LegState::Rebuilding
        } else {
            LegState::CatchingUp
        };
        (self.device, self.frame) = (Some(device), Some(frame));
        (self.failing, self.joining, self.why) = (false, false, None);
        self.wwid = wwid;
        self.session += 1;
        assert!(self.receives());
        self.session
    }

    /// It has everything, and nothing is in flight: the next membership record may count it. Stops the process where it does not get new batches.
    pub fn may_join(&mut self) {
        assert!(self.receives() && !self.counts() && self.flying == 0);
        self.joining = true;
    }

    /// The witness could not be asked: it joins later.
    pub fn call_off_join(&mut self) {
        self.joining = false;
    }

    /// The witness counts it.
    pub fn join(&mut self) {
        assert!(self.joining && !self.failing && self.device.is_some());
        (self.state, self.joining, self.progress, self.why) = (LegState::InSync, false, None, None);
        self.proven = None;
        assert!(self.serves());
    }

    /// It will not come back. `false`: it is still here.
    pub fn retire(&mut self) -> bool {
        if self.counts() || self.joining || self.device.is_some() {
            return false;
        }
        self.state = LegState::Retired;
        true
    }

    /// Why the attach `session` does not come to its end, if that is the present one.
    pub fn note_why(&mut self, session: u64, why: &str) {
        if self.session == session {
            self.why = Some(why.to_string());
        }
    }
}

/// What it is trusted to hold.
impl Leg {
    /// Known to lack something behind `holds`. It can only be lowered.
    pub fn believe_up_to(&mut self, holds: Lsn) {
        let before = self.proven;
        self.proven = Some(before.map_or(holds, |proven| proven.min(holds)));
        assert!(before.is_none_or(|before| self.proven <= Some(before)));
    }

    /// What it lacked is on it now.
    pub fn has_all(&mut self) {
        assert!(self.serves());
        self.proven = None;
    }

    /// Lowers what a leg that does not count is trusted to hold.
    pub fn believe_no_further(&mut self, holds: Lsn) {
        assert!(!self.counts());
        self.stale_since = self.stale_since.min(holds);
    }

    /// Copied up to `last`, in the order of the log.
    pub fn copied_up_to(&mut self, last: Lsn) {
        if last > self.stale_since && !self.counts() {
            self.stale_since = last;
        }
    }

    /// Adds to what a copy has done, and to what it has to do, in bytes.
    pub fn note_progress(&mut self, done: u64, more: u64) {
        let (so_far, total) = self.progress.unwrap_or_default();
        self.progress = Some((so_far + done, total + more));
    }

    /// Arena pages `numbers` were written, and not to it. One that counts misses what it missed before and these; of another one nothing may be known.
    pub fn miss_pages(&mut self, numbers: &[u64]) {
        if self.counts() {
            self.arena_missed.get_or_insert_default();
        }
        if let Some(missed) = &mut self.arena_missed {
            missed.extend(numbers);
            if missed.len() > ARENA_MISSED_MAX {
                self.arena_missed = None;
            }
        }
    }

    /// What it lacks of the arena is not known any more.
    pub fn miss_unknown_pages(&mut self) {
        self.arena_missed = None;
    }

    /// The page was written to it.
    pub fn has_page(&mut self, page: u64) {
        if let Some(missed) = &mut self.arena_missed {
            missed.remove(&page);
        }
    }

    /// The whole arena was copied to it.
    pub fn has_all_pages(&mut self) {
        self.arena_missed = Some(BTreeSet::new());
    }

    /// Its arena pages must be looked at.
    pub fn suspect_arena(&mut self) {
        self.arena_unsure = true;
    }

    /// Whether its arena pages are to be looked at; asked once.
    pub fn take_arena_unsure(&mut self) -> bool {
        std::mem::take(&mut self.arena_unsure)
    }
}

/// What its device does.
impl Leg {
    /// A batch write was handed to its device.
    pub fn write_begins(&mut self) {
        assert!(self.receives() && self.device.is_some());
        self.flying += 1;
    }

    /// `took_us`: it is durable, and counts for the statistics.
    pub fn write_ends(&mut self, took_us: Option<u64>) {
        assert!(self.flying > 0, "a write ends once");
        self.flying -= 1;
        if let Some(us) = took_us {
            self.flushes.note(us);
        }
    }

    /// A read was handed to its device.
    pub fn read_begins(&mut self) {
        self.reading += 1;
    }

    /// A read at its device has ended, well or not.
    pub fn read_ends(&mut self) {
        assert!(self.reading > 0, "a read ends once");
        self.reading -= 1;
    }

    pub fn note_read_fault(&mut self) {
        self.read_faults += 1;
    }

    pub fn note_write_fault(&mut self) {
        self.write_faults += 1;
    }

    /// What a probe of it found; `None`: it answered.
    pub fn note_probe(&mut self, unread: Option<String>) {
        self.read_faults += u64::from(unread.is_some());
        self.unread = unread;
    }

    /// One of its arena pages was rewritten from another leg. Pages do not count towards the repairs that end a
    /// membership.
    pub fn note_page_repair(&mut self) {
        self.repairs += 1;
    }

    /// `true`: too many within `REPAIRS_WINDOW_US`.
    pub fn note_repair(&mut self, now: Time) -> bool {
        self.repairs += 1;
        self.repaired
            .retain(|at| now.since_us(*at) < REPAIRS_WINDOW_US);
        self.repaired.push_back(now);
        self.repaired.len() > REPAIRS_MAX
    }

    /// It refused a segment. `true`: too many within `SPOILED_WINDOW_US`.
    pub fn note_spoiled(&mut self, now: Time) -> bool {
        self.spoiled
            .retain(|at| now.since_us(*at) < SPOILED_WINDOW_US);
        if self.spoiled.len() > SPOILED_SEGMENTS_MAX {
            self.spoiled.pop_front();
        }
        self.spoiled.push_back(now);
        self.spoiled.len() > SPOILED_SEGMENTS_MAX
    }
}
