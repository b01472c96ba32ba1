//! `ringpostctl ban`: addresses and networks that are not served.

use admin::request::Request;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum BanVerb {
    /// List the addresses and networks that are banned now
    List,
    /// Ban an address or a network, until the daemon is restarted at the latest
    Add {
        /// Ban this address, or network such as 192.0.2.0/24
        network: String,
        /// Ban it for this time
        #[arg(long = "for", value_name = "SPAN", default_value = "24h")]
        span: plan::Span,
    },
    /// End a ban, and forget the failures that led to it
    Lift {
        /// Let this address or network in again
        network: String,
    },
}

impl BanVerb {
    pub(crate) fn request(&self) -> Request {
        match self {
            BanVerb::List => Request::BanList,
            BanVerb::Add { network, span } => Request::BanAdd {
                network: network.clone(),
                seconds: span.0.as_secs(),
            },
            BanVerb::Lift { network } => Request::BanLift {
                network: network.clone(),
            },
        }
    }
}
