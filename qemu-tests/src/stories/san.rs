//! One leg in the box, the other one on a SAN that goes away and comes back.

use std::time::{Duration, Instant};

use crate::failure::{Told, ensure};
use crate::keep::Keep;
use crate::nvme_target::{self, NvmeTarget};
use crate::pace;
use crate::shape::{Bus, Disk, Shape};
use crate::stories::mail::more;
use crate::tgt::{self, Tgt};
use crate::world::{Machine, World, until};

/// What a story does to a target.
trait Away {
    /// The target loses its power.
    fn kill(&mut self);
    /// It returns with what it had.
    fn back(&mut self) -> Told<()>;
}

impl Away for Tgt {
    fn kill(&mut self) {
        Tgt::kill(self);
    }

    fn back(&mut self) -> Told<()> {
        Tgt::back(self)
    }
}

impl Away for NvmeTarget {
    fn kill(&mut self) {
        NvmeTarget::kill(self);
    }

    fn back(&mut self) -> Told<()> {
        NvmeTarget::back(self)
    }
}

pub fn leg_on_nvme_tcp(world: &mut World) -> Told<()> {
    let place = Keep::new(&world.directory, "nvme-target")?;
    let mut target = NvmeTarget::start(place.path(), LEG_BYTES)?;
    let settings = format!(
        "[[san]]\nkind = \"nvme-tcp\"\ntarget = \"{}\"\nhost = \"{}\"\naddress = [\"{}:{}\"]\nlegs = [\"{}\"]\n",
        nvme_target::NQN,
        nvme_target::HOST,
        tgt::GUEST_SEES,
        target.port(),
        nvme_target::LEG
    );
    let machine = world.boot(shape(nvme_target::LEG, settings))?;
    let told = world.told(machine, |machine| lost_and_returned(machine, &mut target));
    world.forget();
    told
}

pub fn leg_on_iscsi(world: &mut World) -> Told<()> {
    tgt::is_installed()?;
    let place = Keep::new(&world.directory, "iscsi-target")?;
    let mut target = Tgt::start(place.path(), LEG_BYTES, 1)?;
    let shape = shape(tgt::LEG, target.settings(tgt::LEG));
    let machine = world.boot(shape)?;
    let told = world.told(machine, |machine| lost_and_returned(machine, &mut target));
    world.forget();
    told
}

/// A target that hangs up on nobody is the worse one: nothing is refused, nothing comes.
pub fn san_hangs(world: &mut World) -> Told<()> {
    tgt::is_installed()?;
    let place = Keep::new(&world.directory, "iscsi-target")?;
    let target = Tgt::start(place.path(), LEG_BYTES, 1)?;
    let machine = world.boot(shape(tgt::LEG, target.settings(tgt::LEG)))?;
    let told = world.told(machine, |machine| {
        machine.wait_until_in_sync()?;
        let before = machine.ledger.acknowledged();
        let guest = machine.take();
        let guest = machine.ledger.under_load(guest, |guest| {
            more(&machine.ledger, before, 20)?;
            target.hang()?;
            // Those that were on their way, and a few that had begun.
            let (without, began) = (machine.ledger.acknowledged(), Instant::now());
            more(&machine.ledger, without, 50)
                .map_err(|failure| failure.during("delivering while the SAN hangs"))?;
            let waited = began.elapsed().as_secs();
            eprintln!("50 messages were acknowledged {waited} s after the target hung");
            Ok(guest)
        })?;
        machine.give_back(guest);
        machine.wait_for_legs("in_sync", 1)?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)?;
        target.go_on()?;
        wait_for_paths(machine, 1)?;
        machine.wait_until_in_sync()?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)?;
        guest.pull("leg-a")?;
        ledger
            .check(guest)
            .map_err(|failure| failure.during("served by the leg that hung"))
    });
    world.forget();
    told
}

/// Two doors of one target are one disk by a map.
pub fn two_paths_by_iscsi(world: &mut World) -> Told<()> {
    tgt::is_installed()?;
    let place = Keep::new(&world.directory, "iscsi-target")?;
    let mut target = Tgt::start(place.path(), LEG_BYTES, 2)?;
    let shape = shape(tgt::MAP, target.settings(tgt::MAP));
    let machine = world.boot(shape)?;
    let told = world.told(machine, |machine| {
        wait_for_paths(machine, 2)?;
        lost_and_returned(machine, &mut target)
    });
    world.forget();
    told
}

/// A machine with one leg in the box and `leg` on the SAN.
fn shape(leg: &str, settings: String) -> Shape {
    Shape {
        disks: vec![Disk::new("leg-a", Bus::Nvme, LEG_BYTES)],
        away: vec![leg.into()],
        settings,
        ..Shape::default()
    }
}

/// The target dies under load, returns, is away at a boot, and serves alone in the end.
fn lost_and_returned(machine: &mut Machine, target: &mut dyn Away) -> Told<()> {
    machine.wait_until_in_sync()?;
    let paths = paths(machine)?;
    ensure(
        !paths.is_empty() && paths.iter().all(|usable| *usable),
        || format!("mail is on a leg that no path leads to: {paths:?}"),
    )?;
    let (guest, ledger) = machine.both();
    ledger.fill(guest, 10, 4_000)?;
    // In mid-delivery.
    let before = machine.ledger.acknowledged();
    let guest = machine.take();
    let guest = machine.ledger.under_load(guest, |guest| {
        more(&machine.ledger, before, 20)?;
        target.kill();
        let without = machine.ledger.acknowledged();
        more(&machine.ledger, without, 50)
            .map_err(|failure| failure.during("delivering without the SAN"))?;
        Ok(guest)
    })?;
    machine.give_back(guest);
    machine.wait_for_legs("in_sync", 1)?;
    wait_for_paths(machine, 0)?;
    let (guest, ledger) = machine.both();
    ledger.check(guest)?;
    // Nobody is asked: it is given back to the engine by itself.
    target.back()?;
    wait_for_paths(machine, paths.len())?;
    machine.wait_until_in_sync()?;
    let (guest, ledger) = machine.both();
    ledger.check(guest)?;
    // A box that starts without its SAN serves what it has, and does not wait long for it.
    target.kill();
    let began = Instant::now();
    machine.reset()?;
    let waited = began.elapsed().as_secs();
    eprintln!("without its target the box was READY after {waited} s");
    let (guest, ledger) = machine.both();
    ledger
        .check(guest)
        .map_err(|failure| failure.during("after a start without the SAN"))?;
    ledger.fill(guest, 10, 4_000)?;
    target.back()?;
    wait_for_paths(machine, paths.len())?;
    machine.wait_until_in_sync()?;
    // What came back is whole: the local leg goes.
    let (guest, ledger) = machine.both();
    guest.pull("leg-a")?;
    ledger.fill(guest, 3, 2_000)?;
    ledger
        .check(guest)
        .map_err(|failure| failure.during("served by the leg on the SAN alone"))
}

/// Each path, and whether data can flow by it.
fn paths(machine: &mut Machine) -> Told<Vec<bool>> {
    let page = machine.page("/metrics")?;
    let lines = page.body.lines();
    Ok(lines
        .filter_map(|line| line.strip_prefix("ringpost_san_path{"))
        .map(|line| line.ends_with("} 1"))
        .collect())
}

/// Waits until `count` paths can carry data.
fn wait_for_paths(machine: &mut Machine, count: usize) -> Told<()> {
    let mut last = Vec::new();
    until(PATHS_WITHIN, || {
        last = paths(machine).unwrap_or_default();
        last.iter().filter(|usable| **usable).count() == count
    })
    .map_err(|failure| {
        let within = pace::stretched(PATHS_WITHIN).as_secs();
        failure.during(format!(
            "{count} usable paths within {within} s (they are {last:?})"
        ))
    })
}

const LEG_BYTES: u64 = 1 << 30;
/// Pings and time-outs of ten seconds together, and a minute between two attempts at most.
const PATHS_WITHIN: Duration = Duration::from_secs(90);
