//! When a certificate is ordered, and when again after a failure. It is kept in the state directory, so that a daemon which is started over and
//! over does not ask the authority each time. Pure: the time is given.

use std::path::Path;

use ::admin::certificate::Facts;
use files::Mode;
use serde::{Deserialize, Serialize};

/// After the first failure; each further one doubles it.
const AGAIN_S: i64 = 5 * 60;
const AGAIN_MAX_S: i64 = 24 * 60 * 60;
/// What an authority asks for beyond this is not believed: a wrong date would end all renewals.
const LIMITED_MAX_S: i64 = 8 * 24 * 60 * 60;
/// How often the authority is asked when to renew (RFC 9773 §4.3.2), whatever it says.
const LOOK_MIN_S: i64 = 60 * 60;
const LOOK_MAX_S: i64 = 24 * 60 * 60;
/// A certificate that was given is not ordered again before, whatever its dates and the authority's window are: an authority that always wants it
/// renewed at once is not asked in a loop.
const GIVEN_S: i64 = 60 * 60;
/// A record from further in the future than this is of a clock that was wrong.
const CLOCK_S: i64 = 60 * 60;

/// What came of the tries so far. Times are in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tries {
    /// In a row.
    pub failures: u32,
    /// When the authority last gave a certificate.
    pub given_s: i64,
    pub last_s: i64,
    /// No try before.
    pub next_s: i64,
    /// The authority said so: not even by hand.
    pub limited_s: i64,
    /// Why the last one failed.
    pub error: Option<String>,
    pub window: Option<Window>,
    /// When the authority is asked for the window again.
    pub look_s: i64,
}

/// When the authority wants the certificate renewed (RFC 9773), and the moment in it that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub start_s: i64,
    pub end_s: i64,
    pub chosen_s: i64,
}

impl Tries {
    /// What was kept; nothing where there is none, or where the clock has gone back. A file that cannot be read holds a try back as a failure
    /// does: unknown is not absent.
    pub fn read(path: &Path, now_s: i64) -> Tries {
        let read = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(std::io::Error::from),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Tries::default()),
            Err(error) => Err(error),
        };
        match read {
            Ok(tries) if tries.last_s > now_s + CLOCK_S => Tries::default(),
            Ok(tries) => tries,
            Err(error) => Tries {
                last_s: now_s,
                next_s: now_s + AGAIN_S,
                error: Some(format!("{} cannot be read: {error}", path.display())),
                ..Tries::default()
            },
        }
    }

    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        files::replace(path, &serde_json::to_vec(self)?, Mode::Private)
    }

    /// When the certificate with these facts is to be replaced; `None`: there is none for all `names`.
    pub fn due_s(&self, facts: Option<&Facts>, names: &[String]) -> i64 {
        let Some(facts) = facts.filter(|facts| covers(facts, names)) else {
            return 0;
        };
        let life_s = facts.not_after_s - facts.not_before_s;
        let due_s = match &self.window {
            // A window that ends after the certificate does not help.
            Some(window) => window.chosen_s.min(facts.not_after_s - life_s / 10),
            None => facts.not_after_s - life_s / 3,
        };
        due_s.max(self.given_s.saturating_add(GIVEN_S))
    }

    /// When the next try is: not before it is due, and not before a failure or the authority allows it.
    pub fn try_s(&self, due_s: i64) -> i64 {
        due_s.max(self.next_s).max(self.limited_s)
    }

    /// A try begins. Written before it, this is what a crash leaves: a try that failed.
    pub fn begin(&mut self, now_s: i64, jitter: f64) {
        self.fail(now_s, "the try was cut short".to_owned(), None, jitter);
    }

    /// The try that `begin` counted has failed. `limited_s`: not before, says the authority.
    pub fn end_failed(&mut self, now_s: i64, why: String, limited_s: Option<i64>, jitter: f64) {
        self.failures = self.failures.saturating_sub(1);
        self.fail(now_s, why, limited_s, jitter);
    }

    fn fail(&mut self, now_s: i64, why: String, limited_s: Option<i64>, jitter: f64) {
        let doubled = AGAIN_S << self.failures.min(16);
        let pause_s = doubled.min(AGAIN_MAX_S);
        self.failures = self.failures.saturating_add(1);
        self.last_s = now_s;
        self.next_s = now_s + pause_s + (pause_s as f64 * jitter / 4.0) as i64;
        self.error = Some(why);
        if let Some(limited_s) = limited_s {
            self.limited_s = limited_s.min(now_s + LIMITED_MAX_S);
        }
    }

    pub fn end_well(&mut self, now_s: i64) {
        *self = Tries {
            last_s: now_s,
            given_s: now_s,
            ..Tries::default()
        };
    }

    /// The authority's answer to when; the chosen moment stays as long as the window does. `chance`: 0 to 1.
    pub fn set_window(
        &mut self,
        now_s: i64,
        (start_s, end_s): (i64, i64),
        again_s: i64,
        chance: f64,
    ) {
        let is_same = |window: &Window| window.start_s == start_s && window.end_s == end_s;
        if !self.window.as_ref().is_some_and(is_same) {
            let span_s = end_s.saturating_sub(start_s).max(0);
            self.window = Some(Window {
                start_s,
                end_s,
                chosen_s: start_s.saturating_add((span_s as f64 * chance) as i64),
            });
        }
        self.look_s = now_s + again_s.clamp(LOOK_MIN_S, LOOK_MAX_S);
    }

    /// The authority does not say when, or cannot be asked.
    pub fn no_window(&mut self, now_s: i64) {
        self.look_s = now_s + LOOK_MAX_S / 4;
    }
}

/// Whether a certificate is for all `names`.
pub fn covers(facts: &Facts, names: &[String]) -> bool {
    let has = |name: &String| facts.names.iter().any(|one| one.eq_ignore_ascii_case(name));
    names.iter().all(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 24 * 60 * 60;

    fn facts() -> Facts {
        Facts {
            self_made: false,
            names: vec!["mail.example.org".to_owned()],
            not_before_s: 0,
            not_after_s: 90 * DAY_S,
        }
    }

    fn names() -> Vec<String> {
        facts().names
    }

    #[test]
    fn without_a_window_a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
        let tries = Tries::default();
        assert_eq!(tries.due_s(Some(&facts()), &names()), 60 * DAY_S);
        assert_eq!(tries.due_s(None, &names()), 0);
        let more = ["mail.example.org", "mta-sts.example.org"].map(str::to_owned);
        assert_eq!(tries.due_s(Some(&facts()), &more), 0, "another name");
    }

    /// RFC 9773 §4.2.
    #[test]
    fn a_window_counts_as_long_as_it_is_before_the_end_and_its_moment_stays() {
        let mut tries = Tries::default();
        tries.set_window(0, (10 * DAY_S, 20 * DAY_S), 6 * 60 * 60, 0.5);
        assert_eq!(tries.due_s(Some(&facts()), &names()), 15 * DAY_S);
        assert_eq!(tries.look_s, 6 * 60 * 60);
        tries.set_window(DAY_S, (10 * DAY_S, 20 * DAY_S), 1, 0.9);
        assert_eq!(tries.due_s(Some(&facts()), &names()), 15 * DAY_S);
        assert_eq!(tries.look_s, DAY_S + LOOK_MIN_S, "not in a tight loop");
        // The authority revokes early: the window is in the past.
        tries.set_window(2 * DAY_S, (0, DAY_S), i64::MAX, 0.9);
        assert!(tries.due_s(Some(&facts()), &names()) < DAY_S);
        assert_eq!(tries.look_s, 2 * DAY_S + LOOK_MAX_S);
        tries.set_window(0, (200 * DAY_S, 300 * DAY_S), 1, 0.0);
        assert_eq!(tries.due_s(Some(&facts()), &names()), 81 * DAY_S);
        tries.set_window(0, (i64::MAX, i64::MIN), 1, 1.0);
        assert_eq!(tries.due_s(Some(&facts()), &names()), 81 * DAY_S);
    }

    #[test]
    fn failures_come_further_apart_up_to_a_day_and_a_success_ends_them() {
        let mut tries = Tries::default();
        let mut pauses = Vec::new();
        for _ in 0..70 {
            tries.begin(1_000, 0.0);
            tries.end_failed(1_000, "no".to_owned(), None, 0.0);
            pauses.push(tries.next_s - 1_000);
        }
        assert_eq!(pauses[..3], [AGAIN_S, 2 * AGAIN_S, 4 * AGAIN_S]);
        assert_eq!(pauses[69], AGAIN_MAX_S);
        assert_eq!(tries.failures, 70);
        tries.end_failed(1_000, "no".to_owned(), None, 1.0);
        assert_eq!(tries.next_s - 1_000, AGAIN_MAX_S + AGAIN_MAX_S / 4);
        tries.end_well(2_000);
        assert_eq!(
            (tries.failures, tries.try_s(0), &tries.error),
            (0, 0, &None)
        );
    }

    #[test]
    fn an_authority_that_says_when_is_waited_for_within_reason() {
        let mut tries = Tries::default();
        tries.end_failed(0, "429".to_owned(), Some(3 * DAY_S), 0.0);
        assert_eq!(tries.try_s(0), 3 * DAY_S);
        tries.end_failed(0, "429".to_owned(), Some(i64::MAX), 0.0);
        assert_eq!(tries.try_s(0), LIMITED_MAX_S);
    }

    #[test]
    fn an_authority_that_always_wants_a_renewal_at_once_is_not_asked_in_a_loop() {
        let mut tries = Tries::default();
        tries.end_well(5 * DAY_S);
        tries.set_window(5 * DAY_S, (0, DAY_S), 0, 0.5);
        let due_s = tries.due_s(Some(&facts()), &names());
        assert_eq!(tries.try_s(due_s), 5 * DAY_S + GIVEN_S);
        let ended = Facts {
            not_after_s: 5 * DAY_S + 1,
            ..facts()
        };
        assert_eq!(tries.due_s(Some(&ended), &names()), 5 * DAY_S + GIVEN_S);
        // Other names are another certificate.
        assert_eq!(tries.due_s(Some(&facts()), &["a.example".to_owned()]), 0);
    }

    /// The daemon is killed in the middle of each try, and started again at once.
    #[test]
    fn a_daemon_that_is_started_over_and_over_does_not_ask_each_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("acme.json");
        let mut asked = 0;
        for now_s in 10_000..10_000 + AGAIN_S {
            let mut tries = Tries::read(&path, now_s);
            if tries.try_s(0) <= now_s {
                asked += 1;
                tries.begin(now_s, 0.0);
                tries.write(&path).expect("written");
            }
        }
        assert_eq!(asked, 1);
        let kept = Tries::read(&path, 10_001);
        assert_eq!(kept.error.as_deref(), Some("the try was cut short"));
        // A clock that was years ahead left it.
        assert_eq!(Tries::read(&path, 10_000 - 2 * CLOCK_S), Tries::default());
        std::fs::write(&path, b"{").expect("written");
        assert!(Tries::read(&path, 10_000).try_s(0) > 10_000);
    }
}
