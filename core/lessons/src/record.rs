//! The records of lessons, and what they do to memory.
//!
//! | record | payload |
//! |---|---|
//! | 96 `Learn` | count of owners, owners, message, kind (0 junk, 1 good, 2 neither), count of words, words |
//! | 97 `Remove` | protective magic, owner: its model is gone |
//! | 98 `Snapshot` | owner, row: all of one model, so that older records may go |
//!
//! A `Remove` is carried forward while its owner has no model, as the directory's removals of accounts are: older lessons may still be in
//! the log, and a domain that is added again must not get the words of the one before. It costs some 40 bytes for each owner that ever had a
//! model. The storage room removes models of owners that are gone (`storage::lessons::sweep`). A model that is emptied while its owner
//! stays is a `Snapshot`.

use base::cursor::{Reader, Write};
use store::{Lsn, Record, RecordKind};
use tenancy::encoding::{Broken, put_magic, read_magic};

use crate::limits::WORDS_PER_LESSON_MAX;
use crate::model::{Kind, Lesson, Model, Whom};
use crate::state::State;

const LEARN: RecordKind = RecordKind(96);
const REMOVE: RecordKind = RecordKind(97);
const SNAPSHOT: RecordKind = RecordKind(98);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// One or two owners: a person, and the person's domain.
    Learn {
        of: Vec<Whom>,
        lesson: Lesson,
    },
    Remove {
        whom: Whom,
    },
    Snapshot {
        whom: Whom,
        model: Model,
    },
}

impl Change {
    pub fn encode(&self) -> Record {
        let mut out = Vec::with_capacity(96);
        let kind = match self {
            Change::Learn { of, lesson } => {
                out.put_varint(of.len() as u64);
                of.iter().for_each(|whom| whom.encode(&mut out));
                out.put_u64(lesson.message);
                out.put_u8(match lesson.kind {
                    Some(Kind::Junk) => 0,
                    Some(Kind::Good) => 1,
                    None => 2,
                });
                out.put_varint(lesson.words.len() as u64);
                lesson.words.iter().for_each(|word| out.put_u64(*word));
                LEARN
            }
            Change::Remove { whom } => {
                put_magic(&mut out);
                whom.encode(&mut out);
                REMOVE
            }
            Change::Snapshot { whom, model } => {
                whom.encode(&mut out);
                model.encode(&mut out);
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
            LEARN => {
                let mut of = Vec::new();
                for _ in 0..within(reader.varint()?, OWNERS_MAX)? {
                    of.push(Whom::decode(reader)?);
                }
                let message = reader.u64()?;
                let kind = match reader.u8()? {
                    0 => Some(Kind::Junk),
                    1 => Some(Kind::Good),
                    2 => None,
                    _ => return Err(Broken),
                };
                let mut words = Vec::new();
                for _ in 0..within(reader.varint()?, WORDS_PER_LESSON_MAX)? {
                    let word = reader.u64()?;
                    if words.last().is_some_and(|before| *before >= word) {
                        return Err(Broken);
                    }
                    words.push(word);
                }
                let lesson = Lesson {
                    message,
                    kind,
                    words,
                };
                Change::Learn { of, lesson }
            }
            REMOVE => {
                read_magic(reader)?;
                Change::Remove {
                    whom: Whom::decode(reader)?,
                }
            }
            SNAPSHOT => Change::Snapshot {
                whom: Whom::decode(reader)?,
                model: Model::decode(reader)?,
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
            Change::Learn { of, lesson } => {
                for whom in of {
                    state.change(whom, |model| model.take(lesson));
                }
            }
            Change::Remove { whom } => state.remove(whom),
            Change::Snapshot { whom, model } => state.change(whom, |there| {
                there.clone_from(model);
                there.snapshot = lsn;
            }),
        }
    }

    /// Whose models it is about.
    pub fn whom(&self) -> &[Whom] {
        match self {
            Change::Learn { of, .. } => of,
            Change::Snapshot { whom, .. } | Change::Remove { whom } => std::slice::from_ref(whom),
        }
    }

    /// In a line, for people.
    pub fn describe(&self) -> String {
        match self {
            Change::Learn { of, lesson } => {
                let kind = match lesson.kind {
                    Some(Kind::Junk) => "junk",
                    Some(Kind::Good) => "good mail",
                    None => "neither junk nor good",
                };
                let words = lesson.words.len();
                format!("{of:?} learn from {words} words that a message is {kind}")
            }
            Change::Remove { whom } => format!("the lessons of {whom:?} are removed"),
            Change::Snapshot { whom, model } => {
                format!("lessons of {whom:?}: {} words", model.words_count())
            }
        }
    }
}

fn within(count: u64, most: usize) -> Result<usize, Broken> {
    let count = usize::try_from(count).map_err(|_| Broken)?;
    if count <= most {
        Ok(count)
    } else {
        Err(Broken)
    }
}

/// A person, and the person's domain.
pub(crate) const OWNERS_MAX: usize = 2;
