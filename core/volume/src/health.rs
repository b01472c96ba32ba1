//! What a probe just did: a small read from each leg that counts, and a small write to it. Nothing here is concluded from silence.

use std::rc::Rc;

use device::{BLOCK_BYTES, IoFault};

use crate::gate::TIMED_OUT;
use crate::inner::Inner;
use crate::outage::refusal_of_all;
use crate::superblock::slot_offset;
use crate::types::*;

impl Inner {
    /// See `Volume::probe_legs`.
    pub async fn probe_legs(self: &Rc<Self>) {
        let seq = self.log.borrow().seq();
        let counting = self.legs_where(|leg| leg.counts());
        let reads = counting.into_iter().filter_map(|(leg, device)| {
            let frame = self.legs.borrow()[leg].frame()?;
            let at = frame.rings[0] + slot_offset(seq);
            Some((leg, Box::pin(self.read_raw(device, at, BLOCK_BYTES))))
        });
        let reads: Vec<_> = reads.collect();
        for (leg, result) in crate::gate::all(reads.into_iter()).await {
            let unread = match result {
                Ok(buffer) => {
                    self.return_read_buffer(buffer);
                    None
                }
                Err(fault) => Some(fault),
            };
            {
                let unread = unread.map(|fault| fault.to_string());
                self.legs.borrow_mut()[leg].note_probe(unread);
            }
            if unread == Some(IoFault::Gone) {
                self.suspect(leg, "it is gone");
            }
        }
    }

    /// See `Volume::probe_writes`.
    pub async fn probe_writes(self: &Rc<Self>) -> Result<(), CommitFault> {
        if let Some(why) = self.refuses() {
            return Err(CommitFault::Deferred(why));
        }
        let refusing = self.refusing_guards().await;
        let counting = self.legs_where(|leg| leg.counts() && !leg.is_failing());
        let refuses = |leg: LegIndex| refusing.iter().any(|(refuses, _)| *refuses == leg);
        // All legs slow at once is our own host or network: eject nobody (DESIGN.md B3).
        let all = counting.iter().all(|(leg, _)| refuses(*leg));
        if all && refusing.iter().all(|(_, fault)| *fault == TIMED_OUT) && !refusing.is_empty() {
            return Err(CommitFault::Deferred(refusal_of_all(&refusing)));
        }
        for (leg, fault) in refusing {
            self.suspect(leg, &format!("it accepts no writes: {fault}"));
        }
        self.refuses()
            .map_or(Ok(()), |why| Err(CommitFault::Deferred(why)))
    }

    /// See `Volume::oldest_wait_us`.
    pub fn oldest_wait_us(&self) -> Option<u64> {
        let log = self.log.borrow();
        let oldest = log.oldest()?;
        Some(self.io.host.now().since_us(oldest.since))
    }
}
