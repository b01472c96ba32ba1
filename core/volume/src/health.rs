//! What a probe just did: a small read from each leg that counts, and the path of a commit. Nothing here is concluded from silence.

use std::rc::Rc;

use device::{BLOCK_BYTES, IoFault};

use crate::format::Kind;
use crate::gate::within;
use crate::inner::Inner;
use crate::superblock::slot_offset;
use crate::types::*;

impl Inner {
    /// See `Volume::probe_legs`.
    pub async fn probe_legs(self: &Rc<Self>) {
        let seq = self.log.borrow().seq;
        let counting = self.legs_where(|leg| leg.counts());
        let reads = counting.into_iter().filter_map(|(leg, device)| {
            let frame = self.legs.borrow()[leg.0 as usize].frame?;
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
                let mut legs = self.legs.borrow_mut();
                let leg = &mut legs[leg.0 as usize];
                leg.read_faults += u64::from(unread.is_some());
                leg.unread = unread.map(|fault| fault.to_string());
            }
            if unread == Some(IoFault::Gone) {
                self.suspect(leg, "it is gone");
            }
        }
    }

    /// See `Volume::probe_commit`.
    pub async fn probe_commit(self: &Rc<Self>) -> Result<(), CommitFault> {
        if self.log.borrow().table.room_segments() == 0 {
            return Err(CommitFault::Full);
        }
        let waiting = self.enqueue_own(Kind::Records, &[], &[])?;
        let patience_us = 2 * self.settings.hard_deadline_us;
        match within(&*self.io.host, patience_us, Box::pin(waiting)).await {
            Some(answer) => answer.unwrap_or_else(stopped).map(drop),
            None => Err(CommitFault::Deferred("a commit does not end".into())),
        }
    }

    /// See `Volume::oldest_wait_us`.
    pub fn oldest_wait_us(&self) -> Option<u64> {
        let log = self.log.borrow();
        let oldest = log.pipeline.front()?;
        Some(self.io.host.now().since_us(oldest.since))
    }
}

fn stopped() -> Result<BatchAddress, CommitFault> {
    Err(CommitFault::Deferred("the volume stopped".into()))
}
