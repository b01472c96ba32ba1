//! Settings on probation: used at once, and reverted unless they are confirmed in time.
//!
//! The applied settings stay what they were until then. Beside them lie a candidate and a note about it; the note is what
//! counts. A start that finds the note of another start gives the candidate up: the power was cut, or a person had to pull
//! the plug. Every change is a list of steps, each of them whole or not done, in an order in which the box may stop after any.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use admin::settings::Told;
use plan::Misfit;
use serde::{Deserialize, Serialize};

use crate::find::APPLIED;
use crate::limits::SETTINGS_BYTES_MAX;
use crate::write::{Mode, hand_over, replace};

pub const CANDIDATE: &str = "var/lib/ringpost/ringpost.candidate.toml";
/// The settings before the applied ones.
pub const PREVIOUS: &str = "var/lib/ringpost/ringpost.previous.toml";
const NOTE: &str = "var/lib/ringpost/probation.json";

/// The note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    pub who: String,
    pub keys: Vec<String>,
    /// How long a confirmation is waited for.
    pub within_s: u64,
    pub phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// For a restart.
    Waiting,
    Running {
        /// Which start of the machine.
        boot: String,
        /// Taken effect in a box that runs, not by a restart.
        live: bool,
        /// Uptime in milliseconds since when they are in force; a connection accepted later proves something.
        since_ms: Option<u64>,
        /// Uptime at which they are given up.
        until_ms: Option<u64>,
    },
}

/// One step to another state of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Write(&'static str, String),
    Remove(&'static str),
}

/// Performs them in order, each durable before the next.
pub fn perform(root: &Path, steps: &[Step]) -> Result<(), Misfit> {
    for step in steps {
        match step {
            Step::Write(name, text) => {
                let path = root.join(name);
                replace(&path, text, Mode::Private)?;
                hand_over(root, &path)?;
            }
            Step::Remove(name) => remove(&root.join(name))?,
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Misfit> {
    files::remove(path)
        .map_err(|error| Misfit::new(format!("cannot remove {}: {error}", path.display())))
}

/// New settings that need no probation.
pub fn accept(applied: &str, new: &str) -> Vec<Step> {
    vec![
        Step::Write(PREVIOUS, applied.to_owned()),
        Step::Write(APPLIED, new.to_owned()),
    ]
}

/// New settings on probation: the note makes it so.
pub fn begin(new: &str, note: &Note) -> Vec<Step> {
    vec![Step::Write(CANDIDATE, new.to_owned()), step(note)]
}

/// The candidate is kept. Once it is the applied one, nothing gives it up any more (`at_boot` compares).
pub fn confirm(applied: &str, candidate: &str) -> Vec<Step> {
    let mut steps = accept(applied, candidate);
    steps.extend(end());
    steps
}

/// The candidate is given up.
pub fn end() -> Vec<Step> {
    vec![Step::Remove(NOTE), Step::Remove(CANDIDATE)]
}

/// The note, changed.
pub fn step(note: &Note) -> Step {
    let text = serde_json::to_string(note).unwrap_or_default();
    Step::Write(NOTE, text)
}

/// `None`: nothing is on probation. `Err`: it cannot be known.
pub fn load(root: &Path) -> Result<Option<Note>, Misfit> {
    let told = |why: String| Misfit::new(format!("{}: {why}", root.join(NOTE).display()));
    match text(root, NOTE)? {
        None => Ok(None),
        Some(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| told(error.to_string())),
    }
}

/// A file of the state. `None`: there is none.
pub fn text(root: &Path, name: &str) -> Result<Option<String>, Misfit> {
    let path = root.join(name);
    let told =
        |error: std::io::Error| Misfit::new(format!("cannot read {}: {error}", path.display()));
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(told(error)),
    };
    let mut text = String::new();
    file.take(SETTINGS_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(told)?;
    if text.len() as u64 > SETTINGS_BYTES_MAX {
        return Err(told(std::io::Error::other("it is too large for settings")));
    }
    Ok(Some(text))
}

/// As it is just now, for people.
pub fn told(root: &Path) -> Result<Option<Told>, Misfit> {
    let Some(note) = load(root)? else {
        return Ok(None);
    };
    let until = match note.phase {
        Phase::Running { until_ms, .. } => until_ms,
        Phase::Waiting => None,
    };
    let left_s = match until {
        Some(until) => Some(until.saturating_sub(uptime_ms(root)?).div_ceil(1_000)),
        None => None,
    };
    Ok(Some(Told {
        waits_for_restart: note.phase == Phase::Waiting,
        who: note.who,
        keys: note.keys,
        left_s,
    }))
}

/// What a start finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtBoot {
    Nothing,
    /// These settings are tried in this start.
    Try {
        note: Note,
        text: String,
    },
    /// They were given up, for this reason.
    GivenUp {
        who: String,
        keys: Vec<String>,
        why: String,
    },
}

/// Decides, and writes down what it decided before anything is done with it.
pub fn at_boot(root: &Path) -> Result<AtBoot, Misfit> {
    let given_up = |note: Option<Note>, why: String| -> Result<AtBoot, Misfit> {
        perform(root, &end())?;
        let (who, keys) = note.map(|note| (note.who, note.keys)).unwrap_or_default();
        Ok(AtBoot::GivenUp { who, keys, why })
    };
    let note = match load(root) {
        Ok(Some(note)) => note,
        Ok(None) => {
            // A candidate without its note was never begun, or is over.
            perform(root, &[Step::Remove(CANDIDATE)])?;
            return Ok(AtBoot::Nothing);
        }
        Err(misfit) => return given_up(None, misfit.to_string()),
    };
    let candidate = match text(root, CANDIDATE) {
        Ok(Some(candidate)) => candidate,
        Ok(None) => return given_up(Some(note), "they are gone".into()),
        Err(misfit) => return given_up(Some(note), misfit.to_string()),
    };
    if text(root, APPLIED)?.as_ref() == Some(&candidate) {
        // Confirmed, and the power failed before the note was removed.
        perform(root, &end())?;
        return Ok(AtBoot::Nothing);
    }
    let boot = boot_id(root)?;
    match &note.phase {
        Phase::Running { boot: begun, .. } if *begun == boot => Ok(AtBoot::Try {
            note,
            text: candidate,
        }),
        Phase::Running { .. } => given_up(
            Some(note),
            "the appliance was restarted before they were confirmed".into(),
        ),
        Phase::Waiting => {
            let phase = Phase::Running {
                boot,
                live: false,
                since_ms: Some(uptime_ms(root)?),
                until_ms: None,
            };
            let note = Note { phase, ..note };
            perform(root, &[step(&note)])?;
            Ok(AtBoot::Try {
                note,
                text: candidate,
            })
        }
    }
}

/// Milliseconds since the machine was switched on, whatever the clock says.
pub fn uptime_ms(root: &Path) -> Result<u64, Misfit> {
    let path = root.join("proc/uptime");
    let told = |why: &str| Misfit::new(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(&path).map_err(|error| told(&error.to_string()))?;
    let seconds: f64 = text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| told("no number"))?;
    Ok((seconds * 1_000.0) as u64)
}

/// Tells one start of the machine from another.
pub fn boot_id(root: &Path) -> Result<String, Misfit> {
    let path = root.join("proc/sys/kernel/random/boot_id");
    fs::read_to_string(&path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| Misfit::new(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests;
