//! MTA-STS (RFC 8461): a domain publishes which servers take its mail, and that they have valid certificates.
//!
//! Pure: bytes come in, values go out. `record.rs` is the TXT record that says which policy is in force, `policy.rs` the policy itself, as it
//! is read and as it is written, and `response.rs` the HTTP response that carries it. Looking up, fetching, keeping and enforcing is
//! `client::relay::sts`.
//!
//! What must hold: no bytes of a peer lead to a panic, and everything that is read is bounded (`limits.rs`).
#![forbid(unsafe_code)]

pub mod fuzzing;
pub mod limits;
mod policy;
mod record;
mod response;

pub use policy::{Mode, Pattern, Policy, PolicyFault};
pub use record::{id, is_id};
pub use response::{FetchFault, Response, request};
