//! The lintel's client room: what serves people who log in.
//!
//! The protocol machines (`imap`, `pop3`, `managesieve`) meet the mailboxes here. A connection runs on the core that accepted it and asks the volume's
//! owner through `storage::owner`; `Busy` becomes NO [UNAVAILABLE].
//!
//! What must hold: a reply shows durable changes only; no job knows a thread, a CPU number or a path; passwords are checked here
//! and in no other room of `core`.
//!
//! - `imap.rs`: IMAP; one connection's story.
//! - `pop3.rs`: POP3, from the same mailboxes. `pieces.rs`: messages on their way to clients of both.
//! - `managesieve.rs`: ManageSieve, what people store of Sieve scripts.
//! - `submit.rs`: submission; `relay.rs`: the way of a message to other servers.
//! - `signing.rs`: DKIM signatures of what leaves.
//! - `front.rs`: a node without storage, which passes people on to the storage node that holds their mailboxes; and that node's door for it.
//! - `login.rs`: passwords, checked off the protocol's path.
#![forbid(unsafe_code)]

pub mod front;
pub mod imap;
pub mod limits;
pub mod login;
pub mod managesieve;
mod memory;
mod orders;
mod pieces;
pub mod pop3;
pub mod relay;
pub mod reporting;
pub mod signing;
pub mod submit;
