//! What a sender knows of one destination: how many connections it bears, and whether it is left alone for a while.
//!
//! Pure but for the jobs that wait here.

use std::collections::VecDeque;
#[cfg(test)]
use std::time::Duration;

use base::Time;
use base::host::Bell;

use super::letter::Job;
use super::limits::*;
use super::verdict::Verdict;

pub struct Site {
    pub jobs: VecDeque<Job>,
    /// Rung when jobs came.
    pub bell: Bell,
    /// Tasks that have a connection to it, or make one.
    pub workers: usize,
    /// Of them, those that wait for a job.
    pub idle: usize,
    /// How many there may be.
    pub limit: usize,
    /// It took something lately.
    pub answers: bool,
    /// Troubles in a row.
    troubles: u32,
    asleep_until: Option<Time>,
    /// What its last trouble was.
    pub last: Option<Verdict>,
}

impl Site {
    pub fn new() -> Site {
        Site {
            jobs: VecDeque::new(),
            bell: Bell::new(),
            workers: 0,
            idle: 0,
            limit: SITE_CONNECTIONS,
            answers: false,
            troubles: 0,
            asleep_until: None,
            last: None,
        }
    }

    pub fn is_asleep(&self, now: Time) -> bool {
        self.asleep_until.is_some_and(|until| now < until)
    }

    pub fn is_busy(&self) -> bool {
        self.workers > 0 || !self.jobs.is_empty()
    }

    /// How many messages more it may have at hand.
    pub fn room(&self, now: Time) -> usize {
        let has = self.jobs.len() + self.workers - self.idle;
        match (self.is_asleep(now), self.answers) {
            (true, _) => 0,
            (false, true) => SITE_LETTERS_MAX.saturating_sub(has),
            (false, false) => PROBE_LETTERS_MAX.saturating_sub(has),
        }
    }

    /// Connections to be made for what waits.
    pub fn wants(&self, now: Time) -> usize {
        let limit = if self.answers { self.limit } else { 1 };
        let some = self.jobs.len().saturating_sub(self.idle);
        match self.is_asleep(now) {
            true => 0,
            false => some.min(limit.saturating_sub(self.workers)),
        }
    }

    /// It is tried again at once.
    pub fn wake(&mut self) {
        self.asleep_until = None;
    }

    /// It took a message, or refused one in an orderly way.
    pub fn succeeded(&mut self) {
        self.answers = true;
        self.troubles = 0;
        self.asleep_until = None;
        self.limit = (self.limit + 1).min(SITE_CONNECTIONS_MAX);
    }

    /// It bears fewer connections than it has; others of them are well.
    pub fn is_crowded(&mut self) {
        self.limit = (self.limit.min(self.workers) / 2).max(1);
    }

    /// A connection broke, or none could be made. `severe`: nothing better is expected of the next one. When the site is left alone the
    /// answer is `true`; `jitter` in thousandths of the time.
    pub fn failed(&mut self, verdict: Verdict, severe: bool, now: Time, jitter: u64) -> bool {
        self.limit = (self.limit / 2).max(1);
        self.troubles = self.troubles.saturating_add(1);
        self.last = Some(verdict);
        if !severe && self.troubles < TROUBLES_BORNE {
            return false;
        }
        self.answers = false;
        let doubled = ASLEEP * (1 << (self.troubles - 1).min(10));
        let span = doubled.min(ASLEEP_MAX) * (1_000 + jitter as u32) / 1_000;
        self.asleep_until = Some(now.after_us(span.as_micros() as u64));
        true
    }

    /// How long it is left alone.
    #[cfg(test)]
    pub fn sleeps(&self, now: Time) -> Duration {
        let us = self.asleep_until.map_or(0, |until| until.since_us(now));
        Duration::from_micros(us)
    }
}

/// Connections that broke in a row before the site is left alone.
const TROUBLES_BORNE: u32 = 3;

#[cfg(test)]
mod tests {
    use super::super::verdict::{Class, Said};
    use super::*;

    fn later() -> Verdict {
        Verdict::Later(Class::Connect, Said::default())
    }

    #[test]
    fn a_site_sleeps_longer_each_time_and_wakes_to_one_try() {
        let mut site = Site::new();
        let mut now = Time(0);
        let mut before = Duration::ZERO;
        for _ in 0..10 {
            assert!(site.failed(later(), true, now, 0));
            assert_eq!((site.room(now), site.wants(now)), (0, 0));
            let span = site.sleeps(now);
            assert!(span >= before && span <= ASLEEP_MAX);
            (before, now) = (span, now.after_us(span.as_micros() as u64));
            assert!(!site.is_asleep(now));
            assert_eq!(site.room(now), PROBE_LETTERS_MAX);
        }
        assert_eq!(before, ASLEEP_MAX);
        site.succeeded();
        assert_eq!(site.room(now), SITE_LETTERS_MAX);
        assert!(site.failed(later(), true, now, 0));
        assert_eq!(site.sleeps(now), ASLEEP, "it begins again");
    }

    #[test]
    fn connections_grow_by_one_and_are_halved() {
        let mut site = Site::new();
        for _ in 0..100 {
            site.succeeded();
        }
        assert_eq!(site.limit, SITE_CONNECTIONS_MAX);
        site.workers = 12;
        site.is_crowded();
        assert_eq!(site.limit, 6);
        assert!(!site.failed(later(), false, Time(0), 0), "one may break");
        assert_eq!(site.limit, 3);
        assert!(!site.failed(later(), false, Time(0), 0));
        assert!(site.failed(later(), false, Time(0), 0));
        assert_eq!(site.limit, 1);
    }
}
