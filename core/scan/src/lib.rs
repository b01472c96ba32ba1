//! Asks outside scanners about a message: rspamd, clamd, and filters that speak the milter protocol; a verdict.
//!
//! The wires are pure (`rspamd`, `clamd`, `milter`, `http`: bytes in, values out). `pool` dials through `runtime::Dial`, so that the same calls
//! run on sockets and on their twins in memory. What the verdict means for a message is decided in `inbound::receive::inspect`.
//!
//! What must hold:
//! - *Unknown is not clean*: a server that fails, hangs or answers nonsense gives a `Fault`, and never a verdict.
//! - A call ends by its deadline, whatever the server does: a byte a minute holds it no longer than silence.
//! - What a server sends is bounded before it is kept (`limits.rs`), and nothing of it ends a line of a header or a reply.
//! - The message itself is borrowed: it is never copied here as a whole.
//!
//! Each call has a connection of its own, which ends with it: nothing is open between messages, and nothing is left over from one message
//! in the answer about the next.
//!
//! Main path: `scanners.rs` (what is asked, side by side) → `pool.rs` (which server) → `call.rs` (the conversation) → `field.rs` (the header field).
#![forbid(unsafe_code)]

use std::net::IpAddr;

use runtime::{ConnectionFault, DialFault, Holder};

mod call;
pub mod change;
pub mod clamd;
mod counters;
pub mod field;
pub mod fuzzing;
pub mod http;
pub mod known;
pub mod limits;
pub mod milter;
pub mod pool;
pub mod rspamd;
mod scanners;
pub mod text;

pub use call::Filtered;
pub use change::{Change, Edit};
pub use counters::{Counters, Outcome, Scanner};
pub use known::Known;
pub use pool::{Pool, Server};
pub use scanners::{Filter, Found, Scanners};

/// What is known of a message beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Whose share of the calls is used: the peer's, or that of the account that logged in.
    pub holder: Holder,
    /// The client's address.
    pub client: IpAddr,
    /// What it called itself in EHLO or HELO.
    pub helo: &'a str,
    /// Our own name.
    pub hostname: &'a str,
    /// The reverse-path without its brackets; empty for the null one.
    pub mail_from: &'a str,
    /// The forward-paths without their brackets.
    pub recipients: &'a [String],
    /// The message's id.
    pub id: &'a str,
    /// Who logged in; `None`: a stranger.
    pub user: Option<&'a str>,
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Dial(DialFault),
    #[error("{0}")]
    Connection(ConnectionFault),
    /// The call's deadline passed.
    #[error("no answer in time")]
    TimedOut,
    /// Every server failed lately and is left alone.
    #[error("every server failed lately")]
    AllResting,
    /// Too many calls are under way here.
    #[error("too many calls are under way")]
    Busy,
    #[error("the answer makes no sense ({0})")]
    Nonsense(&'static str),
    #[error("the answer is too long")]
    TooLong,
    /// `limits::FIELDS_MAX` or `limits::HEADER_BYTES_MAX`: no server was asked.
    #[error("its header has too many fields or is too long")]
    HeaderTooLong,
    /// The server's own words.
    #[error("it says: {0}")]
    Said(String),
}

impl Fault {
    /// Whether the server is to blame.
    pub(crate) fn is_of_server(&self) -> bool {
        let busy_here = *self == Fault::Dial(DialFault::Busy);
        !self.is_stop() && !busy_here && *self != Fault::HeaderTooLong
    }

    /// The appliance is stopping; the server is not to blame.
    pub fn is_stop(&self) -> bool {
        matches!(
            self,
            Fault::Dial(DialFault::Stopping) | Fault::Connection(ConnectionFault::Stopping)
        )
    }
}

impl From<ConnectionFault> for Fault {
    fn from(fault: ConnectionFault) -> Fault {
        Fault::Connection(fault)
    }
}
