//! An account elsewhere from which mail is fetched for a person, and which of its messages are here already.
//!
//! Records 10 `Put` and 11 `Remove` as in `whole.rs`. Two kinds of rows share them, told apart by the first octet: 1 is the account elsewhere, under
//! `ACCOUNT NUL NUMBER`; 2 is some of the marks of its messages, under `ACCOUNT NUL NUMBER NUL BLOCK` (decimal numbers).
//!
//! Why here: the row is small, is looked at by name, and must be in the same volume as the mail, so that the mark of a message and the message are one step of
//! the log. The password is sealed with a key that the volume does not have (`ringpostd`'s `fetch/seal.rs`): a leg that leaves the box does not give it away.

use std::fmt;

use base::cursor::{Reader, Write};
use store::{RecordKind, Table};
use tenancy::encoding::{Broken, put_text, read_text, read_u32};

use crate::limits::{FETCH_ROW_COST, FETCH_ROWS_MAX, FETCH_SEALED_BYTES_MAX, FETCHED_PER_ROW_MAX};
use crate::whole::Noun;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchProtocol {
    Pop3,
    Imap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchTls {
    /// From the first byte.
    Inside,
    /// STLS or STARTTLS.
    Started,
    /// None: who listens sees the password and the mail.
    Absent,
}

/// What becomes there of a message that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Always,
    /// So many days after it was fetched it is deleted there; 0: at once.
    Days(u32),
}

/// A password that only the daemon of this box can open.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Sealed({} octets)", self.0.len())
    }
}

/// An account elsewhere: how it is fetched, and how far that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRow {
    /// Drawn when it was added and whenever it becomes another account: marks and progress of an earlier one never count for it.
    pub serial: u32,
    pub protocol: FetchProtocol,
    pub tls: FetchTls,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub sealed: Sealed,
    /// Which folder, with IMAP, in UTF-8.
    pub folder: String,
    pub every_s: u32,
    pub keep: Keep,
    /// The person's scripts run for what comes.
    pub is_filtered: bool,
    /// What looks like junk goes to the folder for junk.
    pub is_judged: bool,
    /// An administrator allows that the host is in a private network, or this machine.
    pub may_be_private: bool,
    /// Why nothing is fetched; empty: it is.
    pub stopped: String,
    /// Logins that the server refused, one behind the other.
    pub refusals: u32,
    /// IMAP: messages of this UIDVALIDITY up to this UID were looked at. 0: none.
    pub validity: u32,
    pub uid: u32,
}

/// A message elsewhere that is here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenMark {
    /// POP3: half of a hash of its UIDL; IMAP: its UID.
    pub id: u64,
    /// When it was fetched: days since 1970. `u32::MAX`: what is listed under this name is neither fetched nor deleted.
    pub day: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fetch {
    Source(Box<FetchRow>),
    Seen(Vec<SeenMark>),
}

impl Noun for Fetch {
    const NOUN: &'static str = "Fetch";
    const NOUNS: &'static str = "rows about accounts elsewhere";
    const PUT: RecordKind = RecordKind(10);
    const REMOVE: RecordKind = RecordKind(11);
    const TABLE: Table = Table(25);
    const ROWS_MAX: usize = FETCH_ROWS_MAX;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Fetch::Source(row) => {
                out.put_u8(SOURCE);
                row.encode(out);
            }
            Fetch::Seen(marks) => {
                out.put_u8(SEEN);
                out.put_varint(marks.len() as u64);
                for mark in marks {
                    out.extend_from_slice(&mark.id.to_le_bytes());
                    out.put_varint(u64::from(mark.day));
                }
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Fetch, Broken> {
        match reader.u8()? {
            SOURCE => Ok(Fetch::Source(Box::new(FetchRow::decode(reader)?))),
            SEEN => {
                let count = reader.varint()?;
                if count > FETCHED_PER_ROW_MAX as u64 {
                    return Err(Broken);
                }
                let mut marks = Vec::with_capacity(count as usize);
                for _ in 0..count {
                    let id = u64::from_le_bytes(reader.array()?);
                    let day = read_u32(reader)?;
                    marks.push(SeenMark { id, day });
                }
                Ok(Fetch::Seen(marks))
            }
            _ => Err(Broken),
        }
    }

    /// Without the password, and without the user: who has which account elsewhere is that person's business.
    fn describe(&self) -> String {
        match self {
            Fetch::Source(row) => {
                let stopped = if row.stopped.is_empty() {
                    ""
                } else {
                    ", stopped"
                };
                format!(
                    "{:?} {}:{} every {} s, UID {} of {}{stopped}",
                    row.protocol,
                    row.host.escape_debug(),
                    row.port,
                    row.every_s,
                    row.uid,
                    row.validity
                )
            }
            Fetch::Seen(marks) => format!("{} messages", marks.len()),
        }
    }

    fn octets(&self, name: &str) -> usize {
        let own = match self {
            Fetch::Source(row) => {
                size_of::<FetchRow>()
                    + row.host.len()
                    + row.user.len()
                    + row.folder.len()
                    + row.stopped.len()
                    + row.sealed.0.len()
            }
            Fetch::Seen(marks) => size_of_val(marks.as_slice()),
        };
        FETCH_ROW_COST + name.len() + own
    }
}

impl FetchRow {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(u64::from(self.serial));
        out.put_u8(match self.protocol {
            FetchProtocol::Pop3 => 1,
            FetchProtocol::Imap => 2,
        });
        out.put_u8(match self.tls {
            FetchTls::Inside => 1,
            FetchTls::Started => 2,
            FetchTls::Absent => 3,
        });
        put_text(out, &self.host);
        out.put_varint(u64::from(self.port));
        put_text(out, &self.user);
        out.put_varint(self.sealed.0.len() as u64);
        out.extend_from_slice(&self.sealed.0);
        put_text(out, &self.folder);
        out.put_varint(u64::from(self.every_s));
        out.put_varint(match self.keep {
            Keep::Always => 0,
            Keep::Days(days) => u64::from(days) + 1,
        });
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        out.put_u8(
            flag(self.is_filtered, FILTERED)
                | flag(self.is_judged, JUDGED)
                | flag(self.may_be_private, PRIVATE),
        );
        put_text(out, &self.stopped);
        out.put_varint(u64::from(self.refusals));
        out.put_varint(u64::from(self.validity));
        out.put_varint(u64::from(self.uid));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<FetchRow, Broken> {
        let serial = read_u32(reader)?;
        let protocol = match reader.u8()? {
            1 => FetchProtocol::Pop3,
            2 => FetchProtocol::Imap,
            _ => return Err(Broken),
        };
        let tls = match reader.u8()? {
            1 => FetchTls::Inside,
            2 => FetchTls::Started,
            3 => FetchTls::Absent,
            _ => return Err(Broken),
        };
        let host = read_text(reader)?;
        let port = u16::try_from(reader.varint()?).map_err(|_| Broken)?;
        let user = read_text(reader)?;
        let sealed_count = reader.varint()?;
        if sealed_count > FETCH_SEALED_BYTES_MAX as u64 {
            return Err(Broken);
        }
        let sealed = Sealed(reader.take(sealed_count as usize)?.to_vec());
        let folder = read_text(reader)?;
        let every_s = read_u32(reader)?;
        let keep = match reader.varint()? {
            0 => Keep::Always,
            days => Keep::Days(u32::try_from(days - 1).map_err(|_| Broken)?),
        };
        let flags = reader.u8()?;
        if flags & !(FILTERED | JUDGED | PRIVATE) != 0 {
            return Err(Broken);
        }
        Ok(FetchRow {
            serial,
            protocol,
            tls,
            host,
            port,
            user,
            sealed,
            folder,
            every_s,
            keep,
            is_filtered: flags & FILTERED != 0,
            is_judged: flags & JUDGED != 0,
            may_be_private: flags & PRIVATE != 0,
            stopped: read_text(reader)?,
            refusals: read_u32(reader)?,
            validity: read_u32(reader)?,
            uid: read_u32(reader)?,
        })
    }
}

/// The kinds of rows.
const SOURCE: u8 = 1;
const SEEN: u8 = 2;
/// Flags of an account elsewhere.
const FILTERED: u8 = 1;
const JUDGED: u8 = 2;
const PRIVATE: u8 = 4;
