//! A complete message into mailboxes here and the queue, in one durable step.
//!
//! What must hold: it is taken for every recipient or for none. A mailbox here that has become full since RCPT is not a reason to refuse: that
//! copy waits in the queue, which reports when it is given up.

use std::collections::HashSet;

use bytes::Bytes;
use inbound::receive::{Digest, refusal_for};
use mail::{Flags, InternalDate};
use mailbox::{AccountId, Recipient};
use queue::{Addressee, Envelope, Notify, QueueId, Returned, Terms, UnixSeconds};
use smtp::{Body, ForwardPath, Refusal};
use storage::outgoing::{Local, Submission};
use storage::owner::Ask;
use store::BodyIn;
use tracing::Instrument;

use super::Submitter;
use super::recipient::Route;
use crate::relay::schedule;

impl<A: Ask> Submitter<A> {
    /// Answers the message's number in the queue, if it has one.
    pub(super) async fn hand_off(
        &self,
        raw: &Bytes,
        envelope: &smtp::Envelope<Route>,
        digest: Digest,
        unix_seconds: i64,
        span: &tracing::Span,
    ) -> Result<Option<QueueId>, Refusal> {
        let submission = Submission {
            body: BodyIn {
                name: digest.name,
                raw: raw.clone(),
                summary: digest.summary,
            },
            internal_date: InternalDate::utc(unix_seconds),
            here: here(envelope),
            elsewhere: elsewhere(
                envelope,
                UnixSeconds(unix_seconds.max(0) as u64),
                envelope.body == Some(Body::EightBitMime) || !raw.is_ascii(),
            ),
        };
        let work = span.clone();
        let submitted = self.owner.ask_outgoing(move |outgoing| {
            async move { outgoing.submit(submission).await }.instrument(work)
        });
        match submitted.await {
            Ok(submitted) => submitted.map_err(|fault| refusal_for(&fault)),
            Err(_busy) => Err(Refusal::Busy),
        }
    }
}

/// One copy for each account of this box.
fn here(envelope: &smtp::Envelope<Route>) -> Vec<Local> {
    let mut seen: HashSet<AccountId> = HashSet::new();
    let mut copies = Vec::new();
    for recipient in &envelope.recipients {
        let Route::Here(account, _) = recipient.route else {
            continue;
        };
        if !seen.insert(account) {
            continue;
        }
        copies.push(Local {
            place: Recipient {
                account,
                mailbox: "INBOX".to_owned(),
                flags: Flags::default(),
            },
            to: Some(addressee(recipient)),
        });
    }
    copies
}

/// What must leave, each address once.
fn elsewhere(envelope: &smtp::Envelope<Route>, now: UnixSeconds, is_eight_bit: bool) -> Envelope {
    let from = bare(&envelope.reverse_path.to_string());
    let mut recipients: Vec<Addressee> = Vec::new();
    for recipient in &envelope.recipients {
        if recipient.route == Route::Elsewhere {
            recipients.push(addressee(recipient));
        }
    }
    let mut seen = HashSet::new();
    recipients.retain(|recipient| seen.insert(recipient.path.clone()));
    let (warns, expires) = schedule::lifetimes(now, from.is_empty());
    Envelope {
        from,
        recipients,
        arrived: now,
        warns,
        expires,
        terms: Terms {
            returned: match envelope.returned {
                None => Returned::Unsaid,
                Some(smtp::Returned::Full) => Returned::Full,
                Some(smtp::Returned::Headers) => Returned::Headers,
            },
            envelope_id: envelope.envelope_id.clone().unwrap_or_default(),
            is_utf8: envelope.smtputf8,
            is_eight_bit,
            needs_tls: false,
        },
    }
}

/// A path without its brackets, quoted where RFC 5321 §4.1.2 wants that.
fn bare(path: &str) -> String {
    path.trim_start_matches('<')
        .trim_end_matches('>')
        .to_owned()
}

fn addressee(recipient: &smtp::Recipient<Route>) -> Addressee {
    let path = match &recipient.route {
        Route::Here(_, address) => ForwardPath::Address(address.clone()).to_string(),
        Route::Elsewhere => recipient.path.to_string(),
    };
    let notify = match recipient.notify {
        None => Notify::UNSAID,
        Some(wanted) => [
            (wanted.success, Notify::SUCCESS),
            (wanted.failure, Notify::FAILURE),
            (wanted.delay, Notify::DELAY),
        ]
        .into_iter()
        .filter(|(is_wanted, _)| *is_wanted)
        .map(|(_, word)| word)
        .reduce(Notify::and)
        .unwrap_or(Notify::NEVER),
    };
    Addressee {
        path: bare(&path),
        notify,
        original: recipient.original.clone().unwrap_or_default(),
    }
}
