//! Every record of the directory. What happened, with every number it was given: replay invents none.

use base::cursor::Reader;
use store::Record;
use tenancy::encoding::Broken;

use crate::AccountId;
use crate::account::AccountEntry;
use crate::alias::Alias;
use crate::allowance::Allowance;
use crate::dkim_key::DkimKeyEntry;
use crate::domain::DomainEntry;
use crate::fetch::Fetch;
use crate::grant::Grant;
use crate::group::{Group, Member};
use crate::kept_policy::KeptPolicy;
use crate::key::Key;
use crate::mark::Mark;
use crate::route::Route;
use crate::whole::{Named, Noun};

/// One record, by its noun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Domain(DomainEntry),
    Account(AccountEntry),
    DkimKey(DkimKeyEntry),
    Alias(Named<Alias>),
    Group(Named<Group>),
    Member(Named<Member>),
    Route(Named<Route>),
    Grant(Named<Grant>),
    Key(Named<Key>),
    Allowance(Named<Allowance>),
    KeptPolicy(Named<KeptPolicy>),
    Mark(Named<Mark>),
    Fetch(Named<Fetch>),
}

/// `$body` with `$entry` bound to the entry of any noun of `whole.rs`; `$else` for the others.
macro_rules! of_named {
    ($of:expr, $entry:ident => $body:expr, $($pattern:pat => $other:expr),+ $(,)?) => {
        match $of {
            Entry::Alias($entry) => $body,
            Entry::Group($entry) => $body,
            Entry::Member($entry) => $body,
            Entry::Route($entry) => $body,
            Entry::Grant($entry) => $body,
            Entry::Key($entry) => $body,
            Entry::Allowance($entry) => $body,
            Entry::KeptPolicy($entry) => $body,
            Entry::Mark($entry) => $body,
            Entry::Fetch($entry) => $body,
            $($pattern => $other,)+
        }
    };
}
pub(crate) use of_named;

impl Entry {
    /// The record; its pair is `decode`.
    pub fn encode(&self) -> Record {
        of_named!(self, entry => entry.encode(),
            Entry::Domain(entry) => entry.encode(),
            Entry::Account(entry) => entry.encode(),
            Entry::DkimKey(entry) => entry.encode(),
        )
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
        } else if let Some(entry) = Named::decode(record.kind, reader)? {
            Entry::Alias(entry)
        } else if let Some(entry) = Named::decode(record.kind, reader)? {
            Entry::Group(entry)
        } else if let Some(entry) = Named::decode(record.kind, reader)? {
            Entry::Member(entry)
        } else if let Some(entry) = Named::decode(record.kind, reader)? {
            Entry::Route(entry)
        } else if let Some(entry) = Named::decode(record.kind, reader)? {
            Entry::Grant(entry)
        } else if let Some(entry) = Named::decode(record.kind, reader)? {
            Entry::Key(entry)
        } else if let Some(entry) = Named::decode(record.kind, reader)? {
            Entry::Allowance(entry)
        } else if let Some(entry) = Named::decode(record.kind, reader)? {
            Entry::KeptPolicy(entry)
        } else if let Some(entry) = Named::decode(record.kind, reader)? {
            Entry::Mark(entry)
        } else if let Some(entry) = Named::decode(record.kind, reader)? {
            Entry::Fetch(entry)
        } else {
            return Err(Broken);
        };
        if reader.is_empty() {
            Ok(entry)
        } else {
            Err(Broken)
        }
    }

    /// The account whose row must be loaded before the entry is applied.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Entry::Account(entry) => Some(entry.account()),
            _ => None,
        }
    }

    /// Noun and name that the record is about; `None`: not a noun of `whole.rs`.
    pub fn named(&self) -> Option<(&'static str, String)> {
        fn of<N: Noun>(entry: &Named<N>) -> Option<(&'static str, String)> {
            Some((N::NOUN, entry.name().to_owned()))
        }
        of_named!(self, entry => of(entry),
            Entry::Domain(_) | Entry::Account(_) | Entry::DkimKey(_) => None,
        )
    }
}

/// The name of the lock that is held from the look at a name to the durable change of it. Accounts, aliases and groups share one, because an
/// address is one of them; members and grants have that of their address.
pub(crate) fn name_lock(name: &str) -> String {
    let name = name.split('\0').next().unwrap_or_default();
    format!("address {name}")
}
