//! Where the settings are.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use plan::Misfit;

use crate::limits::SETTINGS_BYTES_MAX;

/// The applied settings, below the root.
pub const APPLIED: &str = "var/lib/ringpost/ringpost.toml";
/// Below the root: where the ESP is mounted.
const ESP: &str = "efi/ringpost/ringpost.toml";
const CREDENTIAL: &str = "ringpost.config";
/// The name of the file on a stick.
const USB: &str = "ringpost.toml";

/// The place that settings were found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Handed over by the machine, at every boot.
    Credential,
    /// Kept from an earlier boot.
    Applied,
    /// Beside the applied ones, until they are confirmed.
    Candidate,
    /// Written by the installation.
    Esp,
    /// Plugged in.
    Usb,
}

/// Settings that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub from: From,
    /// The file, for messages.
    pub path: PathBuf,
    pub text: String,
}

impl From {
    pub fn words(self) -> &'static str {
        match self {
            From::Credential => "a systemd credential",
            From::Applied => "the applied settings on the state partition",
            From::Candidate => "the state partition, on probation",
            From::Esp => "the EFI system partition",
            From::Usb => "a USB stick",
        }
    }

    /// What was handed over once is kept on the state partition; a credential is handed over at every boot.
    pub fn is_kept(self) -> bool {
        matches!(self, From::Esp | From::Usb)
    }
}

/// The first place that has any. `usb` is asked only when no other place has.
pub fn find(
    root: &Path,
    credentials: Option<&Path>,
    usb: impl FnOnce() -> Option<PathBuf>,
) -> Result<Option<Found>, Misfit> {
    let places = [
        (
            From::Credential,
            credentials.map(|directory| directory.join(CREDENTIAL)),
        ),
        (From::Applied, Some(root.join(APPLIED))),
        (From::Esp, Some(root.join(ESP))),
    ];
    for (from, path) in places {
        let Some(path) = path else { continue };
        if let Some(text) = read(&path)? {
            return Ok(Some(Found { from, path, text }));
        }
    }
    let Some(path) = usb().map(|stick| stick.join(USB)) else {
        return Ok(None);
    };
    let text = read(&path)?;
    Ok(text.map(|text| Found {
        from: From::Usb,
        path,
        text,
    }))
}

/// `None`: no such file. What cannot be read is not absent.
fn read(path: &Path) -> Result<Option<String>, Misfit> {
    let told = |what: &dyn std::fmt::Display| {
        Misfit::new(format!("cannot read {}: {what}", path.display()))
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(told(&error)),
    };
    let mut text = String::new();
    let read = file.take(SETTINGS_BYTES_MAX + 1).read_to_string(&mut text);
    match read {
        Ok(bytes) if bytes as u64 > SETTINGS_BYTES_MAX => {
            Err(told(&"it is too large for settings"))
        }
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(told(&error)),
    }
}

/// The daemon left word that everything on the state partition is to be forgotten. Mail lies elsewhere.
pub fn forget(root: &Path) -> Result<bool, Misfit> {
    let state = root.join("var/lib/ringpost");
    if !state.join("factory-reset").exists() {
        return Ok(false);
    }
    let told =
        |error: std::io::Error| Misfit::new(format!("cannot empty {}: {error}", state.display()));
    for entry in fs::read_dir(&state).map_err(told)?.flatten() {
        // The word itself goes last: a reset that was cut short is taken up again.
        if entry.file_name() == "factory-reset" || entry.file_name() == "lost+found" {
            continue;
        }
        let path = entry.path();
        let gone = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        gone.map_err(told)?;
    }
    // The other system disk keeps settings too, and hears of it by this (`system::keep`).
    fs::write(state.join("forgotten"), b"").map_err(told)?;
    files::remove(&state.join("factory-reset")).map_err(told)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below")).expect("our own");
        fs::write(path, text).expect("our own");
    }

    #[test]
    fn the_first_place_that_has_settings_is_taken() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let stick = root.join("stick");
        let look = |credentials: bool| {
            let credentials = credentials.then(|| root.join("credentials"));
            find(root, credentials.as_deref(), || Some(stick.clone()))
                .expect("readable")
                .map(|found| found.from)
        };
        assert_eq!(look(true), None);
        put(root, "stick/ringpost.toml", "usb");
        assert_eq!(look(true), Some(From::Usb));
        put(root, ESP, "esp");
        assert_eq!(look(true), Some(From::Esp));
        put(root, APPLIED, "applied");
        assert_eq!(look(true), Some(From::Applied));
        put(root, "credentials/ringpost.config", "credential");
        assert_eq!(look(true), Some(From::Credential));
        assert_eq!(look(false), Some(From::Applied));
    }

    #[test]
    fn settings_that_cannot_be_read_are_not_absent() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        fs::create_dir_all(root.join(APPLIED)).expect("our own");
        put(root, ESP, "esp");
        assert!(find(root, None, || None).is_err());
    }

    #[test]
    fn a_factory_reset_forgets_the_state_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        put(root, APPLIED, "x");
        put(root, "var/lib/ringpost/deep/er", "x");
        assert_eq!(forget(root), Ok(false));
        put(root, "var/lib/ringpost/factory-reset", "");
        assert_eq!(forget(root), Ok(true));
        let left: Vec<_> = fs::read_dir(root.join("var/lib/ringpost"))
            .expect("there")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(left, ["forgotten"], "for the other system disk");
        assert_eq!(forget(root), Ok(false));
    }
}
