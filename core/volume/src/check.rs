//! `check`: what must hold of an open volume between any two steps, as far as memory alone can tell (INVARIANTS.md I16).
//!
//! The simulator calls it after each step, a debug build of the daemon at quiet points. It looks only at what may have changed since the last
//! call: each borrow of the log or the members for writing records that (`Checked`). It stops the process; nothing here repairs.

use crate::inner::Inner;
use crate::legs::Legs;
use crate::log::{LegWrite, Log};
use crate::types::*;

impl Inner {
    /// See `Volume::check`.
    pub fn check(&self) {
        let log_changed = self.log.take_changed();
        let legs_changed = self.legs.take_changed();
        let (log, legs) = (self.log.borrow(), self.legs.borrow());
        if log_changed {
            log.check(&self.plan);
        }
        if legs_changed {
            legs.check();
        }
        if log_changed || legs_changed {
            check_together(&log, &legs);
        }
    }
}

/// What the log and the members say of one another.
fn check_together(log: &Log, legs: &Legs) {
    if log.is_stopped() {
        return;
    }
    // I1, I4: who counts in memory, counts by the superblocks; while they differ nothing is acknowledged.
    if let Some(recorded) = log.recorded() {
        let counting: Vec<LegId> = legs.counting().collect();
        assert_eq!(
            counting, recorded,
            "who counts is not what the superblocks say"
        );
    }
    let members = legs.len();
    for entry in log.waiting() {
        let beyond = &entry.legs[members..];
        assert!(beyond.iter().all(|write| *write == LegWrite::Absent));
    }
    for (index, leg) in legs.indexed() {
        let flies = |write: LegWrite| matches!(write, LegWrite::Flying { .. });
        let flying = log.submitted().filter(|entry| flies(entry.on(index)));
        assert!(
            leg.counts() || log.is_read_only() || leg.stale_since() <= log.acked(),
            "I4: leg {} is trusted to hold {}, and {} was acknowledged",
            index.0,
            leg.stale_since(),
            log.acked()
        );
        assert!(
            flying.count() <= leg.flying(),
            "more writes are in flight to leg {} than were begun",
            index.0
        );
    }
}
