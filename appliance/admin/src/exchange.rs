//! An exchange of two small files between two programs that trust each other by halves: the daemon, which may not change the box, and
//! a program that may.
//!
//! The daemon writes `request.json` into a directory; a systemd path unit starts the other program, which takes the request away,
//! performs it, and writes `result.json`. One request at a time: the caller of `ask` holds a lock of its own.
//!
//! What must hold: a request is performed once however often the unit starts; one that was not taken in time is never performed later;
//! both files are bounded, and each appears whole; an answer is
//! heard by the asker of its request and by no other one, also when it comes after that one gave up.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use files::{Mode, Replacement};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::EXCHANGE_LOOK_EVERY;

const REQUEST: &str = "request.json";
const RESULT: &str = "result.json";

/// What either file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Letter<I, T> {
    /// The request's. Its answers carry it too.
    id: I,
    content: T,
}

/// A request that was taken.
#[derive(Debug)]
pub struct Taken<Q> {
    /// For `answer`.
    pub id: String,
    /// `Err`: what is wrong with it. The caller is to be answered.
    pub request: Result<Q, String>,
}

/// A directory with the two files.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    pub directory: &'a Path,
    /// Bytes of either file.
    pub bytes_max: u64,
}

impl Exchange<'_> {
    /// Hands `request` over and waits at most `within` for a result of which `is_over` says that it is the last one. `Ok(None)`: none
    /// came, and the request is withdrawn if it still lay there. `Err`: one sentence.
    pub fn ask<Q, A>(
        &self,
        request: &Q,
        within: Duration,
        is_over: impl Fn(&A) -> bool,
    ) -> Result<Option<A>, String>
    where
        Q: Serialize,
        A: DeserializeOwned,
    {
        let misfit = |error: io::Error| format!("{}: {error}", self.directory.display());
        let result = self.directory.join(RESULT);
        let (id, content) = (fresh_id(), request);
        let letter = Letter { id: &id, content };
        let bytes = serde_json::to_vec(&letter).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > self.bytes_max {
            return Err(format!(
                "the request has {} bytes: at most {} are taken",
                bytes.len(),
                self.bytes_max
            ));
        }
        remove(&result).map_err(misfit)?;
        put_bytes(self.directory, REQUEST, &bytes).map_err(misfit)?;
        let give_up = Instant::now() + within;
        while Instant::now() < give_up {
            std::thread::sleep(EXCHANGE_LOOK_EVERY);
            let read = match File::open(&result) {
                Ok(file) => self.read(file),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(misfit(error)),
            };
            let told =
                |error: &dyn std::fmt::Display| format!("the answer cannot be read: {error}");
            let letter: Letter<String, Value> = read.map_err(|error| told(&error))?;
            if letter.id != id {
                continue; // to a request that was given up
            }
            let answer = serde_json::from_value(letter.content).map_err(|error| told(&error))?;
            if is_over(&answer) {
                return Ok(Some(answer));
            }
        }
        // It must not be performed hours later.
        let _ = fs::remove_file(self.directory.join(REQUEST));
        Ok(None)
    }

    /// Takes the request away, also one that cannot be read. `NotFound`: there is none. Another error: no answer can be written.
    pub fn take<Q: DeserializeOwned>(&self) -> io::Result<Taken<Q>> {
        let path = self.directory.join(REQUEST);
        let read = self.read(File::open(&path)?);
        fs::remove_file(&path)?;
        let Letter::<String, Value> { id, content } = read?;
        let request = serde_json::from_value(content).map_err(|error| error.to_string());
        Ok(Taken { id, request })
    }

    /// Says what became of the request of this id, or how far it is.
    pub fn answer(&self, id: &str, outcome: &impl Serialize) -> io::Result<()> {
        let content = outcome;
        put(self.directory, RESULT, &Letter { id, content })
    }

    fn read<T: DeserializeOwned>(&self, file: File) -> io::Result<T> {
        let mut text = String::new();
        file.take(self.bytes_max).read_to_string(&mut text)?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }
}

/// Replaces the file `name` in one step. The daemon's umask keeps a request, which may hold hashes, to the daemon and root; a result
/// holds no secret.
pub fn put(directory: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    put_bytes(
        directory,
        name,
        &serde_json::to_vec(value).map_err(io::Error::other)?,
    )
}

fn put_bytes(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = directory.join(format!("{name}.new"));
    let mut fresh = Replacement::begin_as(&directory.join(name), &fresh, Mode::Umask)?;
    fresh.file().write_all(bytes)?;
    fresh.put()
}

/// Another one for each request, also over restarts of the asking program.
fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{nanos}-{}-{count}", std::process::id())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::{settings, update};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(60);

    /// Takes a request as soon as there is one.
    fn taken<Q: DeserializeOwned>(exchange: &Exchange<'_>) -> (String, Q) {
        loop {
            // until the request is there; the asking side's bound is `WITHIN`
            match exchange.take() {
                Ok(taken) => return (taken.id, taken.request.expect("a request")),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_request_is_taken_once_and_its_answer_is_heard() {
        let directory = tempfile::tempdir().expect("a directory");
        std::thread::scope(|scope| {
            let path = directory.path();
            scope.spawn(move || {
                let exchange = settings::exchange(path);
                let (id, request): (_, settings::Request) = taken(&exchange);
                assert_eq!(request, settings::Request::Show);
                let gone = exchange.take::<settings::Request>();
                assert_eq!(gone.expect_err("once").kind(), ErrorKind::NotFound);
                let reason = "no".to_owned();
                let refused = settings::Outcome::Refused { reason };
                exchange.answer(&id, &refused).expect("put");
            });
            let heard = settings::ask(path, &settings::Request::Show);
            assert!(matches!(heard, Ok(settings::Outcome::Refused { reason }) if reason == "no"));
        });
    }

    #[test]
    fn an_answer_that_is_not_the_last_one_is_waited_past() {
        let directory = tempfile::tempdir().expect("a directory");
        std::thread::scope(|scope| {
            let path = directory.path();
            scope.spawn(move || {
                let exchange = update::exchange(path);
                let (id, request): (_, update::Request) = taken(&exchange);
                assert_eq!(request, update::Request::Rollback);
                let running = update::Outcome::Running {
                    done: 1,
                    total: None,
                };
                exchange.answer(&id, &running).expect("put");
                let reason = "no other version".to_owned();
                let refused = update::Outcome::Refused { reason };
                exchange.answer(&id, &refused).expect("put");
            });
            let heard = update::ask(path, &update::Request::Rollback, WITHIN);
            let reason = "no other version".to_owned();
            assert_eq!(heard, Ok(update::Outcome::Refused { reason }));
        });
    }

    /// The updater was still at an earlier request, whose asker gave up: what it says then is not for the next one.
    #[test]
    fn an_answer_to_another_request_is_not_heard() {
        let directory = tempfile::tempdir().expect("a directory");
        std::thread::scope(|scope| {
            let path = directory.path();
            scope.spawn(move || {
                let exchange = update::exchange(path);
                let (id, request): (_, update::Request) = taken(&exchange);
                assert_eq!(request, update::Request::Status);
                let version = "9.9.9".to_owned();
                let next = String::new();
                let done = update::Outcome::Done { version, next };
                exchange.answer("of another", &done).expect("put");
                assert_ne!(id, "of another");
            });
            let exchange = update::exchange(path);
            let within = 10 * EXCHANGE_LOOK_EVERY;
            let heard = exchange.ask(&update::Request::Status, within, |_: &update::Outcome| true);
            assert_eq!(heard, Ok(None));
        });
        let ids: Vec<String> = (0..3).map(|_| fresh_id()).collect();
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }

    #[test]
    fn a_request_that_could_not_be_read_is_not_put() {
        let directory = tempfile::tempdir().expect("a directory");
        let source = "x".repeat(crate::limits::UPDATE_EXCHANGE_BYTES_MAX as usize);
        let request = update::Request::Apply {
            source,
            tries: None,
        };
        let refused = update::ask(directory.path(), &request, WITHIN).expect_err("too large");
        assert!(refused.contains("at most"), "{refused}");
        let left = std::fs::read_dir(directory.path()).expect("readable");
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_request_that_was_not_taken_is_withdrawn_and_an_old_one_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let exchange = settings::exchange(directory.path());
        put(directory.path(), REQUEST, &settings::Request::History).expect("put");
        put(directory.path(), RESULT, &"of an earlier request").expect("put");
        let none = exchange.ask(
            &settings::Request::Show,
            Duration::ZERO,
            |_: &settings::Outcome| true,
        );
        assert_eq!(none, Ok(None));
        let left = std::fs::read_dir(directory.path()).expect("readable");
        assert_eq!(left.count(), 0, "neither the request nor an old result");
    }

    #[test]
    fn a_request_with_unknown_words_or_without_end_is_refused_and_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(REQUEST);
        let exchange = settings::exchange(directory.path());
        for text in [
            r#"{"id":"1","content":{"verb":"show"},"force":true}"#.to_owned(),
            r#"{"verb":"show"}"#.to_owned(),
            "{\"id\":\"1\",\"content\":{\"verb\":\"show\"}".to_owned(),
            " ".repeat(exchange.bytes_max as usize + 1) + r#"{"id":"1","content":{"verb":"show"}}"#,
            "[".repeat(100_000),
        ] {
            fs::write(&path, text).expect("written");
            assert!(exchange.take::<settings::Request>().is_err());
            assert!(!path.exists());
        }
        // The request alone is at fault: whoever asked can be told.
        let text =
            r#"{"id":"1","content":{"verb":"confirm","who":"x","connected_ms":1,"force":true}}"#;
        fs::write(&path, text).expect("written");
        let taken = exchange.take::<settings::Request>().expect("a letter");
        assert_eq!((&taken.id[..], taken.request.is_err()), ("1", true));
        let text = r#"{"id":"2","content":{"verb":"apply","source":"x","force":true}}"#;
        fs::write(&path, text).expect("written");
        let update = update::exchange(directory.path());
        let taken = update.take::<update::Request>().expect("a letter");
        assert_eq!((&taken.id[..], taken.request.is_err()), ("2", true));
    }
}
