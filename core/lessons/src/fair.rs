//! How much of a domain's model one account may write in a day.
//!
//! Everyone's lessons go to the model of their domain, which all of its people are served by. Without a share one account could fill it alone: a
//! person who files whole folders as junk, or one whose password is stolen. With `DOMAIN_SHARE` a day it needs more than a week for what
//! the model holds of a kind, while the others teach on. What an account teaches its own model has no share.
//!
//! The counts are in memory alone. A restart begins a new day for every account, which costs a domain one share of each; a record of the log for
//! every lesson's giver would cost more than that. A correction is free: it adds no message to the model.

use std::collections::HashMap;

use crate::limits::{DOMAIN_SHARE, GIVERS_MAX};
use crate::model::Kind;

/// What accounts taught their domains today.
#[derive(Default)]
pub(crate) struct Given {
    /// Days since 1970.
    day: i64,
    /// Messages of junk and of good mail.
    counts: HashMap<u32, [u8; 2]>,
}

impl Given {
    /// Whether a message more of the account counts for its domain.
    pub fn has_room(&mut self, account: u32, kind: Kind, unix_seconds: i64) -> bool {
        let today = unix_seconds.div_euclid(DAY_S);
        // A clock that was put back begins a day too.
        if today != self.day {
            (self.day, self.counts) = (today, HashMap::new());
        }
        match self.counts.get(&account) {
            Some(counts) => counts[kind.index()] < DOMAIN_SHARE,
            None => self.counts.len() < GIVERS_MAX,
        }
    }

    /// It does. Asked before, on the same day.
    pub fn note(&mut self, account: u32, kind: Kind) {
        let counts = self.counts.entry(account).or_default();
        let count = &mut counts[kind.index()];
        *count = count.saturating_add(1);
    }
}

const DAY_S: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_has_its_share_of_each_kind_and_every_day_another() {
        let mut given = Given::default();
        for _ in 0..DOMAIN_SHARE {
            assert!(given.has_room(1, Kind::Junk, 100));
            given.note(1, Kind::Junk);
        }
        assert!(!given.has_room(1, Kind::Junk, DAY_S - 1));
        assert!(given.has_room(1, Kind::Good, 100));
        assert!(given.has_room(2, Kind::Junk, 100));
        assert!(given.has_room(1, Kind::Junk, DAY_S), "the next day");
        given.note(1, Kind::Junk);
        assert!(given.has_room(1, Kind::Junk, 0), "the clock was put back");
    }

    #[test]
    fn the_accounts_of_a_day_are_bounded() {
        let mut given = Given::default();
        for account in 0..GIVERS_MAX as u32 {
            assert!(given.has_room(account, Kind::Junk, 0));
            given.note(account, Kind::Junk);
        }
        assert!(!given.has_room(GIVERS_MAX as u32, Kind::Junk, 0));
        assert!(given.has_room(0, Kind::Junk, 0), "it is known");
    }
}
