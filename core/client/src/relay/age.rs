//! Whether messages may be given up for their age just now.
//!
//! A message's times are times of day, and the day's clock can be wrong: it jumps when a time server is first heard, or when an administrator
//! sets it, and after days without power the mail that waited looks old though it was never tried. So age counts only while the clock
//! has been steady: for `STEADY` after the start and after each jump what is past its time is tried on as usual, and given up only then.
//! The box's other clock, which only counts, says what a jump is.

use std::cell::Cell;

use base::Time;

use super::limits::{JUMP, STEADY};

/// Watches the clock of one sender.
pub struct Age {
    /// Both clocks when they were looked at last: the counter, and seconds since 1970.
    seen: Cell<Option<(Time, i64)>>,
    steady_from: Cell<Time>,
}

impl Age {
    pub fn new() -> Age {
        Age {
            seen: Cell::new(None),
            steady_from: Cell::new(Time(0)),
        }
    }

    /// Both clocks, at one moment. Called often: a jump between two calls is one beyond what the counter says has passed.
    pub fn look(&self, now: Time, unix_seconds: i64) {
        let jump_s = match self.seen.replace(Some((now, unix_seconds))) {
            None => i64::MAX,
            Some((then, seconds)) => {
                let passed = (now.since_us(then) / 1_000_000) as i64;
                unix_seconds.saturating_sub(seconds).saturating_sub(passed)
            }
        };
        if jump_s.unsigned_abs() < JUMP.as_secs() {
            return;
        }
        if jump_s != i64::MAX {
            tracing::warn!(
                seconds = jump_s,
                "the clock jumped: for some hours no message is given up for its age"
            );
        }
        self.steady_from
            .set(now.after_us(STEADY.as_micros() as u64));
    }

    /// Whether what is past its time is given up.
    pub fn counts(&self, now: Time) -> bool {
        now >= self.steady_from.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEADY_US: u64 = STEADY.as_micros() as u64;
    const NOON: i64 = 1_700_000_000;

    #[test]
    fn age_counts_some_hours_after_the_start() {
        let age = Age::new();
        for (us, counts) in [(0, false), (STEADY_US - 1, false), (STEADY_US, true)] {
            age.look(Time(us), NOON + (us / 1_000_000) as i64);
            assert_eq!(age.counts(Time(us)), counts, "after {us} us");
        }
    }

    #[test]
    fn a_jump_either_way_begins_it_again_and_small_corrections_do_not() {
        for (jump_s, counts) in [
            (5 * 86_400, false),
            (-5 * 86_400, false),
            (30, true),
            (-30, true),
        ] {
            let age = Age::new();
            age.look(Time(0), NOON);
            let now = Time(STEADY_US * 2);
            age.look(now, NOON + (now.0 / 1_000_000) as i64);
            assert!(age.counts(now));
            let later = now.after_us(1_000_000);
            age.look(later, NOON + (later.0 / 1_000_000) as i64 + jump_s);
            assert_eq!(age.counts(later), counts, "a jump of {jump_s} s");
            assert!(age.counts(later.after_us(STEADY_US)));
        }
    }
}
