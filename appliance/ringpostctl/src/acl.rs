//! `ringpostctl acl`: who else may do what with the folders of an account.

use admin::acl::Ask;
use admin::request::Request;
use clap::Subcommand;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AclVerb {
    /// List who may do what with the folders of an account
    List {
        /// Show the folders of this account
        account: String,
        /// Show only this folder
        folder: Option<String>,
    },
    /// Give rights on a folder, or change them
    Set {
        /// Change a folder of this account
        account: String,
        /// Change this folder, for example INBOX or Plans/2026
        folder: String,
        /// Give the rights to this account or group, or to anyone; put - in front to take rights away from it
        #[arg(allow_hyphen_values = true)]
        identifier: String,
        /// Use these letters of RFC 4314: lrswipkxtea; put + in front to add to what is there, and - to take from it
        #[arg(allow_hyphen_values = true)]
        rights: String,
    },
    /// Remove an entry from the access list of a folder
    Remove {
        /// Change a folder of this account
        account: String,
        /// Change this folder
        folder: String,
        /// Remove the entry of this account or group, or of anyone
        #[arg(allow_hyphen_values = true)]
        identifier: String,
    },
    /// Show the folders of an account under Shared instead of under Other Users
    Share {
        /// Mark this account
        account: String,
        /// Show its folders under Other Users again
        #[arg(long)]
        off: bool,
    },
}

impl AclVerb {
    pub(crate) fn request(&self) -> Request {
        let ask = match self.clone() {
            AclVerb::List { account, folder } => Ask::List { account, folder },
            AclVerb::Set {
                account,
                folder,
                identifier,
                rights,
            } => Ask::Set {
                account,
                folder,
                identifier,
                rights,
            },
            AclVerb::Remove {
                account,
                folder,
                identifier,
            } => Ask::Remove {
                account,
                folder,
                identifier,
            },
            AclVerb::Share { account, off } => Ask::Share {
                account,
                shared: !off,
            },
        };
        Request::Acl { ask }
    }
}
