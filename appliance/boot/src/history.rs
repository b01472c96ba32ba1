//! Who changed which settings when: one JSON line each on the state partition, the newest last. Keys only, no values.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use admin::settings::Line;
use plan::Misfit;

use crate::limits::HISTORY_MAX;
use crate::write::{Mode, hand_over, replace};

const FILE: &str = "var/lib/ringpost/settings.jsonl";

/// Those that are remembered; lines of another version are passed over.
pub fn list(root: &Path) -> Result<Vec<Line>, Misfit> {
    let path = root.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Misfit::new(format!("{}: {error}", path.display()))),
    }
}

/// Remembers one more, durably.
pub fn note(root: &Path, at: u64, who: &str, did: &str, keys: &[String]) -> Result<(), Misfit> {
    let mut lines = list(root)?;
    lines.push(Line {
        at,
        who: who.to_owned(),
        did: did.to_owned(),
        keys: keys.to_vec(),
    });
    let surplus = lines.len().saturating_sub(HISTORY_MAX);
    let mut text = String::new();
    for line in &lines[surplus..] {
        text.push_str(&serde_json::to_string(line).unwrap_or_default());
        text.push('\n');
    }
    let path = root.join(FILE);
    replace(&path, &text, Mode::Private)?;
    hand_over(root, &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_changes_are_remembered() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        for at in 0..HISTORY_MAX as u64 + 2 {
            note(root, at, "anna", "applied", &["time.ntp".into()]).expect("room");
        }
        let lines = list(root).expect("readable");
        assert_eq!((lines.len(), lines[0].at), (HISTORY_MAX, 2));
    }
}
