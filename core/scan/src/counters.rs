//! What scanning came to, since start. Shared by all cores; any thread may read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use base::SharedHistogram;

/// Who looks at a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanner {
    /// Ourselves (`known`).
    Own,
    Rspamd,
    Clamd,
    Milter,
}

/// What it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wrong with it.
    Clean,
    Junk,
    Quarantine,
    /// Refused as spam, as a virus, or because a filter says so.
    Refused,
    /// The server asks that the client comes again.
    Deferred,
    /// No server gave a verdict.
    Unscanned,
    /// Longer than what is scanned, here or there.
    TooLarge,
}

impl Scanner {
    pub const ALL: [Scanner; 4] = [
        Scanner::Own,
        Scanner::Rspamd,
        Scanner::Clamd,
        Scanner::Milter,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Scanner::Own => "own",
            Scanner::Rspamd => "rspamd",
            Scanner::Clamd => "clamd",
            Scanner::Milter => "milter",
        }
    }
}

impl Outcome {
    pub const ALL: [Outcome; 7] = [
        Outcome::Clean,
        Outcome::Junk,
        Outcome::Quarantine,
        Outcome::Refused,
        Outcome::Deferred,
        Outcome::Unscanned,
        Outcome::TooLarge,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Outcome::Clean => "clean",
            Outcome::Junk => "junk",
            Outcome::Quarantine => "quarantine",
            Outcome::Refused => "refused",
            Outcome::Deferred => "deferred",
            Outcome::Unscanned => "unscanned",
            Outcome::TooLarge => "too_large",
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Counters {
    outcomes: [[AtomicU64; Outcome::ALL.len()]; Scanner::ALL.len()],
    took: [SharedHistogram; Scanner::ALL.len()],
    resting: AtomicU64,
}

impl Counters {
    pub fn note(&self, scanner: Scanner, outcome: Outcome) {
        self.outcomes[scanner as usize][outcome as usize].fetch_add(1, Relaxed);
    }

    pub fn read(&self, scanner: Scanner, outcome: Outcome) -> u64 {
        self.outcomes[scanner as usize][outcome as usize].load(Relaxed)
    }

    /// How long calls took, those without a verdict included.
    pub fn took(&self, scanner: Scanner) -> &SharedHistogram {
        &self.took[scanner as usize]
    }

    /// Servers that are left alone now, each counted by every core that does so.
    pub fn resting(&self) -> u64 {
        self.resting.load(Relaxed)
    }

    pub(crate) fn rest_began(&self) {
        self.resting.fetch_add(1, Relaxed);
    }

    pub(crate) fn rest_ended(&self) {
        self.resting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_of_each_scanner_has_its_own_counter() {
        let counters = Counters::default();
        let all = || {
            let outcomes = |scanner| Outcome::ALL.map(|outcome| (scanner, outcome));
            Scanner::ALL.into_iter().flat_map(outcomes)
        };
        for (at, (scanner, outcome)) in all().enumerate() {
            (0..at).for_each(|_| counters.note(scanner, outcome));
        }
        for (at, (scanner, outcome)) in all().enumerate() {
            assert_eq!(counters.read(scanner, outcome), at as u64);
        }
    }
}
