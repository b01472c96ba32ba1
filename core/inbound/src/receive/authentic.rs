//! Stage 3, the end of mail data from a stranger: did the domain in From write this, and what does it ask for if it did not?
//!
//! `core/auth` evaluates; here its steps meet the core: work over many bytes and with public keys runs beside it, look-ups wait on it. What
//! must hold:
//!
//! - What is unknown refuses nothing: without answers in time mail is delivered, and its field says so.
//! - Whatever is checked, no stranger's field that claims to be ours is delivered.
//! - The fields in front are paid for as the content is.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use auth::{Ask, Disposition, Envelope, Keys, Outcome, Prepared, Spf, Verdict};
use dns::Names;
use runtime::SessionHost;
use scan::{Edit, change};
use smtp::{Refusal, ReversePath, Role};
use spam::Proof;
use storage::quarantine::Why;

use super::content::Incoming;
use super::inspect::Inspection;
use super::reported::{Checked, results_of};
use super::{Counters, Settings};

/// How mail of strangers is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// What the author's domain asks for is done.
    Enforce,
    /// It is checked and written into the message, and nothing else.
    Report,
}

/// Authenticates messages; one for each core. `check` is not generic, so that a receiver is not.
pub trait Authenticate {
    /// `content`, whose first `trace_bytes` bytes are ours, comes back as it was.
    fn check<'a>(
        &'a self,
        host: &'a SessionHost,
        envelope: Envelope<'a>,
        content: Vec<u8>,
        trace_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = (Vec<u8>, Verdict)> + 'a>>;

    fn enforcement(&self) -> Enforcement;
}

/// With `names` for look-ups.
pub struct Authenticator<N> {
    pub names: N,
    pub enforcement: Enforcement,
}

/// What a core's receivers found, by method and outcome. Written by that core; any thread may read them.
#[derive(Debug, Default)]
pub struct Results {
    /// In the order of `METHODS` and `auth::Outcome::ALL`.
    found: [[AtomicU64; Outcome::ALL.len()]; METHODS.len()],
    /// Messages refused because their author's domain asks for it.
    pub rejected: AtomicU64,
    /// Messages delivered with a mark because it asks for quarantine.
    pub quarantined: AtomicU64,
}

/// What is counted: of several signatures of DKIM the best.
pub const METHODS: [&str; 4] = ["spf", "dkim", "arc", "dmarc"];

/// What goes in front of a message, and whether it is refused.
pub(super) struct Front {
    fields: Vec<u8>,
    /// Whose name is removed from the fields of others; `None`: they are not looked at.
    ours: Option<String>,
    /// Of fields of others.
    edits: Vec<Edit>,
    pub(super) refusal: Option<Refusal>,
    /// What is known of the author.
    pub(super) author: spam::Author,
    /// The domain of its author, or a scanner, wants it kept apart from other mail.
    pub(super) is_apart: bool,
    /// Why it belongs into the quarantine, where there is one for that; the gravest reason first.
    pub(super) apart: Vec<(Why, String)>,
    /// What was found, for reports; `None`: it was not checked.
    pub(super) checked: Option<Box<Checked>>,
}

impl<N: Names> Authenticate for Authenticator<N> {
    fn check<'a>(
        &'a self,
        host: &'a SessionHost,
        envelope: Envelope<'a>,
        content: Vec<u8>,
        trace_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = (Vec<u8>, Verdict)> + 'a>> {
        Box::pin(async move {
            let now_us = || host.now().0;
            // Its zones are a stranger's: slow ones take its own share of the look-ups.
            let names = self.names.on_behalf_of(envelope.client);
            let ask = Ask::new(&names, &now_us);
            let (bytes, unix_seconds) = (content.len(), host.unix_seconds());
            let read = move || {
                let prepared = Prepared::of(&content[trace_bytes..], unix_seconds.max(0) as u64);
                (content, prepared)
            };
            let ((content, prepared), spf) =
                tokio::join!(host.work(bytes, read), Spf::check(&ask, &envelope));
            let keys = Keys::look_up(&ask, &prepared).await;
            let work_bytes = prepared.work_bytes();
            let verify = move || prepared.verify(&keys);
            let signatures = host.work(work_bytes, verify).await;
            let dmarc = auth::Dmarc::evaluate(&ask, &signatures, &spf).await;
            let verdict = Verdict {
                spf,
                signatures,
                dmarc,
            };
            (content, verdict)
        })
    }

    fn enforcement(&self) -> Enforcement {
        self.enforcement
    }
}

impl Results {
    fn note(&self, verdict: &Verdict) {
        for (counters, outcome) in self.found.iter().zip(outcomes(verdict)) {
            let at = Outcome::ALL.iter().position(|one| *one == outcome);
            let at = at.expect("every outcome is in the list");
            counters[at].fetch_add(1, Relaxed);
        }
    }

    /// Method, outcome and messages, for each of them.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        METHODS.iter().zip(&self.found).flat_map(|(method, row)| {
            let row = Outcome::ALL.iter().zip(row);
            row.map(|(outcome, count)| (*method, outcome.word(), count.load(Relaxed)))
        })
    }
}

/// In the order of `METHODS`; of several signatures of DKIM the best.
fn outcomes(verdict: &Verdict) -> [Outcome; METHODS.len()] {
    let signatures = verdict.signatures.dkim.iter().map(|one| one.found.outcome);
    let passed = signatures.clone().find(|outcome| *outcome == Outcome::Pass);
    let dkim = passed.or_else(|| signatures.clone().next());
    [
        verdict.spf.found.outcome,
        dkim.unwrap_or(Outcome::None),
        verdict.signatures.arc.found.outcome,
        verdict.dmarc.found.outcome,
    ]
}

/// What counts for the judge. An error is not known, and so is what a domain does not want to say.
fn proof(outcome: Outcome) -> Proof {
    match outcome {
        Outcome::Pass => Proof::Pass,
        Outcome::Fail => Proof::Fail,
        Outcome::SoftFail => Proof::SoftFail,
        Outcome::None => Proof::Absent,
        Outcome::Neutral | Outcome::Policy | Outcome::TempError | Outcome::PermError => {
            Proof::Unknown
        }
    }
}

/// Checks `content` where `settings` and `authenticate` want it, and pays for what goes in front.
pub(super) async fn front(
    host: &SessionHost,
    settings: &Settings,
    authenticate: Option<&dyn Authenticate>,
    counters: &Counters,
    sender: (std::net::IpAddr, &str, &ReversePath),
    content: Vec<u8>,
    incoming: &mut Incoming,
) -> (Vec<u8>, Front) {
    let mut front = Front {
        fields: Vec::new(),
        ours: None,
        edits: Vec::new(),
        refusal: None,
        author: spam::Author::default(),
        is_apart: false,
        apart: Vec::new(),
        checked: None,
    };
    // A mail server of the operator's own is in front of LMTP: it has checked, and its fields may have our name.
    // So has another zone of ours.
    if settings.smtp.role == Role::Lmtp || incoming.mark.is_some() {
        return (content, front);
    }
    let ours = &settings.smtp.hostname;
    front.ours = Some(ours.clone());
    let Some(authenticate) = authenticate else {
        return (content, front);
    };
    let (client, helo, path) = sender;
    let mail_from = match path {
        ReversePath::Null => String::new(),
        ReversePath::Address(address) => format!("{}@{}", address.local(), address.domain()),
    };
    let envelope = Envelope {
        client,
        helo,
        mail_from: &mail_from,
    };
    let checked = authenticate.check(host, envelope, content, incoming.trace_bytes);
    let (content, verdict) = checked.await;
    counters.results.note(&verdict);
    let dmarc = &verdict.dmarc;
    tracing::info!(
        id = incoming.id,
        spf = verdict.spf.found.outcome.word(),
        dkim = verdict.signatures.dkim.len(),
        dmarc = dmarc.found.outcome.word(),
        domain = dmarc.domain,
        "authenticated"
    );
    front.fields = verdict.field(ours, &envelope).into_bytes();
    let [spf, dkim, _, dmarc_found] = outcomes(&verdict).map(proof);
    front.author = spam::Author {
        spf,
        dkim,
        dmarc: dmarc_found,
    };
    match (authenticate.enforcement(), dmarc.disposition) {
        (Enforcement::Report, _) | (_, Disposition::Deliver) => {}
        (Enforcement::Enforce, Disposition::Quarantine) => {
            counters.results.quarantined.fetch_add(1, Relaxed);
            front.is_apart = true;
            let from = format!("header.from={}", dmarc.domain);
            front.apart.push((Why::Dmarc, from));
            let mark = format!("{MARK}: dmarc; header.from={}\r\n", dmarc.domain);
            front.fields.extend_from_slice(mark.as_bytes());
        }
        (Enforcement::Enforce, Disposition::Reject) => {
            counters.results.rejected.fetch_add(1, Relaxed);
            front.refusal = Some(Refusal::NotAuthentic);
        }
    }
    if front.refusal.is_none() && !incoming.may_grow(front.fields.len()) {
        front.refusal = Some(Refusal::StorageFull);
    }
    let results = results_of(&verdict, ours, &envelope);
    front.checked = Some(Box::new(Checked {
        verdict,
        is_enforced: authenticate.enforcement() == Enforcement::Enforce,
        mail_from,
        results,
    }));
    (content, front)
}

impl Front {
    /// Adds what scanners found, and pays for it. Answers the words behind a refusal.
    pub(super) fn take(&mut self, inspection: Inspection, incoming: &mut Incoming) -> String {
        let Inspection {
            refusal,
            detail,
            junk,
            virus,
            quarantine,
            fields,
            edits,
        } = inspection;
        self.refusal = refusal;
        if refusal.is_some() {
            return detail;
        }
        let before = self.fields.len();
        if let Some(reason) = &quarantine {
            let mark = format!("{MARK}: scan; {reason}\r\n");
            self.fields.extend_from_slice(mark.as_bytes());
        }
        if let Some(name) = &virus {
            let mark = format!("{MARK}: virus; {}\r\n", scan::text::word(name));
            self.fields.extend_from_slice(mark.as_bytes());
        }
        self.fields.extend_from_slice(&fields);
        self.is_apart |= junk || virus.is_some() || quarantine.is_some();
        let virus = virus.map(|name| (Why::Virus, name));
        let scanner = quarantine.map(|reason| (Why::Scanner, reason));
        self.apart.splice(0..0, virus);
        self.apart.extend(scanner);
        let more = self.fields.len() - before + change::growth(&edits);
        self.edits = edits;
        if !incoming.may_grow(more) {
            self.refusal = Some(Refusal::StorageFull);
        }
        String::new()
    }

    /// A field of ours more, behind those that are there. Its bytes are paid for.
    pub(super) fn add(&mut self, field: &str) {
        self.fields.extend_from_slice(field.as_bytes());
    }

    /// Whether filters change the header.
    pub(super) fn is_edited(&self) -> bool {
        !self.edits.is_empty()
    }

    /// Takes out the fields of others that claim to be ours, once; after that scanners may see the message.
    pub(super) async fn unforge(
        &mut self,
        host: &SessionHost,
        mut content: Vec<u8>,
        trace_bytes: usize,
    ) -> Vec<u8> {
        let (ours, bytes) = (self.ours.take(), content.len());
        let remove = move || {
            Front::remove_forged(ours, &mut content, trace_bytes);
            content
        };
        host.work(bytes, remove).await
    }

    fn remove_forged(ours: Option<String>, content: &mut Vec<u8>, trace_bytes: usize) {
        if let Some(ours) = &ours {
            let theirs = &content[trace_bytes..];
            let mut forged = auth::header::forged(theirs, ours);
            for field in &mut forged {
                *field = field.start + trace_bytes..field.end + trace_bytes;
            }
            auth::header::remove(content, &forged);
        }
    }

    /// Puts the fields in front of `content`, and `lines` in front of them; takes out those of others that claim to be ours. Answers the bytes
    /// that are ours then, without `lines`.
    pub(super) fn put(self, content: &mut Vec<u8>, trace_bytes: usize, lines: &[u8]) -> usize {
        Front::remove_forged(self.ours, content, trace_bytes);
        content.reserve_exact(lines.len() + self.fields.len() + change::growth(&self.edits));
        change::apply(content, trace_bytes, self.edits);
        content.splice(0..0, lines.iter().chain(&self.fields).copied());
        trace_bytes + self.fields.len()
    }
}

/// Of the field that says why a message is to be kept apart (`auth::header::MARK`).
const MARK: &str = "X-Ringpost-Quarantine";
