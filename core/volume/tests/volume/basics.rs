//! A volume without accidents: what is committed is read, walked, and there after a restart.

use crate::common::*;
use volume::*;

#[test]
fn what_is_committed_is_read_walked_and_there_after_a_restart() {
    let bench = Bench::new(1, 2);
    let volume = bench.open();
    let letters: Vec<_> = (0..40)
        .map(|number| letter(number, 1 + number * 900))
        .collect();
    let mut addresses = Vec::new();
    for payload in &letters {
        addresses.push(bench.append(&volume, payload).expect("durable"));
    }
    let records: Vec<_> = addresses
        .iter()
        .zip(&letters)
        .map(|(address, payload)| record(&volume, *address, payload))
        .collect();
    let read = bench.world.block_on(volume.read_many(&records));
    assert!(
        read.iter()
            .zip(&letters)
            .all(|(read, payload)| read.as_ref().expect("read") == payload)
    );
    assert_eq!(bench.payloads(&volume), letters);
    for leg in volume.legs() {
        assert_eq!(leg.flushes.count(), volume.counters().batches);
        assert!(leg.flushes.sum_us > 0, "writes take time");
    }
    drop(volume);

    bench.world.crash();
    let volume = bench.open();
    assert_eq!(bench.payloads(&volume), letters);
    let read = bench.world.block_on(volume.read_many(&records));
    assert!(
        read.iter()
            .zip(&letters)
            .all(|(read, payload)| read.as_ref().expect("read") == payload)
    );
    assert_eq!(volume.open_report().damaged, []);
    let more = bench
        .append(&volume, b"after the restart")
        .expect("durable");
    assert!(more.lsn > addresses.last().expect("some").lsn);
}

#[test]
fn recovery_begins_at_the_checkpoint_and_keeps_the_note() {
    let bench = Bench::new(2, 2);
    let volume = bench.open();
    let mut last = Lsn(0);
    for number in 0..30 {
        last = bench
            .append(&volume, &letter(number, 20_000))
            .expect("durable")
            .lsn;
    }
    let checkpoint = Checkpoint {
        lsn: last,
        note: b"the store's".to_vec(),
    };
    bench
        .world
        .block_on(volume.set_checkpoint(checkpoint.clone()))
        .expect("durable");
    bench.append(&volume, b"one more").expect("durable");
    drop(volume);
    bench.world.crash();

    let volume = bench.open();
    assert_eq!(volume.checkpoint(), checkpoint);
    assert!(
        volume.open_report().tail_batches < 30,
        "{:?}",
        volume.open_report()
    );
    let after = bench.world.block_on(async {
        let mut walk = volume.walk(last);
        let mut found = Vec::new();
        while let Some((_, payload)) = walk.next().await.expect("whole") {
            found.push(payload);
        }
        found
    });
    assert_eq!(after, [&b"one more"[..]]);
    assert_eq!(
        bench.payloads(&volume).len(),
        31,
        "the log before the checkpoint is still there"
    );
}

#[test]
fn freed_segments_are_used_again_and_old_addresses_are_stale() {
    let bench = Bench::new(3, 2);
    let volume = bench.open();
    let payload = letter(0, 60_000);
    let first = bench.append(&volume, &payload).expect("durable");
    let first = record(&volume, first, &payload);
    for round in 0..12 {
        let mut last = Lsn(0);
        for _ in 0..16 {
            last = bench
                .append(&volume, &letter(round, 60_000))
                .expect("room is made in time")
                .lsn;
        }
        let checkpoint = Checkpoint {
            lsn: last,
            note: vec![],
        };
        bench
            .world
            .block_on(volume.set_checkpoint(checkpoint))
            .expect("durable");
        for segment in volume.segments() {
            if segment.state == SegmentState::Sealed && segment.last_lsn <= last {
                bench
                    .world
                    .block_on(volume.free_segment(segment.index))
                    .expect("durable");
            }
        }
    }
    assert_eq!(
        bench.world.block_on(volume.read(&first)),
        Err(ReadFault::Stale)
    );
    drop(volume);
    bench.world.crash();
    let volume = bench.open();
    assert_eq!(
        bench.world.block_on(volume.read(&first)),
        Err(ReadFault::Stale)
    );
}

#[test]
fn a_full_volume_says_full_and_can_be_emptied() {
    let bench = Bench::new(4, 2);
    let volume = bench.open();
    let mut last = Lsn(0);
    let full = (0..200).find_map(
        |number| match bench.append(&volume, &letter(number, 100_000)) {
            Ok(address) => {
                last = address.lsn;
                None
            }
            Err(fault) => Some(fault),
        },
    );
    assert_eq!(full, Some(CommitFault::Full));
    bench
        .world
        .block_on(volume.set_checkpoint(Checkpoint {
            lsn: last,
            note: vec![],
        }))
        .expect("the reserve is there");
    let victims: Vec<_> = volume
        .segments()
        .into_iter()
        .filter(|s| s.state == SegmentState::Sealed)
        .take(4)
        .collect();
    for segment in victims {
        bench
            .world
            .block_on(volume.free_segment(segment.index))
            .expect("the reserve is there");
    }
    bench
        .append(&volume, &letter(0, 100_000))
        .expect("there is room again");
}

#[test]
fn arena_pages_read_back_and_a_rotten_copy_is_repaired() {
    let bench = Bench::new(5, 2);
    let volume = bench.open();
    let segment = bench.world.block_on(volume.arena_grow()).expect("room");
    let pages: Vec<_> = (0..20u64)
        .map(|page| (page, bytes::Bytes::from(letter(page as usize, 4096))))
        .collect();
    bench
        .world
        .block_on(volume.arena_write(pages.clone()))
        .expect("durable");
    drop(volume);
    bench.world.crash();
    let volume = bench.open();
    let at = 256 * 1024 + u64::from(segment.0) * settings().segment_bytes;
    bench.world.flip_bit(bench.disks[0], at + 3 * 4096 + 17, 2);
    let reader = volume.arena_reader();
    let mut into = vec![0; 4096];
    for (page, bytes) in &pages {
        reader
            .read_page(*page, page_check(*page, bytes), &mut into)
            .expect("one leg has it");
        assert_eq!(into, bytes[..]);
    }
    assert_eq!(reader.read_page(3, 0, &mut into), Err(ReadFault::Damaged));
    bench.append(&volume, b"the owner's turn").expect("durable");
    bench.world.run_for_us(100_000).expect("repairs end");
    assert_eq!(
        bench.world.peek(bench.disks[0], at + 3 * 4096, 4096),
        &pages[3].1[..]
    );
}

#[test]
fn foreign_and_used_devices_are_refused_with_a_reason() {
    let bench = Bench::new(6, 2);
    let used = bench.world.add_disk(LEG_BYTES);
    bench
        .world
        .poke(used, 1 << 20, b"another owner's photographs");
    let refusal = bench.world.block_on(async {
        Volume::create(&bench.world.io(), &[used], &settings(), &*bench.witness, 1).await
    });
    assert!(refusal.is_err_and(|refusal| refusal.to_string().contains("not a Ringpost leg")));
    let taken = bench.disks[0];
    let refusal = bench.world.block_on(async {
        Volume::create(&bench.world.io(), &[taken], &settings(), &*bench.witness, 1).await
    });
    assert!(refusal.is_err_and(|refusal| refusal.to_string().contains("already a leg of volume")));
    assert!(
        bench
            .try_open(&[used])
            .is_err_and(|refusal| refusal.to_string().contains("none of the devices is a leg"))
    );
}
