//! Power, resets and clocks.

use std::time::Duration;

use crate::failure::Told;
use crate::shape::Shape;
use crate::stories::mail::more;
use crate::world::{Machine, World};

pub fn power_cut_after_250(world: &mut World) -> Told<()> {
    let machine = world.on()?;
    world.told(machine, |machine| {
        let before = machine.ledger.acknowledged();
        let guest = machine.take();
        machine.ledger.under_load(guest, |guest| {
            more(&machine.ledger, before, 30)?;
            // In a crowd whose deliveries are in flight: our own 250 is read, and the power goes with it.
            machine.ledger.fill(&guest, 1, 3_000)?;
            guest.cut_power();
            Ok(())
        })?;
        machine.boot()?;
        check(machine, "after the cut")?;
        machine.wait_until_in_sync()
    })
}

// Twice: the first time the legs were made by this very state, the second time by one that was itself made from the legs.
pub fn state_partition_wiped(world: &mut World) -> Told<()> {
    let machine = world.running()?;
    let source = world.source.clone();
    world.told(machine, |machine| {
        for round in 1..=2 {
            let (guest, ledger) = machine.both();
            ledger.fill(guest, 10, 2_000)?;
            machine.cut_power();
            machine.forget_state(&source)?;
            machine.boot()?;
            check(
                machine,
                &format!("with a new system disk, for the {round}. time"),
            )?;
        }
        machine.wait_until_in_sync()
    })
}

fn check(machine: &mut Machine, when: &str) -> Told<()> {
    let (guest, ledger) = machine.both();
    ledger
        .check(guest)
        .map_err(|failure| failure.during(when))?;
    eprintln!(
        "{when}: all {} acknowledged are there",
        ledger.acknowledged()
    );
    Ok(())
}

pub fn ten_boots_and_hard_resets_under_load(world: &mut World) -> Told<()> {
    let machine = world.running()?;
    world.told(machine, |machine| {
        for round in 1..=ROUNDS {
            let before = machine.ledger.acknowledged();
            let guest = machine.take();
            let guest = machine.ledger.under_load(guest, |mut guest| {
                more(&machine.ledger, before, 10)?;
                // Anywhere within a checkpoint and between two: a fixed moment would test one of them ten times.
                std::thread::sleep(Duration::from_millis(fastrand::u64(0..3_000)));
                guest.reset()?;
                guest.ready()?;
                Ok(guest)
            })?;
            machine.give_back(guest);
            check(machine, &format!("after reset {round}"))?;
        }
        machine.wait_until_in_sync()
    })
}

const ROUNDS: usize = 10;

pub fn clock_wrong(world: &mut World) -> Told<()> {
    let machine = world.boot(Shape {
        clock: Some("2001-01-01T00:00:00".into()),
        ..Shape::default()
    })?;
    world.told(machine, |machine| {
        for (clock, when) in [
            // Over the edges of 32-bit time in both directions. No message may be too old or too new to be served.
            (Some("2037-12-31T23:59:00"), "in 2037, written in 2001"),
            (None, "back in the present"),
        ] {
            let (guest, ledger) = machine.both();
            ledger.fill(guest, 10, 2_000)?;
            ledger.check(guest)?;
            machine.cut_power();
            machine.site.shape.clock = clock.map(str::to_owned);
            machine.boot()?;
            check(machine, when)?;
        }
        machine.wait_until_in_sync()
    })
}
