//! SELECT: what a client learns when it opens a mailbox.

use crate::noun::Depth;
use crate::outline::Outline;
use crate::view::status_of;
use crate::{MailboxFault, MailboxId, Mailboxes, Opening};

impl Mailboxes {
    /// What SELECT tells. Costs a walk through the messages only after some were taken out.
    pub async fn opening(&self, mailbox: MailboxId) -> Result<Opening, MailboxFault> {
        let _hold = self.inner.hold_mailbox(mailbox, Depth::All).await?;
        let mut state = self.inner.state.borrow_mut();
        let entry = state
            .mailboxes
            .get_mut(&mailbox)
            .ok_or(MailboxFault::NoMailbox)?;
        let outline = entry
            .outline
            .get_or_insert_with(|| Outline::of(&entry.messages));
        let Outline {
            runs,
            first_unseen,
            keywords,
        } = outline.clone();
        let opening = Opening {
            status: status_of(entry),
            uids: runs,
            first_unseen: first_unseen.map(|index| index as u32 + 1),
            keywords,
        };
        state.charge(mailbox);
        Ok(opening)
    }
}
