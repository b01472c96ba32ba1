//! A mark: an account, an alias or a group was brought here from another directory (LDAP), which owns it.
//!
//! Records 8 `Put` and 9 `Remove` as in `whole.rs`; the name is `account N`, `alias ADDRESS` or `group ADDRESS`; row: source, flags, when the password that
//! is kept was last right (Unix seconds; 0: it does not count). A number of an account is never used again, so a mark that outlives its account marks nothing.

use base::cursor::{Reader, Write};
use store::{RecordKind, Table};
use tenancy::encoding::Broken;

use crate::limits::MARKS_MAX;
use crate::whole::Noun;

/// What is known of something that another directory owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// The other directory has disabled it, or does not have it any more: all logins to it are refused.
    pub is_disabled: bool,
    /// When the other directory last said that the password is right whose hash the account has; 0: the hash does not count.
    pub proved_unix_s: u64,
}

impl Noun for Mark {
    const NOUN: &'static str = "Mark";
    const NOUNS: &'static str = "marks of another directory";
    const PUT: RecordKind = RecordKind(8);
    const REMOVE: RecordKind = RecordKind(9);
    const TABLE: Table = Table(24);
    const ROWS_MAX: usize = MARKS_MAX;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(LDAP);
        out.put_u8(if self.is_disabled { DISABLED } else { 0 });
        out.put_varint(self.proved_unix_s);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Mark, Broken> {
        if reader.u8()? != LDAP {
            return Err(Broken);
        }
        let flags = reader.u8()?;
        if flags & !DISABLED != 0 {
            return Err(Broken);
        }
        Ok(Mark {
            is_disabled: flags & DISABLED != 0,
            proved_unix_s: reader.varint()?,
        })
    }

    fn describe(&self) -> String {
        let state = if self.is_disabled { ", disabled" } else { "" };
        format!("LDAP{state}, proved {}", self.proved_unix_s)
    }
}

/// The only source so far.
const LDAP: u8 = 1;
/// A flag of the row.
const DISABLED: u8 = 1;
