//! Arena pages and legs that come and go.

use crate::accidents::wait_in_sync;
use crate::common::*;
use crate::outage::wait_until;
use bytes::Bytes;
use device::sim::Faults;
use volume::*;

fn wait_for_writes(bench: &Bench, volume: &Volume, before: u64) {
    while volume.counters().device_writes < before + 2 {
        bench.world.run_for_us(1).expect("they begin");
    }
}

/// Pages are being written when a leg returns: they are not sent to it, and its copy must not be over before they are known.
#[test]
fn a_leg_that_returns_while_pages_are_written_gets_them() {
    for late_us in [0, 1_000, 100_000, 2_000_000] {
        let bench = Bench::new(600, 2);
        let volume = bench.open();
        bench
            .world
            .run_for_us(2_000_000)
            .expect("its look back ends");
        bench.world.block_on(volume.arena_grow()).expect("room");
        let page = |number| Bytes::from(letter(number, 4096));
        let first = volume.arena_write(vec![(0, page(0)), (1, page(1))]);
        bench.world.block_on(first).expect("written");
        let ejected = volume.eject(LegIndex(1), "a test");
        bench.world.block_on(ejected).expect("one is enough");
        bench.world.run_for_us(100_000).expect("recorded");
        // The writes to leg 0 take their time, and nothing else does.
        let slow = Faults {
            latency_us: late_us..late_us + 1,
            ..Faults::default()
        };
        bench.world.set_faults(bench.disks[0], slow);
        let (writing, (done, written)) = (volume.clone(), base::host::oneshot());
        let pages = vec![(1, page(2)), (7, page(3))];
        let before = volume.counters().device_writes;
        let host = bench.world.io().host;
        host.spawn(Box::pin(async move {
            done.send(writing.arena_write(pages).await);
        }));
        wait_for_writes(&bench, &volume, before);
        bench.world.set_faults(bench.disks[0], Faults::default());
        let attached = volume.attach(bench.disks[1]);
        bench.world.block_on(attached).expect("it may come back");
        let written = bench.world.block_on(written).expect("answered");
        written.expect("written");
        wait_in_sync(&bench, &volume);
        bench.world.remove(bench.disks[0]);
        bench.world.block_on(volume.probe_legs());
        wait_until(&bench, "leg 0 has left", || {
            volume.legs()[0].state == LegState::Stale
        });
        let reader = volume.arena_reader();
        for (number, wanted) in [(0, page(0)), (1, page(2)), (7, page(3))] {
            let mut into = vec![0; 4096];
            let read = reader.read_page(number, page_check(number, &wanted), &mut into);
            assert_eq!(read, Ok(()), "page {number}, {late_us} us");
            assert!(into == wanted, "page {number}, {late_us} us");
        }
    }
}
