//! Doors for `core/fuzz`, no part of the API: records and rows read from any bytes. What is read is written and read again.

use base::BodyName;
use bytes::Bytes;
use store::{BodyRef, Codec, Lsn, Record, RecordKind};
use volume::{Generation, RecordAddress, SegmentIndex};

use crate::record::Change;
use crate::replay::read_row;
use crate::*;

/// Reads `bytes` as a record: the kind in the first byte, then the payload.
pub fn record(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else {
        return;
    };
    let record = Record {
        kind: RecordKind(*kind),
        payload: Bytes::copy_from_slice(payload),
    };
    if let Ok(change) = Change::decode(&record) {
        let again = Change::decode(&change.encode());
        assert_eq!(
            again.as_ref(),
            Ok(&change),
            "what was read is written readably"
        );
    }
}

/// Reads `bytes` as a message's row.
pub fn row(bytes: &[u8]) {
    if let Ok(entry) = read_row(bytes) {
        let mut again = Vec::new();
        entry.encode(&mut again);
        assert_eq!(read_row(&again).as_ref(), Ok(&entry));
    }
}

/// Reads `bytes` as a row of deliveries that came in.
pub fn arrived(bytes: &[u8]) {
    if let Ok((number, ids)) = crate::arrived::decode_block(bytes) {
        let mut again = Vec::new();
        crate::arrived::encode_block(number, &ids, &mut again);
        assert_eq!(
            crate::arrived::decode_block(&again).as_ref(),
            Ok(&(number, ids))
        );
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
    entry().encode(&mut row);
    vec![row]
}

pub fn arrived_rows() -> Vec<Vec<u8>> {
    let ids = [
        (DeliveryId([7; 16]), Served::All),
        (DeliveryId([8; 16]), Served::Only(vec![1, 300])),
    ];
    let mut row = Vec::new();
    crate::arrived::encode_block(9, &ids, &mut row);
    vec![row]
}

fn body() -> BodyRef {
    let place = |at| RecordAddress {
        segment: SegmentIndex(3),
        generation: Generation(2),
        batch_block: 5,
        at,
        bytes: 900,
        check: 77,
    };
    BodyRef {
        name: BodyName([5; 32]),
        raw_bytes: 1_000,
        summary: place(4_096),
        body: place(5_000),
        codec: Codec::Zstd,
    }
}

fn addressee() -> Addressee {
    Addressee {
        path: "bob@example.net".to_owned(),
        notify: Notify::FAILURE.and(Notify::DELAY),
        original: "rfc822;bob+40example.net".to_owned(),
    }
}

fn terms() -> Terms {
    Terms {
        returned: Returned::Headers,
        envelope_id: "QQ314159".to_owned(),
        is_utf8: true,
        is_eight_bit: false,
        needs_tls: true,
        is_junk: true,
        is_report: true,
        is_unsigned: true,
    }
}

/// Every field has a value that is not the default, so that one which is forgotten in `encode` makes a difference.
fn entry() -> Entry {
    let recipient = |state| Recipient {
        to: addressee(),
        state,
        tries: 3,
        reply: "450 4.2.1 try later".to_owned(),
        host: "mx.example.net".to_owned(),
        tried: UnixSeconds(1_794_000_100),
    };
    Entry {
        id: QueueId(9),
        body: body(),
        from: "alice@example.org".to_owned(),
        recipients: vec![
            recipient(RecipientState::Waiting(UnixSeconds(1_795_000_000))),
            recipient(RecipientState::Delivered),
            recipient(RecipientState::Failed),
        ],
        arrived: UnixSeconds(1_794_000_000),
        warns: UnixSeconds(1_794_014_400),
        expires: UnixSeconds(1_794_432_000),
        terms: terms(),
        warned: true,
        held: true,
        snapshot: Lsn(8),
    }
}

/// One of each.
/// Also what the tests of records go through: a new kind that has a line here is read back, replayed and fuzzed by that.
pub(crate) fn changes() -> Vec<Change> {
    let id = QueueId(9);
    vec![
        Change::Put {
            id,
            body_index: 0,
            envelope: Envelope {
                from: String::new(),
                recipients: vec![addressee(), Addressee::new("carol@example.net")],
                arrived: UnixSeconds(1),
                warns: UnixSeconds(2),
                expires: UnixSeconds(3),
                terms: terms(),
            },
        },
        Change::Tried {
            id,
            at: UnixSeconds(6),
            warned: true,
            outcomes: vec![Outcome {
                recipient: 0,
                state: RecipientState::Waiting(UnixSeconds(7)),
                reply: "4.4.1".to_owned(),
                host: "192.0.2.1".to_owned(),
            }],
        },
        Change::Remove { id },
        Change::Relocate {
            bodies: vec![(id, body())],
        },
        Change::Snapshot { entry: entry() },
        Change::Gone {
            from: QueueId(3),
            to: QueueId(40),
            kept: vec![QueueId(3), QueueId(5), QueueId(39)],
        },
        Change::Hold { id, held: true },
        Change::Retry {
            id,
            at: UnixSeconds(77),
        },
        Change::Arrived {
            id: DeliveryId([7; 16]),
            served: Served::All,
        },
        Change::Arrived {
            id: DeliveryId([8; 16]),
            served: Served::Only(vec![1, 300]),
        },
    ]
}
