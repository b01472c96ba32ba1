//! When a report is due, and which ones an administrator wants.

use std::hash::{DefaultHasher, Hash, Hasher};

use reports::Key;
use storage::tallies::Wanted;

pub(super) fn is_wanted(wanted: &Wanted, key: &Key) -> bool {
    let is_day = wanted.day.is_none_or(|day| day == key.day);
    let is_domain = wanted.domain.as_ref().is_none_or(|domain| {
        let domain = domain.trim_end_matches('.').to_lowercase();
        domain == key.name || dkim::ascii_domain(&domain) == key.name
    });
    is_day && is_domain
}

/// After the day's end, each domain at a time of its own: a reporter does not send everything at midnight (RFC 8460 §5.4).
pub(super) fn due_at(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    key.day.end() + SETTLED_S + hasher.finish() % SPREAD_S
}

/// Whether one that waits until `at` waits still. A clock that was set back since does not make it wait longer.
pub(super) fn waits(now: u64, at: u64) -> bool {
    (1..=AGAIN_S).contains(&at.saturating_sub(now))
}

/// What was counted in the last minute of a day is written down by then.
const SETTLED_S: u64 = 180;
const SPREAD_S: u64 = 4 * 3_600;
/// A look-up that had no answer is made again; after the third day the counts are gone (`storage::tallies::KEPT_DAYS`).
pub(super) const AGAIN_S: u64 = 3_600;

#[cfg(test)]
mod tests {
    use reports::Day;
    use storage::tallies::DMARC_SEEN;

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_wait() {
        assert!(waits(5_000, 5_001) && waits(5_000, 5_000 + AGAIN_S));
        assert!(!waits(5_000, 5_000));
        assert!(!waits(5_000, 90_000));
    }

    fn key(name: &str) -> Key {
        Key {
            subject: DMARC_SEEN,
            day: Day(20_000),
            name: name.to_owned(),
        }
    }

    #[test]
    fn reports_are_spread_over_the_hours_behind_the_day() {
        let times: Vec<u64> = (0..100)
            .map(|each| due_at(&key(&format!("{each}.example"))))
            .collect();
        let end = Day(20_000).end();
        let hours = end + SETTLED_S..end + SETTLED_S + SPREAD_S;
        assert!(times.iter().all(|at| hours.contains(at)));
        let early = times.iter().filter(|at| **at < end + SPREAD_S / 2);
        assert!((20..80).contains(&early.count()));
    }

    #[test]
    fn a_wish_names_a_day_a_domain_or_neither() {
        let of = |day: Option<u32>, domain: Option<&str>| Wanted {
            day: day.map(Day),
            domain: domain.map(str::to_owned),
        };
        let one = key("xn--bcher-kva.example");
        assert!(is_wanted(&of(None, None), &one));
        assert!(is_wanted(
            &of(Some(20_000), Some("B\u{dc}cher.example.")),
            &one
        ));
        assert!(!is_wanted(&of(Some(20_001), None), &one));
        assert!(!is_wanted(&of(None, Some("a.example")), &one));
    }
}
