//! Doors for `core/fuzz`, no part of the API: records and rows read from any bytes. What is read is written and read again.

use store::RecordKind;

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
        assert!(state.takes());
    }
}

/// Reads `bytes` as an account's row.
pub fn row(bytes: &[u8]) {
    if let Ok(kept) = Kept::decode(bytes) {
        assert!(kept.encode().len() <= limits::ROW_BYTES_MAX + 16);
        assert_eq!(Kept::decode(&kept.encode()).as_ref(), Ok(&kept));
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
    let written = Lsn(7);
    vec![
        Kept {
            row: full_row(),
            written,
        }
        .encode(),
    ]
}

pub(crate) fn main_of(of: u8) -> Main {
    Main {
        of: [of; 16],
        iterations: 16_384,
        keys: keys(of),
    }
}

fn keys(of: u8) -> Keys {
    Keys {
        stored: [of; 32],
        server: [of ^ 0xff; 32],
    }
}

pub(crate) fn app(number: u32) -> App {
    App {
        number,
        name: format!("phone {number}"),
        scopes: 0b101,
        hash: [number as u8; 32],
        iterations: 16_384,
        keys: keys(number as u8),
        made_day: 20_000,
        used: None,
    }
}

fn full_row() -> Row {
    let used = Used {
        day: 20_001,
        protocol: 1,
        peer: "2001:db8::1".to_owned(),
    };
    Row {
        main: Some(main_of(3)),
        apps: vec![
            app(1),
            App {
                used: Some(used),
                ..app(2)
            },
        ],
        app_next: 3,
    }
}

/// One of each kind.
pub(crate) fn changes() -> Vec<Change> {
    vec![
        Change::Put {
            account: 7,
            row: full_row(),
        },
        Change::Put {
            account: u32::MAX,
            row: Row::default(),
        },
        Change::Remove { account: 7 },
        Change::Secret([5; 32]),
        Change::Head(Head {
            line: 1 << 40,
            hash: [6; 32],
            unix_seconds: 1_700_000_000,
        }),
    ]
}
