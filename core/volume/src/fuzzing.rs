//! Doors for `core/fuzz`, no part of the API: on-disk structures read from any bytes. The checksums are made good first, for no
//! accident would get past them and the fuzzer would only ever test the checksum.

use base::hash;
use device::BLOCK_BYTES;

use crate::BATCH_HEADER_BYTES;
use crate::format::{self, Header, Inline, Kind, encode_inline};
use crate::layout::Plan;
use crate::segment::Table;
use crate::superblock::{self, SlotContent, Superblock};
use crate::types::*;

const VOLUME: VolumeId = VolumeId(*b"sixteen bytes it");
const LEG: LegId = LegId(*b"sixteen as well.");
/// Where the slots pretend to lie.
const AT: u64 = 64 << 10;

/// Superblock slots as this release writes them.
pub fn superblocks() -> Vec<Vec<u8>> {
    let plain = Superblock {
        volume: VOLUME,
        seq: 7,
        parent: 6,
        epoch: 3,
        term: 2,
        plan: Plan {
            segments_at: 256 << 10,
            segment_bytes: 256 << 10,
            segment_count: 30,
        },
        clean: true,
        acked: Lsn(90),
        members: vec![superblock::Member {
            id: LEG,
            state: LegState::InSync,
            stale_since: Lsn(0),
            wwid: 5,
        }],
        checkpoint: Lsn(80),
        start: None,
        table: Vec::new(),
        table_lsn: Lsn(0),
        table_chain: 0,
        claims: Vec::new(),
        note: Vec::new(),
        scrub: ScrubState::default(),
    };
    let spot = superblock::Spot {
        segment: 4,
        generation: 2,
        block: 11,
    };
    let mut full = plain.clone();
    full.start = Some(spot);
    full.table = vec![spot; 2];
    full.claims = vec![superblock::ClaimEntry {
        segment: SegmentIndex(9),
        generation: Generation(1),
    }];
    full.note = b"a note of the store's".to_vec();
    full.members.push(superblock::Member {
        id: LegId([9; 16]),
        state: LegState::Stale,
        stale_since: Lsn(33),
        wwid: 6,
    });
    [plain, full].map(|superblock| encode(&superblock)).to_vec()
}

fn encode(superblock: &Superblock) -> Vec<u8> {
    let mut slot = vec![0; BLOCK_BYTES];
    superblock.encode_slot(LEG, 0, AT, &mut slot);
    slot
}

/// Reads a slot, as it is and with its checksums made good; what is read is written and read again.
pub fn superblock(bytes: &[u8]) {
    let mut slot = sized(bytes, BLOCK_BYTES);
    superblock::decode_slot(&slot, 0, AT);
    seal_slot(&mut slot);
    if let SlotContent::Valid(found) = superblock::decode_slot(&slot, 0, AT) {
        let again = encode(&found.superblock);
        match superblock::decode_slot(&again, 0, AT) {
            SlotContent::Valid(second) => assert_eq!(second.superblock, found.superblock),
            other => panic!("what was read is written unreadably: {other:?}"),
        }
        let _ = superblock::quorum(&[(*found).clone(), *found]);
    }
}

/// Batch headers as this release writes them.
pub fn headers() -> Vec<Vec<u8>> {
    let mut inline = Vec::new();
    let segment = SegmentIndex(3);
    let generation = Generation(2);
    encode_inline(
        &Inline::Claim {
            segment,
            generation,
        },
        &mut inline,
    );
    encode_inline(
        &Inline::Free {
            segment,
            generation,
        },
        &mut inline,
    );
    encode_inline(
        &Inline::ArenaGrow {
            segment,
            generation,
            ordinal: 1,
        },
        &mut inline,
    );
    encode_inline(&Inline::Seal { last: Lsn(8) }, &mut inline);
    encode_inline(
        &Inline::Skip {
            after: Lsn(5),
            until: Lsn(8),
            chain: 7,
        },
        &mut inline,
    );
    [(Kind::Store, Vec::new()), (Kind::Records, inline)]
        .map(|(kind, inline)| {
            let header = Header {
                kind,
                attempt: 1,
                epoch: 3,
                term: 2,
                lsn: Lsn(9),
                acked: Lsn(8),
                segment,
                generation,
                block: 5,
                payload_bytes: 100,
                unix_seconds: 1_795_000_000,
                prev: 1,
                content: 2,
                inline,
            };
            let mut block = vec![0; BATCH_HEADER_BYTES];
            header.encode(VOLUME, &mut block);
            block
        })
        .to_vec()
}

/// Reads a batch header, as it is and with its checksum made good; what is read is written and read again.
pub fn header(bytes: &[u8]) {
    let mut block = sized(bytes, BATCH_HEADER_BYTES);
    Header::decode_anywhere(&block, VOLUME);
    seal_header(&mut block);
    let Some(header) = Header::decode_anywhere(&block, VOLUME) else {
        return;
    };
    header.records();
    header.chain(VOLUME);
    header.proves(&block, VOLUME);
    let mut again = vec![0; BATCH_HEADER_BYTES];
    header.encode(VOLUME, &mut again);
    let again = Header::decode_anywhere(&again, VOLUME).expect("what was read is written readably");
    assert_eq!(again.chain(VOLUME), header.chain(VOLUME));
    assert_eq!(again.address(), header.address());
}

/// A segment table in one part.
pub fn tables() -> Vec<Vec<u8>> {
    let mut table = Table::new(SEGMENTS);
    for _ in 0..3 {
        table.claim(Lsn(0), Lsn(0));
    }
    for lsn in 1..5 {
        table.place(Lsn(lsn), 30, 64, crate::format::Holds::Store, |_| true);
    }
    // One part, and two that lie behind each other as `table` cuts them.
    [4096, 150]
        .map(|part_bytes| table.encode(part_bytes, table.needed()).concat())
        .to_vec()
}

const SEGMENTS: u32 = 8;

/// Reads a segment table whose one part is `bytes`.
pub fn table(bytes: &[u8]) {
    Table::decode(&[bytes], SEGMENTS);
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    Table::decode(&[head, tail], SEGMENTS);
}

fn seal_slot(slot: &mut [u8]) {
    let body_bytes = u32::from_le_bytes(
        slot[BODY_BYTES_AT..BODY_BYTES_AT + 4]
            .try_into()
            .expect("four bytes"),
    );
    let room = &slot[superblock::BODY_AT..superblock::BODY_HASH_AT];
    if let Some(body) = room.get(..body_bytes as usize) {
        let hash = superblock::hash_body(body).to_le_bytes();
        slot[superblock::BODY_HASH_AT..superblock::CHECK_AT].copy_from_slice(&hash);
    }
    let check = hash::xxh3_128(&slot[..superblock::CHECK_AT], hash::seed(&[AT]));
    slot[superblock::CHECK_AT..].copy_from_slice(&check.to_le_bytes());
}

/// Magic, format, copy, a spare byte, three feature words, leg.
const BODY_BYTES_AT: usize = 8 + 2 + 1 + 1 + 12 + 16;

fn seal_header(block: &mut [u8]) {
    // Segment, generation and block follow magic, format, kind, a spare byte, attempt, volume, epoch, term and two LSNs.
    let at = 8 + 2 + 1 + 1 + 4 + 16 + 32;
    let word = |index: usize| {
        u32::from_le_bytes(block[at + 4 * index..][..4].try_into().expect("four bytes"))
    };
    let seed = format::place_seed(VOLUME, SegmentIndex(word(0)), Generation(word(1)), word(2));
    let check = hash::xxh3_128(&block[..format::CHECK_AT], seed);
    block[format::CHECK_AT..].copy_from_slice(&check.to_le_bytes());
}

/// Cut or filled with zeros.
fn sized(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut out = bytes[..bytes.len().min(size)].to_vec();
    out.resize(size, 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seals_are_those_of_the_format() {
        for slot in superblocks() {
            let mut sealed = slot.clone();
            sealed[superblock::BODY_HASH_AT..].fill(0);
            seal_slot(&mut sealed);
            assert_eq!(sealed, slot);
            superblock(&slot);
        }
        for block in headers() {
            let mut sealed = block.clone();
            sealed[format::CHECK_AT..].fill(0);
            seal_header(&mut sealed);
            assert_eq!(sealed, block);
            header(&block);
        }
    }
}
