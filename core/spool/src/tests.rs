//! The spool alone on its volume, on the simulated machine.

use base::BodyName;
use bytes::Bytes;
use device::sim::{Halt, SimWorld};
use queue::{Addressee, Terms, UnixSeconds};

use super::*;
use crate::rig::Disks;

struct Rig {
    world: SimWorld,
    disks: Disks,
}

impl Rig {
    fn new(seed: u64) -> Rig {
        let world = SimWorld::new(seed);
        let disks = Disks::new(&world, seed);
        Rig { world, disks }
    }

    async fn open(&self) -> Spool {
        self.disks.open(&self.world, 100_000, 8).await
    }
}

fn body(number: u64, bytes: usize) -> BodyIn {
    let mut raw = format!("Subject: {number}\r\n\r\n").into_bytes();
    raw.resize(bytes, b'x');
    let raw = Bytes::from(raw);
    BodyIn {
        name: BodyName::of(&raw),
        raw,
        summary: Bytes::from_static(b"a summary"),
    }
}

fn envelope(number: u64) -> Envelope {
    Envelope {
        from: "you@example.net".to_owned(),
        recipients: vec![Addressee::new("alice@example.org")],
        arrived: UnixSeconds(1_000 + number),
        warns: UnixSeconds(0),
        expires: UnixSeconds(433_000),
        terms: Terms::default(),
    }
}

fn numbers(spool: &Spool) -> Vec<u64> {
    let entries = spool.entries(None, 99).into_iter();
    entries.map(|entry| entry.arrived.0 - 1_000).collect()
}

#[test]
fn what_was_taken_waits_in_order_with_its_bytes_until_it_is_done() {
    let rig = Rig::new(1);
    rig.world.block_on(async {
        let spool = rig.open().await;
        for number in 0..4 {
            let arrival = spool.arrival();
            spool
                .take(body(number, 3_000), envelope(number))
                .await
                .unwrap();
            arrival.await;
        }
        assert_eq!(spool.gauges().taken(), 4);
    });
    rig.world.crash();
    rig.world.block_on(async {
        let spool = rig.open().await;
        assert_eq!(numbers(&spool), [0, 1, 2, 3]);
        let gauges = spool.gauges();
        assert_eq!((gauges.waiting(), gauges.bytes()), (4, 12_000));
        assert_eq!(gauges.oldest(), Some(UnixSeconds(1_000)));
        let entries = spool.entries(None, 2);
        let read = spool.read(entries[1].id).await.unwrap().unwrap();
        let was = body(1, 3_000);
        assert_eq!(
            (read.raw, read.name, read.summary),
            (was.raw, was.name, was.summary)
        );
        spool.done(&entries).await.unwrap();
        assert!(spool.read(entries[1].id).await.is_none());
    });
    rig.world.crash();
    rig.world.block_on(async {
        let spool = rig.open().await;
        assert_eq!(numbers(&spool), [2, 3]);
        assert_eq!(spool.gauges().oldest(), Some(UnixSeconds(1_002)));
        spool.done(&spool.entries(None, 9)).await.unwrap();
        let gauges = spool.gauges();
        assert_eq!(
            (gauges.waiting(), gauges.bytes(), gauges.oldest()),
            (0, 0, None)
        );
    });
}

#[test]
fn a_full_spool_refuses_and_has_room_again() {
    let rig = Rig::new(2);
    rig.world.block_on(async {
        let spool = rig.open().await;
        let take = |number, bytes| spool.take(body(number, bytes), envelope(number));
        take(0, 60_000).await.unwrap();
        assert_eq!(take(1, 60_000).await, Err(SpoolFault::Full));
        for number in 1..8 {
            take(number, 100).await.unwrap();
        }
        assert_eq!(take(8, 100).await, Err(SpoolFault::Full), "messages");
        let none = Envelope {
            recipients: Vec::new(),
            ..envelope(9)
        };
        spool.done(&spool.entries(None, 1)).await.unwrap();
        let refused = spool.take(body(9, 100), none).await;
        assert!(
            matches!(refused, Err(SpoolFault::Refused(_))),
            "{refused:?}"
        );
        take(9, 60_000).await.unwrap();
        assert_eq!(spool.gauges().waiting(), 8);
        assert_eq!(numbers(&spool), [1, 2, 3, 4, 5, 6, 7, 9]);
    });
}

/// Two groups at each boundary: what was answered is there, whatever else is.
#[test]
fn what_was_answered_survives_a_power_cut_at_any_boundary() {
    let mut seen = [0, 0];
    for seed in 0..60 {
        let rig = Rig::new(seed);
        let taken: Result<_, Halt> = rig.world.run(async {
            let spool = rig.open().await;
            let cut = rig.world.draw(1..12);
            rig.world.crash_at(rig.world.boundaries() + cut);
            spool.take(body(1, 3_000), envelope(1)).await
        });
        rig.world.crash();
        rig.world.block_on(async {
            let spool = rig.open().await;
            let is_there = numbers(&spool) == [1];
            assert!(is_there || !matches!(taken, Ok(Ok(_))), "seed {seed}");
            if is_there {
                let id = spool.entries(None, 1)[0].id;
                let read = spool.read(id).await.unwrap().unwrap();
                assert_eq!(read.raw, body(1, 3_000).raw);
            }
            seen[usize::from(is_there)] += 1;
        });
    }
    assert!(seen.iter().all(|count| *count > 3), "{seen:?}");
}
