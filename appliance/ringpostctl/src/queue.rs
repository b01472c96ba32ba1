//! The words of `ringpostctl` about the queue.

use admin::request::Request;
use clap::Subcommand;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum QueueVerb {
    /// List the messages that wait, by number, one page at a time
    List {
        /// Begin after the message with this number
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// Show at most this many messages
        #[arg(short = 'n', long)]
        count: Option<usize>,
    },
    /// Show each recipient of a message and the last answer about it
    Show {
        /// Show the message with this number
        id: u64,
    },
    /// Try to send a message now
    Retry {
        /// Try the message with this number
        id: u64,
    },
    /// Do not send a message until it is released
    Hold {
        /// Hold the message with this number
        id: u64,
    },
    /// Send a message that was held
    Release {
        /// Release the message with this number
        id: u64,
    },
    /// Show which way mail takes and why, or send what waits for a domain to another server
    Route {
        /// Show the way of the message with this number, of this address or of this domain
        of: String,
        /// From now on send the domain's mail to HOST:PORT, and try what waits there now; `route remove` ends it
        #[arg(long, value_name = "HOST:PORT")]
        to: Option<String>,
        /// With --to: let the message wait if the server offers no TLS
        #[arg(long, requires = "to")]
        tls: bool,
    },
    /// Remove a message from the queue; its sender gets no report
    Drop {
        /// Remove the message with this number
        id: u64,
    },
}

impl QueueVerb {
    pub(crate) fn request(&self) -> Request {
        match self.clone() {
            QueueVerb::List { after, count } => Request::QueueList { after, count },
            QueueVerb::Show { id } => Request::QueueShow { id },
            QueueVerb::Retry { id } => Request::QueueRetry { id },
            QueueVerb::Hold { id } => Request::QueueHold { id },
            QueueVerb::Release { id } => Request::QueueRelease { id },
            QueueVerb::Route { of, to: None, .. } => Request::QueueRoute { of },
            QueueVerb::Route {
                of: domain,
                to: Some(host),
                tls: needs_tls,
            } => Request::QueueReroute {
                domain,
                host,
                needs_tls,
            },
            QueueVerb::Drop { id } => Request::QueueDrop { id },
        }
    }
}
