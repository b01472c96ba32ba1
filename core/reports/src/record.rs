//! How sheets change, and what of that is in the log.
//!
//! | kind | record | payload |
//! |---|---|---|
//! | 112 | ADD | key, head, once, other, lines with their counts |
//! | 113 | CLOSE | magic, key |
//! | 114 | FLOOR | magic, subject, day: sheets of that subject before that day are gone, and none comes back |
//! | 115 | SNAPSHOT | key, the sheet as it is |

use base::cursor::{Reader, Write};
use store::{Lsn, Record, RecordKind};
use tenancy::encoding::{Broken, put_magic, read_magic, read_u32};

use crate::limits::SUBJECTS_MAX;
use crate::sheet::{Addition, Day, Key, Sheet, Subject};
use crate::state::State;

const ADD: RecordKind = RecordKind(112);
const CLOSE: RecordKind = RecordKind(113);
const FLOOR: RecordKind = RecordKind(114);
const SNAPSHOT: RecordKind = RecordKind(115);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Add(Addition),
    Close(Key),
    Floor { subject: Subject, day: Day },
    Snapshot { key: Key, sheet: Sheet },
}

impl Change {
    pub fn encode(&self) -> Record {
        let mut out = Vec::with_capacity(96);
        let kind = match self {
            Change::Add(addition) => {
                addition.encode(&mut out);
                ADD
            }
            Change::Close(key) => {
                put_magic(&mut out);
                key.encode(&mut out);
                CLOSE
            }
            Change::Floor { subject, day } => {
                put_magic(&mut out);
                out.put_u8(subject.0);
                out.put_varint(u64::from(day.0));
                FLOOR
            }
            Change::Snapshot { key, sheet } => {
                key.encode(&mut out);
                sheet.encode(&mut out);
                SNAPSHOT
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
            ADD => Change::Add(Addition::decode(reader)?),
            CLOSE => {
                read_magic(reader)?;
                Change::Close(Key::decode(reader)?)
            }
            FLOOR => {
                read_magic(reader)?;
                let subject = Subject(reader.u8()?);
                if subject.0 >= SUBJECTS_MAX {
                    return Err(Broken);
                }
                let day = Day(read_u32(reader)?);
                Change::Floor { subject, day }
            }
            SNAPSHOT => Change::Snapshot {
                key: Key::decode(reader)?,
                sheet: Sheet::decode(reader)?,
            },
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
            Change::Add(addition) => state.change(&addition.key, |sheet| sheet.add(addition)),
            Change::Close(key) => state.change(key, Sheet::close),
            Change::Floor { subject, day } => state.raise_floor(*subject, *day, lsn),
            Change::Snapshot { key, sheet } => state.change(key, |there| {
                there.clone_from(sheet);
                there.snapshot = lsn;
            }),
        }
    }

    /// In a line, for people.
    pub fn describe(&self) -> String {
        let of = |key: &Key| {
            let Key { subject, day, name } = key;
            format!("{name} (kind {}, day {})", subject.0, day.0)
        };
        match self {
            Change::Add(addition) => {
                let lines = addition.lines.len();
                format!("counted for {}: {lines} lines", of(&addition.key))
            }
            Change::Close(key) => format!("the counts for {} are closed", of(key)),
            Change::Floor { subject, day } => {
                format!("counts of kind {} before day {} are gone", subject.0, day.0)
            }
            Change::Snapshot { key, sheet } => {
                format!("counts for {}: {} lines", of(key), sheet.lines.len())
            }
        }
    }
}
