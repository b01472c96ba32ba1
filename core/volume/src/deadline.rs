//! The hard deadline of batch writes: a leg that is silent for longer leaves, unless all of them are (DESIGN.md B3).
//!
//! What must hold between calls: a decision that waits for the end of a write (`judge_refused`, `respool`) is taken up here when that
//! write is late. A device may keep a write for ever, so such a decision has no other end.

use std::rc::Rc;

use device::DeviceIndex;

use crate::gate::TIMED_OUT;
use crate::inner::Inner;
use crate::log::LegWrite;
use crate::types::*;

/// Looks at the writes in flight four times within a deadline. Ends when there are none.
pub(crate) async fn watch(inner: Rc<Inner>) {
    // until nothing is submitted
    loop {
        base::host::sleep_us(&*inner.io.host, inner.settings.hard_deadline_us / 4 + 1).await;
        {
            if inner.log.borrow_mut().end_watching() {
                return;
            }
        }
        inner.look_for_late_writes();
    }
}

impl Inner {
    /// A leg whose write is past the hard deadline leaves, unless every counting leg is late: then no leg is at fault, and all
    /// of them stay.
    fn look_for_late_writes(self: &Rc<Self>) {
        // The leg whose write the decision waited for may be failing by now.
        self.judge_refused(true);
        let counting = self.legs_where(|leg| leg.counts() && !leg.is_failing());
        let mut late = self.legs_where(|leg| leg.receives());
        late.retain(|(leg, _)| self.is_late(*leg));
        let counts = |leg: &(LegIndex, DeviceIndex)| counting.contains(leg);
        let all_wait = |late: &[(LegIndex, DeviceIndex)], refusing_answers: bool| {
            let answers = |leg: &(LegIndex, DeviceIndex)| {
                !late.contains(leg) && (refusing_answers || !self.has_refused(leg.0))
            };
            !counting.iter().any(answers)
        };
        // One that refused what others are slow with leaves before them.
        if all_wait(&late, false) && late.iter().any(counts) {
            self.judge_refused(false);
        }
        // Batches that are to move wait for every write in flight. One that refused their places answers; it stays.
        let respooling = self.log.borrow().is_respooling();
        if all_wait(&late, respooling) {
            // All legs slow at once is our own host or network: eject nobody.
            if respooling && !counting.is_empty() {
                let silent: Vec<_> = counting.iter().map(|(leg, _)| (*leg, TIMED_OUT)).collect();
                self.begin_outage(&silent);
            }
            late.retain(|leg| !counts(leg));
        }
        for (leg, _) in late {
            self.suspect(leg, "a write took longer than the hard deadline");
        }
    }

    /// Whether a write to `leg` has been in flight for longer than the hard deadline.
    fn is_late(&self, leg: LegIndex) -> bool {
        let (now, deadline_us) = (self.io.host.now(), self.settings.hard_deadline_us);
        self.any_write(leg, |write| {
            matches!(write, LegWrite::Flying { since } if now.since_us(since) > deadline_us)
        })
    }

    fn has_refused(&self, leg: LegIndex) -> bool {
        self.any_write(leg, |write| matches!(write, LegWrite::Failed(_)))
    }

    fn any_write(&self, leg: LegIndex, is_so: impl Fn(LegWrite) -> bool) -> bool {
        let log = self.log.borrow();
        log.submitted().any(|entry| is_so(entry.on(leg)))
    }
}
