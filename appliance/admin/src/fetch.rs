//! Accounts elsewhere from which mail is fetched for people: what is asked of the daemon, and what it answers.
//!
//! The password of an account elsewhere must travel as it is, since it is used there: over the control socket, or HTTPS with certificates of both sides. No answer has it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is asked; inside of `Request::Fetch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    Add {
        account: String,
        server: Server,
        user: String,
        password: Password,
        how: How,
    },
    /// Of one account, or of all.
    List {
        #[serde(default)]
        account: Option<String>,
    },
    Show {
        account: String,
        number: u32,
    },
    /// What is `None` stays. Another host, user or protocol needs the password again.
    Change {
        account: String,
        number: u32,
        #[serde(default)]
        server: Option<Server>,
        #[serde(default)]
        user: Option<String>,
        #[serde(default)]
        password: Option<Password>,
        how: How,
    },
    Remove {
        account: String,
        number: u32,
    },
    /// Fetches now.
    Run {
        account: String,
        number: u32,
    },
    /// Logs in, looks, and changes nothing.
    Check {
        account: String,
        number: u32,
    },
}

/// Where the account is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// `pop3` or `imap`.
    pub protocol: String,
    pub host: String,
    pub port: u16,
    /// `inside`, `started` or `absent`.
    pub tls: String,
}

/// How it is fetched; `None`: as it is, or the usual.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct How {
    /// IMAP.
    pub folder: Option<String>,
    pub every_s: Option<u32>,
    /// Messages stay there for good.
    pub keep: Option<bool>,
    /// They stay for so many days; 0: not at all.
    pub delete_after_days: Option<u32>,
    /// The person's scripts run.
    pub filter: Option<bool>,
    /// Junk is filed as such.
    pub judge: Option<bool>,
    /// The host may be in a private network, or this machine.
    pub allow_private: Option<bool>,
}

/// Shown to no reader of a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Password(..)")
    }
}

/// One account elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchLine {
    pub account: String,
    pub number: u32,
    pub server: Server,
    pub user: String,
    pub folder: String,
    pub every_s: u32,
    /// `None`: messages stay there.
    pub delete_after_days: Option<u32>,
    pub filter: bool,
    pub judge: bool,
    pub allow_private: bool,
    /// Messages that are here, and are remembered because they are still there.
    pub remembered: u64,
    /// Why nothing is fetched any more.
    pub stopped: Option<String>,
    /// Logins that the server refused in succession.
    pub refusals: u32,
    pub running: bool,
    /// Seconds until the next time; `None`: it is stopped, or not known yet.
    pub due_s: Option<u64>,
    /// The last time since the start.
    pub last: Option<LastLine>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLine {
    pub unix_s: u64,
    pub fetched: u64,
    pub deleted: u64,
    /// Messages that stay there though they are not here.
    pub left: u64,
    pub error: Option<String>,
    pub note: Option<String>,
}

/// What `Ask::Run` and `Ask::Check` answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// It goes on: nothing waited longer.
    pub under_way: bool,
    /// Messages that the server has; with IMAP those that were not looked at before.
    pub listed: u64,
    pub last: LastLine,
}
