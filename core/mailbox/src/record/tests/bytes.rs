//! Records as bytes.

use bytes::Bytes;
use mail::{InternalDate, ModSeq, Uid, UidValidity};
use store::{Lsn, Record, RecordKind};

use crate::folder::FolderEntry;
use crate::message::MessageEntry;
use crate::record::Entry;
use crate::row::{Broken, Folder, Head, NamesLeft, Tree};
use crate::snapshot::MailboxSnapshot;
use crate::tree::TreeEntry;
use crate::{AccountId, FlagChange, MailboxId, SpecialUse};

fn entries() -> Vec<Entry> {
    let mut random = fastrand::Rng::with_seed(1);
    let messages = crate::row::tests::messages(&mut random, 5);
    let flags = messages[0].flags.clone();
    let account = AccountId(3);
    let mailbox = MailboxId(1 << 33);
    let tree = Tree {
        folders: [(
            "INBOX".to_owned(),
            Folder {
                mailbox,
                special_use: None,
            },
        )]
        .into(),
        subscriptions: ["INBOX".to_owned()].into(),
        uid_validity_last: UidValidity(3),
        left: NamesLeft::default(),
        snapshot: Lsn(0),
        ..Tree::default()
    };
    let mut entries = vec![
        TreeEntry::Put { account }.into(),
        TreeEntry::Remove {
            account,
            mailbox_next: mailbox,
            uid_validity_last: UidValidity(u32::MAX),
        }
        .into(),
        FolderEntry::Create {
            account,
            mailbox,
            name: "Übung".to_owned(),
            uid_validity: UidValidity(u32::MAX),
            special_use: Some(SpecialUse::Junk),
        }
        .into(),
        FolderEntry::Rename {
            account,
            mailbox,
            from: "a".to_owned(),
            to: "b".to_owned(),
            uid_validity: UidValidity(u32::MAX),
            moved_at: Some(ModSeq(5)),
        }
        .into(),
        FolderEntry::Delete {
            account,
            mailbox,
            name: "b".to_owned(),
            uid_validity: UidValidity(7),
        }
        .into(),
        TreeEntry::Subscribe {
            account,
            name: "b".to_owned(),
            subscribed: true,
        }
        .into(),
        MessageEntry::Deliver {
            mailbox,
            uid: Uid(1),
            modseq: ModSeq(2),
            flags: flags.clone(),
            internal_date: InternalDate {
                unix_seconds: -1,
                zone_minutes: -480,
            },
            body_index: 0,
            saved_s: 0,
        }
        .into(),
        MessageEntry::Flag {
            mailbox,
            modseq: ModSeq(3),
            change: FlagChange::Remove,
            flags,
            unchanged_since: None,
            uids: [1, 2, 3, 9, 11, 12].map(Uid).to_vec(),
        }
        .into(),
        MessageEntry::Expunge {
            mailbox,
            modseq: ModSeq(4),
            deleted_only: true,
            uids: vec![Uid(u32::MAX - 1)],
        }
        .into(),
        MessageEntry::Place {
            mailbox,
            messages: messages.clone(),
        }
        .into(),
        TreeEntry::Snapshot {
            account,
            tree,
            mailbox_next: MailboxId(9),
        }
        .into(),
        MailboxSnapshot {
            mailbox,
            head: Head::new(account, UidValidity(1)),
            from: Uid(0),
            to: Uid(u32::MAX),
            begun: Some(Lsn(8)),
            last: true,
            messages,
        }
        .into(),
    ];
    entries.extend(Entry::samples());
    entries
}

#[test]
fn every_entry_comes_back_as_it_was() {
    for entry in entries() {
        assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(&entry));
    }
}

#[test]
fn a_record_cut_short_or_too_long_is_refused() {
    for entry in entries() {
        let record = entry.encode();
        for end in 0..record.payload.len() {
            assert!(
                Entry::decode(&Record {
                    payload: record.payload.slice(..end),
                    ..record.clone()
                })
                .is_err(),
                "{entry:?}"
            );
        }
        let longer = [record.payload.as_ref(), &[0]].concat();
        assert!(
            Entry::decode(&Record {
                payload: longer.into(),
                ..record
            })
            .is_err()
        );
    }
    assert_eq!(
        Entry::decode(&Record {
            kind: RecordKind(99),
            payload: Bytes::new()
        }),
        Err(Broken)
    );
}

/// Format major 2: a record that is in some log is read for ever, and written so by every release that may be put back. A new kind adds
/// its line; a line that is here never changes.
#[test]
fn every_kind_of_record_has_the_bytes_that_are_in_logs() {
    let mut records = crate::fuzzing::records();
    records.sort();
    let lines = records.iter().map(|bytes| {
        let record = Record {
            kind: RecordKind(bytes[0]),
            payload: Bytes::copy_from_slice(&bytes[1..]),
        };
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}\n  {hex}\n", crate::salvage::describe(&record))
    });
    let kinds: std::collections::BTreeSet<u8> = records.iter().map(|bytes| bytes[0]).collect();
    assert_eq!(kinds.len(), records.len(), "one sample of each kind");
    let golden = include_str!("../golden.txt");
    assert_eq!(lines.collect::<String>(), golden);
}
