//! The other directory (LDAP): what is asked about it, and what is answered.

use serde::{Deserialize, Serialize};

/// What is asked; inside of `Request::Ldap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// How the servers are, and how the last reading went.
    Status,
    /// What the directory has about one user, and what is here.
    Check { address: String },
    /// Reads everything, and brings it here.
    Sync {
        /// Says what would be changed, and changes nothing.
        dry_run: bool,
        /// Also where more would be disabled or removed than the settings allow.
        force: bool,
    },
}

/// One server, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerLine {
    pub url: String,
    pub up: bool,
    pub why: Option<String>,
    pub calls: u64,
    pub failures: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LdapStatus {
    pub servers: Vec<ServerLine>,
    pub domains: Vec<String>,
    /// Accounts here that are the directory's, and those of them that are disabled.
    pub accounts: u64,
    pub disabled: u64,
    pub aliases: u64,
    pub groups: u64,
    /// The last reading since the start that was not a dry run.
    pub last: Option<SyncReport>,
    /// Seconds since 1970; `None`: it is read when an administrator says so.
    pub next_s: Option<u64>,
}

/// What the directory has about a user, and what is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LdapUser {
    /// It has exactly one such user, in the required group if there is one.
    pub found: bool,
    pub dn: Option<String>,
    pub address: Option<String>,
    pub aliases: Vec<String>,
    pub disabled: bool,
    /// `none`, `local` (of this directory alone) or `ldap`.
    pub account: String,
    /// The account here is disabled.
    pub account_disabled: bool,
    /// When its password was last right at a server; seconds since 1970.
    pub proved_s: Option<u64>,
}

/// What came of a reading.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncReport {
    pub unix_s: u64,
    pub took_ms: u64,
    pub dry_run: bool,
    pub people: u64,
    pub groups: u64,
    /// The first of them, and those that failed.
    pub changes: Vec<ChangeLine>,
    pub changes_total: u64,
    pub failed: u64,
    pub notes: Vec<String>,
    /// Why nothing was changed.
    pub stopped: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeLine {
    pub what: String,
    pub name: String,
    pub error: Option<String>,
}
