//! A node of the client zone alone: what it is made of from the plan. And a storage node's door for such nodes.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use client::front::door::{Door, Offer};
use client::front::{self, Front, Node, Nodes, watch};
use client::imap::Imap;
use client::login::audit::Protocol;
use client::managesieve::ManageSieve;
use client::pop3::Pop3;
use client::submit::{self, Submitter};
use client::{imap, managesieve, pop3};
use inbound::afar::{Caller, Table};
use plan::zones::ZonesPlan;
use plan::{Misfit, Service};
use runtime::listener::Serve;
use runtime::{Connection as _, Core, Counters, SessionHost, TcpDial};
use rustls::pki_types::ServerName;

use crate::apart::{keep, last_table};
use crate::serving::Serving;

/// Connections with one storage node that fetch its table and ask what it offers.
const WATCHING: usize = 2;

/// The table of the last run of one storage node, in the state directory.
fn table_file(name: &str) -> String {
    format!("recipients-{name}")
}

/// What the cores of a front share; `None`: this node is not one. The tables of the last run are taken, where there are any.
pub fn nodes(zones: &ZonesPlan, state: &Path) -> Result<Option<Nodes>, Misfit> {
    if zones.front.is_empty() {
        return Ok(None);
    }
    let nodes = zones.front.iter().map(|node| {
        let name = ServerName::try_from(node.name.clone()).map_err(|_| {
            Misfit::new(format!(
                "front.storage.name: \"{}\" is not a host name",
                node.name
            ))
        })?;
        let table = Table::new(Duration::from_micros(zones.recipients_age_us));
        match last_table(&state.join(table_file(&node.name))) {
            Ok(Some(last)) => table.remember(last),
            Ok(None) => {}
            Err(why) => {
                tracing::warn!(
                    why,
                    node = node.name,
                    "the table of recipients of the last run is of no use"
                );
            }
        }
        Ok(Node::new(node.address, name, node.recipients, table))
    });
    Ok(Some(Nodes::new(nodes.collect::<Result<_, Misfit>>()?)))
}

fn caller(core: &Core, serving: &Serving, connections: usize) -> Option<Caller<TcpDial>> {
    Some(Caller {
        host: SessionHost::of_core(),
        dial: TcpDial::new(core, connections, Arc::new(Counters::default())),
        hostname: serving.plan.server_name.clone(),
        tls: serving.peers.as_ref()?.client.clone(),
    })
}

/// On one core of a front: keeps the tables fresh, and asks what the storage nodes offer.
pub fn look_after(core: &Core, serving: &Serving) {
    let Some(nodes) = &serving.front else { return };
    let connections = WATCHING * nodes.all().len();
    let Some(caller) = caller(core, serving, connections) else {
        return;
    };
    let every = Duration::from_micros(serving.plan.zones.recipients_every_us);
    let stop = core.stop();
    for (index, node) in nodes.all().iter().enumerate() {
        let name = node.name.to_str();
        let keep = keep(serving.plan.state.join(table_file(&name)));
        let (caller, nodes) = (caller.clone(), nodes.clone());
        let offers = watch::offers(caller.clone(), nodes.clone(), index, stop.clone());
        tokio::task::spawn_local(offers);
        let tables = watch::tables(caller, nodes, index, every, keep, stop.clone());
        tokio::task::spawn_local(tables);
    }
}

/// One core of a front.
pub struct Fronts {
    front: Rc<Front<TcpDial>>,
}

impl Fronts {
    /// `None`: this node is not one.
    pub fn new(core: &Core, serving: &Serving) -> Option<Fronts> {
        let nodes = serving.front.clone()?;
        // The listeners bound the clients, each of which has one at a time.
        let clients = serving.plan.listeners.iter();
        let connections = clients.map(|listener| listener.connections_max).sum();
        let caller = caller(core, serving, connections)?;
        let front = Front::new(caller, nodes, serving.logins.clone());
        Some(Fronts {
            front: Rc::new(front),
        })
    }

    /// What serves a connection of `service`; `None`: people do not use it.
    pub fn serve(&self, serving: &Serving, service: Service) -> Option<Serve> {
        let settings = Rc::new(front::Settings {
            protocol: protocol(service)?,
            tls: Some(serving.tls.clone()),
            login_on_loopback: serving.login_on_loopback,
            hostname: serving.plan.server_name.clone(),
            message_bytes_max: serving.plan.message_bytes_max,
        });
        let front = self.front.clone();
        Some(Rc::new(move |connection| {
            let (front, settings) = (front.clone(), settings.clone());
            Box::pin(async move { front.serve(&settings, connection).await })
        }))
    }
}

fn protocol(service: Service) -> Option<Protocol> {
    match service {
        Service::Imap | Service::Imaps => Some(Protocol::Imap),
        Service::Pop3 | Service::Pop3s => Some(Protocol::Pop3),
        Service::Managesieve => Some(Protocol::Sieve),
        Service::Submission | Service::Submissions => Some(Protocol::Submission),
        _ => None,
    }
}

/// What serves the people of one core, as fronts reach it.
pub struct Rooms {
    pub reader: Rc<Imap>,
    pub fetcher: Rc<Pop3>,
    pub editor: Rc<ManageSieve>,
    pub submitter: Rc<Submitter>,
}

/// A storage node's door for fronts: sessions inside the TLS of nodes, which needs no other, for the clients that a front names. `imap` and `submission`: as
/// people reach these directly.
pub fn door(
    serving: &Serving,
    rooms: Rooms,
    mut imap: imap::Settings,
    submission: submit::Settings,
) -> Serve {
    let (banned, host) = (serving.door.clone(), SessionHost::of_core());
    let now = host.clone();
    let offer = Offer {
        scram: serving.logins.offer(None).scram,
        message_bytes_max: serving.plan.message_bytes_max,
    };
    let lets_in = move |client| !banned.is_banned(client, now.now());
    let door = Door::new(host, offer, Rc::new(lets_in));
    (imap.tls, imap.login_on_loopback) = (None, false);
    // A person who logs in next in the same session may be another node's, and a front asks once where a session goes.
    let here = imap::Hide {
        client: None,
        account: None,
        capabilities: vec!["UNAUTHENTICATE".into()],
    };
    imap.hide = imap.hide.iter().cloned().chain([here]).collect();
    let imap = Rc::new(imap);
    let pop3 = Rc::new(pop3::Settings {
        tls: None,
        login_on_loopback: false,
    });
    let sieve = Rc::new(managesieve::Settings {
        tls: None,
        login_on_loopback: false,
    });
    let submission = Rc::new(submission);
    let rooms = Rc::new(rooms);
    Rc::new(move |connection| {
        let (door, rooms) = (door.clone(), rooms.clone());
        let (imap, pop3, sieve, submission) = (
            imap.clone(),
            pop3.clone(),
            sieve.clone(),
            submission.clone(),
        );
        Box::pin(async move {
            let front = connection.peer();
            let Some((protocol, client)) = door.admit(connection).await else {
                return;
            };
            tracing::debug!(%front, peer = %client.peer(), protocol = protocol.name(), "a front passes a client on");
            match protocol {
                Protocol::Imap => rooms.reader.serve(&imap, client).await,
                Protocol::Pop3 => rooms.fetcher.serve(&pop3, client).await,
                Protocol::Sieve => rooms.editor.serve(&sieve, client).await,
                Protocol::Submission => rooms.submitter.serve(&submission, client).await,
            }
        })
    })
}
