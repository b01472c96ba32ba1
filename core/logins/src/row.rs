//! What is kept about one account's logins: its SCRAM keys, and its app passwords.
//!
//! Row of `ROWS`: account → `written`, [`Row`]. A password is in none of it, and no hash of one that a person chose is, but for the SCRAM keys.

use std::fmt;

use base::cursor::{Reader, Write};
use store::Lsn;
use tenancy::encoding::{Broken, put_text, read_text, read_u32};

use crate::limits::*;

/// RFC 5802's StoredKey and ServerKey. Their salt is the account's (`Keyring::salt`).
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub stored: [u8; 32],
    pub server: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// The keys of the account's own password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Main {
    /// Digest of the password hash that they belong to. With another one in the directory they are out of date and count for nothing.
    pub of: [u8; 16],
    pub iterations: u32,
    pub keys: Keys,
}

/// A password that we made for one program or device.
#[derive(Clone, PartialEq, Eq)]
pub struct App {
    /// Never given again to another one of the account.
    pub number: u32,
    pub name: String,
    /// Where it may be used: bits that `client::login` gives.
    pub scopes: u8,
    /// Keyed hash of it. It is random, 120 bits: a fast hash tells as little of it as a slow one.
    pub hash: [u8; 32],
    pub iterations: u32,
    pub keys: Keys,
    /// Days since 1970.
    pub made_day: u32,
    pub used: Option<Used>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({}, {:?})", self.number, self.name)
    }
}

/// The last day on which an app password was used, and its first use on that day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Days since 1970.
    pub day: u32,
    /// One of the bits of `scopes`.
    pub protocol: u8,
    /// An IP address.
    pub peer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    pub main: Option<Main>,
    pub apps: Vec<App>,
    /// The number of the next app password.
    pub app_next: u32,
}

/// A row and the record that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub row: Row,
    /// Records about it before this one are no longer needed.
    pub written: Lsn,
}

impl Row {
    /// What a bound forbids; a row that is refused is not written.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.apps.len() > APPS_MAX {
            return Err("the account has 32 app passwords: remove one first");
        }
        for app in &self.apps {
            if app.name.is_empty() || app.name.len() > NAME_BYTES_MAX {
                return Err("the name of an app password has 1 to 64 bytes");
            }
            if app.name.chars().any(char::is_control) {
                return Err("the name of an app password has a control character");
            }
            if app.scopes == 0 || app.scopes & !SCOPES != 0 {
                return Err("an app password is for one protocol at least");
            }
            let peer = app.used.as_ref().map_or(0, |used| used.peer.len());
            if peer > PEER_BYTES_MAX {
                return Err("an address has 45 bytes at most");
            }
        }
        Ok(())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match &self.main {
            None => out.put_u8(0),
            Some(Main {
                of,
                iterations,
                keys,
            }) => {
                out.put_u8(1);
                out.extend_from_slice(of);
                out.put_varint(u64::from(*iterations));
                put_keys(out, keys);
            }
        }
        out.put_varint(u64::from(self.app_next));
        out.put_varint(self.apps.len() as u64);
        for app in &self.apps {
            out.put_varint(u64::from(app.number));
            put_text(out, &app.name);
            out.put_u8(app.scopes);
            out.extend_from_slice(&app.hash);
            out.put_varint(u64::from(app.iterations));
            put_keys(out, &app.keys);
            out.put_varint(u64::from(app.made_day));
            match &app.used {
                None => out.put_u8(0),
                Some(used) => {
                    out.put_u8(1);
                    out.put_varint(u64::from(used.day));
                    out.put_u8(used.protocol);
                    put_text(out, &used.peer);
                }
            }
        }
    }

    /// `Broken` also for what `check` refuses: it was never written.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Row, Broken> {
        let main = match reader.u8()? {
            0 => None,
            1 => Some(Main {
                of: read_array(reader)?,
                iterations: read_u32(reader)?,
                keys: read_keys(reader)?,
            }),
            _ => return Err(Broken),
        };
        let app_next = read_u32(reader)?;
        let count = reader.varint()?;
        if count > APPS_MAX as u64 {
            return Err(Broken);
        }
        let mut apps = Vec::new();
        for _ in 0..count {
            apps.push(App {
                number: read_u32(reader)?,
                name: read_text(reader)?,
                scopes: reader.u8()?,
                hash: read_array(reader)?,
                iterations: read_u32(reader)?,
                keys: read_keys(reader)?,
                made_day: read_u32(reader)?,
                used: match reader.u8()? {
                    0 => None,
                    1 => Some(Used {
                        day: read_u32(reader)?,
                        protocol: reader.u8()?,
                        peer: read_text(reader)?,
                    }),
                    _ => return Err(Broken),
                },
            });
        }
        let row = Row {
            main,
            apps,
            app_next,
        };
        row.check().map_err(|_| Broken)?;
        Ok(row)
    }
}

impl Kept {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(VERSION);
        out.put_varint(self.written.0);
        self.row.encode(&mut out);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Kept, Broken> {
        let reader = &mut Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(Broken);
        }
        let written = Lsn(reader.varint()?);
        let row = Row::decode(reader)?;
        match reader.is_empty() {
            true => Ok(Kept { row, written }),
            false => Err(Broken),
        }
    }
}

fn put_keys(out: &mut Vec<u8>, keys: &Keys) {
    out.extend_from_slice(&keys.stored);
    out.extend_from_slice(&keys.server);
}

fn read_keys(reader: &mut Reader<'_>) -> Result<Keys, Broken> {
    Ok(Keys {
        stored: read_array(reader)?,
        server: read_array(reader)?,
    })
}

pub(crate) fn read_array<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], Broken> {
    Ok(reader.array()?)
}

/// The shape of a row in the projection; another one refuses the opening.
const VERSION: u8 = 1;
