//! One random story of a volume, from one seed.
//!
//! The fault budget: one leg is weak, the others are sound. The weak one may lie, rot, fail, stall, hang, disappear and return
//! with old content; the machine may crash at any boundary; the witness may be down for a while. Nothing acknowledged may be
//! lost or doubled, and once faults stop every leg is in sync again. The second mode (`broken_budget`) makes every leg weak:
//! then data may be lost, but never silently replaced, and nothing may panic.

use std::cell::Cell;
use std::rc::Rc;

use base::host::sleep_us;
use device::Io;
use device::sim::{FaultCounts, Faults, Halt};
use fastrand::Rng;
use volume::{SegmentState, Volume};

use crate::limits::HEAL_US_MAX;
use crate::swarm;
use crate::volume_box::{Shape, VolumeBox};

/// What happened in a story that ended well.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    pub acked: u64,
    pub crashes: u64,
    pub faults: FaultCounts,
}

pub fn run(seed: u64) -> Result<Told, String> {
    let mut rng = Rng::with_seed(seed);
    let shape = Shape {
        legs: if rng.u8(..4) == 0 { 3 } else { 2 },
        leg_bytes: rng.u64(24..96) * (64 << 10),
        segment_bytes: [32 << 10, 64 << 10, 128 << 10][rng.usize(..3)],
        in_flight_max: rng.usize(1..9),
        clients: rng.usize(1..7),
    };
    let volume_box = VolumeBox::create(seed, shape)?;
    for leg in &volume_box.legs {
        let latency_us = swarm::latency(&mut rng);
        volume_box.world.set_faults(
            *leg,
            Faults {
                latency_us,
                ..Faults::default()
            },
        );
    }
    if rng.u8(..4) > 0 {
        let weak = volume_box.legs[rng.usize(..volume_box.legs.len())];
        volume_box.weak.set(Some(weak));
    }
    let mut told = Told::default();
    for round in 0..rng.u64(2..7) {
        crash_or_rest(&volume_box, &mut rng, round, &mut told)
            .map_err(|text| format!("round {round}: {text}"))?;
    }
    heal(&volume_box).map_err(|text| format!("after the faults: {text}"))?;
    told.acked = volume_box.ledger.borrow().acked_ever;
    for leg in &volume_box.legs {
        told.faults.add(&volume_box.world.fault_counts(*leg));
    }
    volume_box.world.crash();
    Ok(told)
}

/// One power-on: open, check, work under faults; then a power cut, a timely crash or a proper end.
fn crash_or_rest(
    volume_box: &VolumeBox,
    rng: &mut Rng,
    round: u64,
    told: &mut Told,
) -> Result<(), String> {
    let world = &volume_box.world;
    volume_box.witness.set_down(false);
    set_weak_faults(volume_box, rng);
    if rng.bool() {
        world.crash_at(world.boundaries() + rng.u64(1..600));
    }
    let io = world.io();
    let plan = rng.fork();
    let done = world.run(work(volume_box, &io, plan, round));
    match done {
        Ok(done) => done?,
        Err(Halt::PowerCut) => {}
        Err(halt) => return Err(halt.to_string()),
    }
    volume_box.unbroken()?;
    world.crash();
    told.crashes += 1;
    Ok(())
}

fn set_weak_faults(volume_box: &VolumeBox, rng: &mut Rng) {
    let Some(weak) = volume_box.weak.get() else {
        return;
    };
    let strength = [0.0, 0.01, 0.1, 0.5][rng.usize(..4)];
    let latency_us = volume_box.world.faults(weak).latency_us;
    volume_box.world.set_faults(
        weak,
        Faults {
            latency_us,
            ..swarm::faults(rng, strength)
        },
    );
    if rng.u8(..3) == 0 {
        volume_box.world.insert(weak);
    }
}

async fn work(volume_box: &VolumeBox, io: &Io, mut rng: Rng, round: u64) -> Result<(), String> {
    let volume = volume_box
        .open(io)
        .await
        .map_err(|refusal| format!("open: {refusal}"))?;
    let damaged = volume.open_report().damaged;
    if !damaged.is_empty() {
        return Err(format!("open reports damage: {damaged:?}"));
    }
    check(volume_box, &volume, true).await?;
    make_room(volume_box, &volume).await?;
    let running = Rc::new(Cell::new(0));
    for client in 0..volume_box.shape.clients as u64 {
        let count = rng.usize(1..20);
        volume_box.start_client(
            io,
            &volume,
            rng.u64(..) ^ round ^ client,
            count,
            running.clone(),
        );
    }
    while running.get() > 0 {
        sleep_us(&*io.host, rng.u64(1..3_000)).await;
        match rng.u8(..24) {
            0..=2 => volume_box.checkpoint(&volume).await?,
            3..=5 => {
                let count = rng.usize(1..6);
                volume_box.free_oldest(&volume, count).await;
            }
            6 => {
                let (host, witness, us) = (
                    io.host.clone(),
                    volume_box.witness.clone(),
                    rng.u64(1..5_000_000),
                );
                witness.set_down(true);
                io.host.spawn(Box::pin(async move {
                    sleep_us(&*host, us).await;
                    witness.set_down(false);
                }));
            }
            7 | 8 => disturb(volume_box, &mut rng),
            9 => attach_missing(volume_box, &volume).await,
            10 => drop(volume.scrub().await),
            _ => {}
        }
    }
    volume_box.witness.set_down(false);
    // A volume that stopped says so; otherwise everything acknowledged is readable while it runs.
    if volume.refuses().is_none() {
        check(volume_box, &volume, false).await?;
    }
    if rng.u8(..3) == 0 {
        // A proper end is no promise under faults: what could not be marked clean is recovered.
        drop(volume.close().await);
    }
    Ok(())
}

/// Each opening takes a segment of its own: a volume that is nearly full needs what the store's reclaim would do.
async fn make_room(volume_box: &VolumeBox, volume: &Volume) -> Result<(), String> {
    let segments = volume.segments();
    let free = segments
        .iter()
        .filter(|report| report.state == SegmentState::Free)
        .count();
    if free < segments.len() / 3 {
        volume_box.checkpoint(volume).await?;
        volume_box.free_oldest(volume, segments.len() / 3).await;
    }
    Ok(())
}

/// Something happens to the weak leg.
fn disturb(volume_box: &VolumeBox, rng: &mut Rng) {
    let Some(weak) = volume_box.weak.get() else {
        return;
    };
    let world = &volume_box.world;
    match rng.u8(..5) {
        0 => world.remove(weak),
        1 => world.insert(weak),
        2 => world.release(weak),
        3 => {
            let blocks = world.with_disk(weak, |medium| medium.written_blocks());
            let at = blocks[rng.usize(..blocks.len())] * 4096 + rng.u64(..4096);
            world.flip_bit(weak, at, rng.u8(..8));
        }
        _ => {
            let blocks = world.with_disk(weak, |medium| medium.written_blocks());
            let bad = blocks[rng.usize(..blocks.len())];
            world.with_disk(weak, |medium| medium.mark_bad(bad));
        }
    }
}

async fn attach_missing(volume_box: &VolumeBox, volume: &Volume) {
    for leg in &volume_box.legs {
        let attached = volume
            .legs()
            .iter()
            .any(|report| report.device == Some(*leg));
        if !attached {
            // Refused while its faults last: the end of the story demands it.
            drop(volume.attach(*leg).await);
        }
    }
}

async fn check(volume_box: &VolumeBox, volume: &Volume, reopened: bool) -> Result<(), String> {
    // A copy: clients may go on, and the check takes what it finds for acknowledged.
    let mut ledger = volume_box.ledger.borrow().clone();
    ledger
        .check(volume, reopened)
        .await
        .map_err(|text| format!("{text}\n{}", describe(volume)))?;
    *volume_box.ledger.borrow_mut() = ledger;
    Ok(())
}

/// The state of a volume, for whoever reads a failure.
fn describe(volume: &Volume) -> String {
    let mut text = format!(
        "checkpoint {}, {:?}\n",
        volume.checkpoint().lsn,
        volume.open_report()
    );
    for leg in volume.legs() {
        text += &format!(
            "leg {:?} {:?} stale since {:?}: {:?}\n",
            leg.index, leg.state, leg.stale_since, leg.why
        );
    }
    for report in volume.segments() {
        let (first, last) = (report.first_lsn, report.last_lsn);
        let (index, generation) = (report.index.0, report.generation.0);
        text += &format!(
            "segment {index}.{generation} {:?} {first}..={last} {} bytes\n",
            report.state, report.used_bytes
        );
    }
    text
}

/// Faults are over: every leg comes back, and then the legs are equal.
fn heal(volume_box: &VolumeBox) -> Result<(), String> {
    volume_box.faults_off();
    let world = &volume_box.world;
    let io = world.io();
    let healed = world.run(async {
        let volume = volume_box
            .open(&io)
            .await
            .map_err(|refusal| format!("open: {refusal}"))?;
        check(volume_box, &volume, true).await?;
        make_room(volume_box, &volume).await?;
        let give_up = io.host.now().after_us(HEAL_US_MAX);
        while !volume_box.all_in_sync(&volume) {
            for leg in &volume_box.legs {
                let legs = volume.legs();
                if legs.iter().any(|report| report.device == Some(*leg)) {
                    continue;
                }
                if let Err(refusal) = volume.attach(*leg).await {
                    // What the faults left of its superblocks is not believed: the operator puts a blank disk in.
                    world.with_disk(*leg, |medium| medium.wipe());
                    volume
                        .attach(*leg)
                        .await
                        .map_err(|again| format!("attach: {refusal}; blank: {again}"))?;
                }
            }
            sleep_us(&*io.host, 100_000).await;
            if io.host.now() > give_up {
                return Err(format!("the legs do not get in sync: {:?}", volume.legs()));
            }
        }
        // The first scrub may find what nobody had read; the second must find nothing.
        let first = volume.scrub().await;
        let second = volume.scrub().await;
        if !first.damaged.is_empty() || second.repaired > 0 || !second.damaged.is_empty() {
            return Err(format!("scrubs find {first:?}, then {second:?}"));
        }
        check(volume_box, &volume, false).await?;
        volume_box.legs_equal()?;
        make_room(volume_box, &volume).await?;
        volume
            .close()
            .await
            .map_err(|fault| format!("close: {fault}"))
    });
    healed.map_err(|halt| halt.to_string())??;
    world.crash();
    let io = world.io();
    let reopened = world.run(async {
        let volume = volume_box
            .open(&io)
            .await
            .map_err(|refusal| format!("open after a proper end: {refusal}"))?;
        if !volume.open_report().clean || !volume_box.all_in_sync(&volume) {
            return Err(format!(
                "a proper end is not found: {:?}",
                volume.open_report()
            ));
        }
        check(volume_box, &volume, true).await
    });
    reopened.map_err(|halt| halt.to_string())?
}
