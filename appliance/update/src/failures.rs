//! Why a version did not pass its health gate: a small file beside the slots, so that the version that the box went back to
//! can say it. Losing one costs an explanation and nothing else, so errors here stop nothing.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use files::Mode;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::limits::{FAILURE_BYTES_MAX, WHY_BYTES_MAX};
use crate::slots::Esp;

/// What is known of a version's failed boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Boots that reached the health gate and failed there.
    pub times: u32,
    /// The last one's reason.
    pub why: String,
    /// When, by the box's clock.
    pub unix_s: u64,
}

fn path(esp: &Esp, version: &Version) -> PathBuf {
    esp.root().join(format!("ringpost/failed_{version}.json"))
}

/// Adds a failed boot of `version`, durably.
pub fn note(esp: &Esp, version: &Version, why: &str) -> io::Result<()> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let failure = Failure {
        times: of(esp, version).map_or(0, |before| before.times) + 1,
        why: shortened(why),
        unix_s: now,
    };
    let path = path(esp, version);
    fs::create_dir_all(esp.root().join("ringpost"))?;
    let bytes = serde_json::to_vec(&failure).map_err(io::Error::other)?;
    files::replace(&path, &bytes, Mode::Umask)
}

/// The noted failures of `version`; `None` also when the note cannot be read.
pub fn of(esp: &Esp, version: &Version) -> Option<Failure> {
    let mut text = String::new();
    File::open(path(esp, version))
        .ok()?
        .take(FAILURE_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()?;
    serde_json::from_str(&text).ok()
}

/// The version is gone, or passed.
pub fn forget(esp: &Esp, version: &Version) {
    let _ = fs::remove_file(path(esp, version)); // mostly there is none
}

/// One line of bounded length.
fn shortened(why: &str) -> String {
    let line: String = why
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let line = line.trim();
    let end = (0..=line.len().min(WHY_BYTES_MAX))
        .rev()
        .find(|end| line.is_char_boundary(*end))
        .unwrap_or(0);
    line[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn esp() -> (tempfile::TempDir, Esp) {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(directory.path().join("EFI/Linux")).expect("made");
        let esp = Esp::at(directory.path()).expect("an ESP");
        (directory, esp)
    }

    #[test]
    fn failures_are_counted_and_the_last_reason_is_kept() {
        let (_directory, esp) = esp();
        let version = Version::new(1, 2, 0);
        assert_eq!(of(&esp, &version), None);
        note(&esp, &version, "no answer\nfrom port 25").expect("noted");
        note(&esp, &version, &"ü".repeat(WHY_BYTES_MAX)).expect("noted");
        let failure = of(&esp, &version).expect("noted");
        assert_eq!(failure.times, 2);
        assert_eq!(failure.why.len(), WHY_BYTES_MAX);
        forget(&esp, &version);
        assert_eq!(of(&esp, &version), None);
    }

    #[test]
    fn a_note_that_was_cut_short_is_none() {
        let (_directory, esp) = esp();
        let version = Version::new(1, 2, 0);
        note(&esp, &version, "why").expect("noted");
        fs::write(path(&esp, &version), b"{\"times\":1").expect("written");
        assert_eq!(of(&esp, &version), None);
        note(&esp, &version, "again").expect("noted");
        assert_eq!(of(&esp, &version).map(|failure| failure.times), Some(1));
    }
}
