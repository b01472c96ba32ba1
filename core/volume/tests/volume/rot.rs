//! What a leg says is not what was written there: rot, misdirected and lost writes, old superblocks, places that cannot be read.

use crate::accidents::{assert_legs_equal, at, medium, state, wait_in_sync};
use crate::common::*;
use crate::full::interrupted_opening;
use device::sim::Faults;
use volume::*;

#[test]
fn a_rotten_batch_is_read_from_the_other_leg_and_repaired() {
    let bench = Bench::new(10, 2);
    let volume = bench.open();
    let payload = letter(1, 30_000);
    let address = bench.append(&volume, &payload).expect("durable");
    let record = record(&volume, address, &payload);
    for disk in 0..2 {
        let before = medium(&bench, disk);
        // Bits of the header, of the payload and of the padding.
        for at_byte in [
            at(&address) + 20,
            at(&address) + 4096 + 777,
            at(&address) + 4096 + 30_010,
        ] {
            bench.world.flip_bit(bench.disks[disk], at_byte, 5);
        }
        // Read twice so that either leg is asked.
        for _ in 0..4 {
            assert_eq!(
                bench
                    .world
                    .block_on(volume.read(&record))
                    .expect("a good copy"),
                payload
            );
        }
        let scrub = bench.world.block_on(volume.scrub());
        assert_eq!(scrub.damaged, []);
        assert_eq!(bench.world.peek(bench.disks[disk], at(&address), 36_864), {
            let after = medium(&bench, disk);
            bench.world.restore(bench.disks[disk], &before);
            let good = bench.world.peek(bench.disks[disk], at(&address), 36_864);
            bench.world.restore(bench.disks[disk], &after);
            good
        });
    }
    assert_legs_equal(&bench, &volume);
}

#[test]
fn a_batch_bad_on_both_legs_is_damage_and_the_rest_serves() {
    let bench = Bench::new(11, 2);
    let volume = bench.open();
    let payloads: Vec<_> = (0..5).map(|number| letter(number, 10_000)).collect();
    let addresses: Vec<_> = payloads
        .iter()
        .map(|payload| bench.append(&volume, payload).expect("durable"))
        .collect();
    for disk in &bench.disks {
        bench
            .world
            .flip_bit(*disk, at(&addresses[2]) + 4096 + 50, 1);
    }
    let records: Vec<_> = addresses
        .iter()
        .zip(&payloads)
        .map(|(a, p)| record(&volume, *a, p))
        .collect();
    let read = bench.world.block_on(volume.read_many(&records));
    for (index, read) in read.iter().enumerate() {
        assert_eq!(read.is_ok(), index != 2);
    }
    assert_eq!(read[2], Err(ReadFault::Damaged));
    let scrub = bench.world.block_on(volume.scrub());
    assert_eq!(scrub.damaged, [addresses[2]]);
    let mut walk = volume.walk(Lsn(0));
    let mut found = Vec::new();
    let mut damaged = 0;
    bench.world.block_on(async {
        loop {
            match walk.next().await {
                Ok(Some((address, _))) => found.push(address),
                Ok(None) => break,
                Err(ReadFault::Damaged) => damaged += 1,
                Err(other) => panic!("{other}"),
            }
        }
    });
    assert_eq!((found.len(), damaged), (4, 1));
}

/// The last batches before a crash are torn on both legs: they were never acknowledged and are cut. A batch further
/// back that rotted on both legs was acknowledged: the volume says so and does not write over it.
#[test]
fn rot_is_not_mistaken_for_a_torn_tail() {
    let bench = Bench::new(12, 2);
    let volume = bench.open();
    let addresses: Vec<_> = (0..6)
        .map(|number| {
            bench
                .append(&volume, &letter(number, 9_000))
                .expect("durable")
        })
        .collect();
    drop(volume);
    bench.world.crash();
    let disks: Vec<_> = (0..2).map(|disk| medium(&bench, disk)).collect();
    let record = bench.witness.record.borrow().clone();
    let position = *bench.witness.position.borrow();

    // Torn: only the very last batch, of which no later one says that it was acknowledged.
    for disk in &bench.disks {
        bench.world.flip_bit(*disk, at(&addresses[5]) + 5_000, 0);
    }
    let volume = bench.open();
    assert_eq!(bench.payloads(&volume).len(), 5);
    assert_eq!(volume.refuses(), None);
    drop(volume);

    bench.world.crash();
    for (disk, content) in bench.disks.iter().zip(&disks) {
        bench.world.restore(*disk, content);
    }
    *bench.witness.record.borrow_mut() = record;
    *bench.witness.position.borrow_mut() = position;
    for disk in &bench.disks {
        bench.world.flip_bit(*disk, at(&addresses[3]) + 5_000, 0);
    }
    let volume = bench.open();
    assert_eq!(volume.open_report().damaged, [addresses[3].lsn]);
    assert!(
        volume
            .refuses()
            .is_some_and(|why| why.contains("damaged on every leg"))
    );
    assert!(matches!(
        bench.append(&volume, b"no"),
        Err(CommitFault::Deferred(_))
    ));
    let read = bench.world.block_on(volume.read(&crate::common::record(
        &volume,
        addresses[5],
        &letter(5, 9_000),
    )));
    assert_eq!(
        read.expect("what follows the damage is kept"),
        letter(5, 9_000)
    );
    bench
        .world
        .block_on(volume.accept_damage())
        .expect("taken over");
    bench.append(&volume, b"yes").expect("written again");
    drop(volume);
    bench.world.crash();
    let volume = bench.open();
    let last = bench.world.block_on(async {
        let mut walk = volume.walk(addresses[5].lsn);
        walk.next().await.expect("whole").expect("one more").1
    });
    assert_eq!(last, &b"yes"[..]);
}

#[test]
fn rot_at_one_leg_s_tail_is_repaired_at_open() {
    let bench = Bench::new(13, 2);
    let volume = bench.open();
    let addresses: Vec<_> = (0..6)
        .map(|number| {
            bench
                .append(&volume, &letter(number, 9_000))
                .expect("durable")
        })
        .collect();
    drop(volume);
    bench.world.crash();
    bench
        .world
        .flip_bit(bench.disks[0], at(&addresses[1]) + 8, 0);
    bench
        .world
        .flip_bit(bench.disks[0], at(&addresses[4]) + 5_000, 0);
    bench
        .world
        .flip_bit(bench.disks[1], at(&addresses[5]) + 5_000, 0);
    let volume = bench.open();
    assert_eq!(
        bench.payloads(&volume),
        (0..6)
            .map(|number| letter(number, 9_000))
            .collect::<Vec<_>>()
    );
    let scrub = bench.world.block_on(volume.scrub());
    assert_eq!(scrub.damaged, []);
    assert_legs_equal(&bench, &volume);
}

#[test]
fn a_leg_with_too_much_rot_is_put_out_and_returns_by_a_whole_copy() {
    let bench = Bench::new(27, 2);
    let volume = bench.open();
    for number in 0..100 {
        let address = bench
            .append(&volume, &letter(number, 9_000))
            .expect("durable");
        bench
            .world
            .poke(bench.disks[1], at(&address) + 4096, &[0xa5; 512]);
    }
    bench.world.block_on(volume.scrub());
    assert_eq!(state(&volume, 1), LegState::Stale);
    bench
        .world
        .block_on(volume.attach(bench.disks[1]))
        .expect("it may come back");
    wait_in_sync(&bench, &volume);
    assert_legs_equal(&bench, &volume);
    let again = bench.world.block_on(volume.scrub());
    assert_eq!((again.repaired, again.damaged.len()), (0, 0));
    assert_eq!(state(&volume, 1), LegState::InSync);
}

#[test]
fn a_misdirected_write_is_found_and_put_right_by_scrub() {
    let bench = Bench::new(23, 2);
    let volume = bench.open();
    let letters: Vec<_> = (0..30).map(|number| letter(number, 20_000)).collect();
    bench.world.set_faults(
        bench.disks[1],
        Faults {
            lost_write: 0.2,
            ..Faults::default()
        },
    );
    for letter in &letters {
        bench.append(&volume, letter).expect("the device says so");
    }
    bench.world.set_faults(bench.disks[1], Faults::default());
    let scrub = bench.world.block_on(volume.scrub());
    assert!(scrub.repaired > 0);
    assert_eq!(scrub.damaged, []);
    assert_legs_equal(&bench, &volume);
    assert_eq!(bench.payloads(&volume), letters);
}

/// Found by `sim --seed 839`: the scrub looked while a checkpoint had written two of the four copies, took the other two for
/// lost and counted a repair on a sound leg.
#[test]
fn seed_839_a_superblock_just_being_written_is_not_a_damaged_one() {
    // The checkpoint comes at every moment of the scrub, so also while the superblocks are looked at.
    for delay_us in (0..4_000).step_by(20) {
        let bench = Bench::new(839 + delay_us, 2);
        let volume = bench.open();
        let lsn = bench.append(&volume, b"a letter").expect("stored").lsn;
        let (scrubbing, (done, report)) = (volume.clone(), base::host::oneshot());
        let host = bench.world.io().host;
        host.spawn(Box::pin(async move { done.send(scrubbing.scrub().await) }));
        bench.world.run_for_us(delay_us).expect("no power cut");
        let note = Vec::new();
        let saved = volume.set_checkpoint(Checkpoint { lsn, note });
        bench.world.block_on(saved).expect("it is recorded");
        let scrub = bench.world.block_on(report).expect("it ends");
        assert_eq!((scrub.repaired, scrub.damaged), (0, vec![]), "{delay_us}");
    }
}

/// One leg lied about its last superblock: all four copies there are of the one before.
#[test]
fn an_older_superblock_is_put_right_by_scrub() {
    let bench = Bench::new(71, 2);
    let volume = bench.open();
    let rings = [
        64 << 10,
        128 << 10,
        LEG_BYTES - (128 << 10),
        LEG_BYTES - (64 << 10),
    ];
    let ring_bytes = 16 * 4096;
    let older = rings.map(|at| bench.world.peek(bench.disks[1], at, ring_bytes));
    bench.append(&volume, b"kept").expect("durable");
    let lsn = Lsn(volume
        .segments()
        .iter()
        .map(|s| s.last_lsn.0)
        .max()
        .expect("one"));
    let checkpoint = Checkpoint { lsn, note: vec![] };
    bench
        .world
        .block_on(volume.set_checkpoint(checkpoint.clone()))
        .expect("recorded");
    for (at, bytes) in rings.into_iter().zip(&older) {
        bench.world.poke(bench.disks[1], at, bytes);
    }
    let scrub = bench.world.block_on(volume.scrub());
    assert_eq!(scrub.repaired, 1);
    assert_eq!(bench.world.block_on(volume.scrub()).repaired, 0);
    drop(volume);
    bench.world.crash();
    let alone = bench
        .try_open(&bench.disks[1..])
        .expect("that leg opens alone");
    assert!(alone.checkpoint().lsn >= checkpoint.lsn);
    assert_eq!(bench.payloads(&alone), [&b"kept"[..]]);
}

#[test]
fn a_lost_copy_of_the_superblock_is_put_right_by_scrub() {
    let bench = Bench::new(840, 2);
    let volume = bench.open();
    const FIRST_RING: u64 = 64 << 10;
    bench.world.with_disk(bench.disks[1], |medium| {
        medium.poke(FIRST_RING, &[0; 64 << 10]);
    });
    let scrub = bench.world.block_on(volume.scrub());
    assert_eq!(scrub.repaired, 1);
    let again = bench.world.block_on(volume.scrub());
    assert_eq!(again.repaired, 0);
}

async fn orphans(leg: &mut volume::orphan::OrphanLeg) -> (Vec<bytes::Bytes>, usize) {
    let (mut found, mut damaged) = (Vec::new(), 0);
    while let Some(next) = leg.next_batch().await {
        match next {
            Ok((_, payload)) => found.push(payload),
            Err(_) => damaged += 1,
        }
    }
    (found, damaged)
}

#[test]
fn an_orphan_leg_gives_its_batches_past_damage_and_without_superblocks() {
    let bench = Bench::new(25, 2);
    let volume = bench.open();
    let letters: Vec<_> = (0..30).map(|number| letter(number, 40_000)).collect();
    let addresses: Vec<_> = letters
        .iter()
        .map(|letter| bench.append(&volume, letter).expect("durable"))
        .collect();
    drop(volume);
    bench.world.crash();
    let (disk, io) = (bench.disks[1], bench.world.io());
    bench.world.flip_bit(disk, at(&addresses[7]) + 9_000, 3);
    for round in 0..2 {
        let (found, damaged) = bench.world.block_on(async {
            let mut leg = volume::orphan::OrphanLeg::open(&io, disk)
                .await
                .expect("a leg");
            orphans(&mut leg).await
        });
        let expected: Vec<_> = letters
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != 7)
            .map(|(_, l)| &l[..])
            .collect();
        assert!(found == expected, "round {round}: {} batches", found.len());
        assert_eq!(damaged, 1);
        // Second round: every superblock is lost.
        for ring in [
            64 << 10,
            128 << 10,
            LEG_BYTES - (128 << 10),
            LEG_BYTES - (64 << 10),
        ] {
            bench.world.poke(disk, ring, &vec![0xee; 64 << 10]);
        }
    }
}

/// The end of the log answers EIO on the only leg: that is not the end of the log.
#[test]
fn an_unreadable_tail_is_unknown_and_not_absent() {
    let bench = Bench::new(26, 1);
    let volume = bench.open();
    let addresses: Vec<_> = (0..4)
        .map(|number| {
            bench
                .append(&volume, &letter(number, 9_000))
                .expect("durable")
        })
        .collect();
    drop(volume);
    bench.world.crash();
    bench.world.with_disk(bench.disks[0], |medium| {
        medium.mark_bad(at(&addresses[3]) / 4096)
    });
    let volume = bench.open();
    assert!(
        volume
            .refuses()
            .is_some_and(|why| why.contains("end of the log")),
        "{:?}",
        volume.refuses()
    );
    assert!(matches!(
        bench.append(&volume, b"no"),
        Err(CommitFault::Deferred(_))
    ));
    assert_eq!(bench.payloads(&volume).len(), 3);
    drop(volume);
    bench.world.crash();
    // The device recovers: nothing was written over what it would not show.
    bench.world.with_disk(bench.disks[0], |medium| {
        let mut block = vec![0; 4096];
        medium.peek(at(&addresses[3]), &mut block);
        medium
            .write(at(&addresses[3]), &block, true)
            .expect("a good block");
    });
    let volume = bench.open();
    assert_eq!(volume.refuses(), None);
    assert_eq!(bench.payloads(&volume).len(), 4);
}

/// Simulator seed 817: the last acknowledged batch began a segment and rotted on one leg. The next opening appended it again, and
/// took for that the very segment that held the only good copy; the power went, and the batch was gone.
#[test]
fn an_opening_cut_short_leaves_the_only_copy_of_the_last_batch_alone() {
    for seed in 0..6 {
        for boundary in 1..30 {
            let bench = Bench::new(8_170 + seed, 2);
            let volume = bench.open();
            let mut letters = Vec::new();
            let last = loop {
                let payload = letter(letters.len(), 20_000);
                let address = bench.append(&volume, &payload).expect("durable");
                letters.push(payload);
                if letters.len() > 5 && address.block == 0 {
                    break address;
                }
            };
            drop(volume);
            bench.world.crash();
            bench
                .world
                .poke(bench.disks[(seed % 2) as usize], at(&last), &[0; 4_096]);
            let cut = interrupted_opening(&bench, boundary);
            bench.world.crash();
            let volume = bench.open();
            let found = bench.payloads(&volume);
            assert!(
                found
                    .iter()
                    .map(|payload| &payload[..])
                    .eq(letters.iter().map(|l| &l[..])),
                "seed {seed}, boundary {boundary}: {} of {} batches",
                found.len(),
                letters.len()
            );
            if !cut {
                break; // the opening came to its end before this boundary
            }
        }
    }
}

/// The only readable copy of the last acknowledged batch verifies when the log is looked through, and cannot be read when it is to be
/// appended again. It is not past the end of the log for that.
#[test]
fn a_tail_that_reads_once_and_not_again_is_unknown_and_not_absent() {
    let mut refused = 0;
    for seed in 0..80 {
        let bench = Bench::new(9_000 + seed, 2);
        let volume = bench.open();
        let mut addresses = Vec::new();
        for number in 0..6 {
            let payload = letter(number, 9_000);
            addresses.push(bench.append(&volume, &payload).expect("durable"));
        }
        drop(volume);
        bench.world.crash();
        bench.world.with_disk(bench.disks[1], |medium| {
            medium.mark_bad(at(&addresses[5]) / 4_096)
        });
        let unsteady = Faults {
            read_error: 0.2,
            ..Faults::default()
        };
        bench.world.set_faults(bench.disks[0], unsteady);
        if let Ok(volume) = bench.try_open(&bench.disks) {
            refused += usize::from(volume.refuses().is_some());
        }
        bench.world.set_faults(bench.disks[0], Faults::default());
        bench.world.crash();
        let volume = bench.open();
        assert_eq!(bench.payloads(&volume).len(), 6, "seed {seed}");
    }
    assert!(refused > 0);
}
