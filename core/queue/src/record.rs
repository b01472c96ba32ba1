//! The queue's records, and what they do to memory.
//!
//! | record | payload |
//! |---|---|
//! | 64 `Put` | number, which of the group's bodies, envelope |
//! | 65 `Tried` | number, when, whether its sender heard of the delay, for each recipient tried its index and outcome |
//! | 66 `Remove` | protective magic, number |
//! | 67 `Relocate` | count, for each a number and a body: reclaim moved them |
//! | 68 `Snapshot` | row: all of one message, so that older records may go |
//! | 69 `Gone` | protective magic, from, to, numbers kept: every other message of the range is gone |
//! | 70 `Hold` | number, 1 or 0: an administrator wants it to wait, or to go on |
//! | 71 `Retry` | number, when: all that waits is to be tried then |
//! | 72 `Arrived` | id of a delivery (16 bytes), count, so many numbers: who has it; 0: every recipient |
//!
//! `Gone` stands for removals whose records go with their segment. Without it a rebuild from the bare log would find an older `Put` and
//! send a message twice; one for each removal would be kept for ever.

use base::cursor::{Reader, Write};
use store::{BodyRef, Lsn, Record, RecordKind};
use tenancy::encoding::{Broken, put_magic, put_text, read_magic, read_text, read_u32};

use crate::arrived::{DeliveryId, Served, put_id, read_id};
use crate::entry::*;
use crate::limits::{KEPT_IN_RECORD_MAX, RECIPIENTS_MAX};
use crate::state::State;
use crate::{QueueId, UnixSeconds};

const PUT: RecordKind = RecordKind(64);
const TRIED: RecordKind = RecordKind(65);
const REMOVE: RecordKind = RecordKind(66);
const RELOCATE: RecordKind = RecordKind(67);
const SNAPSHOT: RecordKind = RecordKind(68);
const GONE: RecordKind = RecordKind(69);
const HOLD: RecordKind = RecordKind(70);
const RETRY: RecordKind = RecordKind(71);
const ARRIVED: RecordKind = RecordKind(72);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Put {
        id: QueueId,
        body_index: u32,
        envelope: Envelope,
    },
    Tried {
        id: QueueId,
        at: UnixSeconds,
        warned: bool,
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
    Hold {
        id: QueueId,
        held: bool,
    },
    Retry {
        id: QueueId,
        at: UnixSeconds,
    },
    Arrived {
        id: DeliveryId,
        served: Served,
    },
}

impl Change {
    /// Varints throughout: numbers of the queue are small for years, and a record is written for each try. The order of fields is the format.
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
                for to in &envelope.recipients {
                    put_addressee(&mut out, to);
                }
                out.put_varint(envelope.arrived.0);
                out.put_varint(envelope.warns.0);
                out.put_varint(envelope.expires.0);
                put_terms(&mut out, &envelope.terms);
                PUT
            }
            Change::Tried {
                id,
                at,
                warned,
                outcomes,
            } => {
                out.put_varint(id.0);
                out.put_varint(at.0);
                out.put_u8(u8::from(*warned));
                out.put_varint(outcomes.len() as u64);
                for outcome in outcomes {
                    out.put_varint(u64::from(outcome.recipient));
                    put_state(&mut out, outcome.state);
                    put_text(&mut out, &outcome.reply);
                    put_text(&mut out, &outcome.host);
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
            Change::Hold { id, held } => {
                out.put_varint(id.0);
                out.put_u8(u8::from(*held));
                HOLD
            }
            Change::Retry { id, at } => {
                out.put_varint(id.0);
                out.put_varint(at.0);
                RETRY
            }
            Change::Arrived { id, served } => {
                put_id(&mut out, *id);
                served.encode(&mut out);
                ARRIVED
            }
        };
        Record {
            kind,
            payload: out.into(),
        }
    }

    /// `Broken` for a kind or a shape this release does not know: such a log must not be opened by it.
    // Each count is held against its bound before anything is made for it: a damaged one would otherwise ask for gigabytes.
    pub fn decode(record: &Record) -> Result<Change, Broken> {
        let reader = &mut Reader::new(&record.payload);
        let change = match record.kind {
            PUT => {
                let id = QueueId(reader.varint()?);
                let body_index = read_u32(reader)?;
                let from = read_text(reader)?;
                let mut recipients = Vec::new();
                for _ in 0..count(reader, RECIPIENTS_MAX)? {
                    recipients.push(read_addressee(reader)?);
                }
                Change::Put {
                    id,
                    body_index,
                    envelope: Envelope {
                        from,
                        recipients,
                        arrived: UnixSeconds(reader.varint()?),
                        warns: UnixSeconds(reader.varint()?),
                        expires: UnixSeconds(reader.varint()?),
                        terms: read_terms(reader)?,
                    },
                }
            }
            TRIED => {
                let id = QueueId(reader.varint()?);
                let at = UnixSeconds(reader.varint()?);
                let warned = read_bool(reader)?;
                let mut outcomes = Vec::new();
                for _ in 0..count(reader, RECIPIENTS_MAX)? {
                    outcomes.push(Outcome {
                        recipient: read_u32(reader)?,
                        state: read_state(reader)?,
                        reply: read_text(reader)?,
                        host: read_text(reader)?,
                    });
                }
                Change::Tried {
                    id,
                    at,
                    warned,
                    outcomes,
                }
            }
            REMOVE => {
                read_magic(reader)?;
                Change::Remove {
                    id: QueueId(reader.varint()?),
                }
            }
            RELOCATE => {
                let mut bodies = Vec::new();
                // Bounded by the record itself: each turn takes bytes, and ends with them.
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
                    // Ascending and within the range: `apply` searches it by halves.
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
            HOLD => Change::Hold {
                id: QueueId(reader.varint()?),
                held: read_bool(reader)?,
            },
            RETRY => Change::Retry {
                id: QueueId(reader.varint()?),
                at: UnixSeconds(reader.varint()?),
            },
            ARRIVED => Change::Arrived {
                id: read_id(reader)?,
                served: Served::decode(reader)?,
            },
            _ => return Err(Broken),
        };
        // Bytes behind the end are fields of a later release, and what they say would be lost when the row is written again.
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
                let waiting = |to: &Addressee| Recipient {
                    to: to.clone(),
                    state: RecipientState::Waiting(envelope.arrived),
                    tries: 0,
                    reply: String::new(),
                    host: String::new(),
                    tried: UnixSeconds(0),
                };
                let entry = Entry {
                    id: *id,
                    body: bodies[*body_index as usize].clone(),
                    from: envelope.from.clone(),
                    recipients: envelope.recipients.iter().map(waiting).collect(),
                    arrived: envelope.arrived,
                    warns: envelope.warns,
                    expires: envelope.expires,
                    terms: envelope.terms.clone(),
                    warned: false,
                    held: false,
                    snapshot: Lsn(0),
                };
                state.put(entry);
            }
            Change::Tried {
                id,
                at,
                warned,
                outcomes,
            } => state.change(*id, |entry| {
                entry.warned |= warned;
                for outcome in outcomes {
                    let index = outcome.recipient as usize;
                    if let Some(recipient) = entry.recipients.get_mut(index) {
                        recipient.state = outcome.state;
                        recipient.tries = recipient.tries.saturating_add(1);
                        recipient.reply.clone_from(&outcome.reply);
                        recipient.host.clone_from(&outcome.host);
                        recipient.tried = *at;
                    }
                }
            }),
            Change::Hold { id, held } => state.change(*id, |entry| entry.held = *held),
            Change::Retry { id, at } => state.change(*id, |entry| {
                for recipient in &mut entry.recipients {
                    if let RecipientState::Waiting(next) = &mut recipient.state {
                        *next = *at;
                    }
                }
            }),
            Change::Arrived { id, served } => state.arrived.note(*id, served),
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
                // A number is never given twice, not even when its message and every record about it are gone.
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
            Change::Tried { id, outcomes, .. } => {
                format!(
                    "QueueTried {{ id: {}, recipients: {} }}",
                    id.0,
                    outcomes.len()
                )
            }
            Change::Hold { id, held } => format!("QueueHold {{ id: {}, held: {held} }}", id.0),
            Change::Retry { id, at } => format!("QueueRetry {{ id: {}, at: {} }}", id.0, at.0),
            Change::Arrived { id, served } => {
                let hex: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("QueueArrived {{ id: {hex}, served: {served:?} }}")
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

fn read_bool(reader: &mut Reader<'_>) -> Result<bool, Broken> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Broken),
    }
}
