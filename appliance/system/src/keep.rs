//! What of the state partition makes the box itself, and is therefore on both system disks: settings and certificate.
//!
//! Not the record of the mail volume's legs: an old copy of it would be worse than none. A disk that does not run keeps none,
//! so a start from it takes the volume over when every leg that counts is there. Logs and incidents stay where they were written.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use files::{Mode, Replacement};

/// The key before its certificate, as the daemon writes them: a certificate without its key is made again. The settings last.
const FILES: [&str; 9] = [
    "acme-account.json",
    "acme-key.pem",
    "acme-certificate.pem",
    "acme-tries.json",
    "key.pem",
    "certificate.pem",
    "settings.jsonl",
    "ringpost.previous.toml",
    "ringpost.toml",
];
/// Settings on probation are this start's: the other disk has those from before, until they are confirmed.
const PROBATION: [&str; 2] = ["probation.json", "ringpost.candidate.toml"];
/// Left by a factory reset: what the other disk keeps is to be forgotten too.
pub const FORGOTTEN: &str = "forgotten";

/// What is compared to see whether anything is to be done: length and time of each file, no content.
pub fn mark(state: &Path) -> String {
    let mut mark = String::new();
    for name in FILES.into_iter().chain([FORGOTTEN]) {
        if let Ok(meta) = fs::metadata(state.join(name)) {
            mark += &format!(
                "{name} {} {} {};",
                meta.len(),
                meta.mtime(),
                meta.mtime_nsec()
            );
        }
    }
    mark
}

/// Makes the state at `to`, which no system runs with, hold what makes this box.
pub fn mirror(from: &Path, to: &Path) -> Result<(), String> {
    if from.join(FORGOTTEN).exists() {
        for name in FILES {
            remove(&to.join(name))?;
        }
    }
    for name in PROBATION {
        remove(&to.join(name))?;
    }
    for name in FILES {
        copy(from, to, name)?;
    }
    forget_legs(to)
}

/// Brings what makes this box to the state that it runs with. It counts from the next start on.
pub fn bring(from: &Path, to: &Path) -> Result<(), String> {
    FILES.into_iter().try_for_each(|name| copy(from, to, name))
}

fn forget_legs(state: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", state.display());
    for entry in fs::read_dir(state).map_err(told)? {
        let entry = entry.map_err(told)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let of_legs = ["witness-", "position-"];
        if of_legs.iter().any(|kind| name.starts_with(kind)) || name == "creating" {
            remove(&entry.path())?;
        }
    }
    files::sync_folder(state).map_err(told)
}

fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Whole or not at all, with owner and mode. What `from` does not have stays at `to`: a state that was lost takes nothing along.
fn copy(from: &Path, to: &Path, name: &str) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{name}: {error}");
    let source = from.join(name);
    let bytes = match fs::read(&source) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.map_err(told)?,
    };
    if fs::read(to.join(name)).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let meta = fs::metadata(&source).map_err(told)?;
    let fresh = to.join(format!("{name}.mirror"));
    let write = || {
        let mut fresh = Replacement::begin_as(&to.join(name), &fresh, Mode::Private)?;
        let file = fresh.file();
        fchown(&*file, Some(meta.uid()), Some(meta.gid()))?;
        file.set_permissions(fs::Permissions::from_mode(
            meta.permissions().mode() & 0o777,
        ))?;
        file.write_all(&bytes)?;
        fresh.put()
    };
    write().map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for state in [&from, &to] {
            fs::create_dir(state).expect("made");
        }
        (folder, from, to)
    }

    #[test]
    fn settings_and_certificate_go_along_and_the_record_of_legs_does_not() {
        let (_folder, from, to) = states();
        for (name, text) in [
            ("ringpost.toml", "new"),
            ("key.pem", "key"),
            ("certificate.pem", "certificate"),
            ("acme-key.pem", "key"),
            ("acme-certificate.pem", "certificate"),
            ("witness-v", "epoch 9"),
            ("incidents.json", "[]"),
            ("probation.json", "{}"),
        ] {
            fs::write(from.join(name), text).expect("written");
        }
        fs::set_permissions(from.join("key.pem"), fs::Permissions::from_mode(0o600)).expect("set");
        fs::write(to.join("witness-v"), "epoch 3").expect("written");
        fs::write(to.join("ringpost.toml"), "old").expect("written");
        fs::write(to.join("ringpost.candidate.toml"), "older").expect("written");
        mirror(&from, &to).expect("mirrored");
        let mut names: Vec<String> = fs::read_dir(&to)
            .expect("listed")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "acme-certificate.pem",
                "acme-key.pem",
                "certificate.pem",
                "key.pem",
                "ringpost.toml"
            ]
        );
        assert_eq!(
            fs::read_to_string(to.join("ringpost.toml")).expect("there"),
            "new"
        );
        let mode = fs::metadata(to.join("key.pem"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_state_that_was_lost_takes_nothing_along_and_a_reset_does() {
        let (_folder, from, to) = states();
        fs::write(to.join("ringpost.toml"), "kept").expect("written");
        mirror(&from, &to).expect("mirrored");
        assert!(to.join("ringpost.toml").exists());
        let before = mark(&from);
        fs::write(from.join(FORGOTTEN), "").expect("written");
        assert_ne!(mark(&from), before);
        mirror(&from, &to).expect("mirrored");
        assert!(!to.join("ringpost.toml").exists());
    }

    #[test]
    fn what_the_running_box_is_brought_leaves_its_record_of_legs() {
        let (_folder, from, to) = states();
        fs::write(from.join("ringpost.toml"), "new").expect("written");
        fs::write(to.join("witness-v"), "epoch 9").expect("written");
        bring(&from, &to).expect("brought");
        assert!(to.join("witness-v").exists());
        assert_eq!(
            fs::read_to_string(to.join("ringpost.toml")).expect("there"),
            "new"
        );
    }
}
