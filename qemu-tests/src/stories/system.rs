//! Two system disks, one of them lost.

use std::time::Duration;

use serde_json::Value;

use crate::failure::{Doing, Failure, Told, ensure};
use crate::guest::{Guest, HTTPS};
use crate::keep;
use crate::ledger::reply_within;
use crate::limits::BOOT_MAX;
use crate::pace;
use crate::releases::{BASE, NEXT, Releases};
use crate::settings;
use crate::shape::{Boot, Bus, By, Credential, Disk, Shape};
use crate::world::{Machine, World, until};

/// ESP and state partition, with room.
const DISK_BYTES: u64 = 1_280 << 20;
/// The credential that orders an installation.
const ORDER: &str = "ringpost.install";
/// From the order to the end of QEMU.
const OFF_WITHIN: Duration = Duration::from_secs(60);
/// From READY to the name without a counter on both disks: a mail round trip, and a look at the disks.
const LEVEL_WITHIN: Duration = Duration::from_secs(120);

/// Two system disks of equal content; one is lost, and another takes its place.
pub fn second_system_disk(world: &mut World) -> Told<()> {
    tell(world, Shape::default())
}

/// As `second_system_disk`, with the state sealed to a TPM.
pub fn second_system_disk_sealed(world: &mut World) -> Told<()> {
    let shape = Shape {
        tpm: true,
        ..Shape::default()
    };
    tell(world, shape)
}

/// The story on one shape.
fn tell(world: &mut World, shape: Shape) -> Told<()> {
    let releases = world.releases()?;
    let mut shape = settings::provisioned_with(shape, By::Smbios, &releases.tool.settings()?);
    for (name, start) in [("sys-a", 2), ("sys-b", 3)] {
        let mut disk = Disk::new(name, Bus::Nvme, DISK_BYTES);
        disk.start = Some(start);
        shape.disks.push(disk);
    }
    let order: Vec<String> = shape.disks[2..].iter().map(Disk::by_id).collect();
    shape
        .credentials
        .push(Credential::new(ORDER, order.join("\n"), By::Smbios));
    let machine = world.machine_with(&releases.base, shape)?;
    world.told(machine, |machine| {
        install(machine)?;
        machine.boot()?;
        let tool = &releases.tool;
        tool.believe(machine.guest().at(HTTPS), reply_within())?;
        update(machine, &releases)?;
        lose_the_first(machine, &releases)?;
        replace_it(machine, &releases)?;
        start_from_the_new_one(machine, &releases)
    })
}

/// From the stick, and without it afterwards.
fn install(machine: &mut Machine) -> Told<()> {
    let mut guest = Guest::start(&machine.site)?;
    guest.wait("RINGPOST INSTALLED", &[], BOOT_MAX)?;
    guest.wait_for_end(pace::stretched(OFF_WITHIN))?;
    machine.site.boot = Boot::OwnDisks;
    machine
        .site
        .shape
        .credentials
        .retain(|credential| credential.name != ORDER);
    Ok(())
}

/// An update reaches both disks.
fn update(machine: &mut Machine, releases: &Releases) -> Told<()> {
    level(machine, releases, &[BASE])?;
    let (guest, ledger) = machine.both();
    ledger.fill(guest, 10, 3_000)?;
    let at = guest.at(HTTPS);
    // A leg is nobody's system disk.
    let leg = Disk::new("leg-a", Bus::Nvme, 0).by_id();
    let why = releases
        .tool
        .refused(at, &["disks", "system", "add", &leg, "--yes"])?;
    ensure(why.contains("2 system disks"), || why.clone())?;
    let image = releases.next.to_string_lossy().into_owned();
    let said = releases.tool.done(at, &["update", "apply", &image])?;
    ensure(said.contains("all system disks are identical"), || {
        format!("`update apply` says: {said}")
    })?;
    machine.guest().new_boot();
    releases.tool.done(at, &["reboot"])?;
    machine.ready()?;
    level(machine, releases, &[BASE, NEXT])?;
    eprintln!(
        "{}",
        releases
            .tool
            .done(machine.guest().at(HTTPS), &["update", "status"])?
    );
    Ok(())
}

/// While it runs: mail goes on, the alarm says what to do, and a reset starts from the other one.
fn lose_the_first(machine: &mut Machine, releases: &Releases) -> Told<()> {
    let (guest, ledger) = machine.both();
    ledger.fill(guest, 5, 3_000)?;
    guest.pull("sys-a")?;
    ledger.fill(guest, 5, 3_000)?;
    alarm(machine, releases, "is gone: restart")?;
    machine.reset()?;
    state_was_there(machine)?;
    // The certificate is the one that was believed: settings, state and version came along.
    let running = status(machine, releases)?["running"].clone();
    ensure(running == NEXT, || format!("{running} runs"))?;
    let (guest, ledger) = machine.both();
    ledger.check(guest)?;
    ledger.fill(guest, 5, 3_000)?;
    alarm(machine, releases, "is missing")
}

/// The state partition that this start came with had been made and written by the other disk's system.
fn state_was_there(machine: &mut Machine) -> Told<()> {
    let how = match machine.site.shape.tpm {
        true => "state partition: sealed to the TPM, as it was",
        false => "state partition: not sealed, as it was",
    };
    let guest = machine.guest();
    let said = guest.serial.since(guest.begin);
    ensure(said.contains(how), || {
        format!("the console does not say `{how}`")
    })
}

/// A blank disk takes the place of the lost one, and a leg does not.
fn replace_it(machine: &mut Machine, releases: &Releases) -> Told<()> {
    let at = machine.guest().at(HTTPS);
    let leg = Disk::new("leg-a", Bus::Nvme, 0).by_id();
    let why = releases
        .tool
        .refused(at, &["disks", "system", "add", &leg, "--yes"])?;
    ensure(why.contains("in use"), || why.clone())?;
    let fresh = Disk::new("sys-c", Bus::Nvme, DISK_BYTES);
    keep::blank(&machine.site.disk("sys-c"), DISK_BYTES)?;
    machine.guest().plug_in(&fresh, "sys-a")?;
    let words = ["disks", "system", "add", &fresh.by_id(), "--yes"];
    let mut last = Failure::new("never tried");
    until(Duration::from_secs(60), || {
        // udev names it by and by.
        match releases.tool.done(at, &words) {
            Ok(said) => {
                eprintln!("$ ringpostctl {}\n{said}", words.join(" "));
                true
            }
            Err(failure) => {
                last = failure;
                false
            }
        }
    })
    .map_err(|failure| last.clone().during(failure))?;
    level(machine, releases, &[BASE, NEXT])?;
    let why = releases.tool.refused(at, &words)?;
    ensure(why.contains("2 system disks"), || why.clone())
}

/// And it is whole: the box starts from it alone.
fn start_from_the_new_one(machine: &mut Machine, releases: &Releases) -> Told<()> {
    machine.cut_power();
    let disks = &mut machine.site.shape.disks;
    disks.retain(|disk| !disk.name.starts_with("sys-"));
    let mut fresh = Disk::new("sys-c", Bus::Nvme, DISK_BYTES);
    fresh.start = Some(2);
    disks.push(fresh);
    machine.boot()?;
    state_was_there(machine)?;
    let running = status(machine, releases)?["running"].clone();
    ensure(running == NEXT, || format!("{running} runs"))?;
    let (guest, ledger) = machine.both();
    ledger.check(guest)?;
    ledger.fill(guest, 5, 3_000)?;
    ledger.check(guest)?;
    machine.wait_until_in_sync()
}

/// What `update status` reports.
fn status(machine: &mut Machine, releases: &Releases) -> Told<Value> {
    told(machine, releases, &["update", "status", "--json"])
}

/// The JSON of a command.
fn told(machine: &mut Machine, releases: &Releases, words: &[&str]) -> Told<Value> {
    let text = releases.tool.done(machine.guest().at(HTTPS), words)?;
    serde_json::from_str(&text).doing(words.join(" "))
}

/// Both disks hold these versions, blessed, and nothing else; nobody has an alarm about them.
fn level(machine: &mut Machine, releases: &Releases, versions: &[&str]) -> Told<()> {
    let wanted: Vec<String> = versions
        .iter()
        .map(|version| format!("ringpost_{version}.efi"))
        .collect();
    let mut last = Value::Null;
    until(LEVEL_WITHIN, || {
        last = told(machine, releases, &["update", "sync", "--json"]).unwrap_or_default();
        let disks = last["system_disks"].as_array().cloned().unwrap_or_default();
        disks.len() == 2
            && disks[0]["standing"] == "started_from"
            && disks[1]["standing"] == "level"
            && disks
                .iter()
                .all(|disk| disk["slots"] == Value::from(wanted.clone()))
    })
    .map_err(|failure| failure.during(format!("both disks hold {wanted:?}: {last:#}")))?;
    let status = told(machine, releases, &["status", "--json"])?;
    ensure(
        !status["alarms"].to_string().contains("system disk"),
        || format!("an alarm about level disks: {status:#}"),
    )
}

/// Waits for an alarm with these words.
fn alarm(machine: &mut Machine, releases: &Releases, words: &str) -> Told<()> {
    let mut last = Value::Null;
    until(LEVEL_WITHIN, || {
        last = told(machine, releases, &["status", "--json"]).unwrap_or_default();
        last["alarms"].to_string().contains(words)
    })
    .map_err(|failure| failure.during(format!("an alarm `{words}` in {last:#}")))
}
