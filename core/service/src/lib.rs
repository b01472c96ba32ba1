//! The lintel: what a zone does, one file per job.
//!
//! Protocol machines (`smtp`, `imap`) meet the mailboxes here and nowhere else. A job runs on the core that accepted its
//! connection and asks the volume's owner through `owner`, a bounded lane; `Busy` becomes the protocol's "try again".
//!
//! What must hold: no reply leaves before what it promises is durable; no job knows a thread, a CPU number or a path.
//!
//! - `receive.rs`: SMTP and LMTP in; the walk of one message starts there.
//! - `imap.rs`: IMAP out; one connection's story.
//! - `owner.rs`: the way to the mailboxes and back.
//! - `upkeep.rs`: watching legs, scrubbing. `health.rs`: whether mail is taken, by probes.
#![forbid(unsafe_code)]

pub mod health;
mod holder;
pub mod imap;
pub mod owner;
pub mod receive;
pub mod upkeep;

/// The protocol, for whoever configures `receive`.
pub use smtp;
