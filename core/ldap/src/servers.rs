//! Several servers, asked in the order of the settings: one that fails is left at once, and not asked for a while.
//!
//! What must hold: a question ends after three deadlines of each server at the latest (two of them wait for a connection), and while all servers rest it ends at once. A server that rests is tried
//! by one question at a time, so that a server that hangs costs few.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::Histogram;
use base::histogram::SharedHistogram;
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::Away;
use crate::connection::{Connection, Fault};
use crate::limits::{CONNECTIONS_EACH_MAX, IDLE_MAX, REST};
use crate::message::SUCCESS;
use crate::settings::{Server, Settings};

/// What is known of the servers, for people and metrics. Any thread reads it.
pub struct Gauges {
    all: Vec<Gauge>,
}

struct Gauge {
    url: String,
    state: Mutex<State>,
    calls: AtomicU64,
    failures: AtomicU64,
    took: SharedHistogram,
}

#[derive(Default)]
struct State {
    /// `None`: it is asked.
    rests_until: Option<Instant>,
    /// A question tries whether it is back.
    is_tried: bool,
    why: Option<String>,
}

/// How one server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub url: String,
    /// The last question to it was answered, or none was put.
    pub is_up: bool,
    /// Why not.
    pub why: Option<String>,
    pub calls: u64,
    pub failures: u64,
    pub took: Histogram,
}

impl Gauges {
    pub(crate) fn new(servers: &[Server]) -> Gauges {
        let gauge = |server: &Server| Gauge {
            url: server.url.clone(),
            state: Mutex::default(),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            took: SharedHistogram::default(),
        };
        Gauges {
            all: servers.iter().map(gauge).collect(),
        }
    }

    pub fn health(&self) -> Vec<Health> {
        let health = |gauge: &Gauge| {
            let state = gauge.state.lock().expect("no holder panics");
            Health {
                url: gauge.url.clone(),
                is_up: state.rests_until.is_none(),
                why: state.why.clone(),
                calls: gauge.calls.load(Relaxed),
                failures: gauge.failures.load(Relaxed),
                took: gauge.took.read(),
            }
        };
        self.all.iter().map(health).collect()
    }
}

impl Gauge {
    /// Whether a question may go to it now; what is returned says so again when it is dropped.
    fn enter(&self) -> Option<Try<'_>> {
        let mut state = self.state.lock().expect("no holder panics");
        match state.rests_until {
            Some(until) if state.is_tried || Instant::now() < until => None,
            Some(_) => {
                state.is_tried = true;
                Some(Try {
                    gauge: self,
                    is_trial: true,
                })
            }
            None => Some(Try {
                gauge: self,
                is_trial: false,
            }),
        }
    }

    fn note(&self, fault: Option<&Fault>) {
        let mut state = self.state.lock().expect("no holder panics");
        match fault {
            None | Some(Fault::TooMuch(_)) => {
                if state.rests_until.take().is_some() {
                    tracing::info!(server = self.url, "the directory's server answers again");
                }
                state.why = None;
            }
            // It goes on being asked.
            Some(fault @ Fault::OfOne { .. }) => {
                self.failures.fetch_add(1, Relaxed);
                state.rests_until = None;
                let why = Some(fault.to_string());
                if state.why != why {
                    tracing::warn!(server = self.url, %fault, "the directory's server does not answer a question");
                    state.why = why;
                }
            }
            Some(fault) => {
                self.failures.fetch_add(1, Relaxed);
                if state.rests_until.is_none() {
                    tracing::warn!(server = self.url, %fault, "the directory's server fails");
                }
                state.rests_until = Some(Instant::now() + REST);
                state.why = Some(fault.to_string());
            }
        }
    }
}

/// A question that is put to a server.
struct Try<'a> {
    gauge: &'a Gauge,
    is_trial: bool,
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            let mut state = self.gauge.state.lock().expect("no holder panics");
            state.is_tried = false;
        }
    }
}

/// The servers and their connections, on their thread.
pub(crate) struct Servers {
    pub settings: Arc<Settings>,
    tls: Arc<ClientConfig>,
    gauges: Arc<Gauges>,
    pools: Vec<Pool>,
}

struct Pool {
    idle: RefCell<Vec<Connection>>,
    places: Semaphore,
}

impl Servers {
    pub fn new(settings: Arc<Settings>, tls: Arc<ClientConfig>, gauges: Arc<Gauges>) -> Servers {
        let pool = |_: &Server| Pool {
            idle: RefCell::default(),
            places: Semaphore::new(CONNECTIONS_EACH_MAX),
        };
        Servers {
            pools: settings.servers.iter().map(pool).collect(),
            settings,
            tls,
            gauges,
        }
    }

    /// Puts a question to the servers in order until one answers it. `within`: for one server, its connection included. `work` may be called several
    /// times, each time with a connection that speaks as the one that searches.
    pub async fn with<T>(
        self: &Rc<Servers>,
        within: Duration,
        work: impl AsyncFn(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Away> {
        let mut reasons = Vec::new();
        for (index, server) in self.settings.servers.iter().enumerate() {
            let gauge = &self.gauges.all[index];
            // A wait for others of our own questions says nothing of the server.
            let place = timeout(
                2 * self.settings.deadline,
                self.pools[index].places.acquire(),
            );
            let Ok(Ok(_place)) = place.await else {
                reasons.push(format!("{}: too many questions wait for it", server.url));
                continue;
            };
            let Some(_try) = gauge.enter() else {
                let state = gauge.state.lock().expect("no holder panics");
                let why = state.why.as_deref().unwrap_or("it is being tried");
                reasons.push(format!("{}: {why}", server.url));
                continue;
            };
            let began = Instant::now();
            gauge.calls.fetch_add(1, Relaxed);
            let asked = timeout(within, self.ask(index, &work)).await;
            let asked = asked.unwrap_or(Err(Fault::Deadline));
            gauge.took.note(began.elapsed().as_micros() as u64);
            // What is too much for us says nothing of the server, and another one would have as much. A user who can make a server rest locks all others out.
            gauge.note(asked.as_ref().err());
            match asked {
                Ok(answer) => return Ok(answer),
                Err(fault @ Fault::TooMuch(_)) => {
                    return Err(Away(format!("{}: {fault}", server.url)));
                }
                Err(fault) => reasons.push(format!("{}: {fault}", server.url)),
            }
        }
        Err(Away(reasons.join("; ")))
    }

    async fn ask<T>(
        &self,
        index: usize,
        work: &impl AsyncFn(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let pool = &self.pools[index];
        let kept = {
            let mut idle = pool.idle.borrow_mut();
            idle.retain(|connection| connection.used.elapsed() < IDLE_MAX);
            idle.pop()
        };
        if let Some(connection) = kept {
            match self.attempt(index, connection, work).await {
                // The server may have closed it meanwhile: that says nothing of the server.
                Err(Fault::Io(_)) => {}
                ended => return ended,
            }
        }
        let server = &self.settings.servers[index];
        let connection = Connection::open(server, &self.tls, self.settings.deadline).await?;
        self.attempt(index, connection, work).await
    }

    async fn attempt<T>(
        &self,
        index: usize,
        mut connection: Connection,
        work: &impl AsyncFn(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if !connection.is_service {
            self.log_in(&mut connection).await?;
        }
        let done = work(&mut connection).await?;
        connection.used = Instant::now();
        self.pools[index].idle.borrow_mut().push(connection);
        Ok(done)
    }

    /// As the one that searches.
    async fn log_in(&self, connection: &mut Connection) -> Result<(), Fault> {
        let settings = &self.settings;
        let bound = connection.bind(&settings.bind_dn, settings.bind_password.bytes());
        let done = bound.await?;
        if done.code != SUCCESS {
            return Err(Fault::Refused {
                code: done.code,
                text: format!(
                    "the name and password of the settings (bind_dn): {}",
                    done.text
                ),
            });
        }
        connection.is_service = true;
        Ok(())
    }
}
