//! Which way mail takes, in words: what `queue route` shows and changes.

use serde::{Deserialize, Serialize};

/// The way of mail for one address or domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// The address or the domain.
    pub of: String,
    /// `here`, `alias`, `group`, `return path`, `no mailbox`, `smart host`, `mx` or `nowhere`.
    pub way: String,
    /// What makes it so, in one sentence.
    pub why: String,
    /// The servers that are dialled, in this order; empty where none is, or none can be found now.
    pub servers: Vec<WayServer>,
    /// Why no server can be dialled now, as `queue show` would report it.
    pub trouble: Option<String>,
    /// The domain's policy about its servers (MTA-STS) as it is kept: `enforce`, `testing` or `none`.
    pub policy: Option<String>,
}

/// One address of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WayServer {
    pub host: String,
    pub address: String,
    /// What is asked of TLS.
    pub tls: String,
}

/// The ways of a message's recipients that wait, or of one address or domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ways {
    pub ways: Vec<Way>,
    /// Recipients of the message that are not shown.
    pub others: usize,
}

/// What `queue route --to` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rerouted {
    pub domain: String,
    /// `HOST:PORT`.
    pub server: String,
    /// Messages that are tried there now; those on hold stay so.
    pub messages: usize,
}
