//! A COPY that is larger than a group: until its last group is durable, it is known which messages it placed, so that a crash in
//! between leaves nothing of it (RFC 3501 §6.4.7).
//!
//! | record | payload |
//! |---|---|
//! | 58 `Part` | protective magic, mailbox, source, first UID of the copy, ranges of UIDs |
//! | 59 `Done` | mailbox, first UID of the copy |
//!
//! `Part` is in the group that places the messages, `Done` in the last one, or in the one that takes the last of them back. The next start
//! takes back what is not done (`copy/back.rs`), as far as the source still has it. The client of such a COPY was answered nothing, or NO where
//! the volume could not be written.
//!
//! Rows of `UNFINISHED`. A snapshot of the mailbox forgets its copies, as it does what went (`row/gone.rs`), and names those that are not done
//! behind its last part, in the same group. Without that, a log of which reclaim had freed the segment of `Done` and not that of `Part` would
//! take messages back that a client was promised.

use base::cursor::{Reader, Write};
use mail::Uid;
use store::{BodyRef, Lsn, Purpose, RecordKind};
use tenancy::encoding::{Broken, put_magic, read_magic, read_u32};

use crate::MailboxId;
use crate::limits::ROW_BYTES;
use crate::noun::{Depth, Effect, Needs, Noun};
use crate::remains::Remains;
use crate::row::{put_ranges, read_ranges};
use crate::state::State;

const PART: RecordKind = RecordKind(58);
const DONE: RecordKind = RecordKind(59);

/// How far a large COPY is. The record's kind is in the table above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyEntry {
    /// It placed these messages, and is not at its end.
    Part {
        /// Where it places them.
        mailbox: MailboxId,
        /// Where the originals are.
        from: MailboxId,
        /// The first UID that it was given, which names it.
        copy: Uid,
        /// Ascending, both ends included.
        ranges: Vec<(Uid, Uid)>,
    },
    /// All of it is there, or nothing any more.
    Done { mailbox: MailboxId, copy: Uid },
}

impl Noun for CopyEntry {
    fn encode(&self, out: &mut Vec<u8>) -> RecordKind {
        match self {
            CopyEntry::Part {
                mailbox,
                from,
                copy,
                ranges,
            } => {
                // Because of it messages go at the next start.
                put_magic(out);
                out.put_varint(mailbox.0);
                out.put_varint(from.0);
                out.put_varint(u64::from(copy.0));
                put_ranges(out, ranges);
                PART
            }
            CopyEntry::Done { mailbox, copy } => {
                out.put_varint(mailbox.0);
                out.put_varint(u64::from(copy.0));
                DONE
            }
        }
    }

    fn decode(kind: RecordKind, reader: &mut Reader<'_>) -> Result<Option<CopyEntry>, Broken> {
        Ok(Some(match kind {
            PART => {
                read_magic(reader)?;
                CopyEntry::Part {
                    mailbox: MailboxId(reader.varint()?),
                    from: MailboxId(reader.varint()?),
                    copy: Uid(read_u32(reader)?),
                    ranges: read_ranges(reader)?,
                }
            }
            DONE => CopyEntry::Done {
                mailbox: MailboxId(reader.varint()?),
                copy: Uid(read_u32(reader)?),
            },
            _ => return Ok(None),
        }))
    }

    fn samples() -> Vec<CopyEntry> {
        let (mailbox, copy) = (MailboxId(9), Uid(3));
        vec![
            CopyEntry::Part {
                mailbox,
                from: MailboxId(8),
                copy,
                ranges: vec![(Uid(3), Uid(9)), (Uid(12), Uid(12))],
            },
            CopyEntry::Done { mailbox, copy },
        ]
    }

    fn mailbox(&self) -> Option<MailboxId> {
        match self {
            CopyEntry::Part { mailbox, .. } | CopyEntry::Done { mailbox, .. } => Some(*mailbox),
        }
    }

    fn needs(&self) -> Needs {
        match self {
            CopyEntry::Part { mailbox, .. } | CopyEntry::Done { mailbox, .. } => {
                Needs::mailbox(*mailbox, Depth::Head)
            }
        }
    }

    fn purpose(&self) -> Purpose {
        match self {
            CopyEntry::Part { .. } => Purpose::Keep,
            CopyEntry::Done { .. } => Purpose::Delete,
        }
    }

    /// One row, and what it has already.
    fn rows(&self, state: &State) -> u64 {
        1 + (10 * state.copied_ranges() / ROW_BYTES) as u64
    }

    fn apply(&self, _lsn: Lsn, _bodies: &[BodyRef], state: &mut State) -> Effect {
        match self {
            CopyEntry::Part {
                mailbox,
                from,
                copy,
                ranges,
            } => {
                // A mailbox that is gone took the copies along.
                if !state.mailboxes.contains_key(mailbox) {
                    return Effect::Absent;
                }
                state.note_copying(*mailbox, *from, *copy, ranges);
                Effect::Applied
            }
            CopyEntry::Done { mailbox, copy } => match state.note_copied(*mailbox, *copy) {
                true => Effect::Applied,
                false => Effect::Absent,
            },
        }
    }

    /// Copies of mail are not lost mail: all of them are kept.
    fn salvage(&self, _bodies: &[BodyRef], _remains: &mut Remains) {}

    fn describe(&self) -> String {
        format!("{self:?}")
    }
}
