//! What conversations with a domain's servers came to, counted for its report of TLS (RFC 8460).
//!
//! What must hold: nothing waits for it; a domain that wants no reports is not counted; conversations that carry reports of TLS are not either, or
//! two servers would report on each other's reports for ever.

use std::rc::Rc;

use dns::Names;
use feedback::destination::of_tls_records;
use feedback::tls::{Outcome, PolicyType, Published, Session};
use runtime::Dial;
use storage::owner::Ask;
use storage::tallies::TLS_SEEN;

use super::seen::Seen;
use super::sender::Shared;
use super::sts::{Fault, Found};

/// RFC 8460 §4.3.2.2. `None`: it says nothing of the domain.
fn outcome_of_fault(fault: &Fault) -> Option<Outcome> {
    match fault {
        Fault::Fetch(_) => Some(Outcome::StsPolicyFetch),
        Fault::Invalid(_) => Some(Outcome::StsPolicyInvalid),
        Fault::WebPki(_) => Some(Outcome::StsWebPki),
        Fault::Busy | Fault::Stopping => None,
    }
}

impl<K: Ask, N: Names, D: Dial> Shared<K, N, D> {
    /// Counts what was seen while a connection for `domain` was made. `unnamed`: no host was tried, since the policy names none of them.
    pub(super) fn count_seen(
        self: &Rc<Self>,
        domain: &str,
        found: &Found,
        mut seen: Vec<Seen>,
        unnamed: Option<&str>,
    ) {
        let Some(tallies) = self.tallies.get().cloned() else {
            return;
        };
        // Failures before any host was dialled: they are counted as conversations that came to nothing, or the domain would see no trace of them.
        let without_host = |outcome, reason: &str| Seen {
            host: String::new(),
            address: None,
            policy: PolicyType::Sts,
            records: Vec::new(),
            outcome,
            reason: reason.to_owned(),
        };
        if let Some(fault) = &found.fault
            && let Some(outcome) = outcome_of_fault(fault)
        {
            seen.push(without_host(outcome, &fault.to_string()));
        }
        if let Some(reason) = unnamed.filter(|_| seen.is_empty()) {
            seen.push(without_host(Outcome::ValidationFailure, reason));
        }
        // An address literal has no zone to publish in.
        let is_name = !domain.starts_with('[') && domain.contains('.');
        if seen.is_empty() || !is_name {
            return;
        }
        let name = dkim::ascii_domain(domain);
        let policy = found.demanded().map(|policy| {
            let patterns = policy.patterns.iter().map(|one| one.text().to_owned());
            (policy.lines(), patterns.collect::<Vec<_>>())
        });
        let shared = self.clone();
        // Whether the domain wants reports at all is looked up here and not before the conversation: mail does not wait for it.
        self.task(async move {
            let texts = shared.names.texts(&format!("_smtp._tls.{name}")).await;
            let Some(list) = texts.ok().and_then(|texts| of_tls_records(&texts)) else {
                return;
            };
            let records = seen.iter().find(|one| !one.records.is_empty());
            let records = records.map(|one| (PolicyType::Tlsa, one.records.clone()));
            let (lines, patterns) = policy.unzip();
            let head = Published {
                destinations: list,
                policy: lines.map(|lines| (PolicyType::Sts, lines)).or(records),
                patterns: patterns.unwrap_or_default(),
            };
            let key = reports::Key {
                subject: TLS_SEEN,
                day: reports::Day::of(shared.unix_now().0),
                name,
            };
            for one in seen {
                let session = Session {
                    policy: one.policy,
                    outcome: one.outcome,
                    host: one.host,
                    address: one.address.map_or(String::new(), |to| to.ip().to_string()),
                    reason: one.reason,
                };
                tallies.note(&key, &head.encode(), &session.encode());
            }
        });
    }
}
