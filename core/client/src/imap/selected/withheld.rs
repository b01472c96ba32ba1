//! Flags that a client does not want to hear of (RFC 5465): MessageNew and MessageExpunge without FlagChange.
//!
//! Nothing of them is kept but where they begin: `settled` stays at the last modification sequence of which everything was reported, so that a client with
//! QRESYNC comes back with that one. When the client wants flags again, the mailbox is asked what changed since.

use mail::Uid;
use storage::owner::Ask;

use super::Selected;

impl Selected {
    /// The client wants flags (again): those that were withheld are reported by the `tell` that goes on from here. While storage cannot say, they stay
    /// withheld until the next time.
    pub(super) async fn reveal(&mut self, owner: &impl Ask) {
        if self.hides_flags || !self.withheld || !self.changed.is_empty() {
            return;
        }
        let (id, since) = (self.id, self.settled);
        let asked = owner.ask(move |mailboxes| async move {
            let all = [(Uid(1), Uid(u32::MAX))];
            mailboxes.resync(id, since, &all, false).await
        });
        match asked.await {
            Ok(Ok(happened)) => {
                self.withheld = false;
                // Those that came since have no number yet, and are passed over.
                self.changed.later = happened.changed.into_iter();
            }
            // It is gone, which the look finds; or the next time will do.
            Ok(Err(_)) | Err(_) => self.watching.put_back(),
        }
    }
}
