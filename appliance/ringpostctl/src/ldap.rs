//! `ringpostctl ldap`: people whose passwords another directory checks.

use admin::ldap::Ask;
use admin::request::Request;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum LdapVerb {
    /// Show how the directory's servers are, and what the last reading of the directory changed
    Status,
    /// Show what the directory has about a user, and which account is here; no password is needed
    Check {
        /// An address, or whatever the user logs in with
        address: String,
    },
    /// Read all people and groups, and bring accounts, aliases and groups here; people who are gone or disabled there are disabled here, and keep their mail; the exit status is 1 if nothing was changed because too much would go, or if a change failed
    Sync {
        /// Show what would be changed, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Disable and remove also where that is more than `ldap.sync_disables_max` allows
        #[arg(long)]
        force: bool,
    },
}

impl LdapVerb {
    pub(crate) fn request(&self) -> Request {
        let ask = match self {
            LdapVerb::Status => Ask::Status,
            LdapVerb::Check { address } => Ask::Check {
                address: address.clone(),
            },
            LdapVerb::Sync { dry_run, force } => Ask::Sync {
                dry_run: *dry_run,
                force: *force,
            },
        };
        Request::Ldap { ask }
    }
}
