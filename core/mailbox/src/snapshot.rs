//! A mailbox written again, head and messages, so that older records about it may go.
//!
//! | record | payload |
//! |---|---|
//! | 43 | mailbox, head row, first UID, UID after the last, LSN of the first part or 0, last or not, messages |
//!
//! Rows: those of `folder` and `message`; a snapshot has none of its own. It forgets what went before it (`row/gone.rs`).
//!
//! A large mailbox is written in parts, each in a group of its own. Reclaim may free older records only when all parts
//! are durable, so each part after the first names it.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::cursor::{Reader, Write};
use mail::{Uid, UidValidity};
use store::{BodyRef, Lsn, Purpose, RecordKind};
use tenancy::encoding::{Broken, read_u32};

use crate::limits::GROUP_MESSAGE_BYTES_MAX;
use crate::message;
use crate::noun::{Depth, Effect, Needs, Noun};
use crate::remains::Remains;
use crate::row::{Head, encoded_bytes_max, put_messages, read_bool, read_messages};
use crate::state::{State, count};
use crate::{AccountId, MailboxId, Message};

const SNAPSHOT: RecordKind = RecordKind(43);

/// The messages with `from <= uid < to` and the head. With the last part, the records before the first one are no longer needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxSnapshot {
    /// Whose snapshot it is.
    pub mailbox: MailboxId,
    /// The mailbox's numbers at that time.
    pub head: Head,
    /// The lowest UID of the part.
    pub from: Uid,
    /// The UID after the highest of the part.
    pub to: Uid,
    /// Where the first part is; `None`: this is it.
    pub begun: Option<Lsn>,
    /// With it the snapshot is complete.
    pub last: bool,
    /// Every message in the part's range; what is not listed does not exist.
    pub messages: Vec<Message>,
}

impl MailboxSnapshot {
    /// The mailbox as parts that each fit a group: together they cover every UID there is.
    pub fn parts(mailbox: MailboxId, head: &Head, messages: &[Message]) -> Vec<MailboxSnapshot> {
        let mut parts = Vec::new();
        let mut rest = messages;
        let mut from = Uid(0);
        loop {
            // until `rest` is empty
            let mut bytes = 0;
            let fits = |message: &&Message| {
                bytes += encoded_bytes_max(message);
                bytes <= GROUP_MESSAGE_BYTES_MAX
            };
            let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
            let (some, later) = rest.split_at(count);
            let to = later.first().map_or(Uid(u32::MAX), |message| message.uid);
            parts.push(MailboxSnapshot {
                mailbox,
                head: head.clone(),
                from,
                to,
                begun: None,
                last: later.is_empty(),
                messages: some.to_vec(),
            });
            rest = later;
            from = to;
            if rest.is_empty() {
                return parts;
            }
        }
    }
}

impl Noun for MailboxSnapshot {
    fn encode(&self, out: &mut Vec<u8>) -> RecordKind {
        out.put_varint(self.mailbox.0);
        self.head.encode(out);
        out.put_varint(u64::from(self.from.0));
        out.put_varint(u64::from(self.to.0));
        out.put_varint(self.begun.map_or(0, |lsn| lsn.0));
        out.put_u8(u8::from(self.last));
        put_messages(out, &self.messages);
        SNAPSHOT
    }

    fn decode(
        kind: RecordKind,
        reader: &mut Reader<'_>,
    ) -> Result<Option<MailboxSnapshot>, Broken> {
        if kind != SNAPSHOT {
            return Ok(None);
        }
        let mut snapshot = MailboxSnapshot {
            mailbox: MailboxId(reader.varint()?),
            head: Head::decode(reader)?,
            from: Uid(read_u32(reader)?),
            to: Uid(read_u32(reader)?),
            begun: match reader.varint()? {
                0 => None,
                lsn => Some(Lsn(lsn)),
            },
            last: read_bool(reader)?,
            messages: Vec::new(),
        };
        read_messages(reader, &mut snapshot.messages)?;
        Ok(Some(snapshot))
    }

    fn samples() -> Vec<MailboxSnapshot> {
        vec![MailboxSnapshot {
            mailbox: MailboxId(9),
            head: Head::new(AccountId(7), UidValidity(2)),
            from: Uid(1),
            to: Uid(9),
            begun: Some(Lsn(6)),
            last: true,
            messages: vec![message::sample(4)],
        }]
    }

    fn mailbox(&self) -> Option<MailboxId> {
        Some(self.mailbox)
    }

    fn needs(&self) -> Needs {
        Needs {
            account: Some(self.head.account),
            mailbox: Some((self.mailbox, Depth::From(self.from))),
        }
    }

    fn purpose(&self) -> Purpose {
        Purpose::Reclaim
    }

    fn rows(&self, _state: &State) -> u64 {
        3
    }

    /// In the running appliance this finds what it brings and only notes that older records may go.
    fn apply(&self, lsn: Lsn, _bodies: &[BodyRef], state: &mut State) -> Effect {
        let (mailbox, head) = (self.mailbox, &self.head);
        state.raise_counters(Some(mailbox));
        if state.condemned.contains_key(&mailbox) {
            return Effect::Absent;
        }
        if !state.mailboxes.contains_key(&mailbox) {
            if self.begun.is_some() {
                return Effect::Absent;
            }
            let empty = Head {
                messages: 0,
                unseen: 0,
                deleted: 0,
                size_bytes: 0,
                ..head.clone()
            };
            state.new_mailbox(mailbox, empty);
        }
        let entry = state
            .mailboxes
            .get_mut(&mailbox)
            .expect("just made certain");
        let from = entry
            .messages
            .partition_point(|message| message.uid < self.from);
        let to = entry
            .messages
            .partition_point(|message| message.uid < self.to);
        let mut bytes = 0;
        let mut changed: BTreeSet<Uid> = self.messages.iter().map(|message| message.uid).collect();
        if entry.messages[from..to] != self.messages {
            entry.outline = None;
            let kept = Arc::make_mut(&mut entry.messages);
            for message in kept.splice(from..to, self.messages.iter().cloned()) {
                count(&mut entry.head, &mut entry.keyword_bytes, &message, -1);
                bytes -= i64::from(message.size_bytes);
                changed.insert(message.uid);
            }
            for message in &self.messages {
                count(&mut entry.head, &mut entry.keyword_bytes, message, 1);
                bytes += i64::from(message.size_bytes);
            }
        } else {
            changed.clear();
        }
        if self.last {
            entry.head.snapshot = self.begun.unwrap_or(lsn);
        }
        entry.head.uid_next = entry.head.uid_next.max(head.uid_next);
        entry.assigned_uid_next = entry.assigned_uid_next.max(head.uid_next);
        entry.head.moved_at = entry.head.moved_at.max(head.moved_at);
        // A RENAME may have raised it.
        entry.head.uid_validity = entry.head.uid_validity.max(head.uid_validity);
        entry.raise_modseq(head.highest_modseq);
        state.use_bytes(head.account, bytes);
        // What the log says of expunges before it is not complete any more (`row/gone.rs`).
        state.forget_gone(mailbox, head.highest_modseq);
        state.touch_messages(mailbox, changed);
        if self.last {
            // Those that are not done follow in the same group (`copying.rs`).
            state.forget_copies(mailbox);
        }
        Effect::Applied
    }

    fn salvage(&self, _bodies: &[BodyRef], remains: &mut Remains) {
        let known = remains.mailbox(self.mailbox);
        known.account = Some(self.head.account);
        known
            .messages
            .retain(|uid, _| *uid < self.from || *uid >= self.to);
        known.put(&self.messages);
    }

    fn describe(&self) -> String {
        format!(
            "MailboxSnapshot {{ mailbox: {:?}, uids: {}..{}, last: {}, messages: {} }}",
            self.mailbox,
            self.from.0,
            self.to.0,
            self.last,
            self.messages.len()
        )
    }
}
