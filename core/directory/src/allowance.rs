//! An allowance: an account may send so many times as much as others.
//!
//! Records 28 `Put` and 29 `Remove` as in `whole.rs`; the name is the account's number, which is never used again; row: times.

use base::cursor::{Reader, Write};
use store::{RecordKind, Table};
use tenancy::encoding::{Broken, read_u32};

use crate::limits::ALLOWANCES_MAX;
use crate::whole::Noun;

/// What one account may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// So many times as much as others; 1 is what every account has.
    pub times: u32,
}

impl Noun for Allowance {
    const NOUN: &'static str = "Allowance";
    const NOUNS: &'static str = "allowances";
    const PUT: RecordKind = RecordKind(28);
    const REMOVE: RecordKind = RecordKind(29);
    const TABLE: Table = Table(22);
    const ROWS_MAX: usize = ALLOWANCES_MAX;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(u64::from(self.times));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Allowance, Broken> {
        Ok(Allowance {
            times: read_u32(reader)?,
        })
    }

    fn describe(&self) -> String {
        format!("{} times", self.times)
    }
}
