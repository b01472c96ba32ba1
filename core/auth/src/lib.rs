//! Who wrote a message: SPF (RFC 7208), DKIM (RFC 6376, 8463), DMARC (RFC 9989) and ARC (RFC 8617), evaluated for one message of a stranger.
//!
//! No sockets and no clock: bytes come in, names are asked through `dns::Names`, and a `Verdict` comes out, with the text of one
//! Authentication-Results field (RFC 8601).
//!
//! What must hold:
//! - *Unknown is not absent*: what cannot be looked up is `temperror`, and never a reason to refuse mail.
//! - No bytes of a message or of a zone stop us, and each costs a bounded amount of work, memory and look-ups (`limits.rs`).
//! - A key below 1,024 bits and SHA-1 never pass (RFC 8301).
//!
//! mail-auth 0.13.3 reads and computes: header fields, signatures, keys, SPF records and their macros, canonical forms, hashes, RSA and
//! Ed25519. The evaluation is ours, because its own cannot be driven without its resolver (hickory-resolver, which `dns` refuses): its
//! cache cannot say that an address does not exist, and `exists:` goes to the network then; nor can it say that an address is unknown. It
//! counts no void look-ups, takes the first of several SPF records, reads the clock itself, and takes a signature without From,
//! one by SHA-1 and a key for another service. Nothing of hickory-resolver is ever run.
//!
//! Main path: `message.rs` (work over every byte) → `spf.rs` and `keys.rs` (look-ups) → `message.rs::Prepared::verify` (work of
//! public keys) → `dmarc.rs` (look-ups) → `results.rs`. A core does the work beside its connections; look-ups wait on it. Start reading at
//! `Verdict`.
#![forbid(unsafe_code)]

use std::net::IpAddr;

mod arc;
mod ask;
mod dkim;
mod dmarc;
pub mod external;
pub mod fuzzing;
pub mod header;
mod keys;
pub mod limits;
mod message;
mod results;
mod signed;
mod spf;
mod tags;

pub use arc::Arc;
pub use ask::Ask;
pub use dkim::Signature;
pub use dmarc::{Disposition, Dmarc, Policy, Published};
pub use keys::Keys;
pub use message::{Prepared, Signatures};
pub use spf::Spf;

/// What is known of a message beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// What it called itself in EHLO or HELO.
    pub helo: &'a str,
    /// The reverse-path without its brackets; empty for the null one.
    pub mail_from: &'a str,
}

/// What a check comes to, in the words of RFC 8601 §2.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to check.
    None,
    Pass,
    Fail,
    SoftFail,
    Neutral,
    /// Well made, and not taken here.
    Policy,
    /// Unknown: it may be otherwise the next time.
    TempError,
    PermError,
}

impl Outcome {
    /// Every outcome, for metrics.
    pub const ALL: [Outcome; 8] = [
        Outcome::None,
        Outcome::Pass,
        Outcome::Fail,
        Outcome::SoftFail,
        Outcome::Neutral,
        Outcome::Policy,
        Outcome::TempError,
        Outcome::PermError,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Outcome::None => "none",
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::SoftFail => "softfail",
            Outcome::Neutral => "neutral",
            Outcome::Policy => "policy",
            Outcome::TempError => "temperror",
            Outcome::PermError => "permerror",
        }
    }
}

/// An outcome, and in a few words why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub outcome: Outcome,
    /// Empty where the outcome says all.
    pub why: &'static str,
}

pub(crate) const fn found(outcome: Outcome, why: &'static str) -> Found {
    Found { outcome, why }
}

/// What is known of a message's author in the end.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub spf: Spf,
    pub signatures: Signatures,
    pub dmarc: Dmarc,
}

impl Verdict {
    /// One Authentication-Results field by `hostname`, its CRLF included.
    pub fn field(&self, hostname: &str, envelope: &Envelope) -> String {
        results::field(self, hostname, envelope)
    }
}

/// All of it in one place, for tests and for programs with a thread of their own; `unix_seconds` is now.
pub async fn verdict<N: dns::Names>(
    ask: &Ask<'_, N>,
    envelope: &Envelope<'_>,
    content: &[u8],
    unix_seconds: u64,
) -> Verdict {
    let prepared = Prepared::of(content, unix_seconds);
    let spf = Spf::check(ask, envelope).await;
    let keys = Keys::look_up(ask, &prepared).await;
    let signatures = prepared.verify(&keys);
    let dmarc = Dmarc::evaluate(ask, &signatures, &spf).await;
    Verdict {
        spf,
        signatures,
        dmarc,
    }
}

/// A domain in A-labels and lower case, without a dot at the end; for comparisons.
pub(crate) fn domain_of(text: &str) -> String {
    let text = text.strip_suffix('.').unwrap_or(text);
    match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => idna::domain_to_ascii(text).unwrap_or_else(|_| text.to_lowercase()),
    }
}
