//! All decisions of one box, with the tables behind them. Shared by every core; each question takes one short lock at most.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{Network, Time};

use crate::bans::{self, Bans, Offence};
use crate::counters::{Counters, Event};
use crate::greylist::{self, Greylist};
use crate::limits::BYTES_MAX;
use crate::peers::{self, Crowded, Peers};
use crate::policy::{Policy, Rates};
use crate::senders::{self, Senders};
use crate::tarpit::{Delay, Tarpit};

/// Clones are the same door.
#[derive(Clone)]
pub struct Door {
    shared: Arc<Shared>,
}

/// What the clones share.
struct Shared {
    /// What the operator decided.
    policy: Policy,
    /// Bans, and the failures that lead to them.
    bans: Bans,
    /// Connections by address and network.
    peers: Mutex<Peers>,
    /// Messages by sender domain.
    senders: Mutex<Senders>,
    /// What greylisting has seen.
    greylist: Mutex<Greylist>,
    /// Replies that are being delayed.
    tarpit: Tarpit,
    /// What was refused and delayed.
    counters: Counters,
}

const _: () = assert!(
    peers::BYTES_MAX + senders::BYTES_MAX + bans::BYTES_MAX + greylist::BYTES_MAX <= BYTES_MAX
);

/// Why a connection is refused before it is greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// The address failed too often, or an administrator shut it out.
    Banned,
    /// The address or its network has too many connections.
    Crowded(Crowded),
}

/// One connection that was let in: it counts for as long as this lives.
pub struct Entered {
    /// Where the connection is counted.
    door: Door,
    /// `None`: the peer is exempt, or nothing is counted.
    counted: Option<IpAddr>,
}

impl Door {
    /// A door for these decisions, with empty tables.
    pub fn new(policy: Policy) -> Door {
        // What goes wrong at a proxy is its clients' doing: a ban of it would be one of them all.
        let never = [&policy.exempt[..], &policy.xclient].concat();
        let bans = Bans::new(never, policy.ban_points);
        Door {
            shared: Arc::new(Shared {
                policy,
                bans,
                peers: Mutex::new(Peers::new()),
                senders: Mutex::new(Senders::new()),
                greylist: Mutex::new(Greylist::new()),
                tarpit: Tarpit::default(),
                counters: Counters::default(),
            }),
        }
    }

    pub fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    /// The bans, for administration.
    pub fn bans(&self) -> &Bans {
        &self.shared.bans
    }

    /// The counters, for metrics.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// No question is asked about `peer`.
    pub fn is_exempt(&self, peer: IpAddr) -> bool {
        is_in(&self.policy().exempt, peer)
    }

    /// `peer` may say for whom it speaks.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        is_in(&self.policy().xclient, peer)
    }

    /// Whether `peer` is banned. Counts a refusal where it is.
    pub fn is_banned(&self, peer: IpAddr, now: Time) -> bool {
        let is_banned = self.bans().left(peer, now).is_some();
        if is_banned {
            self.counters().note(Event::BannedRefused);
        }
        is_banned
    }

    /// A connection from `peer` begins.
    pub fn enter(&self, peer: IpAddr, now: Time) -> Result<Entered, Turned> {
        let rates = &self.policy().rates;
        let counts = (rates.address_open, rates.address_minute) != (0, 0)
            || (rates.network_open, rates.network_minute) != (0, 0);
        let mut entered = Entered {
            door: self.clone(),
            counted: None,
        };
        // A proxy comes once for each of its clients, and is counted as that client as soon as it names it.
        if self.is_exempt(peer) || self.trusts(peer) {
            return Ok(entered);
        }
        if self.is_banned(peer, now) {
            return Err(Turned::Banned);
        }
        if counts {
            let mut peers = self.shared.peers.lock().expect("no holder panics");
            let result = peers.enter(peer, rates, now);
            drop(peers);
            if let Err(crowded) = result {
                self.counters().note(match crowded {
                    Crowded::AddressOpen | Crowded::AddressRate => Event::AddressLimit,
                    Crowded::NetworkOpen | Crowded::NetworkRate => Event::NetworkLimit,
                });
                return Err(Turned::Crowded(crowded));
            }
            entered.counted = Some(peer);
        }
        Ok(entered)
    }

    /// One message of a sender of `domain` begins; `false`: one too many.
    pub fn takes_sender(&self, domain: &str, now: Time) -> bool {
        let Rates { sender_hour, .. } = self.policy().rates;
        if sender_hour == 0 {
            return true;
        }
        let mut senders = self.shared.senders.lock().expect("no holder panics");
        let takes = senders.takes(domain, sender_hour, now);
        drop(senders);
        if !takes {
            self.counters().note(Event::SenderLimit);
        }
        takes
    }

    /// Whether greylisting lets this recipient through now.
    pub fn passes_greylist(&self, peer: IpAddr, sender: &str, recipient: &str, now: Time) -> bool {
        let Some(greylisting) = self.policy().greylisting else {
            return true;
        };
        let mut greylist = self.shared.greylist.lock().expect("no holder panics");
        let passes = greylist.passes(peer, sender, recipient, greylisting.delay, now);
        drop(greylist);
        if !passes {
            self.counters().note(Event::Greylisted);
        }
        passes
    }

    /// `peer` did something wrong. `Some`: it is banned from now on, for so long.
    pub fn note(&self, peer: IpAddr, offence: Offence, now: Time) -> Option<Duration> {
        let banned = self.bans().note(peer, offence, now);
        if banned.is_some() {
            self.counters().note(Event::BanBegan);
        }
        banned
    }

    /// How long the next reply to `peer` waits.
    pub fn delay(&self, peer: IpAddr, now: Time) -> Option<Delay> {
        let from = self.policy().tarpit_points;
        if from == 0 || self.is_exempt(peer) {
            return None;
        }
        let delay = self
            .shared
            .tarpit
            .delay(self.bans().points(peer, now), from);
        if delay.is_some() {
            self.counters().note(Event::Delayed);
        }
        delay
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(peer) = self.counted {
            let mut peers = self.door.shared.peers.lock().expect("no holder panics");
            peers.leave(peer);
        }
    }
}

/// Whether one of `networks` has the peer.
fn is_in(networks: &[Network], peer: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Greylisting;

    const NOW: Time = Time(1);

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn strict() -> Policy {
        Policy {
            rates: Rates {
                address_open: 1,
                address_minute: 100,
                network_open: 2,
                network_minute: 100,
                sender_hour: 1,
            },
            ban_points: 2,
            tarpit_points: 1,
            greylisting: Some(Greylisting {
                delay: Duration::from_secs(60),
            }),
            ..Policy::default()
        }
    }

    #[test]
    fn connections_count_while_they_live() {
        let door = Door::new(strict());
        let Ok(first) = door.enter(at("192.0.2.1"), NOW) else {
            panic!("the first is let in");
        };
        let second = door.enter(at("192.0.2.1"), NOW).err();
        assert_eq!(second, Some(Turned::Crowded(Crowded::AddressOpen)));
        drop(first);
        let again = door.enter(at("192.0.2.1"), NOW);
        assert!(again.is_ok());
        assert_eq!(door.counters().read(Event::AddressLimit), 1);
    }

    #[test]
    fn the_machine_itself_is_never_refused_nor_delayed() {
        let door = Door::new(strict());
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let held: Vec<_> = (0..1_000).map(|_| door.enter(at(peer), NOW)).collect();
            assert!(held.iter().all(Result::is_ok), "{peer}");
            for _ in 0..100 {
                assert_eq!(door.note(at(peer), Offence::Login, NOW), None);
            }
            assert!(door.delay(at(peer), NOW).is_none() && door.enter(at(peer), NOW).is_ok());
        }
    }

    #[test]
    fn a_proxy_is_neither_banned_nor_counted_for_its_clients() {
        let mut policy = strict();
        policy.xclient = vec![Network::around(at("192.0.2.0"), 24)];
        let door = Door::new(policy);
        let (proxy, client) = (at("192.0.2.1"), at("198.51.100.1"));
        let held: Vec<_> = (0..1_000).map(|_| door.enter(proxy, NOW)).collect();
        assert!(held.iter().all(Result::is_ok));
        for _ in 0..100 {
            assert_eq!(door.note(proxy, Offence::Protocol, NOW), None);
        }
        assert!(door.enter(proxy, NOW).is_ok() && door.delay(proxy, NOW).is_none());
        let banned = (0..4).find_map(|_| door.note(client, Offence::Protocol, NOW));
        assert!(banned.is_some(), "the client it names is");
    }

    #[test]
    fn failures_lead_to_delays_and_then_to_a_ban() {
        let door = Door::new(strict());
        let peer = at("198.51.100.1");
        assert!(door.delay(peer, NOW).is_none());
        assert_eq!(door.note(peer, Offence::Login, NOW), None);
        assert!(door.delay(peer, NOW).is_some());
        assert!(door.note(peer, Offence::Login, NOW).is_some());
        assert_eq!(door.enter(peer, NOW).err(), Some(Turned::Banned));
        let counters = door.counters();
        assert_eq!(
            (
                counters.read(Event::BanBegan),
                counters.read(Event::BannedRefused)
            ),
            (1, 1)
        );
    }

    #[test]
    fn what_is_off_lets_everything_through() {
        let policy = Policy {
            ban_points: 0,
            tarpit_points: 0,
            ..Policy::default()
        };
        let door = Door::new(policy);
        let peer = at("198.51.100.1");
        let held: Vec<_> = (0..1_000).map(|_| door.enter(peer, NOW)).collect();
        assert!(held.iter().all(Result::is_ok));
        for _ in 0..1_000 {
            assert_eq!(door.note(peer, Offence::Login, NOW), None);
            assert!(door.takes_sender("example.net", NOW));
            assert!(door.passes_greylist(peer, "a@example.net", "b@example.org", NOW));
        }
        assert!(door.delay(peer, NOW).is_none());
    }
}
