//! Access lists of folders: what is asked of the daemon, and what it answers.

use serde::{Deserialize, Serialize};

/// What is asked; inside of `Request::Acl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// The access lists of all folders of an account, or of one.
    List {
        /// The address of the account whose folders these are.
        account: String,
        folder: Option<String>,
    },
    /// Changes one entry of a folder's list.
    Set {
        account: String,
        folder: String,
        /// An account, a group or `anyone`; `-` in front takes rights away.
        identifier: String,
        /// Letters as in RFC 4314, behind `+` or `-` for a change.
        rights: String,
    },
    /// Takes one entry out.
    Remove {
        account: String,
        folder: String,
        identifier: String,
    },
    /// The account's folders stand in the namespace of shared ones, or (`shared` false) among those of other users.
    Share { account: String, shared: bool },
}

/// What `Ask::List` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lists {
    pub account: String,
    /// The account stands in the namespace of shared ones.
    pub shared: bool,
    /// Folders with a list, in the order of names.
    pub folders: Vec<Folder>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    pub folder: String,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// As in `Ask::Set`.
    pub identifier: String,
    /// Letters as in RFC 4314.
    pub rights: String,
}

/// What `Ask::Set` and `Ask::Remove` answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub account: String,
    pub folder: String,
    pub identifier: String,
    /// Letters; empty: there was no entry.
    pub before: String,
    pub after: String,
}
