//! Why a story failed: one sentence, with what was being done before it.

use std::fmt;

/// A sentence for people. Every failure of a story ends it, so nobody decides by its kind except `retry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    sentence: String,
    /// Early trouble of the emulator itself: the same boot may be tried once more.
    pub retry: bool,
}

pub type Told<T> = Result<T, Failure>;

impl Failure {
    pub fn new(sentence: impl Into<String>) -> Failure {
        Failure {
            sentence: sentence.into(),
            retry: false,
        }
    }

    /// The same, with what was being done put before it.
    pub fn during(mut self, doing: impl fmt::Display) -> Failure {
        self.sentence = format!("{doing}: {}", self.sentence);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

/// `result.doing("connecting to port 25")?`
pub trait Doing<T> {
    fn doing(self, what: impl fmt::Display) -> Told<T>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Told<T> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}

/// `ensure(a == b, || format!("…"))?`
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Told<()> {
    if holds {
        Ok(())
    } else {
        Err(Failure::new(otherwise()))
    }
}
