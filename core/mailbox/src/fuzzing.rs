//! Doors for `core/fuzz`, no part of the API: records and rows read from any bytes. What is read is written and read again.

use base::BodyName;
use base::cursor::Reader;
use bytes::Bytes;
use mail::{Flags, InternalDate, Keyword, ModSeq, SystemFlags, Uid, UidValidity};
use store::{BodyRef, Codec, Lsn, Record, RecordKind};
use volume::{Generation, RecordAddress, SegmentIndex};

use crate::record::Entry;
use crate::row::{Counters, Folder, Head, NamesLeft, Tree, read_messages};
use crate::{AccountId, FlagChange, MailboxId, Message, SpecialUse};

/// Reads `bytes` as a record: the kind in the first byte, then the payload.
pub fn record(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else {
        return;
    };
    let record = Record {
        kind: RecordKind(*kind),
        payload: Bytes::copy_from_slice(payload),
    };
    if let Ok(entry) = Entry::decode(&record) {
        let again = Entry::decode(&entry.encode());
        assert_eq!(
            again.as_ref(),
            Ok(&entry),
            "what was read is written readably"
        );
        entry.mailbox();
        entry.tree();
    }
}

/// Reads `bytes` as each kind of row.
pub fn row(bytes: &[u8]) {
    let mut messages = Vec::new();
    let _ = read_messages(&mut Reader::new(bytes), &mut messages);
    if let Ok(head) = Head::decode(&mut Reader::new(bytes)) {
        let mut again = Vec::new();
        head.encode(&mut again);
        assert_eq!(Head::decode(&mut Reader::new(&again)).as_ref(), Ok(&head));
    }
    if let Ok(tree) = Tree::decode(&mut Reader::new(bytes)) {
        let mut again = Vec::new();
        tree.encode(&mut again);
        assert_eq!(Tree::decode(&mut Reader::new(&again)).as_ref(), Ok(&tree));
    }
    let _ = Counters::decode(bytes);
}

/// Some records as this release writes them, in the form `record` reads.
pub fn records() -> Vec<Vec<u8>> {
    let (account, mailbox) = (AccountId(7), MailboxId(9));
    let flags = Flags {
        system: SystemFlags::SEEN,
        keywords: Keyword::parse("$Forwarded").into_iter().collect(),
    };
    let internal_date = InternalDate {
        unix_seconds: 1_795_000_000,
        zone_minutes: -90,
    };
    let address_of = |at| RecordAddress {
        segment: SegmentIndex(3),
        generation: Generation(2),
        batch_block: 5,
        at,
        bytes: 900,
        check: 77,
    };
    let body = BodyRef {
        name: BodyName([5; 32]),
        raw_bytes: 1_000,
        summary: address_of(4_096),
        body: address_of(5_000),
        codec: Codec::Zstd,
    };
    let message = |uid| Message {
        uid: Uid(uid),
        modseq: ModSeq(40),
        flags: flags.clone(),
        internal_date,
        size_bytes: 1_000,
        body: body.clone(),
    };
    let folder = Folder {
        mailbox,
        special_use: Some(SpecialUse::Junk),
    };
    let tree = Tree {
        folders: [("INBOX".to_owned(), folder)].into(),
        subscriptions: ["INBOX".to_owned()].into(),
        uid_validity_last: UidValidity(3),
        left: NamesLeft::default(),
        snapshot: Lsn(8),
    };
    let uids = vec![Uid(1), Uid(2), Uid(9)];
    let entries = [
        Entry::TreePut { account },
        Entry::TreeRemove {
            account,
            mailbox_next: MailboxId(10),
            uid_validity_last: UidValidity(3),
        },
        Entry::MailboxCreate {
            account,
            mailbox,
            name: "Junk".into(),
            uid_validity: UidValidity(2),
            special_use: Some(SpecialUse::Junk),
        },
        Entry::MailboxRename {
            account,
            mailbox,
            from: "INBOX".into(),
            to: "Old/\u{e9}".into(),
            uid_validity: UidValidity(4),
            moved_at: Some(ModSeq(4)),
        },
        Entry::MailboxDelete {
            account,
            mailbox,
            name: "Old".into(),
            uid_validity: UidValidity(4),
        },
        Entry::Subscribe {
            account,
            name: "Old".into(),
            subscribed: true,
        },
        Entry::Deliver {
            mailbox,
            uid: Uid(3),
            modseq: ModSeq(5),
            flags: flags.clone(),
            internal_date,
            body_index: 0,
        },
        Entry::Flag {
            mailbox,
            modseq: ModSeq(6),
            change: FlagChange::Add,
            flags: flags.clone(),
            uids: uids.clone(),
        },
        Entry::Expunge {
            mailbox,
            modseq: ModSeq(7),
            deleted_only: true,
            uids,
        },
        Entry::Place {
            mailbox,
            messages: vec![message(4), message(6)],
        },
        Entry::Relocate {
            mailbox,
            bodies: vec![(Uid(4), body.clone())],
        },
        Entry::TreeSnapshot {
            account,
            tree,
            mailbox_next: MailboxId(10),
        },
        Entry::MailboxSnapshot {
            mailbox,
            head: Head::new(account, UidValidity(2)),
            from: Uid(1),
            to: Uid(9),
            begun: Some(Lsn(6)),
            last: true,
            messages: vec![message(4)],
        },
    ];
    entries
        .iter()
        .map(|entry| {
            let record = entry.encode();
            [&[record.kind.0][..], &record.payload].concat()
        })
        .collect()
}
