//! The words of `ringpostctl` about aliases, groups and routes.

use admin::addresses::{Ask, Posters};
use clap::Subcommand;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AliasVerb {
    /// Add targets to an alias, and make the alias if it does not exist
    Add {
        /// Use this address of a domain of yours; @example.org takes what nothing else in the domain takes (the catch-all)
        name: String,
        /// Send its mail to these addresses, here or elsewhere
        #[arg(required = true)]
        targets: Vec<String>,
    },
    /// Remove an alias, or some of its targets
    Remove {
        /// Remove the alias with this address
        name: String,
        /// Remove only these targets
        targets: Vec<String>,
    },
    /// List every alias with its targets
    List,
    /// Show one alias, and the mailboxes and addresses that its mail reaches in the end
    Show {
        /// Show the alias with this address
        name: String,
    },
    /// Let an account send under the address of an alias or a group
    Grant {
        /// Let the account send under this address
        address: String,
        /// Grant it to this account
        account: String,
    },
    /// Stop an account from sending under the address of an alias or a group
    Revoke {
        /// Revoke the grant for this address
        address: String,
        /// Revoke it from this account
        account: String,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum GroupVerb {
    /// Make a group: an address whose mail goes to its members
    Make {
        /// Use this address of a domain of yours
        name: String,
        /// Send reports about the group's mail, and mail for NAME+owner@, to this address
        #[arg(long)]
        owner: String,
        /// Accept posts from anyone, from members, or from addresses of the group's own domain
        #[arg(long, default_value = "members")]
        posters: Posters,
        /// Show these words in mail programs (List-Id)
        #[arg(long, default_value = "")]
        title: String,
    },
    /// Remove a group and forget its members
    Remove {
        /// Remove the group with this address
        name: String,
    },
    /// Add members to a group, at most 500 at once
    Add {
        /// Change the group with this address
        name: String,
        /// Add these addresses, here or elsewhere
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Drop members from a group
    Drop {
        /// Change the group with this address
        name: String,
        /// Drop these addresses
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// List every group
    List,
    /// Show one group and its members
    Show {
        /// Show the group with this address
        name: String,
    },
    /// Change a group's owner, posters or title
    Set {
        /// Change the group with this address
        name: String,
        /// Send reports about the group's mail to this address
        #[arg(long)]
        owner: Option<String>,
        /// Accept posts from anyone, from members, or from addresses of the group's own domain
        #[arg(long)]
        posters: Option<Posters>,
        /// Show these words in mail programs (List-Id)
        #[arg(long)]
        title: Option<String>,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RouteVerb {
    /// Send the mail of a scope to one server, or exempt the scope from wider routes
    Set {
        /// Use * for everything, a domain, or an address; for a domain of yours the server takes what no account, alias or group takes
        scope: String,
        /// Send it to HOST:PORT; `here` exempts the scope from wider routes
        to: String,
        /// Let the message wait if the server offers no TLS
        #[arg(long)]
        tls: bool,
    },
    /// Remove a route
    Remove {
        /// Remove the route of this scope
        scope: String,
    },
    /// List every route
    List,
}

impl AliasVerb {
    pub(crate) fn ask(&self) -> Ask {
        match self.clone() {
            AliasVerb::Add { name, targets } => Ask::AliasAdd { name, targets },
            AliasVerb::Remove { name, targets } => Ask::AliasRemove { name, targets },
            AliasVerb::List => Ask::AliasList,
            AliasVerb::Show { name } => Ask::AliasShow { name },
            AliasVerb::Grant { address, account } => Ask::Grant {
                address,
                account,
                granted: true,
            },
            AliasVerb::Revoke { address, account } => Ask::Grant {
                address,
                account,
                granted: false,
            },
        }
    }
}

impl GroupVerb {
    pub(crate) fn ask(&self) -> Ask {
        match self.clone() {
            GroupVerb::Make {
                name,
                owner,
                posters,
                title,
            } => Ask::GroupMake {
                name,
                owner,
                posters,
                title,
            },
            GroupVerb::Remove { name } => Ask::GroupRemove { name },
            GroupVerb::Add { name, members } => Ask::GroupAdd { name, members },
            GroupVerb::Drop { name, members } => Ask::GroupDrop { name, members },
            GroupVerb::List => Ask::GroupList,
            GroupVerb::Show { name } => Ask::GroupShow { name },
            GroupVerb::Set {
                name,
                owner,
                posters,
                title,
            } => Ask::GroupSet {
                name,
                owner,
                posters,
                title,
            },
        }
    }
}

impl RouteVerb {
    pub(crate) fn ask(&self) -> Ask {
        match self.clone() {
            RouteVerb::Set { scope, to, tls } => Ask::RouteSet {
                scope,
                host: (to != "here").then_some(to),
                needs_tls: tls,
            },
            RouteVerb::Remove { scope } => Ask::RouteRemove { scope },
            RouteVerb::List => Ask::RouteList,
        }
    }
}
