//! Mailboxes of alice@example.org on a simulated machine, and clients that talk to them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::Host;
use base::host::oneshot;
use bytes::Bytes;
use client::imap::{Imap, Memory, Settings};
use client::login::{Hashing, Logins, Permit, Verifier, Verifying};
use client::managesieve::{self, ManageSieve};
use client::pop3::{self, Pop3};
use client::submit::{self, Submitter};
use device::DeviceIndex;
use device::sim::SimWorld;
use imap::hide::Hide;
use inbound::receive::inspect::Policy;
use inbound::receive::{Ids, Inspect, Inspector};
use lessons::Lessons;
use logins::Keyring;
use mail::{Address, Flags, InternalDate, Summary};
use mailbox::{AccountId, Delivery, Mailboxes, Recipient};
use queue::Queue;
use runtime::dial::memory::MemoryDial;
use runtime::memory::connect;
use runtime::{Budget, SessionHost, Stop};
use scan::Scanners;
use scripts::Scripts;
use storage::filter::Filter;
use storage::outgoing::Outgoing;
use storage::owner::{Ask, Busy};
use store::{BodyIn, Store};
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

mod session;

pub use session::Session;

#[derive(Default)]
struct Remembered(RefCell<Option<WitnessRecord>>);

impl Witness for Remembered {
    fn read(&self, _volume: VolumeId) -> Result<Option<WitnessRecord>, WitnessFault> {
        Ok(self.0.borrow().clone())
    }

    fn replace(
        &self,
        _expected: Option<&WitnessRecord>,
        new: &WitnessRecord,
    ) -> Result<(), WitnessFault> {
        *self.0.borrow_mut() = Some(new.clone());
        Ok(())
    }
}

/// The mailboxes are on this thread.
#[derive(Clone)]
struct Here {
    host: Rc<dyn Host>,
    outgoing: Outgoing,
    busy: Rc<Cell<bool>>,
    asked: Rc<Cell<u64>>,
}

impl Ask for Here {
    async fn ask<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes) -> F + Send + 'static,
    {
        if self.busy.get() {
            return Err(Busy);
        }
        self.asked.set(self.asked.get() + 1);
        let (sender, receiver) = oneshot();
        let task = work(self.outgoing.mailboxes().clone());
        self.host
            .spawn(Box::pin(async move { sender.send(task.await) }));
        receiver.await.ok_or(Busy)
    }

    async fn ask_outgoing<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Outgoing) -> F + Send + 'static,
    {
        if self.busy.get() {
            return Err(Busy);
        }
        let (sender, receiver) = oneshot();
        let task = work(self.outgoing.clone());
        self.host
            .spawn(Box::pin(async move { sender.send(task.await) }));
        receiver.await.ok_or(Busy)
    }

    async fn ask_either<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes, Option<Outgoing>) -> F + Send + 'static,
    {
        let outgoing = self.outgoing.clone();
        if self.busy.get() {
            return Err(Busy);
        }
        self.asked.set(self.asked.get() + 1);
        let (sender, receiver) = oneshot();
        let task = work(outgoing.mailboxes().clone(), Some(outgoing));
        self.host
            .spawn(Box::pin(async move { sender.send(task.await) }));
        receiver.await.ok_or(Busy)
    }

    fn refuses_mail(&self) -> bool {
        false
    }
}

/// `secret` is the password of every account.
struct Secret;

impl Verifier for Secret {
    fn verify(&self, hash: String, password: Vec<u8>, permit: Permit) -> Verifying {
        Box::pin(async move {
            let _permit = permit;
            Ok(match hash.strip_prefix("kept ") {
                Some(kept) => password == kept.as_bytes(),
                None => password == b"secret",
            })
        })
    }

    fn hash(&self, password: Vec<u8>, permit: Permit) -> Hashing {
        Box::pin(async move {
            let _permit = permit;
            Ok(format!("kept {}", String::from_utf8_lossy(&password)))
        })
    }

    fn decoy(&self) -> String {
        String::new()
    }
}

/// A running machine.
pub struct Rig {
    pub host: Rc<dyn Host>,
    world: SimWorld,
    legs: [DeviceIndex; 2],
    pub mailboxes: Mailboxes,
    pub outgoing: Outgoing,
    /// What is asked beside the mailboxes, and not beside the queue, is answered `Busy`.
    pub busy: Rc<Cell<bool>>,
    /// How often something was asked beside the mailboxes: trips by the owner's lane.
    pub asked: Rc<Cell<u64>>,
    /// What IMAP's sessions share.
    pub memory: Memory,
    imap: Rc<Imap<Here>>,
    /// As `imap`, with little memory to read and sort in; it reports on every step of a command that takes long.
    eager: Rc<Imap<Here>>,
    pop3: Rc<Pop3<Here>>,
    /// As `pop3`, with `kept::rules`.
    keeping: Rc<Pop3<Here>>,
    /// As `pop3`, with next to no memory for what waits for clients.
    scarce: Rc<Pop3<Here>>,
    managesieve: Rc<ManageSieve<Here>>,
    submitter: Rc<Submitter<Here>>,
    alice: AccountId,
    /// Addresses of logins that failed.
    pub failed: Arc<Mutex<Vec<IpAddr>>>,
    /// What the audit gets.
    pub audited: Arc<Mutex<Vec<String>>>,
    /// What IMAP clients are not offered.
    pub hide: Arc<[Hide]>,
}

/// Runs `story` on a new machine, on virtual time.
pub fn run<F: Future<Output = ()>>(story: impl FnOnce(Rig) -> F) {
    run_with(|logins| logins, story);
}

/// As `run`, with logins that `change` has changed.
pub fn run_with<F: Future<Output = ()>>(
    change: impl Fn(Logins) -> Logins,
    story: impl FnOnce(Rig) -> F,
) {
    let world = SimWorld::new(1);
    let legs = [world.add_disk(32 << 20), world.add_disk(32 << 20)];
    let (io, witness) = (world.io(), Rc::new(Remembered::default()));
    let settings = volume::Settings {
        segment_bytes: 1 << 20,
        ..volume::Settings::default()
    };
    world.block_on(async {
        let created = Volume::create(&io, &legs, &settings, &*witness, 1).await;
        created.expect("blank legs");
        let opened = Volume::open(&io, &legs, &settings, witness).await;
        let settings = store::Settings {
            projection_cache_bytes: 1 << 20,
            compression_level: 1,
            lead: mail::header::bytes,
        };
        let opened = Store::open(io.clone(), opened.expect("a volume"), settings).await;
        let (store, replay) = opened.expect("a store");
        let settings = mailbox::Settings {
            cache_bytes: 1 << 20,
            checkpoint_groups: u64::MAX,
            checkpoint_bytes: u64::MAX,
            checkpoint_us: u64::MAX,
        };
        let mut queue = None;
        let mut lessons = None;
        let mut scripts = None;
        let mut keyring = None;
        let others = |tenancy: &_| {
            let queue = queue.insert(Queue::new(tenancy)).tenant();
            let scripts = scripts.insert(Scripts::new(tenancy)).tenant();
            vec![
                queue,
                lessons.insert(Lessons::new(tenancy)).tenant(),
                scripts,
                keyring.insert(Keyring::new(tenancy)).tenant(),
            ]
        };
        let mailboxes = Mailboxes::open_beside(io.clone(), store, replay, settings, others).await;
        let mailboxes = mailboxes.expect("mailboxes");
        let outgoing = Outgoing::new(mailboxes.clone(), queue.expect("made just now"))
            .with_lessons(lessons.expect("made just now"))
            .with_scripts(scripts.expect("made just now"))
            .with_keyring(keyring.expect("made just now"));
        let filter = Filter::new(
            outgoing.scripts().expect("some").clone(),
            SessionHost::on(io.host.clone()),
            "mx.example.org".to_owned(),
            Arc::default(),
        );
        let outgoing = outgoing.with_filter(filter);
        mailboxes.add_domain("example.org").await.expect("a domain");
        let address = Address::from_parts("alice", "example.org").expect("an address");
        let alice = mailboxes.add_account(&address, "$hash", 0).await;
        let (busy, asked) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let here = Here {
            host: io.host.clone(),
            outgoing: outgoing.clone(),
            busy: busy.clone(),
            asked: asked.clone(),
        };
        let memory = Memory::new(80 << 20, 64 << 20, Budget::new(1 << 20));
        let narrow = Memory {
            reading: Budget::new(5 << 20),
            ..memory.clone()
        };
        let host = SessionHost::on(io.host.clone());
        let failed = Arc::new(Mutex::new(Vec::new()));
        let reported = failed.clone();
        let logins = change(Logins::with(Secret)).reporting(Arc::new(move |peer| {
            reported.lock().expect("no holder panics").push(peer);
        }));
        let audited = Arc::new(Mutex::new(Vec::new()));
        let lines = audited.clone();
        let logins = logins.with_tokens(crate::token::tokens());
        let logins = logins.with_keyring(true).auditing(Arc::new(move |entry| {
            let (from, outcome) = (entry.from, entry.outcome.name());
            let (name, app) = (entry.name.unwrap_or("-"), entry.app.unwrap_or("-"));
            let (protocol, mechanism) = (from.protocol.name(), from.mechanism);
            let what = entry.what.map_or(String::new(), |what| format!(", {what}"));
            let line = format!("{protocol} {mechanism} {name} {app}: {outcome}{what}");
            lines.lock().expect("no holder panics").push(line);
        }));
        let rig = Rig {
            world: world.clone(),
            legs,
            host: io.host.clone(),
            mailboxes,
            outgoing,
            busy,
            asked,
            memory: memory.clone(),
            submitter: Rc::new(
                Submitter::on(
                    host.clone(),
                    Ids::of(7, 1),
                    here.clone(),
                    Budget::new(1 << 20),
                    logins.clone(),
                )
                .inspecting(Some(inspector())),
            ),
            managesieve: Rc::new(ManageSieve::on(
                host.clone(),
                here.clone(),
                Memory::new(64 << 20, 4 << 20, Budget::new(1 << 20)),
                logins.clone(),
            )),
            scarce: Rc::new(Pop3::on(
                host.clone(),
                here.clone(),
                Memory::new(64 << 20, 4_096, Budget::new(1 << 20)),
                logins.clone(),
            )),
            keeping: Rc::new(
                Pop3::on(host.clone(), here.clone(), memory.clone(), logins.clone())
                    .keeping(Arc::new(crate::kept::rules())),
            ),
            pop3: Rc::new(Pop3::on(
                host.clone(),
                here.clone(),
                memory.clone(),
                logins.clone(),
            )),
            eager: Rc::new(
                Imap::on(host.clone(), here.clone(), narrow, logins.clone())
                    .reporting_progress(Duration::ZERO),
            ),
            imap: Rc::new(
                Imap::on(host, here, memory, logins)
                    .announcing_sieve(Some("sieve://mx.example.org".into())),
            ),
            alice: alice.expect("an account"),
            failed,
            audited,
            hide: [].into(),
        };
        story(rig).await;
    });
}

/// What people submit is looked into as on an appliance without clamd.
fn inspector() -> Rc<dyn Inspect> {
    Rc::new(Inspector {
        scanners: Scanners::<MemoryDial>::none(Arc::default()),
        policy: Policy {
            bytes_max: 1 << 20,
            refuses_spam: true,
            defers: true,
            keeps_viruses: false,
        },
    })
}

impl Rig {
    /// A client that has read the greeting.
    pub async fn connect(&self) -> Session {
        self.connect_to(&self.imap).await
    }

    async fn connect_to(&self, imap: &Rc<Imap<Here>>) -> Session {
        let from = ([127, 0, 0, 1], 1024).into();
        let (connection, peer) = connect(&self.host, &Stop::new(), from, 4_096);
        let (imap, hide) = (imap.clone(), self.hide.clone());
        self.host.spawn(Box::pin(async move {
            let settings = Settings {
                tls: None,
                login_on_loopback: true,
                append_bytes_max: 100_000,
                hide,
            };
            imap.serve(&settings, connection).await;
        }));
        let mut session = Session {
            peer,
            input: Vec::new(),
        };
        assert!(session.line().await.starts_with("* OK ["));
        session
    }

    /// A POP3 client that has read the greeting.
    pub async fn pop3(&self) -> Session {
        self.pop3_of(&self.pop3).await
    }

    /// The same where there is no memory.
    pub async fn scarce_pop3(&self) -> Session {
        self.pop3_of(&self.scarce).await
    }

    async fn pop3_of(&self, pop3: &Rc<Pop3<Here>>) -> Session {
        let from = ([127, 0, 0, 1], 1024).into();
        let (connection, peer) = connect(&self.host, &Stop::new(), from, 4_096);
        let pop3 = pop3.clone();
        self.host.spawn(Box::pin(async move {
            let settings = pop3::Settings {
                tls: None,
                login_on_loopback: true,
            };
            pop3.serve(&settings, connection).await;
        }));
        let mut session = Session {
            peer,
            input: Vec::new(),
        };
        assert!(session.line().await.starts_with("+OK "));
        session
    }

    /// Messages for which scripts of mailboxes ran, and for which none did.
    pub fn events(&self) -> (u64, u64) {
        let of = self.imap.counters();
        (of.events.load(Relaxed), of.events_skipped.load(Relaxed))
    }

    pub fn alice(&self) -> AccountId {
        self.alice
    }

    /// A ManageSieve client that has read the greeting.
    pub async fn managesieve(&self) -> Session {
        let from = ([127, 0, 0, 1], 1024).into();
        let (connection, peer) = connect(&self.host, &Stop::new(), from, 4_096);
        let managesieve = self.managesieve.clone();
        self.host.spawn(Box::pin(async move {
            let settings = managesieve::Settings {
                tls: None,
                login_on_loopback: true,
            };
            managesieve.serve(&settings, connection).await;
        }));
        let mut session = Session {
            peer,
            input: Vec::new(),
        };
        let greeting = session.sieve_lines().await;
        assert_eq!(greeting.last().expect("a line"), "OK \"Ringpost ready\"");
        session
    }

    /// Alice's INBOX is open by POP3.
    pub async fn maildrop(&self) -> Session {
        let mut session = self.pop3().await;
        session.pop("USER alice").await;
        assert_eq!(session.pop("PASS secret").await, "+OK Logged in");
        session
    }

    /// The same of any account, on a server that keeps what is deleted.
    pub async fn keeping_maildrop(&self, user: &str) -> Session {
        let mut session = self.pop3_of(&self.keeping).await;
        session.pop(&format!("USER {user}")).await;
        assert_eq!(session.pop("PASS secret").await, "+OK Logged in");
        session
    }

    /// Flips a bit on both legs where these bytes are stored.
    pub fn spoil(&self, wanted: &[u8]) {
        for leg in self.legs {
            let found = self.world.with_disk(leg, |medium| {
                let mut bytes = vec![0; 4_096];
                medium.written_blocks().into_iter().find_map(|block| {
                    medium.peek(block * 4_096, &mut bytes);
                    let at = bytes
                        .windows(wanted.len())
                        .position(|part| part == wanted)?;
                    Some(block * 4_096 + at as u64)
                })
            });
            self.world.flip_bit(leg, found.expect("stored"), 2);
        }
    }

    /// A mail program that has read the greeting of the submission port.
    pub async fn submission(&self) -> Session {
        let from = ([127, 0, 0, 1], 1024).into();
        let (connection, peer) = connect(&self.host, &Stop::new(), from, 4_096);
        let submitter = self.submitter.clone();
        self.host.spawn(Box::pin(async move {
            let settings = submit::Settings {
                smtp: Arc::new(smtp::Config {
                    role: smtp::Role::Smtp,
                    service: smtp::Service::Submission {
                        login_without_tls: true,
                    },
                    hostname: "mx.example.org".into(),
                    limits: smtp::Limits::default(),
                    tls_available: false,
                    tls_required: false,
                }),
                tls: None,
                postmaster: Address::from_parts("alice", "example.org"),
                rates: submit::Rates {
                    messages_per_hour: 8,
                    recipients_per_hour: 20,
                    ..submit::Rates::default()
                },
            };
            submitter.serve(&settings, connection).await;
        }));
        let mut session = Session {
            peer,
            input: Vec::new(),
        };
        assert!(session.line().await.starts_with("220 "));
        session
    }

    /// Alice has logged in.
    pub async fn session(&self) -> Session {
        let mut session = self.connect().await;
        session.ok("LOGIN alice secret").await;
        session
    }

    /// An account beside Alice's, which has logged in.
    pub async fn session_of(&self, local: &str) -> Session {
        let address = Address::from_parts(local, "example.org").expect("an address");
        let known = self.mailboxes.account(&address).await.expect("it is read");
        if known.is_none() {
            let added = self.mailboxes.add_account(&address, "$hash", 0).await;
            added.expect("an account");
        }
        let mut session = self.connect().await;
        session.ok(&format!("LOGIN {local} secret")).await;
        session
    }

    /// Alice has opened INBOX.
    pub async fn selected(&self) -> Session {
        let mut session = self.session().await;
        session.ok("SELECT INBOX").await;
        session
    }

    /// The same, with a report on every step.
    pub async fn eager(&self) -> Session {
        let mut session = self.connect_to(&self.eager).await;
        session.ok("LOGIN alice secret").await;
        session.ok("SELECT INBOX").await;
        session
    }

    /// Places a message in Alice's INBOX, as a receiver does.
    pub async fn deliver(&self, raw: &str) {
        self.deliver_bytes(raw.as_bytes()).await;
    }

    pub async fn deliver_bytes(&self, raw: &[u8]) {
        self.deliver_with(raw, Summary::of(raw).encode()).await;
    }

    /// The same with another digest than is the message's.
    pub async fn deliver_with(&self, raw: &[u8], summary: Vec<u8>) {
        let raw = Bytes::copy_from_slice(raw);
        let delivery = Delivery {
            body: BodyIn {
                name: base::BodyName::of(&raw),
                summary: Bytes::from(summary),
                raw,
            },
            internal_date: InternalDate::utc(1_700_000_000),
            recipients: vec![Recipient {
                account: self.alice,
                mailbox: "INBOX".into(),
                flags: Flags::default(),
            }],
        };
        for placed in self.mailboxes.deliver(delivery).await {
            placed.expect("there is room");
        }
    }

    /// Places so many small messages: `Subject: 1`, `Subject: 2`, …
    pub async fn deliver_some(&self, count: usize) {
        for number in 1..=count {
            let raw = format!("Subject: {number}\r\nFrom: b@example.net\r\n\r\nbody {number}\r\n");
            self.deliver(&raw).await;
        }
    }
}
