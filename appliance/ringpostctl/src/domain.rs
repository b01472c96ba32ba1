//! The words of `ringpostctl domain`.

use admin::request::Request;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum DomainVerb {
    /// Accept mail for a domain
    Add {
        /// Add this domain
        domain: String,
    },
    /// List every domain
    List,
    /// Stop accepting mail for a domain
    Remove {
        /// Remove this domain
        domain: String,
    },
    /// Print every DNS record to publish for a domain, as lines of a zone file, each with its reason
    Dns {
        /// Print the records of this domain
        domain: String,
    },
    /// Look up the DNS records of a domain and report which are right, missing, wrong or unknown; the exit status is 1 until all are right
    Check {
        /// Check the records of this domain
        domain: String,
    },
}

impl DomainVerb {
    pub(crate) fn request(&self) -> Request {
        match self {
            DomainVerb::Add { domain } => Request::DomainAdd {
                domain: domain.clone(),
            },
            DomainVerb::List => Request::DomainList,
            DomainVerb::Remove { domain } => Request::DomainRemove {
                domain: domain.clone(),
            },
            DomainVerb::Dns { domain } => Request::DomainDns {
                domain: domain.clone(),
            },
            DomainVerb::Check { domain } => Request::DomainCheck {
                domain: domain.clone(),
            },
        }
    }
}
