//! ManageSieve (RFC 5804) as a pure state machine of the server's side: people's programs store, list and activate Sieve scripts. Bytes in, events
//! out; outcomes in, bytes out. No sockets, no scripts, no clock.
//!
//! What must hold: no input makes us panic or keep more than `limits.rs` says; a command means the same however its bytes were cut; memory for
//! a script is asked for before it is received.
//!
//! The main path: `session` takes commands as words (`reader`), has their arguments checked (`command`), and answers. What needs an account or
//! its scripts comes out as an `Event`; `core/client` performs it. Every text that a client may get is in `reply`, but for what the
//! compiler of scripts says. Start reading at `session`.
#![forbid(unsafe_code)]

mod command;
pub mod limits;
mod reader;
pub mod reply;
mod session;

pub use command::script_name;
pub use reply::Reply;
pub use session::{Event, Outcome, Policy, Request, Session, State};
