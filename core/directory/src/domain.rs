//! A domain of ours: its records and its row. What they do to memory is in `state/apply.rs`.
//!
//! | record | payload |
//! |---|---|
//! | 1 `Put` | name |
//! | 2 `Remove` | protective magic, name |
//!
//! Row of `DOMAINS`: name → accounts in it.

use std::cell::Cell;
use std::rc::Rc;

use base::cursor::Reader;
use store::{Record, RecordKind, Table};
use tenancy::encoding::{Broken, put_magic, put_text, read_magic, read_text};

use crate::whole::Epoch;

/// Name → number of accounts.
pub(crate) const DOMAINS: Table = Table(2);

const PUT: RecordKind = RecordKind(1);
const REMOVE: RecordKind = RecordKind(2);

/// What happened to a domain, as one record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DomainEntry {
    /// We have mail for it.
    Put { domain: String },
    /// We have not, any more.
    Remove { domain: String },
}

/// What memory holds of a domain.
#[derive(Default)]
pub(crate) struct Domain {
    pub present: bool,
    pub accounts: u64,
    pub dirty: Option<Epoch>,
    /// Accounts on their way to the log.
    pub arriving: Rc<Cell<u32>>,
    /// A removal is on its way to the log: no account may come in behind it.
    pub closing: Rc<Cell<bool>>,
}

impl Domain {
    /// Whether an account may be made in it.
    pub fn is_open(&self) -> bool {
        self.present && !self.closing.get()
    }
}

impl DomainEntry {
    /// The record; its pair is `decode`.
    pub fn encode(&self) -> Record {
        let mut payload = Vec::with_capacity(48);
        let kind = match self {
            DomainEntry::Put { domain } => {
                put_text(&mut payload, domain);
                PUT
            }
            DomainEntry::Remove { domain } => {
                put_magic(&mut payload);
                put_text(&mut payload, domain);
                REMOVE
            }
        };
        Record {
            kind,
            payload: payload.into(),
        }
    }

    /// `None`: the record is another noun's.
    pub fn decode(
        kind: RecordKind,
        reader: &mut Reader<'_>,
    ) -> Result<Option<DomainEntry>, Broken> {
        Ok(Some(match kind {
            PUT => DomainEntry::Put {
                domain: read_text(reader)?,
            },
            REMOVE => {
                read_magic(reader)?;
                DomainEntry::Remove {
                    domain: read_text(reader)?,
                }
            }
            _ => return Ok(None),
        }))
    }

    /// The name that the record is about.
    pub fn domain(&self) -> &str {
        match self {
            DomainEntry::Put { domain } | DomainEntry::Remove { domain } => domain,
        }
    }
}
