//! The planned threads: what each is given, how they start serving together and how they stop in order.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::Network;
use base::host::{Receiver, Sender, oneshot};
use client::imap::{self, Imap};
use client::login::Logins;
use client::relay;
use client::submit::{self, Submitter};
use dns::{Patience, Resolver, Servers};
use door::Door;
use inbound::receive::{self, Authenticator, Doorway, Enforcement, Judge};
use inbound::smtp::{self, Role};
use inbound::spool::{SpoolLane, Spooled, Way};
use mail::Address;
use plan::{Authentication, Misfit, Plan, Service, Zone};
use runtime::{
    Budget, Connection as _, Core, CoreHandle, CoreSettings, Counters, Gate, Listener, SessionHost,
    Stop, TcpDial,
};
use spam::Points;
use storage::owner::{Owner, OwnerEnd};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::admin::counters::Metrics;
use crate::engine::Opening;
use crate::storage::open;
use crate::{scan, spool};

type Towards = Way<Owner, SpoolLane>;
type MailReceiver = receive::Receiver<Towards>;

/// Sessions get this long to end after a stop; the process then ends without them.
const DRAIN: Duration = Duration::from_secs(10);

/// What every serving thread gets once storage is open.
#[derive(Clone)]
pub struct Serving {
    /// What was planned for this machine.
    pub plan: Arc<Plan>,
    /// The door to the storage thread.
    pub owner: Owner,
    /// Certificate and versions of TLS, the same for all services.
    pub tls: Arc<rustls::ServerConfig>,
    /// The memory of messages that all IMAP sessions share.
    pub memory: imap::Memory,
    /// Checks passwords, and remembers which failed.
    pub logins: Logins,
    /// What people sent lately.
    pub spent: submit::Spent,
    /// Passwords are taken without TLS from the loopback.
    pub login_on_loopback: bool,
    /// What strangers meet, and where connections begin with a header of the PROXY protocol.
    pub door: Door,
    pub proxies: Vec<Network>,
    /// Who looks into messages.
    pub scan: Arc<plan::scan::Scan>,
    /// What was placed lately, so that the next try of a deferred message makes no second copy. Shared by all cores.
    pub placed: receive::Placed,
    /// Where each core leaves its counters.
    pub metrics: Metrics,
    /// Where mail for postmaster goes (RFC 5321 §4.5.1).
    pub postmaster: Option<Address>,
    /// How mail for elsewhere leaves; `None`: it waits.
    pub route: Option<relay::Route>,
    /// Where mail waits that storage does not take at once; `None`: it is deferred.
    pub spool: Option<SpoolLane>,
    /// Of messages on their way to storage or to the spool; shared by all cores.
    pub credits: Budget,
}

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

/// What a thread gets once: serve these.
struct Go {
    serving: Serving,
    /// The sockets of its zones.
    bound: Vec<Bound>,
    /// This thread sends what is in the queue.
    sends: bool,
}

impl Cores {
    /// Starts every thread of the plan; when all of them run, opens storage on its own.
    pub async fn start(
        plan: &Plan,
        opening: Opening,
        end: OwnerEnd,
    ) -> Result<(Cores, Outcome), Misfit> {
        let (told, opened) = oneshot();
        let (all_run, begin) = oneshot();
        let mut storage = Some((opening, end, begin, told));
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
        let mut is_sender_placed = serving.route.is_none();
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
            go.send(Go {
                serving: serving.clone(),
                bound: own,
                sends,
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
    /// On the storage thread: what to open, the end of `Owner`, when to begin, and where the outcome goes.
    storage: Option<(Opening, OwnerEnd, Receiver<()>, Sender<Told>)>,
    /// What to serve, once storage is open.
    go: Receiver<Go>,
    /// Where the thread reports that it has drained.
    report: mpsc::UnboundedSender<usize>,
    close: Stop,
}

impl Given {
    /// The thread's whole life.
    async fn live(self, core: Core) {
        let mut closing = None;
        if let Some((opening, end, begin, told)) = self.storage {
            if begin.await.is_none() {
                return;
            }
            let legs_planned = opening.plan.legs.len();
            match open(opening).await {
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
                        end.run(outgoing, async move { close.requested().await })
                            .await;
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
        let mut sending = None;
        if let Some(go) = self.go.await {
            sending = send(&core, &go);
            serve(&core, go);
        }
        core.stop().requested().await;
        let left = core.drain(DRAIN).await;
        if let Some(sending) = sending {
            // Before storage closes: it notes what just left. It ends by itself within seconds.
            let _ = tokio::time::timeout(DRAIN, sending).await;
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
fn send(core: &Core, go: &Go) -> Option<JoinHandle<()>> {
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
            authorities: relay::authorities::Authorities::of_web(),
            port: 443,
        }),
        connections_max,
        seed,
    };
    let bytes = plan::limits::SENDING_BYTES as usize;
    let memory = Budget::with_shares(bytes, bytes / 4);
    let with = (serving.owner.clone(), names(&serving.plan), dial);
    let host = SessionHost::of_core();
    let sender = relay::Sender::new(host, with, memory, settings, core.stop().clone());
    serving.metrics.add_relay(sender.counters().clone());
    Some(tokio::task::spawn_local(async move { sender.run().await }))
}

/// Where what this thread receives goes: straight to storage, and to the spool where storage does not take it.
fn way(serving: &Serving) -> Towards {
    let (host, owner) = (SessionHost::of_core(), serving.owner.clone());
    let Some(spool) = serving.spool.clone() else {
        return Way::Straight(owner);
    };
    let spooled = Spooled::new(host, owner, spool, serving.credits.clone());
    serving.metrics.add_spooled(spooled.counters().clone());
    Way::Spooled(spooled)
}

/// Starts the listeners of this thread's zones.
fn serve(core: &Core, go: Go) {
    let serving = go.serving;
    let names = names(&serving.plan);
    let receiver = MailReceiver::new(
        way(&serving),
        serving.memory.receiving.clone(),
        serving.placed.clone(),
    );
    let enforcement = match serving.plan.authentication {
        Authentication::Enforce => Some(Enforcement::Enforce),
        Authentication::Report => Some(Enforcement::Report),
        Authentication::Off => None,
    };
    let (scan, found) = (&serving.scan, serving.metrics.scan());
    let receiver = receiver.inspecting(scan::of_strangers(core, scan, found));
    let receiver = match enforcement {
        Some(enforcement) => receiver.authenticating(Rc::new(Authenticator {
            names: names.clone(),
            enforcement,
        })),
        None => receiver,
    };
    let receiver = Rc::new(match serving.plan.spam {
        Some(spam) => {
            let refuse = spam.refuse_tenths.map(Points);
            receiver.judging(Judge::new(Points(spam.junk_tenths), refuse))
        }
        None => receiver,
    });
    let doorway = Doorway::new(serving.door.clone(), SessionHost::of_core(), names);
    serving.metrics.add_receiver(receiver.counters().clone());
    let reader = Rc::new(Imap::new(
        serving.owner.clone(),
        serving.memory.clone(),
        serving.logins.clone(),
    ));
    serving.metrics.add_imap(reader.counters().clone());
    let submitter = Submitter::new(
        serving.owner.clone(),
        serving.memory.receiving.clone(),
        serving.logins.clone(),
    );
    let submitter = submitter.counting(serving.spent.clone());
    let submitter = Rc::new(submitter.inspecting(scan::of_people(core, scan, found)));
    serving.metrics.add_submitter(submitter.counters().clone());
    let mut counted = BTreeMap::new();
    for bound in go.bound {
        let serve: runtime::listener::Serve = match bound.service {
            Service::Smtp => receive(&serving, &receiver, &doorway, Role::Smtp),
            Service::Lmtp => receive(&serving, &receiver, &doorway, Role::Lmtp),
            Service::Submission | Service::Submissions => submit(&serving, &submitter),
            Service::Imap | Service::Imaps => read(&serving, &reader),
            // The administration's thread serves these.
            Service::Http | Service::Https | Service::Policy => continue,
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
            tls: matches!(bound.service, Service::Imaps | Service::Submissions)
                .then(|| serving.tls.clone()),
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
        Service::Lmtp | Service::Http | Service::Https | Service::Policy => {
            return Gate::default();
        }
        Service::Smtp | Service::Submission => smtp::Refusal::Banned.line().as_bytes(),
        Service::Imap => b"* BYE Too many failures from your address, try again later\r\n",
        Service::Imaps | Service::Submissions => b"",
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
        Service::Imaps
        | Service::Submissions
        | Service::Http
        | Service::Https
        | Service::Policy => b"",
    }
}

/// What serves a connection of SMTP or LMTP.
fn receive(
    serving: &Serving,
    receiver: &Rc<MailReceiver>,
    doorway: &Doorway,
    role: Role,
) -> runtime::listener::Serve {
    let config = smtp::Config {
        role,
        service: smtp::Service::Exchange,
        hostname: serving.plan.server_name.clone(),
        limits: smtp::Limits {
            message_bytes_max: serving.plan.message_bytes_max,
            ..smtp::Limits::default()
        },
        tls_available: true,
        tls_required: false,
    };
    // LMTP comes from servers of the operator's.
    let door = (role == Role::Smtp).then(|| doorway.clone());
    let settings = Rc::new(receive::Settings {
        smtp: Arc::new(config),
        tls: Some(serving.tls.clone()),
        postmaster: serving.postmaster.clone(),
        door,
    });
    let receiver = receiver.clone();
    Rc::new(move |connection| {
        let (receiver, settings) = (receiver.clone(), settings.clone());
        Box::pin(async move { receiver.serve(&settings, connection).await })
    })
}

/// What serves a connection of submission. Passwords without TLS are taken from the loopback only, in trial mode.
fn submit(serving: &Serving, submitter: &Rc<Submitter>) -> runtime::listener::Serve {
    let sending = serving.plan.sending;
    let settings = |login_without_tls| {
        Rc::new(submit::Settings {
            smtp: Arc::new(smtp::Config {
                role: Role::Smtp,
                service: smtp::Service::Submission { login_without_tls },
                hostname: serving.plan.server_name.clone(),
                limits: smtp::Limits {
                    message_bytes_max: serving.plan.message_bytes_max,
                    ..smtp::Limits::default()
                },
                tls_available: true,
                tls_required: false,
            }),
            tls: Some(serving.tls.clone()),
            postmaster: serving.postmaster.clone(),
            rates: submit::Rates {
                messages_per_hour: sending.messages_per_hour,
                messages_per_day: sending.messages_per_day,
                recipients_per_hour: sending.recipients_per_hour,
                recipients_per_day: sending.recipients_per_day,
            },
        })
    };
    let (usual, on_loopback) = (settings(false), settings(serving.login_on_loopback));
    let submitter = submitter.clone();
    Rc::new(move |connection| {
        let is_here = connection.peer().ip().to_canonical().is_loopback();
        let settings = if is_here { &on_loopback } else { &usual };
        let (submitter, settings) = (submitter.clone(), settings.clone());
        Box::pin(async move { submitter.serve(&settings, connection).await })
    })
}

/// What serves a connection of IMAP.
fn read(serving: &Serving, reader: &Rc<Imap>) -> runtime::listener::Serve {
    let settings = Rc::new(imap::Settings {
        tls: Some(serving.tls.clone()),
        login_on_loopback: serving.login_on_loopback,
        append_bytes_max: serving.plan.message_bytes_max as usize,
    });
    let reader = reader.clone();
    Rc::new(move |connection| {
        let (reader, settings) = (reader.clone(), settings.clone());
        Box::pin(async move { reader.serve(&settings, connection).await })
    })
}
