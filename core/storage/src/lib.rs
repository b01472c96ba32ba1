//! The lintel's storage room: what runs on the volume's owner thread, and the way there from any other core.
//!
//! `inbound` and `client` reach the mailboxes through `owner`, a bounded lane, and through nothing else; `Busy` becomes the
//! protocol's "try again".
//!
//! What must hold: no job knows a thread, a CPU number or a path; the work under way is bounded; what began runs to its end.
//!
//! - `owner.rs`: the way to the mailboxes and back. Start reading there.
//! - `arrival.rs`: whose address it is, and where a message is first placed.
//! - `addresses.rs`: what an address without a mailbox leads to.
//! - `junk.rs`: where junk goes.
//! - `filter.rs`: what people's scripts do with their mail.
//! - `kept.rs`: what POP3 clients deleted, for as long as the operator wants it kept.
//! - `lessons.rs`: what people taught about junk.
//! - `scripts.rs`: whose scripts filter mail, and the end of those whose owner is gone.
//! - `logins.rs`: SCRAM keys and app passwords, and the changes of accounts that go with them.
//! - `outside.rs`: accounts that another directory (LDAP) owns.
//! - `tallies.rs`: counts for reports, gathered and written down.
//! - `outgoing.rs`: messages that must leave: in, on their way, and what came of it.
//! - `quarantine.rs`: mail that is kept apart for an administrator. `held.rs`: its envelopes. `reserved.rs`: its address.
//! - `recipients.rs`: the table of recipients, as a node without storage gets it.
//! - `upkeep.rs`: watches legs, scrubs. `health.rs`: whether mail is taken, by probes.
//! - `gauges.rs`: what the owner's thread shows of itself.
//! - `stop.rs`: a stop ends though the legs do not answer.
//! - `holder.rs`: whose share of the memory for messages is used.
#![forbid(unsafe_code)]

pub mod addresses;
pub mod arrival;
pub mod filter;
pub mod gauges;
pub mod health;
mod held;
pub mod holder;
mod junk;
pub mod kept;
pub mod lessons;
pub mod logins;
pub mod outgoing;
pub mod outside;
pub mod owner;
pub mod quarantine;
pub mod recipients;
mod reserved;
#[cfg(test)]
mod rig;
pub mod scripts;
pub mod stop;
pub mod tallies;
pub mod upkeep;
