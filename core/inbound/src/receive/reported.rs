//! What strangers' mail is counted for: reports to the domains that it claims to be from (RFC 9990, RFC 9991), and reports of others that it brings.
//!
//! What must hold:
//!
//! - A count costs no look-up and no wait. A report that comes in is read beside the core, and only at an address for reports.
//! - Reports are not reported on: two servers would keep each other busy for ever.
//! - Single failures are bounded for each domain and in all; beyond that they are counted in the aggregate report alone.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use auth::{Disposition, Outcome, Policy, Published, Verdict};
use bytes::Bytes;
use feedback::dmarc::{self, Row};
use feedback::heard::{self, Figures};
use feedback::letter::Failure;
use smtp::{ForwardPath, Recipient, Role};
use storage::tallies::{DMARC_HEARD, DMARC_SEEN, KEPT_DAYS, TLS_HEARD, Tallies};
use tokio::sync::Notify;

use super::route::Route;
use super::{Keeper, Receiver, Settings};

/// What receivers do for reports; shared by all cores.
#[derive(Clone)]
pub struct Reporting {
    pub tallies: Tallies,
    /// Whether other domains hear of their mail.
    pub counts: bool,
    /// Single failures; `None`: none is reported.
    pub failures: Option<Failures>,
}

/// What authentication found of one message, for reports.
pub(super) struct Checked {
    pub verdict: Verdict,
    /// What the author's domain asks for is done.
    pub is_enforced: bool,
    pub mail_from: String,
    /// The field that says so, without its name.
    pub results: String,
}

/// Messages that failed and of which their domain wants to hear, until they are reported. Clones are the same.
#[derive(Clone)]
pub struct Failures {
    shared: Arc<Mutex<Waiting>>,
    /// Notified when one comes.
    pub bell: Arc<Notify>,
    per_hour: u32,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<(Failure, String)>,
    /// In this hour, by domain.
    hour: u64,
    taken: BTreeMap<String, u32>,
}

impl Failures {
    /// At most `per_hour` of one domain.
    pub fn new(per_hour: u32) -> Failures {
        Failures {
            shared: Arc::default(),
            bell: Arc::default(),
            per_hour,
        }
    }

    /// `to`: the list of the domain's record. `false`: it is one too many.
    fn offer(&self, failure: Failure, to: String) -> bool {
        let mut waiting = self.waiting();
        let hour = failure.arrived / 3_600;
        if waiting.hour != hour {
            waiting.hour = hour;
            waiting.taken.clear();
        }
        let domains = waiting.taken.len();
        let is_full = waiting.queue.len() >= WAITING_MAX;
        let taken = waiting.taken.get(&failure.domain).copied();
        if is_full || taken.is_none() && domains >= DOMAINS_MAX || taken >= Some(self.per_hour) {
            return false;
        }
        waiting
            .taken
            .insert(failure.domain.clone(), taken.unwrap_or(0) + 1);
        waiting.queue.push_back((failure, to));
        drop(waiting);
        self.bell.notify_one();
        true
    }

    /// The oldest that waits, and the list of where it goes.
    pub fn take(&self) -> Option<(Failure, String)> {
        self.waiting().queue.pop_front()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Keeper> Receiver<K> {
    /// Counts what was found of a message, unless it is a report itself. Of what looks like one no single failure is reported, forged or not.
    pub(super) fn count_for_report(&self, checked: &Checked, peer: IpAddr, theirs: &[u8]) {
        let Some(reporting) = self.reporting.as_ref().filter(|one| one.counts) else {
            return;
        };
        let dmarc = &checked.verdict.dmarc;
        let Some(published) = &dmarc.published else {
            return;
        };
        let header = &theirs[..auth::header::end(theirs)];
        let wants = !published.aggregate_to.is_empty() || !published.failures_to.is_empty();
        let is_report = heard::looks_like_report(header);
        // A subject can be forged: what looks like a report and is not its author's is counted like other forged mail.
        if !wants || is_report && dmarc.found.outcome == Outcome::Pass {
            return;
        }
        let unix_seconds = self.host.unix_seconds().max(0) as u64;
        let row = row(checked, published, peer);
        if !published.aggregate_to.is_empty() {
            let key = reports::Key {
                subject: DMARC_SEEN,
                day: reports::Day::of(unix_seconds),
                name: published.domain.clone(),
            };
            let (head, line) = (head(published).encode(), row.encode());
            reporting.tallies.note_from(peer, &key, &head, &line);
        }
        if let Some(failures) = &reporting.failures
            && !is_report
            && wants_failure(published, dmarc)
        {
            let failure = failure(checked, published, &row, unix_seconds, header);
            if !failures.offer(failure, published.failures_to.clone()) {
                tracing::debug!(
                    domain = published.domain,
                    "a failure is not reported: too many"
                );
            }
        }
    }

    /// Reads a message that was accepted at an address for reports.
    pub(super) async fn hear(
        &self,
        settings: &Settings,
        checked: Option<&Checked>,
        recipients: &[Recipient<Route>],
        raw: &Bytes,
        trace_bytes: usize,
    ) {
        let Some(reporting) = &self.reporting else {
            return;
        };
        let is_for_reports = settings.smtp.role == Role::Smtp && recipients.iter().any(is_address);
        // RFC 8460 §3, RFC 9990 §3.5.2: what its domain did not sign may be invented.
        let is_signed = checked.is_none_or(|checked| {
            let signatures = &checked.verdict.signatures.dkim;
            let dkim = signatures
                .iter()
                .any(|one| one.found.outcome == Outcome::Pass);
            dkim || checked.verdict.dmarc.found.outcome == Outcome::Pass
        });
        if !is_for_reports || !is_signed || raw.len() > feedback::limits::MESSAGE_BYTES_MAX {
            return;
        }
        let raw = raw.clone();
        // Unpacked it is larger than it came.
        let bytes = raw.len().saturating_mul(EXPANSION);
        let work = move || heard::read(&raw[trace_bytes..]);
        let figures = self.host.work(bytes, work).await;
        if figures.is_empty() {
            return;
        }
        let today = reports::Day::of(self.host.unix_seconds().max(0) as u64);
        let additions = figures.into_iter().map(|one| addition(one, today));
        if !reporting.tallies.hear(additions.collect()) {
            tracing::info!("a report of others is not counted: too many came at once");
        }
    }
}

/// `postmaster@` any domain of ours: what `domain dns` prints.
fn is_address(recipient: &Recipient<Route>) -> bool {
    match &recipient.path {
        ForwardPath::Postmaster => true,
        ForwardPath::Address(address) => address.local().eq_ignore_ascii_case("postmaster"),
    }
}

fn addition(figures: Figures, today: reports::Day) -> reports::Addition {
    let subject = match figures.kind {
        heard::Kind::Dmarc => DMARC_HEARD,
        heard::Kind::Tls => TLS_HEARD,
    };
    let kept = KEPT_DAYS.iter().find(|(of, _)| *of == subject);
    let first = today.0.saturating_sub(kept.map_or(0, |(_, days)| *days));
    let day = reports::Day::of(figures.begin).0.clamp(first, today.0);
    let lines = figures.lines.into_iter();
    reports::Addition {
        key: reports::Key {
            subject,
            day: reports::Day(day),
            name: figures.domain,
        },
        head: Vec::new(),
        once: Some(format!("={}", figures.mark).into_bytes()),
        lines: lines
            .map(|(line, count)| (line.into_bytes(), count))
            .collect(),
        other: figures.other,
    }
}

fn head(published: &Published) -> dmarc::Published {
    let word = |policy: Option<Policy>| policy.map_or(String::new(), |one| one.word().to_owned());
    dmarc::Published {
        policy: published.policy.word().to_owned(),
        subdomains: word(published.subdomains),
        absent: word(published.absent),
        strict_dkim: published.strict_dkim,
        strict_spf: published.strict_spf,
        testing: published.testing,
        failure_options: published.failure_options.clone(),
        destinations: published.aggregate_to.clone(),
    }
}

fn row(checked: &Checked, published: &Published, peer: IpAddr) -> Row {
    let Verdict {
        spf,
        signatures,
        dmarc,
    } = &checked.verdict;
    let has_failed = dmarc.found.outcome == Outcome::Fail;
    let disposition = match (dmarc.disposition, checked.is_enforced) {
        _ if !has_failed && dmarc.policy == Policy::None => "none",
        _ if dmarc.found.outcome == Outcome::Pass => "pass",
        (Disposition::Deliver, _) | (_, false) => "none",
        (Disposition::Quarantine, true) => "quarantine",
        (Disposition::Reject, true) => "reject",
    };
    // RFC 9990 §3.1.6: why less was done than was asked for.
    let reason = match dmarc.found.outcome {
        Outcome::Pass => "",
        _ if disposition == dmarc.policy.word() => "",
        Outcome::Fail if !checked.is_enforced => "local_policy",
        Outcome::Fail if published.testing => "policy_test_mode",
        _ => "other",
    };
    let mut dkim: Vec<&auth::Signature> = signatures.dkim.iter().collect();
    // Those of the author's domain come first already; among all, those that pass.
    dkim.sort_by_key(|one| one.found.outcome != Outcome::Pass);
    let signed = dkim.into_iter().filter(|one| !one.domain.is_empty());
    Row {
        source: peer.to_canonical(),
        disposition: disposition.to_owned(),
        dkim_aligned: dmarc.dkim_aligned,
        spf_aligned: dmarc.spf_aligned,
        reason: reason.to_owned(),
        header_from: dmarc.domain.clone(),
        envelope_from: match checked.mail_from.rsplit_once('@') {
            Some((_, domain)) => domain.to_lowercase(),
            None => String::new(),
        },
        spf_domain: spf.domain.clone(),
        spf_result: match spf.found.outcome {
            Outcome::Policy => Outcome::PermError.word(),
            outcome => outcome.word(),
        }
        .to_owned(),
        signatures: signed
            .take(feedback::limits::SIGNATURES_MAX)
            .map(|one| dmarc::Signature {
                domain: one.domain.clone(),
                selector: one.selector.clone(),
                result: match one.found.outcome {
                    Outcome::SoftFail => Outcome::Fail.word(),
                    outcome => outcome.word(),
                }
                .to_owned(),
            })
            .collect(),
    }
}

/// RFC 9989 §4.7, `fo=`: `0`, nothing speaks for the domain; `1`, something does not. RFC 9991 §2: to a public suffix none is reported.
fn wants_failure(published: &Published, dmarc: &auth::Dmarc) -> bool {
    let has = |option: &str| {
        published
            .failure_options
            .split(':')
            .any(|one| one.trim() == option)
    };
    let is_partial = !dmarc.dkim_aligned || !dmarc.spf_aligned;
    let wants = match dmarc.found.outcome {
        Outcome::Fail => has("0") || has("1"),
        Outcome::Pass => has("1") && is_partial,
        _ => false,
    };
    wants && !published.failures_to.is_empty() && !published.is_public_suffix
}

fn failure(
    checked: &Checked,
    published: &Published,
    row: &Row,
    unix_seconds: u64,
    header: &[u8],
) -> Failure {
    let Verdict {
        spf, signatures, ..
    } = &checked.verdict;
    let mut unaligned = Vec::new();
    if !row.dkim_aligned {
        unaligned.push("dkim");
    }
    if !row.spf_aligned {
        unaligned.push("spf");
    }
    let is_theirs = |domain: &str| domain == published.domain || domain == row.header_from;
    let mut failed = signatures.dkim.iter();
    let failed = failed.find(|one| is_theirs(&one.domain) && one.found.outcome != Outcome::Pass);
    let spf_failed = spf.found.outcome != Outcome::Pass && is_theirs(&spf.domain);
    Failure {
        domain: published.domain.clone(),
        header_from: row.header_from.clone(),
        envelope_from: checked.mail_from.clone(),
        source: row.source,
        arrived: unix_seconds,
        results: checked.results.clone(),
        unaligned,
        disposition: match &row.disposition[..] {
            "reject" => "reject",
            "quarantine" => "quarantine",
            _ => "none",
        },
        signature: failed.map(|one| (one.domain.clone(), one.selector.clone())),
        spf_domain: spf_failed.then(|| spf.domain.clone()),
        header: header[..header.len().min(feedback::limits::HEADER_BYTES_MAX)].to_vec(),
    }
}

/// The host on which a receiver runs is asked for work of so many times the message's bytes.
const EXPANSION: usize = 8;
/// Failures that wait at a time, some 18 KiB each.
const WAITING_MAX: usize = 16;
/// Domains whose failures are counted in one hour.
const DOMAINS_MAX: usize = 256;

/// The field without its name.
pub(super) fn results_of(
    verdict: &Verdict,
    hostname: &str,
    envelope: &auth::Envelope<'_>,
) -> String {
    let field = verdict.field(hostname, envelope);
    field
        .split_once(": ")
        .map_or(String::new(), |(_, rest)| rest.trim().to_owned())
}
