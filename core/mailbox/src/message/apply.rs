//! What a record does to the messages of one mailbox.

use std::sync::Arc;

use mail::{Flags, ModSeq, SystemFlags, Uid};
use store::BodyRef;

use crate::limits::ROW_BYTES;
use crate::noun::Effect;
use crate::row::{Chunk, encoded_bytes_max};
use crate::state::{State, count, of_chunk};
use crate::{FlagChange, MailboxId, Message};

impl State {
    /// New messages at the end of a mailbox.
    pub(super) fn place(&mut self, mailbox: MailboxId, messages: &[Message]) -> Effect {
        let Some(entry) = self.mailboxes.get_mut(&mailbox) else {
            return Effect::Absent;
        };
        let mut bytes = 0;
        let mut uids = Vec::with_capacity(messages.len());
        for message in messages {
            // A client has seen the first message under this UID (I14). To give it to another one would show it a wrong body for ever; losing the
            // second one from view can be noticed and repaired from the log.
            if message.uid < entry.head.uid_next {
                tracing::error!(
                    mailbox = mailbox.0,
                    uid = message.uid.0,
                    "the log gives a UID twice; the first message keeps it"
                );
                continue;
            }
            entry.head.uid_next = Uid(message.uid.0 + 1);
            // STATUS is answered from these counters, so they change here, with the list, and nowhere else.
            count(&mut entry.head, &mut entry.keyword_bytes, message, 1);
            bytes += i64::from(message.size_bytes);
            entry.raise_modseq(message.modseq);
            entry.note_history(message.modseq, message.uid);
            if let Some(outline) = &mut entry.outline {
                outline.arrived(entry.messages.len(), message);
            }
            // Copies the list if a session still holds it: what a view showed stays as it was.
            Arc::make_mut(&mut entry.messages).push(message.clone());
            uids.push(message.uid);
        }
        // Numbers are given before they are durable. In replay nothing was given yet, so that the record raises both.
        entry.assigned_uid_next = entry.assigned_uid_next.max(entry.head.uid_next);
        let (account, modseq) = (entry.head.account, entry.head.highest_modseq);
        self.use_bytes(account, bytes);
        self.touch_messages(mailbox, uids);
        self.rung.push((mailbox, modseq));
        Effect::Applied
    }

    /// Only messages that change get the new modification sequence; with `unchanged_since`, only those that did not change after it may. That of the mailbox rises in any case, because the record
    /// took it.
    pub(super) fn flag(
        &mut self,
        mailbox: MailboxId,
        modseq: ModSeq,
        change: FlagChange,
        flags: &Flags,
        unchanged_since: Option<ModSeq>,
        uids: &[Uid],
    ) -> Effect {
        let Some(entry) = self.mailboxes.get_mut(&mailbox) else {
            return Effect::Absent;
        };
        let targets: Vec<(usize, Flags)> = entry
            .indexes_of(uids)
            .into_iter()
            .filter_map(|index| {
                let message = &entry.messages[index];
                if unchanged_since.is_some_and(|since| message.modseq > since) {
                    return None;
                }
                let before = &message.flags;
                let after = match change {
                    FlagChange::Replace => flags.clone(),
                    FlagChange::Add => before.with(flags),
                    FlagChange::Remove => before.without(flags),
                };
                (after != *before).then_some((index, after))
            })
            .collect();
        entry.raise_modseq(modseq);
        let mut changed = Vec::with_capacity(targets.len());
        if !targets.is_empty() {
            let indexes: Vec<usize> = targets.iter().map(|(index, _)| *index).collect();
            let messages = Arc::make_mut(&mut entry.messages);
            for (index, after) in targets {
                let message = &mut messages[index];
                count(&mut entry.head, &mut entry.keyword_bytes, message, -1);
                message.flags = after;
                message.modseq = modseq;
                count(&mut entry.head, &mut entry.keyword_bytes, message, 1);
                changed.push(message.uid);
            }
            if let Some(outline) = &mut entry.outline {
                outline.flagged(messages, &indexes, entry.head.unseen);
            }
        }
        for uid in &changed {
            entry.note_history(modseq, *uid);
        }
        self.touch_messages(mailbox, changed);
        self.rung.push((mailbox, modseq));
        Effect::Applied
    }

    /// What is \Deleted is decided here, in the order of the log: a STORE that was durable before may have cleared it. Bodies
    /// go to `dropped`, since other messages may refer to them.
    pub(super) fn expunge(
        &mut self,
        mailbox: MailboxId,
        modseq: ModSeq,
        deleted_only: bool,
        uids: &[Uid],
    ) -> Effect {
        let Some(entry) = self.mailboxes.get_mut(&mailbox) else {
            return Effect::Absent;
        };
        // EXPUNGE takes what is \Deleted; a MOVE and a REPLACE take their messages whatever their flags are.
        let goes = |message: &Message| {
            !deleted_only || message.flags.system.contains(SystemFlags::DELETED)
        };
        let going = entry
            .indexes_of(uids)
            .into_iter()
            .filter(|index| goes(&entry.messages[*index]));
        let going: Vec<usize> = going.collect();
        let mut gone = Vec::with_capacity(going.len());
        if !going.is_empty() {
            entry.outline = None;
            let mut going = going.into_iter().peekable();
            let mut index = 0;
            Arc::make_mut(&mut entry.messages).retain_mut(|message| {
                let goes = going.next_if_eq(&index).is_some();
                index += 1;
                if goes {
                    gone.push(message.clone());
                }
                !goes
            });
        }
        let mut bytes = 0;
        for message in &gone {
            count(&mut entry.head, &mut entry.keyword_bytes, message, -1);
            bytes += i64::from(message.size_bytes);
            entry.note_history(modseq, message.uid);
        }
        entry.raise_modseq(modseq);
        let account = entry.head.account;
        self.use_bytes(account, -bytes);
        self.note_gone(mailbox, modseq, gone.iter().map(|message| message.uid));
        self.touch_messages(mailbox, gone.iter().map(|message| message.uid));
        self.dropped
            .extend(gone.into_iter().map(|message| message.body));
        self.rung.push((mailbox, modseq));
        Effect::Applied
    }

    /// Messages that were expunged meanwhile are passed over. Nothing that a client sees changes, so neither modification
    /// sequence nor watchers are touched.
    pub(super) fn relocate(&mut self, mailbox: MailboxId, bodies: &[(Uid, BodyRef)]) -> Effect {
        let Some(entry) = self.mailboxes.get_mut(&mailbox) else {
            return Effect::Absent;
        };
        let mut changed = Vec::with_capacity(bodies.len());
        let mut moved = Vec::with_capacity(bodies.len());
        let messages = Arc::make_mut(&mut entry.messages);
        for (uid, body) in bodies {
            let Ok(index) = messages.binary_search_by_key(uid, |message| message.uid) else {
                continue;
            };
            assert_eq!(
                messages[index].body.name, body.name,
                "a relocation moves a body and does not change it"
            );
            let old = std::mem::replace(&mut messages[index].body, body.clone());
            moved.push((old.body, body.clone()));
            changed.push(*uid);
        }
        for (old, new) in moved {
            self.note_relocated(old, new);
        }
        self.touch_messages(mailbox, changed);
        Effect::Applied
    }

    /// Rows of the chunks that hold `uids` (ascending), at most.
    pub(super) fn rows_of_chunks(&self, mailbox: MailboxId, uids: &[Uid]) -> u64 {
        let messages = self
            .mailboxes
            .get(&mailbox)
            .map(|entry| &entry.messages[..]);
        let chunks = uids.chunk_by(|a, b| Chunk::of(*a) == Chunk::of(*b));
        chunks
            .map(|uids| {
                let there = of_chunk(messages.unwrap_or(&[]), Chunk::of(uids[0]));
                let bytes: usize = there.iter().map(encoded_bytes_max).sum();
                1 + (bytes / ROW_BYTES) as u64
            })
            .sum()
    }
}
