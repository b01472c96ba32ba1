//! The members of an open volume as its owner knows them.

use std::collections::{BTreeSet, VecDeque};

use base::{Histogram, Time};
use device::DeviceIndex;

use crate::layout::Frame;
use crate::types::*;

pub(crate) struct Leg {
    pub id: LegId,
    pub state: LegState,
    pub device: Option<DeviceIndex>,
    pub frame: Option<Frame>,
    pub wwid: u64,
    pub stale_since: Lsn,
    /// Set from the first fault that will end its membership until it has ended.
    pub failing: bool,
    /// It fails while others were seen to take writes.
    pub alone: bool,
    pub why: Option<String>,
    /// Caught up: the next membership record may count it.
    pub joining: bool,
    /// Which attach this is: a copy task of an earlier one must not go on.
    pub session: u64,
    /// Batch writes at its device.
    pub flying: usize,
    pub reading: usize,
    pub repairs: u64,
    pub read_faults: u64,
    pub write_faults: u64,
    /// Of batch writes, from submission to durable.
    pub flushes: Histogram,
    pub progress: Option<(u64, u64)>,
    /// How the last probe of it failed (`health`).
    pub unread: Option<String>,
    /// Arena pages not written here since it left; `None`: unknown, so all of them.
    pub arena_missed: Option<BTreeSet<u64>>,
    pub spoiled: VecDeque<Time>,
    pub repaired: VecDeque<Time>,
    /// It does not hold what it should: when it leaves (or at the opening that finds it so), this is how far it is believed.
    pub proven: Option<Lsn>,
    /// It lacked acknowledged batches at the opening; they were put right, and its arena pages are looked at as well.
    pub arena_unsure: bool,
}

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

    pub fn serves(&self) -> bool {
        self.counts() && !self.failing && self.device.is_some()
    }
}
