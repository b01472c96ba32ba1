//! Scripts that filter mail: what is asked of the daemon, and what it answers.

use serde::{Deserialize, Serialize};

/// Whose scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Whose {
    /// The address of an account.
    Account(String),
    /// Of all people of a domain; they run before a person's own.
    Domain(String),
    /// Of the whole box; they run before all others.
    Global,
}

/// What is asked; inside of `Request::Scripts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    List {
        of: Whose,
    },
    /// The text of a script; without a name, of the active one.
    Show {
        of: Whose,
        #[serde(default)]
        name: Option<String>,
    },
    /// Stores a script that compiles, in place of one of the same name.
    Put {
        of: Whose,
        name: String,
        text: String,
        /// Mail is filtered by it from now on.
        #[serde(default)]
        activate: bool,
    },
    Activate {
        of: Whose,
        name: String,
    },
    /// No script is active any more.
    Deactivate {
        of: Whose,
    },
    /// Removes a script that is not active.
    Remove {
        of: Whose,
        name: String,
    },
    /// Compiles a script, and stores nothing.
    Check {
        text: String,
    },
}

/// One script in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptLine {
    pub name: String,
    pub bytes: u32,
    /// Mail is filtered by it.
    pub active: bool,
}

/// One script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptDetail {
    pub name: String,
    pub active: bool,
    pub text: String,
}
