//! Stage 3, the end of mail data: what scanners find in a message, and what that means for it.
//!
//! `core/scan` asks; here its answers become one `Inspection`. What must hold:
//!
//! - Spam is *fail open*: without a verdict of rspamd a message is taken, and its field says `unscanned`. Whether mail is taken without a
//!   verdict about viruses, or of a filter, is a setting (`Policy::defers`, `scan::Filter::defers`); a deferred one is answered 451 4.7.1.
//! - A verdict that a message is bad counts, whatever became of the others.
//! - Nothing that was taken is thrown away: what a filter wants to discard goes to junk.
//! - The message is not copied; the fields in front are paid for as the content is.

use std::net::IpAddr;
use std::pin::Pin;

use bytes::Bytes;
use runtime::{Dial, SessionHost};
use scan::field::Field;
use scan::milter::Decision;
use scan::{
    Edit, Fault, Filtered, Known, Outcome, Scanner, Scanners, change, clamd, known, rspamd, text,
};
use smtp::{Envelope, ForwardPath, Refusal, ReversePath};
use storage::holder;

use super::content::Incoming;
use super::route::Route;

/// Looks into messages; one for each core. `inspect` is not generic, so that a receiver is not.
pub trait Inspect {
    /// `content` begins with `trace_bytes` of ours. No copy of it is left when the answer is there.
    fn inspect<'a>(
        &'a self,
        host: &'a SessionHost,
        envelope: scan::Envelope<'a>,
        content: &'a Bytes,
        trace_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Inspection> + 'a>>;

    /// Whether any server is asked. Else the envelope's addresses are not wanted: to write them costs as much as the look.
    fn asks(&self) -> bool;
}

/// What a look into a message came to. Several sources of it are merged by `and`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The message is not taken.
    pub refusal: Option<Refusal>,
    /// Words behind the refusal's text.
    pub detail: String,
    /// It belongs into the junk folder.
    pub junk: bool,
    /// It has a virus of this name, and is not refused for it (`Policy::keeps_viruses`).
    pub virus: Option<String>,
    /// It is to be kept apart, and why.
    pub quarantine: Option<String>,
    /// Fields to be put in front, each with its line's end.
    pub fields: Vec<u8>,
    /// Changes of its own fields, of several filters in their order.
    pub edits: Vec<Edit>,
}

impl Inspection {
    /// A permanent refusal counts for more than a temporary one, and the first one of a kind for more than the others.
    fn refuse(&mut self, refusal: Refusal, detail: impl Into<String>) {
        let stands = match self.refusal {
            None => false,
            Some(before) => !before.is_temporary() || refusal.is_temporary(),
        };
        if !stands {
            (self.refusal, self.detail) = (Some(refusal), detail.into());
        }
    }

    /// Both together.
    pub fn and(mut self, other: Inspection) -> Inspection {
        if let Some(refusal) = other.refusal {
            self.refuse(refusal, other.detail);
        }
        self.junk |= other.junk;
        self.virus = self.virus.or(other.virus);
        self.quarantine = self.quarantine.or(other.quarantine);
        self.fields.extend_from_slice(&other.fields);
        self.edits.extend(other.edits);
        self
    }
}

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Longer messages are not scanned, and taken.
    pub bytes_max: usize,
    /// What rspamd asks to reject, and GTUBE, is refused; else it goes to junk.
    pub refuses_spam: bool,
    /// Mail is deferred while no clamd gives a verdict; else it is taken without one.
    pub defers: bool,
    /// What has a virus is kept apart; else it is refused.
    pub keeps_viruses: bool,
}

/// With `scanners`.
pub struct Inspector<D> {
    pub scanners: Scanners<D>,
    pub policy: Policy,
}

impl<D: Dial> Inspect for Inspector<D> {
    fn inspect<'a>(
        &'a self,
        host: &'a SessionHost,
        envelope: scan::Envelope<'a>,
        content: &'a Bytes,
        trace_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Inspection> + 'a>> {
        Box::pin(async move {
            let own = &content[trace_bytes..];
            if own.len() > self.policy.bytes_max {
                return self.too_large();
            }
            let whole = content.clone();
            let search = move || known::recognise(&whole[trace_bytes..]);
            let recognised = host.work(own.len(), search).await;
            let (mut inspection, mut field) = (Inspection::default(), Field::default());
            match recognised {
                // People who log in may send each other what looks like spam.
                Some(Known::Gtube) if envelope.user.is_some() => {}
                Some(known) => self.on_known(known, envelope.id, &mut inspection, &mut field),
                None => self.count(Scanner::Own, Outcome::Clean),
            }
            if inspection.refusal.is_some() {
                return inspection;
            }
            if !self.asks() {
                inspection.fields = field.text().into_bytes();
                return inspection;
            }
            // What goes to junk is looked at too: a virus may stand beside the test string. In a box of its own: where no server is asked, a
            // message does not pay for the room of three conversations.
            let found = Box::pin(self.scanners.ask(host, &envelope, own)).await;
            if let Some(answer) = found.clamd {
                self.on_clamd(answer, envelope.id, &mut inspection, &mut field);
            }
            if let Some(answer) = found.rspamd {
                self.on_rspamd(answer, envelope.id, &mut inspection, &mut field);
            }
            for (filter, answer) in self.scanners.filters.iter().zip(found.filters) {
                let of = (&filter.name[..], filter.defers);
                self.on_filter(of, answer, (&envelope, own), &mut inspection, &mut field);
            }
            inspection.fields.splice(0..0, field.text().into_bytes());
            inspection
        })
    }

    fn asks(&self) -> bool {
        let scanners = &self.scanners;
        scanners.rspamd.is_some() || scanners.clamd.is_some() || !scanners.filters.is_empty()
    }
}

impl<D: Dial> Inspector<D> {
    fn count(&self, scanner: Scanner, outcome: Outcome) {
        self.scanners.counters.note(scanner, outcome);
    }

    fn too_large(&self) -> Inspection {
        self.count(Scanner::Own, Outcome::TooLarge);
        let mut field = Field::default();
        if self.asks() {
            let words = format!("longer than {} bytes", self.policy.bytes_max);
            field.add("scan", "unscanned", &words);
        }
        Inspection {
            fields: field.text().into_bytes(),
            ..Inspection::default()
        }
    }

    fn on_known(&self, known: Known, id: &str, inspection: &mut Inspection, field: &mut Field) {
        let (refusal, name) = match known {
            Known::Eicar => (Refusal::Infected, "EICAR test file"),
            Known::Gtube => (Refusal::Spam, "GTUBE test string"),
        };
        tracing::info!(id, found = name, "recognised");
        if known == Known::Eicar && self.policy.keeps_viruses {
            self.count(Scanner::Own, Outcome::Quarantine);
            field.add("own", "quarantine", name);
            inspection.virus = Some(name.to_owned());
        } else if known == Known::Gtube && !self.policy.refuses_spam {
            self.count(Scanner::Own, Outcome::Junk);
            field.add("own", "junk", name);
            inspection.junk = true;
        } else {
            self.count(Scanner::Own, Outcome::Refused);
            inspection.refuse(refusal, name);
        }
    }

    /// No verdict: the message is deferred or taken.
    fn on_fault(
        &self,
        scanner: Scanner,
        (name, defers): (&str, bool),
        fault: &Fault,
        inspection: &mut Inspection,
        field: &mut Field,
    ) {
        self.count(scanner, Outcome::Unscanned);
        tracing::debug!(name, %fault, "not scanned");
        // While we stop nothing is known of the scanner, and the client comes again soon.
        match fault {
            // It would be so the next time: to defer it would only delay it.
            Fault::HeaderTooLong if defers => {
                inspection.refuse(Refusal::Filtered, fault.to_string());
            }
            _ if defers || fault.is_stop() => inspection.refuse(Refusal::Unscanned, ""),
            _ => {}
        }
        field.add(name, "unscanned", &text::word(&fault.to_string()));
    }

    fn on_clamd(
        &self,
        answer: Result<clamd::Answer, Fault>,
        id: &str,
        inspection: &mut Inspection,
        field: &mut Field,
    ) {
        const NAME: &str = "clamd";
        let outcome = match answer {
            Ok(clamd::Answer::Clean) => {
                field.add(NAME, "clean", "");
                Outcome::Clean
            }
            Ok(clamd::Answer::Infected(name)) => {
                tracing::info!(id, virus = name, "infected");
                if self.policy.keeps_viruses {
                    field.add(NAME, "quarantine", &text::word(&name));
                    inspection.virus.get_or_insert(name);
                    Outcome::Quarantine
                } else {
                    inspection.refuse(Refusal::Infected, name);
                    Outcome::Refused
                }
            }
            // It would be so the next time: to defer it would only delay it.
            Ok(clamd::Answer::TooLarge) => {
                field.add(NAME, "unscanned", "longer than clamd takes");
                Outcome::TooLarge
            }
            Err(fault) => {
                let of = (NAME, self.policy.defers);
                return self.on_fault(Scanner::Clamd, of, &fault, inspection, field);
            }
        };
        self.count(Scanner::Clamd, outcome);
    }

    fn on_rspamd(
        &self,
        answer: Result<rspamd::Answer, Fault>,
        id: &str,
        inspection: &mut Inspection,
        field: &mut Field,
    ) {
        const NAME: &str = "rspamd";
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => {
                let of = (NAME, false);
                return self.on_fault(Scanner::Rspamd, of, &fault, inspection, field);
            }
        };
        let words = answer.words();
        tracing::info!(id, action = ?answer.action, score = answer.score, "rspamd");
        let said = answer.message.unwrap_or_default();
        let (result, outcome) = match answer.action {
            rspamd::Action::Refuse if self.policy.refuses_spam => {
                inspection.refuse(Refusal::Spam, said);
                ("refused", Outcome::Refused)
            }
            rspamd::Action::Defer => {
                inspection.refuse(Refusal::FilterDefers, said);
                ("deferred", Outcome::Deferred)
            }
            rspamd::Action::Refuse | rspamd::Action::Mark => {
                inspection.junk = true;
                ("junk", Outcome::Junk)
            }
            rspamd::Action::Quarantine => {
                inspection.quarantine = Some(NAME.to_owned());
                ("quarantine", Outcome::Quarantine)
            }
            rspamd::Action::Accept => ("clean", Outcome::Clean),
        };
        field.add(NAME, result, &words);
        inspection.fields.extend_from_slice(&answer.fields);
        self.count(Scanner::Rspamd, outcome);
    }

    fn on_filter(
        &self,
        (name, defers): (&str, bool),
        answer: Result<Filtered, Fault>,
        (envelope, own): (&scan::Envelope<'_>, &[u8]),
        inspection: &mut Inspection,
        field: &mut Field,
    ) {
        let filtered = match answer {
            Ok(filtered) => filtered,
            Err(fault) => {
                let of = (name, defers);
                return self.on_fault(Scanner::Milter, of, &fault, inspection, field);
            }
        };
        tracing::info!(id = envelope.id, filter = name, decision = ?filtered.decision, "filtered");
        let (result, outcome) = match filtered.decision {
            Decision::Reject => {
                inspection.refuse(Refusal::Filtered, "");
                ("refused", Outcome::Refused)
            }
            Decision::Reply(500.., words) => {
                inspection.refuse(Refusal::Filtered, words);
                ("refused", Outcome::Refused)
            }
            Decision::TempFail => {
                inspection.refuse(Refusal::FilterDefers, "");
                ("deferred", Outcome::Deferred)
            }
            Decision::Reply(_, words) => {
                inspection.refuse(Refusal::FilterDefers, words);
                ("deferred", Outcome::Deferred)
            }
            Decision::Discard => {
                inspection.junk = true;
                ("junk", Outcome::Junk)
            }
            Decision::Continue | Decision::Accept | Decision::Skip => match filtered.quarantine {
                Some(reason) => {
                    let first = inspection.quarantine.take();
                    inspection.quarantine = first.or(Some(format!("{name}; {reason}")));
                    ("quarantine", Outcome::Quarantine)
                }
                None => ("clean", Outcome::Clean),
            },
        };
        field.add(name, result, "");
        inspection.fields.extend_from_slice(&filtered.fields);
        let edits = change::edits(own, filtered.changes);
        inspection.edits.extend(edits);
        self.count(Scanner::Milter, outcome);
    }
}

/// Inspects `content`, which comes back as it was. Where no server is asked the envelope has no addresses.
pub(super) async fn look(
    host: &SessionHost,
    inspect: &dyn Inspect,
    (hostname, client, helo): (&str, IpAddr, &str),
    envelope: &Envelope<Route>,
    content: Vec<u8>,
    incoming: &Incoming,
) -> (Vec<u8>, Inspection) {
    let (mut recipients, mut mail_from) = (Vec::new(), String::new());
    if inspect.asks() {
        let paths = envelope.recipients.iter().map(|recipient| &recipient.path);
        recipients = paths.map(path).collect();
        if let ReversePath::Address(address) = &envelope.reverse_path {
            mail_from = address.to_path();
        }
    }
    let envelope = scan::Envelope {
        holder: holder::of_peer(client),
        client,
        helo,
        hostname,
        mail_from: &mail_from,
        recipients: &recipients,
        id: &incoming.id,
        user: None,
    };
    let content = Bytes::from(content);
    let inspected = inspect.inspect(host, envelope, &content, incoming.trace_bytes);
    let inspection = inspected.await;
    // No copy is left: this is the buffer that came in.
    (Vec::from(content), inspection)
}

/// Without its brackets.
pub fn path(path: &ForwardPath) -> String {
    match path {
        ForwardPath::Postmaster => "postmaster".to_owned(),
        ForwardPath::Address(address) => address.to_path(),
    }
}
