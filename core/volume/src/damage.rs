//! Acknowledged batches that no leg has: the volume can be read and is not written until the operator gives them up.
//!
//! Recovery finds them behind the checkpoint (then the volume is not even owned yet, `open`); a reader of the log may find them
//! later or further back. What is given up is said in the log by a SKIP, so it is asked once.

use std::rc::Rc;

use bytes::Bytes;

use crate::BATCH_HEADER_BYTES;
use crate::format::Header;
use crate::inner::Inner;
use crate::takeover::take_over;
use crate::types::*;

impl Inner {
    /// The reader of the log met damage that recovery did not see: nothing is written behind it before an operator accepts that.
    pub fn hold_for_damage(self: &Rc<Self>) {
        if self.settings.accept_damage || !self.log.borrow().is_running() {
            return;
        }
        let damaged: Vec<Lsn> = self.damage.borrow().iter().map(|(lsn, ..)| *lsn).collect();
        let why = sentence(&damaged);
        tracing::error!(why, "the volume is read-only");
        let held = self.log.borrow_mut().hold(why);
        self.held.set(held);
    }

    /// The numbers that `accept_damage` would give up now; `None` when there is nothing to accept.
    pub fn would_give_up(&self) -> Option<Vec<Lsn>> {
        if self.takeover.borrow().is_none() && !self.held.get() {
            return None;
        }
        let mut lost = self.report.borrow().damaged.clone();
        lost.extend(self.damage.borrow().iter().map(|(lsn, ..)| *lsn));
        lost.retain(|lsn| *lsn > Lsn(0));
        lost.sort_unstable();
        lost.dedup();
        Some(lost)
    }

    /// See `Volume::damaged_payloads`.
    pub async fn damaged_payloads(self: &Rc<Self>, count_max: usize) -> Vec<Bytes> {
        let known: Vec<_> = self.damage.borrow().iter().copied().collect();
        let mut payloads = Vec::new();
        for (lsn, segment, block) in known {
            let generation = {
                let log = self.log.borrow();
                if segment.0 >= self.plan.segment_count || payloads.len() == count_max {
                    continue;
                }
                log.table().row(segment).generation
            };
            let at = self.plan.at(segment, block);
            for (_, device) in self.legs_where(|leg| leg.serves()) {
                let Ok(head) = self.read_raw(device, at, BATCH_HEADER_BYTES).await else {
                    continue;
                };
                let header = Header::decode(&head, self.id, segment, generation, block);
                self.return_read_buffer(head);
                let fits = |header: &Header| {
                    header.end_block() <= self.plan.segment_blocks()
                        && (header.lsn == lsn || lsn == Lsn(0))
                };
                let Some(header) = header.filter(fits) else {
                    continue;
                };
                let bytes = header.blocks() as usize * device::BLOCK_BYTES;
                if let Ok(whole) = self.read_raw(device, at, bytes).await {
                    let end = BATCH_HEADER_BYTES + header.payload_bytes as usize;
                    payloads.push(Bytes::copy_from_slice(&whole[BATCH_HEADER_BYTES..end]));
                    self.return_read_buffer(whole);
                    break;
                }
            }
        }
        payloads
    }

    /// The operator gives up what is missing: the volume is taken over after all, or written again.
    pub async fn accept_damage(self: &Rc<Self>) -> Result<(), OpenRefusal> {
        let takeover = self.takeover.borrow_mut().take();
        if let Some(takeover) = takeover {
            tracing::warn!("the operator accepted the damage; the volume is taken over");
            self.log.borrow_mut().table_mut().opening_begins();
            let taken = take_over(self, takeover).await;
            if let Err(refusal) = &taken {
                // Half of it may be written; the next opening finds out.
                self.stop(&refusal.to_string());
            }
            return taken;
        }
        if self.held.take() {
            if !self.log.borrow_mut().release() {
                return misfit("the volume has stopped; start ringpostd again");
            }
            tracing::warn!("the operator accepted the damage; the volume is written again");
            // Legs that failed meanwhile leave now.
            return self
                .publish()
                .await
                .or_else(|fault| misfit(fault.to_string()));
        }
        Ok(())
    }
}

/// What must not happen without the operator, and the ways out.
pub(crate) fn sentence(damaged: &[Lsn]) -> String {
    let list: Vec<String> = damaged.iter().take(8).map(Lsn::to_string).collect();
    format!(
        "{} acknowledged batches are damaged on every leg (LSN {}{}): {WAY_OUT}",
        damaged.len(),
        list.join(", "),
        if damaged.len() > 8 { ", …" } else { "" }
    )
}

pub(crate) const WAY_OUT: &str = "reattach missing legs and start again, or accept the loss (`ringpostctl volume accept-damage`)";
