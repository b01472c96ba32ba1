//! The health gate: a version on trial must take a message by SMTP and give it back by IMAP, or the box goes back.
//!
//! The round trip itself is `ringpostctl selftest`. Here is the patience around it: a daemon that is started again and again
//! is waited for, a round trip that fails is tried once more. What does not pass in time does not pass.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::limits::{DAEMON_PATIENCE_S, GATE_PAUSE_MS, GATE_TRIES};

/// What the gate looks at; others in tests.
pub struct Gate<'a> {
    /// Whether the daemon answers at all.
    pub alive: &'a dyn Fn() -> bool,
    /// One round trip within this time: what was done, or which step failed and why.
    pub round_trip: &'a mut dyn FnMut(Duration) -> Result<String, String>,
    pub pause: Duration,
    pub patience: Duration,
}

impl Gate<'_> {
    /// What was done, or why the version does not pass. Takes at most `within`, and one pause.
    pub fn pass(&mut self, within: Duration) -> Result<String, String> {
        let began = Instant::now();
        let mut failed = 0;
        loop {
            // until it passes, GATE_TRIES round trips failed, or time is up
            let left = within.saturating_sub(began.elapsed());
            if (self.alive)() {
                match (self.round_trip)(left) {
                    Ok(told) => return Ok(told),
                    Err(why) => {
                        failed += 1;
                        if failed == GATE_TRIES || left.is_zero() {
                            return Err(why);
                        }
                    }
                }
            } else if began.elapsed() >= self.patience.min(within) {
                return Err(format!(
                    "the mail engine did not answer within {} s: see the log of that boot",
                    self.patience.min(within).as_secs()
                ));
            }
            std::thread::sleep(self.pause);
        }
    }
}

/// The gate of this box: the daemon behind `socket`, tested by the program `tool` (`ringpostctl`).
pub fn run(socket: &Path, tool: &Path, within: Duration) -> Result<String, String> {
    let mut gate = Gate {
        alive: &|| UnixStream::connect(socket).is_ok(),
        round_trip: &mut |left| round_trip(tool, left),
        pause: Duration::from_millis(GATE_PAUSE_MS),
        patience: Duration::from_secs(DAEMON_PATIENCE_S),
    };
    gate.pass(within)
}

fn round_trip(tool: &Path, left: Duration) -> Result<String, String> {
    let output = Command::new(tool)
        .arg("selftest")
        .arg("--within")
        .arg(format!("{}s", left.as_secs().max(1)))
        .output()
        .map_err(|error| format!("{}: {error}", tool.display()))?;
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(words(&output.stdout))
    } else {
        Err(words(&output.stderr)
            .trim_start_matches("ringpostctl: ")
            .to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn pass(
        alive: &dyn Fn() -> bool,
        round_trip: &mut dyn FnMut(Duration) -> Result<String, String>,
    ) -> Result<String, String> {
        let mut gate = Gate {
            alive,
            round_trip,
            pause: Duration::from_millis(1),
            patience: Duration::from_millis(30),
        };
        gate.pass(Duration::from_secs(60))
    }

    #[test]
    fn a_daemon_that_comes_late_passes() {
        let looks = Cell::new(0);
        let alive = || {
            looks.set(looks.get() + 1);
            looks.get() > 3
        };
        let told = pass(&alive, &mut |_| Ok("by IMAP".into()));
        assert_eq!(told, Ok("by IMAP".to_owned()));
    }

    #[test]
    fn a_daemon_that_never_comes_is_said_and_not_tested() {
        let told = pass(&|| false, &mut |_| panic!("there is no daemon"));
        assert!(told.is_err_and(|why| why.contains("did not answer")));
    }

    #[test]
    fn one_failed_round_trip_is_forgiven_and_two_are_not() {
        let mut trips = 0;
        let told = pass(&|| true, &mut |_| {
            trips += 1;
            if trips == 1 {
                Err("451".into())
            } else {
                Ok("250".into())
            }
        });
        assert_eq!(told, Ok("250".to_owned()));
        let told = pass(&|| true, &mut |_| Err("SMTP: RCPT TO".into()));
        assert_eq!(told, Err("SMTP: RCPT TO".to_owned()));
    }

    #[test]
    fn the_last_words_of_the_tool_are_the_reason() {
        assert!(round_trip(Path::new("/nowhere/ringpostctl"), Duration::ZERO).is_err());
        assert_eq!(
            round_trip(Path::new("/bin/false"), Duration::ZERO),
            Err(String::new())
        );
    }
}
