//! The servers of one kind, seen from one core: which of them a call goes to, how many calls there are, and how long one may take.
//!
//! - Load: of the servers that answer, the one with the fewest calls of this core; with equal ones they take turns.
//! - Health: a server that cannot be reached, or fails `STRIKES_MAX` times in a row, is left alone for a time that doubles with each further
//!   failure (`REST_MIN` to `REST_MAX`). Then one call probes it.
//! - Deadline: one for the whole call, its waiting and both tries included. A first try that has another server behind it gets half.
//! - When every server is left alone, a call fails at once.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::Time;
use runtime::{Dial, SessionHost};
use tokio::sync::Semaphore;

use crate::limits::*;
use crate::{Counters, Fault};

/// See the module. Lives on its core.
pub struct Pool<D> {
    host: SessionHost,
    dial: D,
    servers: Vec<Rc<Server>>,
    /// Calls at a time.
    calls: Semaphore,
    deadline: Duration,
    turn: Cell<usize>,
    counters: Arc<Counters>,
}

/// One address.
pub struct Server {
    pub address: SocketAddr,
    calls: Cell<usize>,
    /// Failures in a row.
    strikes: Cell<u32>,
    /// How long it was left alone the last time; 0: it is well.
    rest_us: Cell<u64>,
    until: Cell<Time>,
    is_probed: Cell<bool>,
}

/// A call's hold on its server, given back however the call ends.
struct Call {
    server: Rc<Server>,
    is_probe: bool,
}

impl Call {
    fn begin(server: &Rc<Server>) -> Call {
        let is_probe = server.rest_us.get() > 0;
        server.calls.set(server.calls.get() + 1);
        if is_probe {
            server.is_probed.set(true);
        }
        Call {
            server: server.clone(),
            is_probe,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.server.calls.set(self.server.calls.get() - 1);
        if self.is_probe {
            self.server.is_probed.set(false);
        }
    }
}

impl<D: Dial> Pool<D> {
    /// At most `calls_max` calls at a time, each of at most `deadline`; there is at least one server.
    pub fn new(
        host: SessionHost,
        dial: D,
        servers: &[SocketAddr],
        calls_max: usize,
        deadline: Duration,
        counters: Arc<Counters>,
    ) -> Pool<D> {
        assert!((1..=SERVERS_MAX).contains(&servers.len()) && calls_max > 0);
        let server = |address: &SocketAddr| {
            Rc::new(Server {
                address: *address,
                calls: Cell::new(0),
                strikes: Cell::new(0),
                rest_us: Cell::new(0),
                until: Cell::new(Time(0)),
                is_probed: Cell::new(false),
            })
        };
        Pool {
            host,
            dial,
            servers: servers.iter().map(server).collect(),
            calls: Semaphore::new(calls_max),
            deadline,
            turn: Cell::new(0),
            counters,
        }
    }

    /// What `talk` comes to over a new connection to one of the servers. It is done a second time, with another server, where the first failed.
    pub async fn call<T>(
        &self,
        talk: impl AsyncFn(D::Connection, SocketAddr) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let due = self.host.now().after_us(self.deadline.as_micros() as u64);
        let left = || Duration::from_micros(due.since_us(self.host.now()));
        let Some(permit) = self.host.within(left(), self.calls.acquire()).await else {
            return Err(Fault::Busy);
        };
        let _permit = permit.expect("it is never closed");
        let mut tried: Option<(SocketAddr, Fault)> = None;
        for tries_left in (0..TRIES_MAX).rev() {
            let (failed, fault) = match tried.take() {
                Some((address, fault)) => (Some(address), fault),
                None => (None, Fault::AllResting),
            };
            let Some(server) = self.choose(failed) else {
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
            let call = Call::begin(&server);
            let answer = self
                .host
                .within(span, async {
                    let dialled = self.dial.dial(server.address, span).await;
                    talk(dialled.map_err(Fault::Dial)?, server.address).await
                })
                .await
                .unwrap_or(Err(Fault::TimedOut));
            drop(call);
            match answer {
                Ok(answer) => {
                    self.is_well(&server);
                    return Ok(answer);
                }
                Err(fault) if !fault.is_of_server() => return Err(fault),
                Err(fault) => {
                    self.failed(&server, &fault);
                    tried = Some((server.address, fault));
                }
            }
        }
        Err(tried.map_or(Fault::AllResting, |(_, fault)| fault))
    }

    /// The server of the next call, which is not `failed`: one whose rest is over, else the least busy of those that are well.
    fn choose(&self, failed: Option<SocketAddr>) -> Option<Rc<Server>> {
        let now = self.host.now();
        let others = || {
            let others = self.servers.iter();
            others.filter(move |server| Some(server.address) != failed)
        };
        let is_due = |server: &&Rc<Server>| {
            server.rest_us.get() > 0 && server.until.get() <= now && !server.is_probed.get()
        };
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
        server.strikes.set(0);
        if server.rest_us.replace(0) > 0 {
            self.counters.rest_ended();
            tracing::info!(server = %server.address, "a scanner answers again");
        }
    }

    fn failed(&self, server: &Server, fault: &Fault) {
        server.strikes.set(server.strikes.get().saturating_add(1));
        let was_resting = server.rest_us.get() > 0;
        let is_reached = !matches!(fault, Fault::Dial(_));
        tracing::debug!(server = %server.address, %fault, "a scanner gave no verdict");
        if is_reached && !was_resting && server.strikes.get() < STRIKES_MAX {
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
