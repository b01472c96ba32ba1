//! How fast messages of one sender's domain come.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use base::Time;

use crate::limits::SENDERS_MAX;
use crate::peers::Pace;
use crate::table::{self, Table};

const HOUR_US: u64 = 3_600_000_000;

/// Domains by a keyed hash: names of any length cost the same, and no sender can choose two that meet.
pub(crate) struct Senders {
    paces: Table<u64, Pace>,
    keys: RandomState,
}

pub(crate) const BYTES_MAX: usize = table::bytes_max::<u64, Pace>(SENDERS_MAX);

impl Senders {
    pub fn new() -> Senders {
        Senders {
            paces: Table::new(SENDERS_MAX),
            keys: RandomState::new(),
        }
    }

    /// Counts one message of `domain`; `false`: it is one too many in an hour, and is not counted. 0: without a limit.
    pub fn takes(&mut self, domain: &str, hour_max: u32, now: Time) -> bool {
        if hour_max == 0 {
            return true;
        }
        let key = self.keys.hash_one(domain.to_ascii_lowercase());
        let pace = self.paces.touch(key, |_| false);
        pace.takes(hour_max, HOUR_US, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_its_messages_an_hour_however_it_is_spelled() {
        let mut senders = Senders::new();
        let mut now = Time(5);
        assert!(senders.takes("example.net", 2, now) && senders.takes("Example.NET", 2, now));
        assert!(!senders.takes("example.net", 2, now));
        assert!(senders.takes("example.com", 2, now));
        assert!(senders.takes("example.net", 0, now), "no limit");
        now = now.after_us(HOUR_US / 2);
        assert!(senders.takes("example.net", 2, now));
        assert!(!senders.takes("example.net", 2, now));
        for number in 0..2 * SENDERS_MAX {
            senders.takes(&format!("d{number}.example"), 2, now);
        }
        assert_eq!(senders.paces.len(), SENDERS_MAX);
    }
}
