use super::*;
use crate::row::{Folder, NamesLeft};

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
    };
    vec![
        Entry::TreePut { account },
        Entry::TreeRemove {
            account,
            mailbox_next: mailbox,
            uid_validity_last: UidValidity(u32::MAX),
        },
        Entry::MailboxCreate {
            account,
            mailbox,
            name: "Übung".to_owned(),
            uid_validity: UidValidity(u32::MAX),
            special_use: Some(SpecialUse::Junk),
        },
        Entry::MailboxRename {
            account,
            mailbox,
            from: "a".to_owned(),
            to: "b".to_owned(),
            uid_validity: UidValidity(u32::MAX),
            moved_at: Some(ModSeq(5)),
        },
        Entry::MailboxDelete {
            account,
            mailbox,
            name: "b".to_owned(),
            uid_validity: UidValidity(7),
        },
        Entry::Subscribe {
            account,
            name: "b".to_owned(),
            subscribed: true,
        },
        Entry::Deliver {
            mailbox,
            uid: Uid(1),
            modseq: ModSeq(2),
            flags: flags.clone(),
            internal_date: InternalDate {
                unix_seconds: -1,
                zone_minutes: -480,
            },
            body_index: 0,
        },
        Entry::Flag {
            mailbox,
            modseq: ModSeq(3),
            change: FlagChange::Remove,
            flags,
            uids: [1, 2, 3, 9, 11, 12].map(Uid).to_vec(),
        },
        Entry::Expunge {
            mailbox,
            modseq: ModSeq(4),
            deleted_only: true,
            uids: vec![Uid(u32::MAX - 1)],
        },
        Entry::Place {
            mailbox,
            messages: messages.clone(),
        },
        Entry::TreeSnapshot {
            account,
            tree,
            mailbox_next: MailboxId(9),
        },
        Entry::MailboxSnapshot {
            mailbox,
            head: Head::new(account, UidValidity(1)),
            from: Uid(0),
            to: Uid(u32::MAX),
            begun: Some(Lsn(8)),
            last: true,
            messages,
        },
    ]
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

#[test]
fn uids_in_a_row_cost_a_few_bytes() {
    let entry = Entry::Expunge {
        mailbox: MailboxId(1),
        modseq: ModSeq(1),
        deleted_only: false,
        uids: (1..=20_000).map(Uid).collect(),
    };
    assert!(entry.encode().payload.len() < 32);
}

#[test]
fn a_false_run_length_does_not_fill_memory() {
    let mut out = Vec::new();
    out.put_varint(1);
    out.put_varint(1);
    out.put_varint(u64::from(u32::MAX - 2));
    assert_eq!(read_uids(&mut Reader::new(&out)), Err(Broken));
}

/// Format major 2: a record that is in some log is read for ever, and written so by every release that may be put back. A new kind adds
/// its line; a line that is here never changes.
#[test]
fn every_kind_of_record_has_the_bytes_that_are_in_logs() {
    let records = crate::fuzzing::records();
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
    let golden = include_str!("golden.txt");
    assert_eq!(lines.collect::<String>(), golden);
}
