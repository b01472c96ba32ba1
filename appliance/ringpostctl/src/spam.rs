//! `ringpostctl spam`: what people taught about junk.

use admin::request::Request;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum SpamVerb {
    /// Show how much an account or a domain was taught; the words themselves are not kept
    Show {
        /// Show this account, such as alice@example.org, or this domain
        of: String,
    },
    /// Forget all that an account or a domain was taught; the lessons of a domain's people stay
    Forget {
        /// Forget the lessons of this account, or of this domain
        of: String,
    },
}

impl SpamVerb {
    pub(crate) fn request(&self) -> Request {
        match self {
            SpamVerb::Show { of } => Request::SpamShow { of: of.clone() },
            SpamVerb::Forget { of } => Request::SpamForget { of: of.clone() },
        }
    }
}
