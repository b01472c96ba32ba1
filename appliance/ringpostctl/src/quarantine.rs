//! The words of `ringpostctl` about the quarantine.

use admin::request::Request;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineVerb {
    /// List the messages in quarantine, by number, one page at a time
    List {
        /// Begin after the message with this number
        #[arg(long, default_value_t = 0)]
        after: u32,
        /// Show at most this many messages
        #[arg(short = 'n', long)]
        count: Option<usize>,
    },
    /// Show why a message is in quarantine, for whom it is, and how it begins
    Show {
        /// Show the message with this number
        number: u32,
    },
    /// Deliver a message to its recipients, once
    Release {
        /// Release the message with this number
        number: u32,
    },
    /// Remove a message; neither its sender nor its recipients get a report
    Drop {
        /// Remove the message with this number
        number: u32,
    },
}

impl QuarantineVerb {
    pub(crate) fn request(&self) -> Request {
        match *self {
            QuarantineVerb::List { after, count } => Request::QuarantineList { after, count },
            QuarantineVerb::Show { number } => Request::QuarantineShow { number },
            QuarantineVerb::Release { number } => Request::QuarantineRelease { number },
            QuarantineVerb::Drop { number } => Request::QuarantineDrop { number },
        }
    }
}
