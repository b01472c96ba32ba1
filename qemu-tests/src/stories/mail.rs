//! Mail in and out, and what disks do to it.

use std::time::{Duration, Instant};

use crate::connect;
use crate::failure::{Doing, Failure, Told, ensure};
use crate::guest::SMTP;
use crate::ledger::reply_within;
use crate::settings;
use crate::shape::{Bus, Disk, Fault, Io, Shape};
use crate::world::{Machine, World, until};

/// A machine boots and takes mail, which is read back.
pub fn boot_to_mail(world: &mut World) -> Told<()> {
    let machine = world.boot(Shape::default())?;
    world.told(machine, |machine| {
        let ready = machine.page("/readyz")?;
        ensure(ready.status == 200, || format!("/readyz: {ready:?}"))?;
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 10, 2_000)?;
        ledger.fill(guest, 1, 300_000)?;
        ledger.check(guest)?;
        let memory = guest.memory() >> 20;
        eprintln!("QEMU holds {memory} MiB for this guest");
        machine.wait_until_in_sync()
    })
}

/// One leg fails at writing and then the other at reading: no mail is lost, and a leg that lacks mail does not count.
pub fn read_and_write_errors(world: &mut World) -> Told<()> {
    let machine = world.running()?;
    world.told(machine, |machine| {
        let (guest, ledger) = machine.both();
        guest.inject("leg-b", &[Fault::always(Io::Write)])?;
        ledger
            .fill(guest, 20, 4_000)
            .map_err(|failure| failure.during("with leg-b unwritable"))?;
        ledger.check(guest)?;
        a_leg_does_not_count(machine)?;
        machine.guest().heal("leg-b")?;
        // A restart forgets what memory holds, so that reading means reading from a leg.
        machine.reset()?;
        machine.wait_until_in_sync()?;
        let (guest, ledger) = machine.both();
        guest.inject("leg-a", &[Fault::always(Io::Read)])?;
        ledger
            .check(guest)
            .map_err(|failure| failure.during("with leg-a unreadable"))?;
        ledger.fill(guest, 5, 4_000)?;
        guest.heal("leg-a")?;
        ensure(faults(machine, "read")? > 0.0, || {
            "no read ever met the injected errors: the story proves nothing".into()
        })?;
        // What was written again to mend it could not be read either.
        a_leg_does_not_count(machine)?;
        machine.reset()?;
        machine.wait_until_in_sync()?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)
    })
}

/// At least one leg is not in sync.
fn a_leg_does_not_count(machine: &mut Machine) -> Told<()> {
    let legs = machine.legs()?;
    ensure(legs.iter().any(|leg| leg != "in_sync"), || {
        format!("a leg that cannot hold what it should is still counted: {legs:?}")
    })
}

/// Faults of a kind (`read`, `write`) that the legs have met since the start, all together.
fn faults(machine: &mut Machine, kind: &str) -> Told<f64> {
    let page = machine.page("/metrics")?;
    let name = format!("ringpost_leg_{kind}_faults_total");
    let mut sum = 0.0;
    for leg in 0..settings::legs(&machine.site.shape).count() {
        sum += crate::http::sample(&page.body, &format!("{name}{{leg=\"{leg}\"}}")).unwrap_or(0.0);
    }
    Ok(sum)
}

/// A leg is pulled while mail comes in, and returns; afterwards it serves alone.
pub fn leg_lost_mid_delivery_and_returned(world: &mut World) -> Told<()> {
    let machine = world.running()?;
    world.told(machine, |machine| {
        let leg_b = leg(machine, "leg-b")?;
        let before = machine.ledger.acknowledged();
        let guest = machine.take();
        let guest = machine.ledger.under_load(guest, |mut guest| {
            more(&machine.ledger, before, 10)?;
            guest.pull("leg-b")?;
            let without = machine.ledger.acknowledged();
            more(&machine.ledger, without, 20)
                .map_err(|failure| failure.during("delivering without leg-b"))?;
            guest.put_back(&leg_b)?;
            more(&machine.ledger, machine.ledger.acknowledged(), 10)?;
            Ok(guest)
        })?;
        machine.give_back(guest);
        ensure(machine.legs()?.iter().any(|leg| leg != "in_sync"), || {
            "a leg was pulled and this was not noticed".into()
        })?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)?;
        machine.reset()?;
        machine.wait_until_in_sync()?;
        // What came back is whole: the other half goes, and it serves alone.
        let leg_a = leg(machine, "leg-a")?;
        let (guest, ledger) = machine.both();
        guest.pull("leg-a")?;
        ledger.fill(guest, 3, 2_000)?;
        ledger
            .check(guest)
            .map_err(|failure| failure.during("served by the returned leg alone"))?;
        guest.put_back(&leg_a)?;
        Ok(())
    })
}

/// The disk of this name.
fn leg(machine: &Machine, name: &str) -> Told<Disk> {
    machine
        .site
        .shape
        .disk(name)
        .cloned()
        .ok_or_else(|| Failure::new(format!("the shape has no {name}")))
}

/// Waits until `count` more messages than `before` have been acknowledged.
pub fn more(ledger: &crate::ledger::Ledger, before: usize, count: usize) -> Told<()> {
    until(Duration::from_secs(60), || {
        ledger.acknowledged() >= before + count
    })
    .map_err(|failure| failure.during(format!("{count} more acknowledged messages")))
}

/// A full volume refuses for now, and what was accepted stays readable across a reset.
pub fn disk_full(world: &mut World) -> Told<()> {
    let shape = Shape {
        disks: vec![
            Disk::new("leg-a", Bus::Virtio, SMALL_LEG),
            Disk::new("leg-b", Bus::Virtio, SMALL_LEG),
        ],
        ..Shape::default()
    };
    let machine = world.boot(shape)?;
    world.told(machine, |machine| {
        let refused = fill_up(machine)?;
        ensure(refused.starts_with('4'), || {
            format!("a full disk is answered with {refused}")
        })?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)?;
        machine.reset()?;
        let (guest, ledger) = machine.both();
        ledger
            .check(guest)
            .map_err(|failure| failure.during("after a reset of the full machine"))
    })
}

/// The smallest leg that still takes some mail.
const SMALL_LEG: u64 = 256 << 20;

/// Sends until a message is refused; what the refusal said.
fn fill_up(machine: &mut Machine) -> Told<String> {
    let (guest, ledger) = machine.both();
    let mut smtp = connect::smtp(guest.at(SMTP), reply_within()).doing("connecting by SMTP")?;
    for _ in 0..SMALL_LEG / LARGE as u64 * 2 {
        let reply = ledger.send(&mut smtp, LARGE).doing("filling the legs")?;
        if !reply.is_ok() {
            return Ok(format!("{} {}", reply.code, reply.lines.join(" / ")));
        }
    }
    Err(Failure::new("twice the legs' size was accepted"))
}

/// Of random letters, so compression saves a quarter at most.
const LARGE: usize = 1 << 20;

/// The load is the ledger's own: `ledger::SENDERS` connections, messages of 300 to 8,000 bytes, one at a time each. Nothing is
/// asserted of the figures (they are the machine's), but that nothing acknowledged under full load is lost.
pub fn accept_rate(world: &mut World) -> Told<()> {
    let machine = world.running()?;
    world.told(machine, |machine| {
        let before = machine.ledger.acknowledged();
        let guest = machine.take();
        let guest = machine.ledger.under_load(guest, |guest| {
            more(&machine.ledger, before, WARM_UP)?;
            let (count, cpu, began) = (machine.ledger.acknowledged(), guest.cpu(), Instant::now());
            std::thread::sleep(RATED_FOR);
            let count = machine.ledger.acknowledged() - count;
            let (cpu, wall) = ((guest.cpu() - cpu).as_secs_f64(), began.elapsed().as_secs_f64());
            ensure(count > 0, || "nothing was accepted under load".into())?;
            eprintln!(
                "accepted {count} messages in {wall:.1} s: {:.0} a second; the emulator worked {cpu:.1} s: {:.0} per second of its work",
                count as f64 / wall,
                count as f64 / cpu
            );
            Ok(guest)
        })?;
        machine.give_back(guest);
        let idle = machine.guest().cpu();
        std::thread::sleep(IDLE_FOR);
        let idle = (machine.guest().cpu() - idle).as_secs_f64() / IDLE_FOR.as_secs_f64();
        eprintln!("idle, the emulator works {:.0} % of one CPU", idle * 100.0);
        let (guest, ledger) = machine.both();
        ledger.check(guest)?;
        machine.wait_until_in_sync()
    })
}

/// Caches are filled and code is translated by then.
const WARM_UP: usize = 200;
/// How long the rate is measured.
const RATED_FOR: Duration = Duration::from_secs(15);
/// How long the machine is left alone before that.
const IDLE_FOR: Duration = Duration::from_secs(5);
