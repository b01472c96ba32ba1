//! Addresses that failed too often, and networks that an administrator shut out. Shared by all cores and by every protocol.
//!
//! Each failure is worth points, and points halve with time. An address that reaches the bound is banned, each time for twice as long.
//! Everything is in memory: a restart forgets all of it, bans by hand included.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base::{Network, Time};

use crate::limits::*;
use crate::peers::address_of;
use crate::table::{self, Table};

/// What a peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// A login with a wrong user name or password.
    Login,
    /// A recipient that does not exist, or that is not ours.
    Recipient,
    /// A command out of order, of no meaning, or before its turn.
    Protocol,
}

impl Offence {
    /// What it is worth.
    fn points(self) -> f64 {
        match self {
            // A mail program with an old password tries again and again, from an address that a whole office may share.
            Offence::Login => 1.0,
            // An old mailing list has dozens of them, a dictionary attack thousands.
            Offence::Recipient => 0.2,
            Offence::Protocol => 0.5,
        }
    }
}

/// One ban, for an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// The address or network that is shut out.
    pub network: Network,
    /// From now on.
    pub left: Duration,
    /// How often in a row; 0: by hand.
    pub times: u32,
}

/// No more bans by hand fit (`limits::BANS_BY_HAND_MAX`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyBans;

/// Clones are the same list.
#[derive(Clone)]
pub struct Bans {
    shared: Arc<Shared>,
}

/// What the clones share.
struct Shared {
    /// Networks that are never banned.
    exempt: Vec<Network>,
    /// Points that ban; 0: none do.
    points_max: u32,
    /// Addresses on record and bans by hand: while there are none no lock is taken.
    count: AtomicUsize,
    /// Held for one look-up.
    lists: Mutex<Lists>,
}

/// What is on record.
struct Lists {
    /// Addresses with points or bans; the oldest makes room.
    offenders: Table<Network, Record>,
    /// Bans by an administrator, with their ends.
    by_hand: Vec<(Network, Time)>,
}

/// What is known of one address.
#[derive(Default, Clone, Copy)]
struct Record {
    /// Points at the moment `at`.
    points: f64,
    /// When the last failure was.
    at: Time,
    /// When its ban ends.
    until: Time,
    /// Bans in a row.
    times: u32,
}

/// What all of it takes in memory at most.
pub(crate) const BYTES_MAX: usize = table::bytes_max::<Network, Record>(OFFENDERS_MAX)
    + 2 * BANS_BY_HAND_MAX * size_of::<(Network, Time)>();

impl Bans {
    /// Addresses are banned at `points_max` (0: never, but by hand), those of `exempt` never.
    pub fn new(exempt: Vec<Network>, points_max: u32) -> Bans {
        let lists = Lists {
            offenders: Table::new(OFFENDERS_MAX),
            by_hand: Vec::new(),
        };
        Bans {
            shared: Arc::new(Shared {
                exempt,
                points_max,
                count: AtomicUsize::new(0),
                lists: Mutex::new(lists),
            }),
        }
    }

    /// `peer` did something wrong. `Some`: it is banned from now on, for so long.
    pub fn note(&self, peer: IpAddr, offence: Offence, now: Time) -> Option<Duration> {
        if self.is_exempt(peer) {
            return None;
        }
        let points_max = self.shared.points_max;
        let mut lists = self.lists();
        let is_banned = |record: &Record| record.until > now;
        let record = lists.offenders.touch(address_of(peer), is_banned);
        record.points = record.points_at(now) + offence.points();
        record.at = now;
        let bans = points_max > 0 && record.points >= f64::from(points_max) && !is_banned(record);
        let span = bans.then(|| record.ban(now));
        self.count(&lists);
        span
    }

    /// How long `peer` is still banned.
    pub fn left(&self, peer: IpAddr, now: Time) -> Option<Duration> {
        if self.shared.count.load(Relaxed) == 0 || self.is_exempt(peer) {
            return None;
        }
        let lists = self.lists();
        let record = lists.offenders.peek(&address_of(peer));
        let until = record.map(|record| record.until);
        let by_hand = lists.by_hand.iter();
        let by_hand = by_hand.filter(|(network, _)| network.contains(peer));
        let until = until.into_iter().chain(by_hand.map(|(_, until)| *until));
        let left_us = until.max()?.since_us(now);
        (left_us > 0).then(|| Duration::from_micros(left_us))
    }

    /// The points of `peer`, rounded down.
    pub fn points(&self, peer: IpAddr, now: Time) -> u32 {
        if self.shared.count.load(Relaxed) == 0 {
            return 0;
        }
        let lists = self.lists();
        let record = lists.offenders.peek(&address_of(peer));
        record.map_or(0, |record| record.points_at(now) as u32)
    }

    /// Bans `network` for `span`, at most `limits::BAN_BY_HAND_MAX`; a second word on the same network counts.
    pub fn add(&self, network: Network, span: Duration, now: Time) -> Result<(), TooManyBans> {
        let until = now.after_us(span.min(BAN_BY_HAND_MAX).as_micros() as u64);
        let mut lists = self.lists();
        let by_hand = &mut lists.by_hand;
        by_hand.retain(|(known, until)| *known != network && *until > now);
        if by_hand.len() >= BANS_BY_HAND_MAX {
            return Err(TooManyBans);
        }
        by_hand.push((network, until));
        self.count(&lists);
        Ok(())
    }

    /// Forgets every ban of `network`, and all failures of the addresses in it. Answers how many bans there were.
    pub fn lift(&self, network: Network, now: Time) -> usize {
        let mut lists = self.lists();
        // One address of IPv6 was counted as its 64 bits.
        let within = |known: &Network| {
            network.contains(known.address())
                || *known == address_of(network.address()) && network.is_host()
        };
        let before = lists.by_hand.len();
        lists.by_hand.retain(|(known, _)| *known != network);
        let mut lifted = before - lists.by_hand.len();
        let found: Vec<Network> = lists
            .offenders
            .iter()
            .map(|(known, _)| *known)
            .filter(within)
            .collect();
        for known in found {
            let record = lists.offenders.remove(&known);
            lifted += usize::from(record.is_some_and(|record| record.until > now));
        }
        self.count(&lists);
        lifted
    }

    /// The bans at `now`, the longest first; at most `limits::BANS_LISTED_MAX`.
    pub fn list(&self, now: Time) -> Vec<Ban> {
        let lists = self.lists();
        let ban = |network: Network, until: Time, times| Ban {
            network,
            left: Duration::from_micros(until.since_us(now)),
            times,
        };
        let by_hand = lists
            .by_hand
            .iter()
            .map(|(network, until)| ban(*network, *until, 0));
        let offenders = lists.offenders.iter();
        let offenders =
            offenders.map(|(network, record)| ban(*network, record.until, record.times));
        let mut bans: Vec<Ban> = by_hand.chain(offenders).collect();
        bans.retain(|ban| !ban.left.is_zero());
        bans.sort_by_key(|ban| (std::cmp::Reverse(ban.left), ban.network));
        bans.truncate(BANS_LISTED_MAX);
        bans
    }

    /// Networks that are banned now.
    pub fn banned(&self, now: Time) -> usize {
        let lists = self.lists();
        let offenders = lists.offenders.iter();
        let offenders = offenders.filter(|(_, record)| record.until > now).count();
        offenders
            + lists
                .by_hand
                .iter()
                .filter(|(_, until)| *until > now)
                .count()
    }

    /// Whether the address is never banned.
    fn is_exempt(&self, peer: IpAddr) -> bool {
        let exempt = &self.shared.exempt;
        exempt.iter().any(|network| network.contains(peer))
    }

    /// Held for one look-up.
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.shared.lists.lock().expect("no holder panics")
    }

    /// Notes how much is on record, for looks without the lock.
    fn count(&self, lists: &Lists) {
        let count = lists.offenders.len() + lists.by_hand.len();
        self.shared.count.store(count, Relaxed);
    }
}

impl Record {
    /// The points that are left: half of them after each `POINTS_HALVE`.
    fn points_at(&self, now: Time) -> f64 {
        let halvings = now.since_us(self.at) as f64 / POINTS_HALVE.as_micros() as f64;
        self.points * 0.5f64.powf(halvings)
    }

    /// Bans the address, twice as long as the last time unless that is forgotten.
    fn ban(&mut self, now: Time) -> Duration {
        let forgotten = self.until.after_us(BANS_FORGOTTEN.as_micros() as u64);
        self.times = if forgotten <= now { 1 } else { self.times + 1 };
        let span = BAN_FIRST
            .saturating_mul(1 << (self.times - 1).min(16))
            .min(BAN_MAX);
        self.until = now.after_us(span.as_micros() as u64);
        self.points = 0.0;
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000);

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn network(text: &str) -> Network {
        text.parse().expect("a network")
    }

    fn later(now: Time, span: Duration) -> Time {
        now.after_us(span.as_micros() as u64)
    }

    /// Fails until it is banned; how often, and for how long.
    fn fail(bans: &Bans, peer: &str, now: Time) -> (u32, Duration) {
        (1..1_000)
            .find_map(|times| {
                let banned = bans.note(at(peer), Offence::Login, now);
                banned.map(|span| (times, span))
            })
            .expect("it is banned in the end")
    }

    #[test]
    fn failures_ban_an_address_each_time_for_twice_as_long() {
        let bans = Bans::new(Vec::new(), 10);
        assert_eq!(bans.left(at("192.0.2.1"), NOW), None);
        assert_eq!(fail(&bans, "192.0.2.1", NOW), (10, BAN_FIRST));
        assert_eq!(bans.left(at("192.0.2.1"), NOW), Some(BAN_FIRST));
        assert_eq!(bans.left(at("192.0.2.2"), NOW), None);
        assert_eq!((bans.banned(NOW), bans.list(NOW).len()), (1, 1));
        let mut now = later(NOW, BAN_FIRST);
        assert_eq!(bans.left(at("192.0.2.1"), now), None, "it is over");
        assert_eq!(fail(&bans, "192.0.2.1", now), (10, 2 * BAN_FIRST));
        for _ in 0..20 {
            now = later(now, BAN_MAX);
            fail(&bans, "192.0.2.1", now);
        }
        assert_eq!(bans.left(at("192.0.2.1"), now), Some(BAN_MAX));
        now = later(now, BAN_MAX + BANS_FORGOTTEN);
        assert_eq!(
            fail(&bans, "192.0.2.1", now).1,
            BAN_FIRST,
            "its record was forgotten"
        );
    }

    #[test]
    fn points_decay_so_that_rare_failures_never_ban() {
        let bans = Bans::new(Vec::new(), 10);
        let mut now = NOW;
        for _ in 0..1_000 {
            assert_eq!(bans.note(at("192.0.2.1"), Offence::Recipient, now), None);
            now = later(now, POINTS_HALVE);
        }
        now = later(now, 4 * POINTS_HALVE);
        assert_eq!(bans.points(at("192.0.2.1"), now), 0);
        for _ in 0..8 {
            bans.note(at("192.0.2.1"), Offence::Protocol, now);
        }
        assert_eq!(bans.points(at("192.0.2.1"), now), 4);
        assert_eq!(bans.points(at("192.0.2.1"), later(now, POINTS_HALVE)), 2);
        assert_eq!(bans.points(at("192.0.2.9"), now), 0);
    }

    #[test]
    fn exempt_networks_and_a_list_that_is_off_ban_no_peer() {
        let bans = Bans::new(vec![network("192.0.2.0/24"), network("::1")], 3);
        let off = Bans::new(Vec::new(), 0);
        for _ in 0..100 {
            assert_eq!(bans.note(at("192.0.2.1"), Offence::Login, NOW), None);
            assert_eq!(bans.note(at("::1"), Offence::Login, NOW), None);
            assert_eq!(off.note(at("192.0.2.1"), Offence::Login, NOW), None);
        }
        bans.add(network("192.0.0.0/16"), BAN_MAX, NOW)
            .expect("room");
        assert_eq!(bans.left(at("192.0.2.1"), NOW), None, "exempt all the same");
        assert_eq!(bans.left(at("192.0.3.1"), NOW), Some(BAN_MAX));
    }

    #[test]
    fn an_administrator_adds_lists_and_lifts_bans() {
        let bans = Bans::new(Vec::new(), 3);
        fail(&bans, "2001:db8::1", NOW);
        fail(&bans, "192.0.2.7", NOW);
        let hour = Duration::from_secs(3_600);
        bans.add(network("198.51.100.0/24"), hour, NOW)
            .expect("room");
        bans.add(network("198.51.100.0/24"), 2 * hour, NOW)
            .expect("room");
        let listed: Vec<(String, u32)> = bans
            .list(NOW)
            .into_iter()
            .map(|ban| (ban.network.to_string(), ban.times))
            .collect();
        let row = |network: &str, times| (network.to_owned(), times);
        assert_eq!(
            listed,
            [
                row("198.51.100.0/24", 0),
                row("192.0.2.7", 1),
                row("2001:db8::/64", 1)
            ]
        );
        assert_eq!(
            bans.left(at("2001:db8::2"), NOW),
            Some(BAN_FIRST),
            "one customer"
        );
        assert_eq!(
            bans.lift(network("2001:db8::1"), NOW),
            1,
            "named by an address of it"
        );
        assert_eq!(bans.lift(network("192.0.2.0/24"), NOW), 1);
        assert_eq!(bans.lift(network("198.51.100.0/24"), NOW), 1);
        assert_eq!(bans.lift(network("198.51.100.0/24"), NOW), 0);
        assert_eq!(bans.list(NOW), []);
        assert_eq!(bans.left(at("192.0.2.7"), NOW), None);
    }

    #[test]
    fn ten_thousand_offenders_stay_in_bounds() {
        let bans = Bans::new(Vec::new(), 100);
        for number in 0..2 * OFFENDERS_MAX as u32 {
            let peer = IpAddr::from(number.to_be_bytes());
            bans.note(peer, Offence::Login, NOW);
        }
        assert_eq!(bans.lists().offenders.len(), OFFENDERS_MAX);
        for number in 0..BANS_BY_HAND_MAX as u32 {
            let network = Network::around(IpAddr::from(number.to_be_bytes()), 32);
            bans.add(network, BAN_FIRST, NOW).expect("room");
        }
        let one_more = bans.add(network("10.0.0.0/8"), BAN_FIRST, NOW);
        assert_eq!(one_more, Err(TooManyBans));
        let now = later(NOW, BAN_FIRST);
        bans.add(network("10.0.0.0/8"), BAN_FIRST, now)
            .expect("those are over");
    }
}
