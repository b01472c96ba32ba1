//! How far the volume has come, noted beside the witness: what a leg that returns alone is measured against, and how the very
//! last acknowledged batch is missed when it is bad on every leg. Nothing waits for a note.

use std::rc::Rc;

use crate::inner::Inner;
use crate::limits::QUIET_US;
use crate::types::Position;

impl Inner {
    /// Notes what is settled now. Nothing before this owner's first superblock is durable.
    pub fn note_position(&self) {
        let position = {
            let log = self.log.borrow();
            Position {
                seq: log.durable_seq(),
                acked: log.settled(),
            }
        };
        if position.seq > 0 {
            self.witness.note(self.id, position);
        }
    }

    /// Notes the position once nothing was acknowledged for a moment: while mail comes in, each batch says of the one before
    /// that it was acknowledged, and a note would add nothing.
    pub fn note_when_quiet(self: &Rc<Self>) {
        if !self.log.borrow_mut().begin_noting() {
            return;
        }
        let inner = self.clone();
        self.io.host.spawn(Box::pin(async move {
            // until a second goes by without an acknowledgement
            loop {
                let acked = inner.log.borrow().acked();
                base::host::sleep_us(&*inner.io.host, QUIET_US).await;
                if inner.is_stopped() || inner.log.borrow().acked() == acked {
                    break;
                }
            }
            inner.log.borrow_mut().end_noting();
            if cfg!(debug_assertions) {
                inner.check();
            }
            if !inner.is_stopped() {
                inner.note_position();
            }
        }));
    }
}
