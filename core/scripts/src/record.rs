//! The records of scripts, and what they do to memory.
//!
//! | record | payload |
//! |---|---|
//! | 104 `List` | protective magic, owner, all of its list, 0 or 1; 1: a version, its text to the end |
//! | 105 `Gone` | protective magic, owner: its scripts and its keys are gone |
//! | 106 `Remember` | account, the Unix second of it, count of keys, each with the Unix second until which it counts |
//!
//! A `List` says all of an owner's list, so the last one is enough. A text is in a record with a list that has it; therefore a replay that
//! reads a text has an entry for it, whichever older or newer records are gone. A `Gone` is carried forward while its owner has nothing, as the
//! directory's removals of accounts are: older lists may still be in the log.

use base::cursor::{Reader, Write};
use bytes::Bytes;
use store::{Lsn, Record, RecordKind};
use tenancy::encoding::{Broken, put_magic, read_magic, read_u32};

use crate::keys::Key;
use crate::limits::{KEYS_PER_RECORD_MAX, SCRIPT_BYTES_MAX};
use crate::list::{List, Owner, Version, within};
use crate::state::State;

const LIST: RecordKind = RecordKind(104);
const GONE: RecordKind = RecordKind(105);
const REMEMBER: RecordKind = RecordKind(106);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    List {
        owner: Owner,
        list: List,
        text: Option<(Version, Bytes)>,
    },
    Gone {
        owner: Owner,
    },
    Remember {
        account: u32,
        now: u64,
        keys: Vec<(Key, u64)>,
    },
}

impl Change {
    pub fn encode(&self) -> Record {
        let mut out = Vec::with_capacity(96);
        let kind = match self {
            Change::List { owner, list, text } => {
                put_magic(&mut out);
                owner.encode(&mut out);
                list.encode(&mut out);
                out.put_u8(u8::from(text.is_some()));
                if let Some((version, text)) = text {
                    out.put_bytes(&version.0);
                    out.put_bytes(text);
                }
                LIST
            }
            Change::Gone { owner } => {
                put_magic(&mut out);
                owner.encode(&mut out);
                GONE
            }
            Change::Remember { account, now, keys } => {
                out.put_varint(u64::from(*account));
                out.put_varint(*now);
                out.put_varint(keys.len() as u64);
                for (key, until) in keys {
                    out.put_bytes(key);
                    out.put_varint(*until);
                }
                REMEMBER
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
            LIST => {
                read_magic(reader)?;
                let owner = Owner::decode(reader)?;
                let list = List::decode(reader)?;
                let text = match reader.u8()? {
                    0 => None,
                    1 => {
                        let version = Version(reader.array()?);
                        let text = reader.take(reader.rest().len())?;
                        if text.len() > SCRIPT_BYTES_MAX || !list.has(version) {
                            return Err(Broken);
                        }
                        Some((version, record.payload.slice_ref(text)))
                    }
                    _ => return Err(Broken),
                };
                Change::List { owner, list, text }
            }
            GONE => {
                read_magic(reader)?;
                Change::Gone {
                    owner: Owner::decode(reader)?,
                }
            }
            REMEMBER => {
                let account = read_u32(reader)?;
                let now = reader.varint()?;
                let mut keys = Vec::new();
                for _ in 0..within(reader.varint()?, KEYS_PER_RECORD_MAX)? {
                    keys.push((reader.array()?, reader.varint()?));
                }
                Change::Remember { account, now, keys }
            }
            _ => return Err(Broken),
        };
        match reader.is_empty() {
            true => Ok(change),
            false => Err(Broken),
        }
    }

    /// The one place where a record changes what is visible: live at the moment of durability, in replay alike.
    pub fn apply(&self, lsn: Lsn, state: &mut State) {
        match self {
            Change::List { owner, list, text } => {
                let text = text.as_ref().map(|(version, text)| (*version, &text[..]));
                state.set_list(owner, list, text, lsn);
            }
            Change::Gone { owner } => state.remove(owner),
            Change::Remember { account, now, keys } => state.remember(*account, keys, *now),
        }
    }

    /// In a line, for people.
    pub fn describe(&self) -> String {
        match self {
            Change::List { owner, list, text } => {
                let count = list.scripts.len();
                let text = match text {
                    Some((_, text)) => format!(", with a text of {} bytes", text.len()),
                    None => String::new(),
                };
                format!("{owner:?} has {count} scripts{text}")
            }
            Change::Gone { owner } => format!("the scripts of {owner:?} are removed"),
            Change::Remember { account, keys, .. } => {
                let count = keys.len();
                format!("{count} keys are remembered for the scripts of account {account}")
            }
        }
    }
}
