//! Zones on several machines: the keeper of a node without storage, and the doors of a storage node for such nodes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use inbound::afar::pull::Keep;
use inbound::afar::serve::Tables;
use inbound::afar::{self, Afar, Caller, Protocol, Table, Target, Targets, pull};
use inbound::receive::{self, Receiver};
use inbound::smtp::{self, Role};
use plan::zones::ZonesPlan;
use plan::{Misfit, Service};
use runtime::listener::Serve;
use runtime::{Accepted as _, Connection as _, Core, Counters, SessionHost, TcpDial};
use rustls::pki_types::ServerName;
use storage::owner::Owner;
use storage::recipients::{Recipients, TABLE_BYTES_MAX};

use crate::peers::Peers;
use crate::serving::Serving;

/// The table of the last run, in the state directory.
const TABLE_FILE: &str = "recipients";
/// A peer that begins TLS has so long for it.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What the cores of a node without storage share. The table of the last run is taken, where there is one.
pub fn settings(zones: &ZonesPlan, state: &Path) -> Result<Option<afar::Settings>, Misfit> {
    if zones.storage.is_empty() {
        return Ok(None);
    }
    let targets = zones.storage.iter().map(|node| {
        let name = ServerName::try_from(node.name.clone()).map_err(|_| {
            Misfit::new(format!(
                "inbound.storage.name: \"{}\" is not a host name",
                node.name
            ))
        })?;
        let protocol = match node.protocol {
            plan::zones::Protocol::Lmtp => Protocol::Lmtp,
            plan::zones::Protocol::Smtp => Protocol::Smtp,
            plan::zones::Protocol::Qmqp => Protocol::Qmqp,
        };
        let (priority, weight) = (node.priority, node.weight);
        let target = Target::new(
            node.address,
            protocol,
            name,
            priority,
            weight,
            node.recipients,
        );
        Ok(target)
    });
    // The table of the last run lets the node answer at once after a start while storage is away. It is not fresh until a storage node
    // confirms it: whom it names is accepted, and whom it lacks is deferred and not refused.
    let table = Table::new(Duration::from_micros(zones.recipients_age_us));
    match last_table(&state.join(TABLE_FILE)) {
        Ok(Some(last)) => table.remember(last),
        Ok(None) => {}
        Err(why) => tracing::warn!(why, "the table of recipients of the last run is of no use"),
    }
    Ok(Some(afar::Settings {
        targets: Targets::new(targets.collect::<Result<_, Misfit>>()?),
        table,
        doubts: afar::Doubts::default(),
    }))
}

pub fn last_table(path: &Path) -> Result<Option<Recipients>, String> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut bytes = Vec::new();
    let read = file
        // One byte more than a table may have, so that a longer file is seen as such and not read as a whole one.
        .take(TABLE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    let table = Recipients::decode(Bytes::from(bytes));
    table.map(Some).map_err(|no| no.to_string())
}

/// What a core needs to speak to storage nodes.
#[derive(Clone)]
pub struct Way {
    settings: afar::Settings,
    hostname: String,
    tls: Arc<rustls::ClientConfig>,
}

impl Way {
    /// `None`: storage is here.
    pub fn new(
        settings: Option<&afar::Settings>,
        peers: Option<&Peers>,
        hostname: &str,
    ) -> Option<Way> {
        Some(Way {
            settings: settings?.clone(),
            hostname: hostname.to_owned(),
            tls: peers?.client.clone(),
        })
    }

    fn of(serving: &Serving) -> Option<Way> {
        let (settings, peers) = (serving.afar.as_ref(), serving.peers.as_ref());
        Way::new(settings, peers, &serving.plan.server_name)
    }

    fn caller(&self, core: &Core, connections: usize) -> Caller<TcpDial> {
        Caller {
            host: SessionHost::of_core(),
            dial: TcpDial::new(core, connections, Arc::new(Counters::default())),
            hostname: self.hostname.clone(),
            tls: self.tls.clone(),
        }
    }

    /// The keeper of one core, which closes what waits at the core's stop.
    pub fn keeper(self, core: &Core) -> Afar<TcpDial> {
        let caller = self.caller(core, afar::limits::CONNECTIONS_MAX);
        let afar = Afar::new(caller, self.settings);
        tokio::task::spawn_local(afar.clone().look_after(core.stop().clone()));
        afar
    }
}

/// The keeper of one core of a node without storage; `None` where storage is here.
pub fn keeper(core: &Core, serving: &Serving) -> Option<Afar<TcpDial>> {
    Way::of(serving).map(|way| way.keeper(core))
}

/// On one core of such a node: keeps the table fresh and probes storage nodes that failed.
pub fn watch(core: &Core, serving: &Serving) {
    let Some(way) = Way::of(serving) else { return };
    // A probe and a fetch for each node: these are apart from the connections that carry mail, which may all be busy just then.
    let connections = 2 * way.settings.targets.all().len();
    let caller = way.caller(core, connections);
    let afar::Settings { targets, table, .. } = way.settings;
    let every = Duration::from_micros(serving.plan.zones.recipients_every_us);
    let stop = core.stop();
    for index in 0..targets.all().len() {
        let probe = pull::probe(caller.clone(), targets.clone(), index, stop.clone());
        tokio::task::spawn_local(probe);
    }
    let keep = keep(serving.plan.state.join(TABLE_FILE));
    let fetch = pull::fetch(caller, targets, table, every, keep, stop.clone());
    tokio::task::spawn_local(fetch);
}

/// Writes each new table over the last one, beside the core.
pub fn keep(path: PathBuf) -> Keep {
    keep_by(move |bytes| {
        if let Err(error) = files::replace(&path, bytes, files::Mode::Private) {
            tracing::warn!(%error, "the table of recipients cannot be kept for the next start");
        }
    })
}

/// One write at a time, and one table that waits for it: a disk that hangs collects no tables, and an older one never replaces a newer one.
fn keep_by(write: impl Fn(&[u8]) + Send + Sync + 'static) -> Keep {
    let (write, lane) = (Arc::new(write), Arc::new(Mutex::new(Lane::default())));
    Rc::new(move |bytes| {
        {
            let mut lane = locked(&lane);
            lane.waiting = Some(bytes);
            if std::mem::replace(&mut lane.is_written, true) {
                return;
            }
        }
        let (write, lane) = (write.clone(), lane.clone());
        tokio::task::spawn_blocking(move || {
            loop {
                // until no table waits
                let mut held = locked(&lane);
                let Some(bytes) = held.waiting.take() else {
                    held.is_written = false;
                    return;
                };
                drop(held);
                write(&bytes);
            }
        });
    })
}

fn locked(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    // A panic elsewhere leaves it whole: each change is one step.
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Lane {
    /// The newest one; those before it are not written any more.
    waiting: Option<Bytes>,
    /// A thread writes one.
    is_written: bool,
}

/// What serves nodes of the inbound zone on a core of the storage zone.
pub struct ZoneDoors {
    receiver: Rc<Receiver<Owner>>,
    tables: Rc<Tables<Owner>>,
    peers: Peers,
}

impl ZoneDoors {
    /// `None`: this node knows no others. Nothing is checked again that the node in front has checked.
    pub fn new(serving: &Serving) -> Option<ZoneDoors> {
        let peers = serving.peers.clone()?;
        let receiver = Receiver::new(
            serving.owner.clone(),
            serving.memory.receiving.clone(),
            serving.placed.clone(),
        );
        serving.metrics.add_receiver(receiver.counters().clone());
        Some(ZoneDoors {
            receiver: Rc::new(receiver),
            tables: Rc::new(Tables::new(
                SessionHost::of_core(),
                serving.owner.clone(),
                serving.table.clone(),
            )),
            peers,
        })
    }

    /// What serves a connection of `service`, and the handshake before it.
    pub fn serve(
        &self,
        serving: &Serving,
        service: Service,
    ) -> (Serve, Option<Arc<rustls::ServerConfig>>) {
        let tls = self.peers.server.clone();
        let settings = |role| {
            Rc::new(receive::Settings {
                smtp: Arc::new(config(serving, role)),
                tls: None,
                postmaster: serving.postmaster.clone(),
                door: None,
            })
        };
        match service {
            Service::Recipients => {
                let (tables, tls) = (self.tables.clone(), self.peers.tables.clone());
                let serve: Serve = Rc::new(move |connection| {
                    let tables = tables.clone();
                    Box::pin(async move { tables.serve(connection).await })
                });
                (serve, Some(tls))
            }
            Service::ZoneQmqp => {
                let (receiver, networks) = (self.receiver.clone(), self.peers.networks.clone());
                let settings = settings(Role::Lmtp);
                let serve: Serve = Rc::new(move |mut connection| {
                    let (receiver, settings, tls) =
                        (receiver.clone(), settings.clone(), tls.clone());
                    let peer = connection.peer().ip().to_canonical();
                    // QMQP has no STARTTLS, and the clients that exist speak it in clear: only from networks that the operator names.
                    let is_plain = networks.iter().any(|network| network.contains(peer));
                    Box::pin(async move {
                        connection.deadline(HANDSHAKE_MAX);
                        if !is_plain && connection.start_tls(&tls).await.is_err() {
                            return;
                        }
                        receiver.serve_qmqp(&settings, connection, !is_plain).await;
                    })
                });
                (serve, None)
            }
            _ => {
                let role = match service {
                    Service::ZoneSmtp => Role::Smtp,
                    _ => Role::Lmtp,
                };
                let (receiver, settings) = (self.receiver.clone(), settings(role));
                let serve: Serve = Rc::new(move |connection| {
                    let (receiver, settings) = (receiver.clone(), settings.clone());
                    Box::pin(async move { receiver.serve_zone(&settings, connection).await })
                });
                (serve, Some(tls))
            }
        }
    }
}

fn config(serving: &Serving, role: Role) -> smtp::Config {
    smtp::Config {
        role,
        service: smtp::Service::Exchange,
        hostname: serving.plan.server_name.clone(),
        limits: smtp::Limits {
            // The node in front has put its fields in front of a message of the greatest length.
            message_bytes_max: serving.plan.message_bytes_max + FIELDS_BYTES_MAX,
            ..smtp::Limits::default()
        },
        tls_available: false,
        // The handshake comes before the first byte of SMTP here, so this refuses no peer that got that far.
        tls_required: true,
    }
}

/// What an inbound node writes in front of a message: trace fields, results of checks, reasons of the judge.
const FIELDS_BYTES_MAX: u64 = 64 * 1_024;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_disk_that_hangs_collects_no_tables() {
        let (begin, begun) = mpsc::channel();
        let (go_on, hangs) = mpsc::channel::<()>();
        let hangs = Mutex::new(hangs);
        let keep = keep_by(move |bytes| {
            begin.send(bytes.to_vec()).expect("the test waits");
            let hangs = hangs.lock().expect("no holder panics");
            hangs.recv().expect("the test lets it go on");
        });
        keep(Bytes::from_static(b"first"));
        assert_eq!(begun.recv().expect("written"), b"first");
        for later in [&b"second"[..], b"third"] {
            keep(Bytes::from_static(later));
        }
        assert!(begun.try_recv().is_err(), "one at a time");
        go_on.send(()).expect("it waits");
        assert_eq!(begun.recv().expect("written"), b"third", "the newest");
        go_on.send(()).expect("it waits");
        assert!(begun.recv_timeout(Duration::from_millis(1)).is_err());
    }
}
