//! Doors for `core/fuzz`, no part of the API: records and rows read from any bytes. What is read is written and read again.

use store::RecordKind;

use crate::keys::Keys;
use crate::list::Kept;
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
        assert!(state.keys_count <= KEYS_PER_RECORD_MAX);
        assert!(state.listed().len() <= 1);
    }
}

/// Reads `bytes` as a row: of a list, and of keys.
pub fn row(bytes: &[u8]) {
    if let Ok(kept) = Kept::decode(bytes) {
        assert_eq!(Kept::decode(&kept.encode()).as_ref(), Ok(&kept));
    }
    if let Ok(keys) = Keys::decode(bytes) {
        assert_eq!(Keys::decode(&keys.encode()).as_ref(), Ok(&keys));
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
    let mut state = State::default();
    changes()
        .iter()
        .for_each(|change| change.apply(Lsn(7), &mut state));
    let lists = state.listed().flat_map(|owner| state.kept(owner));
    let lists = lists.map(|kept| kept.encode());
    lists.chain(state.keys.values().map(Keys::encode)).collect()
}

/// One of each kind.
pub(crate) fn changes() -> Vec<Change> {
    let text = Bytes::from_static(b"keep;");
    let version = Version::of(&text);
    let script = |name: &str| Script {
        name: name.to_owned(),
        version,
        bytes: 5,
    };
    let list = List {
        scripts: vec![script("main"), script("urlaub")],
        active: Some(1),
    };
    let keys = vec![([3; 16], 2_000), ([1; 16], 1 << 40)];
    vec![
        Change::List {
            owner: Owner::Account(7),
            list: list.clone(),
            text: Some((version, text)),
        },
        Change::List {
            owner: Owner::Domain("example.org".to_owned()),
            list,
            text: None,
        },
        Change::Gone { owner: Owner::Box },
        Change::Remember {
            account: 7,
            now: 1_000,
            keys,
        },
    ]
}
