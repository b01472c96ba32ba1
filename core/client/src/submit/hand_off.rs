//! A complete message into mailboxes here and the queue, in one durable step.
//!
//! What must hold: it is taken for every recipient or for none. A mailbox here that has become full since RCPT is not a reason to refuse: that
//! copy waits in the queue, which reports when it is given up.

use std::collections::HashSet;

use bytes::Bytes;
use inbound::receive::leaving::{addressee, copy, envelope as queued};
use inbound::receive::{Digest, refusal_for};
use mail::InternalDate;
use mailbox::AccountId;
use queue::{Addressee, QueueId};
use smtp::{ForwardPath, Refusal};
use storage::outgoing::{Local, Submission};
use storage::owner::Ask;
use store::BodyIn;
use tracing::Instrument;

use super::Submitter;
use super::recipient::Route;

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
            junk: Vec::new(),
            elsewhere: queued(envelope, elsewhere(envelope), unix_seconds, raw),
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
        if let Route::Here(account, address) = &recipient.route
            && seen.insert(*account)
        {
            copies.push(copy(*account, addressee(recipient, address)));
        }
    }
    copies
}

/// What must leave, or leads on.
fn elsewhere(envelope: &smtp::Envelope<Route>) -> Vec<Addressee> {
    let each = envelope.recipients.iter();
    let path = |recipient: &smtp::Recipient<Route>| match (&recipient.route, &recipient.path) {
        (Route::Listed(address), _) => Some(addressee(recipient, address)),
        (Route::Elsewhere, ForwardPath::Address(address)) => Some(addressee(recipient, address)),
        _ => None,
    };
    each.filter_map(path).collect()
}
