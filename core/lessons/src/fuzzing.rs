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
        assert!(state.words <= 2 * WORDS_PER_MODEL_MAX);
    }
}

/// Reads `bytes` as a model's row.
pub fn row(bytes: &[u8]) {
    if let Ok(model) = read_row(bytes) {
        let mut again = Vec::new();
        model.encode(&mut again);
        assert_eq!(read_row(&again).as_ref(), Ok(&model));
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
    model().encode(&mut row);
    vec![row]
}

fn lesson(message: u64, kind: Option<Kind>) -> Lesson {
    Lesson {
        message,
        kind,
        words: vec![3, 1 << 40, u64::MAX],
    }
}

fn model() -> Model {
    let mut model = Model::default();
    model.take(&lesson(8, Some(Kind::Junk)));
    model.take(&lesson(10, Some(Kind::Good)));
    model
}

/// One of each kind.
pub(crate) fn changes() -> Vec<Change> {
    let domain = || Whom::Domain("example.org".to_owned());
    vec![
        Change::Learn {
            of: vec![Whom::Account(7), domain()],
            lesson: lesson(6, Some(Kind::Junk)),
        },
        Change::Learn {
            of: vec![domain()],
            lesson: lesson(6, None),
        },
        Change::Remove { whom: domain() },
        Change::Snapshot {
            whom: Whom::Account(7),
            model: model(),
        },
    ]
}
