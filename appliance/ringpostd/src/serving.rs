//! What the threads share that serve.

use std::sync::Arc;

use base::Network;
use client::login::Logins;
use client::{imap, relay, submit};
use door::Door;
use inbound::spool::SpoolLane;
use inbound::{afar, receive};
use mail::Address;
use plan::Plan;
use runtime::Budget;
use storage::owner::Owner;

use crate::admin::counters::Metrics;
use crate::fetch::Fetcher;
use crate::ldap::Directory;
use crate::peers::Peers;
use crate::reports::Reports;

/// What every serving thread gets once storage is open.
#[derive(Clone)]
pub struct Serving {
    /// What was planned for this machine.
    pub plan: Arc<Plan>,
    /// The door to the storage thread.
    pub owner: Owner,
    /// Certificate and versions of TLS, the same for all services.
    pub tls: Arc<rustls::ServerConfig>,
    /// The same for those who log in: it may ask for a certificate.
    pub tls_of_people: Arc<rustls::ServerConfig>,
    /// The memory of messages that all IMAP and POP3 sessions share.
    pub memory: imap::Memory,
    /// Checks passwords, and remembers which failed.
    pub logins: Logins,
    /// Another directory; `None`: there is none.
    pub ldap: Option<Arc<Directory>>,
    /// What fetches from accounts elsewhere; `None`: the settings switch it off.
    pub fetcher: Option<Arc<Fetcher>>,
    /// What people sent lately.
    pub spent: submit::Spent,
    /// Passwords are taken without TLS from the loopback.
    pub login_on_loopback: bool,
    /// What strangers meet, and where connections begin with a header of the PROXY protocol.
    pub door: Door,
    pub proxies: Vec<Network>,
    /// Storage on other machines; `None`: it is here.
    pub afar: Option<afar::Settings>,
    /// Storage nodes that people are passed on to; `None`: this node is not a front.
    pub front: Option<client::front::Nodes>,
    /// How other nodes are proved; `None`: there are none.
    pub peers: Option<Peers>,
    /// Counts for reports, and who makes them.
    pub reports: Reports,
    /// The table of recipients that was made last for nodes without storage.
    pub table: afar::serve::Made,
    /// Who looks into messages.
    pub scan: Arc<plan::scan::Scan>,
    /// What is kept apart, and where.
    pub quarantine: Option<receive::Quarantine>,
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

impl Serving {
    /// Whether mail leaves this server at all.
    pub fn sends(&self) -> bool {
        let route = self.route.as_ref();
        route.is_some_and(|route| *route != relay::Route::Nowhere)
    }
}
