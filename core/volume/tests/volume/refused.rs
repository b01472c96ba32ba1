//! Beside an outage: superblocks that only some legs took, legs that are distrusted when it begins, probes, and an opening that the
//! operator lets go on beside clients.

use crate::accidents::{assert_legs_equal, at, state};
use crate::common::*;
use crate::outage::{in_sync, refuse, wait_until};
use crate::trust::{crash, letters, write};
use device::IoFault;
use device::sim::{CacheLanding, Landing};
use volume::*;

/// A checkpoint in the background.
fn save(bench: &Bench, volume: &Volume, lsn: Lsn) {
    let saving = volume.clone();
    let host = bench.world.io().host;
    host.spawn(Box::pin(async move {
        let note = vec![];
        drop(saving.set_checkpoint(Checkpoint { lsn, note }).await);
    }));
}

/// Superblocks are refused by every leg, after some of their copies landed on one of them; the next ones land. That one leg lacks
/// what never counted is not evidence against a leg: not when all is well again, and not when the power goes while the next ones are written.
#[test]
fn a_superblock_that_only_one_leg_took_accuses_nobody() {
    let mut apart = 0;
    for (boundary, delay_us) in (0..10).flat_map(|boundary| [40, 120].map(|us| (boundary, us))) {
        let bench = Bench::new(500 + boundary, 2);
        let volume = bench.open();
        let last = write(&bench, &volume, 0, 10)[9].lsn;
        let before = volume.counters().superblock_writes;
        // Leg 1 takes none of it; leg 0 takes the first two copies.
        save(&bench, &volume, last);
        while volume.counters().superblock_writes == before {
            bench.world.run_for_us(10).expect("time goes by");
        }
        refuse(&bench, 1, Some(IoFault::NoSpace));
        bench.world.run_for_us(delay_us).expect("time goes by");
        refuse(&bench, 0, Some(IoFault::NoSpace));
        wait_until(&bench, "no superblock", || volume.refuses().is_some());
        apart += usize::from(in_sync(&volume) == 2);
        if in_sync(&volume) < 2 {
            continue; // leg 0 had all of it before it refused
        }
        (0..2).for_each(|disk| refuse(&bench, disk, None));
        if boundary > 0 {
            // The power goes, and what is in flight lands on leg 1 only.
            bench.world.crash_at(bench.world.boundaries() + boundary);
            let _ = bench.world.run_for_us(10_000_000);
            drop(volume);
            bench.world.crash_with(CacheLanding::Lost, |write| {
                match write.device == bench.disks[1] {
                    true => Landing::All,
                    false => Landing::Nothing,
                }
            });
        } else {
            wait_until(&bench, "all is well", || volume.refuses().is_none());
            crash(&bench, volume);
        }
        let volume = bench.open();
        let what = format!("boundary {boundary}, {delay_us} us: {:?}", volume.legs());
        assert_eq!(in_sync(&volume), 2, "{what}");
        assert_eq!(bench.payloads(&volume), letters(10), "{what}");
        assert_legs_equal(&bench, &volume);
    }
    assert!(apart > 3, "{apart}");
}

/// A leg that went back in time is found out, and before it has left the other one refuses writes: it leaves all the same.
#[test]
fn a_distrusted_leg_leaves_although_the_other_one_refuses() {
    let bench = Bench::new(520, 2);
    let volume = bench.open();
    write(&bench, &volume, 0, 10);
    let old = bench.world.snapshot(bench.disks[1]);
    let last = write(&bench, &volume, 10, 30)[19].lsn;
    bench
        .world
        .block_on(volume.set_checkpoint(Checkpoint {
            lsn: last,
            note: vec![],
        }))
        .expect("recorded");
    bench.world.restore(bench.disks[1], &old);
    refuse(&bench, 0, Some(IoFault::NoSpace));
    save(&bench, &volume, last);
    wait_until(&bench, "an outage", || volume.refuses().is_some());
    bench.world.run_for_us(100_000_000).expect("time goes by");
    refuse(&bench, 0, None);
    wait_until(&bench, "mail goes on", || volume.refuses().is_none());
    write(&bench, &volume, 30, 31);
    assert_eq!(state(&volume, 1), LegState::Stale);
    assert_eq!(state(&volume, 0), LegState::InSync);
    assert_eq!(bench.payloads(&volume), letters(31));
}

/// An idle box probes for years: nothing grows by it.
#[test]
fn probes_of_writes_use_nothing_up() {
    let bench = Bench::new(530, 2);
    let volume = bench.open();
    bench.append(&volume, b"a letter").expect("durable");
    let used = |volume: &Volume| {
        let segments = volume.segments().into_iter();
        let used: Vec<u64> = segments.map(|segment| segment.used_bytes).collect();
        (used, volume.counters().batches)
    };
    let before = used(&volume);
    for _ in 0..3_000 {
        let probed = volume.probe_writes();
        bench.world.block_on(probed).expect("both take writes");
    }
    assert_eq!(used(&volume), before);
    // One refuses: it leaves although nobody commits. All do: nobody leaves, and the probe says so.
    refuse(&bench, 1, Some(IoFault::NoSpace));
    drop(bench.world.block_on(volume.probe_writes()));
    wait_until(&bench, "it has left", || in_sync(&volume) == 1);
    refuse(&bench, 0, Some(IoFault::NoSpace));
    let probed = bench.world.block_on(volume.probe_writes());
    assert!(matches!(probed, Err(CommitFault::Deferred(_))));
    assert_eq!(in_sync(&volume), 1);
    refuse(&bench, 0, None);
    wait_until(&bench, "it goes on", || volume.refuses().is_none());
    bench.append(&volume, b"another").expect("durable");
}

/// The operator accepts damage while clients and upkeep are at it: what the opening writes comes before anything of theirs.
#[test]
fn nothing_is_taken_before_an_accepted_opening_is_over() {
    let bench = Bench::new(540, 2);
    let volume = bench.open();
    let addresses = write(&bench, &volume, 0, 10);
    crash(&bench, volume);
    // The last one is appended again behind the damage.
    for disk in &bench.disks {
        bench.world.flip_bit(*disk, at(&addresses[8]) + 5_000, 3);
    }
    let volume = bench.open();
    let (accepting, (done, accepted)) = (volume.clone(), base::host::oneshot());
    let host = bench.world.io().host;
    host.spawn(Box::pin(async move {
        done.send(accepting.accept_damage().await);
    }));
    let mut refused = 0;
    while volume.refuses().is_some() {
        let answer = bench.append(&volume, b"too early");
        refused += usize::from(matches!(answer, Err(CommitFault::Deferred(_))));
        let (lsn, note) = (Lsn(0), vec![]);
        let saved = volume.set_checkpoint(Checkpoint { lsn, note });
        assert!(bench.world.block_on(saved).is_err());
        bench.world.run_for_us(20).expect("time goes by");
    }
    assert!(refused > 3, "{refused}");
    let accepted = bench.world.block_on(accepted).expect("answered");
    accepted.expect("taken over");
    bench.append(&volume, b"now").expect("durable");
    let mut expected = letters(10);
    expected.remove(8);
    expected.push(b"now".to_vec());
    crash(&bench, volume);
    let volume = bench.open();
    assert_eq!(bench.payloads(&volume), expected);
}
