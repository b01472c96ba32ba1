//! An exchange of two small files between two programs that trust each other by halves: the daemon, which may not change the box, and
//! a program that may.
//!
//! The daemon writes `request.json` into a directory; a systemd path unit starts the other program, which takes the request away,
//! performs it, and writes `result.json`. One request at a time: whoever calls `ask` holds a lock of its own.
//!
//! What must hold: a request is performed once however often the unit starts; one that was not taken in time is never performed later;
//! both files are bounded, and each appears whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use files::{Mode, Replacement};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::EXCHANGE_LOOK_EVERY;

const REQUEST: &str = "request.json";
const RESULT: &str = "result.json";

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
        remove(&result).map_err(misfit)?;
        put(self.directory, REQUEST, request).map_err(misfit)?;
        let give_up = Instant::now() + within;
        while Instant::now() < give_up {
            std::thread::sleep(EXCHANGE_LOOK_EVERY);
            let read = match File::open(&result) {
                Ok(file) => self.read(file),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(misfit(error)),
            };
            let answer = read.map_err(|error| format!("the answer cannot be read: {error}"))?;
            if is_over(&answer) {
                return Ok(Some(answer));
            }
        }
        // It must not be performed hours later.
        let _ = fs::remove_file(self.directory.join(REQUEST));
        Ok(None)
    }

    /// Takes the request away, also one that cannot be read. `NotFound`: there is none.
    pub fn take<Q: DeserializeOwned>(&self) -> io::Result<Q> {
        let path = self.directory.join(REQUEST);
        let read = self.read(File::open(&path)?);
        fs::remove_file(&path)?;
        read
    }

    /// Says what became of the request, or how far it is.
    pub fn answer(&self, outcome: &impl Serialize) -> io::Result<()> {
        put(self.directory, RESULT, outcome)
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
    let bytes = serde_json::to_vec(value).map_err(io::Error::other)?;
    let fresh = directory.join(format!("{name}.new"));
    let mut fresh = Replacement::begin_as(&directory.join(name), &fresh, Mode::Umask)?;
    fresh.file().write_all(&bytes)?;
    fresh.put()
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
    fn taken<Q: DeserializeOwned>(exchange: &Exchange<'_>) -> Q {
        loop {
            // until the request is there; the asking side's bound is `WITHIN`
            match exchange.take() {
                Ok(request) => return request,
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
                let request: settings::Request = taken(&exchange);
                assert_eq!(request, settings::Request::Show);
                let gone = exchange.take::<settings::Request>();
                assert_eq!(gone.expect_err("once").kind(), ErrorKind::NotFound);
                let reason = "no".to_owned();
                let refused = settings::Outcome::Refused { reason };
                exchange.answer(&refused).expect("put");
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
                let request: update::Request = taken(&exchange);
                assert_eq!(request, update::Request::Rollback);
                let running = update::Outcome::Running {
                    done: 1,
                    total: None,
                };
                exchange.answer(&running).expect("put");
                let reason = "no other version".to_owned();
                let refused = update::Outcome::Refused { reason };
                exchange.answer(&refused).expect("put");
            });
            let heard = update::ask(path, &update::Request::Rollback, WITHIN);
            let reason = "no other version".to_owned();
            assert_eq!(heard, Ok(update::Outcome::Refused { reason }));
        });
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
            r#"{"verb":"confirm","who":"x","connected_ms":1,"force":true}"#.to_owned(),
            "{\"verb\":\"show\"".to_owned(),
            " ".repeat(exchange.bytes_max as usize + 1) + r#"{"verb":"show"}"#,
            "[".repeat(100_000),
        ] {
            fs::write(&path, text).expect("written");
            assert!(exchange.take::<settings::Request>().is_err());
            assert!(!path.exists());
        }
        let text = r#"{"verb":"apply","source":"x","force":true}"#;
        fs::write(&path, text).expect("written");
        let update = update::exchange(directory.path());
        assert!(update.take::<update::Request>().is_err());
    }
}
