//! When a message is tried again, and when it is given up (RFC 5321 §4.5.4.1): by what went wrong, not by one table for everything.
//!
//! Pure: time comes in, and the jitter is drawn from the caller's random numbers.

use queue::{RecipientState, UnixSeconds};

pub use storage::outgoing::lifetimes;

use super::verdict::{Class, Verdict};

const MINUTE: u64 = 60;

impl Class {
    /// Minutes before the second try, the third and so on; the last for all that follow. A greylisting server lets pass after one to
    /// five minutes, so a refusal is met early; a host that does not answer is rarely back within minutes.
    fn minutes(self) -> &'static [u64] {
        match self {
            Class::Rest => &[0],
            Class::Refused => &[5, 10, 20, 40, 60, 120, 180, 240],
            Class::Closing => &[2, 5, 10, 20, 40, 60, 120, 180],
            Class::Connect => &[5, 15, 30, 60, 120, 180, 240],
            Class::Broken => &[2, 10, 30, 60, 120, 180, 240],
            Class::Names => &[5, 15, 30, 60, 120],
            Class::Tls => &[15, 60, 120, 240],
            Class::Ours => &[1, 2, 5, 10, 15, 30],
        }
    }

    /// From one try to the next; `tries` were made, this one included.
    pub fn wait_s(self, tries: u32, random: &mut fastrand::Rng) -> u64 {
        let minutes = self.minutes();
        let at = (tries.max(1) as usize - 1).min(minutes.len() - 1);
        let span = minutes[at] * MINUTE;
        // A tenth more or less: what failed together does not come back together.
        span - span / 10 + random.u64(..=span / 5)
    }
}

/// What is to become of a recipient after its try number `tries`, at `now`.
pub fn decide(
    verdict: &Verdict,
    tries: u32,
    now: UnixSeconds,
    expires: UnixSeconds,
    random: &mut fastrand::Rng,
) -> RecipientState {
    match verdict {
        Verdict::Delivered(_) => RecipientState::Delivered,
        Verdict::Failed(_) => RecipientState::Failed,
        Verdict::Later(..) if now >= expires => RecipientState::Failed,
        Verdict::Later(class, _) => {
            let next = now.0.saturating_add(class.wait_s(tries, random));
            // The last try is at the end.
            RecipientState::Waiting(UnixSeconds(next.min(expires.0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use storage::outgoing::{LIFE_S, WARN_AFTER_S};

    use super::super::verdict::Said;
    use super::*;

    const CLASSES: [Class; 8] = [
        Class::Refused,
        Class::Rest,
        Class::Closing,
        Class::Connect,
        Class::Broken,
        Class::Names,
        Class::Tls,
        Class::Ours,
    ];

    #[test]
    fn waits_grow_to_hours_and_a_life_has_some_forty_tries() {
        let mut random = fastrand::Rng::with_seed(1);
        for class in CLASSES {
            let (now, expires) = (UnixSeconds(1_000), UnixSeconds(1_000 + LIFE_S));
            let (mut at, mut tries, mut before) = (now, 0, 0);
            let verdict = Verdict::Later(class, Said::default());
            if class == Class::Rest {
                continue;
            }
            loop {
                // until it is given up
                tries += 1;
                match decide(&verdict, tries, at, expires, &mut random) {
                    RecipientState::Waiting(next) => {
                        let span = next.0 - at.0;
                        assert!(
                            span * 2 > before || next == expires,
                            "{class:?}: {span} after {before}"
                        );
                        assert!(span >= 54 || next == expires, "{class:?}");
                        assert!(span <= 4 * 3_600 * 11 / 10, "{class:?}");
                        (at, before) = (next, span);
                    }
                    RecipientState::Failed => break,
                    RecipientState::Delivered => panic!("it was not"),
                }
            }
            assert!(tries < 300, "{class:?}: {tries}");
            if class == Class::Refused {
                assert_eq!(at, expires, "the last try is at the end");
                assert!((30..60).contains(&tries), "{tries}");
            }
        }
    }

    #[test]
    fn what_is_for_good_and_what_is_not() {
        let mut random = fastrand::Rng::with_seed(1);
        let (now, expires) = (UnixSeconds(100), UnixSeconds(200));
        let said = Said::default;
        let failed = decide(&Verdict::Failed(said()), 1, now, expires, &mut random);
        assert_eq!(failed, RecipientState::Failed);
        let delivered = Verdict::Delivered(said());
        let late = UnixSeconds(300);
        let state = decide(&delivered, 1, late, expires, &mut random);
        assert_eq!(state, RecipientState::Delivered, "however late");
        let later = Verdict::Later(Class::Rest, said());
        let state = decide(&later, 9, now, expires, &mut random);
        assert_eq!(state, RecipientState::Waiting(now));
        let state = decide(&later, 9, expires, expires, &mut random);
        assert_eq!(state, RecipientState::Failed);
    }

    #[test]
    fn a_message_that_is_not_answered_lives_shorter_and_warns_nobody() {
        let now = UnixSeconds(1_000);
        let (warns, expires) = lifetimes(now, true);
        assert_eq!(warns, UnixSeconds(0));
        let (others_warn, others_expire) = lifetimes(now, false);
        assert!(expires < others_expire);
        assert_eq!(others_warn.0, 1_000 + WARN_AFTER_S);
    }

    #[test]
    fn one_seed_gives_one_schedule_and_two_give_two() {
        let waits = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let each = (1..20).map(|tries| Class::Connect.wait_s(tries, &mut random));
            each.collect::<Vec<u64>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
    }
}
