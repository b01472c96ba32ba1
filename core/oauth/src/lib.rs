//! Tokens of OAuth as bytes: whether a token is good by the keys of its provider (RFC 7519, RFC 9068), and what a provider says in JSON (discovery, keys, introspection).
//!
//! No sockets, no clock, no store: `ringpostd` fetches, and gives the time. What must hold:
//! - No bytes of a stranger stop us; tokens, documents and numbers of keys are bounded (`limits.rs`).
//! - The key decides which algorithms fit it. The token's own word chooses among these and can add none: `none`, and a public key taken for a shared secret, are refused
//!   however they are written (RFC 8725 §2.1, §3.1).
//! - Neither a token nor what it says of a person is in a `Debug` text or a fault.
//!
//! Signatures are checked by jsonwebtoken over aws-lc-rs; claims are checked here, because the crate reads its own clock and does not tell faults apart as the audit must.
//!
//! - `token.rs`: a token, its claims, and the rules. Start reading there.
//! - `keys.rs`: the keys of a provider (RFC 7517). `provider.rs`: its other documents.
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod fuzzing;
pub mod keys;
pub mod limits;
pub mod provider;
pub mod token;

pub use keys::KeySet;
pub use token::{Claims, Flaw, Rules, Token};
