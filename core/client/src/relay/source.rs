//! Which of our addresses a conversation is begun from, and under which name.
//!
//! A source is a name for EHLO with an address of IPv4, of IPv6 or both. The pool of a message is every source that names its sender; else every
//! source that names the domain that it goes to; else every source that names neither. Without a pool the system chooses, as where none is
//! configured. The sources of a pool take turns.
//!
//! What must hold:
//! - A source that cannot be used (its address is not on this machine), or that a site refused in its greeting, comes last for a while; it is
//!   never the reason that nothing is tried.
//! - What is remembered is bounded. A message leaves from its own pool, also over a connection that is open.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use base::Time;

use super::counters::Counters;
use super::limits::{SOURCE_RESTS, SOURCE_RESTS_MAX, SOURCES_PER_ADDRESS};

/// Where conversations may come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// For EHLO: the name that the addresses have in DNS.
    pub name: String,
    pub ipv4: Option<IpAddr>,
    pub ipv6: Option<IpAddr>,
    /// Addresses, and domains, of senders; in lower case.
    pub senders: Vec<String>,
    /// Domains that mail goes to, or hosts of routes; in lower case.
    pub domains: Vec<String>,
}

/// One source for one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// In the list.
    pub index: usize,
    pub address: IpAddr,
    pub name: String,
}

/// All sources of one sender, and which of them rest.
pub struct Sources {
    all: Vec<Source>,
    counters: Arc<Counters>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    turn: usize,
    /// Until when.
    resting: HashMap<Rest, Time>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Rest {
    /// It is not on this machine.
    Address(IpAddr),
    /// The site refused it.
    Site(usize, String),
}

impl Source {
    fn address(&self, is_ipv4: bool) -> Option<IpAddr> {
        match is_ipv4 {
            true => self.ipv4,
            false => self.ipv6,
        }
    }
}

impl Sources {
    /// `counters` have one count for each of `all`.
    pub fn new(all: Vec<Source>, counters: Arc<Counters>) -> Sources {
        assert_eq!(all.len(), counters.sources.len());
        Sources {
            all,
            counters,
            state: RefCell::default(),
        }
    }

    /// The sources for a message from `sender` (empty: a report) to `domain`, by their places in the list. Empty: the system chooses.
    pub fn pool(&self, sender: &str, domain: &str) -> Vec<usize> {
        if self.all.is_empty() {
            return Vec::new();
        }
        let (sender, domain) = (sender.to_lowercase(), domain.to_lowercase());
        let of = sender.rsplit_once('@').map(|(_, of)| of);
        let names_sender = |source: &Source| {
            let mut senders = source.senders.iter();
            senders.any(|one| *one == sender || of == Some(one.as_str()))
        };
        let names_domain = |source: &Source| source.domains.contains(&domain);
        let names_none = |source: &Source| source.senders.is_empty() && source.domains.is_empty();
        let rules: [&dyn Fn(&Source) -> bool; 3] = [&names_sender, &names_domain, &names_none];
        let mut pools = rules.iter().map(|rule| {
            let all = self.all.iter().enumerate();
            let pool = all.filter(|(_, source)| rule(source));
            pool.map(|(index, _)| index).collect::<Vec<usize>>()
        });
        pools.find(|pool| !pool.is_empty()).unwrap_or_default()
    }

    /// The sources of `pool` with an address of the family, in the order in which they are tried for `site`: in turns, and those that rest
    /// last, the one whose rest ends first before the others. At most `SOURCES_PER_ADDRESS`.
    pub fn order(&self, pool: &[usize], site: &str, is_ipv4: bool, now: Time) -> Vec<Chosen> {
        let mut state = self.state.borrow_mut();
        let turn = state.turn;
        state.turn = state.turn.wrapping_add(1);
        let has = pool
            .iter()
            .filter_map(|index| Some((*index, self.all[*index].address(is_ipv4)?)));
        let mut has: Vec<(usize, IpAddr)> = has.collect();
        if has.is_empty() {
            return Vec::new();
        }
        let count = has.len();
        has.rotate_left(turn % count);
        // Stable: those that do not rest stay in turn.
        has.sort_by_key(|(index, address)| state.rests_until(*index, *address, site, now));
        has.truncate(SOURCES_PER_ADDRESS);
        let chosen = has.into_iter().map(|(index, address)| Chosen {
            index,
            address,
            name: self.all[index].name.clone(),
        });
        chosen.collect()
    }

    /// Whether it rests, for this site or for all.
    pub fn rests(&self, chosen: &Chosen, site: &str, now: Time) -> bool {
        let state = self.state.borrow();
        state.rests_until(chosen.index, chosen.address, site, now) > now
    }

    /// Its address cannot be bound.
    pub fn unavailable(&self, chosen: &Chosen, now: Time) {
        let count = &self.counters.sources[chosen.index];
        count.unavailable.fetch_add(1, Relaxed);
        self.rest(Rest::Address(chosen.address), now);
    }

    /// The site does not talk to it.
    pub fn refused(&self, chosen: &Chosen, site: &str, now: Time) {
        let count = &self.counters.sources[chosen.index];
        count.refused.fetch_add(1, Relaxed);
        self.rest(Rest::Site(chosen.index, site.to_owned()), now);
    }

    /// A conversation began.
    pub fn began(&self, chosen: &Chosen, site: &str) {
        let count = &self.counters.sources[chosen.index];
        count.conversations.fetch_add(1, Relaxed);
        let mut state = self.state.borrow_mut();
        state.resting.remove(&Rest::Address(chosen.address));
        let site = Rest::Site(chosen.index, site.to_owned());
        state.resting.remove(&site);
        self.count(&state);
    }

    fn rest(&self, rest: Rest, now: Time) {
        let mut state = self.state.borrow_mut();
        state.resting.retain(|_, until| *until > now);
        if state.resting.len() >= SOURCE_RESTS_MAX {
            let soonest = state.resting.iter().min_by_key(|(_, until)| **until);
            let soonest = soonest.map(|(rest, _)| rest.clone());
            soonest.and_then(|rest| state.resting.remove(&rest));
        }
        let until = now.after_us(SOURCE_RESTS.as_micros() as u64);
        state.resting.insert(rest, until);
        self.count(&state);
    }

    fn count(&self, state: &State) {
        for (index, (source, count)) in self.all.iter().zip(&self.counters.sources).enumerate() {
            let own = state.resting.keys().filter(|rest| match rest {
                Rest::Address(address) => {
                    source.ipv4 == Some(*address) || source.ipv6 == Some(*address)
                }
                Rest::Site(of, _) => *of == index,
            });
            count.resting.store(own.count(), Relaxed);
        }
    }
}

impl State {
    /// `Time(0)`: it does not.
    fn rests_until(&self, index: usize, address: IpAddr, site: &str, now: Time) -> Time {
        let for_all = self.resting.get(&Rest::Address(address));
        let for_site = self.resting.get(&Rest::Site(index, site.to_owned()));
        let until = for_all.into_iter().chain(for_site).max();
        until
            .copied()
            .filter(|until| *until > now)
            .unwrap_or(Time(0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::counters::SourceCount;
    use super::*;

    fn source(last: u8, senders: &[&str], domains: &[&str]) -> Source {
        let all = |of: &[&str]| of.iter().map(|one| (*one).to_owned()).collect();
        Source {
            name: format!("mx{last}.example.org"),
            ipv4: Some(IpAddr::from([192, 0, 2, last])),
            ipv6: None,
            senders: all(senders),
            domains: all(domains),
        }
    }

    fn sources(all: Vec<Source>) -> Sources {
        let counters = Counters {
            sources: all.iter().map(|one| SourceCount::of(&one.name)).collect(),
            ..Counters::default()
        };
        Sources::new(all, Arc::new(counters))
    }

    fn lasts(chosen: &[Chosen]) -> Vec<usize> {
        chosen.iter().map(|one| one.index).collect()
    }

    #[test]
    fn a_pool_is_of_the_sender_then_of_the_domain_then_of_what_names_neither() {
        let all = sources(vec![
            source(1, &[], &[]),
            source(2, &["news@example.org"], &[]),
            source(3, &["example.com"], &["big.example"]),
            source(4, &[], &["big.example"]),
            source(5, &[], &[]),
        ]);
        for (sender, domain, wanted) in [
            ("News@example.org", "big.example", vec![1]),
            ("bob@Example.com", "a.example", vec![2]),
            ("alice@example.org", "BIG.example", vec![2, 3]),
            ("alice@example.org", "a.example", vec![0, 4]),
            ("", "a.example", vec![0, 4]),
        ] {
            assert_eq!(all.pool(sender, domain), wanted, "{sender} {domain}");
        }
        let named = sources(vec![source(1, &["example.com"], &[])]);
        assert!(named.pool("alice@example.org", "a.example").is_empty());
        let none = sources(Vec::new());
        assert!(none.pool("a@b.example", "c.example").is_empty());
    }

    #[test]
    fn sources_take_turns_and_what_rests_comes_last_and_is_never_all_that_is_missing() {
        let all = sources(vec![source(1, &[], &[]), source(2, &[], &[])]);
        let (pool, now) = ([0, 1], Time(1_000));
        let order = |site: &str, now| lasts(&all.order(&pool, site, true, now));
        assert_eq!(order("a.example", now), [0, 1]);
        assert_eq!(order("a.example", now), [1, 0]);
        assert_eq!(all.order(&pool, "a.example", false, now), [], "no IPv6");
        let first = all.order(&pool, "a.example", true, now)[1].clone();
        all.refused(&first, "a.example", now);
        assert!(all.rests(&first, "a.example", now));
        for _ in 0..3 {
            let order = order("a.example", now);
            assert_eq!(order.last(), Some(&first.index), "{order:?}");
        }
        assert!(!all.rests(&first, "b.example", now), "another site");
        // An address that is not here rests for every site; both are still tried.
        let later = now.after_us(1);
        let other = Chosen {
            index: 1 - first.index,
            address: all.all[1 - first.index].ipv4.expect("one"),
            ..first.clone()
        };
        all.unavailable(&other, later);
        assert!(all.rests(&other, "b.example", later));
        assert_eq!(order("a.example", later), [first.index, other.index]);
        let over = later.after_us(SOURCE_RESTS.as_micros() as u64);
        assert!(!all.rests(&first, "a.example", over));
        assert!(!all.rests(&other, "a.example", over));
    }

    #[test]
    fn what_rests_is_counted_bounded_and_ends_with_a_conversation() {
        let all = sources(vec![source(1, &[], &[])]);
        let one = all.order(&[0], "a.example", true, Time(0))[0].clone();
        for site in 0..SOURCE_RESTS_MAX + 9 {
            all.refused(&one, &format!("{site}.example"), Time(site as u64));
        }
        let resting = || all.counters.sources[0].resting.load(Relaxed);
        assert_eq!(resting(), SOURCE_RESTS_MAX);
        all.began(&one, &format!("{}.example", SOURCE_RESTS_MAX + 8));
        assert_eq!(resting(), SOURCE_RESTS_MAX - 1);
    }
}
