//! What a sender did since start. Written by its core, read by any thread.

use std::sync::atomic::{AtomicU64, AtomicUsize};

/// One source of conversations.
#[derive(Debug, Default)]
pub struct SourceCount {
    pub name: String,
    /// Begun from it.
    pub conversations: AtomicU64,
    /// Sites that did not talk to it.
    pub refused: AtomicU64,
    /// Its address could not be used.
    pub unavailable: AtomicU64,
    /// Now: sites for which it comes last, and addresses of it that cannot be used.
    pub resting: AtomicUsize,
}

impl SourceCount {
    pub fn of(name: &str) -> SourceCount {
        SourceCount {
            name: name.to_owned(),
            ..SourceCount::default()
        }
    }
}

#[derive(Debug, Default)]
pub struct Counters {
    /// In the order of `Settings::sources`.
    pub sources: Vec<SourceCount>,
    /// Recipients whose server took the message.
    pub delivered: AtomicU64,
    /// Tries of recipients that are to be made again.
    pub deferred: AtomicU64,
    /// Recipients that were given up.
    pub failed: AtomicU64,
    /// Reports written to senders.
    pub reports: AtomicU64,
    /// Conversations begun.
    pub conversations: AtomicU64,
    /// Of them, those in clear although the server offers TLS.
    pub tls_failed: AtomicU64,
    /// Of them, those whose server showed a certificate that its domain publishes (DANE).
    pub proved: AtomicU64,
    /// Of them, those whose server met the policy of its domain (MTA-STS).
    pub policies_met: AtomicU64,
    /// Tries to fetch a policy that failed.
    pub policy_faults: AtomicU64,
    /// Servers that did not meet their domain's policy: mail did not go to them, or, where the domain is testing, it did.
    pub policies_unmet: AtomicU64,
    pub policies_unmet_testing: AtomicU64,
    /// No conversation could be begun.
    pub unreached: AtomicU64,
    /// Now: connections, with those being made.
    pub connections: AtomicUsize,
    /// Now: messages in hand.
    pub in_hand: AtomicUsize,
    /// Now: destinations that are left alone for a while.
    pub asleep: AtomicUsize,
}
