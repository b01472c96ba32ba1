//! What hangs is ended by a watchdog, and the box knows why afterwards.

use std::time::Duration;

use crate::failure::{Told, ensure};
use crate::guest::Guest;
use crate::harm;
use crate::pace;
use crate::serial::Kind;
use crate::shape::Shape;
use crate::world::{Machine, World};

pub fn watchdog_fires(world: &mut World) -> Told<()> {
    let machine = world.boot(Shape {
        watchdog: true,
        credentials: harm::credentials(ENGINE_PATIENCE_S),
        // `qemu-small` gives a hung box two minutes; this one has the image's own thirty seconds.
        profile: Some("generic".into()),
        ..Shape::default()
    })?;
    world.told(machine, |machine| {
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 10, 2_000)?;
        engine_hangs(machine.guest()).map_err(|failure| failure.during("a hung engine"))?;
        machine.wait_for_account()?;
        incidents(machine, "engine_hung", 1)?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)?;
        ledger.fill(guest, 10, 2_000)?;
        kernel_hangs(machine.guest()).map_err(|failure| failure.during("a hung kernel"))?;
        machine.wait_for_account()?;
        incidents(machine, "watchdog_reset", 1)?;
        incidents(machine, "engine_hung", 1)?;
        // A reset by the watchdog looks like a loss of power to the next start; it must not be reported as one.
        incidents(machine, "power_lost", 0)?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)?;
        machine.wait_until_in_sync()
    })
}

fn engine_hangs(guest: &mut Guest) -> Told<()> {
    let mark = guest.serial.mark();
    harm::strike(guest.at(harm::ENGINE_HANGS))?;
    let within = Duration::from_secs(ENGINE_PATIENCE_S + 60);
    guest.wait_since(mark, crate::serial::READY, &[], pace::stretched(within))
}

fn kernel_hangs(guest: &mut Guest) -> Told<()> {
    let (mark, said) = (guest.qmp.mark(), guest.serial.mark());
    harm::strike(guest.at(harm::KERNEL_HANGS))?;
    let within = pace::stretched(Duration::from_secs(30));
    guest.wait_since(said, "Kernel panic", &[Kind::Kernel], within)?;
    let event = guest
        .qmp
        .wait_event(mark, "WATCHDOG", |_| true, RESET_WITHIN)?;
    ensure(event.data["action"] == "reset", || {
        format!("the watchdog did {}", event.data)
    })?;
    guest.new_boot();
    guest.ready()?;
    let said = guest.serial.since(guest.begin);
    ensure(said.contains(TOLD), || {
        format!("the box does not say why it started: no `{TOLD}` on the serial line")
    })
}

fn incidents(machine: &mut Machine, kind: &str, expected: u64) -> Told<()> {
    let name = format!("ringpost_incidents{{kind=\"{kind}\"}}");
    let counted = machine.metric(&name)?;
    ensure(counted == expected as f64, || {
        format!("{name} is {counted}, not {expected}")
    })
}

/// In place of the unit's sixty seconds.
const ENGINE_PATIENCE_S: u64 = 20;
/// The image's `RuntimeWatchdogSec=30`, by the emulator's own clock.
const RESET_WITHIN: Duration = Duration::from_secs(60);
const TOLD: &str =
    "the kernel panicked (sysrq triggered crash) and the hardware watchdog reset the box";
