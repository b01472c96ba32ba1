//! What the domain name system says of a peer: the lists of the settings, all at once, and its reverse name.
//!
//! What must hold: it ends within the policy's deadline, whatever name servers do; so many connections' look-ups go on at a time; what
//! did not come in time is unknown.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use base::Time;
use dns::{Kind, NameFault, Names, Value};
use door::lists::{self, Health, Listing};
use door::{Door, List};
use runtime::SessionHost;
use tokio::sync::Semaphore;

/// Connections of one core whose look-ups go on at a time; the others wait within their deadline. `dns` bounds the questions.
const UNDER_WAY_MAX: usize = 256;
/// Connections of one core whose look-ups are begun: they go on where a peer leaves, so that without a bound peers that come and go could
/// begin any number. Past it a connection has none.
const BEGUN_MAX: usize = 1_024;
/// Reverse names of a peer that are followed; an honest host has one.
const REVERSE_NAMES_MAX: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Findings {
    /// In the order of the settings.
    pub listings: Vec<Listing>,
    /// Whether a reverse name leads back; `None`: it is not known.
    pub points_back: Option<bool>,
}

type Finding = Pin<Box<dyn Future<Output = Findings>>>;

/// The look-ups of one core.
pub(super) struct LookUp {
    /// Boxed, so that the rest of the room does not depend on which names are asked.
    finds: Box<dyn Fn(IpAddr) -> Finding>,
    is_needed: bool,
    begun: Rc<Cell<usize>>,
}

/// One connection's look-ups; given back when dropped.
struct Begun(Rc<Cell<usize>>);

struct Shared<N> {
    door: Door,
    host: SessionHost,
    names: N,
    health: RefCell<Vec<Health>>,
    under_way: Semaphore,
}

impl LookUp {
    pub fn new(door: &Door, host: SessionHost, names: impl Names) -> LookUp {
        let policy = door.policy();
        let shared = Rc::new(Shared {
            door: door.clone(),
            host,
            names,
            health: RefCell::new(vec![Health::default(); policy.lists.len()]),
            under_way: Semaphore::new(UNDER_WAY_MAX),
        });
        LookUp {
            finds: Box::new(move |peer| {
                let shared = shared.clone();
                Box::pin(async move { shared.find(peer).await })
            }),
            is_needed: !policy.lists.is_empty() || policy.reverse_name,
            begun: Rc::default(),
        }
    }

    /// Everything about `peer`; `None`: nothing is to be looked up, or too much is already.
    pub fn about(&self, peer: IpAddr) -> Option<Finding> {
        if !self.is_needed || self.begun.get() >= BEGUN_MAX {
            return None;
        }
        let begun = Begun::one(&self.begun);
        let finds = (self.finds)(peer);
        Some(Box::pin(async move {
            let _begun = begun;
            finds.await
        }))
    }
}

impl Begun {
    fn one(count: &Rc<Cell<usize>>) -> Begun {
        count.set(count.get() + 1);
        Begun(count.clone())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A test of a list that is under way. One that the deadline cuts off has failed: else the list would not count until the next is due.
struct Testing<'a> {
    health: &'a RefCell<Vec<Health>>,
    at: usize,
    is_over: bool,
}

impl Drop for Testing<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.health.borrow_mut()[self.at].failed();
        }
    }
}

impl<N: Names> Shared<N> {
    async fn find(&self, peer: IpAddr) -> Findings {
        let policy = self.door.policy();
        let until = self
            .host
            .now()
            .after_us(policy.lookup_deadline.as_micros() as u64);
        let waits = self.host.within(self.left(until), self.under_way.acquire());
        let Some(Ok(_one)) = waits.await else {
            return Findings {
                listings: vec![Listing::Unknown; policy.lists.len()],
                points_back: None,
            };
        };
        let lists = policy.lists.iter().enumerate().map(|(at, list)| {
            let asks = self.listing(at, list, peer);
            let asked: Pin<Box<dyn Future<Output = Listing> + '_>> = Box::pin(async move {
                let answer = self.host.within(self.left(until), asks).await;
                answer.unwrap_or(Listing::Unknown)
            });
            asked
        });
        let reverse = async {
            match policy.reverse_name {
                true => {
                    let asks = self.points_back(peer);
                    self.host.within(self.left(until), asks).await.flatten()
                }
                false => None,
            }
        };
        let (listings, points_back) = tokio::join!(together(lists.collect()), reverse);
        Findings {
            listings,
            points_back,
        }
    }

    fn left(&self, until: Time) -> Duration {
        Duration::from_micros(until.since_us(self.host.now()))
    }

    async fn listing(&self, at: usize, list: &List, peer: IpAddr) -> Listing {
        self.test(at, list).await;
        if !self.health.borrow()[at].works() {
            return Listing::Unknown;
        }
        let name = lists::question(peer, &list.zone);
        match self.addresses(&name).await {
            Ok(addresses) if lists::is_listed(&addresses, &list.answers) => {}
            Ok(_) => return Listing::Absent,
            Err(_) => return Listing::Unknown,
        }
        let is_reason_wanted = list.weight > 0 && self.door.policy().refuse_at > 0;
        let texts = match is_reason_wanted {
            true => self.names.texts(&name).await.unwrap_or_default(),
            false => Vec::new(),
        };
        Listing::Listed {
            reason: texts.first().and_then(|text| lists::reason(text)),
        }
    }

    /// RFC 5782 §5, now and then.
    async fn test(&self, at: usize, list: &List) {
        if !self.health.borrow_mut()[at].is_due(self.host.now()) {
            return;
        }
        let mut testing = Testing {
            health: &self.health,
            at,
            is_over: false,
        };
        let answer = self.addresses(&lists::test_question(&list.zone)).await;
        testing.is_over = true;
        let mut health = self.health.borrow_mut();
        match answer {
            Ok(addresses) => {
                if health[at].tested(!addresses.is_empty()) {
                    match addresses.is_empty() {
                        true => tracing::info!(zone = list.zone, "the DNS list works"),
                        false => tracing::warn!(
                            zone = list.zone,
                            "the DNS list lists 127.0.0.1, which no working list does: it is ignored until it stops"
                        ),
                    }
                }
            }
            Err(_) => health[at].failed(),
        }
    }

    /// A records. A name that does not exist has none.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, NameFault> {
        match self.names.records(name, Kind::A).await {
            Ok(values) => {
                let addresses = values.into_iter().filter_map(|value| match value {
                    Value::Address(address) => Some(address),
                    _ => None,
                });
                Ok(addresses.collect())
            }
            Err(NameFault::NoSuchDomain) => Ok(Vec::new()),
            Err(fault) => Err(fault),
        }
    }

    /// Whether a name of `peer` has its address. `None`: some name could not be looked up, and none leads back.
    async fn points_back(&self, peer: IpAddr) -> Option<bool> {
        // Its own reverse zone, and what that names.
        let theirs = self.names.on_behalf_of(peer);
        let names = match theirs.names_of(peer).await {
            Ok(names) => names,
            Err(NameFault::NoSuchDomain) => return Some(false),
            Err(NameFault::Unavailable(_)) => return None,
        };
        let mut is_known = true;
        for name in names.iter().take(REVERSE_NAMES_MAX) {
            match theirs.addresses(name).await {
                Ok(addresses) if addresses.contains(&peer.to_canonical()) => return Some(true),
                Ok(_) | Err(NameFault::NoSuchDomain) => {}
                Err(NameFault::Unavailable(_)) => is_known = false,
            }
        }
        is_known.then_some(false)
    }
}

/// All of `futures` at once; their answers in order.
async fn together<T>(mut futures: Vec<Pin<Box<dyn Future<Output = T> + '_>>>) -> Vec<T> {
    let mut answers: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, answer) in futures.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *answer = Some(value);
            }
        }
        match answers.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use device::sim::SimWorld;
    use dns::Table;
    use door::Policy;

    #[test]
    fn peers_that_come_and_go_begin_a_bounded_number_of_look_ups() {
        let host = SimWorld::new(1).io().host;
        let policy = Policy {
            reverse_name: true,
            ..Policy::default()
        };
        let (door, names) = (Door::new(policy), Table::new(&host, 1));
        let look_up = LookUp::new(&door, SessionHost::on(host), names);
        let peer = IpAddr::from([192, 0, 2, 1]);
        let mut begun: Vec<Finding> = (0..2 * BEGUN_MAX)
            .filter_map(|_| look_up.about(peer))
            .collect();
        assert_eq!(begun.len(), BEGUN_MAX);
        begun.pop();
        begun.extend(look_up.about(peer));
        assert_eq!(begun.len(), BEGUN_MAX, "one ended, one begins");
        assert!(look_up.about(peer).is_none());
    }
}
