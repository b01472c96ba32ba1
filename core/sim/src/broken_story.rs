//! More goes wrong than the volume promises to bear: blocks rot and go bad on every leg at once.
//!
//! Then completeness cannot be asked for, only honesty. What was acknowledged is read back as it was, or it is said to be
//! damaged: never other bytes, and never nothing. An opening may refuse, in words; one that goes on says which batches it lost.
//! What is stored after the operator accepted that is kept.
//!
//! The last acknowledged batches are left alone: where every trace of them is gone nothing can tell of them. Not so where they only cannot be
//! read for a while: an unknown end of the log is no end, and when the reads answer again everything is there (`passing`).

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use base::host::sleep_us;
use fastrand::Rng;
use volume::{Lsn, ReadFault, Volume};

use crate::ledger::payload;
use crate::machine::{Shape, describe};
use crate::volume_box::{SEGMENTS_AT, VolumeBox};
use crate::volume_story::Told;

pub fn run(seed: u64) -> Result<Told, String> {
    let mut rng = Rng::with_seed(seed ^ 0x6272_6f6b_656e);
    let shape = Shape {
        legs: 2,
        leg_bytes: rng.u64(24..64) * (64 << 10),
        segment_bytes: [32 << 10, 64 << 10, 128 << 10][rng.usize(..3)],
        in_flight_max: rng.usize(1..9),
        clients: rng.usize(1..5),
    };
    let volume_box = VolumeBox::create(seed, shape)?;
    let mut told = Told::default();
    if rng.u8(..3) == 0 {
        passing(&volume_box, &mut rng).map_err(|text| format!("reads fail for a while: {text}"))?;
        told.crashes += 2;
        told.acked = volume_box.ledger.borrow().acked_ever;
        told.faults = volume_box.fault_counts();
        told.digest = volume_box.world.digest();
        return Ok(told);
    }
    live(&volume_box, &mut rng).map_err(|text| format!("broken, before: {text}"))?;
    told.crashes += 1;
    vandalise(&volume_box, &mut rng);
    // What a leg in sync holds is no promise any more.
    volume_box.witness.on_change(|_| ());
    let mut excused = BTreeSet::new();
    for opening in 0..3 {
        let goes_on = look(&volume_box, &mut excused)
            .map_err(|text| format!("broken, opening {opening}: {text}"))?;
        volume_box.world.crash();
        told.crashes += 1;
        if !goes_on {
            break;
        }
    }
    told.acked = volume_box.ledger.borrow().acked_ever;
    told.faults = volume_box.fault_counts();
    told.digest = volume_box.world.digest();
    Ok(told)
}

/// Some of the newest batches cannot be read on any leg while the volume is opened; then they can.
fn passing(volume_box: &VolumeBox, rng: &mut Rng) -> Result<(), String> {
    let world = &volume_box.world;
    let io = world.io();
    let lived = world.run(async {
        let opened = volume_box.open(&io).await;
        let volume = opened.map_err(|refusal| format!("open: {refusal}"))?;
        let running = Rc::new(Cell::new(0));
        for _ in 0..volume_box.shape.clients {
            let count = rng.usize(1..12);
            volume_box.start_client(&io, &volume, rng.u64(..), count, running.clone());
        }
        while running.get() > 0 {
            sleep_us(&*io.host, 1_000).await;
        }
        volume_box.unbroken()
    });
    lived.map_err(|halt| halt.to_string())??;
    world.crash();
    let mut newest = volume_box.ledger.borrow().acked_runs();
    newest.sort_by_key(|(_, lsn, _)| std::cmp::Reverse(*lsn));
    newest.truncate(rng.usize(1..5));
    for (_, _, at) in newest {
        let begin = SEGMENTS_AT + u64::from(at.segment.0) * volume_box.shape.segment_bytes;
        let block = begin / 4096 + u64::from(at.batch_block);
        for leg in &volume_box.legs {
            world.with_disk(*leg, |medium| medium.mark_bad(block));
        }
    }
    let io = world.io();
    let opened = world.run(async {
        let Ok(volume) = volume_box.open(&io).await else {
            return; // it says why
        };
        // Whatever it believes now, it is asked to take mail.
        let running = Rc::new(Cell::new(0));
        volume_box.start_client(&io, &volume, 5, 2, running.clone());
        while running.get() > 0 {
            sleep_us(&*io.host, 1_000).await;
        }
    });
    opened.map_err(|halt| halt.to_string())?;
    world.crash();
    for leg in &volume_box.legs {
        world.with_disk(*leg, |medium| medium.clear_bad());
    }
    volume_box.read_all()
}

/// Ordinary life on sound legs, then a power cut.
fn live(volume_box: &VolumeBox, rng: &mut Rng) -> Result<(), String> {
    let io = volume_box.world.io();
    let lived = volume_box.world.run(async {
        let opened = volume_box.open(&io).await;
        let volume = opened.map_err(|refusal| format!("open: {refusal}"))?;
        for _ in 0..rng.u64(1..4) {
            let running = Rc::new(Cell::new(0));
            for _ in 0..volume_box.shape.clients {
                let count = rng.usize(4..20);
                volume_box.start_client(&io, &volume, rng.u64(..), count, running.clone());
            }
            while running.get() > 0 {
                sleep_us(&*io.host, 1_000).await;
            }
            if rng.bool() {
                volume_box.checkpoint(&volume).await?;
            }
        }
        volume_box.unbroken()?;
        // Behind it something must lie that knows of what was acknowledged.
        let now = volume.checkpoint();
        volume
            .set_checkpoint(now)
            .await
            .map_err(|fault| format!("checkpoint: {fault}"))
    });
    lived.map_err(|halt| halt.to_string())??;
    volume_box.world.crash();
    Ok(())
}

/// Blocks rot or become unreadable, mostly the same ones on both legs.
fn vandalise(volume_box: &VolumeBox, rng: &mut Rng) {
    let blocks = volume_box
        .world
        .with_disk(volume_box.legs[0], |medium| medium.written_blocks());
    let in_segments: Vec<u64> = blocks
        .iter()
        .copied()
        .filter(|block| block * 4096 >= SEGMENTS_AT)
        .collect();
    for _ in 0..rng.usize(1..12) {
        // Seldom the superblocks.
        let from = if rng.u8(..8) == 0 {
            &blocks
        } else {
            &in_segments
        };
        let block = from[rng.usize(..from.len())];
        for leg in &volume_box.legs {
            if rng.u8(..4) == 0 {
                continue;
            }
            if rng.bool() {
                let at = block * 4096 + rng.u64(..4096);
                volume_box.world.flip_bit(*leg, at, rng.u8(..8));
            } else {
                volume_box
                    .world
                    .with_disk(*leg, |medium| medium.mark_bad(block));
            }
        }
    }
}

/// Opens and asks for everything; `false` when the volume refuses to open.
fn look(volume_box: &VolumeBox, excused: &mut BTreeSet<Lsn>) -> Result<bool, String> {
    let io = volume_box.world.io();
    let looked = volume_box.world.run(async {
        let Ok(volume) = volume_box.open(&io).await else {
            return Ok(false); // it says why
        };
        excused.extend(volume.open_report().damaged);
        honest(volume_box, &volume, excused).await?;
        if volume.refuses().is_some() && volume.accept_damage().await.is_err() {
            return Ok(false);
        }
        honest(volume_box, &volume, excused).await?;
        drop(volume.scrub().await);
        honest(volume_box, &volume, excused).await?;
        let running = Rc::new(Cell::new(0));
        volume_box.start_client(&io, &volume, 7, 5, running.clone());
        while running.get() > 0 {
            sleep_us(&*io.host, 1_000).await;
        }
        volume_box.unbroken()?;
        honest(volume_box, &volume, excused).await?;
        Ok(true)
    });
    looked.map_err(|halt| halt.to_string())?
}

/// Each acknowledged run is there as it was, or said to be damaged.
async fn honest(
    volume_box: &VolumeBox,
    volume: &Volume,
    excused: &BTreeSet<Lsn>,
) -> Result<(), String> {
    let walked = walk_all(volume).await;
    let acked = volume_box.ledger.borrow().acked_runs();
    for (token, lsn, address) in acked {
        let bad = |what: &str| {
            Err(format!(
                "token {token} of batch {lsn} {what}; excused {excused:?}\n{}",
                describe(volume)
            ))
        };
        match volume.read(&address).await {
            Ok(run) if run[..8] != token.to_le_bytes() => return bad("reads as another"),
            Ok(run) if run[16..] != payload(token, run.len() - 16) => {
                return bad("has other bytes");
            }
            Ok(_) | Err(ReadFault::Damaged | ReadFault::Unavailable) => {}
            Err(ReadFault::Stale) if walked.contains(&lsn) || excused.contains(&lsn) => {}
            Err(ReadFault::Stale) => return bad("is gone, and this was not reported"),
        }
    }
    Ok(())
}

/// The numbers of all batches that a walk over all segments gives.
async fn walk_all(volume: &Volume) -> BTreeSet<Lsn> {
    let mut walk = volume.walk(Lsn(0));
    let mut found = BTreeSet::new();
    loop {
        // until the end of the log; damage is passed over
        match walk.next().await {
            Ok(Some((at, _))) => _ = found.insert(at.lsn),
            Err(ReadFault::Damaged) => {}
            Ok(None) | Err(_) => return found,
        }
    }
}
