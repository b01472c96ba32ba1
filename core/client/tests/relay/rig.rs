//! A volume with alice@example.org, its queue, and other people's servers.

use std::cell::RefCell;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::host::oneshot;
use base::{BodyName, Host};
use bytes::Bytes;
use client::relay::limits::TRY_BYTES;
use client::relay::{Counters, Route, Sender, Settings, Source, sts};
use device::DeviceIndex;
use device::sim::SimWorld;
use dns::Table;
use mail::{Address, InternalDate, Summary};
use mailbox::{AccountId, Mailboxes};
use queue::{Addressee, Entry, Envelope, Queue, QueueId, Terms, UnixSeconds};
use reports::Reports;
use runtime::{Budget, MemoryDial, SessionHost, Stop};
use scripts::Scripts;
use storage::filter::Filter;
use storage::outgoing::{Outgoing, Submission, lifetimes};
use storage::owner::{Ask, Busy};
use storage::tallies::Tallies;
use store::{BodyIn, Store};
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::server::{Script, Server};

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

/// The queue is on this thread.
#[derive(Clone)]
pub struct Here {
    host: Rc<dyn Host>,
    outgoing: Outgoing,
}

impl Ask for Here {
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
        let (sender, receiver) = oneshot();
        let task = work(self.outgoing.clone());
        self.host
            .spawn(Box::pin(async move { sender.send(task.await) }));
        receiver.await.ok_or(Busy)
    }

    fn refuses_mail(&self) -> bool {
        false
    }
}

/// The disks, which outlive a power cut.
pub struct Disks {
    pub world: SimWorld,
    legs: [DeviceIndex; 2],
    witness: Rc<Remembered>,
}

fn volume_settings() -> volume::Settings {
    volume::Settings {
        segment_bytes: 2 << 20,
        ..volume::Settings::default()
    }
}

impl Disks {
    pub fn new(seed: u64) -> Disks {
        let world = SimWorld::new(seed);
        let legs = [world.add_disk(64 << 20), world.add_disk(64 << 20)];
        let (io, witness) = (world.io(), Rc::new(Remembered::default()));
        world.block_on(async {
            let settings = volume_settings();
            let created = Volume::create(&io, &legs, &settings, &*witness, seed);
            created.await.expect("blank legs");
        });
        Disks {
            world,
            legs,
            witness,
        }
    }

    /// Lets time pass, however long.
    pub fn pass(&self, hours: u64) {
        for _ in 0..hours * 2 {
            self.world.run_for_us(1_800_000_000).expect("time passes");
        }
    }

    /// One power-on: the volume is opened, and the domain is there.
    pub async fn open(&self) -> Rig {
        let io = self.world.io();
        let settings = volume_settings();
        let opened = Volume::open(&io, &self.legs, &settings, self.witness.clone());
        let settings = store::Settings {
            projection_cache_bytes: 1 << 20,
            compression_level: 1,
            lead: mail::header::bytes,
        };
        let opened = Store::open(io.clone(), opened.await.expect("a volume"), settings).await;
        let (store, replay) = opened.expect("a store");
        let settings = mailbox::Settings {
            cache_bytes: 1 << 20,
            checkpoint_groups: u64::MAX,
            checkpoint_bytes: u64::MAX,
            checkpoint_us: 10_000_000,
        };
        let mut queue = None;
        let mut reports = None;
        let mut scripts = None;
        let others = |tenancy: &_| {
            let queue = queue.insert(Queue::new(tenancy)).tenant();
            let scripts = scripts.insert(Scripts::new(tenancy)).tenant();
            vec![
                queue,
                scripts,
                reports.insert(Reports::new(tenancy)).tenant(),
            ]
        };
        let mailboxes = Mailboxes::open_beside(io.clone(), store, replay, settings, others).await;
        let mailboxes = mailboxes.expect("mailboxes");
        if !mailboxes.has_domain("example.org") {
            mailboxes.add_domain("example.org").await.expect("a domain");
        }
        let stop = Stop::new();
        let host = io.host.clone();
        let scripts = scripts.expect("made just now");
        let filter = Filter::new(
            scripts.clone(),
            SessionHost::on(host.clone()),
            "mx.example.org".to_owned(),
            Arc::default(),
        );
        let outgoing = Outgoing::new(mailboxes, queue.expect("made just now"))
            .with_scripts(scripts)
            .with_filter(filter)
            .with_reports(reports.expect("made just now"), Tallies::default());
        outgoing.set_fresh_key([5; 32]);
        Rig {
            outgoing,
            names: Table::new(&host, 1),
            dial: MemoryDial::new(&host, &stop, 8_192, 1_000),
            stop,
            host,
        }
    }
}

pub struct Rig {
    pub host: Rc<dyn Host>,
    pub outgoing: Outgoing,
    pub names: Table,
    pub dial: MemoryDial,
    pub stop: Stop,
}

/// Runs `story` on a new machine, on virtual time.
pub fn run<F: Future<Output = ()>>(story: impl FnOnce(Rig) -> F) {
    let disks = Disks::new(1);
    disks
        .world
        .block_on(async { story(disks.open().await).await });
}

/// A sender that runs.
pub struct Running {
    pub counters: Arc<Counters>,
    pub memory: Budget,
    /// Resolves once it has ended.
    pub ended: base::host::Receiver<()>,
}

impl Rig {
    pub fn sessions(&self) -> SessionHost {
        SessionHost::on(self.host.clone())
    }

    /// The way to the mailboxes and the queue.
    pub fn here(&self) -> Here {
        Here {
            host: self.host.clone(),
            outgoing: self.outgoing.clone(),
        }
    }

    /// Starts a sender.
    pub fn send(&self, route: Route) -> Running {
        self.send_with(route, None)
    }

    /// As `send`, with policies of domains (MTA-STS).
    pub fn send_with(&self, route: Route, sts: Option<sts::Settings>) -> Running {
        self.begin(route, sts, Vec::new())
    }

    /// As `send`, from these sources.
    pub fn send_from(&self, route: Route, sources: Vec<Source>) -> Running {
        self.begin(route, None, sources)
    }

    fn begin(&self, route: Route, sts: Option<sts::Settings>, sources: Vec<Source>) -> Running {
        let memory = Budget::with_shares(16 * TRY_BYTES, 4 * TRY_BYTES);
        let settings = Settings {
            hostname: "mx.example.org".to_owned(),
            route,
            tls: Some(client::relay::tls::opportunistic()),
            sts,
            sources,
            connections_max: client::relay::limits::CONNECTIONS_MAX,
            seed: 1,
        };
        let with = (self.here(), self.names.clone(), self.dial.clone());
        let sender = Sender::new(
            self.sessions(),
            with,
            memory.clone(),
            settings,
            self.stop.clone(),
        );
        let counters = sender.counters().clone();
        let (ends, ended) = oneshot();
        self.host.spawn(Box::pin(async move {
            sender.run().await;
            ends.send(());
        }));
        Running {
            counters,
            memory,
            ended,
        }
    }

    /// The domain's server, at 192.0.2.`last`.
    pub fn server(&self, domain: &str, last: u8, script: Script) -> Server {
        let address = IpAddr::from([192, 0, 2, last]);
        let host = format!("mx.{domain}");
        self.names.set_exchangers(domain, &[(10, &host)]);
        self.names.set_addresses(&host, &[address]);
        let listener = self.dial.listen(SocketAddr::new(address, 25));
        Server::start(&self.host, listener, script)
    }

    /// `domain` and its server are in signed zones, which publish a certificate of the server at `place`.
    pub fn publish(&self, domain: &str, place: &str) {
        self.names.set_signed(domain);
        self.names.set_signed(&format!("mx.{domain}"));
        self.names.set_certificates(place, &[(3, 1, 1, &[7; 32])]);
    }

    pub async fn alice(&self) -> AccountId {
        let address = Address::from_parts("alice", "example.org").expect("an address");
        let made = self.outgoing.mailboxes().add_account(&address, "$hash", 0);
        made.await.expect("a new account")
    }

    pub fn now(&self) -> UnixSeconds {
        UnixSeconds(self.host.unix_seconds() as u64)
    }

    pub fn envelope(&self, from: &str, to: &[&str]) -> Envelope {
        let now = self.now();
        let (warns, expires) = lifetimes(now, from.is_empty());
        Envelope {
            from: from.to_owned(),
            recipients: to.iter().map(|path| Addressee::new(*path)).collect(),
            arrived: now,
            warns,
            expires,
            terms: Terms::default(),
        }
    }

    pub async fn submit(&self, text: &str, envelope: Envelope) -> QueueId {
        let raw = format!("From: alice@example.org\r\nSubject: {text}\r\n\r\n.{text}\r\n");
        let raw = Bytes::from(raw);
        let submission = Submission {
            body: BodyIn {
                name: BodyName::of(&raw),
                summary: Bytes::from(Summary::of(&raw).encode()),
                raw,
            },
            internal_date: InternalDate::utc(self.host.unix_seconds()),
            here: vec![],
            junk: vec![],
            elsewhere: envelope,
        };
        let queued = self.outgoing.submit(submission).await;
        queued.expect("there is room").expect("it must leave")
    }

    /// A message of alice's.
    pub async fn put(&self, text: &str, to: &[&str]) -> QueueId {
        self.submit(text, self.envelope("alice@example.org", to))
            .await
    }

    pub fn entry(&self, id: QueueId) -> Option<Entry> {
        self.outgoing.queue().entry(id)
    }

    /// What the first recipient's last try was answered.
    pub fn reply(&self, id: QueueId) -> String {
        self.entry(id)
            .map_or("gone".to_owned(), |entry| entry.recipients[0].reply.clone())
    }

    pub async fn sleep(&self, seconds: u64) {
        self.sessions().sleep(Duration::from_secs(seconds)).await;
    }

    /// Waits until it is so; panics when it is not within `seconds`.
    pub async fn until(&self, seconds: u64, what: &str, is_so: impl Fn() -> bool) {
        let host = self.sessions();
        let so = async {
            while !is_so() {
                host.sleep(Duration::from_millis(50)).await;
            }
        };
        let came = host.within(Duration::from_secs(seconds), so).await;
        assert!(came.is_some(), "not within {seconds} s: {what}");
    }

    /// The texts of the messages in a mailbox, oldest first.
    pub async fn inbox(&self, account: AccountId) -> Vec<String> {
        let mailboxes = self.outgoing.mailboxes();
        let folders = mailboxes.list(account).await.expect("an account");
        let inbox = folders.iter().find(|folder| folder.name == "INBOX");
        let view = mailboxes.view(inbox.expect("always").id).await;
        let mut texts = Vec::new();
        for message in view.expect("it is there").messages.iter() {
            let body = mailboxes
                .store()
                .body(&message.body)
                .await
                .expect("readable");
            texts.push(String::from_utf8_lossy(&body).into_owned());
        }
        texts
    }

    /// Nothing waits, nothing is under way and no memory is held.
    pub async fn at_rest(&self, running: &Running) {
        self.until(30, "connections end", || self.dial.open() == 0)
            .await;
        assert_eq!(self.outgoing.queue().count(), 0);
        assert_eq!(running.memory.used_bytes(), 0);
    }
}

pub const MX: Route = Route::Exchangers { port: 25 };
