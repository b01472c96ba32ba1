//! Doors for `core/fuzz`, no part of the API: records and rows read from any bytes. What is read is written and read again.

use base::cursor::Reader;
use bytes::Bytes;
use store::{Record, RecordKind};

use crate::access::AccessEntry;
use crate::noun::Noun;
use crate::record::Entry;
use crate::row::{Counters, Gone, Head, Tree, decode_grantees, encode_grantees, read_messages};

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
    if let Ok(gone) = Gone::decode(&mut Reader::new(bytes)) {
        let mut again = Vec::new();
        gone.encode(&mut again);
        assert_eq!(Gone::decode(&mut Reader::new(&again)).as_ref(), Ok(&gone));
    }
    if let Ok(grantees) = decode_grantees(bytes) {
        let again = encode_grantees(&grantees);
        assert_eq!(decode_grantees(&again).as_ref(), Ok(&grantees));
    }
    let _ = Counters::decode(bytes);
}

/// Rows that no record begins with, as this release writes them.
pub fn rows() -> Vec<Vec<u8>> {
    let mut tree = Tree::default();
    for entry in AccessEntry::samples() {
        match entry {
            AccessEntry::List { mailbox, list, .. } => _ = tree.access.lists.insert(mailbox, list),
            AccessEntry::Note {
                mailbox,
                name,
                value,
                ..
            } => tree.notes.set(mailbox, &name, value.as_deref()),
            AccessEntry::Shared { is_shared, .. } => tree.access.is_shared = is_shared,
        }
    }
    let mut row = Vec::new();
    tree.encode(&mut row);
    vec![row, encode_grantees(&tree.access.grantees())]
}

/// Some records as this release writes them, in the form `record` reads.
pub fn records() -> Vec<Vec<u8>> {
    Entry::samples()
        .iter()
        .map(|entry| {
            let record = entry.encode();
            [&[record.kind.0][..], &record.payload].concat()
        })
        .collect()
}
