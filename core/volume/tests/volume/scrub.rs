//! When everything was last read is kept on the legs, and so is how far an unfinished reading came.

use crate::accidents::at;
use crate::common::*;
use device::sim::Faults;
use volume::*;

fn filled(bench: &Bench, volume: &Volume) -> Vec<BatchAddress> {
    (0..60)
        .map(|number| {
            bench
                .append(volume, &letter(number, 30_000))
                .expect("durable")
        })
        .collect()
}

#[test]
fn the_end_of_a_scrub_outlives_restarts() {
    let bench = Bench::new(90, 2);
    let volume = bench.open();
    assert_eq!(volume.scrub_state(), ScrubState::default(), "never");
    filled(&bench, &volume);
    bench.world.block_on(volume.scrub());
    let ended = volume.scrub_state().ended;
    assert!(ended > 0);
    for cleanly in [false, true] {
        if cleanly {
            let volume = bench.open();
            bench.world.block_on(volume.close()).expect("closed");
        }
        bench.world.crash();
        let state = bench.open().scrub_state();
        assert_eq!((state.ended, state.began), (ended, 0));
    }
    // Each leg knows it by itself.
    for disk in &bench.disks {
        bench.world.crash();
        let alone = bench.try_open(&[*disk]);
        let state = alone.map(|volume| volume.scrub_state());
        // The second one was left out when the first opened alone: it is refused, or knows the date as well.
        assert!(state.is_err() || state.is_ok_and(|state| state.ended == ended));
    }
}

/// A box that is restarted again and again in the middle still comes to the end, and reads no segment twice for it.
#[test]
fn a_scrub_that_restarts_interrupt_goes_on_where_it_was() {
    let bench = Bench::new(91, 2);
    let volume = bench.open();
    let addresses = filled(&bench, &volume);
    drop(volume);
    // Slow enough that the cursor is recorded every few segments.
    let slow = Faults {
        latency_us: 1_500_000..1_600_000,
        ..Faults::default()
    };
    let mut cursors = Vec::new();
    for _ in 0..50 {
        bench.world.crash();
        let volume = bench.open();
        let state = volume.scrub_state();
        if state.ended > 0 {
            break;
        }
        cursors.push(state.cursor);
        for disk in &bench.disks {
            bench.world.set_faults(*disk, slow.clone());
        }
        let scrubbing = volume.clone();
        let host = bench.world.io().host;
        host.spawn(Box::pin(async move { drop(scrubbing.scrub_on().await) }));
        bench.world.run_for_us(900_000_000).expect("time goes by");
        drop(volume);
        for disk in &bench.disks {
            bench.world.set_faults(*disk, Faults::default());
        }
    }
    let volume = bench.open();
    assert!(volume.scrub_state().ended > 0, "{cursors:?}");
    assert!(cursors.is_sorted(), "{cursors:?}");
    // One from the beginning reads what this one passed over meanwhile.
    let rotten = addresses[3];
    bench.world.flip_bit(bench.disks[0], at(&rotten) + 5_000, 1);
    assert_eq!(bench.world.block_on(volume.scrub()).repaired, 1);
}

/// A leg that does not answer was not read: the scrub is not over.
#[test]
fn a_scrub_that_could_not_read_a_leg_is_not_over() {
    let bench = Bench::new(92, 2);
    let volume = bench.open();
    filled(&bench, &volume);
    for disk in &bench.disks {
        bench.world.remove(*disk);
    }
    bench.world.block_on(volume.scrub());
    let state = volume.scrub_state();
    assert_eq!(state.ended, 0);
    assert!(state.began > 0);
    for disk in &bench.disks {
        bench.world.insert(*disk);
    }
    bench.world.run_for_us(5_000_000).expect("time goes by");
    bench.world.block_on(volume.scrub_on());
    assert!(volume.scrub_state().ended > 0);
}

/// What a probe says of each leg.
#[test]
fn a_probe_sees_legs_that_do_not_answer_reads() {
    let bench = Bench::new(93, 2);
    let volume = bench.open();
    bench.append(&volume, b"a letter").expect("durable");
    let unread = |volume: &Volume| -> Vec<bool> {
        let legs = volume.legs();
        legs.iter().map(|leg| leg.unread.is_some()).collect()
    };
    bench.world.block_on(volume.probe_legs());
    assert_eq!(unread(&volume), [false, false]);
    bench
        .world
        .block_on(volume.probe_writes())
        .expect("both take writes");
    // Both are gone and nobody writes: the probe alone knows it.
    for disk in &bench.disks {
        bench.world.remove(*disk);
    }
    bench.world.block_on(volume.probe_legs());
    assert_eq!(unread(&volume), [true, true]);
    for disk in &bench.disks {
        bench.world.insert(*disk);
    }
    bench.world.run_for_us(5_000_000).expect("time goes by");
    bench.world.block_on(volume.probe_legs());
    assert_eq!(
        (unread(&volume), volume.refuses()),
        (vec![false, false], None)
    );
    // One of two is gone: it leaves, though nobody writes.
    bench.world.remove(bench.disks[1]);
    bench.world.block_on(volume.probe_legs());
    bench.world.run_for_us(1_000_000).expect("time goes by");
    assert_eq!(volume.legs()[1].state, LegState::Stale);
    assert_eq!(bench.payloads(&volume), [&b"a letter"[..]]);
}
