//! What one conversation with a domain's server came to, for its report of TLS (RFC 8460 §4.3). `tally.rs` counts it.

use std::net::SocketAddr;

use feedback::tls::{Outcome, PolicyType};

use super::authorities::Flaw;
use super::dane::Demand;
use super::destination::Candidate;

/// One conversation that came as far as EHLO, and what became of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub host: String,
    pub address: Option<SocketAddr>,
    pub policy: PolicyType,
    /// Of DANE: the records.
    pub records: Vec<String>,
    pub outcome: Outcome,
    pub reason: String,
}

impl Seen {
    pub fn of(candidate: &Candidate, outcome: Outcome, reason: &str) -> Seen {
        let (policy, records) = match &candidate.demand {
            Demand::None => (PolicyType::NoPolicy, Vec::new()),
            Demand::Tls => (PolicyType::Tlsa, Vec::new()),
            Demand::Dane { associations, .. } => {
                let texts = associations.iter().map(|one| one.text());
                (PolicyType::Tlsa, texts.collect())
            }
            Demand::Policy { .. } => (PolicyType::Sts, Vec::new()),
        };
        Seen {
            host: candidate.host.clone(),
            address: Some(candidate.address),
            policy,
            records,
            outcome,
            reason: reason.to_owned(),
        }
    }
}

/// RFC 8460 §4.3.1.
pub fn outcome_of(flaw: Flaw) -> Outcome {
    match flaw {
        Flaw::HostMismatch => Outcome::HostMismatch,
        Flaw::Expired => Outcome::Expired,
        Flaw::NotTrusted => Outcome::NotTrusted,
        Flaw::Invalid => Outcome::ValidationFailure,
    }
}
