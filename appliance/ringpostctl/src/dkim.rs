//! The words of `ringpostctl dkim`.

use admin::dkim::DkimAlgorithm;
use admin::request::Request;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum DkimVerb {
    /// Make a key for a domain and show the DNS record to publish; the private key does not leave the appliance
    Make {
        /// Make the key for this domain
        domain: String,
        /// Give the key this selector [default: the algorithm's first letter and the date]
        #[arg(long)]
        selector: Option<String>,
        /// Use this algorithm: rsa-2048, which every receiver verifies, or ed25519 beside it
        #[arg(long, default_value = "rsa-2048")]
        algorithm: DkimAlgorithm,
    },
    /// List the keys of a domain
    List {
        /// List the keys of this domain
        domain: String,
    },
    /// Show the DNS record of a key, as a line of a zone file and as plain text
    Show {
        /// Show a key of this domain
        domain: String,
        /// Show the key with this selector
        selector: String,
    },
    /// Sign with a key from now on; publish its DNS record first
    Activate {
        /// Activate a key of this domain
        domain: String,
        /// Activate the key with this selector
        selector: String,
    },
    /// Sign with a key no more; keep its DNS record published for a week, for messages under way
    Retire {
        /// Retire a key of this domain
        domain: String,
        /// Retire the key with this selector
        selector: String,
    },
    /// Delete a key that does not sign; delete its DNS record as well
    Remove {
        /// Remove a key of this domain
        domain: String,
        /// Remove the key with this selector
        selector: String,
    },
}

impl DkimVerb {
    pub(crate) fn request(&self) -> Request {
        let both = |domain: &String, selector: &String| (domain.clone(), selector.clone());
        match self {
            DkimVerb::Make {
                domain,
                selector,
                algorithm,
            } => Request::DkimMake {
                domain: domain.clone(),
                selector: selector.clone(),
                algorithm: *algorithm,
            },
            DkimVerb::List { domain } => Request::DkimList {
                domain: domain.clone(),
            },
            DkimVerb::Show { domain, selector } => {
                let (domain, selector) = both(domain, selector);
                Request::DkimShow { domain, selector }
            }
            DkimVerb::Activate { domain, selector } => {
                let (domain, selector) = both(domain, selector);
                Request::DkimActivate { domain, selector }
            }
            DkimVerb::Retire { domain, selector } => {
                let (domain, selector) = both(domain, selector);
                Request::DkimRetire { domain, selector }
            }
            DkimVerb::Remove { domain, selector } => {
                let (domain, selector) = both(domain, selector);
                Request::DkimRemove { domain, selector }
            }
        }
    }
}
