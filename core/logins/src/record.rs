//! The records of logins, and what they do to memory.
//!
//! | record | payload |
//! |---|---|
//! | 120 `Put` | account, row: all that is kept about it, so that older records may go |
//! | 121 `Remove` | protective magic, account: the account is gone |
//! | 122 `Secret` | 32 bytes, made once for the volume |
//! | 123 `Head` | the end of the chain of the audit: number of its last line, its hash, Unix seconds |
//!
//! A change is the whole row, a few hundred bytes as a rule and 8 KiB at most: it happens when a password is set, when an app password is made or
//! removed, and once a day for an app password that is used. So each record stands for all older ones, and there are no snapshots.
//!
//! A `Remove` is carried forward for ever, as the directory's removals of accounts are: an older `Put` may still be in the log.

use base::cursor::{Reader, Write};
use store::{Lsn, Record, RecordKind};
use tenancy::encoding::{Broken, put_magic, read_magic, read_u32};

use crate::head::Head;
use crate::row::{Kept, Row, read_array};
use crate::state::State;

const PUT: RecordKind = RecordKind(120);
const REMOVE: RecordKind = RecordKind(121);
const SECRET: RecordKind = RecordKind(122);
const HEAD: RecordKind = RecordKind(123);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Put { account: u32, row: Row },
    Remove { account: u32 },
    Secret([u8; 32]),
    Head(Head),
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

impl Change {
    pub fn encode(&self) -> Record {
        let mut out = Vec::with_capacity(128);
        let kind = match self {
            Change::Put { account, row } => {
                out.put_varint(u64::from(*account));
                row.encode(&mut out);
                PUT
            }
            Change::Remove { account } => {
                put_magic(&mut out);
                out.put_varint(u64::from(*account));
                REMOVE
            }
            Change::Secret(secret) => {
                out.extend_from_slice(secret);
                SECRET
            }
            Change::Head(head) => {
                head.encode(&mut out);
                HEAD
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
            PUT => Change::Put {
                account: read_u32(reader)?,
                row: Row::decode(reader)?,
            },
            REMOVE => {
                read_magic(reader)?;
                Change::Remove {
                    account: read_u32(reader)?,
                }
            }
            SECRET => Change::Secret(read_array(reader)?),
            HEAD => Change::Head(Head::decode(reader)?),
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
            Change::Put { account, row } => {
                let row = row.clone();
                state.change(*account, Some(Kept { row, written: lsn }));
            }
            Change::Remove { account } => state.change(*account, None),
            Change::Secret(secret) => state.set_secret(*secret),
            Change::Head(head) => state.set_head(*head),
        }
    }

    /// In a line, for people; without anything secret.
    pub fn describe(&self) -> String {
        match self {
            Change::Put { account, row } => {
                let (keys, apps) = (row.main.is_some(), row.apps.len());
                format!("LoginPut {{ account: {account}, keys: {keys}, app passwords: {apps} }}")
            }
            Change::Remove { account } => format!("LoginRemove {{ account: {account} }}"),
            Change::Secret(_) => "LoginSecret { … }".to_owned(),
            Change::Head(head) => format!("AuditHead {{ line: {} }}", head.line),
        }
    }
}
