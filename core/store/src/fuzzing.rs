//! Doors for `core/fuzz`, no part of the API: the store's structures read from any bytes. Checks are made good first: an accident does
//! not get past them, and the fuzzer would only ever test the checksum. What is read is written and read again.

use base::BodyName;
use base::cursor::{Reader, Write};
use bytes::Bytes;
use volume::{Generation, Lsn, RecordAddress, SegmentIndex};

use crate::body::{Chunk, Zstd, decode_chunks, encode_chunks};
use crate::frame::{self, FRAME_HEADER_BYTES, Frames, Kind};
use crate::limits::PAGE_BYTES;
use crate::pages::{Base, IndexSync, Note, PageTable};
use crate::{BodyRef, Codec, Record, RecordKind};

const SEED: u64 = 7;

/// Reads `bytes` as a batch's payload of one group frame: the meta from any bytes under a good check.
pub fn frames(bytes: &[u8]) {
    let mut payload = Vec::new();
    frame::begin(&mut payload);
    payload.put_bytes(bytes);
    let runs_bytes = bytes.first().map_or(0, |first| usize::from(*first) * 8);
    frame::end(&mut payload, Kind::Group, runs_bytes, SEED);
    payload.resize(frame::align8(payload.len()) + runs_bytes, 0);
    let runs_at = frame::align8(FRAME_HEADER_BYTES + bytes.len());
    let mut frames = Frames::new(payload.into(), SEED);
    let frame = frames.next().expect("the check is good").expect("one");
    assert_eq!(frame.runs_bytes, runs_bytes);
    if let Ok(group) = frame::group(&frame) {
        for run in group
            .bodies
            .iter()
            .flat_map(|body| [body.summary, body.body])
        {
            let inside = run.at as usize - volume::BATCH_HEADER_BYTES;
            assert!(inside >= runs_at && inside + run.bytes as usize <= runs_at + runs_bytes);
        }
    }
    assert!(frames.next().expect("only padding").is_none());
    // And as they are, with whatever check they carry.
    let mut raw = Frames::new(Bytes::copy_from_slice(bytes), SEED);
    while let Ok(Some(_)) = raw.next() {}
}

/// Reads `bytes` as a reference, a chunk list, and a compressed body.
pub fn references(bytes: &[u8]) {
    if let Ok(body) = BodyRef::decode(&mut Reader::new(bytes)) {
        let mut again = Vec::new();
        body.encode(&mut again);
        assert!(again.len() <= crate::BODY_REF_BYTES_MAX);
        assert_eq!(BodyRef::decode(&mut Reader::new(&again)), Ok(body));
    }
    if let Ok(chunks) = decode_chunks(bytes, 1000) {
        let again = encode_chunks(&chunks);
        assert_eq!(decode_chunks(&again, 1000), Ok(chunks));
    }
    let zstd = Zstd::new(0, crate::no_lead);
    let expanded = zstd.expand(Bytes::copy_from_slice(bytes), Codec::Zstd, 5000);
    assert!(expanded.is_err() || expanded.is_ok_and(|raw| raw.len() == 5000));
    let head = zstd.head(bytes, Codec::Zstd, 5000, 700);
    assert!(head.is_err() || head.is_ok_and(|head| head.len() == 700));
}

/// Reads `bytes` as what leads back to the projection.
pub fn projection(bytes: &[u8]) {
    if let Ok(sync) = IndexSync::decode(bytes) {
        assert_eq!(IndexSync::decode(&sync.encode()), Ok(sync.clone()));
        let mut table = PageTable::default();
        for (page, check) in &sync.changed {
            table.set(*page, *check);
        }
        table.cut(sync.logical_bytes);
    }
    if let Ok(note) = Note::decode(bytes) {
        assert_eq!(Note::decode(&note.encode()), Ok(note));
    }
    let _ = PageTable::default().push_run(bytes);
}

fn address(segment: u32) -> RecordAddress {
    RecordAddress {
        segment: SegmentIndex(segment),
        generation: Generation(2),
        batch_block: 40,
        at: 4120,
        bytes: 300,
        check: 0x1122_3344_5566_7788,
    }
}

/// Group metas as this release writes them, for `frames`.
pub fn frame_seeds() -> Vec<Vec<u8>> {
    let mut meta = vec![];
    meta.put_varint(1);
    let payload = Bytes::from_static(b"a record");
    let kind = RecordKind(3);
    frame::put_record(&mut meta, &Record { kind, payload });
    meta.put_varint(1);
    meta.put_bytes(&BodyName::of(b"body").0);
    meta.put_varint(4);
    meta.put_u8(Codec::Raw.number());
    frame::put_run(&mut meta, 0, 0, 1);
    frame::put_run(&mut meta, 0, 4, 2);
    vec![vec![0, 0], meta]
}

/// References and chunk lists, for `references`.
pub fn reference_seeds() -> Vec<Vec<u8>> {
    let reference = |summary, codec| {
        let mut out = Vec::new();
        let (name, body) = (BodyName::of(b"body"), address(5));
        let raw_bytes = 70_000;
        BodyRef {
            name,
            raw_bytes,
            summary,
            body,
            codec,
        }
        .encode(&mut out);
        out
    };
    let chunk = |codec, raw_bytes| Chunk {
        address: address(6),
        codec,
        raw_bytes,
    };
    let packed = Zstd::new(1, crate::no_lead)
        .compress(&[b'a'; 5000])
        .expect("it shrinks");
    vec![
        reference(address(5), Codec::Raw),
        reference(address(9), Codec::Chunked),
        encode_chunks(&[chunk(Codec::Raw, 600), chunk(Codec::Zstd, 400)]),
        packed.to_vec(),
    ]
}

/// Syncs and notes, for `projection`.
pub fn projection_seeds() -> Vec<Vec<u8>> {
    let sync = |base| {
        let page0 = Bytes::from(vec![7; PAGE_BYTES]);
        let changed = vec![(1, 10), (2, 20), (90, 30)];
        let (applied, logical_bytes) = (Lsn(77), 1 << 20);
        IndexSync {
            applied,
            logical_bytes,
            base,
            changed,
            page0,
        }
        .encode()
    };
    let note = Note {
        sync: Some(address(4)),
        rebuild: false,
        emptied: vec![(SegmentIndex(3), Generation(9))],
        past_damage: vec![Lsn(7)],
    };
    vec![
        sync(Base::Previous(address(3))),
        sync(Base::Table(vec![address(2)])),
        note.encode(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_hold() {
        frame_seeds().iter().for_each(|seed| frames(seed));
        reference_seeds().iter().for_each(|seed| references(seed));
        projection_seeds().iter().for_each(|seed| projection(seed));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_hold(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            frames(&bytes);
            references(&bytes);
            projection(&bytes);
        }

        #[test]
        fn bent_seeds_hold(which in 0usize..9, at in 0usize..5000, byte in proptest::num::u8::ANY) {
            let seeds = [frame_seeds(), reference_seeds(), projection_seeds()].concat();
            let mut seed = seeds[which % seeds.len()].clone();
            let index = at % seed.len();
            seed[index] = byte;
            frames(&seed);
            references(&seed);
            projection(&seed);
        }
    }
}
