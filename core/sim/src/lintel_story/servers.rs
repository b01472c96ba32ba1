//! The rooms of the lintel on the one simulated thread: what `ringpostd` sets up on cores and lanes, here on a host of virtual time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::Host;
use base::host::oneshot;
use client::imap::{self, Imap, Memory};
use client::login::{Logins, Permit, Verifier, Verifying};
use fastrand::Rng;
use inbound::receive::{self, Ids, Placed, Receiver};
use mailbox::Mailboxes;
use runtime::memory::{MemoryPeer, connect};
use runtime::{SessionHost, Stop};
use smtp::Role;
use storage::owner::{Ask, Busy};

use crate::limits::{LINTEL_MESSAGE_BYTES_MAX, LINTEL_READING_BYTES, LINTEL_SENDING_BYTES};

/// What every account's password is.
pub const PASSWORD: &str = "right";

/// Closures run beside the mailboxes; one of so many hears `Busy`, as from a full lane.
#[derive(Clone)]
pub struct Way {
    host: Rc<dyn Host>,
    mailboxes: Mailboxes,
    /// One of so many is refused; 0: none.
    busy_share: u32,
    state: Rc<RefCell<Asked>>,
}

struct Asked {
    rng: Rng,
    next: u64,
    under_way: BTreeSet<u64>,
}

impl Way {
    /// What was asked last.
    pub fn newest(&self) -> u64 {
        self.state.borrow().next
    }

    /// Whether all that was asked up to `newest` has ended.
    pub fn has_ended(&self, newest: u64) -> bool {
        let state = self.state.borrow();
        state
            .under_way
            .first()
            .is_none_or(|oldest| *oldest >= newest)
    }
}

impl Ask for Way {
    async fn ask<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes) -> F + Send + 'static,
    {
        let number = {
            let mut state = self.state.borrow_mut();
            let share = self.busy_share;
            if share > 0 && state.rng.u32(..share) == 0 {
                return Err(Busy);
            }
            let number = state.next;
            state.next += 1;
            // Numbered, so that "everything that this session began has ended" can be asked without knowing what it was.
            state.under_way.insert(number);
            number
        };
        let (sender, receiver) = oneshot();
        let (task, state) = (work(self.mailboxes.clone()), self.state.clone());
        self.host.spawn(Box::pin(async move {
            sender.send(task.await);
            state.borrow_mut().under_way.remove(&number);
        }));
        receiver.await.ok_or(Busy)
    }

    fn refuses_mail(&self) -> bool {
        self.mailboxes.store().volume().refuses().is_some()
    }
}

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

/// All that listens, from one power-on to the next.
pub struct Servers {
    pub host: Rc<dyn Host>,
    pub way: Way,
    pub stop: Stop,
    receiver: Rc<Receiver<Way>>,
    imap: Rc<Imap<Way>>,
    /// The same, for those who only watch.
    watched: Rc<Imap<Way>>,
    memory: Memory,
    smtp: Rc<receive::Settings>,
    lmtp: Rc<receive::Settings>,
    imap_settings: Rc<imap::Settings>,
    /// Sessions that have not ended.
    open: Rc<Cell<usize>>,
    connections: Cell<u32>,
}

/// The other end of a connection, and whether its session has ended.
pub struct Line {
    pub peer: MemoryPeer,
    pub over: Rc<Cell<bool>>,
}

impl Servers {
    /// `start`: the number of this power-on.
    pub fn new(
        host: Rc<dyn Host>,
        mailboxes: &Mailboxes,
        start: u64,
        busy_share: u32,
        rng: Rng,
    ) -> Servers {
        let way = Way {
            host: host.clone(),
            mailboxes: mailboxes.clone(),
            busy_share,
            state: Rc::new(RefCell::new(Asked {
                rng,
                next: 0,
                under_way: BTreeSet::new(),
            })),
        };
        let sessions = SessionHost::on(host.clone());
        // Room for four of the largest messages: some sessions find none, and must say so and not wait for ever.
        let receiving = receive::memory(
            4 * LINTEL_MESSAGE_BYTES_MAX as usize,
            LINTEL_MESSAGE_BYTES_MAX as usize,
        );
        let memory = Memory::new(
            LINTEL_READING_BYTES,
            LINTEL_SENDING_BYTES,
            receiving.clone(),
        );
        let receiver = Receiver::on(
            sessions.clone(),
            Ids::of(start, 0),
            way.clone(),
            receiving,
            Placed::default(),
        );
        let imap = |way: Way| {
            let logins = Logins::with(Comparison);
            Imap::on(sessions.clone(), way, memory.clone(), logins)
        };
        // Who only watches asks most of the time because something happened: that is when storage is to be busy.
        let watched = Way {
            busy_share: busy_share.min(WATCHED_BUSY_SHARE),
            ..way.clone()
        };
        let settings = |role| receive::Settings {
            smtp: Arc::new(smtp::Config {
                role,
                service: smtp::Service::Exchange,
                hostname: "sim.example.org".into(),
                limits: smtp::Limits {
                    message_bytes_max: LINTEL_MESSAGE_BYTES_MAX,
                    ..smtp::Limits::default()
                },
                tls_available: false,
                tls_required: false,
            }),
            tls: None,
            postmaster: None,
            door: None,
        };
        Servers {
            host,
            way: way.clone(),
            stop: Stop::new(),
            receiver: Rc::new(receiver),
            imap: Rc::new(imap(way)),
            watched: Rc::new(imap(watched)),
            memory,
            smtp: Rc::new(settings(Role::Smtp)),
            lmtp: Rc::new(settings(Role::Lmtp)),
            imap_settings: Rc::new(imap::Settings {
                tls: None,
                login_on_loopback: true,
                append_bytes_max: LINTEL_MESSAGE_BYTES_MAX as usize,
                hide: [].into(),
            }),
            open: Rc::default(),
            connections: Cell::new(0),
        }
    }

    /// A connection to the receiver; `None` when no more are accepted.
    pub fn connect_smtp(&self, role: Role, pipe_bytes: usize) -> Option<Line> {
        let settings = match role {
            Role::Smtp => self.smtp.clone(),
            Role::Lmtp => self.lmtp.clone(),
        };
        let receiver = self.receiver.clone();
        self.connect(pipe_bytes, |connection| async move {
            receiver.serve(&settings, connection).await;
        })
    }

    pub fn connect_imap(&self, pipe_bytes: usize) -> Option<Line> {
        self.connect_to(&self.imap, pipe_bytes)
    }

    /// For who only watches.
    pub fn connect_watcher(&self, pipe_bytes: usize) -> Option<Line> {
        self.connect_to(&self.watched, pipe_bytes)
    }

    fn connect_to(&self, imap: &Rc<Imap<Way>>, pipe_bytes: usize) -> Option<Line> {
        let (imap, settings) = (imap.clone(), self.imap_settings.clone());
        self.connect(pipe_bytes, |connection| async move {
            imap.serve(&settings, connection).await;
        })
    }

    fn connect<F: Future<Output = ()> + 'static>(
        &self,
        pipe_bytes: usize,
        serve: impl FnOnce(runtime::memory::MemoryConnection) -> F,
    ) -> Option<Line> {
        if self.stop.is_requested() {
            return None;
        }
        let number = self.connections.get();
        self.connections.set(number + 1);
        // Many addresses, because shares of memory are dealt out by them.
        let from = SocketAddr::from(([127, 0, 0, 1 + (number % 200) as u8], 1024));
        let (connection, peer) = connect(&self.host, &self.stop, from, pipe_bytes);
        let over = Rc::new(Cell::new(false));
        self.open.set(self.open.get() + 1);
        let (open, ended, session) = (self.open.clone(), over.clone(), serve(connection));
        self.host.spawn(Box::pin(async move {
            session.await;
            open.set(open.get() - 1);
            ended.set(true);
        }));
        Some(Line { peer, over })
    }

    /// Waits until `line` was left by its session, and what that one began is done: nothing that was sent there happens later.
    pub async fn ended(&self, line: Line) -> Result<(), String> {
        let Line { peer, over } = line;
        drop(peer);
        self.until("a session without a client does not end", || over.get())
            .await?;
        let newest = self.way.newest();
        let words = "what a session began does not end";
        self.until(words, || self.way.has_ended(newest)).await
    }

    /// All clients are gone: so are the sessions, and every byte of memory is given back.
    pub async fn at_rest(&self) -> Result<(), String> {
        self.until("sessions are left over", || self.open.get() == 0)
            .await?;
        let newest = self.way.newest();
        let words = "what sessions began does not end";
        self.until(words, || self.way.has_ended(newest)).await?;
        let Memory {
            reading,
            sending,
            receiving,
            compressing,
            notifying,
            // It stays for the next SORT, within its bound.
            orders: _,
        } = &self.memory;
        // All of it, after every round: a leak of a byte for each session would be found by the first story.
        match (
            reading.used_bytes(),
            sending.used_bytes(),
            receiving.used_bytes(),
            // No client of the story compresses, or asks to be notified.
            compressing.used_bytes() + notifying.used_bytes(),
        ) {
            (0, 0, 0, 0) => Ok(()),
            used => Err(format!("no session is left, and memory is used: {used:?}")),
        }
    }

    async fn until(&self, words: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
        let host = SessionHost::on(self.host.clone());
        let so = async {
            while !is_so() {
                host.sleep(Duration::from_millis(20)).await;
            }
        };
        let came = host.within(crate::limits::LINTEL_PATIENCE, so).await;
        came.ok_or_else(|| words.to_owned())
    }
}

/// One question of a watcher in so many finds storage busy, in stories where it is busy at all.
const WATCHED_BUSY_SHARE: u32 = 3;
