//! A DKIM key of a domain of ours (RFC 6376): its records and its row. What they do to memory is in `state/apply.rs`.
//!
//! | record | payload |
//! |---|---|
//! | 12 `Put` | domain, selector, row: all of it, so that older records may go |
//! | 13 `Remove` | protective magic, domain, selector |
//!
//! Row of `DKIM_KEYS`: domain, a zero octet, selector → version, algorithm (0 RSA-2048, 1 Ed25519), state (0 made, 1 active, 2 retired), made-at in
//! Unix seconds, LSN of the record it is from, private key (PKCS#8 DER, its length before it).
//!
//! Every change of a key is one whole `Put`: keys change a few times a year, so that a row need not be loaded to be changed. The private key is a
//! secret: it is in records, rows and the signer, and in no text.

use std::fmt;

use base::cursor::{Reader, Write};
use bytes::Bytes;
use store::{Change, Lsn, Record, RecordKind, Table};
use tenancy::encoding::{Broken, put_magic, put_text, read_magic, read_text};

use crate::limits::DKIM_PRIVATE_KEY_BYTES_MAX;
use crate::whole::Epoch;

/// Domain and selector → row; see the head of the file.
pub(crate) const DKIM_KEYS: Table = Table(12);

/// A key was made or changed.
const PUT: RecordKind = RecordKind(12);
/// A key was removed.
const REMOVE: RecordKind = RecordKind(13);

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DkimAlgorithm {
    /// `rsa-sha256` with 2,048 bits (RFC 6376 §3.3.1, RFC 8301 §3.2).
    Rsa2048,
    /// `ed25519-sha256` (RFC 8463).
    Ed25519,
}

/// Where a key is in its life; each state follows from the one before it, and a retired key may become active again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DkimState {
    /// Its DNS record can be published; it does not sign.
    Made,
    /// It signs.
    Active,
    /// It signs no more; its DNS record stays published for messages that are under way.
    Retired,
}

/// PKCS#8 DER, not parsed here. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Bytes);

/// One key of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimKey {
    /// As the directory has it.
    pub domain: String,
    /// In lower case.
    pub selector: String,
    pub algorithm: DkimAlgorithm,
    pub state: DkimState,
    /// When it was made, in seconds since 1970: for people.
    pub made_unix_s: u64,
    /// Only the signer reads it.
    pub private: PrivateKey,
}

/// What happened to a key, as one record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DkimKeyEntry {
    /// The key is so from now on.
    Put { name: KeyName, row: DkimKeyRow },
    /// The key is gone.
    Remove { name: KeyName },
}

/// Which key; its order is the projection's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyName {
    /// Of ours.
    pub domain: String,
    /// The label before `_domainkey` (RFC 6376 §3.1).
    pub selector: String,
}

/// A key as the projection has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DkimKeyRow {
    pub algorithm: DkimAlgorithm,
    pub state: DkimState,
    /// When it was made, in seconds since 1970.
    pub made_unix_s: u64,
    /// Records about the key before it are no longer needed.
    pub written: Lsn,
    /// PKCS#8 DER.
    pub private: PrivateKey,
}

/// Keys whose row differs from the projection: `None` is a key that was removed.
pub(crate) type ChangedKeys = std::collections::BTreeMap<KeyName, (Option<DkimKeyRow>, Epoch)>;

impl PrivateKey {
    /// `None`: longer than `DKIM_PRIVATE_KEY_BYTES_MAX`, or empty.
    pub fn new(pkcs8: &[u8]) -> Option<PrivateKey> {
        let fits = (1..=DKIM_PRIVATE_KEY_BYTES_MAX).contains(&pkcs8.len());
        fits.then(|| PrivateKey(Bytes::copy_from_slice(pkcs8)))
    }

    /// For the signer alone.
    pub fn secret(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

impl KeyName {
    /// Its key in `DKIM_KEYS`. No domain name has a zero octet, so that the keys of a domain are neighbours.
    pub fn row_key(&self) -> Vec<u8> {
        [self.domain.as_bytes(), &[0], self.selector.as_bytes()].concat()
    }

    /// `Broken` for what `row_key` did not make.
    pub fn of_row_key(key: &[u8]) -> Result<KeyName, Broken> {
        let text = std::str::from_utf8(key).map_err(|_| Broken)?;
        let (domain, selector) = text.split_once('\0').ok_or(Broken)?;
        Ok(KeyName {
            domain: domain.to_owned(),
            selector: selector.to_owned(),
        })
    }

    /// Appends the name; the pair of `read`.
    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, &self.domain);
        put_text(out, &self.selector);
    }

    /// Reads what `put` wrote.
    fn read(reader: &mut Reader<'_>) -> Result<KeyName, Broken> {
        Ok(KeyName {
            domain: read_text(reader)?,
            selector: read_text(reader)?,
        })
    }
}

impl DkimKeyRow {
    /// Appends the row: `ROW_VERSION` first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(ROW_VERSION);
        out.put_u8(match self.algorithm {
            DkimAlgorithm::Rsa2048 => 0,
            DkimAlgorithm::Ed25519 => 1,
        });
        out.put_u8(match self.state {
            DkimState::Made => 0,
            DkimState::Active => 1,
            DkimState::Retired => 2,
        });
        out.put_varint(self.made_unix_s);
        out.put_varint(self.written.0);
        out.put_varint(self.private.0.len() as u64);
        out.put_bytes(&self.private.0);
    }

    /// `Broken`: another version, a state or an algorithm of another release, or bytes that end early.
    pub fn decode(reader: &mut Reader<'_>) -> Result<DkimKeyRow, Broken> {
        if reader.u8()? != ROW_VERSION {
            return Err(Broken);
        }
        let algorithm = match reader.u8()? {
            0 => DkimAlgorithm::Rsa2048,
            1 => DkimAlgorithm::Ed25519,
            _ => return Err(Broken),
        };
        let state = match reader.u8()? {
            0 => DkimState::Made,
            1 => DkimState::Active,
            2 => DkimState::Retired,
            _ => return Err(Broken),
        };
        let (made_unix_s, written) = (reader.varint()?, Lsn(reader.varint()?));
        let count = usize::try_from(reader.varint()?).map_err(|_| Broken)?;
        let private = PrivateKey::new(reader.take(count)?).ok_or(Broken)?;
        Ok(DkimKeyRow {
            algorithm,
            state,
            made_unix_s,
            written,
            private,
        })
    }

    /// As others see it.
    pub fn into_key(self, name: KeyName) -> DkimKey {
        DkimKey {
            domain: name.domain,
            selector: name.selector,
            algorithm: self.algorithm,
            state: self.state,
            made_unix_s: self.made_unix_s,
            private: self.private,
        }
    }
}

impl DkimKeyEntry {
    /// The record; its pair is `decode`.
    pub fn encode(&self) -> Record {
        let mut out = Vec::with_capacity(64);
        let kind = match self {
            DkimKeyEntry::Put { name, row } => {
                name.put(&mut out);
                row.encode(&mut out);
                PUT
            }
            DkimKeyEntry::Remove { name } => {
                put_magic(&mut out);
                name.put(&mut out);
                REMOVE
            }
        };
        Record {
            kind,
            payload: out.into(),
        }
    }

    /// `None`: the record is another noun's.
    pub fn decode(
        kind: RecordKind,
        reader: &mut Reader<'_>,
    ) -> Result<Option<DkimKeyEntry>, Broken> {
        Ok(Some(match kind {
            PUT => DkimKeyEntry::Put {
                name: KeyName::read(reader)?,
                row: DkimKeyRow::decode(reader)?,
            },
            REMOVE => {
                read_magic(reader)?;
                DkimKeyEntry::Remove {
                    name: KeyName::read(reader)?,
                }
            }
            _ => return Ok(None),
        }))
    }

    /// The key that the record is about.
    pub fn name(&self) -> &KeyName {
        match self {
            DkimKeyEntry::Put { name, .. } | DkimKeyEntry::Remove { name } => name,
        }
    }

    /// One line for people, without the private key.
    pub fn describe(&self) -> String {
        let KeyName { domain, selector } = self.name();
        match self {
            DkimKeyEntry::Put { row, .. } => format!(
                "DkimKeyPut {{ domain: {domain}, selector: {selector}, algorithm: {:?}, state: {:?}, private: … }}",
                row.algorithm, row.state
            ),
            DkimKeyEntry::Remove { .. } => {
                format!("DkimKeyRemove {{ domain: {domain}, selector: {selector} }}")
            }
        }
    }
}

/// The rows that a checkpoint writes of `changed`.
pub(crate) fn changes(changed: &ChangedKeys) -> impl Iterator<Item = Change> {
    changed.iter().map(|(name, (row, _))| Change {
        table: DKIM_KEYS,
        key: name.row_key(),
        value: row.as_ref().map(|row| {
            let mut out = Vec::with_capacity(1_300);
            row.encode(&mut out);
            out
        }),
    })
}

/// The shape of `DkimKeyRow`; another one is `Broken`, which refuses the opening.
const ROW_VERSION: u8 = 1;
