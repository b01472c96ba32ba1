//! A grant: an account may send under the address of an alias or a group.
//!
//! Records 24 `Put` and 25 `Remove` as in `whole.rs`; the name is the address and the account's number, with NUL between; the row has the
//! number. Numbers are never used again, so a grant of an account that was removed is a grant of none.

use base::cursor::{Reader, Write};
use store::{RecordKind, Table};
use tenancy::encoding::{Broken, read_u32};

use crate::AccountId;
use crate::limits::GRANTS_MAX;
use crate::whole::Noun;

/// The right of one account to send under one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Who has it.
    pub account: AccountId,
}

impl Noun for Grant {
    const NOUN: &'static str = "Grant";
    const NOUNS: &'static str = "grants";
    const PUT: RecordKind = RecordKind(24);
    const REMOVE: RecordKind = RecordKind(25);
    const TABLE: Table = Table(20);
    const ROWS_MAX: usize = GRANTS_MAX;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(u64::from(self.account.0));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Grant, Broken> {
        Ok(Grant {
            account: AccountId(read_u32(reader)?),
        })
    }

    fn describe(&self) -> String {
        format!("account {}", self.account.0)
    }
}
