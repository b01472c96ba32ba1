//! What went wrong with the box and its engine, remembered on the state partition: one JSON line each, newest last.
//!
//! `ringpost-boot` writes it, at start (why the run before ended), when systemd says how the engine ended, and when settings were given up; the daemon, its metrics
//! and the console show it. A line that cannot be read is passed over: an old box's words must not hinder a new one's.

use std::fs;
use std::io;
use std::path::Path;

use files::Mode;
use serde::{Deserialize, Serialize};

use crate::limits::INCIDENTS_MAX;
use crate::read;

/// In the state directory.
pub const FILE: &str = "incidents.jsonl";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When it was noticed, the last time: seconds since 1970 by the box's own clock.
    pub at: u64,
    pub kind: Kind,
    /// One sentence.
    pub what: String,
    /// How often in a row.
    pub times: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The hardware watchdog reset the box.
    WatchdogReset,
    /// The kernel gave up and restarted the box.
    KernelPanic,
    /// The box went off without being shut down, and nothing says why.
    PowerLost,
    /// systemd's watchdog ended the engine.
    EngineHung,
    /// The engine ended by itself, by a signal.
    EngineCrashed,
    /// Settings on probation that were not confirmed, or that a start could not carry out.
    SettingsGivenUp,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::WatchdogReset,
        Kind::KernelPanic,
        Kind::PowerLost,
        Kind::EngineHung,
        Kind::EngineCrashed,
        Kind::SettingsGivenUp,
    ];

    /// As it stands in the file and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::WatchdogReset => "watchdog_reset",
            Kind::KernelPanic => "kernel_panic",
            Kind::PowerLost => "power_lost",
            Kind::EngineHung => "engine_hung",
            Kind::EngineCrashed => "engine_crashed",
            Kind::SettingsGivenUp => "settings_given_up",
        }
    }

    /// Of the engine rather than of the box.
    pub fn is_engines(self) -> bool {
        matches!(self, Kind::EngineHung | Kind::EngineCrashed)
    }
}

/// Those that are remembered, the newest last; none where there is no file.
pub fn list(state: &Path) -> Vec<Incident> {
    parse(&read::text(&state.join(FILE)).unwrap_or_default())
}

fn parse(text: &str) -> Vec<Incident> {
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Remembers one more, durably. The same again only counts up: a loop of crashes must not push out what came before it.
pub fn note(state: &Path, at: u64, kind: Kind, what: &str) -> io::Result<()> {
    // A file that cannot be read is not an empty one: nothing is written over it.
    let mut all = match fs::read(state.join(FILE)) {
        Ok(bytes) => parse(&String::from_utf8_lossy(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    match all.last_mut() {
        Some(last) if last.kind == kind && last.what == what => {
            last.at = at;
            last.times += 1;
        }
        _ => all.push(Incident {
            at,
            kind,
            what: what.to_owned(),
            times: 1,
        }),
    }
    let surplus = all.len().saturating_sub(INCIDENTS_MAX);
    let mut text = String::new();
    for incident in &all[surplus..] {
        text.push_str(&serde_json::to_string(incident)?);
        text.push('\n');
    }
    files::replace(&state.join(FILE), text.as_bytes(), Mode::Private)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_the_same_again_counts_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = directory.path();
        assert_eq!(list(state), []);
        for at in 0..INCIDENTS_MAX as u64 + 3 {
            note(state, at, Kind::PowerLost, &format!("the {at}.")).expect("room");
        }
        for at in 100..103 {
            note(state, at, Kind::EngineCrashed, "ended by SEGV").expect("room");
        }
        let all = list(state);
        assert_eq!(all.len(), INCIDENTS_MAX);
        let last = all.last().expect("some");
        assert_eq!((last.at, last.times), (102, 3));
        assert_eq!(all[0].what, "the 4.");
    }

    #[test]
    fn lines_of_another_version_are_passed_over() {
        let directory = tempfile::tempdir().expect("a directory");
        note(directory.path(), 7, Kind::EngineHung, "x").expect("room");
        let path = directory.path().join(FILE);
        let text = fs::read_to_string(&path).expect("written");
        let other = text.replace("engine_hung", "ate_by_mice");
        fs::write(&path, format!("{other}half a li\n{text}")).expect("written");
        assert_eq!(list(directory.path()).len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_not_written_over() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join(FILE)).expect("in the way");
        assert!(note(directory.path(), 7, Kind::EngineHung, "x").is_err());
        assert!(directory.path().join(FILE).is_dir());
    }

    #[test]
    fn names_are_those_of_the_file() {
        for kind in Kind::ALL {
            let written = serde_json::to_string(&kind).expect("a name");
            assert_eq!(written, format!("\"{}\"", kind.name()));
        }
    }
}
