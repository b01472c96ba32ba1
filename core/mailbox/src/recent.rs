//! Messages of which no session was notified yet (RFC 3501 §2.3.2, \Recent).
//!
//! Kept in memory and nowhere else: what arrived before the start counts as known. A message becomes recent when it becomes
//! visible, and the first session that claims it has it for itself. UIDs only grow, so one run of UIDs for each mailbox is enough.

use std::collections::HashMap;

use mail::Uid;

use crate::folder::FolderEntry;
use crate::limits::RECENTS_MAX;
use crate::message::MessageEntry;
use crate::noun::Depth;
use crate::record::Entry;
use crate::{MailboxFault, MailboxId, Mailboxes};

#[derive(Default)]
pub struct Recents {
    unclaimed: HashMap<MailboxId, Run>,
}

/// UIDs `first` up to, not including, `next`; at least one.
#[derive(Clone, Copy)]
struct Run {
    first: Uid,
    next: Uid,
}

impl Recents {
    /// `entry` has just become visible.
    pub fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Message(MessageEntry::Deliver { mailbox, uid, .. }) => {
                self.arrived(*mailbox, *uid, *uid)
            }
            Entry::Message(MessageEntry::Place { mailbox, messages }) => {
                if let [first, .., last] | [first @ last] = &messages[..] {
                    self.arrived(*mailbox, first.uid, last.uid);
                }
            }
            Entry::Folder(FolderEntry::Delete { mailbox, .. }) => {
                self.unclaimed.remove(mailbox);
            }
            _ => {}
        }
    }

    fn arrived(&mut self, mailbox: MailboxId, first: Uid, last: Uid) {
        let next = Uid(last.0.saturating_add(1));
        if let Some(run) = self.unclaimed.get_mut(&mailbox) {
            run.next = run.next.max(next);
        } else if self.unclaimed.len() < RECENTS_MAX {
            self.unclaimed.insert(mailbox, Run { first, next });
        }
    }

    /// First and last of the unclaimed UIDs below `below`; with `claims` they are the caller's from now on.
    fn take(&mut self, mailbox: MailboxId, below: Uid, claims: bool) -> Option<(Uid, Uid)> {
        let run = self.unclaimed.get_mut(&mailbox)?;
        let end = run.next.min(below);
        let taken = (run.first < end).then(|| (run.first, Uid(end.0 - 1)))?;
        if claims {
            run.first = end;
            if run.first >= run.next {
                self.unclaimed.remove(&mailbox);
            }
        }
        Some(taken)
    }
}

impl Mailboxes {
    /// First and last UID, below `below`, of the messages of which no session was notified. With `claims` the caller is that
    /// session: they are in no later answer. Messages that were expunged since may lie between.
    pub fn recent(&self, mailbox: MailboxId, below: Uid, claims: bool) -> Option<(Uid, Uid)> {
        self.inner.recents.borrow_mut().take(mailbox, below, claims)
    }

    /// How many messages there are of which no session was notified.
    pub async fn recent_count(&self, mailbox: MailboxId) -> Result<u32, MailboxFault> {
        let Some((first, last)) = self.recent(mailbox, Uid(u32::MAX), false) else {
            return Ok(0);
        };
        let _hold = self.inner.hold_mailbox(mailbox, Depth::From(first)).await?;
        let state = self.inner.state.borrow();
        let entry = state
            .mailboxes
            .get(&mailbox)
            .ok_or(MailboxFault::NoMailbox)?;
        let messages = &entry.messages;
        let begin = messages.partition_point(|message| message.uid < first);
        let end = messages.partition_point(|message| message.uid <= last);
        Ok((end - begin) as u32)
    }
}
