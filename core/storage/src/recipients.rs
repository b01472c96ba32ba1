//! The table of recipients: which addresses are ours, without a secret, for a node of the inbound zone that has no storage.
//!
//! One block of bytes, made by `snapshot.rs` beside the mailboxes and read by the other node. It answers what `arrival::look_up` answers: an account
//! (and whether its quota is used up), an address that leads on (and whether it is a group), no mailbox, not our domain. What an address leads to, who may post, keys and
//! password hashes are not in it; the storage node decides about them when the mail comes.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `RPRCPT02` |
//! | 8 | length of the payload, little-endian |
//! | 32 | BLAKE3 of the payload; its first half, in hexadecimal, is the table's version |
//! | … | count of domains (u32), then each: sign, name as a blob; count of addresses (u32), then each: key as a blob, sign, account (u32) |
//!
//! What must hold: a table is taken whole or not at all, and only where length and checksum agree; keys ascend, each once, so that a look-up is a
//! binary search; no bytes make the reader panic, or hold more than the bytes, 4 for each address and `DOMAINS_MAX` domains.

mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use base::BodyName;
use base::cursor::{Reader, Short, Write};
use bytes::Bytes;
use mail::{Address, return_path, spelling};
use mailbox::AccountId;

use crate::arrival::{Found, Resident};

pub use snapshot::snapshot;

/// A whole table. Some 400,000 addresses of 40 bytes; the plan has room for four on a node that keeps one (the old one, the new one, what comes in and its
/// index), and for five on a node that serves one (the old one, the new one, and what it is made of).
pub const TABLE_BYTES_MAX: usize = 16 << 20;

/// Of a table; a directory has as many at most.
pub const DOMAINS_MAX: usize = 100_000;

const MAGIC: &[u8; 8] = b"RPRCPT02";
/// In front of the payload.
pub const HEAD_BYTES: usize = 8 + 8 + 32;

/// Why bytes are not a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTable {
    #[error("it is not a table of recipients, or one of another release")]
    Form,
    #[error("its length or its checksum does not agree: it was cut short or changed")]
    Damaged,
    #[error("it has more than {} bytes", TABLE_BYTES_MAX)]
    TooLarge,
}

impl From<Short> for NoTable {
    fn from(_: Short) -> NoTable {
        NoTable::Form
    }
}

/// What one address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Account(AccountId),
    /// An account whose quota is used up.
    Full(AccountId),
    /// It leads on: an alias, a route.
    Listed,
    /// It leads on, and the storage node asks who posts.
    Group,
}

/// What is said of a whole domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rest {
    /// An alias or a route takes what has no entry.
    pub leads_on: bool,
}

/// What goes into a table.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub domains: Vec<(String, Rest)>,
    /// By `Address::key` in the spelling that the directory has.
    pub addresses: Vec<(String, Sign)>,
}

impl Draft {
    /// The table's bytes. Where a key is there twice the first one counts.
    pub fn encode(mut self) -> Result<Vec<u8>, NoTable> {
        // A stable sort: what was entered first stays first.
        self.addresses.sort_by(|a, b| a.0.cmp(&b.0));
        self.addresses.dedup_by(|later, first| later.0 == first.0);
        // One buffer: its head is filled in at the end. What was written is given back at once.
        let mut payload = vec![0; HEAD_BYTES];
        payload.put_u32(self.domains.len() as u32);
        for (name, rest) in &self.domains {
            payload.put_u8(u8::from(rest.leads_on));
            payload.put_blob(name.as_bytes());
        }
        payload.put_u32(self.addresses.len() as u32);
        for (key, sign) in self.addresses {
            if payload.len() > TABLE_BYTES_MAX {
                return Err(NoTable::TooLarge);
            }
            payload.put_blob(key.as_bytes());
            let (sign, account) = match sign {
                Sign::Account(account) => (ACCOUNT, account.0),
                Sign::Full(account) => (FULL, account.0),
                Sign::Listed => (LISTED, 0),
                Sign::Group => (GROUP, 0),
            };
            payload.put_u8(sign);
            payload.put_u32(account);
        }
        if payload.len() > TABLE_BYTES_MAX {
            return Err(NoTable::TooLarge);
        }
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(MAGIC);
        head.put_u64((payload.len() - HEAD_BYTES) as u64);
        head.extend_from_slice(&BodyName::of(&payload[HEAD_BYTES..]).0);
        payload[..HEAD_BYTES].copy_from_slice(&head);
        Ok(payload)
    }
}

const ACCOUNT: u8 = 1;
const FULL: u8 = 2;
const LISTED: u8 = 3;
const GROUP: u8 = 4;

/// A table that was read and checked.
#[derive(Debug, Clone)]
pub struct Recipients {
    bytes: Bytes,
    version: String,
    domains: HashMap<Box<str>, Rest>,
    /// Where each address begins in `bytes`, in the order of their keys.
    places: Vec<u32>,
}

impl Recipients {
    pub fn decode(bytes: Bytes) -> Result<Recipients, NoTable> {
        if bytes.len() > TABLE_BYTES_MAX {
            return Err(NoTable::TooLarge);
        }
        let mut head = Reader::new(&bytes);
        if head.array::<8>()? != *MAGIC {
            return Err(NoTable::Form);
        }
        let length = head.u64()?;
        let name: [u8; 32] = head.array()?;
        let payload = head.rest();
        if payload.len() as u64 != length || BodyName::of(payload).0 != name {
            return Err(NoTable::Damaged);
        }
        let mut reader = Reader::new(payload);
        let mut domains = HashMap::new();
        let count = reader.u32()?;
        if count as usize > DOMAINS_MAX {
            return Err(NoTable::TooLarge);
        }
        for _ in 0..count {
            // Ends with the bytes: each turn uses some up.
            let leads_on = reader.u8()? != 0;
            let domain = text(reader.blob()?)?;
            domains.insert(domain.into(), Rest { leads_on });
        }
        let mut places = Vec::new();
        let mut last: Option<&str> = None;
        for _ in 0..reader.u32()? {
            // Ends with the bytes, too.
            let place = bytes.len() - reader.rest().len();
            let (key, _) = entry(&mut reader)?;
            if last.is_some_and(|last| last >= key) {
                return Err(NoTable::Form);
            }
            last = Some(key);
            places.push(place as u32);
        }
        if !reader.is_empty() {
            return Err(NoTable::Form);
        }
        Ok(Recipients {
            version: version(&name),
            domains,
            places,
            bytes,
        })
    }

    /// Names the content: the same addresses have the same version on every node and after every restart.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn addresses(&self) -> usize {
        self.places.len()
    }

    pub fn domains(&self) -> usize {
        self.domains.len()
    }

    /// The domain, where there is one alone.
    pub fn only_domain(&self) -> Option<&str> {
        let mut names = self.domains.keys();
        match (names.next(), names.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }

    /// As `arrival::look_up` at the time of the table. An exact name comes before one without its tag, and both before what takes the rest of the
    /// domain (`addresses::meaning`).
    pub fn find(&self, address: &Address) -> Found {
        let domains = spelling::domains(address.domain());
        let rest = domains.iter().find_map(|name| self.domains.get(&name[..]));
        let Some(rest) = rest else {
            return Found::NotOurs;
        };
        if let Some(sign) = self.sign(address) {
            return found(sign);
        }
        if return_path::is_sealed(address) {
            return Found::Listed;
        }
        if let Some(sign) = address.untagged().and_then(|plain| self.sign(&plain)) {
            return found(sign);
        }
        match rest.leads_on {
            true => Found::Listed,
            false => Found::NoMailbox,
        }
    }

    /// Whether the address itself, without what takes the rest of its domain, has an entry of any kind.
    pub fn names(&self, address: &Address) -> bool {
        self.sign(address).is_some()
    }

    /// Whether it is a group by itself. One that an alias leads to is not asked after anywhere.
    pub fn is_group(&self, address: &Address) -> bool {
        let own = self.sign(address);
        let own = own.or_else(|| self.sign(&address.untagged()?));
        own == Some(Sign::Group)
    }

    fn sign(&self, address: &Address) -> Option<Sign> {
        let keys = spelling::keys(address);
        keys.iter().find_map(|key| self.sign_of(key))
    }

    fn sign_of(&self, key: &str) -> Option<Sign> {
        let at = |place: &u32| {
            let mut reader = Reader::new(&self.bytes[*place as usize..]);
            entry(&mut reader).expect("it was read when the table came")
        };
        let index = self.places.binary_search_by(|place| at(place).0.cmp(key));
        index.ok().map(|index| at(&self.places[index]).1)
    }
}

fn found(sign: Sign) -> Found {
    match sign {
        Sign::Account(account) => Found::Account(Resident {
            account,
            left_bytes: None,
        }),
        Sign::Full(account) => Found::Account(Resident {
            account,
            left_bytes: Some(0),
        }),
        Sign::Listed | Sign::Group => Found::Listed,
    }
}

fn text(bytes: &[u8]) -> Result<&str, NoTable> {
    std::str::from_utf8(bytes).map_err(|_| NoTable::Form)
}

fn entry<'b>(reader: &mut Reader<'b>) -> Result<(&'b str, Sign), NoTable> {
    let key = text(reader.blob()?)?;
    let (sign, account) = (reader.u8()?, AccountId(reader.u32()?));
    match sign {
        ACCOUNT => Ok((key, Sign::Account(account))),
        FULL => Ok((key, Sign::Full(account))),
        LISTED => Ok((key, Sign::Listed)),
        GROUP => Ok((key, Sign::Group)),
        _ => Err(NoTable::Form),
    }
}

/// The version of the table that begins with `bytes`, which are well-formed.
pub fn version_of(bytes: &[u8]) -> Option<String> {
    let name = bytes.get(16..HEAD_BYTES)?;
    Some(version(name))
}

fn version(name: &[u8]) -> String {
    let half = name.iter().take(16);
    half.map(|byte| format!("{byte:02x}")).collect()
}
