//! A message in a mailbox: how it comes, what becomes of it, and where its body moves.
//!
//! | record | payload |
//! |---|---|
//! | 48 `Deliver` | mailbox, UID, MODSEQ, flags, date, which body of the group |
//! | 49 `Place` | mailbox, messages |
//! | 50 `Flag` | mailbox, MODSEQ, change, flags, UIDs |
//! | 51 `Expunge` | protective magic, mailbox, MODSEQ, only \Deleted or all, UIDs |
//! | 52 `Relocate` | mailbox, (UID, body) each |
//! | 53 `Flag`, conditional | mailbox, MODSEQ, MODSEQ since which a message must be unchanged, change, flags, UIDs |
//! | 54 `Deliver`, dated | as 48, then when it was placed, in seconds since 1970 |
//!
//! Flag changes and expunges say what was asked, not what came of it; `apply` (`message/apply.rs`) works that out from the state it finds, live
//! and in replay alike. So two sessions that change one message in one commit batch do not undo each other. What a COPY places is written
//! out in full: the target can be rebuilt when the source's records are gone.
//!
//! Rows of `CHUNKS`: `row::put_messages`.

mod apply;
mod uids;

use base::BodyName;
use base::cursor::{Reader, Write};
use mail::{Flags, InternalDate, Keyword, ModSeq, SystemFlags, Uid};
use store::{BodyRef, Codec, Lsn, Purpose, RecordKind};
use tenancy::encoding::{Broken, put_magic, read_magic, read_u32};
use volume::{Generation, RecordAddress, SegmentIndex};

use crate::limits::ROW_BYTES;
use crate::noun::{Depth, Effect, Needs, Noun};
use crate::remains::Remains;
use crate::row::{
    encoded_bytes_max, put_date, put_flags, put_messages, read_bool, read_date, read_flags,
    read_messages,
};
use crate::state::State;
use crate::{FlagChange, MailboxId, Message};
use uids::{put_uids, read_uids};

const DELIVER: RecordKind = RecordKind(48);
const PLACE: RecordKind = RecordKind(49);
const FLAG: RecordKind = RecordKind(50);
const EXPUNGE: RecordKind = RecordKind(51);
const RELOCATE: RecordKind = RecordKind(52);
const FLAG_UNCHANGED: RecordKind = RecordKind(53);
const DELIVER_DATED: RecordKind = RecordKind(54);

/// What happened to messages, as one record of the log. The record's kind is in the table above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageEntry {
    /// A new message, whose body is in the same group.
    Deliver {
        /// Where it is placed.
        mailbox: MailboxId,
        /// Its UID, higher than any in the mailbox.
        uid: Uid,
        modseq: ModSeq,
        flags: Flags,
        internal_date: InternalDate,
        /// Which of the group's bodies.
        body_index: u32,
        /// See `Message::saved_s`.
        saved_s: u32,
    },
    /// Messages placed by COPY or MOVE, at their new UIDs and modification sequence.
    Place {
        /// Where they are placed.
        mailbox: MailboxId,
        /// The messages as they are after it.
        messages: Vec<Message>,
    },
    /// Flags were added, removed or replaced.
    Flag {
        mailbox: MailboxId,
        /// The modification sequence that each changed message gets.
        modseq: ModSeq,
        /// What is done with `flags`.
        change: FlagChange,
        /// The flags of the command.
        flags: Flags,
        /// A message that changed after it when the record takes effect stays as it is (RFC 7162 §3.1.3).
        unchanged_since: Option<ModSeq>,
        /// Which messages, ascending.
        uids: Vec<Uid>,
    },
    /// Messages are gone.
    Expunge {
        mailbox: MailboxId,
        /// The modification sequence of their disappearance (RFC 7162 §3.2.10).
        modseq: ModSeq,
        /// Only those that are \Deleted when it takes effect; a MOVE's expunge is unconditional.
        deleted_only: bool,
        /// Which messages, ascending.
        uids: Vec<Uid>,
    },
    /// Reclaim moved bodies: nothing a client could see changes.
    Relocate {
        mailbox: MailboxId,
        /// Each message with the new place of its body.
        bodies: Vec<(Uid, BodyRef)>,
    },
}

impl MessageEntry {
    /// The mailbox that the record is about.
    fn about(&self) -> MailboxId {
        match self {
            MessageEntry::Deliver { mailbox, .. }
            | MessageEntry::Place { mailbox, .. }
            | MessageEntry::Flag { mailbox, .. }
            | MessageEntry::Expunge { mailbox, .. }
            | MessageEntry::Relocate { mailbox, .. } => *mailbox,
        }
    }
}

impl Noun for MessageEntry {
    fn encode(&self, out: &mut Vec<u8>) -> RecordKind {
        match self {
            MessageEntry::Deliver {
                mailbox,
                uid,
                modseq,
                flags,
                internal_date,
                body_index,
                saved_s,
            } => {
                out.put_varint(mailbox.0);
                out.put_varint(u64::from(uid.0));
                out.put_varint(modseq.0);
                put_flags(out, flags);
                put_date(out, *internal_date);
                out.put_varint(u64::from(*body_index));
                if *saved_s == 0 {
                    return DELIVER;
                }
                out.put_varint(u64::from(*saved_s));
                DELIVER_DATED
            }
            MessageEntry::Place { mailbox, messages } => {
                out.put_varint(mailbox.0);
                put_messages(out, messages);
                PLACE
            }
            MessageEntry::Flag {
                mailbox,
                modseq,
                change,
                flags,
                unchanged_since,
                uids,
            } => {
                out.put_varint(mailbox.0);
                out.put_varint(modseq.0);
                if let Some(since) = unchanged_since {
                    out.put_varint(since.0);
                }
                out.put_u8(match change {
                    FlagChange::Replace => 0,
                    FlagChange::Add => 1,
                    FlagChange::Remove => 2,
                });
                put_flags(out, flags);
                put_uids(out, uids);
                match unchanged_since {
                    Some(_) => FLAG_UNCHANGED,
                    None => FLAG,
                }
            }
            MessageEntry::Expunge {
                mailbox,
                modseq,
                deleted_only,
                uids,
            } => {
                put_magic(out);
                out.put_varint(mailbox.0);
                out.put_varint(modseq.0);
                out.put_u8(u8::from(*deleted_only));
                put_uids(out, uids);
                EXPUNGE
            }
            MessageEntry::Relocate { mailbox, bodies } => {
                out.put_varint(mailbox.0);
                out.put_varint(bodies.len() as u64);
                for (uid, body) in bodies {
                    out.put_varint(u64::from(uid.0));
                    body.encode(out);
                }
                RELOCATE
            }
        }
    }

    fn decode(kind: RecordKind, reader: &mut Reader<'_>) -> Result<Option<MessageEntry>, Broken> {
        Ok(Some(match kind {
            DELIVER | DELIVER_DATED => MessageEntry::Deliver {
                mailbox: MailboxId(reader.varint()?),
                uid: Uid(read_u32(reader)?),
                modseq: ModSeq(reader.varint()?),
                flags: read_flags(reader)?,
                internal_date: read_date(reader)?,
                body_index: read_u32(reader)?,
                saved_s: match kind {
                    DELIVER_DATED => read_u32(reader)?,
                    _ => 0,
                },
            },
            PLACE => {
                let mailbox = MailboxId(reader.varint()?);
                let mut messages = Vec::new();
                read_messages(reader, &mut messages)?;
                MessageEntry::Place { mailbox, messages }
            }
            FLAG | FLAG_UNCHANGED => MessageEntry::Flag {
                mailbox: MailboxId(reader.varint()?),
                modseq: ModSeq(reader.varint()?),
                unchanged_since: match kind {
                    FLAG_UNCHANGED => Some(ModSeq(reader.varint()?)),
                    _ => None,
                },
                change: match reader.u8()? {
                    0 => FlagChange::Replace,
                    1 => FlagChange::Add,
                    2 => FlagChange::Remove,
                    _ => return Err(Broken),
                },
                flags: read_flags(reader)?,
                uids: read_uids(reader)?,
            },
            EXPUNGE => {
                read_magic(reader)?;
                MessageEntry::Expunge {
                    mailbox: MailboxId(reader.varint()?),
                    modseq: ModSeq(reader.varint()?),
                    deleted_only: read_bool(reader)?,
                    uids: read_uids(reader)?,
                }
            }
            RELOCATE => {
                let mailbox = MailboxId(reader.varint()?);
                let mut bodies = Vec::new();
                for _ in 0..reader.varint()? {
                    bodies.push((Uid(read_u32(reader)?), BodyRef::decode(reader)?));
                }
                MessageEntry::Relocate { mailbox, bodies }
            }
            _ => return Ok(None),
        }))
    }

    fn samples() -> Vec<MessageEntry> {
        let mailbox = MailboxId(9);
        let sample = sample(4);
        let Message {
            flags,
            internal_date,
            body,
            ..
        } = sample.clone();
        let uids = vec![Uid(1), Uid(2), Uid(9)];
        vec![
            MessageEntry::Deliver {
                mailbox,
                uid: Uid(3),
                modseq: ModSeq(5),
                flags: flags.clone(),
                internal_date,
                body_index: 0,
                saved_s: 0,
            },
            MessageEntry::Deliver {
                mailbox,
                uid: Uid(3),
                modseq: ModSeq(5),
                flags: flags.clone(),
                internal_date,
                body_index: 0,
                saved_s: 1_795_000_100,
            },
            MessageEntry::Place {
                mailbox,
                messages: vec![sample, self::sample(6)],
            },
            MessageEntry::Flag {
                mailbox,
                modseq: ModSeq(6),
                change: FlagChange::Add,
                flags: flags.clone(),
                unchanged_since: None,
                uids: uids.clone(),
            },
            MessageEntry::Flag {
                mailbox,
                modseq: ModSeq(6),
                change: FlagChange::Add,
                flags,
                unchanged_since: Some(ModSeq(5)),
                uids: uids.clone(),
            },
            MessageEntry::Expunge {
                mailbox,
                modseq: ModSeq(7),
                deleted_only: true,
                uids,
            },
            MessageEntry::Relocate {
                mailbox,
                bodies: vec![(Uid(4), body)],
            },
        ]
    }

    fn mailbox(&self) -> Option<MailboxId> {
        Some(self.about())
    }

    fn needs(&self) -> Needs {
        let depth = match self {
            MessageEntry::Deliver { .. } | MessageEntry::Place { .. } => Depth::Tail,
            MessageEntry::Flag { uids, .. } | MessageEntry::Expunge { uids, .. } => {
                Depth::from_lowest(uids.first().copied())
            }
            MessageEntry::Relocate { bodies, .. } => {
                Depth::from_lowest(bodies.iter().map(|(uid, _)| *uid).min())
            }
        };
        Needs::mailbox(self.about(), depth)
    }

    fn purpose(&self) -> Purpose {
        match self {
            MessageEntry::Expunge { .. } => Purpose::Delete,
            MessageEntry::Flag { change, flags, .. }
                if *change != FlagChange::Remove && flags.system.contains(SystemFlags::DELETED) =>
            {
                Purpose::Delete
            }
            MessageEntry::Relocate { .. } => Purpose::Reclaim,
            MessageEntry::Deliver { .. }
            | MessageEntry::Place { .. }
            | MessageEntry::Flag { .. } => Purpose::Keep,
        }
    }

    fn rows(&self, state: &State) -> u64 {
        // The head, the bytes used, the chunks.
        match self {
            MessageEntry::Deliver { mailbox, uid, .. } => {
                2 + state.rows_of_chunks(*mailbox, &[*uid])
            }
            MessageEntry::Flag { mailbox, uids, .. } => 2 + state.rows_of_chunks(*mailbox, uids),
            // And what went.
            MessageEntry::Expunge { mailbox, uids, .. } => 3 + state.rows_of_chunks(*mailbox, uids),
            MessageEntry::Place { mailbox, messages } => {
                let uids: Vec<Uid> = messages.iter().map(|message| message.uid).collect();
                let bytes: usize = messages.iter().map(encoded_bytes_max).sum();
                2 + state.rows_of_chunks(*mailbox, &uids) + (bytes / ROW_BYTES) as u64
            }
            MessageEntry::Relocate { mailbox, bodies } => {
                let uids: Vec<Uid> = bodies.iter().map(|(uid, _)| *uid).collect();
                1 + state.rows_of_chunks(*mailbox, &uids)
            }
        }
    }

    fn apply(&self, _lsn: Lsn, bodies: &[BodyRef], state: &mut State) -> Effect {
        match self {
            MessageEntry::Deliver {
                mailbox,
                uid,
                modseq,
                flags,
                internal_date,
                body_index,
                saved_s,
            } => {
                let body = bodies[*body_index as usize].clone();
                let message = Message {
                    uid: *uid,
                    modseq: *modseq,
                    flags: flags.clone(),
                    internal_date: *internal_date,
                    saved_s: *saved_s,
                    size_bytes: body.raw_bytes,
                    body,
                };
                state.place(*mailbox, std::slice::from_ref(&message))
            }
            MessageEntry::Place { mailbox, messages } => state.place(*mailbox, messages),
            MessageEntry::Flag {
                mailbox,
                modseq,
                change,
                flags,
                unchanged_since,
                uids,
            } => state.flag(*mailbox, *modseq, *change, flags, *unchanged_since, uids),
            MessageEntry::Expunge {
                mailbox,
                modseq,
                deleted_only,
                uids,
            } => state.expunge(*mailbox, *modseq, *deleted_only, uids),
            MessageEntry::Relocate { mailbox, bodies } => state.relocate(*mailbox, bodies),
        }
    }

    fn salvage(&self, bodies: &[BodyRef], remains: &mut Remains) {
        match self {
            MessageEntry::Deliver {
                mailbox,
                uid,
                modseq,
                flags,
                internal_date,
                body_index,
                saved_s,
            } => {
                let Some(body) = bodies.get(*body_index as usize) else {
                    return;
                };
                let message = Message {
                    uid: *uid,
                    modseq: *modseq,
                    flags: flags.clone(),
                    internal_date: *internal_date,
                    saved_s: *saved_s,
                    size_bytes: body.raw_bytes,
                    body: body.clone(),
                };
                remains.mailbox(*mailbox).put(&[message]);
            }
            MessageEntry::Place { mailbox, messages } => remains.mailbox(*mailbox).put(messages),
            MessageEntry::Flag {
                mailbox,
                modseq,
                change,
                flags,
                unchanged_since,
                uids,
            } => {
                let messages = &mut remains.mailbox(*mailbox).messages;
                for uid in uids {
                    let unchanged = |message: &&mut Message| {
                        unchanged_since.is_none_or(|since| message.modseq <= since)
                    };
                    if let Some(message) = messages.get_mut(uid).filter(unchanged) {
                        message.modseq = *modseq;
                        let system = &mut message.flags.system;
                        match change {
                            FlagChange::Replace => *system = flags.system,
                            FlagChange::Add => *system = system.with(flags.system),
                            FlagChange::Remove => *system = system.without(flags.system),
                        }
                    }
                }
            }
            MessageEntry::Expunge {
                mailbox,
                deleted_only,
                uids,
                ..
            } => {
                let messages = &mut remains.mailbox(*mailbox).messages;
                for uid in uids {
                    let deleted =
                        |message: &Message| message.flags.system.contains(SystemFlags::DELETED);
                    if !deleted_only || messages.get(uid).is_some_and(deleted) {
                        messages.remove(uid);
                    }
                }
            }
            MessageEntry::Relocate { mailbox, bodies } => {
                let messages = &mut remains.mailbox(*mailbox).messages;
                for (uid, body) in bodies {
                    if let Some(message) = messages.get_mut(uid) {
                        message.body = body.clone();
                    }
                }
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            MessageEntry::Place { mailbox, messages } => {
                let messages = messages.len();
                format!("Place {{ mailbox: {mailbox:?}, messages: {messages} }}")
            }
            MessageEntry::Relocate { mailbox, bodies } => {
                let bodies = bodies.len();
                format!("Relocate {{ mailbox: {mailbox:?}, bodies: {bodies} }}")
            }
            // As before there were conditions and dates, unless there is one.
            _ => format!("{self:?}")
                .replace("unchanged_since: None, ", "")
                .replace(", saved_s: 0 }", " }"),
        }
    }
}

/// A message for `samples`.
pub fn sample(uid: u32) -> Message {
    let address_of = |at| RecordAddress {
        segment: SegmentIndex(3),
        generation: Generation(2),
        batch_block: 5,
        at,
        bytes: 900,
        check: 77,
    };
    Message {
        uid: Uid(uid),
        modseq: ModSeq(40),
        flags: Flags {
            system: SystemFlags::SEEN,
            keywords: Keyword::parse("$Forwarded").into_iter().collect(),
        },
        internal_date: InternalDate {
            unix_seconds: 1_795_000_000,
            zone_minutes: -90,
        },
        saved_s: 0,
        size_bytes: 1_000,
        body: BodyRef {
            name: BodyName([5; 32]),
            raw_bytes: 1_000,
            summary: address_of(4_096),
            body: address_of(5_000),
            codec: Codec::Zstd,
        },
    }
}
