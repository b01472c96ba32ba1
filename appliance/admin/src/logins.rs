//! Keys of logins, app passwords and the audit: what is asked of the daemon, and what it answers. No password is in it: keys and digests of one are made where
//! it is typed, or made up.

use serde::{Deserialize, Serialize};

/// SCRAM-SHA-256 keys of a password (RFC 5802 §3), made with the salt that `Ask::Salt` answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    pub iterations: u32,
    pub stored: [u8; 32],
    pub server: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// What is asked; inside of `Request::Logins`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// With what keys of this account are made, whether it exists already or not.
    Salt {
        account: String,
    },
    /// A password for one program or device.
    AppAdd {
        account: String,
        name: String,
        /// `imap`, `pop3`, `submission`, `sieve`.
        scopes: Vec<String>,
        /// BLAKE3 of the password.
        digest: [u8; 32],
        keys: Keys,
    },
    AppList {
        account: String,
    },
    AppRemove {
        account: String,
        name: String,
    },
    /// The last lines of the audit, the newest last.
    AuditList {
        /// Of this account or address.
        #[serde(default)]
        of: Option<String>,
        #[serde(default)]
        count: Option<usize>,
    },
    /// Whether the audit is what was written.
    AuditVerify,
    /// A password for one login to this account by IMAP, within a minute: mail is moved in or out.
    Pass {
        account: String,
        purpose: Purpose,
    },
    /// How providers of tokens are.
    OauthStatus,
}

/// What an administrator opens an account for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Import,
    Export,
}

impl Purpose {
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Import => "import",
            Purpose::Export => "export",
        }
    }
}

/// The answer to `Ask::Pass`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// The account's address as it is written in the directory.
    pub user: String,
    pub password: String,
}

/// The answer to `Ask::Salt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salt {
    pub salt: Vec<u8>,
    pub iterations: u32,
}

/// An app password. The password itself is known to its owner alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppLine {
    pub name: String,
    pub scopes: Vec<String>,
    /// `2026-11-30`.
    pub made: String,
    /// The last day on which it was used, and by what first on that day.
    pub used: Option<UsedLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedLine {
    /// `2026-11-30`.
    pub day: String,
    pub protocol: String,
    pub peer: String,
}

/// One login of the audit, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Counted from 1 on.
    pub line: u64,
    pub unix_s: i64,
    pub protocol: String,
    pub mechanism: String,
    pub peer: String,
    pub tls: Option<String>,
    /// The account, or the address of this server that was tried.
    pub user: Option<String>,
    /// The name of the app password that was used.
    pub app: Option<String>,
    /// `granted`, or why not; `changed`: see `what`.
    pub outcome: String,
    /// What was changed, where it is not a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// It stands for so many failures of its kind, from its network, that have no line of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<u64>,
}

/// A provider of `[[oauth]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderLine {
    pub issuer: String,
    /// `keys`, or `introspection`.
    pub by: String,
    /// Keys that are there; with introspection 0.
    pub keys: usize,
    /// When they were fetched, or the provider last answered, in seconds since 1970; `None`: never since the start.
    pub answered_s: Option<i64>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// Tokens since start that were good, that were refused, and that could not be checked.
    pub good: u64,
    pub refused: u64,
    pub unavailable: u64,
}

/// What came of `Ask::AuditVerify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerdict {
    /// Every line is as it was written, and the end that storage remembers is among them.
    pub intact: bool,
    pub lines: u64,
    /// The first line that is kept; older ones were removed because of their age or size.
    pub first: u64,
    pub last: u64,
    /// The line up to which the mirrored volume has the chain.
    pub head: Option<u64>,
    /// What is wrong, a sentence each.
    pub faults: Vec<String>,
}
