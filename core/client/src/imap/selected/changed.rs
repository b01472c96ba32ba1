//! Messages whose flags changed and that were not reported to the client yet.

use std::collections::VecDeque;

use mail::Uid;
use mailbox::{MailboxFault, MailboxId, Message};
use storage::owner::Ask;

use super::super::limits::ROWS_PER_TURN_MAX;
use super::super::rows::{fitting, keep_fitting};

/// Messages of which FETCH is to be sent.
#[derive(Default)]
pub(super) struct Changed {
    pub ready: VecDeque<Message>,
    /// UIDs of more: they are looked at some at a time.
    pub later: std::vec::IntoIter<Uid>,
}

impl Changed {
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.later.len() == 0
    }

    /// Keeps `messages` as they are, or their UIDs when they are more than a connection may hold.
    pub fn note(&mut self, messages: Vec<Message>) {
        if messages.len() <= ROWS_PER_TURN_MAX && fitting(&messages) == messages.len() {
            self.ready = messages.into();
        } else {
            let uids: Vec<Uid> = messages.iter().map(|message| message.uid).collect();
            self.later = uids.into_iter();
        }
    }

    /// Looks at the next ones unless some are ready. `false`: they cannot be looked at now.
    pub async fn read(&mut self, owner: &impl Ask, id: MailboxId) -> bool {
        if !self.ready.is_empty() {
            return true;
        }
        let rest = self.later.as_slice();
        let uids = rest[..rest.len().min(ROWS_PER_TURN_MAX)].to_vec();
        let asked = owner.ask(move |mailboxes| async move {
            let messages = mailboxes.messages(id, &uids).await;
            messages.map(|messages| (messages, uids))
        });
        match asked.await {
            Ok(Ok((mut messages, uids))) => {
                let count = keep_fitting(&mut messages, uids.len(), |last| {
                    uids.partition_point(|uid| uid.0 <= last)
                });
                self.ready = messages.into();
                self.later.by_ref().take(count).for_each(drop);
                true
            }
            // It went meanwhile: the next look reports that.
            Ok(Err(MailboxFault::NoMailbox)) => {
                *self = Changed::default();
                true
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }
}
