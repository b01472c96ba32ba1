//! Every record of the directory. What happened, with every number it was given: replay invents none.

use base::cursor::Reader;
use store::Record;
use tenancy::encoding::Broken;

use crate::AccountId;
use crate::account::AccountEntry;
use crate::dkim_key::DkimKeyEntry;
use crate::domain::DomainEntry;
use crate::limits::{ACCOUNT_ROWS, DOMAIN_ROWS};

/// One record, by its noun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Domain(DomainEntry),
    Account(AccountEntry),
    DkimKey(DkimKeyEntry),
}

impl Entry {
    /// The record; its pair is `decode`.
    pub fn encode(&self) -> Record {
        match self {
            Entry::Domain(entry) => entry.encode(),
            Entry::Account(entry) => entry.encode(),
            Entry::DkimKey(entry) => entry.encode(),
        }
    }

    /// `Broken` for a kind or a shape this release does not know: such a log must not be opened by it.
    pub fn decode(record: &Record) -> Result<Entry, Broken> {
        let reader = &mut Reader::new(&record.payload);
        let entry = if let Some(entry) = DomainEntry::decode(record.kind, reader)? {
            Entry::Domain(entry)
        } else if let Some(entry) = AccountEntry::decode(record.kind, reader)? {
            Entry::Account(entry)
        } else if let Some(entry) = DkimKeyEntry::decode(record.kind, reader)? {
            Entry::DkimKey(entry)
        } else {
            return Err(Broken);
        };
        if reader.is_empty() {
            Ok(entry)
        } else {
            Err(Broken)
        }
    }

    /// Rows that a checkpoint has to write because of it, at most.
    pub fn rows(&self) -> u64 {
        match self {
            Entry::Domain(_) | Entry::DkimKey(_) => DOMAIN_ROWS,
            Entry::Account(_) => ACCOUNT_ROWS,
        }
    }

    /// The account whose row must be loaded before the entry is applied.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Entry::Domain(_) | Entry::DkimKey(_) => None,
            Entry::Account(entry) => Some(entry.account()),
        }
    }
}
