//! The appliance's `Names`: asks name servers that look further (recursive ones), and keeps what they said.
//!
//! One for each core; it starts no task. A look-up is all inside the caller's future: dropped, its sockets close.
//!
//! It does not validate: an answer is as good as the name server and the way to it. What must be proved (DANE) is asked of a validator of its
//! own, which answers with the AD bit; it is on this machine, or the way to it is as safe. It asks the servers in order, beginning with the one
//! that answered last. One that fails (SERVFAIL, REFUSED, nonsense, no way) is not asked again for the same question; silent ones are,
//! with more patience.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use base::Network;
use hickory_proto::rr::Name as WireName;
use tokio::sync::Semaphore;

use crate::cache::Cache;
use crate::limits::*;
use crate::name::{self, Name};
use crate::question::{Kind, Question, Reading, Value};
use crate::servers::Servers;
use crate::share::{self, Share, Shares};
use crate::transport::{self, Trouble};
use crate::{Exchangers, NameFault, Names};

/// Clones are the same resolver, with one cache and one bound.
#[derive(Clone)]
pub struct Resolver {
    shared: Rc<Shared>,
    /// On whose behalf; `None`: our own.
    network: Option<Network>,
}

/// What the clones share.
struct Shared {
    /// The name servers, in the order of the settings.
    servers: Servers,
    patience: Patience,
    /// Which of them answered last.
    preferred: Cell<usize>,
    /// Bounds the look-ups that run at once; the others wait in turn.
    lookups: Semaphore,
    /// … and those of one network of strangers.
    shares: Shares,
    /// Shuffles exchangers of equal preference (RFC 5321 §5.1).
    random: RefCell<fastrand::Rng>,
    /// A secret key and a counter: together they give identifiers of questions that cannot be guessed.
    identifiers: (RandomState, Cell<u64>),
    /// Exchangers, by domain.
    exchangers: RefCell<Cache<Exchangers>>,
    /// Addresses, by host.
    addresses: RefCell<Cache<Vec<IpAddr>>>,
    /// By kind and name.
    records: RefCell<Cache<Vec<Value>>>,
    /// The servers that are asked what must be proved; `None`: nothing is provable here.
    validators: Option<Servers>,
    /// As `records`; `None`: not signed.
    proved: RefCell<Cache<Option<Vec<Value>>>>,
}

/// How long servers are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A silent server, time after time.
    pub waits: [Duration; 3],
    /// All of a look-up.
    pub deadline: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            waits: WAITS,
            deadline: LOOKUP_DEADLINE,
        }
    }
}

/// What was found out, and how long it holds.
struct Answer<T> {
    outcome: Result<T, NameFault>,
    lives: Duration,
}

/// Records of one kind, at the end of all aliases. Empty: there are none.
struct Records {
    values: Vec<Value>,
    lives: Duration,
    /// A validator vouches for them and for every alias on the way.
    proved: bool,
}

impl Resolver {
    /// Asks `servers`. `seed` decides the order of exchangers of equal preference, and nothing else.
    pub fn new(servers: Servers, seed: u64) -> Resolver {
        Resolver::with_patience(servers, seed, Patience::default())
    }

    /// As `new`, with other waits: for tests.
    pub fn with_patience(servers: Servers, seed: u64, patience: Patience) -> Resolver {
        Resolver::with_validators(servers, None, seed, patience)
    }

    /// As `new`. `validators` are asked what must be proved; they are believed what they say of it.
    pub fn with_validators(
        servers: Servers,
        validators: Option<Servers>,
        seed: u64,
        patience: Patience,
    ) -> Resolver {
        Resolver {
            shared: Rc::new(Shared {
                servers,
                patience,
                preferred: Cell::new(0),
                lookups: Semaphore::new(LOOKUPS_MAX),
                shares: Shares::default(),
                random: RefCell::new(fastrand::Rng::with_seed(seed)),
                identifiers: (RandomState::new(), Cell::new(0)),
                exchangers: RefCell::new(Cache::new(CACHE_BYTES_MAX / 4, weigh_exchangers)),
                addresses: RefCell::new(Cache::new(CACHE_BYTES_MAX / 4, weigh_addresses)),
                records: RefCell::new(Cache::new(CACHE_BYTES_MAX / 8 * 3, weigh_records)),
                validators,
                proved: RefCell::new(Cache::new(CACHE_BYTES_MAX / 8, weigh_proved)),
            }),
            network: None,
        }
    }
}

impl Names for Resolver {
    fn on_behalf_of(&self, peer: IpAddr) -> Resolver {
        Resolver {
            shared: self.shared.clone(),
            network: Some(share::network_of(peer)),
        }
    }

    async fn exchangers(&self, domain: &str) -> Result<Exchangers, NameFault> {
        let shared = &*self.shared;
        let host = match asked(domain)? {
            Name::Literal(_) => return Ok(Exchangers::implicit(domain.to_owned())),
            Name::Host(host) => host,
        };
        let kept = shared.exchangers.borrow_mut().get(&host, Instant::now());
        let outcome = match kept {
            Some(outcome) => outcome,
            None => {
                let Answer { outcome, lives } = shared
                    .bounded(self.network, shared.find_exchangers(&host))
                    .await;
                let mut kept = shared.exchangers.borrow_mut();
                kept.put(&host, &outcome, lives, Instant::now());
                outcome
            }
        };
        Ok(outcome?.shuffled(&mut shared.random.borrow_mut()))
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NameFault> {
        let shared = &*self.shared;
        let host = match asked(host)? {
            Name::Literal(address) => return Ok(vec![address]),
            Name::Host(host) => host,
        };
        let kept = shared.addresses.borrow_mut().get(&host, Instant::now());
        match kept {
            Some(outcome) => outcome,
            None => {
                let Answer { outcome, lives } = shared
                    .bounded(self.network, shared.find_addresses(&host))
                    .await;
                let mut kept = shared.addresses.borrow_mut();
                kept.put(&host, &outcome, lives, Instant::now());
                outcome
            }
        }
    }

    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, NameFault> {
        let shared = &*self.shared;
        let owner = name::owner(name).ok_or(NameFault::NoSuchDomain)?;
        special(&owner)?;
        let key = format!("{kind:?} {owner}");
        let kept = shared.records.borrow_mut().get(&key, Instant::now());
        match kept {
            Some(outcome) => outcome,
            None => {
                let finds = shared.find_records(&owner, kind);
                let Answer { outcome, lives } = shared.bounded(self.network, finds).await;
                let mut kept = shared.records.borrow_mut();
                kept.put(&key, &outcome, lives, Instant::now());
                outcome
            }
        }
    }

    async fn proved_exchangers(&self, domain: &str) -> Result<(Exchangers, bool), NameFault> {
        let (found, proved) = crate::proved_exchangers(self, domain).await?;
        let found = found.shuffled(&mut self.shared.random.borrow_mut());
        Ok((found, proved))
    }

    async fn proved(&self, name: &str, kind: Kind) -> Result<Option<Vec<Value>>, NameFault> {
        let shared = &*self.shared;
        let Some(validators) = &shared.validators else {
            return Ok(None);
        };
        let owner = name::owner(name).ok_or(NameFault::NoSuchDomain)?;
        special(&owner)?;
        let key = format!("{kind:?} {owner}");
        let kept = shared.proved.borrow_mut().get(&key, Instant::now());
        match kept {
            Some(outcome) => outcome,
            None => {
                let finds = shared.find_proved(validators, &owner, kind);
                let Answer { outcome, lives } = shared.bounded(self.network, finds).await;
                let mut kept = shared.proved.borrow_mut();
                kept.put(&key, &outcome, lives, Instant::now());
                outcome
            }
        }
    }
}

impl Shared {
    /// A look-up with its bounds: so many at a time, of them so many of one network of strangers, and so long.
    async fn bounded<T>(
        &self,
        network: Option<Network>,
        finds: impl Future<Output = Answer<T>>,
    ) -> Answer<T> {
        let has_turn = Cell::new(false);
        let looked_up = async {
            // Its own share first: what waits for that takes none of the places of all.
            let share = network.map(|network| self.shares.of(network));
            let places = share.as_ref().map(Share::places);
            let _own = match places {
                Some(places) => Some(places.acquire().await.expect("it is never closed")),
                None => None,
            };
            let _one = self.lookups.acquire().await.expect("it is never closed");
            has_turn.set(true);
            finds.await
        };
        match tokio::time::timeout(self.patience.deadline, looked_up).await {
            Ok(answer) => answer,
            Err(_) if has_turn.get() => Answer::unavailable("no answer in time"),
            // No server was asked, and others may be in time: a stranger with slow zones would else spoil names for all.
            Err(_) => Answer {
                lives: Duration::ZERO,
                ..Answer::unavailable("too many look-ups wait")
            },
        }
    }

    /// MX records, or what stands for them (RFC 5321 §5.1). What the address look-up found is kept too: the caller asks
    /// for it next.
    async fn find_exchangers(&self, host: &str) -> Answer<Exchangers> {
        let mx = match self.find(host, Kind::Mx).await {
            Ok(mx) => mx,
            Err(answer) => return answer,
        };
        if !mx.values.is_empty() {
            let records = mx.values.into_iter().filter_map(|value| match value {
                Value::Exchanger(preference, host) => Some((preference, host)),
                _ => None,
            });
            return Answer {
                outcome: Exchangers::of(records),
                lives: mx.lives,
            };
        }
        // RFC 5321 §5.1: without MX records the domain itself, if it has an address.
        let addresses = self.find_addresses(host).await;
        let mut kept = self.addresses.borrow_mut();
        kept.put(host, &addresses.outcome, addresses.lives, Instant::now());
        Answer {
            outcome: addresses
                .outcome
                .map(|_| Exchangers::implicit(host.to_owned())),
            lives: addresses.lives.min(mx.lives),
        }
    }

    /// The records of one kind, all of them or a fault.
    async fn find_records(&self, owner: &str, kind: Kind) -> Answer<Vec<Value>> {
        match self.find(owner, kind).await {
            Err(fault) => fault,
            Ok(Records { values, lives, .. }) => Answer {
                outcome: bounded_records(values, kind),
                lives,
            },
        }
    }

    /// As `find_records`, of a validator. Records that it does not vouch for count as not signed: `None`.
    async fn find_proved(
        &self,
        validators: &Servers,
        owner: &str,
        kind: Kind,
    ) -> Answer<Option<Vec<Value>>> {
        match self.find_at(validators, owner, kind).await {
            Err(fault) => fault,
            Ok(Records {
                values,
                lives,
                proved: true,
            }) => Answer {
                outcome: bounded_records(values, kind).map(Some),
                lives,
            },
            Ok(Records { lives, .. }) => Answer {
                outcome: Ok(None),
                lives,
            },
        }
    }

    /// Addresses of both families. One family with addresses is enough, for a short time. Where the look-ups disagree, unknown wins over absent.
    async fn find_addresses(&self, host: &str) -> Answer<Vec<IpAddr>> {
        let (six, four) = tokio::join!(self.find(host, Kind::Aaaa), self.find(host, Kind::A));
        let (six, four): (Records, Records) = match (six, four) {
            (Ok(six), Ok(four)) => (six, four),
            // One family is enough to go on, for a while.
            (Ok(found), Err(fault)) | (Err(fault), Ok(found)) => {
                let missing: Answer<()> = fault;
                if found.values.is_empty() {
                    return missing.into_fault();
                }
                let lives = found.lives.min(FAILURE_KEPT);
                let none = Records {
                    values: Vec::new(),
                    lives,
                    proved: false,
                };
                (found, none)
            }
            (Err(fault), Err(other)) => {
                // Two servers that disagree: what is unknown is not absent.
                return match fault.outcome {
                    Err(NameFault::NoSuchDomain) => other.into_fault(),
                    _ => fault.into_fault(),
                };
            }
        };
        let lives = six.lives.min(four.lives);
        let addresses = take_turns(six.values, four.values);
        Answer {
            outcome: match addresses.is_empty() {
                true => Err(NameFault::NoSuchDomain),
                false => Ok(addresses),
            },
            lives,
        }
    }

    /// The records of `host`, through its aliases. A fault comes with the time it holds.
    async fn find<T>(&self, host: &str, kind: Kind) -> Result<Records, Answer<T>> {
        self.find_at(&self.servers, host, kind).await
    }

    /// As `find`, of these servers. Bound: `CNAMES_MAX` aliases, so that a circle of them ends.
    async fn find_at<T>(
        &self,
        servers: &Servers,
        host: &str,
        kind: Kind,
    ) -> Result<Records, Answer<T>> {
        // A name that was checked always has a form on the wire.
        let Ok(mut name) = WireName::from_labels(host.split('.').map(str::as_bytes)) else {
            return Err(Answer::absent(None));
        };
        let (mut ttl_max, mut proved) = (u32::MAX, true);
        for _ in 0..=CNAMES_MAX {
            let asked = self.ask(servers, &name, kind).await;
            let (reading, authentic) = asked.map_err(Answer::unavailable)?;
            proved &= authentic;
            match reading {
                Reading::Found { values, ttl } => {
                    let lives = seconds(ttl.min(ttl_max));
                    return Ok(Records {
                        values,
                        lives,
                        proved,
                    });
                }
                Reading::Alias { target, ttl } => {
                    (name, ttl_max) = (target, ttl.min(ttl_max));
                }
                Reading::Nothing { ttl } => {
                    let values = Vec::new();
                    let lives = negative(ttl).min(seconds(ttl_max));
                    return Ok(Records {
                        values,
                        lives,
                        proved,
                    });
                }
                Reading::NoName { ttl } => return Err(Answer::absent(ttl)),
            }
        }
        Err(Answer::unavailable(
            "a chain of CNAME records without an end",
        ))
    }

    /// One question, to as many servers and as often as it takes. A fault is a short phrase for people.
    async fn ask(
        &self,
        servers: &Servers,
        name: &WireName,
        kind: Kind,
    ) -> Result<(Reading, bool), String> {
        let validates = self
            .validators
            .as_ref()
            .is_some_and(|validators| std::ptr::eq(validators, servers));
        let servers = servers.at(Instant::now());
        let first = match validates {
            true => 0,
            false => self.preferred.get().min(servers.len().saturating_sub(1)),
        };
        let mut silent: Vec<(usize, SocketAddr)> = servers.iter().copied().enumerate().collect();
        silent.rotate_left(first);
        let mut why = "no name server answers".to_owned();
        for wait in self.patience.waits {
            for (at, server) in std::mem::take(&mut silent) {
                let mut question = Question::new(name.clone(), kind, self.identifier());
                if validates {
                    question = question.authentic();
                }
                match transport::ask(server, &question, wait).await {
                    Ok(reading) => {
                        if !validates {
                            self.preferred.set(at);
                        }
                        return Ok(reading);
                    }
                    Err(Trouble::Silent) => silent.push((at, server)),
                    Err(Trouble::Failed(phrase)) => {
                        tracing::debug!(%server, %name, ?kind, phrase, "no answer");
                        why = format!("{phrase} from name server {}", server.ip());
                    }
                }
            }
        }
        Err(why)
    }

    /// One that cannot be guessed: the standard library's hash has a key from the operating system.
    fn identifier(&self) -> u16 {
        let (keyed, count) = &self.identifiers;
        count.set(count.get().wrapping_add(1));
        keyed.hash_one(count.get()) as u16
    }
}

impl<T> Answer<T> {
    /// The name does not exist; `ttl` is what the zone says of absences (RFC 2308 §5), if it says anything.
    fn absent(ttl: Option<u32>) -> Answer<T> {
        Answer {
            outcome: Err(NameFault::NoSuchDomain),
            lives: negative(ttl),
        }
    }

    /// No server could say. Kept for a short time, so that a queue full of mail for one domain does not ask on and on.
    fn unavailable(why: impl Into<String>) -> Answer<T> {
        Answer {
            outcome: Err(NameFault::Unavailable(why.into())),
            lives: FAILURE_KEPT,
        }
    }

    /// The same fault of another kind of look-up.
    fn into_fault<U>(self) -> Answer<U> {
        match self.outcome {
            Ok(_) => unreachable!("it is a fault"),
            Err(fault) => Answer {
                outcome: Err(fault),
                lives: self.lives,
            },
        }
    }
}

/// What `text` asks for. Names that RFC 6761 and RFC 7686 keep out of the domain name system do not exist there.
fn asked(text: &str) -> Result<Name, NameFault> {
    let name = name::parse(text).ok_or(NameFault::NoSuchDomain)?;
    if let Name::Host(host) = &name {
        special(host)?;
    }
    Ok(name)
}

/// Names that are not in the domain name system (RFC 6761, RFC 7686). No server is asked about them.
fn special(name: &str) -> Result<(), NameFault> {
    let last = name.rsplit('.').next().unwrap_or(name);
    match last {
        "invalid" | "localhost" | "onion" => Err(NameFault::NoSuchDomain),
        _ => Ok(()),
    }
}

/// All of `values`, or none: half of a domain's records could say the opposite of all of them.
pub(crate) fn bounded_records(mut values: Vec<Value>, kind: Kind) -> Result<Vec<Value>, NameFault> {
    if kind == Kind::Ptr {
        values.truncate(NAMES_MAX);
    }
    let bytes: usize = values.iter().map(Value::heap_bytes).sum();
    match values.len() <= RECORDS_MAX && bytes <= RECORDS_BYTES_MAX {
        true => Ok(values),
        false => Err(NameFault::Unavailable(
            "more records than are taken".to_owned(),
        )),
    }
}

/// Families take turns, so that one that leads nowhere costs no more than every second try.
fn take_turns(six: Vec<Value>, four: Vec<Value>) -> Vec<IpAddr> {
    let of = |values: Vec<Value>| {
        values.into_iter().filter_map(|value| match value {
            Value::Address(address) if can_be_dialled(address) => Some(address),
            _ => None,
        })
    };
    let (mut six, mut four) = (of(six), of(four));
    let mut turns = Vec::new();
    while turns.len() < ADDRESSES_MAX {
        let before = turns.len();
        turns.extend(six.next());
        turns.extend(four.next());
        if turns.len() == before {
            break;
        }
    }
    turns
}

/// Whether a connection to the address can lead to another machine.
fn can_be_dialled(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && address != IpAddr::from([255; 4])
}

/// A TTL as the cache takes it.
fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(u64::from(ttl))
}

/// How long an absence holds.
fn negative(ttl: Option<u32>) -> Duration {
    ttl.map_or(FAILURE_KEPT, seconds).min(ABSENCE_KEPT_MAX)
}

/// Bytes on the heap that a kept answer takes, for the cache's bound.
fn weigh_exchangers(exchangers: &Exchangers) -> usize {
    match exchangers {
        Exchangers::Hosts(hosts) => hosts
            .iter()
            .map(|one| size_of_val(one) + one.host.capacity())
            .sum(),
        Exchangers::Nowhere => 0,
    }
}

/// As `weigh_exchangers`, of addresses.
fn weigh_addresses(addresses: &Vec<IpAddr>) -> usize {
    addresses.capacity() * size_of::<IpAddr>()
}

/// As `weigh_exchangers`, of records.
fn weigh_records(records: &Vec<Value>) -> usize {
    let heap: usize = records.iter().map(Value::heap_bytes).sum();
    records.capacity() * size_of::<Value>() + heap
}

/// As `weigh_exchangers`, of proved records.
fn weigh_proved(proved: &Option<Vec<Value>>) -> usize {
    proved.as_ref().map_or(0, weigh_records)
}

#[cfg(test)]
mod tests;
