//! The scripts of one owner: their names, which one is active, and where their texts are. The texts are rows of their own.
//!
//! Row of `LISTS`: owner ([`Owner`]) → list, with the places of records that still count. Row of `TEXTS`: owner and [`Version`] → text.

use base::cursor::{Reader, Write};
use store::Lsn;
use tenancy::encoding::{Broken, put_text, read_text, read_u32};

use crate::limits::*;

/// Whose scripts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// Every mail to this box is filtered by it first.
    Box,
    /// In lower case. All mail to people of the domain.
    Domain(String),
    /// `directory::AccountId`.
    Account(u32),
}

/// The beginning of the text's BLAKE3 name: texts that are the same have the same version, for all owners, and another text has another one.
/// So what was compiled of a version may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u8; 16]);

/// A script as its owner lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub name: String,
    pub version: Version,
    pub bytes: u32,
}

/// All scripts of an owner, in the order in which they were first stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    pub(crate) scripts: Vec<Script>,
    /// Index of the active one.
    pub(crate) active: Option<usize>,
}

/// A list with what its row says beside it. In memory it is kept as its row: 75,000 of them take half of what these would.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Kept {
    pub list: List,
    /// The record that says so; older ones are not needed for it.
    pub at: Lsn,
    /// Of each script the record that has its text.
    pub texts_at: Vec<Lsn>,
}

impl Version {
    pub fn of(text: &[u8]) -> Version {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = base::hash::BodyName::of(text).0;
        Version([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

impl List {
    pub fn scripts(&self) -> impl ExactSizeIterator<Item = (&Script, bool)> {
        let active = self.active;
        let each = self.scripts.iter().enumerate();
        each.map(move |(index, script)| (script, Some(index) == active))
    }

    pub fn active(&self) -> Option<&Script> {
        self.scripts.get(self.active?)
    }

    pub fn named(&self, name: &str) -> Option<&Script> {
        self.scripts.get(self.index_of(name)?)
    }

    /// Bytes of all texts.
    pub fn bytes(&self) -> usize {
        self.scripts
            .iter()
            .map(|script| script.bytes as usize)
            .sum()
    }

    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.scripts.iter().position(|script| script.name == name)
    }

    pub(crate) fn has(&self, version: Version) -> bool {
        self.scripts.iter().any(|script| script.version == version)
    }

    /// Bytes of it in a record, at most.
    pub(crate) fn bytes_max(&self) -> usize {
        let each = self.scripts.iter();
        16 + each
            .map(|script| SCRIPT_COST + script.name.len())
            .sum::<usize>()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.active.map_or(0, |index| index as u64 + 1));
        out.put_varint(self.scripts.len() as u64);
        for script in &self.scripts {
            put_text(out, &script.name);
            out.put_bytes(&script.version.0);
            out.put_varint(u64::from(script.bytes));
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<List, Broken> {
        let active = reader.varint()?;
        let count = within(reader.varint()?, SCRIPTS_PER_OWNER_MAX)?;
        let mut scripts: Vec<Script> = Vec::with_capacity(count);
        for _ in 0..count {
            let name = read_text(reader)?;
            let is_double = scripts.iter().any(|script| script.name == name);
            if !is_name(&name) || is_double {
                return Err(Broken);
            }
            let version = Version(reader.array()?);
            let bytes = read_u32(reader)?;
            if bytes as usize > SCRIPT_BYTES_MAX {
                return Err(Broken);
            }
            scripts.push(Script {
                name,
                version,
                bytes,
            });
        }
        let active = match within(active, count)? {
            0 => None,
            index => Some(index - 1),
        };
        Ok(List { scripts, active })
    }
}

impl Kept {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.list.encode(&mut out);
        out.put_varint(self.at.0);
        self.texts_at.iter().for_each(|at| out.put_varint(at.0));
        out
    }

    pub fn decode(row: &[u8]) -> Result<Kept, Broken> {
        let reader = &mut Reader::new(row);
        if reader.u8()? != VERSION {
            return Err(Broken);
        }
        let list = List::decode(reader)?;
        let at = Lsn(reader.varint()?);
        let mut texts_at = Vec::with_capacity(list.scripts.len());
        for _ in 0..list.scripts.len() {
            texts_at.push(Lsn(reader.varint()?));
        }
        match reader.is_empty() {
            true => Ok(Kept { list, at, texts_at }),
            false => Err(Broken),
        }
    }
}

impl Owner {
    /// Whether a record can hold it, and be read again.
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Owner::Box | Owner::Account(_) => true,
            Owner::Domain(domain) => domain_of(domain).is_ok(),
        }
    }

    /// The key of its row; the first byte keeps the kinds apart.
    pub(crate) fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(24);
        match self {
            Owner::Box => key.put_u8(BOX),
            Owner::Domain(domain) => {
                key.put_u8(DOMAIN);
                key.extend_from_slice(domain.as_bytes());
            }
            Owner::Account(account) => {
                key.put_u8(ACCOUNT);
                key.extend_from_slice(&account.to_be_bytes());
            }
        }
        key
    }

    /// The key of a text. No two owners share one: the version at its end has one length.
    pub(crate) fn text_key(&self, version: Version) -> Vec<u8> {
        let mut key = self.key();
        key.extend_from_slice(&version.0);
        key
    }

    pub(crate) fn of_key(key: &[u8]) -> Result<Owner, Broken> {
        match key.split_first() {
            Some((&BOX, [])) => Ok(Owner::Box),
            Some((&DOMAIN, domain)) => domain_of(std::str::from_utf8(domain).map_err(|_| Broken)?),
            Some((&ACCOUNT, account)) => {
                let account = account.try_into().map_err(|_| Broken)?;
                Ok(Owner::Account(u32::from_be_bytes(account)))
            }
            _ => Err(Broken),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Owner::Box => out.put_u8(BOX),
            Owner::Domain(domain) => {
                out.put_u8(DOMAIN);
                put_text(out, domain);
            }
            Owner::Account(account) => {
                out.put_u8(ACCOUNT);
                out.put_varint(u64::from(*account));
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Owner, Broken> {
        match reader.u8()? {
            BOX => Ok(Owner::Box),
            DOMAIN => domain_of(&read_text(reader)?),
            ACCOUNT => Ok(Owner::Account(read_u32(reader)?)),
            _ => Err(Broken),
        }
    }
}

/// Whether a script may be called so. What names people may choose is the protocol's to say.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
}

pub(crate) fn within(count: u64, most: usize) -> Result<usize, Broken> {
    let count = usize::try_from(count).map_err(|_| Broken)?;
    if count <= most {
        Ok(count)
    } else {
        Err(Broken)
    }
}

fn domain_of(domain: &str) -> Result<Owner, Broken> {
    match domain.len() {
        1..=DOMAIN_BYTES_MAX => Ok(Owner::Domain(domain.to_owned())),
        _ => Err(Broken),
    }
}

const VERSION: u8 = 1;
const BOX: u8 = 1;
const DOMAIN: u8 = 2;
const ACCOUNT: u8 = 3;
