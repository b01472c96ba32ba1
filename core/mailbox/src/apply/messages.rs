//! What an entry does to the messages of one mailbox.

use std::collections::BTreeSet;
use std::sync::Arc;

use mail::{Flags, ModSeq, SystemFlags, Uid};
use store::{BodyRef, Lsn};

use crate::row::Head;
use crate::state::{MailboxEntry, State};
use crate::{FlagChange, MailboxId, Message};

use super::Effect;

impl State {
    /// New messages at the end of a mailbox.
    pub(super) fn place(&mut self, mailbox: MailboxId, messages: &[Message]) -> Effect {
        let Some(entry) = self.mailboxes.get_mut(&mailbox) else {
            return Effect::Absent;
        };
        let mut bytes = 0;
        let mut uids = Vec::with_capacity(messages.len());
        for message in messages {
            if message.uid < entry.head.uid_next {
                tracing::error!(
                    mailbox = mailbox.0,
                    uid = message.uid.0,
                    "the log gives a UID twice; the first message keeps it"
                );
                continue;
            }
            entry.head.uid_next = Uid(message.uid.0 + 1);
            count(&mut entry.head, &mut entry.keyword_bytes, message, 1);
            bytes += i64::from(message.size_bytes);
            raise_modseq(entry, message.modseq);
            entry.note_history(message.modseq, message.uid);
            if let Some(outline) = &mut entry.outline {
                outline.arrived(entry.messages.len(), message);
            }
            Arc::make_mut(&mut entry.messages).push(message.clone());
            uids.push(message.uid);
        }
        entry.assigned_uid_next = entry.assigned_uid_next.max(entry.head.uid_next);
        let (account, modseq) = (entry.head.account, entry.head.highest_modseq);
        self.use_bytes(account, bytes);
        self.touch_messages(mailbox, uids);
        self.rung.push((mailbox, modseq));
        Effect::Applied
    }

    pub(super) fn flag(
        &mut self,
        mailbox: MailboxId,
        modseq: ModSeq,
        change: FlagChange,
        flags: &Flags,
        uids: &[Uid],
    ) -> Effect {
        let Some(entry) = self.mailboxes.get_mut(&mailbox) else {
            return Effect::Absent;
        };
        let targets: Vec<(usize, Flags)> = entry
            .indexes_of(uids)
            .into_iter()
            .filter_map(|index| {
                let before = &entry.messages[index].flags;
                let after = match change {
                    FlagChange::Replace => flags.clone(),
                    FlagChange::Add => before.with(flags),
                    FlagChange::Remove => before.without(flags),
                };
                (after != *before).then_some((index, after))
            })
            .collect();
        raise_modseq(entry, modseq);
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
        raise_modseq(entry, modseq);
        let account = entry.head.account;
        self.use_bytes(account, -bytes);
        self.touch_messages(mailbox, gone.iter().map(|message| message.uid));
        self.dropped
            .extend(gone.into_iter().map(|message| message.body));
        self.rung.push((mailbox, modseq));
        Effect::Applied
    }

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

    /// In the running appliance this finds what it brings and only notes that older records may go.
    pub(super) fn restore_messages(
        &mut self,
        mailbox: MailboxId,
        head: &Head,
        part: SnapshotPart,
        messages: &[Message],
    ) -> Effect {
        self.raise_counters(Some(mailbox));
        if self.condemned.contains_key(&mailbox) {
            return Effect::Absent;
        }
        if !self.mailboxes.contains_key(&mailbox) {
            if part.begun.is_some() {
                return Effect::Absent;
            }
            let empty = Head {
                messages: 0,
                unseen: 0,
                deleted: 0,
                size_bytes: 0,
                ..head.clone()
            };
            self.new_mailbox(mailbox, empty);
        }
        let entry = self.mailboxes.get_mut(&mailbox).expect("just made certain");
        let from = entry
            .messages
            .partition_point(|message| message.uid < part.range.start);
        let to = entry
            .messages
            .partition_point(|message| message.uid < part.range.end);
        let mut bytes = 0;
        let mut changed: BTreeSet<Uid> = messages.iter().map(|message| message.uid).collect();
        if entry.messages[from..to] != *messages {
            entry.outline = None;
            let kept = Arc::make_mut(&mut entry.messages);
            for message in kept.splice(from..to, messages.iter().cloned()) {
                count(&mut entry.head, &mut entry.keyword_bytes, &message, -1);
                bytes -= i64::from(message.size_bytes);
                changed.insert(message.uid);
            }
            for message in messages {
                count(&mut entry.head, &mut entry.keyword_bytes, message, 1);
                bytes += i64::from(message.size_bytes);
            }
        } else {
            changed.clear();
        }
        if part.last {
            entry.head.snapshot = part.begun.unwrap_or(part.lsn);
        }
        entry.head.uid_next = entry.head.uid_next.max(head.uid_next);
        entry.assigned_uid_next = entry.assigned_uid_next.max(head.uid_next);
        entry.head.moved_at = entry.head.moved_at.max(head.moved_at);
        // A RENAME may have raised it.
        entry.head.uid_validity = entry.head.uid_validity.max(head.uid_validity);
        raise_modseq(entry, head.highest_modseq);
        self.use_bytes(head.account, bytes);
        self.touch_messages(mailbox, changed);
        Effect::Applied
    }
}

pub(super) struct SnapshotPart {
    pub lsn: Lsn,
    /// The first part's; `None`: this is the first.
    pub begun: Option<Lsn>,
    pub last: bool,
    pub range: std::ops::Range<Uid>,
}

pub(super) fn raise_modseq(entry: &mut MailboxEntry, modseq: ModSeq) {
    entry.head.highest_modseq = entry.head.highest_modseq.max(modseq);
    entry.assigned_modseq = entry.assigned_modseq.max(modseq);
}

/// Adds `message` to the head's sums and to what keywords take (`sign` 1), or takes it out (-1).
fn count(head: &mut Head, keyword_bytes: &mut usize, message: &Message, sign: i32) {
    let add = |sum: u32, holds: bool| {
        if holds {
            sum.checked_add_signed(sign)
                .expect("sums follow the messages")
        } else {
            sum
        }
    };
    head.messages = add(head.messages, true);
    head.unseen = add(
        head.unseen,
        !message.flags.system.contains(SystemFlags::SEEN),
    );
    head.deleted = add(
        head.deleted,
        message.flags.system.contains(SystemFlags::DELETED),
    );
    head.size_bytes = head
        .size_bytes
        .checked_add_signed(i64::from(sign) * i64::from(message.size_bytes))
        .expect("sums follow the messages");
    *keyword_bytes = keyword_bytes
        .checked_add_signed(sign as isize * message.keyword_bytes() as isize)
        .expect("sums follow the messages");
}
