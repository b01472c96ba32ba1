//! `[[front.storage]]`: the storage nodes behind a node that runs the client zone alone. Each holds mailboxes of its own.
//! `settings/front.rs` holds them against the rest.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A storage node that people are passed on to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontNode {
    /// Its `listen.zone_client`.
    pub address: SocketAddr,
    /// What its certificate must name.
    pub name: String,
    /// Where it serves the table of its recipients.
    pub recipients: SocketAddr,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Front {
    /// At most `STORAGE_NODES_MAX`.
    pub storage: Vec<FrontNode>,
}
