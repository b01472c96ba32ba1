use super::*;

fn superblock(seq: u64) -> Superblock {
    Superblock {
        volume: VolumeId([1; 16]),
        seq,
        parent: 9,
        epoch: 2,
        term: 3,
        plan: Plan {
            segments_at: 4 << 20,
            segment_bytes: 64 << 20,
            segment_count: 10,
        },
        clean: false,
        acked: Lsn(8),
        members: vec![
            Member {
                id: LegId([2; 16]),
                state: LegState::Stale,
                stale_since: Lsn(4),
                wwid: 5
            };
            8
        ],
        checkpoint: Lsn(7),
        start: Some(Spot {
            segment: 1,
            generation: 2,
            block: 3,
        }),
        table: vec![
            Spot {
                segment: 1,
                generation: 2,
                block: 9
            };
            TABLE_PARTS_MAX
        ],
        table_lsn: Lsn(8),
        table_chain: 77,
        claims: vec![
            ClaimEntry {
                segment: SegmentIndex(3),
                generation: Generation(1)
            };
            SUPERBLOCK_CLAIMS_MAX
        ],
        note: vec![5; NOTE_BYTES_MAX],
        scrub: ScrubState {
            ended: 1_700_000_000,
            began: 1_700_600_000,
            cursor: Lsn(77),
            ..ScrubState::default()
        },
    }
}

fn slot(superblock: &Superblock, copy: usize) -> Slot {
    let mut bytes = vec![0; BLOCK_BYTES];
    superblock.encode_slot(LegId([2; 16]), copy, 4096, &mut bytes);
    match decode_slot(&bytes, copy, 4096) {
        SlotContent::Valid(slot) => *slot,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_fullest_superblock_fits_and_reads_back() {
    let superblock = superblock(12);
    assert_eq!(slot(&superblock, 1).superblock, superblock);
}

#[test]
fn a_superblock_without_scrub_dates_was_never_scrubbed() {
    let superblock = superblock(12);
    let body = superblock.encode_body();
    let older = Superblock::decode_body(&body[..body.len() - 24]).expect("whole");
    let scrub = ScrubState::default();
    assert_eq!(
        older,
        Superblock {
            scrub,
            ..superblock
        }
    );
}

#[test]
fn a_slot_elsewhere_or_of_another_copy_or_with_a_flipped_bit_is_nothing() {
    let mut bytes = vec![0; BLOCK_BYTES];
    superblock(12).encode_slot(LegId([2; 16]), 1, 4096, &mut bytes);
    assert!(matches!(decode_slot(&bytes, 2, 4096), SlotContent::Other));
    assert!(matches!(decode_slot(&bytes, 1, 8192), SlotContent::Other));
    for bit in (0..BLOCK_BYTES * 8).step_by(3) {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(
            matches!(decode_slot(&bytes, 1, 4096), SlotContent::Other),
            "bit {bit}"
        );
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn the_newest_single_copy_is_not_trusted() {
    let (old, new) = (superblock(4), superblock(5));
    let slots = [slot(&old, 0), slot(&old, 1), slot(&old, 2), slot(&new, 3)];
    let quorum = quorum(&slots).expect("no fork").expect("two agree");
    assert_eq!((quorum.superblock.seq, quorum.seq_seen), (4, 5));
}

#[test]
fn one_number_with_two_contents_refuses() {
    let here = superblock(4);
    let there = Superblock {
        epoch: 99,
        ..here.clone()
    };
    assert!(
        quorum(&[
            slot(&here, 0),
            slot(&here, 1),
            slot(&there, 2),
            slot(&there, 3)
        ])
        .is_err()
    );
}
