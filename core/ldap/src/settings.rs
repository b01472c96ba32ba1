//! How a directory is asked: its servers, who searches, and what its attributes mean.

use std::time::Duration;

use crate::filter::Filter;

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// As the settings have it, for people.
    pub url: String,
    pub host: String,
    pub port: u16,
    pub tls: Tls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte (`ldaps`).
    Implicit,
    /// By StartTLS (RFC 4513 §3); without it nothing is said.
    Start,
    /// Passwords travel in clear.
    Never,
}

/// How the directory is asked, and what its attributes mean.
#[derive(Debug, Clone)]
pub struct Settings {
    /// In the order in which they are asked.
    pub servers: Vec<Server>,
    /// Who searches; empty: searches are anonymous.
    pub bind_dn: String,
    pub bind_password: Secret,
    pub base: String,
    /// Finds one user, and with `*` for the user all of them.
    pub user_filter: Filter,
    /// The first that has an address of `domains` says what the account is called.
    pub mail: Vec<String>,
    /// Further addresses; `smtp:` in front is taken off, and other kinds of addresses are left out.
    pub aliases: Vec<String>,
    /// A value other than `FALSE`, `0` or `no` says that the user is disabled; of `userAccountControl` the second bit does.
    pub disabled: String,
    /// Lower case. What is elsewhere is none of ours.
    pub domains: Vec<String>,
    /// The distinguished name of a group that a user must be in, directly or by other groups.
    pub required_group: Option<String>,
    /// The server follows groups in groups itself (Active Directory).
    pub has_chain_rule: bool,
    /// All groups; `None`: no groups are read.
    pub groups: Option<Filter>,
    pub group_base: String,
    /// Of a group: distinguished names, or users' names.
    pub member: String,
    /// Of a user: the name by which a group without distinguished names has it.
    pub user: String,
    /// For one call.
    pub deadline: Duration,
}

/// Bytes that no text shows.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
