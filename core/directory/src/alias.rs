//! An alias: an address of a domain of ours without a mailbox, and the addresses that its mail goes to. The catch-all of a domain is the alias
//! whose name has no local part (`@example.org`): it takes what nothing else in the domain takes.
//!
//! Records 16 `Put` and 17 `Remove` as in `whole.rs`; row: count, then each target.

use base::cursor::{Reader, Write};
use mail::Address;
use store::{RecordKind, Table};
use tenancy::encoding::{Broken, read_u32};

use crate::account::{put_address, read_address};
use crate::limits::{ALIAS_TARGETS_MAX, ALIASES_MAX};
use crate::whole::Noun;

/// What an alias leads to, in the order in which it was given; at most `ALIAS_TARGETS_MAX`, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Addresses here or elsewhere. Each is followed as if the mail had been sent to it.
    pub targets: Vec<Address>,
}

impl Noun for Alias {
    const NOUN: &'static str = "Alias";
    const NOUNS: &'static str = "aliases";
    const PUT: RecordKind = RecordKind(16);
    const REMOVE: RecordKind = RecordKind(17);
    const TABLE: Table = Table(16);
    const ROWS_MAX: usize = ALIASES_MAX;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.targets.len() as u64);
        self.targets
            .iter()
            .for_each(|target| put_address(out, target));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Alias, Broken> {
        let count = read_u32(reader)? as usize;
        if count > ALIAS_TARGETS_MAX {
            return Err(Broken);
        }
        let targets = (0..count).map(|_| read_address(reader));
        Ok(Alias {
            targets: targets.collect::<Result<_, _>>()?,
        })
    }

    fn describe(&self) -> String {
        let targets: Vec<String> = self.targets.iter().map(Address::to_string).collect();
        targets.join(", ")
    }
}
