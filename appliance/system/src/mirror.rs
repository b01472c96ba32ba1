//! The other system disk is kept alive: every ESP of this installation holds what the one has that the box was started from,
//! and so do the few files of the state partition that make the box itself (`keep.rs`).
//!
//! Runs after a start, after every update, when a disk comes or goes, and now and then (`ringpost-mirror`). What must hold:
//! a disk is written only when the record of the leading disk lists it (`record.rs`); the leading one is the one
//! with the highest revision, and of equals the one that the box was started from; a disk that is missing or fails holds
//! no start up, and is reported.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::level;
use crate::limits::INSTALL_DISKS_MAX;
use crate::record::{Member, Record};

/// Below the root: what the last look found.
pub const PATH: &str = "run/ringpost/system-disks.json";

/// An order to make a disk a system disk (`Order`), left by the updater beside the daemon's requests.
pub const ORDER: &str = "/run/ringpost/update/add.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The blank disk, as a path below `/dev`.
    pub add: PathBuf,
}

/// Hundredths of a second since power-on.
pub fn now() -> Result<u64, String> {
    let path = "/proc/uptime";
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let uptime = text.split_whitespace().next().unwrap_or_default();
    uptime
        .replace('.', "")
        .parse()
        .map_err(|error| format!("{path}: {error}"))
}

/// An ESP of ours, by its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The kernel's name of its disk.
    pub disk: String,
    /// GPT identifier of the ESP.
    pub esp: String,
    /// For people.
    pub name: String,
}

/// What happens on real disks; folders in tests.
pub trait Hands {
    /// ESPs other than the one that the box was started from.
    fn others(&mut self) -> Vec<Found>;
    /// Mounts it, and says where.
    fn open(&mut self, found: &Found, write: bool) -> Result<PathBuf, String>;
    fn close(&mut self, found: &Found) -> Result<(), String>;
    /// Partitions a blank disk and puts everything on it that the started one has.
    fn make(&mut self, path: &Path) -> Result<Found, String>;
    /// Makes its state partition hold what makes this box, or ours what its holds.
    fn keep(&mut self, found: &Found, way: Way) -> Result<(), String>;
}

/// Which way the few files of the state partition go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the disk that the box was started from to the other.
    To,
    /// From the other disk to the one that the box was started from.
    From,
}

/// How a system disk stands to the one that the box was started from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The box was started from it.
    StartedFrom,
    /// It holds the same.
    Level,
    /// It is there and does not hold the same; `why` says why not.
    Behind,
    /// The record lists it, and it is not there.
    #[default]
    Missing,
    /// It is no longer a system disk of this box; never written to.
    Foreign,
}

/// One system disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The kernel's name; empty where it is missing.
    pub disk: String,
    /// Its name below `/dev/disk/by-id`.
    pub name: String,
    /// How it stands to the one that the box was started from.
    pub standing: Standing,
    pub why: Option<String>,
    /// What the boot loader counts in, on it.
    pub slots: Vec<String>,
}

/// What `ringpost-mirror` found, as `PATH` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Hundredths of a second since power-on, when the look began: by the clock of `/proc/uptime`, which is never set.
    pub began: u64,
    /// Every system disk, the one that the box was started from first.
    pub disks: Vec<Line>,
    /// A sentence for each thing that needs an action.
    pub alarms: Vec<String>,
    /// The box runs an old state of the disk that it was started from.
    pub restart: Option<String>,
    /// Why a disk was not made a system disk, when that was ordered.
    pub refused: Option<String>,
}

/// The disk that the box was started from, its ESP mounted at `root`.
#[derive(Debug, Clone)]
pub struct Home {
    /// Where its ESP is mounted.
    pub root: PathBuf,
    pub found: Found,
}

/// What a look is to do besides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// A blank disk becomes a system disk first.
    pub add: Option<&'a Path>,
    /// Every byte of every file is compared.
    pub thorough: bool,
}

/// One look, and everything made level that can be.
pub fn run(hands: &mut dyn Hands, home: &Home, wish: Wish<'_>) -> Report {
    let add = wish.add;
    let mut report = Report::default();
    let mut own = match Record::load(&home.root) {
        Ok(own) => own,
        Err(why) => {
            report.alarms.push(format!(
                "the record of the system disks cannot be read: {why}"
            ));
            report.disks.push(started_from(home));
            report.refused = add.map(|_| why);
            return report;
        }
    };
    if let Some(path) = add {
        match grow(hands, home, own.as_ref(), path) {
            Ok(record) => own = Some(record),
            Err(why) => report.refused = Some(why),
        }
    }
    match own {
        Some(record) => members(hands, home, record, wish.thorough, &mut report),
        // One disk that was written by hand: there is nothing to keep alike.
        None => report.disks.push(started_from(home)),
    }
    report
}

/// A blank disk takes the place of those that are missing.
fn grow(
    hands: &mut dyn Hands,
    home: &Home,
    own: Option<&Record>,
    path: &Path,
) -> Result<Record, String> {
    let here: Vec<String> = hands.others().into_iter().map(|found| found.esp).collect();
    let mut record = match own {
        Some(record) => record.clone(),
        None => Record::new(vec![Member::new(&home.found.esp, &home.found.name)])?,
    };
    record
        .disks
        .retain(|member| member.esp == home.found.esp || here.contains(&member.esp));
    if record.disks.len() >= INSTALL_DISKS_MAX {
        return Err(format!(
            "the appliance already has {INSTALL_DISKS_MAX} system disks: remove the one to be replaced"
        ));
    }
    if slots(&home.root).is_empty() {
        return Err(
            "the ESP that the appliance was booted from contains no version: there is nothing to copy"
                .into(),
        );
    }
    let made = hands.make(path)?;
    let mut member = Member::new(&made.esp, &made.name);
    member.behind = true;
    record.disks.push(member);
    record.revision += 1;
    record.store(&home.root)?;
    Ok(record)
}

/// Looks at every disk that the record lists, and at others that carry our label. Only a disk that the newest record
/// lists is written.
fn members(
    hands: &mut dyn Hands,
    home: &Home,
    mut record: Record,
    thorough: bool,
    report: &mut Report,
) {
    let others = hands.others();
    let read: Vec<(Found, Result<Option<Record>, String>)> = others
        .into_iter()
        .map(|found| {
            let read = with(hands, &found, false, &mut |root| Record::load(root));
            (found, read)
        })
        .collect();
    let newer = read
        .iter()
        .filter_map(|(found, read)| Some((found, read.as_ref().ok()?.as_ref()?)))
        .filter(|(_, other)| other.installation == record.installation)
        .filter(|(_, other)| other.revision > record.revision)
        .max_by_key(|(_, other)| other.revision);
    if let Some((found, newest)) = newer {
        if !newest.lists(&home.found.esp) {
            report.alarms.push(format!(
                "the appliance was booted from a system disk that was replaced ({}): remove it and restart",
                home.found.name
            ));
            report.disks.push(Line {
                standing: Standing::Foreign,
                ..started_from(home)
            });
            return;
        }
        match catch_up(hands, home, found, newest) {
            Ok(()) => {
                record = newest.clone();
                report.restart = Some(format!(
                    "the appliance was booted from a system disk that had missed changes ({}); it is up to date now: restart",
                    home.found.name
                ));
            }
            Err(why) => {
                report.alarms.push(format!(
                    "the appliance was booted from a system disk that has missed changes ({}), and they cannot be copied to it: {why}",
                    home.found.name
                ));
                report.disks.push(Line {
                    standing: Standing::Behind,
                    why: Some(why),
                    ..started_from(home)
                });
                return;
            }
        }
    }
    let place = |member: &Member| read.iter().find(|(found, _)| found.esp == member.esp);
    // Before anything is done: who is not here misses it.
    let absent = |member: &Member| {
        member.esp != home.found.esp && place(member).is_none_or(|(_, read)| read.is_err())
    };
    let behind = record.clone();
    let lags = |member: &Member| {
        behind
            .disks
            .iter()
            .any(|one| one.esp == member.esp && one.behind)
    };
    if record.note(|member| absent(member) || (member.esp != home.found.esp && lags(member)))
        && let Err(why) = record.store(&home.root)
    {
        report
            .alarms
            .push(format!("the disks that lag cannot be recorded: {why}"));
    }
    report.disks.push(started_from(home));
    let mut level = Vec::new();
    for member in record.disks.clone() {
        if member.esp == home.found.esp {
            continue;
        }
        let line = match place(&member) {
            None => Line {
                name: member.name.clone(),
                ..Line::default()
            },
            Some((found, Err(why))) => behind_line(found, why),
            Some((found, Ok(_))) => {
                let made = make_level(hands, home, found).and_then(|()| match thorough {
                    true => compare(hands, home, found),
                    false => Ok(()),
                });
                match made {
                    Ok(()) => {
                        level.push(member.esp.clone());
                        let slots = with(hands, found, false, &mut |root| Ok(slots(root)));
                        Line {
                            disk: found.disk.clone(),
                            name: member.name.clone(),
                            standing: Standing::Level,
                            why: None,
                            slots: slots.unwrap_or_default(),
                        }
                    }
                    Err(why) => behind_line(found, &why),
                }
            }
        };
        report.disks.push(line);
    }
    conclude(hands, home, &mut record, &level, &read, report);
    for (found, read) in &read {
        if matches!(read, Ok(Some(_))) && !record.lists(&found.esp) {
            report.disks.push(Line {
                disk: found.disk.clone(),
                name: found.name.clone(),
                standing: Standing::Foreign,
                why: Some(
                    "it is not a system disk of this appliance, or was replaced: it is not changed"
                        .into(),
                ),
                slots: Vec::new(),
            });
        }
    }
    tell(report);
}

/// Copies what differs. The steps are planned with the disk mounted for reading, so that a level disk is never mounted
/// for writing.
fn make_level(hands: &mut dyn Hands, home: &Home, found: &Found) -> Result<(), String> {
    let steps = with(hands, found, false, &mut |root| {
        level::plan(&home.root, root)
    })?;
    if steps.is_empty() {
        return Ok(());
    }
    with(hands, found, true, &mut |root| {
        level::carry_out(&home.root, root, &steps)
    })
}

/// It is unknown which of the two is right, so nothing is copied.
fn compare(hands: &mut dyn Hands, home: &Home, found: &Found) -> Result<(), String> {
    let differing = with(hands, found, false, &mut |root| {
        level::differing(&home.root, root)
    })?;
    match differing.first() {
        None => Ok(()),
        Some(path) => Err(format!(
            "{} differs between the two system disks without a write: one of the disks is failing; replace the worse one (`ringpostctl disks`)",
            path.display()
        )),
    }
}

/// The record that follows from what was done, here and on every level disk; then the box's own few files.
fn conclude(
    hands: &mut dyn Hands,
    home: &Home,
    record: &mut Record,
    level: &[String],
    read: &[(Found, Result<Option<Record>, String>)],
    report: &mut Report,
) {
    let level_now = |member: &Member| member.esp == home.found.esp || level.contains(&member.esp);
    let mut stored = Ok(());
    if record.note(|member| !level_now(member)) {
        stored = record.store(&home.root);
    }
    for (found, before) in read {
        if !level.contains(&found.esp) {
            continue;
        }
        let same = matches!(before, Ok(Some(before)) if before == record);
        let told = match &stored {
            Ok(()) if same => Ok(()),
            Ok(()) => with(hands, found, true, &mut |root| record.store(root)),
            Err(why) => Err(why.clone()),
        };
        let told = told.and_then(|()| {
            hands
                .keep(found, Way::To)
                .map_err(|why| format!("settings and certificate: {why}"))
        });
        if let Err(why) = told
            && let Some(line) = report.disks.iter_mut().find(|line| line.disk == found.disk)
        {
            line.standing = Standing::Behind;
            line.why = Some(why);
        }
    }
}

/// The started disk gets what it missed from the one that did not.
fn catch_up(
    hands: &mut dyn Hands,
    home: &Home,
    found: &Found,
    newest: &Record,
) -> Result<(), String> {
    with(hands, found, false, &mut |root| {
        let steps = level::plan(root, &home.root)?;
        level::carry_out(root, &home.root, &steps)
    })?;
    hands.keep(found, Way::From)?;
    newest.store(&home.root)
}

/// Mounted for as long as `work` takes.
fn with<T>(
    hands: &mut dyn Hands,
    found: &Found,
    write: bool,
    work: &mut dyn FnMut(&Path) -> Result<T, String>,
) -> Result<T, String> {
    let root = hands.open(found, write)?;
    let done = work(&root);
    let closed = hands.close(found);
    let done = done?;
    closed?;
    Ok(done)
}

/// The line of the disk that the box was started from.
fn started_from(home: &Home) -> Line {
    Line {
        disk: home.found.disk.clone(),
        name: home.found.name.clone(),
        standing: Standing::StartedFrom,
        why: None,
        slots: slots(&home.root),
    }
}

/// The line of a disk that does not hold the same, with the reason.
fn behind_line(found: &Found, why: &str) -> Line {
    Line {
        disk: found.disk.clone(),
        name: found.name.clone(),
        standing: Standing::Behind,
        why: Some(why.to_owned()),
        slots: Vec::new(),
    }
}

/// Names for people: what cannot be listed is not listed.
fn slots(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("EFI/Linux"));
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("ringpost_") && name.ends_with(".efi"))
        .collect();
    names.sort();
    names
}

/// Turns the lines into sentences for the operator.
fn tell(report: &mut Report) {
    for line in &report.disks {
        match line.standing {
            Standing::Missing => report.alarms.push(format!(
                "system disk {} is missing: reconnect it, or insert a blank disk and add that with `ringpostctl disks system add`",
                line.name
            )),
            Standing::Behind => report.alarms.push(format!(
                "system disk {} is not identical to the other: {}",
                line.name,
                line.why.as_deref().unwrap_or("unknown")
            )),
            _ => {}
        }
    }
    report.alarms.extend(report.restart.clone());
}

#[cfg(test)]
mod tests;
