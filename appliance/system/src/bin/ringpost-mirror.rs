//! After a start, after updates, when a disk comes or goes: the other system disk is made to hold the same. Leaves what it
//! found for `update status` and the alarms. Exit status: 0 also when a disk is missing; that is an alarm, not a failure.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use files::Mode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use system::disk::Names;
use system::hands::{self, Machine};
use system::limits::COMPARE_EVERY_CS;
use system::mirror::{self, Report, Standing, Wish};
use system::{install, keep};

/// What one run leaves for the next; gone with the next start.
const BEFORE: &str = "/run/ringpost-mirror/before.json";
const REPORT: &str = "/run/ringpost/system-disks.json";
const STATE: &str = "/var/lib/ringpost";

#[derive(Default, Serialize, Deserialize)]
struct Before {
    restart: Option<String>,
    /// As `Machine::kept`, which lasts one run only.
    kept: BTreeMap<String, String>,
    /// They go to the journal once and not at each run.
    alarms: Vec<String>,
    /// When every byte was compared and was equal, as `Report::began`.
    compared: Option<u64>,
}

fn main() -> ExitCode {
    // The stick would take the disks that it has just written for its partners.
    if install::is_ordered() {
        println!("this is an installer: system disks are not mirrored");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringpost-mirror: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let began = mirror::now().map_err(io::Error::other)?;
    // One that cannot be read counts as none: at worst an alarm is repeated and every byte compared.
    let mut before: Before = read(Path::new(BEFORE)).unwrap_or_default();
    let add = take_order()?;
    let thorough = before
        .compared
        .is_none_or(|at| began.saturating_sub(at) > COMPARE_EVERY_CS);
    let wish = Wish {
        add: add.as_deref(),
        thorough,
    };
    let mut report = look(&mut before, wish);
    report.began = began;
    if report.restart.is_none()
        && let Some(earlier) = before.restart.take()
    {
        // Until the restart.
        report.alarms.push(earlier.clone());
        report.restart = Some(earlier);
    }
    for alarm in &report.alarms {
        if !before.alarms.contains(alarm) {
            println!("ALARM: {alarm}");
        }
    }
    let settled = |standing| matches!(standing, Standing::StartedFrom | Standing::Level);
    if !report.disks.is_empty() && report.disks.iter().all(|line| settled(line.standing)) {
        if thorough {
            before.compared = Some(began);
        }
        // Every disk has heard of the factory reset.
        let _ = fs::remove_file(Path::new(STATE).join(keep::FORGOTTEN)); // mostly there was none
    }
    before.restart = report.restart.clone();
    before.alarms = report.alarms.clone();
    // First what the next run needs: if the report cannot be written, an order that was carried out stays so.
    leave(Path::new(BEFORE), &before)?;
    leave(Path::new(REPORT), &report)
}

fn look(before: &mut Before, wish: Wish<'_>) -> Report {
    let names = Names::default();
    let refused = |why: &str| wish.add.map(|_| why.to_owned());
    let home = match hands::home(&names) {
        Ok(Some(home)) => home,
        Ok(None) => {
            return Report {
                refused: refused(
                    "this system was not booted from a disk, so there is nothing to copy",
                ),
                ..Report::default()
            };
        }
        Err(why) => {
            return Report {
                refused: refused(&why),
                alarms: vec![why],
                ..Report::default()
            };
        }
    };
    let mut machine = Machine {
        names,
        started: home.found.disk.clone(),
        kept: std::mem::take(&mut before.kept),
    };
    let report = mirror::run(&mut machine, &home, wish);
    before.kept = machine.kept;
    report
}

/// The disk that is to become a system disk; the order is carried out once.
fn take_order() -> io::Result<Option<PathBuf>> {
    let path = Path::new(mirror::ORDER);
    if !path.exists() {
        return Ok(None);
    }
    let order: Option<mirror::Order> = read(path);
    // Before it is carried out: an order that crashes the machine is not to do so at each start.
    fs::remove_file(path)?;
    Ok(order.map(|order| order.add))
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// The daemon reads it as its own user.
fn leave(path: &Path, value: &impl Serialize) -> io::Result<()> {
    files::replace(path, &serde_json::to_vec(value)?, Mode::Public)
}
