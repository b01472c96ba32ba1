//! The servers of one kind, seen from one core: which of them a call goes to, how many calls there are, and how long one may take.
//!
//! - Load: of the servers that answer, the one with the fewest calls of this core; with equal ones they take turns.
//! - Shares: one peer has at most half of the calls, so that its slow messages leave room for those of others; peers that wait take turns.
//! - Health: a server that cannot be reached is left alone, and so is one that fails in a row at the messages of `STRIKES_MAX` peers, or
//!   `STRIKES_OF_ONE_MAX` times at those of one. A call does not count that failed while the server answered others: the message is to blame.
//!   The rest begins with `REST_MIN` and doubles up to `REST_MAX`. At its end calls of up to `PROBES_MAX` peers probe the server, and it
//!   doubles once where they fail.
//! - Deadline: one for the whole call, its waiting and both tries included. A first try that has another server behind it gets half.
//! - When every server is left alone, a call fails at once.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::Time;
use runtime::{Budget, Dial, Holder, SessionHost};

use crate::limits::*;
use crate::{Counters, Fault};

/// See the module. Lives on its core.
pub struct Pool<D> {
    host: SessionHost,
    dial: D,
    servers: Vec<Rc<Server>>,
    /// Calls at a time, not bytes; each peer has a share.
    calls: Budget,
    deadline: Duration,
    turn: Cell<usize>,
    counters: Arc<Counters>,
}

/// One address.
pub struct Server {
    pub address: SocketAddr,
    calls: Cell<usize>,
    /// Calls that it answered, since start.
    answers: Cell<u64>,
    /// Failures since its last answer, …
    strikes: Cell<u32>,
    /// … and whose messages they were: each peer once, at most `STRIKES_MAX`.
    strikers: RefCell<Vec<Holder>>,
    /// How long it was left alone the last time; 0: it is well.
    rest_us: Cell<u64>,
    until: Cell<Time>,
    /// Whose calls probe it now; at most `PROBES_MAX`.
    probes: RefCell<Vec<Holder>>,
}

/// A call's hold on its server, given back however the call ends.
struct Call {
    server: Rc<Server>,
    peer: Holder,
    /// `Server::answers` when it began.
    answers: u64,
    /// It is a probe, at the end of the rest that lasted until then.
    probes: Option<Time>,
}

impl Call {
    fn begin(server: &Rc<Server>, peer: Holder) -> Call {
        let is_probe = server.rest_us.get() > 0;
        server.calls.set(server.calls.get() + 1);
        if is_probe {
            server.probes.borrow_mut().push(peer);
        }
        Call {
            server: server.clone(),
            peer,
            answers: server.answers.get(),
            probes: is_probe.then(|| server.until.get()),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.server.calls.set(self.server.calls.get() - 1);
        if self.probes.is_some() {
            let mut probes = self.server.probes.borrow_mut();
            probes.retain(|peer| *peer != self.peer);
        }
    }
}

impl Server {
    fn new(address: SocketAddr) -> Server {
        Server {
            address,
            calls: Cell::new(0),
            answers: Cell::new(0),
            strikes: Cell::new(0),
            strikers: RefCell::default(),
            rest_us: Cell::new(0),
            until: Cell::new(Time(0)),
            probes: RefCell::default(),
        }
    }

    /// Its rest is over, and a call of `peer` may probe it.
    fn may_be_probed(&self, now: Time, peer: Holder) -> bool {
        let probes = self.probes.borrow();
        let has_room = probes.len() < PROBES_MAX && !probes.contains(&peer);
        self.rest_us.get() > 0 && self.until.get() <= now && has_room
    }

    /// Counts a failure at a message of `peer`; whether there are enough of them.
    fn strike(&self, peer: Holder) -> bool {
        self.strikes.set(self.strikes.get().saturating_add(1));
        let mut strikers = self.strikers.borrow_mut();
        if strikers.len() < STRIKES_MAX && !strikers.contains(&peer) {
            strikers.push(peer);
        }
        strikers.len() >= STRIKES_MAX || self.strikes.get() >= STRIKES_OF_ONE_MAX
    }
}

impl<D: Dial> Pool<D> {
    /// At most `calls_max` calls at a time, each of at most `deadline`; one peer has at most half of them. There is at least one server.
    pub fn new(
        host: SessionHost,
        dial: D,
        servers: &[SocketAddr],
        calls_max: usize,
        deadline: Duration,
        counters: Arc<Counters>,
    ) -> Pool<D> {
        assert!((1..=SERVERS_MAX).contains(&servers.len()) && calls_max > 0);
        let server = |address: &SocketAddr| Rc::new(Server::new(*address));
        Pool {
            host,
            dial,
            servers: servers.iter().map(server).collect(),
            calls: Budget::with_shares(calls_max, calls_max.div_ceil(2)),
            deadline,
            turn: Cell::new(0),
            counters,
        }
    }

    /// What `talk` about a message of `peer` comes to over a new connection to one of the servers. It is done a second time, with another
    /// server, where the first failed.
    pub async fn call<T>(
        &self,
        peer: Holder,
        talk: impl AsyncFn(D::Connection, SocketAddr) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let due = self.host.now().after_us(self.deadline.as_micros() as u64);
        let left = || Duration::from_micros(due.since_us(self.host.now()));
        let turn = self.calls.wait_for(peer, 1);
        let Some(_held) = self.host.within(left(), turn).await else {
            return Err(Fault::Busy);
        };
        let mut tried: Option<(SocketAddr, Fault)> = None;
        for tries_left in (0..TRIES_MAX).rev() {
            let (failed, fault) = match tried.take() {
                Some((address, fault)) => (Some(address), fault),
                None => (None, Fault::AllResting),
            };
            let Some(server) = self.choose(failed, peer) else {
                return Err(fault);
            };
            let has_another = tries_left > 0 && self.is_another(server.address);
            let span = match has_another {
                true => left() / 2,
                false => left(),
            };
            if span.is_zero() {
                return Err(Fault::TimedOut);
            }
            let call = Call::begin(&server, peer);
            let answer = self
                .host
                .within(span, async {
                    let dialled = self.dial.dial(server.address, span).await;
                    talk(dialled.map_err(Fault::Dial)?, server.address).await
                })
                .await
                .unwrap_or(Err(Fault::TimedOut));
            match answer {
                Ok(answer) => {
                    self.is_well(&server);
                    return Ok(answer);
                }
                Err(fault) if !fault.is_of_server() => return Err(fault),
                Err(fault) => {
                    self.failed(&call, &fault);
                    tried = Some((server.address, fault));
                }
            }
        }
        Err(tried.map_or(Fault::AllResting, |(_, fault)| fault))
    }

    /// The server of the next call of `peer`, which is not `failed`: one whose rest is over, else the least busy of those that are well.
    fn choose(&self, failed: Option<SocketAddr>, peer: Holder) -> Option<Rc<Server>> {
        let now = self.host.now();
        let others = || {
            let others = self.servers.iter();
            others.filter(move |server| Some(server.address) != failed)
        };
        let is_due = |server: &&Rc<Server>| server.may_be_probed(now, peer);
        if let Some(server) = others().find(is_due) {
            return Some(server.clone());
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let count = self.servers.len();
        let well = others().filter(|server| server.rest_us.get() == 0);
        let order = |server: &&Rc<Server>| {
            let at = self.servers.iter().position(|one| Rc::ptr_eq(one, server));
            let at = at.unwrap_or(0);
            (server.calls.get(), (at + count - turn % count) % count)
        };
        well.min_by_key(order).cloned()
    }

    /// Whether there is a server beside `chosen` that is not left alone.
    fn is_another(&self, chosen: SocketAddr) -> bool {
        let mut others = self.servers.iter();
        others.any(|server| server.address != chosen && server.rest_us.get() == 0)
    }

    fn is_well(&self, server: &Server) {
        server.answers.set(server.answers.get() + 1);
        server.strikes.set(0);
        server.strikers.borrow_mut().clear();
        if server.rest_us.replace(0) > 0 {
            self.counters.rest_ended();
            tracing::info!(server = %server.address, "a scanner answers again");
        }
    }

    fn failed(&self, call: &Call, fault: &Fault) {
        let server = &call.server;
        tracing::debug!(server = %server.address, %fault, "a scanner gave no verdict");
        let was_resting = server.rest_us.get() > 0;
        let rests = match fault {
            // Of the calls that were under way when the rest began, and of the probes behind the first one, nothing new is learnt.
            _ if was_resting => call.probes == Some(server.until.get()),
            Fault::Dial(_) => true,
            // It answered others meanwhile.
            _ if server.answers.get() != call.answers => false,
            _ => server.strike(call.peer),
        };
        if !rests {
            return;
        }
        let (min, max) = (REST_MIN.as_micros() as u64, REST_MAX.as_micros() as u64);
        let rest_us = (server.rest_us.get() * 2).clamp(min, max);
        server.rest_us.set(rest_us);
        server.until.set(self.host.now().after_us(rest_us));
        if !was_resting {
            self.counters.rest_began();
            tracing::warn!(server = %server.address, %fault, "a scanner fails and is left alone for a while");
        }
    }
}

impl<D> Drop for Pool<D> {
    fn drop(&mut self) {
        for server in &self.servers {
            if server.rest_us.get() > 0 {
                self.counters.rest_ended();
            }
        }
    }
}

#[cfg(test)]
mod tests;
