//! What passes between the daemon, which may not change the box, and `ringpost-boot settings serve`, which may: two small files.
//!
//! The daemon writes `request.json` into the exchange directory; a path unit starts the other side, which takes the request
//! away, does it, and writes `result.json`. That side checks the settings itself, as the boot will.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::change::Checked;
use crate::history::Line;
use crate::limits::{ASK_EVERY, ASK_WITHIN, EXCHANGE_BYTES_MAX};
use crate::probation::Told;

/// Made with the daemon's runtime directory.
pub const EXCHANGE: &str = "/run/ringpost/settings";
pub const REQUEST: &str = "request.json";
pub const RESULT: &str = "result.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb", deny_unknown_fields)]
pub enum Request {
    Show,
    History,
    Check {
        /// What the file is called where it came from, for sentences.
        name: String,
        text: String,
        /// Paths of the volume's legs now.
        legs: Vec<String>,
    },
    Apply {
        name: String,
        text: String,
        legs: Vec<String>,
        /// How long a change on probation is waited for.
        within_s: u64,
        who: String,
    },
    Confirm {
        who: String,
        /// When the connection was accepted that this came by: milliseconds of the machine's uptime.
        connected_ms: u64,
    },
    /// Ends a probation; without one, the settings before these.
    Revert {
        legs: Vec<String>,
        within_s: u64,
        who: String,
    },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", deny_unknown_fields)]
pub enum Outcome {
    Shown(Shown),
    History { lines: Vec<Line> },
    Checked(Checked),
    Applied(Checked),
    Confirmed { keys: Vec<String> },
    Reverted { keys: Vec<String>, next: String },
    Refused { reason: String },
}

/// The settings in force; no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Where they came from, in words.
    pub from: String,
    pub text: String,
    /// Why they are not changed from here.
    pub fixed: Option<String>,
    pub probation: Option<Told>,
}

/// Takes the request out of `directory`, so that it is done once however often the unit starts.
pub fn take(directory: &Path) -> io::Result<Request> {
    let path = directory.join(REQUEST);
    let read = bounded(File::open(&path)?);
    fs::remove_file(&path)?;
    parse(&read?)
}

/// Hands `request` over and waits for what becomes of it.
pub fn ask(directory: &Path, request: &Request) -> Result<Outcome, String> {
    let told = |error: io::Error| format!("{}: {error}", directory.display());
    let result = directory.join(RESULT);
    match fs::remove_file(&result) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told(error)),
        _ => {}
    }
    put(directory, REQUEST, request).map_err(told)?;
    let give_up = Instant::now() + ASK_WITHIN;
    while Instant::now() < give_up {
        std::thread::sleep(ASK_EVERY);
        match File::open(&result) {
            Ok(file) => {
                return bounded(file)
                    .and_then(|text| parse(&text))
                    .map_err(|error| format!("the answer cannot be read: {error}"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(told(error)),
        }
    }
    // Nobody takes it: it must not be done hours later.
    let _ = fs::remove_file(directory.join(REQUEST));
    Err(format!(
        "ringpost-settings.service has not answered for {} s: `settings history` shows whether it was done",
        ASK_WITHIN.as_secs()
    ))
}

/// Replaces a file of the exchange in one step. The daemon's umask keeps a request, which may hold hashes, to the daemon and root; a
/// result holds no secret.
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

fn bounded(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(EXCHANGE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn parse<T: DeserializeOwned>(text: &str) -> io::Result<T> {
    serde_json::from_str(text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_once_and_its_answer_heard() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_owned();
        let other_side = std::thread::spawn(move || {
            loop {
                // until the request is there; the test's own bound is `ASK_WITHIN`
                match take(&path) {
                    Ok(wanted) => break assert_eq!(wanted, Request::Show),
                    Err(_) => std::thread::sleep(ASK_EVERY),
                }
            }
            let gone = take(&path).expect_err("taken once");
            assert_eq!(gone.kind(), io::ErrorKind::NotFound);
            let refused = Outcome::Refused {
                reason: "no".into(),
            };
            put(&path, RESULT, &refused).expect("put");
        });
        let heard = ask(directory.path(), &Request::Show);
        assert!(
            matches!(heard, Ok(Outcome::Refused { reason }) if reason == "no"),
            "as it was put"
        );
        other_side.join().expect("ended");
    }

    #[test]
    fn every_answer_is_read_as_it_was_written() {
        let checked = Checked::mistaken("x");
        for outcome in [
            Outcome::Checked(checked.clone()),
            Outcome::Applied(checked),
            Outcome::History { lines: Vec::new() },
            Outcome::Confirmed { keys: Vec::new() },
            Outcome::Shown(Shown {
                from: "x".into(),
                text: String::new(),
                fixed: None,
                probation: None,
            }),
        ] {
            let text = serde_json::to_string(&outcome).expect("JSON");
            assert_eq!(parse::<Outcome>(&text).ok(), Some(outcome));
        }
    }

    #[test]
    fn a_request_with_unknown_words_or_without_end_is_refused_and_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(REQUEST);
        for text in [
            r#"{"verb":"confirm","who":"x","connected_ms":1,"force":true}"#.to_owned(),
            "{\"verb\":\"show\"".to_owned(),
            " ".repeat(EXCHANGE_BYTES_MAX as usize + 1) + r#"{"verb":"show"}"#,
            "[".repeat(100_000),
        ] {
            fs::write(&path, text).expect("written");
            assert!(take(directory.path()).is_err());
            assert!(!path.exists());
        }
    }
}
