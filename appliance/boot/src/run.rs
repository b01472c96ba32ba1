//! Everything in order: settings, profile, tuning, network, report.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hardware::Difference;
use plan::place::place;
use plan::{Machine, Misfit, Profile, Settings, Shape};

use crate::derive::{Chosen, chosen, daemon_text, legs};
use crate::find::{self, APPLIED, Found};
use crate::last_end;
use crate::limits::LOOK_EVERY;
use crate::network;
use crate::report::{self, ProfileReport, Report};
use crate::san;
use crate::selftest::{self, below};
use crate::serve;
use crate::settle;
use crate::world::{SETTINGS, World};
use crate::write::{Mode, hand_over, replace};

const COMMAND_LINE: &str = "run/ringpost/cmdline";
const WATCHDOG: &str = "run/systemd/system.conf.d/50-ringpost-profile.conf";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The daemon may start.
    Ready,
    /// There are no settings yet: the set-up screen asks.
    NoSettings,
    /// Settings are there, and wrong or not to be carried out.
    Refused,
}

/// Does it all. The report is written whatever the outcome.
pub fn run(world: &World) -> (Outcome, Report) {
    let fresh = || Report {
        version: hardware::image_version(&world.root)
            .unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        shape: hardware::probe(&world.root),
        ..Report::default()
    };
    let mut report = fresh();
    // Settings on probation get one try. If they cannot be carried out, everything is done again with the previous ones in the same boot: a
    // box that cannot be reached helps nobody.
    let mut outcome = live(world, &mut report, true);
    if let (Err(misfit), true) = (&outcome, report.on_probation) {
        let alarm = serve::cannot_be_carried_out(world, misfit);
        report = fresh();
        report.alarms.push(alarm);
        outcome = live(world, &mut report, false);
    }
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(misfit) => {
            report.refused = Some(misfit.to_string());
            Outcome::Refused
        }
    };
    // Late: by now the watchdog's driver is there.
    last_end::judge(&world.root, world.now, &mut report);
    if let Err(misfit) = write_report(world, &report) {
        report.alarms.push(misfit.to_string());
    }
    (outcome, report)
}

/// `candidate`: settings on probation may be tried.
fn live(world: &World, report: &mut Report, candidate: bool) -> Result<Outcome, Misfit> {
    let root = world.root.as_path();
    // A factory reset is asked for by a running box and done by the next start, before anything has opened what it removes.
    if find::forget(root)? {
        report
            .alarms
            .push("the requested factory reset is done; mail is still on the legs".into());
    }
    let mut found = find::find(root, world.credentials.as_deref(), || (world.usb)())?;
    if candidate && let Some(tried) = serve::at_boot(world, found.as_ref(), report) {
        report.on_probation = true;
        found = Some(tried);
    }
    let Some(found) = found else {
        // Reached by network for whoever sets it up, and tuned like any machine.
        write_files(
            world,
            report,
            network::files(None, &plan::site::Time::default()),
        )?;
        tune(world, report, None)?;
        return Ok(Outcome::NoSettings);
    };
    report.settings = Some(found.from.words().to_owned());
    let name = found.path.display().to_string();
    let settings = Settings::parse_before_legs(&name, &found.text)?;
    report.server_name = Some(settings.server.name.clone());
    // Before anything is done with them: what a stick held must be there at the next boot, when the stick is not.
    let found = keep(world, found, report)?;
    // The network first: what is wrong below is then seen from afar as well. What an earlier run wrote is not to be mixed in.
    network::forget(root)?;
    write_files(
        world,
        report,
        network::files(settings.network.as_ref(), &settings.time),
    )?;
    if let Err(misfit) = network::set_host_name(root, &settings.server.name) {
        report.alarms.push(misfit.to_string());
    }
    san::hand_on(root, &found, &settings)?;
    // A disk that the kernel has not found yet would change the choice of a profile, and which CPUs are near.
    await_named(world, &settings);
    report.shape = san::promised(hardware::probe(root), &settings);
    let profile = tune(world, report, settings.server.profile.as_deref())?;
    let legs = legs(world, &settings, &profile, report)?;
    write_for_daemon(world, &found, &settings, &profile, &legs, report)?;
    let shape = san::promised(hardware::probe(root), &settings);
    let findings = selftest::look(root, &settings, &shape, &legs, world.now);
    report.shape = shape;
    report.legs = legs;
    report.missing.extend(findings.missing);
    report.alarms.extend(findings.alarms);
    Ok(Outcome::Ready)
}

/// Hashes passwords that came in files, and keeps what was handed over once.
fn keep(world: &World, found: Found, report: &mut Report) -> Result<Found, Misfit> {
    let (text, passwords) = settle::with_hashes(&found)?;
    let kept = Found { text, ..found };
    if kept.from.is_kept() {
        let path = world.root.join(APPLIED);
        replace(&path, &kept.text, Mode::Private)?;
        hand_over(&world.root, &path)?;
    }
    // Only now: their hashes are durable, or come again with the next credential.
    for password in passwords {
        if let Err(error) = std::fs::remove_file(&password) {
            report.alarms.push(format!(
                "{} holds a password and cannot be removed ({error}): remove it",
                password.display()
            ));
        }
    }
    Ok(kept)
}

/// Tunes once more what came after `run`: cards ask for their interrupts when they are brought up, disks are plugged in. The
/// profile and the CPUs stay those of the boot; what does not hold now is what the report says afterwards.
pub fn again(world: &World) -> Result<Report, Misfit> {
    let root = world.root.as_path();
    let path = root.join(report::PATH);
    let told = |error: &dyn std::fmt::Display| Misfit::new(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| told(&error))?;
    let mut report: Report = serde_json::from_str(&text).map_err(|error| told(&error))?;
    // No profile was chosen, because the boot failed before that: there is nothing to tune by.
    let Some(chosen) = &report.profile else {
        return Ok(report);
    };
    let profiles = Profile::all(&root.join(plan::profile::DIRECTORY))?;
    let profile = match profiles
        .into_iter()
        .find(|profile| profile.name == chosen.name)
    {
        Some(profile) => profile,
        None => Profile::load(&chosen.name)?,
    };
    let shape = hardware::probe(root);
    let steps = hardware::steps(root, &profile, &shape, &chosen.placement);
    let differences = hardware::apply(root, &steps);
    let tuned = |difference: &Difference| {
        let mut paths = steps.iter().map(|step| Path::new("/").join(&step.path));
        paths.any(|path| path == Path::new(&difference.what))
    };
    // What is not a step (the command line, the watchdog) stands as the boot found it.
    report.differences.retain(|difference| !tuned(difference));
    report.differences.extend(differences);
    report.shape = shape;
    write_report(world, &report)?;
    Ok(report)
}

/// Chooses the profile, applies it and says what does not hold.
fn tune(world: &World, report: &mut Report, pinned: Option<&str>) -> Result<Profile, Misfit> {
    let root = world.root.as_path();
    let Chosen { profile, name, why } = chosen(root, &report.shape, pinned)?;
    let placement = place(&profile.zones, &Machine::whole(&report.shape))?;
    let command_line = hardware::command_line(&profile, &placement);
    // Each step is read back when it was made: a file of the kernel may take a value and not do it.
    let steps = hardware::steps(root, &profile, &report.shape, &placement);
    report.differences = hardware::apply(root, &steps);
    report
        .differences
        .extend(hardware::apply::check_command_line(root, &command_line));
    if let Some(queues) = hardware::tune::nic_queues(&profile, &placement) {
        set_queues(world, report, queues)?;
    }
    if let Some(timeout) = profile.watchdog.timeout {
        set_watchdog(world, report, timeout.0)?;
    }
    replace(
        &root.join(COMMAND_LINE),
        &format!("{}\n", command_line.join(" ")),
        Mode::Public,
    )?;
    report.profile = Some(ProfileReport {
        name,
        why,
        pinned: pinned.is_some(),
        placement,
        command_line,
    });
    Ok(profile)
}

/// Queue pairs are udev's to set: it reads our file when it looks at the card again.
fn set_queues(world: &World, report: &mut Report, queues: u64) -> Result<(), Misfit> {
    let wrong = |shape: &Shape| -> Vec<(String, u64)> {
        let nics = shape.nics.iter();
        nics.filter(|nic| nic.queues as u64 != queues)
            .map(|nic| (nic.mac.clone(), queues))
            .collect()
    };
    let cards = wrong(&report.shape);
    if cards.is_empty() {
        return Ok(());
    }
    write_files(world, report, network::queue_files(&cards))?;
    let trigger = [
        "trigger",
        "--action=add",
        "--subsystem-match=net",
        "--settle",
    ];
    let why = (world.command)("udevadm", &trigger)
        .err()
        .unwrap_or_default();
    report.shape = hardware::probe(&world.root);
    for nic in &report.shape.nics {
        if nic.queues as u64 != queues {
            report.differences.push(Difference {
                key: "nic.queues".into(),
                what: nic.name.clone(),
                promised: queues.to_string(),
                found: nic.queues.to_string(),
                why: why.clone(),
            });
        }
    }
    Ok(())
}

/// systemd feeds the watchdog; it reads our file on request.
fn set_watchdog(world: &World, report: &mut Report, timeout: Duration) -> Result<(), Misfit> {
    let watchdog = world.root.join("sys/class/watchdog/watchdog0");
    let read = |file: &str| {
        let text = std::fs::read_to_string(watchdog.join(file)).unwrap_or_default();
        text.trim().to_owned()
    };
    let wanted = timeout.as_secs().to_string();
    if !watchdog.exists() {
        report.differences.push(Difference {
            key: "watchdog.timeout".into(),
            what: "/sys/class/watchdog/watchdog0".into(),
            promised: wanted,
            found: String::new(),
            why: "this machine does not have a watchdog".into(),
        });
        return Ok(());
    }
    let mut why = String::new();
    // Asked first, so that an ordinary boot does not have systemd read its configuration again.
    if read("timeout") != wanted || read("state") != "active" {
        let file = (
            WATCHDOG.to_owned(),
            format!("[Manager]\nRuntimeWatchdogSec={wanted}\n"),
        );
        write_files(world, report, [file].into())?;
        why = (world.command)("systemctl", &["daemon-reload"])
            .err()
            .unwrap_or_default();
    }
    if read("timeout") != wanted {
        report.differences.push(Difference {
            key: "watchdog.timeout".into(),
            what: "/sys/class/watchdog/watchdog0/timeout".into(),
            promised: wanted,
            found: read("timeout"),
            why,
        });
    }
    Ok(())
}

/// Waits until the disks that the settings name have appeared, or long enough. Not for those on a SAN: there is no network yet,
/// and `ringpost-san` waits for them.
fn await_named(world: &World, settings: &Settings) {
    let begin = Instant::now();
    let named = settings.volume.legs.get_ref().iter();
    let named = named.chain(&settings.spool.legs);
    let absent = |leg: &&PathBuf| {
        leg.starts_with("/dev") && !san::holds(settings, leg) && !below(&world.root, leg).exists()
    };
    while named.clone().any(|leg| absent(&leg)) && begin.elapsed() < world.wait {
        std::thread::sleep(LOOK_EVERY);
    }
}

fn write_for_daemon(
    world: &World,
    found: &Found,
    settings: &Settings,
    profile: &Profile,
    legs: &[String],
    report: &Report,
) -> Result<(), Misfit> {
    let text = daemon_text(&world.root, found, settings, profile, legs, &report.shape)?;
    let path = world.root.join(SETTINGS);
    replace(&path, &text, Mode::Private)?;
    hand_over(&world.root, &path)?;
    // The daemon leaves word there for the system (reboot, power off).
    hand_over(&world.root, path.parent().unwrap_or(&world.root))
}

fn write_files(world: &World, report: &mut Report, files: network::Files) -> Result<(), Misfit> {
    for (path, text) in files {
        replace(&world.root.join(&path), &text, Mode::Public)?;
        report.files.push(format!("/{path}"));
    }
    Ok(())
}

fn write_report(world: &World, report: &Report) -> Result<(), Misfit> {
    let text = serde_json::to_string_pretty(report)
        .map_err(|error| Misfit::new(format!("cannot write the report: {error}")))?;
    replace(
        &world.root.join(report::PATH),
        &format!("{text}\n"),
        Mode::Public,
    )
}

#[cfg(test)]
mod tests;
