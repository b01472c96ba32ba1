//! `[zones]`, `[[inbound.storage]]` and `[peers]`: which zones this node runs, and how zones on several machines find and prove each other.
//! `settings/zones.rs` holds them against each other.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::front::FrontNode;
use crate::limits::*;
use crate::plan::parts::Zone;
use crate::units::Span;

/// What this node runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    pub run: Vec<Zone>,
}

impl Default for Run {
    fn default() -> Run {
        Run {
            run: Zone::ALL.to_vec(),
        }
    }
}

/// How a storage node is spoken to; always over mutual TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Lmtp,
    Smtp,
    Qmqp,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Lmtp => "lmtp",
            Protocol::Smtp => "smtp",
            Protocol::Qmqp => "qmqp",
        }
    }
}

/// A storage node that takes this node's mail.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageNode {
    pub address: SocketAddr,
    #[serde(default)]
    pub protocol: Protocol,
    /// What its certificate must name.
    pub name: String,
    /// The lowest that works is asked first.
    #[serde(default = "one")]
    pub priority: u16,
    /// Its share among those of one priority.
    #[serde(default = "one")]
    pub weight: u16,
    /// Where it serves the table of recipients.
    pub recipients: Option<SocketAddr>,
}

fn one() -> u16 {
    1
}

/// The table of recipients, as a node without storage keeps it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipients {
    /// How often it is asked for.
    pub every: Span,
    /// What it does not have is refused while it is at most so old; later it is deferred.
    pub age: Span,
}

impl Default for Recipients {
    fn default() -> Recipients {
        Recipients {
            every: Span(RECIPIENTS_EVERY_DEFAULT),
            age: Span(RECIPIENTS_AGE_DEFAULT),
        }
    }
}

/// How nodes prove themselves to each other.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Peers {
    /// PEM: the authority that signs the certificates of nodes, and nothing else.
    pub authority: Option<PathBuf>,
    /// PEM: this node's own certificate, and its key.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Names of nodes that may hand mail over and fetch the table.
    pub names: Vec<String>,
    /// Names of fronts, which may pass people on and fetch the table. Apart from `names`: the address of a client is what a front says it is, so passwords can be
    /// guessed there under any address, and a node that takes mail of strangers must not reach that door.
    pub fronts: Vec<String>,
    /// Networks that QMQP is taken from without TLS.
    pub networks: Vec<String>,
}

/// What the plan says of other machines.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ZonesPlan {
    /// Empty where storage is here.
    pub storage: Vec<StorageNode>,
    /// Empty but on a front.
    #[serde(default)]
    pub front: Vec<FrontNode>,
    pub recipients_every_us: u64,
    pub recipients_age_us: u64,
}
