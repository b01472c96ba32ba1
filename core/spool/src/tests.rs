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

const KEEP_S: u64 = 1_200;

fn kept(spool: &Spool) -> Vec<u64> {
    let entries = spool.kept(None, 99).into_iter();
    entries.map(|entry| entry.arrived.0 - 1_000).collect()
}

impl Rig {
    /// As `open`, and copies stay for twenty minutes.
    async fn open_keeping(&self) -> Spool {
        let opened = self.disks.open_keeping(&self.world, 100_000, 8, KEEP_S);
        opened.await
    }
}

#[test]
fn what_was_handed_over_is_kept_and_waits_again_when_that_is_wanted() {
    let rig = Rig::new(5);
    rig.world.block_on(async {
        let spool = rig.open_keeping().await;
        for number in 0..3 {
            let taken = spool.take(body(number, 3_000), envelope(number));
            taken.await.unwrap();
        }
        spool.done(&spool.entries(None, 2)).await.unwrap();
        assert_eq!((numbers(&spool), kept(&spool)), (vec![2], vec![0, 1]));
        let gauges = spool.gauges();
        assert_eq!((gauges.waiting(), gauges.bytes()), (1, 3_000));
        assert_eq!((gauges.kept(), gauges.kept_bytes()), (2, 6_000));
    });
    rig.world.crash();
    rig.world.block_on(async {
        let spool = rig.open_keeping().await;
        assert_eq!((numbers(&spool), kept(&spool)), (vec![2], vec![0, 1]));
        let later = since(&spool.kept(None, 1)[0]).0 + 1;
        assert_eq!(spool.redeliver(UnixSeconds(later)).await, Ok(0));
        assert_eq!(spool.redeliver(UnixSeconds(0)).await, Ok(2));
        assert_eq!((numbers(&spool), kept(&spool)), (vec![0, 1, 2], vec![]));
        let rounds: Vec<u32> = spool.entries(None, 9).iter().map(round).collect();
        assert_eq!(rounds, [1, 1, 0]);
        assert_eq!(spool.gauges().waiting(), 3);
    });
    rig.world.crash();
    rig.world.block_on(async {
        let spool = rig.open_keeping().await;
        let rounds: Vec<u32> = spool.entries(None, 9).iter().map(round).collect();
        assert_eq!(rounds, [1, 1, 0], "the wish is durable");
        spool.done(&spool.entries(None, 9)).await.unwrap();
        assert_eq!(spool.redeliver(UnixSeconds(0)).await, Ok(3));
        let rounds: Vec<u32> = spool.entries(None, 9).iter().map(round).collect();
        assert_eq!(rounds, [2, 2, 1]);
    });
}

#[test]
fn copies_end_with_their_time_and_take_half_of_the_spool_at_most() {
    let rig = Rig::new(6);
    rig.world.block_on(async {
        let spool = rig.open_keeping().await;
        for number in 0..8 {
            let taken = spool.take(body(number, 3_000), envelope(number));
            taken.await.unwrap();
        }
        spool.done(&spool.entries(None, 3)).await.unwrap();
        assert_eq!(kept(&spool), [0, 1, 2]);
        spool.done(&spool.entries(None, 9)).await.unwrap();
        assert!(spool.gauges().kept() <= 4, "{:?}", kept(&spool));
        assert_eq!(numbers(&spool), []);
    });
    let rig = Rig::new(7);
    rig.world.block_on(async {
        let spool = rig.open_keeping().await;
        spool.take(body(1, 3_000), envelope(1)).await.unwrap();
        spool.done(&spool.entries(None, 9)).await.unwrap();
        spool.trim().await;
        assert_eq!(kept(&spool), [1]);
        let host = rig.world.io().host;
        base::host::sleep_us(&*host, (KEEP_S + 1) * 1_000_000).await;
        spool.trim().await;
        assert_eq!(kept(&spool), []);
        assert_eq!(spool.gauges().kept_bytes(), 0);
    });
}

#[test]
fn new_mail_goes_before_copies_and_what_waits_is_never_given_up() {
    let rig = Rig::new(8);
    rig.world.block_on(async {
        let spool = rig.open_keeping().await;
        let take = |number, bytes| spool.take(body(number, bytes), envelope(number));
        for number in 0..4 {
            take(number, 10_000).await.unwrap();
        }
        spool.done(&spool.entries(None, 3)).await.unwrap();
        assert_eq!(spool.gauges().kept(), 3);
        for number in 4..8 {
            take(number, 20_500).await.unwrap();
        }
        assert_eq!(kept(&spool), [], "bytes");
        assert_eq!(numbers(&spool), [3, 4, 5, 6, 7]);
        assert_eq!(take(8, 20_000).await, Err(SpoolFault::Full));
        assert_eq!(numbers(&spool), [3, 4, 5, 6, 7]);
    });
}

/// Copies are not given up by the dozen where one is enough: on a small spool that would be all of them.
#[test]
fn no_more_copies_are_given_up_than_have_to_be() {
    let rig = Rig::new(10);
    rig.world.block_on(async {
        let spool = rig.open_keeping().await;
        let take = |number, bytes| spool.take(body(number, bytes), envelope(number));
        for number in 0..8 {
            take(number, 3_000).await.unwrap();
        }
        spool.done(&spool.entries(None, 9)).await.unwrap();
        assert_eq!(kept(&spool), [4, 5, 6, 7], "half of the messages");
        for number in 8..13 {
            take(number, 3_000).await.unwrap();
        }
        assert_eq!(
            kept(&spool),
            [5, 6, 7],
            "one message more than there are places"
        );
        take(13, 84_000).await.unwrap();
        assert_eq!(kept(&spool), [], "none of them fits beside it");
        spool.done(&spool.entries(None, 5)).await.unwrap();
        assert_eq!(kept(&spool), [9, 10, 11, 12]);
        // 84,000 wait and 12,000 are kept, of 100,000.
        take(14, 6_000).await.unwrap();
        assert_eq!(kept(&spool), [10, 11, 12], "bytes");
    });
}

/// The volume is small and what it holds is not: copies are given up until the message fits, and the log is used over and over.
#[test]
fn a_small_volume_takes_mail_again_and_again_beside_its_copies() {
    let rig = Rig::new(9);
    rig.world.block_on(async {
        let opened = rig
            .disks
            .open_keeping(&rig.world, u64::MAX, 1_000, 48 * KEEP_S);
        let spool = opened.await;
        let (_, bytes_max) = spool.gauges().max();
        assert!(bytes_max < 40 << 20, "{bytes_max}");
        for number in 0..400 {
            let mut letter = body(number, 400_000);
            let noise: Vec<u8> = (0..400_000).map(|_| rig.world.draw(0..256) as u8).collect();
            letter.raw = Bytes::from(noise);
            letter.name = BodyName::of(&letter.raw);
            spool.take(letter, envelope(number)).await.unwrap();
            if number % 8 == 7 {
                spool.done(&spool.entries(None, 99)).await.unwrap();
            }
        }
        assert!(spool.gauges().kept() > 8, "{}", spool.gauges().kept());
        assert!(spool.gauges().kept_bytes() <= bytes_max / 2 + 400_000);
    });
}

/// What waits fills the volume to its last place, again and again: each hand-over is still written down, and gives its place back.
#[test]
fn a_volume_full_of_what_waits_empties_and_is_filled_again() {
    let rig = Rig::new(11);
    rig.world.block_on(async {
        let opened = rig
            .disks
            .open_keeping(&rig.world, u64::MAX, 20_000, 48 * KEEP_S);
        let spool = opened.await;
        let mut number = 0;
        for round in 0..3 {
            let fault = loop {
                let mut letter = body(number, 40_000);
                let noise = (0..40_000).map(|_| rig.world.draw(0..256) as u8);
                letter.raw = Bytes::from_iter(noise);
                letter.name = BodyName::of(&letter.raw);
                match spool.take(letter, envelope(number)).await {
                    Ok(_) => number += 1,
                    Err(fault) => break fault,
                }
            };
            assert_eq!(fault, SpoolFault::Full);
            let waiting = spool.gauges().waiting();
            assert!(waiting > 200, "round {round}: {waiting}");
            while spool.gauges().waiting() > 0 {
                let some = spool.entries(None, 64);
                assert_eq!(spool.done(&some).await, Ok(()), "round {round}");
            }
            let kept = spool.gauges().kept();
            assert_eq!(spool.redeliver(UnixSeconds(0)).await, Ok(kept));
            while spool.gauges().waiting() > 0 {
                let some = spool.entries(None, 64);
                assert_eq!(spool.done(&some).await, Ok(()), "round {round}");
            }
        }
        assert!(spool.gauges().kept() > 100, "{}", spool.gauges().kept());
    });
}

/// A batch that no leg has: the spool only reads until it is given up, and then its lists are what is left.
#[test]
fn damage_on_both_legs_is_given_up_and_the_rest_waits() {
    let rig = Rig::new(9);
    rig.world.block_on(async {
        let spool = rig.open().await;
        for number in 0..3 {
            let taken = spool.take(body(number, 3_000), envelope(number)).await;
            taken.unwrap();
        }
    });
    rig.world.crash();
    // The header of the message in the middle, which nothing else has.
    rig.disks.rot(&rig.world, b"Subject: 1\r\n");
    rig.world.block_on(async {
        let spool = rig.open().await;
        let refused = spool.take(body(7, 100), envelope(7)).await;
        assert!(matches!(refused, Err(SpoolFault::Away(_))), "{refused:?}");
        let volume = spool.tenancy().store().volume().clone();
        assert_eq!(volume.would_give_up().map(|lost| lost.len()), Some(1));
        spool.accept_damage().await.unwrap();
        assert_eq!(volume.refuses(), None);
        assert_eq!(numbers(&spool), [0, 2]);
        let gauges = spool.gauges();
        assert_eq!((gauges.waiting(), gauges.bytes()), (2, 6_000));
        spool.take(body(7, 100), envelope(7)).await.unwrap();
        spool.done(&spool.entries(None, 9)).await.unwrap();
        assert_eq!((gauges.waiting(), gauges.bytes()), (0, 0));
    });
    rig.world.crash();
    rig.world.block_on(async {
        let spool = rig.open().await;
        assert_eq!(numbers(&spool), [0; 0]);
    });
}
