//! Mailboxes from the records of an orphan leg, whatever is missing among them. For `salvage` and `log dump`.
//!
//! What each record still says, its noun knows (`Noun::salvage`).

use mail::Address;
use store::{BodyRef, Lsn, Record};

use crate::record::Entry;
use crate::remains::Remains;
use crate::{AccountId, MailboxId, Message};

/// Gathers records in any order; `finish` puts them in theirs.
#[derive(Default)]
pub struct Salvage {
    groups: Vec<(Lsn, Vec<Entry>, Vec<BodyRef>)>,
    accounts: directory::salvage::Salvage,
    /// Records that no rule of this version could read.
    pub unreadable: u64,
}

/// One mailbox as it was last known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvagedMailbox {
    pub id: MailboxId,
    /// `None`: no record that is left says whose it was.
    pub account_id: Option<AccountId>,
    /// `None`: the records that named it are lost.
    pub account: Option<Address>,
    /// Its name, or `mailbox-N` where that is lost.
    pub name: String,
    /// Ascending by UID.
    pub messages: Vec<Message>,
}

impl Salvage {
    /// Takes in one group of the log.
    pub fn note(&mut self, lsn: Lsn, records: &[Record], bodies: Vec<BodyRef>) {
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            if directory::share().owns(record) {
                self.unreadable += u64::from(!self.accounts.note(lsn, record));
                continue;
            }
            match Entry::decode(record) {
                Ok(entry) => entries.push(entry),
                Err(_) => self.unreadable += 1,
            }
        }
        if !entries.is_empty() {
            self.groups.push((lsn, entries, bodies));
        }
    }

    /// The mailboxes that hold messages, by account and name.
    pub fn finish(mut self) -> Vec<SalvagedMailbox> {
        // Stable: the groups of one batch keep their order. A batch found twice says the same twice.
        self.groups.sort_by_key(|(lsn, ..)| *lsn);
        let mut remains = Remains::default();
        for (_, entries, bodies) in self.groups {
            for entry in entries {
                entry.salvage(&bodies, &mut remains);
            }
        }
        let accounts = self.accounts.finish();
        let named = remains
            .mailboxes
            .into_iter()
            .map(|(id, known)| SalvagedMailbox {
                id,
                account_id: known.account,
                account: known
                    .account
                    .and_then(|account| accounts.get(&account).cloned()),
                name: known.name.unwrap_or_else(|| format!("mailbox-{}", id.0)),
                messages: known.messages.into_values().collect(),
            });
        named
            .filter(|mailbox| !mailbox.messages.is_empty())
            .collect()
    }
}

/// One record in a line, for people; without password hashes.
pub fn describe(record: &Record) -> String {
    let unreadable = || {
        let kind = record.kind.0;
        format!("a record of kind {kind} that this version cannot read")
    };
    if directory::share().owns(record) {
        return directory::salvage::describe(record).unwrap_or_else(unreadable);
    }
    Entry::decode(record).map_or_else(|_| unreadable(), |entry| entry.describe())
}

#[cfg(test)]
mod tests {
    use mail::{Flags, InternalDate, ModSeq, Uid, UidValidity};

    use super::*;
    use crate::folder::FolderEntry;
    use crate::message::MessageEntry;
    use crate::tree::TreeEntry;

    fn body(text: &str) -> BodyRef {
        let nowhere = volume::RecordAddress {
            segment: volume::SegmentIndex(0),
            generation: volume::Generation(1),
            batch_block: 0,
            at: 4096,
            bytes: 0,
            check: 0,
        };
        BodyRef {
            name: base::BodyName::of(text.as_bytes()),
            raw_bytes: text.len() as u32,
            summary: nowhere,
            body: nowhere,
            codec: store::Codec::Raw,
        }
    }

    fn deliver(mailbox: u64, uid: u32) -> Entry {
        let deliver = MessageEntry::Deliver {
            mailbox: MailboxId(mailbox),
            uid: Uid(uid),
            modseq: ModSeq(u64::from(uid)),
            flags: Flags::default(),
            internal_date: InternalDate::utc(0),
            body_index: 0,
            saved_s: 0,
        };
        deliver.into()
    }

    /// The directory's kind.
    const ACCOUNT_PUT: u8 = 3;

    fn create() -> Vec<Entry> {
        let account = AccountId(7);
        let create = FolderEntry::Create {
            account,
            mailbox: MailboxId(1),
            name: "INBOX".into(),
            uid_validity: UidValidity(1),
            special_use: None,
        };
        vec![TreeEntry::Put { account }.into(), create.into()]
    }

    fn note(salvage: &mut Salvage, lsn: u64, entries: &[Entry]) {
        let records: Vec<Record> = entries.iter().map(Entry::encode).collect();
        salvage.note(Lsn(lsn), &records, vec![body("hello")]);
    }

    #[test]
    fn groups_in_any_order_give_the_same_mailboxes() {
        let expunge = MessageEntry::Expunge {
            mailbox: MailboxId(1),
            modseq: ModSeq(9),
            deleted_only: false,
            uids: vec![Uid(1)],
        };
        let mut salvage = Salvage::default();
        note(&mut salvage, 4, &[expunge.into()]);
        note(&mut salvage, 3, &[deliver(1, 2)]);
        note(&mut salvage, 2, &[deliver(1, 1)]);
        note(&mut salvage, 1, &create());
        let records = directory::fuzzing::records().into_iter();
        let mut puts = records.filter(|record| record[0] == ACCOUNT_PUT);
        let put = puts.next().expect("a sample of an account, alice");
        let put = Record {
            kind: store::RecordKind(put[0]),
            payload: put[1..].to_vec().into(),
        };
        salvage.note(Lsn(1), &[put], vec![]);
        note(&mut salvage, 2, &[deliver(1, 1)]);
        let found = salvage.finish();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "INBOX");
        assert_eq!(
            found[0].account.as_ref().map(Address::key).as_deref(),
            Some("alice@example.org")
        );
        assert_eq!(
            found[0]
                .messages
                .iter()
                .map(|message| message.uid.0)
                .collect::<Vec<_>>(),
            [2]
        );
    }

    #[test]
    fn mail_without_its_mailbox_record_is_still_found() {
        let mut salvage = Salvage::default();
        note(&mut salvage, 7, &[deliver(5, 3)]);
        let found = salvage.finish();
        assert_eq!(
            (found[0].account.clone(), found[0].name.as_str()),
            (None, "mailbox-5")
        );
    }
}
