//! One random story of a volume, from one seed.
//!
//! The fault budget: one leg is weak, the others are sound, and which one is weak changes only after every leg was proved to be in sync.
//! The weak one may lie, rot, fail, stall, hang, disappear and return with old content; the machine may crash at any boundary; the
//! witness may be down for a while. Nothing acknowledged may be lost or doubled, and once faults stop every leg is in sync again.
//!
//! "In sync" is put to the test: whenever the power is off, and before any scrub, each leg that the witness counts is opened by itself and
//! compared, unless it may have gone bad in silence.

use std::cell::Cell;
use std::rc::Rc;

use base::host::sleep_us;
use device::Io;
use device::sim::{FaultCounts, Halt};
use fastrand::Rng;
use volume::{Checkpoint, SegmentState, Volume};

use crate::knobs::Knobs;
use crate::limits::CYCLES;
use crate::machine::{Shape, describe, scrub_twice};
use crate::volume_box::VolumeBox;
use crate::what_if;

/// What happened in a story that ended well.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    pub acked: u64,
    pub crashes: u64,
    pub faults: FaultCounts,
    /// Of all that was asked of the devices: `SimWorld::digest`.
    pub digest: u64,
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
    volume_box.knobs.set(Knobs::draw(&mut rng.fork()));
    volume_box.draw_weakness(&mut rng);
    let mut told = Told::default();
    for round in 0..rng.u64(2..8) {
        crash_or_rest(&volume_box, &mut rng, round, &mut told)
            .and_then(|()| power_is_off(&volume_box, &mut rng))
            .map_err(|text| format!("round {round}: {text}"))?;
        if rng.u8(..3) == 0 {
            prove(&volume_box, &mut rng)
                .map_err(|text| format!("all is well after round {round}: {text}"))?;
            volume_box.draw_weakness(&mut rng);
        }
    }
    heal(&volume_box, &mut rng).map_err(|text| format!("after the faults: {text}"))?;
    told.acked = volume_box.ledger.borrow().acked_ever;
    told.faults = volume_box.fault_counts();
    told.digest = volume_box.world.digest();
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
    volume_box.draw_faults(rng);
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

/// What would be if only one leg came back from here.
fn power_is_off(volume_box: &VolumeBox, rng: &mut Rng) -> Result<(), String> {
    let (dice, seed, mut own) = (rng.u8(..3), rng.u64(..), rng.fork());
    if dice > 0 {
        volume_box.each_alone(seed)?;
    }
    what_if::relic_alone(volume_box, &mut own)?;
    what_if::cut_short(volume_box, &mut own)
}

/// Faults are over for now: every leg is in sync, and each of them has everything, without any scrub where none was silent.
fn prove(volume_box: &VolumeBox, rng: &mut Rng) -> Result<(), String> {
    volume_box.faults_off();
    let (world, mut own) = (&volume_box.world, rng.fork());
    let io = world.io();
    let proved = world.run(async {
        let volume = in_sync_again(volume_box, &io, &mut own).await?;
        if volume_box.knobs.get().all_refuse {
            what_if::all_refuse(volume_box, &io, &volume, &mut own).await?;
            volume_box.legs_equal()?;
            volume_box.each_alone(own.u64(..))?;
        }
        if own.bool() {
            let closed = volume.close().await;
            closed.map_err(|fault| format!("close: {fault}"))?;
        }
        Ok::<(), String>(())
    });
    proved.map_err(|halt| halt.to_string())??;
    volume_box.unbroken()?;
    world.crash();
    Ok(())
}

/// Opens; brings all legs back; then every leg has everything, and by itself too.
async fn in_sync_again(volume_box: &VolumeBox, io: &Io, rng: &mut Rng) -> Result<Volume, String> {
    let opened = volume_box.open(io).await;
    let volume = opened.map_err(|refusal| format!("open: {refusal}"))?;
    check(volume_box, &volume, true).await?;
    make_room(volume_box, &volume).await?;
    volume_box.heal(io, &volume).await?;
    volume_box.legs_equal()?;
    volume_box.each_alone(rng.u64(..))?;
    check(volume_box, &volume, false).await?;
    Ok(volume)
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
    // A leg that was left out comes back at once, and joins while clients are at it.
    let joins = rng.bool();
    if joins {
        volume_box.slow_missing(&volume, round);
        volume_box.attach_missing(&volume).await;
    }
    let count_max = if joins { 60 } else { 20 };
    for client in 0..volume_box.shape.clients as u64 {
        let count = rng.usize(1..count_max);
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
            6 => volume_box.interrupt_witness(io, &mut rng),
            7 | 8 => volume_box.disturb(&mut rng),
            9 => volume_box.attach_missing(&volume).await,
            10 => drop(volume.scrub().await),
            11 => volume_box.begin_outage(io, &mut rng),
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

/// Faults are over: every leg comes back, and then the legs are equal.
fn heal(volume_box: &VolumeBox, rng: &mut Rng) -> Result<(), String> {
    volume_box.faults_off();
    let world = &volume_box.world;
    let io = world.io();
    let healed = world.run(async {
        let volume = in_sync_again(volume_box, &io, rng).await?;
        scrub_twice(&volume).await?;
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
    reopened.map_err(|halt| halt.to_string())??;
    world.crash();
    space_is_conserved(volume_box)
}

/// Openings and closings without work in between cost no segment; and with everything given back the whole volume is free, but
/// for the open segment.
fn space_is_conserved(volume_box: &VolumeBox) -> Result<(), String> {
    let world = &volume_box.world;
    let mut free_before = None;
    for cycle in 0..CYCLES {
        let io = world.io();
        let free = world.run(async {
            let opened = volume_box.open(&io).await;
            let volume = opened.map_err(|refusal| format!("open: {refusal}"))?;
            let free = free_count(&volume);
            // What the openings before left comes back with the second one.
            if cycle > 1 && free_before.is_some_and(|before| free < before) {
                let text = describe(&volume);
                return Err(format!("{free} free, {free_before:?} before\n{text}"));
            }
            if cycle % 2 == 0 {
                let closed = volume.close().await;
                closed.map_err(|fault| format!("close: {fault}"))?;
            }
            if cycle + 1 == CYCLES {
                everything_comes_back(volume_box, &volume).await?;
            }
            Ok(free)
        });
        let free = free.map_err(|halt| halt.to_string())?;
        free_before = Some(free.map_err(|text| format!("cycle {cycle}: {text}"))?);
        world.crash();
    }
    Ok(())
}

async fn everything_comes_back(volume_box: &VolumeBox, volume: &Volume) -> Result<(), String> {
    let segments = volume.segments().len();
    let mut free_before = None;
    // Segments that came to hold nothing but the volume's own batches come back few at a time. Bounded by the segments.
    while free_before.replace(free_count(volume)) != Some(free_count(volume)) {
        // The volume's own batches may lie behind the last of the clients'.
        let lsn = volume.segments().iter().map(|report| report.last_lsn).max();
        let checkpoint = Checkpoint {
            lsn: lsn.unwrap_or_default(),
            note: Vec::new(),
        };
        let done = volume.set_checkpoint(checkpoint).await;
        done.map_err(|fault| format!("checkpoint: {fault}"))?;
        volume_box.free_oldest(volume, segments).await;
    }
    let free = free_count(volume);
    if free + 1 < segments {
        let text = describe(volume);
        return Err(format!("{free} of {segments} segments are free\n{text}"));
    }
    Ok(())
}

fn free_count(volume: &Volume) -> usize {
    let segments = volume.segments();
    let free = segments
        .iter()
        .filter(|report| report.state == SegmentState::Free);
    free.count()
}
