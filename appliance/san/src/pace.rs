//! When something that did not work is tried again.

use std::time::{Duration, Instant};

/// Waits twice as long after each failure.
#[derive(Debug, Clone)]
pub struct Pace {
    first: Duration,
    most: Duration,
    wait: Duration,
    not_before: Option<Instant>,
}

impl Pace {
    pub fn new(first: Duration, most: Duration) -> Pace {
        Pace {
            first,
            most,
            wait: first,
            not_before: None,
        }
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| now >= at)
    }

    /// An attempt begins; the next one not before the wait is over.
    pub fn begin(&mut self, now: Instant) {
        self.not_before = Some(now + self.wait);
        self.wait = (self.wait * 2).min(self.most);
    }

    /// All is well.
    pub fn reset(&mut self) {
        self.wait = self.first;
        self.not_before = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_up_to_the_bound() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(second, second * 4);
        let mut now = Instant::now();
        assert!(pace.is_due(now));
        for wait in [1, 2, 4, 4] {
            pace.begin(now);
            assert!(!pace.is_due(now + second * wait - Duration::from_millis(1)));
            now += second * wait;
            assert!(pace.is_due(now));
        }
        pace.reset();
        assert!(pace.is_due(now));
        pace.begin(now);
        assert!(pace.is_due(now + second));
    }
}
