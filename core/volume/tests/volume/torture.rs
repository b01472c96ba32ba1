//! The power is cut at every write boundary of a script, and every outcome of the writes in flight is tried; then seeds
//! throw faults at it. What was acknowledged is there, once and in order; the legs are equal; nothing invented.

use std::cell::RefCell;
use std::rc::Rc;

use crate::common::*;
use device::DeviceIndex;
use device::sim::{CacheLanding, Faults, Halt, Landing, PowerCut, SimWorld};
use volume::*;

const SEGMENTS_AT: u64 = 256 << 10;

/// What the outside knows: letters handed over, and those acknowledged, by number.
#[derive(Default, Clone)]
struct Ledger {
    sent: usize,
    acked: Vec<(usize, BatchAddress)>,
}

/// A script that fills segments, claims, checkpoints, frees, and keeps several batches in flight.
async fn script(volume: Volume, ledger: Rc<RefCell<Ledger>>, from: usize, rounds: usize) {
    let mut number = from;
    for round in 0..rounds {
        let mut waiting = Vec::new();
        for _ in 0..4 {
            let mut batch = volume.begin().await;
            batch.place(&letter(number, size_of(number)));
            waiting.push((number, volume.commit(batch)));
            number += 1;
            ledger.borrow_mut().sent = number;
        }
        for (number, commit) in waiting {
            match commit.await {
                Ok(address) => ledger.borrow_mut().acked.push((number, address)),
                Err(_) => return,
            }
        }
        if round % 3 == 2 {
            let lsn = ledger.borrow().acked.last().expect("acknowledged").1.lsn;
            let note = number.to_le_bytes().to_vec();
            if volume
                .set_checkpoint(Checkpoint { lsn, note })
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

fn size_of(number: usize) -> usize {
    [3_000, 60_000, 9_000, 30_000][number % 4]
}

/// The numbers of the letters in the log, each checked byte for byte.
fn letters_in(world: &SimWorld, volume: &Volume) -> Vec<usize> {
    let payloads = world.block_on(payloads(volume.clone()));
    let numbers = payloads.iter().map(|payload| {
        let text = &payload[..payload
            .iter()
            .position(|&byte| byte == b'\n')
            .expect("a letter")];
        let number: usize = std::str::from_utf8(text).expect("a letter")[7..]
            .parse()
            .expect("a letter");
        assert!(
            payload == &letter(number, payload.len()),
            "letter {number} was changed"
        );
        number
    });
    numbers.collect()
}

fn check(
    world: &SimWorld,
    disks: &[DeviceIndex],
    volume: &Volume,
    ledger: &Ledger,
    what: &str,
) -> usize {
    let found = letters_in(world, volume);
    // Everything acknowledged, in order, nothing twice, nothing that was never sent, no gap.
    assert_eq!(found, (0..found.len()).collect::<Vec<_>>(), "{what}");
    assert!(
        found.len() >= ledger.acked.last().map_or(0, |(number, _)| number + 1),
        "{what}: acknowledged mail is missing"
    );
    assert!(found.len() <= ledger.sent, "{what}");
    assert_eq!(volume.open_report().damaged, [], "{what}");
    assert_eq!(volume.refuses(), None, "{what}");
    for (number, address) in &ledger.acked {
        let record = record_of(volume, *number, *address);
        match world.block_on(volume.read(&record)) {
            // The very last acknowledged ones may have been appended again elsewhere; the walk above found them.
            Ok(_) | Err(ReadFault::Stale) => {}
            Err(fault) => panic!("{what}: letter {number}: {fault}"),
        }
    }
    for segment in volume.segments() {
        if matches!(segment.state, SegmentState::Open | SegmentState::Sealed) {
            let from = SEGMENTS_AT + u64::from(segment.index.0) * settings().segment_bytes;
            let copies: Vec<_> = disks
                .iter()
                .map(|disk| world.peek(*disk, from, segment.used_bytes as usize))
                .collect();
            assert!(
                copies.windows(2).all(|pair| pair[0] == pair[1]),
                "{what}: segment {:?} differs",
                segment.index
            );
        }
    }
    found.len()
}

fn record_of(volume: &Volume, number: usize, address: BatchAddress) -> RecordAddress {
    record(volume, address, &letter(number, size_of(number)))
}

fn reopen(world: &SimWorld, disks: &[DeviceIndex], witness: &Rc<Memory>) -> Volume {
    let (io, disks, witness) = (world.io(), disks.to_vec(), witness.clone());
    world
        .block_on(async move { Volume::open(&io, &disks, &settings(), witness).await })
        .expect("it opens")
}

fn witness_of(record: &Option<WitnessRecord>) -> Rc<Memory> {
    let memory = Memory::default();
    *memory.record.borrow_mut() = record.clone();
    Rc::new(memory)
}

struct Cut {
    power: PowerCut,
    witness: Option<WitnessRecord>,
    ledger: Ledger,
}

/// Runs the script until boundary `at`; `None` when it ended before.
fn cut_at(seed: u64, at: u64, rounds: usize) -> Option<Cut> {
    let bench = Bench::new(seed, 2);
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let before = bench.world.boundaries();
    bench.world.crash_at(before + at);
    let (io, disks, witness, book) = (
        bench.world.io(),
        bench.disks.clone(),
        bench.witness.clone(),
        ledger.clone(),
    );
    let run = bench.world.run(async move {
        let volume = Volume::open(&io, &disks, &settings(), witness)
            .await
            .expect("opens");
        script(volume, book, 0, rounds).await;
    });
    if run != Err(Halt::PowerCut) {
        assert_eq!(run, Ok(()));
        return None;
    }
    let witness = bench.witness.record.borrow().clone();
    let ledger = ledger.borrow().clone();
    Some(Cut {
        power: bench.world.power_cut(),
        witness,
        ledger,
    })
}

fn survive(cut: &Cut, what: &str, choose: impl FnMut(usize, &device::sim::CutWrite) -> Landing) {
    let disks = [DeviceIndex(0), DeviceIndex(1)];
    let world = SimWorld::after_cut(99, &cut.power, CacheLanding::Lost, choose);
    let witness = witness_of(&cut.witness);
    let volume = reopen(&world, &disks, &witness);
    let there = check(&world, &disks, &volume, &cut.ledger, what);
    // It goes on where it was, and survives another crash.
    let more = world
        .block_on(append(volume.clone(), letter(there, 5_000)))
        .expect("durable");
    drop(volume);
    world.crash();
    let volume = reopen(&world, &disks, &witness);
    let ledger = Ledger {
        sent: there + 1,
        acked: vec![],
    };
    assert_eq!(
        check(&world, &disks, &volume, &ledger, what),
        there + 1,
        "{what}: after a second crash"
    );
    assert_eq!(
        world
            .block_on(volume.read(&record(&volume, more, &letter(there, 5_000))))
            .expect("kept"),
        letter(there, 5_000)
    );
}

#[test]
fn every_write_boundary_and_every_outcome_in_flight() {
    let mut boundary = 1;
    let mut outcomes = 0;
    // A prime step meets every kind of boundary in a few seconds; VOLUME_STEP=1 walks all of them.
    let step = number_from("VOLUME_STEP", 7);
    while let Some(cut) = cut_at(1, boundary, 5) {
        let flying = cut.power.writes.len();
        let subsets = if flying <= 4 { 1 << flying } else { 4 };
        for subset in 0..subsets {
            let what = format!("boundary {boundary}, outcome {subset} of {flying} in flight");
            survive(&cut, &what, |index, _| match flying {
                0..=4 if subset >> index & 1 == 1 => Landing::All,
                0..=4 => Landing::Nothing,
                _ => match subset {
                    0 => Landing::Nothing,
                    1 => Landing::All,
                    2 => Landing::Before(index * 3 + 1),
                    _ => Landing::Random,
                },
            });
            outcomes += 1;
        }
        boundary += step;
    }
    assert!(outcomes > 50, "{outcomes}");
}

/// A crash inside recovery itself, again and again: each opening is cut a little later than the one before.
#[test]
fn crashes_while_opening_lose_nothing() {
    let cut = cut_at(2, 60, 5).expect("the script is longer");
    let disks = [DeviceIndex(0), DeviceIndex(1)];
    let world = SimWorld::after_cut(5, &cut.power, CacheLanding::Lost, |_, _| Landing::Random);
    let witness = witness_of(&cut.witness);
    for step in 1..40 {
        let before = world.boundaries();
        world.crash_at(before + step);
        let (io, witness) = (world.io(), witness.clone());
        let opened = world.run(async move {
            Volume::open(&io, &disks, &settings(), witness)
                .await
                .map(drop)
        });
        match opened {
            Err(Halt::PowerCut) => world.crash(),
            Ok(opened) => {
                opened.expect("it opens");
                world.crash();
            }
            Err(other) => panic!("{other}"),
        }
    }
    let volume = reopen(&world, &disks, &witness);
    check(&world, &disks, &volume, &cut.ledger, "after many crashes");
}

fn number_from(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(otherwise)
}

/// One seed: a world of faults on one leg at a time, crashes between, and the ledger must hold.
fn swarm(seed: u64) {
    let bench = Bench::new(seed, 2);
    let mut random = fastrand::Rng::with_seed(seed);
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let mut from = 0;
    for life in 0..4 {
        let volume = bench.open();
        // One leg may misbehave in a life; the other keeps every acknowledged batch.
        let victim = bench.disks[random.usize(..2)];
        let mut faults = Faults::default();
        for _ in 0..2 {
            match random.u8(..8) {
                0 => faults.read_error = 0.05,
                1 => faults.write_error = 0.02,
                2 => faults.sticky_read_error = 0.02,
                3 => (faults.stall, faults.stall_us) = (0.05, 300_000),
                4 => faults.hang = 0.01,
                5 => faults.rot = 0.02,
                6 => faults.lost_write = 0.02,
                _ => {}
            }
        }
        let hurts = faults.rot + faults.lost_write > 0.0;
        bench.world.set_faults(victim, faults);
        let cut = random
            .bool()
            .then(|| bench.world.boundaries() + random.u64(10..200));
        if let Some(cut) = cut {
            bench.world.crash_at(cut);
        }
        let run = bench
            .world
            .run(script(volume.clone(), ledger.clone(), from, 6));
        assert!(
            matches!(run, Ok(()) | Err(Halt::PowerCut)),
            "seed {seed}: {run:?}"
        );
        if run.is_ok() && cut.is_some() {
            // The cut did not come in time: let it come while nothing happens.
            let _ = bench.world.run_for_us(1);
        }
        drop(volume);
        bench.world.crash();
        bench.world.set_faults(victim, Faults::default());

        let volume = bench.open();
        for disk in &bench.disks {
            if !volume.legs().iter().any(|leg| leg.device == Some(*disk)) {
                bench
                    .world
                    .block_on(volume.attach(*disk))
                    .unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            }
        }
        for _ in 0..200 {
            if volume
                .legs()
                .iter()
                .all(|leg| leg.state == LegState::InSync)
            {
                break;
            }
            bench.world.run_for_us(50_000).expect("copies end");
        }
        assert!(
            volume
                .legs()
                .iter()
                .all(|leg| leg.state == LegState::InSync),
            "seed {seed}: {:?}",
            volume.legs()
        );
        if hurts {
            bench.world.block_on(volume.scrub());
        }
        let what = format!("seed {seed}, life {life}");
        from = check(&bench.world, &bench.disks, &volume, &ledger.borrow(), &what);
        ledger.borrow_mut().sent = from;
        drop(volume);
        bench.world.crash();
    }
}

#[test]
fn a_swarm_of_faults_on_one_leg_at_a_time() {
    let (first, seeds) = (
        number_from("VOLUME_SEED", 1),
        number_from("VOLUME_SEEDS", 25),
    );
    for seed in first..first + seeds {
        swarm(seed);
    }
}
