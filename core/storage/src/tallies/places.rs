//! How many domains of a day one network of strangers may bring into the sheets of what was seen.
//!
//! A sheet is a place, and a day has `SHEETS_PER_DAY_MAX` of them. The owner of a zone can answer for any number of names in it. So a network that has brought its
//! share of new domains brings no more on that day; what it sends for domains that have a sheet is counted as ever.
//!
//! What must hold: what is remembered is bounded by the places of a day. A restart forgets who brought what, and not the sheets.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use base::Network;
use reports::limits::SHEETS_PER_DAY_MAX;
use reports::{Day, Key};

/// Of the places of a day. A provider that sends for more domains than these to one server on one day has its reports cut short there.
pub const NEW_PER_NETWORK_MAX: usize = SHEETS_PER_DAY_MAX / 5;
const BITS_V4: u8 = 24;
const BITS_V6: u8 = 48;

/// Who brought the domains of one day.
#[derive(Default)]
pub(super) struct Places {
    day: Option<Day>,
    names: HashSet<String>,
    brought: HashMap<Network, usize>,
}

impl Places {
    /// Whether a message from `peer` may be counted.
    pub fn admits(&mut self, key: &Key, peer: IpAddr) -> bool {
        if self.day != Some(key.day) {
            *self = Places {
                day: Some(key.day),
                ..Places::default()
            };
        }
        // A day whose places are all taken has none to give away, and `reports` refuses more.
        if self.names.contains(&key.name) || self.names.len() >= SHEETS_PER_DAY_MAX {
            return true;
        }
        let bits = match peer.to_canonical().is_ipv4() {
            true => BITS_V4,
            false => BITS_V6,
        };
        let brought = self.brought.entry(Network::around(peer, bits)).or_default();
        if *brought >= NEW_PER_NETWORK_MAX {
            return false;
        }
        *brought += 1;
        self.names.insert(key.name.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tallies::DMARC_SEEN;

    fn key(day: u32, name: &str) -> Key {
        Key {
            subject: DMARC_SEEN,
            day: Day(day),
            name: name.to_owned(),
        }
    }

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_wildcard_zone_takes_its_share_of_a_day_and_no_more() {
        let mut places = Places::default();
        let forged = |number: usize| key(1, &format!("n{number}.evil.example"));
        for (network, first) in [("192.0.2", 0), ("2001:db8:0", 1_000)] {
            let peer = |number: usize| match network.contains(':') {
                true => at(&format!("{network}:{:x}::1", number % 250)),
                false => at(&format!("{network}.{}", number % 250)),
            };
            let admitted = (0..1_000).filter(|number| {
                let key = forged(first + number);
                places.admits(&key, peer(*number))
            });
            assert_eq!(admitted.count(), NEW_PER_NETWORK_MAX, "{network}");
        }
        // Others have their places, and so has it for what it brought.
        assert!(places.admits(&key(1, "a.example"), at("198.51.100.1")));
        assert!(places.admits(&key(1, "a.example"), at("192.0.2.1")));
        assert!(places.admits(&forged(0), at("192.0.2.1")));
        assert!(!places.admits(&key(1, "b.example"), at("::ffff:192.0.2.9")));
        assert!(
            places.admits(&key(2, "b.example"), at("192.0.2.9")),
            "another day"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut places = Places::default();
        for number in 0..10_000u32 {
            let peer = IpAddr::from((0x0a00_0000 + (number << 8)).to_be_bytes());
            assert!(places.admits(&key(1, &number.to_string()), peer));
        }
        assert_eq!(places.names.len(), SHEETS_PER_DAY_MAX);
        assert_eq!(places.brought.len(), SHEETS_PER_DAY_MAX);
    }
}
