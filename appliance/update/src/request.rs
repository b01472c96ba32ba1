//! What passes between the daemon, which may not write to the ESP, and the updater, which may: two small files.
//!
//! The daemon writes `request.json` into the exchange directory; a path unit starts `ringpost-update serve`, which takes the
//! request away, does it, and writes `result.json`. The updater believes nothing in a request but its source's name: the
//! image's signature decides.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::limits::REQUEST_BYTES_MAX;

pub const EXCHANGE: &str = "/run/ringpost/update";
pub const REQUEST: &str = "request.json";
pub const RESULT: &str = "result.json";

const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb", deny_unknown_fields)]
pub enum Request {
    /// A path or URL of an image, with its signature beside it.
    Apply {
        source: String,
        /// Boots that the new version gets before it is given up; `None`: `limits::TRIES`.
        #[serde(default)]
        tries: Option<u32>,
    },
    Rollback,
    Status,
    /// Every system disk is made to hold the same, now.
    Sync,
    /// A blank disk becomes a system disk.
    AddDisk {
        path: String,
    },
}

/// What became of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", deny_unknown_fields)]
pub enum Outcome {
    Running {
        done: u64,
        total: Option<u64>,
    },
    Done {
        version: String,
        next: String,
    },
    /// What `ringpost-update status --json` prints.
    Slots {
        status: serde_json::Value,
    },
    Refused {
        reason: String,
    },
}

/// Takes the request out of `directory`, so that it is done once however often the unit starts.
pub fn take(directory: &Path) -> io::Result<Request> {
    let path = directory.join(REQUEST);
    let mut text = String::new();
    File::open(&path)?
        .take(REQUEST_BYTES_MAX)
        .read_to_string(&mut text)?;
    fs::remove_file(&path)?;
    serde_json::from_str(&text).map_err(io::Error::other)
}

/// Hands `request` to the updater and waits for what becomes of it, at most `within`. `progress` hears bytes.
pub fn ask(
    directory: &Path,
    request: &Request,
    within: Duration,
    mut progress: impl FnMut(u64, Option<u64>),
) -> Result<Outcome, String> {
    let told = |error: io::Error| format!("{}: {error}", directory.display());
    let result = directory.join(RESULT);
    if directory.join(REQUEST).exists() {
        return Err("another update is being done: wait for it".into());
    }
    match fs::remove_file(&result) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told(error)),
        _ => {}
    }
    put(directory, REQUEST, request).map_err(told)?;
    let give_up = Instant::now() + within;
    while Instant::now() < give_up {
        std::thread::sleep(PAUSE);
        let mut text = String::new();
        match File::open(&result) {
            Ok(file) => file
                .take(REQUEST_BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(told)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(told(error)),
        };
        match serde_json::from_str(&text) {
            Ok(Outcome::Running { done, total }) => progress(done, total),
            Ok(outcome) => return Ok(outcome),
            Err(error) => return Err(format!("the updater's answer cannot be read: {error}")),
        }
    }
    Err(format!(
        "the updater has not answered for {} s",
        within.as_secs()
    ))
}

/// Replaces a file of the exchange in one step.
pub fn put(directory: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let fresh = directory.join(format!("{name}.new"));
    // Two users write here: what lies under this name is thrown away, never followed.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(&fresh)?;
    file.write_all(&serde_json::to_vec(value).map_err(io::Error::other)?)?;
    fs::rename(fresh, directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let made = Request::Apply {
            source: "https://updates.example/ringpost.efi".into(),
            tries: Some(1),
        };
        put(directory.path(), REQUEST, &made).expect("put");
        assert_eq!(take(directory.path()).expect("there"), made);
        assert_eq!(
            take(directory.path()).expect_err("gone").kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn whoever_asks_hears_what_became_of_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_owned();
        let updater = std::thread::spawn(move || {
            loop {
                // until the request is there; the test's own bound is `within`
                match take(&path) {
                    Ok(wanted) => break assert_eq!(wanted, Request::Rollback),
                    Err(_) => std::thread::sleep(PAUSE),
                }
            }
            let refused = Outcome::Refused {
                reason: "no other version".into(),
            };
            put(&path, RESULT, &refused).expect("put");
        });
        let heard = ask(
            directory.path(),
            &Request::Rollback,
            Duration::from_secs(60),
            |_, _| {},
        );
        assert_eq!(
            heard,
            Ok(Outcome::Refused {
                reason: "no other version".into()
            })
        );
        updater.join().expect("ended");
    }

    #[test]
    fn a_request_with_unknown_words_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(
            directory.path().join(REQUEST),
            r#"{"verb":"apply","source":"x","force":true}"#,
        )
        .expect("written");
        assert!(take(directory.path()).is_err());
    }
}
