//! One power-on: the volume is opened, servers listen, and the sender runs, as `ringpostd` has it on cores and lanes.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use base::Host;
use base::host::oneshot;
use client::login::{Logins, Permit, Verifier, Verifying};
use client::relay::limits::{CONNECTIONS_MAX, TRY_BYTES};
use client::relay::{Counters, Route, Sender, Settings};
use client::submit::{self, Submitter};
use device::Io;
use dns::Table;
use fastrand::Rng;
use inbound::receive::{self, Ids, Placed, Receiver};
use mail::Address;
use mailbox::Mailboxes;
use queue::Queue;
use runtime::memory::{MemoryPeer, connect};
use runtime::{Budget, MemoryDial, SessionHost, Stop};
use storage::outgoing::Outgoing;
use storage::owner::{Ask, Busy};
use store::Store;

use super::model::Known;
use super::remote::Remote;
use crate::limits::LINTEL_PATIENCE;
use crate::machine::Machine;

/// The servers of other sites, each with the last number of its address.
pub const SITES: [(&str, u8); 5] = [
    (SWIFT, 1),
    ("d1.example", 2),
    ("d2.example", 3),
    ("d3.example", 4),
    (HOME, 5),
];
/// It is always well: what is for it must not wait for others.
pub const SWIFT: &str = "swift.example";
/// Where strangers have their mailboxes.
pub const HOME: &str = "home.example";

/// Closures run beside the queue; one of so many hears `Busy`, as from a full lane.
/// In the place of lanes between cores. The work runs as a task of its own and not inside of the call, so that a caller which goes away leaves it
/// running, as over a real lane.
#[derive(Clone)]
pub struct Lane {
    host: Rc<dyn Host>,
    outgoing: Outgoing,
    /// 0: none.
    busy_share: Rc<Cell<u32>>,
    rng: Rc<RefCell<Rng>>,
}

impl Ask for Lane {
    async fn ask<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes) -> F + Send + 'static,
    {
        self.ask_outgoing(|outgoing| work(outgoing.mailboxes().clone()))
            .await
    }

    async fn ask_outgoing<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Outgoing) -> F + Send + 'static,
    {
        let share = self.busy_share.get();
        if share > 0 && self.rng.borrow_mut().u32(..share) == 0 {
            return Err(Busy);
        }
        let (sender, receiver) = oneshot();
        let task = work(self.outgoing.clone());
        self.host
            .spawn(Box::pin(async move { sender.send(task.await) }));
        receiver.await.ok_or(Busy)
    }

    fn refuses_mail(&self) -> bool {
        let store = self.outgoing.mailboxes().store();
        store.volume().refuses().is_some()
    }
}

/// What every account's password is.
pub const PASSWORD: &str = "right";

/// Compares; what argon2id does is not what is simulated.
struct Comparison;

impl Verifier for Comparison {
    fn verify(&self, _hash: String, password: Vec<u8>, permit: Permit) -> Verifying {
        Box::pin(async move {
            let _permit = permit;
            Ok(password == PASSWORD.as_bytes())
        })
    }

    fn decoy(&self) -> String {
        String::new()
    }
}

/// All that runs from one power-on to the next.
pub struct PowerOn {
    pub host: Rc<dyn Host>,
    pub outgoing: Outgoing,
    pub lane: Lane,
    pub remotes: Vec<Rc<Remote>>,
    pub stop: Stop,
    dial: MemoryDial,
    counters: Arc<Counters>,
    /// Of content on its way out.
    memory: Budget,
    has_ended: Rc<Cell<bool>>,
    receiver: Rc<Receiver<Lane>>,
    submitter: Rc<Submitter<Lane>>,
    door: Rc<receive::Settings>,
    desk: Rc<submit::Settings>,
}

/// How this power-on is.
#[derive(Clone, Copy)]
pub struct Terms {
    /// Its number.
    pub start: u64,
    /// See `Lane`.
    pub busy_share: u32,
    pub connections_max: usize,
}

pub async fn open(machine: &Machine, io: &Io, checkpoint_us: u64) -> Result<Outgoing, String> {
    let volume = machine
        .open(io)
        .await
        .map_err(|refusal| format!("open: {refusal}"))?;
    let settings = store::Settings {
        projection_cache_bytes: 1 << 20,
        compression_level: 1,
        lead: mail::header::bytes,
    };
    let opened = Store::open(io.clone(), volume, settings).await;
    let (store, replay) = opened.map_err(|fault| format!("store: {fault}"))?;
    machine.world.after_each_step(store.checker());
    let settings = mailbox::Settings {
        cache_bytes: 1 << 20,
        checkpoint_groups: 100,
        checkpoint_bytes: 1 << 20,
        checkpoint_us,
    };
    let mut queue = None;
    let others = |tenancy: &_| vec![queue.insert(Queue::new(tenancy)).tenant()];
    let opened = Mailboxes::open_beside(io.clone(), store, replay, settings, others).await;
    let mailboxes = opened.map_err(|fault| format!("mailboxes: {fault}"))?;
    let queue = queue.ok_or("the queue was not made")?;
    machine.world.after_each_step(queue.checker());
    let outgoing = Outgoing::new(mailboxes, queue);
    outgoing.set_fresh_key([5; 32]);
    Ok(outgoing)
}

impl PowerOn {
    /// Everything runs.
    pub fn start(
        io: &Io,
        outgoing: Outgoing,
        known: &Rc<RefCell<Known>>,
        terms: Terms,
        rng: &mut Rng,
    ) -> PowerOn {
        let host = io.host.clone();
        let stop = Stop::new();
        let (names, dial) = (
            Table::new(&host, rng.u64(..)),
            // Pipes of 200 bytes break every reply and every command somewhere; those of 8 KiB are the usual case.
            MemoryDial::new(&host, &stop, [200, 8_192][rng.usize(..2)], 1_000),
        );
        let start = |(domain, last)| {
            Remote::start(&host, (&dial, &names), (domain, last), known, rng.fork())
        };
        let remotes = SITES.into_iter().map(start).collect();
        let lane = Lane {
            host: host.clone(),
            outgoing: outgoing.clone(),
            busy_share: Rc::new(Cell::new(terms.busy_share)),
            rng: Rc::new(RefCell::new(rng.fork())),
        };
        let sessions = SessionHost::on(host.clone());
        // So little that destinations wait for each other's memory: one that hangs with a large message must not stop the rest.
        let memory = Budget::with_shares(16 * TRY_BYTES, 4 * TRY_BYTES);
        let settings = Settings {
            sts: None,
            sources: Vec::new(),
            hostname: "mx.example.org".to_owned(),
            route: Route::Exchangers { port: 25 },
            tls: None,
            connections_max: terms.connections_max.min(CONNECTIONS_MAX),
            seed: rng.u64(..),
        };
        let with = (lane.clone(), names, dial.clone());
        let sender = Sender::new(
            sessions.clone(),
            with,
            memory.clone(),
            settings,
            stop.clone(),
        );
        let counters = sender.counters().clone();
        let has_ended = Rc::new(Cell::new(false));
        let ended = has_ended.clone();
        host.spawn(Box::pin(async move {
            sender.run().await;
            ended.set(true);
        }));
        let start = terms.start;
        let budget = Budget::with_shares(8 << 20, 8 << 20);
        let receiver = Receiver::on(
            sessions.clone(),
            Ids::of(start, 0),
            lane.clone(),
            budget.clone(),
            Placed::default(),
        );
        let logins = Logins::with(Comparison);
        let submitter = Submitter::on(sessions, Ids::of(start, 1), lane.clone(), budget, logins);
        let smtp = |service| {
            Arc::new(smtp::Config {
                role: smtp::Role::Smtp,
                service,
                hostname: "mx.example.org".into(),
                limits: smtp::Limits::default(),
                tls_available: false,
                tls_required: false,
            })
        };
        let login_without_tls = true;
        PowerOn {
            host,
            outgoing,
            lane,
            remotes,
            stop,
            dial,
            counters,
            memory,
            has_ended,
            receiver: Rc::new(receiver),
            submitter: Rc::new(submitter),
            door: Rc::new(receive::Settings {
                smtp: smtp(smtp::Service::Exchange),
                tls: None,
                postmaster: None,
                door: None,
            }),
            desk: Rc::new(submit::Settings {
                smtp: smtp(smtp::Service::Submission { login_without_tls }),
                tls: None,
                postmaster: Address::from_path("ada@example.org"),
                rates: submit::Rates::default(),
            }),
        }
    }

    pub fn sessions(&self) -> SessionHost {
        SessionHost::on(self.host.clone())
    }

    pub fn now_us(&self) -> u64 {
        self.host.now().0
    }

    /// Nothing is busy any more.
    pub fn calm_down(&self) {
        self.lane.busy_share.set(0);
    }

    /// A connection from a stranger, or from a person's mail program.
    pub fn connect(&self, is_stranger: bool) -> MemoryPeer {
        let from = SocketAddr::from(([127, 0, 0, 1], 1024));
        let (connection, peer) = connect(&self.host, &self.stop, from, 4_096);
        match is_stranger {
            true => {
                let (receiver, door) = (self.receiver.clone(), self.door.clone());
                self.host.spawn(Box::pin(
                    async move { receiver.serve(&door, connection).await },
                ));
            }
            false => {
                let (submitter, desk) = (self.submitter.clone(), self.desk.clone());
                self.host.spawn(Box::pin(
                    async move { submitter.serve(&desk, connection).await },
                ));
            }
        }
        peer
    }

    /// The sender ends in time.
    pub async fn end_sender(&self) -> Result<(), String> {
        self.stop.request();
        let ended = self.has_ended.clone();
        self.until("the sender does not stop", LINTEL_PATIENCE, || ended.get())
            .await
    }

    /// The queue is empty: no connection, no memory and no message is held.
    pub async fn at_rest(&self) -> Result<(), String> {
        let is_so = || {
            self.dial.open() == 0
                && self.counters.connections.load(Relaxed) == 0
                && self.memory.used_bytes() == 0
        };
        let words = "nothing waits, and connections or memory are held";
        self.until(words, LINTEL_PATIENCE, is_so).await
    }

    pub async fn until(
        &self,
        words: &str,
        patience: Duration,
        is_so: impl Fn() -> bool,
    ) -> Result<(), String> {
        let host = self.sessions();
        let so = async {
            while !is_so() {
                host.sleep(Duration::from_secs(2)).await;
            }
        };
        let came = host.within(patience, so).await;
        came.ok_or_else(|| words.to_owned())
    }
}
