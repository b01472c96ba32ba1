//! Accidents that are tried in a world of their own, so that the story goes on undisturbed; and those that need a running volume.

use std::cell::Cell;
use std::rc::Rc;

use base::host::sleep_us;
use device::Io;
use device::sim::Faults;
use fastrand::Rng;
use volume::{LegState, Volume};

use crate::limits::{HEAL_US_MAX, LEG_BYTES_MIN};
use crate::machine::describe;
use crate::volume_box::VolumeBox;

/// What a leg held when the power was off some time ago is all that comes back: the volume refuses, or it is complete all the same.
// It may refuse, and it may serve if nothing was acknowledged since. What it must not do is serve less than was acknowledged.
pub fn relic_alone(volume_box: &VolumeBox, rng: &mut Rng) -> Result<(), String> {
    if !volume_box.knobs.get().older_leg_alone {
        return Ok(());
    }
    let (leg, relic) = match volume_box.take_relic() {
        Some(relic) => relic,
        None => {
            let promised = volume_box.promised();
            if let Some(leg) = rng.choice(promised) {
                volume_box.keep_relic(leg);
            }
            return Ok(());
        }
    };
    let alone = volume_box.only(rng.u64(..), leg);
    alone.world.restore(leg, &relic);
    let io = alone.world.io();
    let looked = alone.world.run(async {
        let Ok(volume) = alone.open(&io).await else {
            return Ok(()); // it says why
        };
        if volume.refuses().is_some() {
            return Ok(());
        }
        let mut ledger = alone.ledger.borrow().clone();
        let compared = ledger.check(&volume, true).await;
        compared.map_err(|text| format!("{text}\n{}", describe(&volume)))
    });
    alone.world.crash();
    let looked = looked.map_err(|halt| halt.to_string()).flatten();
    looked.map_err(|text| format!("what leg {leg:?} held earlier is all there is: {text}"))
}

/// One leg comes back shorter: it is left out, and the others carry the volume; by itself it is refused.
pub fn cut_short(volume_box: &VolumeBox, rng: &mut Rng) -> Result<(), String> {
    if !volume_box.knobs.get().short_leg {
        return Ok(());
    }
    let leg = volume_box.legs[rng.usize(..volume_box.legs.len())];
    let others = volume_box.promised();
    let Some(other) = others.into_iter().find(|other| *other != leg) else {
        return Ok(());
    };
    // At least one segment is missing: what lies behind the last one may be cut off without harm.
    let bytes_max = volume_box.shape.leg_bytes - volume_box.shape.segment_bytes;
    let bytes = rng.u64(LEG_BYTES_MIN / 4096..=bytes_max / 4096) * 4096;
    let short = volume_box.only(rng.u64(..), other);
    short.world.insert(leg);
    short.world.with_disk(leg, |medium| medium.cut_short(bytes));
    let io = short.world.io();
    let looked = short.world.run(async {
        let opened = short.open(&io).await;
        let volume = opened.map_err(|refusal| format!("open: {refusal}"))?;
        let counted = volume.legs().into_iter();
        let mut counted = counted.filter(|report| report.state == LegState::InSync);
        if counted.any(|report| report.device == Some(leg)) {
            return Err("it is in sync all the same".to_owned());
        }
        // Neither by itself nor when an operator asks for it: the segments that it lacks are promised to be on every leg.
        if volume.attach(leg).await.is_ok() {
            return Err("it is taken back all the same".to_owned());
        }
        let mut ledger = short.ledger.borrow().clone();
        ledger.check(&volume, true).await
    });
    short.world.crash();
    let looked = looked.map_err(|halt| halt.to_string()).flatten();
    looked.map_err(|text| format!("leg {leg:?} comes back with {bytes} bytes: {text}"))?;
    short.world.remove(other);
    let io = short.world.io();
    let opened = short.world.run(async { short.open(&io).await.is_ok() });
    short.world.crash();
    match opened {
        Ok(false) => Ok(()),
        Ok(true) => Err(format!("leg {leg:?} with {bytes} bytes opens by itself")),
        Err(halt) => Err(halt.to_string()),
    }
}

/// Every leg refuses every write for some seconds (a controller, a fabric). Everything acknowledged can be read meanwhile; once writes hold
/// again the volume takes them, without a restart, and every leg is in sync.
pub async fn all_refuse(
    volume_box: &VolumeBox,
    io: &Io,
    volume: &Volume,
    rng: &mut Rng,
) -> Result<(), String> {
    let running = Rc::new(Cell::new(0));
    for _ in 0..volume_box.shape.clients {
        volume_box.start_client(io, volume, rng.u64(..), 4, running.clone());
    }
    sleep_us(&*io.host, rng.u64(1..3_000)).await;
    let before: Vec<Faults> = volume_box
        .legs
        .iter()
        .map(|leg| volume_box.world.faults(*leg))
        .collect();
    for (leg, faults) in volume_box.legs.iter().zip(&before) {
        let faults = Faults {
            write_error: 1.0,
            ..faults.clone()
        };
        volume_box.world.set_faults(*leg, faults);
    }
    // Shorter and longer than the time after which a leg is ejected: both must end with all legs in, because none of them is better than
    // another.
    sleep_us(&*io.host, rng.u64(1..20_000_000)).await;
    let ledger = volume_box.ledger.borrow().clone();
    ledger
        .compare_reads(volume)
        .await
        .map_err(|text| format!("every leg refuses writes, and {text}\n{}", describe(volume)))?;
    for (leg, faults) in volume_box.legs.iter().zip(before) {
        volume_box.world.set_faults(*leg, faults);
    }
    let give_up = io.host.now().after_us(HEAL_US_MAX);
    while volume.refuses().is_some() || running.get() > 0 {
        if io.host.now() > give_up {
            let why = volume.refuses();
            return Err(format!("writes hold again, and it refuses: {why:?}"));
        }
        sleep_us(&*io.host, 100_000).await;
    }
    volume_box.heal(io, volume).await?;
    volume_box.unbroken()
}
