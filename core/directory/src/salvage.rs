//! Addresses from the records of an orphan leg, whatever is missing among them; and records as lines for people.

use std::collections::BTreeMap;

use mail::Address;
use store::{Lsn, Record};

use crate::AccountId;
use crate::account::AccountEntry;
use crate::domain::DomainEntry;
use crate::record::{Entry, of_named};

/// Gathers records in any order.
#[derive(Default)]
pub struct Salvage {
    entries: Vec<(Lsn, AccountEntry)>,
}

impl Salvage {
    /// Takes in one record; `false`: it cannot be read.
    pub fn note(&mut self, lsn: Lsn, record: &Record) -> bool {
        match Entry::decode(record) {
            Ok(Entry::Account(entry)) => self.entries.push((lsn, entry)),
            // Mail has its account; where else it would have gone is of no use without the volume.
            Ok(_) => {}
            Err(_) => return false,
        }
        true
    }

    /// The accounts that the records leave, by their number.
    pub fn finish(mut self) -> BTreeMap<AccountId, Address> {
        // Stable: records of one batch keep their order. A batch found twice says the same twice.
        self.entries.sort_by_key(|(lsn, _)| *lsn);
        let mut accounts = BTreeMap::new();
        for (_, entry) in self.entries {
            match entry {
                AccountEntry::Put {
                    account, address, ..
                } => _ = accounts.insert(account, address),
                AccountEntry::Snapshot { account, row } => {
                    accounts.insert(account, row.address);
                }
                AccountEntry::Remove { account } => _ = accounts.remove(&account),
                AccountEntry::Password { .. } | AccountEntry::Quota { .. } => {}
            }
        }
        accounts
    }
}

/// One record in a line, for people; without password hashes and private keys. `None`: this version cannot read it.
pub fn describe(record: &Record) -> Option<String> {
    Some(
        of_named!(Entry::decode(record).ok()?, entry => entry.describe(),
            Entry::Domain(DomainEntry::Put { domain }) => format!("DomainPut {{ domain: {domain} }}"),
            Entry::Domain(DomainEntry::Remove { domain }) => {
                format!("DomainRemove {{ domain: {domain} }}")
            },
            Entry::Account(entry) => entry.describe(),
            Entry::DkimKey(entry) => entry.describe(),
        ),
    )
}
