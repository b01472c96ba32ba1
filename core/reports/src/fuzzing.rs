//! Doors for `core/fuzz`, no part of the API: records and rows read from any bytes. What is read is written and read again.

use store::RecordKind;

use crate::state::read_row;
use crate::*;

/// Reads `bytes` as a record: the kind in the first byte, then the payload. What is read is applied, too.
pub fn record(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else {
        return;
    };
    let record = Record {
        kind: RecordKind(*kind),
        payload: payload.to_vec().into(),
    };
    if let Ok(change) = Change::decode(&record) {
        let again = Change::decode(&change.encode());
        assert_eq!(
            again.as_ref(),
            Ok(&change),
            "what was read is written readably"
        );
        let mut state = State::default();
        change.apply(Lsn(1), &mut state);
        change.apply(Lsn(2), &mut state);
        assert!(state.sheets.len() <= 1);
    }
}

/// Reads `bytes` as a sheet's row.
pub fn row(bytes: &[u8]) {
    if let Ok(sheet) = read_row(bytes) {
        let mut again = Vec::new();
        sheet.encode(&mut again);
        assert_eq!(read_row(&again).as_ref(), Ok(&sheet));
    }
}

/// Every record as this release writes it, in the form `record` reads.
pub fn records() -> Vec<Vec<u8>> {
    let bytes = |change: &Change| {
        let record = change.encode();
        [&[record.kind.0][..], &record.payload].concat()
    };
    changes().iter().map(bytes).collect()
}

/// Rows as this release writes them.
pub fn rows() -> Vec<Vec<u8>> {
    let mut row = Vec::new();
    sheet().encode(&mut row);
    vec![row]
}

fn key() -> Key {
    Key {
        subject: Subject(1),
        day: Day(20_000),
        name: "example.org".to_owned(),
    }
}

fn addition() -> Addition {
    Addition {
        key: key(),
        head: b"policy".to_vec(),
        once: Some(b"id".to_vec()),
        lines: vec![(b"a line".to_vec(), 3), (b"another".to_vec(), 1 << 40)],
        other: 2,
    }
}

fn sheet() -> Sheet {
    let mut sheet = Sheet::default();
    sheet.add(&addition());
    sheet
}

/// One of each kind.
pub(crate) fn changes() -> Vec<Change> {
    vec![
        Change::Add(addition()),
        Change::Close(key()),
        Change::Floor {
            subject: Subject(2),
            day: Day(20_001),
        },
        Change::Snapshot {
            key: key(),
            sheet: sheet(),
        },
    ]
}
