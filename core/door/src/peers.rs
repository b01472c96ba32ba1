//! How many connections an address and its network have, and how fast they come.

use std::net::IpAddr;

use base::{Network, Time};

use crate::limits::{ADDRESS_BITS_V6, NETWORK_BITS_V4, NETWORK_BITS_V6, PEERS_MAX};
use crate::policy::Rates;
use crate::table::{self, Table};

const MINUTE_US: u64 = 60_000_000;

/// The bound that a connection would pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// Connections of the address that are open.
    AddressOpen,
    /// Connections of the address in a minute.
    AddressRate,
    NetworkOpen,
    NetworkRate,
}

/// What counts as one peer: an IPv4 address, or 64 bits of IPv6.
pub fn address_of(peer: IpAddr) -> Network {
    Network::around(peer, if is_v4(peer) { 32 } else { ADDRESS_BITS_V6 })
}

/// What one provider gives out.
pub fn network_of(peer: IpAddr) -> Network {
    let bits = if is_v4(peer) {
        NETWORK_BITS_V4
    } else {
        NETWORK_BITS_V6
    };
    Network::around(peer, bits)
}

fn is_v4(peer: IpAddr) -> bool {
    peer.to_canonical().is_ipv4()
}

/// So many events in a time, evenly or in a burst (the generic cell rate algorithm): the moment until which the allowance is used up.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Pace(Time);

impl Pace {
    /// Counts one event at `now`; `false`: it is one too many for `events_max` in `span_us`, and is not counted.
    pub fn takes(&mut self, events_max: u32, span_us: u64, now: Time) -> bool {
        let each_us = span_us / u64::from(events_max.max(1));
        let used_until = self.0.max(now);
        let ahead_us = used_until.since_us(now);
        if ahead_us + each_us > span_us {
            return false;
        }
        self.0 = used_until.after_us(each_us);
        true
    }
}

#[derive(Default)]
struct Row {
    open: u32,
    pace: Pace,
}

/// Both tables: by address and by network.
pub(crate) struct Peers {
    addresses: Table<Network, Row>,
    networks: Table<Network, Row>,
}

pub(crate) const BYTES_MAX: usize = 2 * table::bytes_max::<Network, Row>(PEERS_MAX);

impl Peers {
    pub fn new() -> Peers {
        Peers {
            addresses: Table::new(PEERS_MAX),
            networks: Table::new(PEERS_MAX),
        }
    }

    /// Counts one connection of `peer`, or says which bound it would pass. A connection that was counted ends with `leave`.
    pub fn enter(&mut self, peer: IpAddr, rates: &Rates, now: Time) -> Result<(), Crowded> {
        let in_use = |row: &Row| row.open > 0;
        let passes = |row: &mut Row, open_max, minute_max| {
            if open_max > 0 && row.open >= open_max {
                return Err(true);
            }
            match minute_max == 0 || row.pace.takes(minute_max, MINUTE_US, now) {
                true => Ok(()),
                false => Err(false),
            }
        };
        let address = self.addresses.touch(address_of(peer), in_use);
        passes(address, rates.address_open, rates.address_minute).map_err(|open| match open {
            true => Crowded::AddressOpen,
            false => Crowded::AddressRate,
        })?;
        let network = self.networks.touch(network_of(peer), in_use);
        passes(network, rates.network_open, rates.network_minute).map_err(|open| match open {
            true => Crowded::NetworkOpen,
            false => Crowded::NetworkRate,
        })?;
        network.open += 1;
        // Nothing came between: it is the row of above.
        self.addresses.touch(address_of(peer), in_use).open += 1;
        Ok(())
    }

    /// A connection that `enter` counted has ended. Its row may be forgotten where the table had to choose among rows in use.
    pub fn leave(&mut self, peer: IpAddr) {
        for (table, key) in [
            (&mut self.addresses, address_of(peer)),
            (&mut self.networks, network_of(peer)),
        ] {
            if let Some(row) = table.get(&key) {
                row.open = row.open.saturating_sub(1);
            }
        }
    }

    #[cfg(test)]
    fn rows(&self) -> usize {
        self.addresses.len() + self.networks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn rates(address_open: u32, address_minute: u32, network_open: u32) -> Rates {
        Rates {
            address_open,
            address_minute,
            network_open,
            ..Rates::NONE
        }
    }

    #[test]
    fn connections_are_bounded_by_address_and_by_network_and_come_free_again() {
        let (mut peers, rates) = (Peers::new(), rates(2, 0, 3));
        let now = Time(0);
        assert_eq!(peers.enter(at("192.0.2.1"), &rates, now), Ok(()));
        assert_eq!(peers.enter(at("192.0.2.1"), &rates, now), Ok(()));
        let full = peers.enter(at("192.0.2.1"), &rates, now);
        assert_eq!(full, Err(Crowded::AddressOpen));
        assert_eq!(peers.enter(at("192.0.2.2"), &rates, now), Ok(()));
        let full = peers.enter(at("192.0.2.3"), &rates, now);
        assert_eq!(full, Err(Crowded::NetworkOpen), "its /24 has three");
        assert_eq!(peers.enter(at("192.0.3.1"), &rates, now), Ok(()));
        peers.leave(at("192.0.2.1"));
        assert_eq!(peers.enter(at("192.0.2.3"), &rates, now), Ok(()));
        // IPv6: one customer is one address.
        assert_eq!(peers.enter(at("2001:db8::1"), &rates, now), Ok(()));
        assert_eq!(peers.enter(at("2001:db8::2"), &rates, now), Ok(()));
        let full = peers.enter(at("2001:db8::3"), &rates, now);
        assert_eq!(full, Err(Crowded::AddressOpen));
    }

    #[test]
    fn a_rate_allows_a_burst_and_then_its_pace() {
        let (mut peers, rates) = (Peers::new(), rates(0, 6, 0));
        let mut now = Time(1_000_000);
        for _ in 0..6 {
            assert_eq!(peers.enter(at("192.0.2.1"), &rates, now), Ok(()));
        }
        let fast = peers.enter(at("192.0.2.1"), &rates, now);
        assert_eq!(fast, Err(Crowded::AddressRate));
        now = now.after_us(10_000_000);
        assert_eq!(peers.enter(at("192.0.2.1"), &rates, now), Ok(()));
        let fast = peers.enter(at("192.0.2.1"), &rates, now);
        assert_eq!(fast, Err(Crowded::AddressRate), "one in ten seconds");
        now = now.after_us(MINUTE_US);
        let passed = (0..100).filter(|_| peers.enter(at("192.0.2.1"), &rates, now).is_ok());
        assert_eq!(passed.count(), 6, "a minute's worth and no more");
    }

    #[test]
    fn addresses_without_end_do_not_grow_the_tables() {
        let (mut peers, rates) = (Peers::new(), rates(10, 100, 100));
        for number in 0..4 * PEERS_MAX as u32 {
            let peer = IpAddr::from((number << 8 | 1).to_be_bytes());
            let _ = peers.enter(peer, &rates, Time(u64::from(number)));
            peers.leave(peer);
        }
        assert_eq!(peers.rows(), 2 * PEERS_MAX);
    }
}
