//! Every kind of record of the mailboxes. What happened, with every number it was given: replay invents none.
//!
//! To add a noun, write its file (`Noun`), with kinds of the mailboxes' share (`share.rs`) that no other noun has, and name it in
//! `nouns!`; its bytes go into `record/golden.txt` and from then on they stay.

use base::cursor::Reader;
use bytes::Bytes;
use store::{BodyRef, Lsn, Purpose, Record, RecordKind};
use tenancy::encoding::Broken;

use crate::access::AccessEntry;
use crate::copying::CopyEntry;
use crate::folder::FolderEntry;
use crate::message::MessageEntry;
use crate::noun::{Effect, Needs, Noun};
use crate::remains::Remains;
use crate::snapshot::MailboxSnapshot;
use crate::state::State;
use crate::tree::TreeEntry;
use crate::{AccountId, MailboxId};

macro_rules! nouns {
    ($($noun:ident($records:ty)),*) => {
        /// One record of any noun.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Entry {
            $($noun($records)),*
        }

        impl Entry {
            /// The record as its noun, which has the code for it.
            fn noun(&self) -> &dyn Noun {
                match self {
                    $(Entry::$noun(records) => records),*
                }
            }

            /// Asks each noun in turn. A kind that none of them knows is `Broken`: a later release wrote it.
            fn of_kind(kind: RecordKind, reader: &mut Reader<'_>) -> Result<Entry, Broken> {
                $(if let Some(records) = <$records>::decode(kind, reader)? {
                    return Ok(records.into());
                })*
                Err(Broken)
            }

            /// One record of each kind.
            pub fn samples() -> Vec<Entry> {
                let mut samples = Vec::new();
                $(samples.extend(<$records>::samples().into_iter().map(Entry::from));)*
                samples
            }
        }

        $(impl From<$records> for Entry {
            fn from(records: $records) -> Entry {
                Entry::$noun(records)
            }
        })*
    };
}

nouns! {
    Tree(TreeEntry),
    Folder(FolderEntry),
    Access(AccessEntry),
    Message(MessageEntry),
    Copying(CopyEntry),
    Snapshot(MailboxSnapshot)
}

impl Entry {
    /// The record; its pair is `decode`.
    pub fn encode(&self) -> Record {
        let mut out = Vec::with_capacity(48);
        let kind = self.noun().encode(&mut out);
        Record {
            kind,
            payload: Bytes::from(out),
        }
    }

    /// `Broken` for a kind or a shape this release does not know: such a log must not be opened by it.
    pub fn decode(record: &Record) -> Result<Entry, Broken> {
        let reader = &mut Reader::new(&record.payload);
        let entry = Entry::of_kind(record.kind, reader)?;
        if reader.is_empty() {
            Ok(entry)
        } else {
            Err(Broken)
        }
    }

    /// The account whose tree the record is about, if it is about one.
    pub fn tree(&self) -> Option<AccountId> {
        self.noun().tree()
    }

    /// The mailbox that the record is about, if it is about one.
    pub fn mailbox(&self) -> Option<MailboxId> {
        self.noun().mailbox()
    }

    /// What must be in memory before the record is applied.
    pub fn needs(&self) -> Needs {
        self.noun().needs()
    }

    /// What is left of a log that cannot be opened.
    pub fn salvage(&self, bodies: &[BodyRef], remains: &mut Remains) {
        self.noun().salvage(bodies, remains);
    }

    /// One line for people, without secrets.
    pub fn describe(&self) -> String {
        self.noun().describe()
    }
}

/// Of a group: the purpose that all its entries share, else it is kept.
pub fn purpose_of(entries: &[Entry]) -> Purpose {
    let mut purposes = entries.iter().map(|entry| entry.noun().purpose());
    let first = purposes.next().unwrap_or(Purpose::Keep);
    if purposes.all(|purpose| purpose == first) {
        first
    } else {
        Purpose::Keep
    }
}

impl State {
    /// The one place where a record changes what clients see: live at the moment of durability, in replay alike. What `entry` is about
    /// must be loaded (`Entry::needs`). `bodies` are the group's, in order.
    pub fn apply(&mut self, lsn: Lsn, entry: &Entry, bodies: &[BodyRef]) -> Effect {
        assert!(lsn >= self.applied, "groups are applied in log order");
        self.applied = lsn;
        entry.noun().apply(lsn, bodies, self)
    }

    /// Rows that a checkpoint has to write because of `entries`, at most.
    pub fn rows_of(&self, entries: &[Entry]) -> u64 {
        entries.iter().map(|entry| entry.noun().rows(self)).sum()
    }
}

#[cfg(test)]
mod tests;
