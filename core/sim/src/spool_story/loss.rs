//! The end of one story in two: the mail's volume is lost as a whole, and the copies in the spool come back into a new one.
//!
//! The power goes during the redelivery as well. What must hold: each message that the spool kept is there once for each of its accounts, in the order
//! in which it was accepted; and a second redelivery places nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use base::host::sleep_us;
use device::sim::Halt;
use fastrand::Rng;
use queue::UnixSeconds;
use runtime::Stop;
use volume::Volume;

use super::house::{self, House, Legs};
use super::model::{ACCOUNTS, Model};
use crate::machine::Machine;

/// Copies that stay until the end of the story.
pub const KEEP_S: u64 = 1_000_000;
/// The drain's longest pause is 5 s.
const BACK_WITHIN_S: u32 = 120;
const CUTS_MAX: u64 = 3;

/// What is kept becomes the model of a new volume.
pub fn expected(house: &House, before: &Model) -> Model {
    let mut after = Model::default();
    for entry in house.spool.kept(None, usize::MAX) {
        let number = entry.arrived.0;
        for account in 0..ACCOUNTS {
            let path = house::path(account);
            if !entry.recipients.iter().any(|each| each.to.path == path) {
                continue;
            }
            let (known, now) = (&before.known[account], &mut after.known[account]);
            // One that its sender did not hear of may be anywhere in the order.
            let is_accepted = known.accepted.contains(&number) || known.gone.contains(&number);
            match is_accepted {
                true => now.accepted.insert(number),
                false => now.open.insert(number),
            };
        }
    }
    after
}

/// The machine gets blank disks in place of the mail's legs, with a new volume on them.
pub fn lose_the_mail(machine: &mut Machine, seed: u64) -> Result<(), String> {
    let bytes = machine.shape.leg_bytes;
    machine.legs = (0..machine.shape.legs)
        .map(|_| machine.world.add_disk(bytes))
        .collect();
    machine.witness = Rc::default();
    let (io, settings) = (machine.world.io(), house::settings(machine));
    let made = Volume::create(&io, &machine.legs, &settings, &*machine.witness, seed);
    let made = machine.world.run(made);
    made.map_err(|halt| format!("create: {halt}"))?
        .map_err(|refusal| format!("create: {refusal}"))
        .map(drop)
}

/// Asks for every copy, with power cuts, until all of it is there; then once more.
pub fn bring_back(
    machine: &Machine,
    legs: &Legs,
    model: Model,
    rng: &mut Rng,
) -> Result<(), String> {
    let model = Rc::new(RefCell::new(model));
    let world = &machine.world;
    let mut is_asked = false;
    for round in 0..CUTS_MAX + 2 {
        let cut = (round < CUTS_MAX).then(|| rng.u64(1..200));
        let came = world.run(async {
            let house = House::open(machine, legs).await?;
            house.people(&model).await?;
            if let Some(cut) = cut {
                world.crash_at(world.boundaries() + cut);
            }
            if !is_asked {
                // Its answer may be lost with the power; then it is asked for again.
                let asked = house.spool.redeliver(UnixSeconds(0)).await;
                asked.map_err(|fault| fault.to_string())?;
                is_asked = true;
            }
            drained(&house).await?;
            complete(&house, &model).await?;
            // Nothing is lost now: the same again changes nothing.
            let asked = house.spool.redeliver(UnixSeconds(0)).await;
            asked.map_err(|fault| fault.to_string())?;
            drained(&house).await?;
            complete(&house, &model).await
        });
        match came {
            Ok(came) => came.map_err(|text| format!("after the loss, round {round}: {text}"))?,
            Err(Halt::PowerCut) => {}
            Err(halt) => return Err(format!("after the loss, round {round}: {halt}")),
        }
        world.crash();
    }
    Ok(())
}

async fn drained(house: &House) -> Result<(), String> {
    let stop = Stop::new();
    house.start_drain(stop.clone());
    for _second in 0..BACK_WITHIN_S {
        if house.spool.gauges().waiting() == 0 {
            stop.request();
            return Ok(());
        }
        sleep_us(&*house.io.host, 1_000_000).await;
    }
    let waiting = house.spool.gauges().waiting();
    Err(format!("{waiting} copies still wait"))
}

/// Each once, in order (`check`), and none is missing, also of those whose sender had no answer.
async fn complete(house: &House, model: &RefCell<Model>) -> Result<(), String> {
    house.check(model).await?;
    for account in 0..ACCOUNTS {
        let there: BTreeSet<u64> = house.inbox_of(model, account).await?.into_iter().collect();
        let missing = model.borrow().known[account]
            .open
            .difference(&there)
            .copied()
            .next();
        if let Some(number) = missing {
            return Err(format!(
                "message {number} of account {account} did not come back"
            ));
        }
    }
    Ok(())
}
