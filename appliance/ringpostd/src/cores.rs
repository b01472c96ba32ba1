//! The planned threads: what each is given, how they start serving together and how they stop in order.

mod doors;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::host::{Receiver, Sender, oneshot};
use client::imap::{self, Imap};
use client::managesieve::{self, ManageSieve};
use client::pop3::{self, Pop3};
use client::relay;
use client::submit::{self, Submitter};
use dns::{Patience, Resolver, Servers};
use inbound::receive::{
    self, Authenticator, Doorway, Enforcement, Judge, Keeper, Receiver as MailReceiver,
};
use inbound::smtp::{self, Role};
use inbound::spool::{SpoolLane, Spooled, Storing, Way};
use plan::quarantine::Verdict;
use plan::{Authentication, Misfit, Plan, Service, Zone};
use runtime::{
    Budget, Connection as _, Core, CoreHandle, CoreSettings, Counters, Gate, Listener, SessionHost,
    Stop, TcpDial,
};
use spam::Points;
use storage::filter;
use storage::owner::OwnerEnd;
use storage::tallies::Tallies;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::apart::{self, ZoneDoors};
use crate::engine::Opening;
use crate::front::{self, Fronts};
use crate::serving::Serving;
use crate::storage::open;
use crate::{kept, scan, spool};
use doors::{Strangers, edit, fetch, imap_settings, read, strangers, submit};

/// Sessions get this long to end after a stop; the process then ends without them.
const DRAIN: Duration = Duration::from_secs(10);

/// A bound socket of a service that a zone serves.
pub struct Bound {
    pub service: Service,
    /// The socket, shared by the cores that serve it.
    pub socket: TcpListener,
}

/// The running threads.
pub struct Cores {
    /// To wait for each thread's end.
    handles: Vec<CoreHandle>,
    /// To each thread: serve.
    go: Vec<Sender<Go>>,
    /// From each thread that has drained: how many sessions were cut off.
    drained: mpsc::UnboundedReceiver<usize>,
    /// Ends the storage thread, after all others.
    close: Stop,
    /// Ends before storage does.
    spool: Option<spool::Thread>,
}

/// What storage is opened with: the volume, where cores count for reports and scripts count what they do, and the end of `Owner`.
pub type Mail = (Opening, Tallies, Arc<filter::Counters>, OwnerEnd);

/// What a thread gets once: serve these.
struct Go {
    serving: Serving,
    /// The sockets of its zones.
    bound: Vec<Bound>,
    /// This thread sends what is in the queue.
    sends: bool,
    /// This thread looks after storage nodes.
    watches: bool,
}

impl Cores {
    /// Starts every thread of the plan; when all of them run, opens storage on its own, where there is any.
    pub async fn start(plan: &Plan, opening: Option<Mail>) -> Result<(Cores, Outcome), Misfit> {
        let (told, opened) = oneshot();
        let (all_run, begin) = oneshot();
        let has_storage = opening.is_some();
        let mut storage = opening.map(|mail| (mail, begin, told));
        // At most one word from each thread.
        let (report, drained) = mpsc::unbounded_channel();
        let close = Stop::new();
        let mut cores = Cores {
            handles: Vec::new(),
            go: Vec::new(),
            drained,
            close: close.clone(),
            spool: None,
        };
        for core in &plan.cores {
            let (go, gone) = oneshot();
            let given = Given {
                storage: if core.zones.contains(&Zone::Storage) {
                    storage.take()
                } else {
                    None
                },
                go: gone,
                report: report.clone(),
                close: close.clone(),
                server_name: plan.server_name.clone(),
            };
            let settings = CoreSettings {
                name: core.thread_name(),
                cpu: core.cpu,
            };
            let handle = Core::start(settings, move |core| given.live(core)).map_err(misfit)?;
            cores.handles.push(handle);
            cores.go.push(go);
        }
        // Not earlier: a thread that cannot be had refuses the start, and then no leg has been made.
        all_run.send(());
        if !has_storage {
            let (notes, is_new) = (Vec::new(), false);
            return Ok((cores, Outcome { notes, is_new }));
        }
        let outcome = opened
            .await
            .unwrap_or_else(|| Err(Misfit::new("the storage thread ended")))?;
        Ok((cores, outcome))
    }

    /// From now on the spool's thread is one of them.
    pub fn join(&mut self, spool: Option<spool::Thread>) {
        self.spool = spool;
    }

    /// Hands every thread the sockets of its zones. They accept from now on.
    pub fn serve(&mut self, serving: &Serving, bound: &[Bound]) -> Result<(), Misfit> {
        for (core, handle) in serving.plan.cores.iter().zip(&self.handles) {
            serving
                .metrics
                .add_core(&core.name, handle.stalls().clone());
        }
        serving.metrics.add_memory(serving.memory.clone());
        // The queue is kept by storage: a front has none.
        let mut is_sender_placed = serving.route.is_none() || !serving.plan.runs(Zone::Storage);
        let mut is_watch_placed = serving.afar.is_none() && serving.front.is_none();
        let watching = match serving.front {
            Some(_) => Zone::Client,
            None => Zone::Inbound,
        };
        for (core, go) in serving.plan.cores.iter().zip(self.go.drain(..)) {
            let mut own = Vec::new();
            for listener in bound {
                if listener
                    .service
                    .zone()
                    .is_some_and(|zone| core.zones.contains(&zone))
                {
                    let socket = listener.socket.try_clone();
                    let socket = socket
                        .map_err(|error| Misfit::new(format!("cannot share a socket: {error}")))?;
                    own.push(Bound {
                        service: listener.service,
                        socket,
                    });
                }
            }
            // One thread for all of it: half of sending is waiting.
            let sends = !is_sender_placed && core.zones.contains(&Zone::Client);
            is_sender_placed |= sends;
            let watches = !is_watch_placed && core.zones.contains(&watching);
            is_watch_placed |= watches;
            go.send(Go {
                serving: serving.clone(),
                bound: own,
                sends,
                watches,
            });
        }
        Ok(())
    }

    /// Stops accepting, lets sessions end, then closes storage. Says how many sessions were cut off.
    pub async fn stop(mut self) -> usize {
        for handle in &self.handles {
            handle.stop();
        }
        let mut cut = 0;
        for _ in 0..self.handles.len() {
            cut += self.drained.recv().await.unwrap_or(0);
        }
        if let Some(spool) = self.spool.take() {
            spool.stop().await;
        }
        self.close.request();
        for handle in self.handles {
            handle.join();
        }
        cut
    }
}

/// A ring that the kernel refuses for sockets it refuses for storage too: the same sentence, with the fix.
fn misfit(fault: runtime::StartFault) -> Misfit {
    match fault {
        runtime::StartFault::Ring(error) => Misfit::new(uring::refusal(&error)),
        fault => Misfit::new(fault.to_string()),
    }
}

/// What opening came to.
pub struct Outcome {
    /// What the operator should know.
    pub notes: Vec<String>,
    /// The first accounts are still to be made.
    pub is_new: bool,
}

type Told = Result<Outcome, Misfit>;

/// What one thread starts with.
struct Given {
    /// On the storage thread: what to open, when to begin, and where the outcome goes.
    storage: Option<(Mail, Receiver<()>, Sender<Told>)>,
    /// What to serve, once storage is open.
    go: Receiver<Go>,
    /// Where the thread reports that it has drained.
    report: mpsc::UnboundedSender<usize>,
    close: Stop,
    server_name: String,
}

impl Given {
    /// The thread's whole life.
    async fn live(self, core: Core) {
        let mut closing = None;
        if let Some(((opening, tallies, scripted, end), begin, told)) = self.storage {
            if begin.await.is_none() {
                return;
            }
            let legs_planned = opening.plan.legs.len();
            match open(opening, tallies, (self.server_name, scripted)).await {
                Ok(opened) => {
                    crate::admin::legs::enter(
                        opened.legs.clone(),
                        opened.outgoing.mailboxes().store().volume(),
                    );
                    let upkeep = storage::upkeep::run(
                        opened.io.host.clone(),
                        opened.outgoing.mailboxes().store().volume().clone(),
                        legs_planned,
                    );
                    tokio::task::spawn_local(upkeep);
                    tokio::task::spawn_local(storage::health::watch(
                        opened.io.host.clone(),
                        opened.outgoing.mailboxes().clone(),
                        end.gauges(),
                    ));
                    if let Some(lessons) = opened.outgoing.lessons() {
                        tokio::task::spawn_local(storage::lessons::watch(
                            opened.io.host.clone(),
                            opened.outgoing.mailboxes().clone(),
                            lessons.clone(),
                        ));
                    }
                    if let Some(scripts) = opened.outgoing.scripts() {
                        tokio::task::spawn_local(storage::scripts::watch(
                            opened.io.host.clone(),
                            opened.outgoing.mailboxes().clone(),
                            scripts.clone(),
                        ));
                    }
                    let clock = || SessionHost::of_core().unix_seconds().max(0) as u64;
                    tokio::task::spawn_local(storage::outgoing::reporting::watch(
                        opened.io.host.clone(),
                        clock,
                        opened.outgoing.clone(),
                    ));
                    let (outgoing, close) = (opened.outgoing, self.close.clone());
                    let mailboxes = outgoing.mailboxes().clone();
                    closing = Some(tokio::task::spawn_local(async move {
                        let volume = mailboxes.store().volume().clone();
                        let (stops, host) = (close.clone(), opened.io.host.clone());
                        // Whoever waits for devices that refuse or are silent would keep the process from ending.
                        let watch = tokio::task::spawn_local(async move {
                            stops.requested().await;
                            storage::stop::abandon_unanswered(host, volume).await;
                        });
                        let counted = outgoing.clone();
                        end.run(outgoing, async move { close.requested().await })
                            .await;
                        if let Err(fault) = counted.flush_reports().await {
                            tracing::warn!(%fault, "the counts for reports of the last minute are lost");
                        }
                        if let Err(fault) = mailboxes.close().await {
                            tracing::error!(%fault, "the mailboxes were not closed cleanly; the next start replays the log");
                        }
                        if let Err(fault) = mailboxes.store().volume().close().await {
                            tracing::error!(%fault, "the volume was not closed cleanly; the next start recovers it");
                        }
                        watch.abort();
                    }));
                    told.send(Ok(Outcome {
                        notes: opened.notes,
                        is_new: opened.is_new,
                    }));
                }
                Err(misfit) => {
                    told.send(Err(misfit));
                    return;
                }
            }
        }
        let (mut sending, mut reporting) = (None, None);
        if let Some(go) = self.go.await {
            // The reporter looks up a little, one thing at a time: it shares what the sender knows.
            let names = names(&go.serving.plan);
            sending = send(&core, &go, names.clone());
            let serving = &go.serving;
            if sending.is_some() && serving.sends() {
                let (plan, owner) = (&serving.plan, &serving.owner);
                reporting = serving.reports.report(&core, plan, owner, names);
            }
            if go.watches {
                apart::watch(&core, &go.serving);
                front::look_after(&core, &go.serving);
            }
            serve(&core, go);
        }
        core.stop().requested().await;
        let left = core.drain(DRAIN).await;
        if let Some(sending) = sending {
            // Before storage closes: it notes what just left. It ends by itself within seconds.
            let _ = tokio::time::timeout(DRAIN, sending).await;
        }
        if let Some(reporting) = reporting {
            let _ = tokio::time::timeout(DRAIN, reporting).await;
        }
        let _ = self.report.send(left);
        if let Some(closing) = closing {
            let _ = closing.await;
        }
    }
}

/// Who is asked for names. Sending and receiving have one each on a thread: what strangers make us look up must not keep mail from leaving.
pub(crate) fn names(plan: &Plan) -> Resolver {
    let servers = match plan.name_servers.as_slice() {
        [] => Servers::of_box(),
        servers => Servers::fixed(servers.to_vec()),
    };
    let validators = match plan.validators.as_slice() {
        [] => None,
        validators => Some(Servers::fixed(validators.to_vec())),
    };
    Resolver::with_validators(servers, validators, fastrand::u64(..), Patience::default())
}

/// Starts sending what is in the queue, if this thread does.
fn send(core: &Core, go: &Go, names: Resolver) -> Option<JoinHandle<()>> {
    let serving = &go.serving;
    let route = serving.route.clone().filter(|_| go.sends)?;
    let (seed, counters) = (fastrand::u64(..), Arc::new(Counters::default()));
    let connections_max = plan::sending_connections(&serving.plan.machine) as usize;
    let dial = TcpDial::new(core, connections_max, counters);
    let settings = relay::Settings {
        hostname: serving.plan.server_name.clone(),
        route,
        tls: Some(relay::tls::opportunistic()),
        sts: serving.plan.policies.then(|| relay::sts::Settings {
            authorities: serving.reports.authorities.clone(),
            port: 443,
        }),
        sources: serving.plan.sources.iter().map(source).collect(),
        connections_max,
        seed,
    };
    let bytes = plan::limits::SENDING_BYTES as usize;
    let memory = Budget::with_shares(bytes, bytes / 4);
    let with = (serving.owner.clone(), names, dial);
    let host = SessionHost::of_core();
    let sender = relay::Sender::new(host, with, memory, settings, core.stop().clone());
    let sender = match serving.reports.counts_tls(&serving.plan) {
        true => sender.counting(serving.reports.tallies.clone()),
        false => sender,
    };
    serving.metrics.add_relay(sender.counters().clone());
    Some(tokio::task::spawn_local(async move { sender.run().await }))
}

/// As the sender wants it: names in lower case.
fn source(of: &plan::source::Source) -> relay::Source {
    let lower = |all: &[String]| all.iter().map(|one| one.to_lowercase()).collect();
    relay::Source {
        name: of.name.clone(),
        ipv4: of.ipv4.map(Into::into),
        ipv6: of.ipv6.map(Into::into),
        senders: lower(&of.senders),
        domains: lower(&of.domains),
    }
}

/// Where what this thread receives goes: straight to storage, and to the spool where storage does not take it.
fn way<A: Storing>(serving: &Serving, storage: A) -> Way<A, SpoolLane> {
    let Some(spool) = serving.spool.clone() else {
        return Way::Straight(storage);
    };
    let (host, credits) = (SessionHost::of_core(), serving.credits.clone());
    let spooled = Spooled::new(host, storage, spool, credits);
    serving.metrics.add_spooled(spooled.counters().clone());
    Way::Spooled(spooled)
}

/// Starts the listeners of this thread's zones.
fn serve(core: &Core, go: Go) {
    let serving = go.serving;
    let names = names(&serving.plan);
    let strangers: Strangers = match apart::keeper(core, &serving) {
        Some(afar) => strangers(core, &serving, names, way(&serving, afar)),
        None => strangers(core, &serving, names, way(&serving, serving.owner.clone())),
    };
    let zone_doors = ZoneDoors::new(&serving);
    let (scan, found) = (&serving.scan, serving.metrics.scan());
    let reader = Imap::new(
        serving.owner.clone(),
        serving.memory.clone(),
        serving.logins.clone(),
    );
    let reader = Rc::new(reader.announcing_sieve(doors::sieve_url(&serving)));
    serving.metrics.add_imap(reader.counters().clone());
    let fetcher = Pop3::new(
        serving.owner.clone(),
        serving.memory.clone(),
        serving.logins.clone(),
    );
    let fetcher = Rc::new(fetcher.keeping(Arc::new(kept::rules(&serving.plan.pop3))));
    serving.metrics.add_pop3(fetcher.counters().clone());
    let editor = Rc::new(ManageSieve::new(
        serving.owner.clone(),
        serving.memory.clone(),
        serving.logins.clone(),
    ));
    serving.metrics.add_managesieve(editor.counters().clone());
    let submitter = Submitter::new(
        serving.owner.clone(),
        serving.memory.receiving.clone(),
        serving.logins.clone(),
    );
    let submitter = submitter.counting(serving.spent.clone());
    let submitter = Rc::new(submitter.inspecting(scan::of_people(core, scan, found)));
    serving.metrics.add_submitter(submitter.counters().clone());
    let fronts = Fronts::new(core, &serving);
    let mut counted = BTreeMap::new();
    for bound in go.bound {
        let is_inside_tls = matches!(
            bound.service,
            Service::Imaps | Service::Pop3s | Service::Submissions
        );
        let mut tls = is_inside_tls.then(|| serving.tls_of_people.clone());
        let fronted = fronts.as_ref();
        let fronted = fronted.and_then(|fronts| fronts.serve(&serving, bound.service));
        let serve: runtime::listener::Serve = match bound.service {
            _ if let Some(serve) = fronted => serve,
            Service::ZoneClient => {
                let peers = serving.peers.as_ref();
                let peers = peers.expect("the settings name [peers] where such a door is open");
                tls = Some(peers.fronts.clone());
                let rooms = front::Rooms {
                    reader: reader.clone(),
                    fetcher: fetcher.clone(),
                    editor: editor.clone(),
                    submitter: submitter.clone(),
                };
                let submission = doors::submission_settings(&serving, false, None);
                front::door(&serving, rooms, imap_settings(&serving), submission)
            }
            Service::Smtp => strangers(Role::Smtp),
            Service::Lmtp => strangers(Role::Lmtp),
            Service::Submission | Service::Submissions => submit(&serving, &submitter),
            Service::Imap | Service::Imaps => read(&serving, &reader),
            Service::Pop3 | Service::Pop3s => fetch(&serving, &fetcher),
            Service::Managesieve => edit(&serving, &editor),
            Service::ZoneLmtp | Service::ZoneSmtp | Service::ZoneQmqp | Service::Recipients => {
                let doors = zone_doors.as_ref();
                let doors = doors.expect("the settings name [peers] where such a door is open");
                let (serve, handshake) = doors.serve(&serving, bound.service);
                tls = handshake;
                serve
            }
            // The administration's thread serves these.
            Service::Http | Service::Https | Service::Policy | Service::Challenge => continue,
        };
        // One for all addresses of a service: its bound is theirs together.
        let counters = counted
            .entry(bound.service.name())
            .or_insert_with(|| {
                let counters = Arc::new(Counters::default());
                serving
                    .metrics
                    .add_listener(bound.service, counters.clone());
                counters
            })
            .clone();
        let listener = Listener {
            name: bound.service.name(),
            socket: bound.socket,
            connections_max: connections_max(&serving.plan, bound.service),
            refusal: refusal(bound.service),
            tls,
            gate: gate(&serving, bound.service),
            counters,
        };
        if let Err(error) = core.serve(listener, serve) {
            tracing::error!(service = bound.service.name(), %error, "cannot accept on this thread");
        }
    }
}

/// This thread's share of a service's connections.
fn connections_max(plan: &Plan, service: Service) -> usize {
    let threads = service.zone().map_or(1, |zone| plan.cores_of(zone).count());
    plan.listener(service)
        .map_or(0, |listener| listener.connections_max.div_ceil(threads))
}

/// Who comes in: for LMTP, whose peers are servers of the operator's, any peer that reaches it.
fn gate(serving: &Serving, service: Service) -> Gate {
    let door = serving.door.clone();
    let refusal = match service {
        Service::Lmtp
        | Service::Http
        | Service::Https
        | Service::Policy
        | Service::Challenge
        | Service::ZoneLmtp
        | Service::ZoneSmtp
        | Service::ZoneQmqp
        | Service::ZoneClient
        | Service::Recipients => {
            return Gate::default();
        }
        Service::Smtp | Service::Submission => smtp::Refusal::Banned.line().as_bytes(),
        Service::Imap => b"* BYE Too many failures from your address, try again later\r\n",
        Service::Pop3 => pop3::BANNED,
        Service::Managesieve => managesieve::BANNED,
        Service::Imaps | Service::Pop3s | Service::Submissions => b"",
    };
    let lets_in = move |client| !door.is_banned(client, SessionHost::of_core().now());
    Gate {
        proxies: serving.proxies.clone(),
        lets_in: Some(Arc::new(lets_in)),
        refusal,
    }
}

/// What a connection over the service's limit receives before it is closed (RFC 5321 §3.8, RFC 3501 §7.1.5).
fn refusal(service: Service) -> &'static [u8] {
    match service {
        Service::Smtp | Service::Lmtp | Service::Submission => {
            smtp::Refusal::TooManyConnections.line().as_bytes()
        }
        Service::Imap => b"* BYE Too many connections, try again later\r\n",
        Service::Pop3 => pop3::TOO_MANY_CONNECTIONS,
        Service::Managesieve => managesieve::TOO_MANY_CONNECTIONS,
        Service::Imaps
        | Service::Pop3s
        | Service::Submissions
        | Service::Http
        | Service::Https
        | Service::Policy
        | Service::Challenge
        | Service::ZoneLmtp
        | Service::ZoneSmtp
        | Service::ZoneQmqp
        | Service::ZoneClient
        | Service::Recipients => b"",
    }
}
