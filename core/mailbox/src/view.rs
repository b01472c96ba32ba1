//! What a session sees: status, the messages, what changed since, and the bytes themselves.

use std::collections::BTreeSet;

use bytes::Bytes;
use mail::{ModSeq, Uid};
use store::{BodyRef, Pieces, ReadFault};

use crate::inner::unread;
use crate::limits::LOOK_UPS_MAX;
use crate::noun::Depth;
use crate::state::MailboxEntry;
use crate::{Changes, MailboxFault, MailboxId, MailboxStatus, Mailboxes, Message, View};

impl Mailboxes {
    /// Costs no look at the messages.
    pub async fn status(&self, mailbox: MailboxId) -> Result<MailboxStatus, MailboxFault> {
        let _hold = self.inner.hold_mailbox(mailbox, Depth::Head).await?;
        let state = self.inner.state.borrow();
        state
            .mailboxes
            .get(&mailbox)
            .map(status_of)
            .ok_or(MailboxFault::NoMailbox)
    }

    /// All messages. Views of an unchanged mailbox share one list; the first change after a view that is still held copies it, so a
    /// session keeps what it needs of a large mailbox and lets the list go.
    pub async fn view(&self, mailbox: MailboxId) -> Result<View, MailboxFault> {
        let _hold = self.inner.hold_mailbox(mailbox, Depth::All).await?;
        let state = self.inner.state.borrow();
        let entry = state
            .mailboxes
            .get(&mailbox)
            .ok_or(MailboxFault::NoMailbox)?;
        Ok(View {
            status: status_of(entry),
            messages: entry.messages.clone(),
        })
    }

    /// Those of `uids` (ascending) that exist, at their present state. Copies them: a reader who is slow holds nothing.
    pub async fn messages(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
    ) -> Result<Vec<Message>, MailboxFault> {
        // From the first one on, since chunks are loaded from the end of a mailbox: new mail needs one, and old mail all behind it.
        let depth = uids.first().map_or(Depth::Head, |uid| Depth::From(*uid));
        let _hold = self.inner.hold_mailbox(mailbox, depth).await?;
        let state = self.inner.state.borrow();
        let entry = state
            .mailboxes
            .get(&mailbox)
            .ok_or(MailboxFault::NoMailbox)?;
        let found = entry.indexes_of(uids).into_iter();
        Ok(found.map(|index| entry.messages[index].clone()).collect())
    }

    /// What happened after `after`. Costs as much as there is to tell.
    pub async fn changes(
        &self,
        mailbox: MailboxId,
        after: ModSeq,
    ) -> Result<Changes, MailboxFault> {
        let mut changes = Changes {
            highest_modseq: after,
            uid_next: Uid(1),
            changed: Vec::new(),
            expunged: Vec::new(),
            too_old: false,
            gone: false,
        };
        let _hold = match self.inner.hold_mailbox(mailbox, Depth::Head).await {
            Ok(hold) => hold,
            Err(MailboxFault::NoMailbox) => {
                return Ok(Changes {
                    gone: true,
                    ..changes
                });
            }
            Err(fault) => return Err(fault),
        };
        let state = self.inner.state.borrow();
        let Some(entry) = state.mailboxes.get(&mailbox) else {
            return Ok(Changes {
                gone: true,
                ..changes
            });
        };
        changes.highest_modseq = entry.head.highest_modseq;
        changes.uid_next = entry.head.uid_next;
        // The mailbox came to this name after the client saw it: for the client it is another one.
        changes.gone = after < entry.head.moved_at;
        // The history is bounded. A client that was away longer gets all of the mailbox, which is never wrong.
        changes.too_old = after < entry.history_floor;
        if changes.gone || changes.too_old {
            return Ok(changes);
        }
        let newer = entry
            .history
            .iter()
            .rev()
            .take_while(|(modseq, _)| *modseq > after);
        let uids: BTreeSet<Uid> = newer.map(|(_, uid)| *uid).collect();
        for uid in uids {
            match entry.find(uid) {
                Some(message) => changes.changed.push(message.clone()),
                None => changes.expunged.push(uid),
            }
        }
        Ok(changes)
    }

    /// The messages' raw bytes, in the order asked.
    pub async fn bodies(&self, bodies: &[BodyRef]) -> Vec<Result<Bytes, MailboxFault>> {
        let mut answers = self.inner.store.bodies(bodies).await;
        if let Some((indexes, moved)) = self.moved(bodies, &answers) {
            for (index, answer) in std::iter::zip(indexes, self.inner.store.bodies(&moved).await) {
                answers[index] = answer;
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.map_err(unread))
            .collect()
    }

    /// The first bytes of each message, as many as are wanted of it, and all of a shorter one, in the order asked.
    pub async fn heads(&self, wanted: &[(BodyRef, usize)]) -> Vec<Result<Bytes, MailboxFault>> {
        let asked: Vec<(&BodyRef, usize)> =
            wanted.iter().map(|(body, bytes)| (body, *bytes)).collect();
        let mut answers = self.inner.store.heads(&asked).await;
        let bodies: Vec<BodyRef> = wanted.iter().map(|(body, _)| body.clone()).collect();
        if let Some((indexes, moved)) = self.moved(&bodies, &answers) {
            let asked = indexes.iter().map(|&index| wanted[index].1);
            let asked: Vec<(&BodyRef, usize)> = std::iter::zip(&moved, asked).collect();
            for (index, answer) in std::iter::zip(indexes, self.inner.store.heads(&asked).await) {
                answers[index] = answer;
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.map_err(unread))
            .collect()
    }

    /// The bytes of a message's body from `at` (less than its size) on, as many as are stored together: one batch at most. `kept` is what
    /// the last call for this body gave; it is looked up again when reclaim moved the body meanwhile.
    ///
    /// `Damaged` when no copy can be read; `Unavailable` when the message was expunged since and its place has been used again.
    pub async fn piece(
        &self,
        mailbox: MailboxId,
        uid: Uid,
        body: &BodyRef,
        kept: Option<Pieces>,
        at: u32,
    ) -> Result<(Bytes, Pieces), MailboxFault> {
        let store = &self.inner.store;
        if let Some(pieces) = kept {
            match store.piece(&pieces, at).await {
                Ok(bytes) => return Ok((bytes, pieces)),
                Err(ReadFault::Stale) => {}
                Err(fault) => return Err(unread(fault)),
            }
        }
        let mut body = body.clone();
        // Each turn finds a later place; reclaim would have to move the body between every look and its read.
        for _ in 0..LOOK_UPS_MAX {
            let read = async {
                let pieces = store.pieces(&body).await?;
                Ok((store.piece(&pieces, at).await?, pieces))
            };
            match read.await {
                Ok(read) => return Ok(read),
                Err(ReadFault::Stale) => body = self.whereabouts(mailbox, uid, &body).await?,
                Err(fault) => return Err(unread(fault)),
            }
        }
        Err(unread(ReadFault::Stale))
    }

    /// Where a moved body is now.
    async fn whereabouts(
        &self,
        mailbox: MailboxId,
        uid: Uid,
        body: &BodyRef,
    ) -> Result<BodyRef, MailboxFault> {
        if let Some(moved) = self.inner.state.borrow().relocated(body) {
            return Ok(moved.clone());
        }
        // Moved longer ago than is remembered: the message itself knows.
        let found = self.messages(mailbox, &[uid]).await?.pop();
        let found = found.filter(|message| message.body.name == body.name);
        let found = found.ok_or_else(|| unread(ReadFault::Stale))?;
        Ok(found.body)
    }

    /// The messages' digests as they were delivered with them, in the order asked: from memory, or from the legs, after which they are remembered.
    pub async fn summaries(&self, bodies: &[BodyRef]) -> Vec<Result<Bytes, MailboxFault>> {
        let mut absent = Vec::new();
        let mut answers: Vec<Result<Bytes, ReadFault>> = Vec::with_capacity(bodies.len());
        {
            let digests = &mut self.inner.state.borrow_mut().digests;
            for (index, body) in bodies.iter().enumerate() {
                let found = digests.find(&body.summary);
                if found.is_none() {
                    absent.push(index);
                }
                answers.push(found.ok_or(ReadFault::Unavailable));
            }
        }
        if !absent.is_empty() {
            let asked: Vec<BodyRef> = absent.iter().map(|&index| bodies[index].clone()).collect();
            let read = self.read_summaries(&asked).await;
            let mut found = Vec::with_capacity(read.len());
            for (index, answer) in std::iter::zip(absent, read) {
                if let Ok(bytes) = &answer {
                    found.push((bodies[index].summary, bytes.clone()));
                }
                answers[index] = answer;
            }
            self.inner.state.borrow_mut().keep_digests(&found);
        }
        answers
            .into_iter()
            .map(|answer| answer.map_err(unread))
            .collect()
    }

    /// From the legs.
    async fn read_summaries(&self, bodies: &[BodyRef]) -> Vec<Result<Bytes, ReadFault>> {
        let mut answers = self.inner.store.summaries(bodies).await;
        if let Some((indexes, moved)) = self.moved(bodies, &answers) {
            for (index, answer) in std::iter::zip(indexes, self.inner.store.summaries(&moved).await)
            {
                answers[index] = answer;
            }
        }
        answers
    }

    /// A session holds references of an older view; reclaim may have moved the bodies since. Where they are now.
    fn moved(
        &self,
        bodies: &[BodyRef],
        answers: &[Result<Bytes, ReadFault>],
    ) -> Option<(Vec<usize>, Vec<BodyRef>)> {
        let state = self.inner.state.borrow();
        let stale = std::iter::zip(bodies, answers)
            .enumerate()
            .filter(|(_, (_, answer))| **answer == Err(ReadFault::Stale));
        let found: (Vec<usize>, Vec<BodyRef>) = stale
            .filter_map(|(index, (body, _))| Some((index, state.relocated(body)?.clone())))
            .unzip();
        (!found.0.is_empty()).then_some(found)
    }
}

pub fn status_of(entry: &MailboxEntry) -> MailboxStatus {
    MailboxStatus {
        uid_validity: entry.head.uid_validity,
        uid_next: entry.head.uid_next,
        highest_modseq: entry.head.highest_modseq,
        messages: entry.head.messages,
        unseen: entry.head.unseen,
        deleted: entry.head.deleted,
        size_bytes: entry.head.size_bytes,
    }
}
