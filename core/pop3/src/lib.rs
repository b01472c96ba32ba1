//! POP3 as a pure state machine of the server's side: RFC 1939 with the extensions that clients use. Bytes in, events out; a list of
//! messages in, bytes out. No sockets, no mailboxes, no clock.
//!
//! What must hold: no input makes us panic or keep more than `limits.rs` says; a command means the same however its bytes were cut; a
//! session that ends without QUIT asks for no deletion; numbers and sizes stay as they were at the login, whatever happens to the mailbox.
//!
//! The main path: `session` takes lines (`reader`), has them parsed (`command`), and answers from the list of messages (`maildrop`). What
//! needs an account or the bytes of a message comes out as an `Event`; `core/client` performs it, and sends messages through `wire`.
//! Every text that a client may get is in `reply`. Start reading at `session`.
#![forbid(unsafe_code)]

mod command;
pub mod limits;
mod maildrop;
mod reader;
pub mod reply;
mod session;
pub mod wire;

pub use maildrop::{Maildrop, TooMany};
pub use reply::Reply;
pub use session::{Event, Policy, Retrieval, Session, State};
