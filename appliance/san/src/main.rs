//! `ringpost-san`: everything it decides is in the library. Runs as root for as long as the box does; the unit has it started
//! only where settings name targets.
#![forbid(unsafe_code)]

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use files::Mode;
use plan::san::Target;
use san::legs::Daemon;
use san::limits::{FIRST_LEGS_WITHIN, LEGS_WITHIN, SETTINGS_BYTES_MAX};
use san::system;
use san::watch::Watch;
use serde::Deserialize;

const ROOT: &str = "/";
/// `ringpost-boot` leaves the targets there, with their secrets.
const SETTINGS: &str = "/run/ringpost-san/san.toml";
const STATE: &str = "/var/lib/ringpost";
/// The engine's, of the verbs: a leg that came back is attached by the same request that an operator would make.
const SOCKET: &str = "/var/lib/ringpost/control.sock";

#[derive(Deserialize)]
struct Settings {
    san: Vec<Target>,
}

fn main() -> ExitCode {
    let targets = match read() {
        Ok(targets) => targets,
        Err(why) => {
            eprintln!("ringpost-san: {why}");
            return ExitCode::FAILURE;
        }
    };
    // Trouble with one kind of target keeps no other from being connected, and the engine starts without the missing legs in any case.
    for trouble in system::prepare(&targets) {
        eprintln!("ringpost-san: {trouble}");
    }
    let mut watch = Watch::new(
        targets,
        patience(),
        Arc::new(system::connect),
        Instant::now(),
    );
    let engine = Daemon {
        socket: Path::new(SOCKET),
    };
    let mut before = None;
    loop {
        // until the box goes off
        let turn = watch.turn(Path::new(ROOT), &engine, Instant::now());
        for sentence in &turn.said {
            eprintln!("ringpost-san: {sentence}");
        }
        // Only when it changed: the file is replaced with a flush, and this turns every few seconds for years.
        if before.as_ref() != Some(&turn.why) {
            leave(&turn.why);
            before = Some(turn.why);
        }
        if turn.ready {
            system::tell_ready();
        }
        std::thread::sleep(turn.wait);
    }
}

/// The sentences that TOML's errors quote from the file may hold a secret: only what is wrong is reported.
fn read() -> Result<Vec<Target>, String> {
    let told = |what: &dyn std::fmt::Display| format!("{SETTINGS}: {what}");
    let file = std::fs::File::open(SETTINGS).map_err(|error| told(&error))?;
    let mut text = String::new();
    // Bounded although our own program wrote it: it is read as root.
    file.take(SETTINGS_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| told(&error))?;
    let settings: Settings = toml::from_str(&text).map_err(|error| told(&error.message()))?;
    Ok(settings.san)
}

/// How long the engine waits for us: what is looked for is the record of a volume (`witness-…`).
fn patience() -> Duration {
    let entries = std::fs::read_dir(STATE).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name());
    // A volume has a leg that is here in most boxes, and people wait for it. A volume that is still to be made needs all legs, and has no mail yet.
    match names.any(|name| name.to_string_lossy().starts_with("witness-")) {
        true => LEGS_WITHIN,
        false => FIRST_LEGS_WITHIN,
    }
}

/// For `status`, the console and `disks`.
fn leave(why: &std::collections::BTreeMap<String, String>) {
    let path = Path::new(ROOT).join(hardware::san::WHY);
    let left = serde_json::to_string(why)
        .map_err(std::io::Error::from)
        .and_then(|text| files::replace(&path, text.as_bytes(), Mode::Public));
    if let Err(error) = left {
        eprintln!("ringpost-san: {}: {error}", path.display());
    }
}
