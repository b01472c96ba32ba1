//! Greylisting (RFC 6647): a peer that is not known gets a 4xx reply, and is let through when it comes again.
//!
//! A triplet is the peer's network, the sender and the recipient. Its first message is deferred; one that comes after the delay passes,
//! and from then on the network is let through whatever it sends. In memory only: after a restart peers are strangers again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use base::{Network, Time};

use crate::limits::*;
use crate::peers::network_of;
use crate::table::{self, Table};

#[derive(Default)]
struct Triplet {
    /// `None`: it was never seen.
    first: Option<Time>,
}

#[derive(Default)]
struct Known {
    last: Option<Time>,
}

/// Triplets by a keyed hash: addresses of any length cost the same.
pub(crate) struct Greylist {
    triplets: Table<u64, Triplet>,
    known: Table<Network, Known>,
    keys: RandomState,
}

pub(crate) const BYTES_MAX: usize = table::bytes_max::<u64, Triplet>(TRIPLETS_MAX)
    + table::bytes_max::<Network, Known>(GREY_NETWORKS_MAX);

impl Greylist {
    pub fn new() -> Greylist {
        Greylist {
            triplets: Table::new(TRIPLETS_MAX),
            known: Table::new(GREY_NETWORKS_MAX),
            keys: RandomState::new(),
        }
    }

    /// Whether this message passes; else it is deferred. `delay`: how long a triplet has to wait.
    pub fn passes(
        &mut self,
        peer: IpAddr,
        sender: &str,
        recipient: &str,
        delay: Duration,
        now: Time,
    ) -> bool {
        let network = network_of(peer);
        if let Some(known) = self.known.get(&network)
            && known
                .last
                .is_some_and(|last| !is_over(last, GREY_KNOWN, now))
        {
            known.last = Some(now);
            return true;
        }
        let fold = |text: &str| text.to_ascii_lowercase();
        let key = self.keys.hash_one((network, fold(sender), fold(recipient)));
        let triplet = self.triplets.touch(key, |_| false);
        let first = match triplet.first {
            Some(first) if !is_over(first, GREY_RETRY_MAX, now) => first,
            _ => {
                triplet.first = Some(now);
                now
            }
        };
        if !is_over(first, delay, now) {
            return false;
        }
        self.triplets.remove(&key);
        self.known.touch(network, |_| false).last = Some(now);
        true
    }
}

fn is_over(since: Time, span: Duration, now: Time) -> bool {
    now.since_us(since) >= span.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(60);

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn later(now: Time, span: Duration) -> Time {
        now.after_us(span.as_micros() as u64)
    }

    #[test]
    fn a_triplet_passes_after_its_delay_and_its_network_from_then_on() {
        let mut grey = Greylist::new();
        let mut passes = |peer: &str, sender: &str, now| {
            grey.passes(at(peer), sender, "alice@example.org", DELAY, now)
        };
        let mut now = Time(1);
        assert!(!passes("192.0.2.1", "a@example.net", now));
        now = later(now, DELAY / 2);
        assert!(!passes("192.0.2.1", "a@example.net", now), "too soon");
        now = later(now, DELAY / 2);
        assert!(
            !passes("192.0.3.1", "a@example.net", now),
            "another network"
        );
        assert!(!passes("192.0.2.1", "b@example.net", now), "another sender");
        assert!(
            passes("192.0.2.77", "A@Example.net", now),
            "a neighbour tries again"
        );
        assert!(
            passes("192.0.2.1", "new@example.com", now),
            "the network is known"
        );
        now = later(now, GREY_KNOWN - DELAY);
        assert!(passes("192.0.2.1", "x@example.com", now));
        now = later(now, GREY_KNOWN - DELAY);
        assert!(
            passes("192.0.2.1", "y@example.com", now),
            "from its last message on"
        );
        now = later(now, GREY_KNOWN);
        assert!(!passes("192.0.2.1", "z@example.com", now), "and forgotten");
    }

    #[test]
    fn a_triplet_that_comes_again_too_late_waits_again() {
        let mut grey = Greylist::new();
        let mut passes = |now| grey.passes(at("2001:db8::1"), "", "bob@example.org", DELAY, now);
        assert!(!passes(Time(0)));
        let now = later(Time(0), GREY_RETRY_MAX);
        assert!(!passes(now));
        assert!(passes(later(now, DELAY)));
    }

    #[test]
    fn strangers_without_end_do_not_grow_the_tables() {
        let mut grey = Greylist::new();
        for number in 0..2 * TRIPLETS_MAX as u32 {
            let peer = IpAddr::from((number << 8).to_be_bytes());
            let sender = format!("s{number}@example.net");
            grey.passes(peer, &sender, "a@example.org", Duration::ZERO, Time(1));
            grey.passes(peer, &sender, "b@example.org", DELAY, Time(1));
        }
        assert_eq!(grey.known.len(), GREY_NETWORKS_MAX);
        assert!(grey.triplets.len() <= TRIPLETS_MAX);
    }
}
