//! SMTP (RFC 5321) and LMTP (RFC 2033) as pure state machines: bytes in, bytes and actions out.
//!
//! `Session` is the receiver. It knows the order of commands, every limit and every reply; it does not know a socket, a
//! clock, DNS or who has a mailbox. Its caller (`inbound::receive`) passes bytes in and does what the `Action`s say; what the caller
//! finds for a recipient is the session's type `R`, a route. `client` is the other side, for tests, the load program and a relay to come.
//!
//! # What must hold
//!
//! - The end of mail data is CRLF `.` CRLF and nothing else; a line ends in CRLF and in nothing else. A message with a bare CR or LF
//!   (or a NUL, which IMAP could not give back) is read to its true end and refused whole: no two readers of one byte stream can
//!   see different messages in it. This holds for BDAT too, where the end is not in doubt: what was taken in by chunks would be
//!   ambiguous for the next hop (`content`).
//! - What comes out does not depend on how the bytes were cut into segments.
//! - Content is copied once, from the receive buffer behind the trace fields in the delivery buffer.
//! - No input can make it panic, or hold memory beyond `limits` and the content's own size bound.
//! - Every reply is one line of the table in `reply`.
//!
//! # Extensions
//!
//! PIPELINING (2920), SIZE (1870), 8BITMIME (6152), SMTPUTF8 (6531), CHUNKING (3030), ENHANCEDSTATUSCODES (2034), STARTTLS
//! (3207). VRFY answers 252, EXPN 502. On a submission port (6409) also AUTH (4954) and DSN (3461).
//! XCLIENT for peers that the caller trusts, XDELIVERY for other zones of ours. `qmqp` is QMQP, which has no commands.
//!
//! # Where to start reading
//!
//! `Session::step` in `session`, then `session::commands`, `envelope`, `content` for the fast path, `command` and `path` for the grammar.
#![forbid(unsafe_code)]

pub mod client;
mod command;
mod content;
pub mod envelope;
pub mod limits;
pub mod path;
pub mod qmqp;
pub mod reply;
pub mod session;
pub mod xclient;

pub use envelope::{Body, ClaimedHello, Envelope, Message, Notify, Recipient, Returned};
pub use limits::Limits;
pub use path::{ForwardPath, ReversePath};
pub use reply::{Refusal, Reply};
pub use sasl::Credentials;
pub use session::{Action, Config, Role, Service, Session};
pub use xclient::{Forwarded, ForwardedName};
