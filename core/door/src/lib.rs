//! Decisions at the door: what is known of a peer in, what is done about it out.
//!
//! Pure and shared by all cores: no socket, no clock, no DNS. `inbound::receive` asks at the connection, at EHLO, at MAIL and at RCPT, and
//! puts the answers into the protocol's words. It is a crate of its own, and not a part of `inbound`, because submission and IMAP feed and
//! ask the same ban list, and because `inbound` cannot be linked by a program that only checks settings or fuzzes a parser.
//!
//! What must hold:
//! - Every table has a bound and forgets what was used least recently; ten thousand addresses cost no more than the bound (`table`).
//! - Peers of exempt networks, the machine itself among them by default, are never counted, marked, delayed or refused.
//! - What could not be found out in time counts for nothing: a time-out never refuses.
//! - A host name is never refused because it does not resolve.
//!
//! Parts, a file each: `peers` and `senders` (rates and numbers), `bans`, `hello`, `early`, `greylist`, `tarpit`, `lists` (DNSBL, DNSWL),
//! `marks` (the header field), `policy` (the settings). Start reading at `Door`.
#![forbid(unsafe_code)]

pub mod bans;
mod counters;
mod door;
pub mod early;
pub mod greylist;
pub mod hello;
pub mod limits;
pub mod lists;
pub mod marks;
pub mod peers;
pub mod policy;
pub mod senders;
mod table;
pub mod tarpit;

pub use bans::{Ban, Bans, Offence};
pub use counters::{Counters, Event};
pub use door::{Door, Entered, Turned};
pub use hello::HelloFault;
pub use lists::{Listing, Standing};
pub use marks::Marks;
pub use peers::Crowded;
pub use policy::{Answers, Greylisting, List, Policy, Rates, Response};
