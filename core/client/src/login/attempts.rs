//! Guessing of passwords, slowed down: one table for all protocols and cores.
//!
//! Failures are counted by address, by network, by account, and by account and network together; one is forgotten each minute. Past what people need, a source waits
//! before its password is looked at, longer with each failure, and at most `PENDING_MAX` of its logins wait at a time; more are put off (a temporary answer).
//!
//! What must hold: **no stranger locks an owner out.** A network from which the account was logged in to lately (`FAMILIAR_AGE`) is judged by its own failures for
//! that account alone: what others do to the account, or neighbours behind the same address to theirs, does not slow it down. From anywhere else an account under attack
//! costs `ACCOUNT_WAIT_MAX` before each try, and is never refused for it. Memory is bounded; a full table forgets the smallest numbers first. The machine
//! itself (webmail, fetchmail) stands for many people: it is slowed down by account alone, and never put off. A restart forgets all of it; long bans are the door's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base::Time;

/// Counts of failed logins; clones share them.
#[derive(Clone, Default)]
pub struct Attempts {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    table: Mutex<Table>,
    slowed: AtomicU64,
    put_off: AtomicU64,
}

#[derive(Default)]
struct Table {
    slots: HashMap<Key, Slot>,
    /// Account and network, with the time of the last login.
    familiar: HashMap<(u64, u128), Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Address(u128),
    Network(u128),
    Account(u64),
    Pair(u64, u128),
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    failures: u32,
    /// When `failures` was that number.
    at: Time,
    /// Logins that wait.
    pending: u32,
    /// Challenges that are not answered yet: each may be a guess.
    open: u32,
}

/// A login that may go on, after `wait`.
pub struct Pass {
    pub wait: Duration,
    shared: Arc<Shared>,
    key: Option<Key>,
}

/// A challenge that is not answered yet; its places are free again when it is dropped.
pub struct Open {
    shared: Arc<Shared>,
    keys: [Key; 4],
}

impl Open {
    /// It turned out to be an attack.
    pub fn failed(&self, now: Time) {
        let mut table = self.shared.table.lock().expect("no holder panics");
        for key in self.keys {
            table.count(key, now);
        }
    }
}

/// Too many logins of the source wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutOff;

impl Attempts {
    /// A login from `peer` for `account`, which is any number that stands for the name, whether such an account exists or not.
    pub fn enter(&self, peer: IpAddr, account: u64, now: Time) -> Result<Pass, PutOff> {
        self.enter_into(&mut self.table(), peer, account, now)
    }

    /// As `enter`, for a challenge: from now on it counts as a guess, until it is dropped.
    pub fn challenge(&self, peer: IpAddr, account: u64, now: Time) -> Result<(Pass, Open), PutOff> {
        let mut table = self.table();
        let pass = self.enter_into(&mut table, peer, account, now)?;
        let keys = keys_of(peer, account);
        for key in keys {
            table.open(key, now);
        }
        drop(table);
        let shared = self.shared.clone();
        Ok((pass, Open { shared, keys }))
    }

    fn enter_into(
        &self,
        table: &mut Table,
        peer: IpAddr,
        account: u64,
        now: Time,
    ) -> Result<Pass, PutOff> {
        let (address, network) = (address_of(peer), network_of(peer));
        let pair = Key::Pair(account, network);
        let familiar = table.familiar.get(&(account, network));
        let is_familiar = familiar.is_some_and(|at| now.since_us(*at) < us(FAMILIAR_AGE));
        // A stranger who guesses in the webmail comes from where its owners do: waits there are not of a source.
        let is_here = peer.to_canonical().is_loopback();
        let mut limits = match is_here {
            true => vec![(pair, SOURCE_FREE, ACCOUNT_WAIT_MAX)],
            false => vec![(pair, SOURCE_FREE, SOURCE_WAIT_MAX)],
        };
        if !is_familiar {
            limits.push((Key::Account(account), ACCOUNT_FREE, ACCOUNT_WAIT_MAX));
            if !is_here {
                limits.push((Key::Address(address), SOURCE_FREE, SOURCE_WAIT_MAX));
                limits.push((Key::Network(network), NETWORK_FREE, SOURCE_WAIT_MAX));
            }
        }
        let (mut wait, mut waits_as) = (Duration::ZERO, None);
        for (key, free, wait_max) in limits {
            let its = wait_of(table.guesses(key, now), free, wait_max);
            if its > wait {
                (wait, waits_as) = (its, Some(key));
            }
        }
        // An account is not a source: the waits of strangers take no place from its owner.
        let source = waits_as.filter(|key| !is_here && !matches!(key, Key::Account(_)));
        if let Some(slot) = source.and_then(|key| table.slots.get_mut(&key)) {
            if slot.pending >= PENDING_MAX {
                self.shared.put_off.fetch_add(1, Relaxed);
                return Err(PutOff);
            }
            slot.pending += 1;
        }
        if wait > Duration::ZERO {
            self.shared.slowed.fetch_add(1, Relaxed);
        }
        Ok(Pass {
            wait,
            shared: self.shared.clone(),
            key: source,
        })
    }

    /// The password was wrong, or there is no such account.
    pub fn failed(&self, peer: IpAddr, account: u64, now: Time) {
        let mut table = self.table();
        for key in keys_of(peer, account) {
            table.count(key, now);
        }
    }

    /// It was right: the network is one of the account's own from now on.
    pub fn succeeded(&self, peer: IpAddr, account: u64, now: Time) {
        let mut table = self.table();
        let network = network_of(peer);
        if table.familiar.len() >= FAMILIAR_MAX {
            let since = |at: &Time| now.since_us(*at);
            let mut ages: Vec<u64> = table.familiar.values().map(since).collect();
            let (_, middle, _) = ages.select_nth_unstable(FAMILIAR_MAX / 2);
            let middle = *middle;
            // Those of one age may be all of them.
            table.familiar.retain(|_, at| since(at) < middle);
        }
        table.familiar.insert((account, network), now);
    }

    /// Logins that had to wait since start, and those that were put off.
    pub fn counts(&self) -> (u64, u64) {
        let shared = &self.shared;
        (shared.slowed.load(Relaxed), shared.put_off.load(Relaxed))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().expect("no holder panics")
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut table = self.shared.table.lock().expect("no holder panics");
        if let Some(slot) = table.slots.get_mut(&key) {
            slot.pending = slot.pending.saturating_sub(1);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut table = self.shared.table.lock().expect("no holder panics");
        for key in self.keys {
            // One that made room for others is not there any more, or is another one by now.
            if let Some(slot) = table.slots.get_mut(&key) {
                slot.open = slot.open.saturating_sub(1);
                if (slot.failures, slot.open, slot.pending) == (0, 0, 0) {
                    table.slots.remove(&key);
                }
            }
        }
    }
}

impl Table {
    /// What failed, and what may fail: an account's own challenges of one network at full weight, and those of a whole source, where people come together in the morning, past
    /// `OPEN_FREE`.
    fn guesses(&self, key: Key, now: Time) -> u32 {
        let Some(slot) = self.slots.get(&key) else {
            return 0;
        };
        let open = match key {
            Key::Pair(..) => slot.open,
            _ => slot.open.saturating_sub(OPEN_FREE),
        };
        slot.left(now).saturating_add(open).min(FAILURES_MAX)
    }

    fn open(&mut self, key: Key, now: Time) {
        let slot = self.slot(key, now);
        slot.open = slot.open.saturating_add(1);
    }

    fn slot(&mut self, key: Key, now: Time) -> &mut Slot {
        if self.slots.len() >= SLOTS_MAX && !self.slots.contains_key(&key) {
            self.make_room(now);
        }
        self.slots.entry(key).or_insert(Slot {
            failures: 0,
            at: now,
            pending: 0,
            open: 0,
        })
    }

    fn count(&mut self, key: Key, now: Time) {
        let slot = self.slot(key, now);
        let failures = slot.left(now).saturating_add(1).min(FAILURES_MAX);
        // What is under way to be forgotten goes on to be.
        if slot.left(now) != slot.failures || slot.failures == 0 {
            slot.at = now;
        }
        slot.failures = failures;
    }

    /// The smallest numbers go, until a quarter is free.
    fn make_room(&mut self, now: Time) {
        let mut least = 1;
        while self.slots.len() > SLOTS_MAX / 4 * 3 {
            // Ends: nothing is above FAILURES_MAX.
            self.slots
                .retain(|_, slot| slot.left(now) > least && least <= FAILURES_MAX);
            least *= 2;
        }
    }
}

impl Slot {
    /// What is not forgotten yet.
    fn left(&self, now: Time) -> u32 {
        let forgotten = now.since_us(self.at) / us(FORGOTTEN_AFTER);
        let forgotten = u32::try_from(forgotten).unwrap_or(u32::MAX);
        self.failures.saturating_sub(forgotten)
    }
}

/// Nothing for the first `free` failures, then twice as much for every second one more.
fn wait_of(failures: u32, free: u32, wait_max: Duration) -> Duration {
    let Some(over) = failures.checked_sub(free) else {
        return Duration::ZERO;
    };
    let times = 1u32 << (over / 2).min(16);
    FIRST_WAIT.saturating_mul(times).min(wait_max)
}

fn keys_of(peer: IpAddr, account: u64) -> [Key; 4] {
    let network = network_of(peer);
    [
        Key::Address(address_of(peer)),
        Key::Network(network),
        Key::Account(account),
        Key::Pair(account, network),
    ]
}

/// IPv6: a subscriber has a /64.
fn address_of(peer: IpAddr) -> u128 {
    match peer {
        IpAddr::V4(v4) => of_v4(v4, 32),
        IpAddr::V6(v6) => of_v6(v6, 64),
    }
}

fn network_of(peer: IpAddr) -> u128 {
    match peer {
        IpAddr::V4(v4) => of_v4(v4, 24),
        IpAddr::V6(v6) => of_v6(v6, 48),
    }
}

fn of_v4(v4: Ipv4Addr, bits: u32) -> u128 {
    // As in RFC 4291 §2.5.5.2, so that they are no IPv6 network.
    let bytes = u32::from(v4) & (u32::MAX << (32 - bits));
    0xffff_0000_0000 | u128::from(bytes)
}

fn of_v6(v6: Ipv6Addr, bits: u32) -> u128 {
    match v6.to_ipv4_mapped() {
        Some(v4) => of_v4(v4, if bits == 64 { 32 } else { 24 }),
        None => u128::from(v6) & (u128::MAX << (128 - bits)),
    }
}

fn us(span: Duration) -> u64 {
    span.as_micros() as u64
}

/// Failures of a source that cost it nothing: a person mistypes, a phone has an old password.
pub const SOURCE_FREE: u32 = 10;
/// Those of a whole network, and of an account from everywhere.
pub const NETWORK_FREE: u32 = 50;
pub const ACCOUNT_FREE: u32 = 50;
/// Challenges of a source, and of an account from everywhere, that are open at once and cost nothing: an office whose programs start together.
pub const OPEN_FREE: u32 = 64;
/// The first wait, and the longest ones.
const FIRST_WAIT: Duration = Duration::from_millis(500);
pub const SOURCE_WAIT_MAX: Duration = Duration::from_secs(20);
pub const ACCOUNT_WAIT_MAX: Duration = Duration::from_secs(4);
/// Logins of one source that wait at a time.
pub const PENDING_MAX: u32 = 2;
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// More are not counted: an attack is over two hours after its end.
const FAILURES_MAX: u32 = 120;
/// How long a network is one of the account's own after a login.
pub const FAMILIAR_AGE: Duration = Duration::from_secs(30 * 86_400);
/// Bounds of the tables: some 100 bytes each.
pub const SLOTS_MAX: usize = 32_768;
pub const FAMILIAR_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1);

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn wait(attempts: &Attempts, peer: &str, account: u64, now: Time) -> Duration {
        attempts
            .enter(at(peer), account, now)
            .expect("it may go on")
            .wait
    }

    #[test]
    fn a_source_that_guesses_waits_longer_and_longer_and_is_forgiven() {
        let attempts = Attempts::default();
        let mut waits = Vec::new();
        for guess in 0..60 {
            waits.push(wait(&attempts, "192.0.2.1", guess, NOW));
            attempts.failed(at("192.0.2.1"), guess, NOW);
        }
        assert!(waits[..SOURCE_FREE as usize].iter().all(Duration::is_zero));
        assert!(waits[SOURCE_FREE as usize] == FIRST_WAIT && waits.is_sorted());
        assert_eq!(waits.last(), Some(&SOURCE_WAIT_MAX));
        // Others of its network wait too by now, others elsewhere do not.
        assert!(wait(&attempts, "192.0.2.9", 1_000, NOW) > Duration::ZERO);
        assert!(wait(&attempts, "198.51.100.1", 1_000, NOW).is_zero());
        let later = NOW.after_us(us(FORGOTTEN_AFTER) * 60);
        assert!(wait(&attempts, "192.0.2.1", 1, later).is_zero());
        // IPv6: all of a /64 is one source.
        for guess in 0..20u64 {
            attempts.failed(at(&format!("2001:db8::{guess}")), guess, NOW);
        }
        assert!(wait(&attempts, "2001:db8::ffff", 7, NOW) > Duration::ZERO);
        assert!(wait(&attempts, "2001:db8:0:1::1", 7, NOW).is_zero());
    }

    #[test]
    fn few_logins_of_a_slowed_source_wait_at_a_time() {
        let attempts = Attempts::default();
        let peer = at("192.0.2.1");
        (0..20).for_each(|_| attempts.failed(peer, 1, NOW));
        let one = attempts.enter(peer, 1, NOW);
        let two = attempts.enter(peer, 1, NOW);
        assert!(one.is_ok() && two.is_ok());
        assert!(attempts.enter(peer, 1, NOW).is_err());
        drop(one);
        assert!(
            attempts.enter(peer, 1, NOW).is_ok(),
            "its place is free again"
        );
        assert_eq!(attempts.counts(), (3, 1));
    }

    /// Ten thousand addresses guess at one account; its owner is at home, then in a hotel, and mistypes.
    #[test]
    fn strangers_slow_an_owner_down_elsewhere_and_lock_nobody_out() {
        let attempts = Attempts::default();
        attempts.succeeded(at("203.0.113.7"), 1, NOW);
        for guess in 0..10_000u32 {
            let from = Ipv4Addr::from(0x0a00_0000 + guess * 256);
            attempts.failed(from.into(), 1, NOW);
        }
        assert!(wait(&attempts, "203.0.113.7", 1, NOW).is_zero(), "at home");
        assert!(wait(&attempts, "203.0.113.99", 1, NOW).is_zero());
        let passes: Vec<_> = (0..100)
            .map(|_| attempts.enter(at("198.51.100.1"), 1, NOW))
            .collect();
        for pass in &passes {
            assert_eq!(pass.as_ref().expect("never refused").wait, ACCOUNT_WAIT_MAX);
        }
        assert!(
            wait(&attempts, "198.51.100.1", 2, NOW).is_zero(),
            "another account"
        );
        // Neighbours behind the same address guess as well: it is not the owner's fault.
        (0..60).for_each(|_| attempts.failed(at("203.0.113.7"), 99, NOW));
        assert!(wait(&attempts, "203.0.113.7", 1, NOW).is_zero());
        assert!(wait(&attempts, "203.0.113.7", 5, NOW) > Duration::ZERO);
        // The owner's own phone has an old password: it waits.
        (0..20).for_each(|_| attempts.failed(at("203.0.113.7"), 1, NOW));
        assert!(wait(&attempts, "203.0.113.7", 1, NOW) > Duration::ZERO);
    }

    /// A challenge is answered when the guesser likes: before, none of them had failed yet.
    #[test]
    fn many_challenges_at_once_wait_as_many_guesses_do() {
        let attempts = Attempts::default();
        let peer = at("192.0.2.1");
        let mut held = Vec::new();
        let mut waits = Vec::new();
        for _ in 0..SOURCE_FREE + 2 {
            let (pass, open) = attempts.challenge(peer, 1, NOW).expect("it may go on");
            waits.push(pass.wait);
            held.push((pass, open));
        }
        let free = SOURCE_FREE as usize;
        assert!(waits[..free].iter().all(Duration::is_zero), "{waits:?}");
        assert!(waits[free] > Duration::ZERO && waits[free + 1] > Duration::ZERO);
        assert!(attempts.challenge(peer, 1, NOW).is_err(), "two wait");
        // Others behind the same address do not, until they are very many.
        assert!(wait(&attempts, "192.0.2.1", 2, NOW).is_zero());
        let many: Vec<_> = (10..10 + u64::from(OPEN_FREE + SOURCE_FREE))
            .filter_map(|account| attempts.challenge(peer, account, NOW).ok())
            .collect();
        assert!(attempts.enter(peer, 2, NOW).is_err(), "two of them wait");
        // Those that were answered and right leave nothing behind.
        drop((held, many));
        assert!(attempts.table().slots.is_empty());
        assert!(wait(&attempts, "192.0.2.1", 1, NOW).is_zero());
    }

    #[test]
    fn the_machine_itself_is_slowed_down_by_account_alone() {
        let attempts = Attempts::default();
        (0..60).for_each(|guess| attempts.failed(at("127.0.0.1"), guess, NOW));
        assert!(wait(&attempts, "127.0.0.1", 100, NOW).is_zero());
        (0..60).for_each(|_| attempts.failed(at("127.0.0.1"), 7, NOW));
        assert!(wait(&attempts, "127.0.0.1", 7, NOW) > Duration::ZERO);
    }

    /// Someone guesses at an account in the webmail, whose logins come from the loopback; the owner uses it too.
    #[test]
    fn a_stranger_at_the_webmail_takes_no_place_from_the_owner() {
        let attempts = Attempts::default();
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            attempts.succeeded(at(here), 7, NOW);
            (0..100).for_each(|_| attempts.failed(at(here), 7, NOW));
            let passes: Vec<_> = (0..10).map(|_| attempts.enter(at(here), 7, NOW)).collect();
            for pass in &passes {
                let pass = pass.as_ref().expect("never refused");
                assert_eq!(pass.wait, ACCOUNT_WAIT_MAX, "{here}");
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_those_that_guess_most_stay() {
        let attempts = Attempts::default();
        (0..100).for_each(|_| attempts.failed(at("192.0.2.1"), 1, NOW));
        for guess in 0..SLOTS_MAX as u32 {
            let from = Ipv4Addr::from(0x0a00_0000 + guess * 256);
            attempts.failed(from.into(), u64::from(guess) + 10, NOW);
            attempts.succeeded(from.into(), u64::from(guess) + 10, Time(u64::from(guess)));
        }
        let table = attempts.table();
        assert!(table.slots.len() <= SLOTS_MAX && table.familiar.len() <= FAMILIAR_MAX);
        drop(table);
        assert_eq!(wait(&attempts, "192.0.2.1", 3, NOW), SOURCE_WAIT_MAX);
    }
}
