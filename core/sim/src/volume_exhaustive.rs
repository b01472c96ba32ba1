//! Every crash point of a scripted run of one volume.
//!
//! The script commits batches from three clients at once, moves the checkpoint, gives segments back and loses a leg. It is run
//! once to count its write boundaries, then once for each boundary, up to it; there every outcome of the power cut is
//! tried (`outcome`), the volume is opened and compared with what the clients had been told. One outcome of each boundary goes on
//! to be cut again at every boundary of its own recovery.

use std::cell::Cell;
use std::rc::Rc;

use base::host::sleep_us;
use device::sim::{CacheLanding, Halt, Landing};
use fastrand::Rng;

use crate::Progress;
use crate::limits::ALONE_SHARE;
use crate::machine::Shape;
use crate::outcome::outcomes;
use crate::volume_box::VolumeBox;

/// Which part of a volume's life is cut to pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Three clients, one after another batch each.
    Commits,
    /// Commits, checkpoints and segments given back, until segments are used again.
    Reclaim,
    /// A leg disappears in the middle: epoch, witness, superblocks.
    Eject,
    /// A leg disappears, returns and is attached again.
    Attach,
}

pub const SCRIPTS: [Script; 4] = [
    Script::Commits,
    Script::Reclaim,
    Script::Eject,
    Script::Attach,
];

#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    pub boundaries: u64,
    pub outcomes: u64,
}

fn shape() -> Shape {
    Shape {
        legs: 2,
        leg_bytes: 1536 << 10,
        segment_bytes: 64 << 10,
        in_flight_max: 3,
        clients: 3,
    }
}

/// Cuts `script` at every boundary. `Err` tells boundary and outcome.
pub fn run(script: Script, seed: u64, progress: &dyn Progress) -> Result<Tried, String> {
    let (first, last) = count(script, seed)?;
    progress.begin(last - first);
    let mut tried = Tried::default();
    for boundary in first + 1..=last {
        cut_once(script, seed, boundary, &mut tried).map_err(|text| {
            format!("{script:?}, cut at boundary {boundary} of {first}..={last}: {text}")
        })?;
        tried.boundaries += 1;
        progress.step();
    }
    Ok(tried)
}

/// The boundaries between which the script runs.
fn count(script: Script, seed: u64) -> Result<(u64, u64), String> {
    let volume_box = VolumeBox::create(seed, shape())?;
    let first = volume_box.world.boundaries();
    let done = volume_box.world.run(perform(script, &volume_box));
    done.map_err(|halt| format!("{script:?} without a crash: {halt}"))??;
    let last = volume_box.world.boundaries();
    volume_box.world.crash();
    reopen_and_check(&volume_box).map_err(|text| format!("{script:?}, cut at its end: {text}"))?;
    Ok((first, last))
}

fn cut_once(script: Script, seed: u64, boundary: u64, tried: &mut Tried) -> Result<(), String> {
    let before = VolumeBox::create(seed, shape())?;
    before.world.crash_at(boundary);
    match before.world.run(perform(script, &before)) {
        Err(Halt::PowerCut) => {}
        Err(halt) => return Err(format!("the run halts: {halt}")),
        Ok(done) => {
            done?;
            return Err("the run is not the same twice".to_owned());
        }
    }
    before.unbroken()?;
    let cut = before.world.power_cut();
    let mut rng = Rng::with_seed(seed ^ boundary);
    for (index, outcome) in outcomes(&cut, &mut rng).into_iter().enumerate() {
        tried.outcomes += 1;
        let cache = if index % 2 == 0 {
            CacheLanding::Lost
        } else {
            CacheLanding::Random
        };
        let after = before.after_cut(seed ^ index as u64, &cut, &outcome, cache);
        insert_all(&after);
        if index % ALONE_SHARE == 0 {
            after
                .each_alone(seed)
                .map_err(|text| format!("outcome {outcome:?}: {text}"))?;
        }
        reopen_and_check(&after).map_err(|text| format!("outcome {outcome:?}: {text}"))?;
    }
    // And one of them again: power cut during recovery, at each of its boundaries.
    let outcome: Vec<Landing> = cut.writes.iter().map(|_| Landing::Random).collect();
    for again in 1.. {
        let after = before.after_cut(seed, &cut, &outcome, CacheLanding::Lost);
        insert_all(&after);
        after.world.crash_at(again);
        let io = after.world.io();
        match after.world.run(after.open(&io)) {
            Ok(opened) => {
                opened.map_err(|refusal| format!("outcome {outcome:?}: {refusal}"))?;
                break; // recovery has fewer boundaries than this
            }
            Err(Halt::PowerCut) => {}
            Err(halt) => return Err(format!("recovery halts: {halt}")),
        }
        after.world.crash();
        tried.outcomes += 1;
        reopen_and_check(&after)
            .map_err(|text| format!("cut again at boundary {again} of the recovery: {text}"))?;
    }
    before.world.crash();
    Ok(())
}

/// A leg that the script had taken away is back after the crash: the witness must keep it out.
fn insert_all(volume_box: &VolumeBox) {
    for leg in &volume_box.legs {
        volume_box.world.insert(*leg);
    }
}

fn reopen_and_check(volume_box: &VolumeBox) -> Result<(), String> {
    let io = volume_box.world.io();
    let checked = volume_box.world.run(async {
        let volume = volume_box
            .open(&io)
            .await
            .map_err(|refusal| format!("open: {refusal}"))?;
        let damaged = volume.open_report().damaged;
        if !damaged.is_empty() {
            return Err(format!("open reports damage: {damaged:?}"));
        }
        let mut ledger = volume_box.ledger.borrow().clone();
        ledger.check(&volume, true).await?;
        *volume_box.ledger.borrow_mut() = ledger;
        // And it still takes mail.
        let running = Rc::new(Cell::new(0));
        volume_box.start_client(&io, &volume, 77, 1, running.clone());
        while running.get() > 0 {
            sleep_us(&*io.host, 1_000).await;
        }
        let mut ledger = volume_box.ledger.borrow().clone();
        ledger.check(&volume, false).await
    });
    let checked = checked.map_err(|halt| format!("after the crash: {halt}"))?;
    checked.and_then(|()| volume_box.unbroken())?;
    volume_box.world.crash();
    Ok(())
}

async fn perform(script: Script, volume_box: &VolumeBox) -> Result<(), String> {
    let io = volume_box.world.io();
    let volume = volume_box
        .open(&io)
        .await
        .map_err(|refusal| format!("open: {refusal}"))?;
    let running = Rc::new(Cell::new(0));
    let start = |seed: u64, count: usize| {
        for client in 0..volume_box.shape.clients as u64 {
            volume_box.start_client(&io, &volume, seed + client, count, running.clone());
        }
    };
    let rest = async || {
        while running.get() > 0 {
            sleep_us(&*io.host, 1_000).await;
        }
    };
    match script {
        Script::Commits => {
            start(1, 8);
            rest().await;
        }
        Script::Reclaim => {
            for round in 0..4 {
                start(round * 10, 4);
                rest().await;
                volume_box.checkpoint(&volume).await?;
                volume_box.free_oldest(&volume, 4).await;
            }
        }
        Script::Eject => {
            start(1, 6);
            sleep_us(&*io.host, 600).await;
            volume_box.world.remove(volume_box.legs[1]);
            rest().await;
        }
        Script::Attach => {
            start(1, 3);
            sleep_us(&*io.host, 300).await;
            volume_box.world.remove(volume_box.legs[1]);
            rest().await;
            volume_box.world.insert(volume_box.legs[1]);
            start(20, 3);
            volume
                .attach(volume_box.legs[1])
                .await
                .map_err(|refusal| format!("attach: {refusal}"))?;
            rest().await;
            while !volume_box.all_in_sync(&volume) {
                sleep_us(&*io.host, 1_000).await;
            }
        }
    }
    volume_box.unbroken()
}
