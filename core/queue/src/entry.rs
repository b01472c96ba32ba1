//! A message that must leave: its records, its row, and what they do to memory.
//!
//! | record | payload |
//! |---|---|
//! | 64 `Put` | number, which of the group's bodies, envelope |
//! | 65 `Tried` | number, for each recipient tried its index and outcome |
//! | 66 `Remove` | protective magic, number |
//! | 67 `Relocate` | count, for each a number and a body: reclaim moved them |
//! | 68 `Snapshot` | row: all of one message, so that older records may go |
//! | 69 `Gone` | protective magic, from, to, numbers kept: every other message of the range is gone |
//!
//! `Gone` stands for removals whose records go with their segment. Without it a rebuild from the bare log would find an older `Put` and
//! send a message twice; one for each removal would be kept for ever.
//!
//! Row of `ENTRIES`: number (u64 big-endian) → [`Entry`].

use base::cursor::{Reader, Write};
use store::{BodyRef, Lsn, Record, RecordKind, Table};
use tenancy::encoding::{Broken, put_magic, put_text, read_magic, read_text, read_u32};

use crate::limits::{KEPT_IN_RECORD_MAX, RECIPIENTS_MAX};
use crate::state::State;
use crate::{QueueId, UnixSeconds};

pub(crate) const ENTRIES: Table = Table(65);

const PUT: RecordKind = RecordKind(64);
const TRIED: RecordKind = RecordKind(65);
const REMOVE: RecordKind = RecordKind(66);
const RELOCATE: RecordKind = RecordKind(67);
const SNAPSHOT: RecordKind = RecordKind(68);
const GONE: RecordKind = RecordKind(69);

/// Who a message is from and to, and for how long it is tried (RFC 5321 §4.5.4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path without brackets; empty for a message that nobody answers (RFC 5321 §4.5.5).
    pub from: String,
    /// Forward-paths without brackets.
    pub recipients: Vec<String>,
    pub arrived: UnixSeconds,
    /// When what has not left is given up.
    pub expires: UnixSeconds,
}

/// One recipient of a message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub path: String,
    pub state: RecipientState,
    /// Tries so far.
    pub tries: u32,
    /// What the last try was answered; empty before the first.
    pub reply: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecipientState {
    /// To be tried at this time.
    Waiting(UnixSeconds),
    /// A server took it.
    Delivered,
    /// Refused for good.
    Failed,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Index among the message's recipients.
    pub recipient: u32,
    pub state: RecipientState,
    pub reply: String,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: QueueId,
    pub body: BodyRef,
    pub from: String,
    pub recipients: Vec<Recipient>,
    pub arrived: UnixSeconds,
    pub expires: UnixSeconds,
    /// Records about it before this one are no longer needed.
    pub snapshot: Lsn,
}

impl Entry {
    /// When it is to be tried next; `None`: nothing of it waits.
    pub fn next_try(&self) -> Option<UnixSeconds> {
        let waiting = self
            .recipients
            .iter()
            .filter_map(|recipient| match recipient.state {
                RecipientState::Waiting(at) => Some(at),
                RecipientState::Delivered | RecipientState::Failed => None,
            });
        waiting.min()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(ROW_VERSION);
        out.put_varint(self.id.0);
        self.body.encode(out);
        put_text(out, &self.from);
        out.put_varint(self.recipients.len() as u64);
        for recipient in &self.recipients {
            put_text(out, &recipient.path);
            put_state(out, recipient.state);
            out.put_varint(u64::from(recipient.tries));
            put_text(out, &recipient.reply);
        }
        out.put_varint(self.arrived.0);
        out.put_varint(self.expires.0);
        out.put_varint(self.snapshot.0);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Entry, Broken> {
        if reader.u8()? != ROW_VERSION {
            return Err(Broken);
        }
        let id = QueueId(reader.varint()?);
        let body = BodyRef::decode(reader)?;
        let from = read_text(reader)?;
        let mut recipients = Vec::new();
        for _ in 0..count(reader, RECIPIENTS_MAX)? {
            recipients.push(Recipient {
                path: read_text(reader)?,
                state: read_state(reader)?,
                tries: read_u32(reader)?,
                reply: read_text(reader)?,
            });
        }
        Ok(Entry {
            id,
            body,
            from,
            recipients,
            arrived: UnixSeconds(reader.varint()?),
            expires: UnixSeconds(reader.varint()?),
            snapshot: Lsn(reader.varint()?),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Put {
        id: QueueId,
        body_index: u32,
        envelope: Envelope,
    },
    Tried {
        id: QueueId,
        outcomes: Vec<Outcome>,
    },
    Remove {
        id: QueueId,
    },
    Relocate {
        bodies: Vec<(QueueId, BodyRef)>,
    },
    Snapshot {
        entry: Entry,
    },
    /// Of `from <= number < to` only those in `kept` (ascending) are left.
    Gone {
        from: QueueId,
        to: QueueId,
        kept: Vec<QueueId>,
    },
}

impl Change {
    pub fn encode(&self) -> Record {
        let mut out = Vec::with_capacity(96);
        let kind = match self {
            Change::Put {
                id,
                body_index,
                envelope,
            } => {
                out.put_varint(id.0);
                out.put_varint(u64::from(*body_index));
                put_text(&mut out, &envelope.from);
                out.put_varint(envelope.recipients.len() as u64);
                for path in &envelope.recipients {
                    put_text(&mut out, path);
                }
                out.put_varint(envelope.arrived.0);
                out.put_varint(envelope.expires.0);
                PUT
            }
            Change::Tried { id, outcomes } => {
                out.put_varint(id.0);
                out.put_varint(outcomes.len() as u64);
                for outcome in outcomes {
                    out.put_varint(u64::from(outcome.recipient));
                    put_state(&mut out, outcome.state);
                    put_text(&mut out, &outcome.reply);
                }
                TRIED
            }
            Change::Remove { id } => {
                put_magic(&mut out);
                out.put_varint(id.0);
                REMOVE
            }
            Change::Relocate { bodies } => {
                out.put_varint(bodies.len() as u64);
                for (id, body) in bodies {
                    out.put_varint(id.0);
                    body.encode(&mut out);
                }
                RELOCATE
            }
            Change::Snapshot { entry } => {
                entry.encode(&mut out);
                SNAPSHOT
            }
            Change::Gone { from, to, kept } => {
                put_magic(&mut out);
                out.put_varint(from.0);
                out.put_varint(to.0);
                out.put_varint(kept.len() as u64);
                let mut before = from.0;
                for id in kept {
                    out.put_varint(id.0 - before);
                    before = id.0;
                }
                GONE
            }
        };
        Record {
            kind,
            payload: out.into(),
        }
    }

    /// `Broken` for a kind or a shape this release does not know: such a log must not be opened by it.
    pub fn decode(record: &Record) -> Result<Change, Broken> {
        let reader = &mut Reader::new(&record.payload);
        let change = match record.kind {
            PUT => {
                let id = QueueId(reader.varint()?);
                let body_index = read_u32(reader)?;
                let from = read_text(reader)?;
                let mut recipients = Vec::new();
                for _ in 0..count(reader, RECIPIENTS_MAX)? {
                    recipients.push(read_text(reader)?);
                }
                Change::Put {
                    id,
                    body_index,
                    envelope: Envelope {
                        from,
                        recipients,
                        arrived: UnixSeconds(reader.varint()?),
                        expires: UnixSeconds(reader.varint()?),
                    },
                }
            }
            TRIED => {
                let id = QueueId(reader.varint()?);
                let mut outcomes = Vec::new();
                for _ in 0..count(reader, RECIPIENTS_MAX)? {
                    outcomes.push(Outcome {
                        recipient: read_u32(reader)?,
                        state: read_state(reader)?,
                        reply: read_text(reader)?,
                    });
                }
                Change::Tried { id, outcomes }
            }
            REMOVE => {
                read_magic(reader)?;
                Change::Remove {
                    id: QueueId(reader.varint()?),
                }
            }
            RELOCATE => {
                let mut bodies = Vec::new();
                for _ in 0..reader.varint()? {
                    bodies.push((QueueId(reader.varint()?), BodyRef::decode(reader)?));
                }
                Change::Relocate { bodies }
            }
            SNAPSHOT => Change::Snapshot {
                entry: Entry::decode(reader)?,
            },
            GONE => {
                read_magic(reader)?;
                let (from, to) = (reader.varint()?, reader.varint()?);
                let mut kept = Vec::new();
                let mut before = from;
                for index in 0..count(reader, KEPT_IN_RECORD_MAX)? {
                    let ahead = reader.varint()?;
                    before = before.checked_add(ahead).ok_or(Broken)?;
                    if before >= to || index > 0 && ahead == 0 {
                        return Err(Broken);
                    }
                    kept.push(QueueId(before));
                }
                Change::Gone {
                    from: QueueId(from),
                    to: QueueId(to),
                    kept,
                }
            }
            _ => return Err(Broken),
        };
        if reader.is_empty() {
            Ok(change)
        } else {
            Err(Broken)
        }
    }

    /// The one place where a record changes what is visible: live at the moment of durability, in replay alike. `bodies` are the
    /// group's. What is absent was removed, or a later snapshot stands for it; then the change has no effect.
    pub fn apply(&self, lsn: Lsn, bodies: &[BodyRef], state: &mut State) {
        match self {
            Change::Put {
                id,
                body_index,
                envelope,
            } => {
                let waiting = |path: &String| Recipient {
                    path: path.clone(),
                    state: RecipientState::Waiting(envelope.arrived),
                    tries: 0,
                    reply: String::new(),
                };
                let entry = Entry {
                    id: *id,
                    body: bodies[*body_index as usize].clone(),
                    from: envelope.from.clone(),
                    recipients: envelope.recipients.iter().map(waiting).collect(),
                    arrived: envelope.arrived,
                    expires: envelope.expires,
                    snapshot: Lsn(0),
                };
                state.put(entry);
            }
            Change::Tried { id, outcomes } => state.change(*id, |entry| {
                for outcome in outcomes {
                    let index = outcome.recipient as usize;
                    if let Some(recipient) = entry.recipients.get_mut(index) {
                        recipient.state = outcome.state;
                        recipient.tries = recipient.tries.saturating_add(1);
                        recipient.reply.clone_from(&outcome.reply);
                    }
                }
            }),
            Change::Remove { id } => state.remove(*id),
            Change::Relocate { bodies } => {
                for (id, body) in bodies {
                    state.change(*id, |entry| entry.body = body.clone());
                }
            }
            Change::Snapshot { entry } => state.put(Entry {
                snapshot: lsn,
                ..entry.clone()
            }),
            Change::Gone { from, to, kept } => {
                let within = state.entries.range(*from..*to).map(|(id, _)| *id);
                let gone = within.filter(|id| kept.binary_search(id).is_err());
                for id in gone.collect::<Vec<_>>() {
                    state.remove(id);
                }
                state.raise_next(QueueId(to.0.saturating_sub(1)));
            }
        }
    }

    /// One line for people. The envelope's paths are mail's, not secrets.
    pub fn describe(&self) -> String {
        match self {
            Change::Put { id, envelope, .. } => format!(
                "QueuePut {{ id: {}, from: <{}>, recipients: {} }}",
                id.0,
                envelope.from,
                envelope.recipients.len()
            ),
            Change::Tried { id, outcomes } => {
                format!(
                    "QueueTried {{ id: {}, recipients: {} }}",
                    id.0,
                    outcomes.len()
                )
            }
            Change::Remove { id } => format!("QueueRemove {{ id: {} }}", id.0),
            Change::Relocate { bodies } => format!("QueueRelocate {{ bodies: {} }}", bodies.len()),
            Change::Snapshot { entry } => format!(
                "QueueSnapshot {{ id: {}, from: <{}>, recipients: {} }}",
                entry.id.0,
                entry.from,
                entry.recipients.len()
            ),
            Change::Gone { from, to, kept } => {
                format!(
                    "QueueGone {{ ids: {}..{}, kept: {} }}",
                    from.0,
                    to.0,
                    kept.len()
                )
            }
        }
    }
}

fn put_state(out: &mut Vec<u8>, state: RecipientState) {
    match state {
        RecipientState::Waiting(at) => {
            out.put_u8(0);
            out.put_varint(at.0);
        }
        RecipientState::Delivered => out.put_u8(1),
        RecipientState::Failed => out.put_u8(2),
    }
}

fn read_state(reader: &mut Reader<'_>) -> Result<RecipientState, Broken> {
    Ok(match reader.u8()? {
        0 => RecipientState::Waiting(UnixSeconds(reader.varint()?)),
        1 => RecipientState::Delivered,
        2 => RecipientState::Failed,
        _ => return Err(Broken),
    })
}

fn count(reader: &mut Reader<'_>, max: usize) -> Result<usize, Broken> {
    let count = reader.varint()?;
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= max)
        .ok_or(Broken)
}

pub(crate) fn entry_key(id: QueueId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

const ROW_VERSION: u8 = 1;
