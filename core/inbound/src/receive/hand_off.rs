//! Stage 4, after the verdict: the message is handed to the keeper, once for each account, and its results become the recipients' outcomes.
//!
//! What must hold: an outcome is `Ok` only for an account in which the message is durable; a busy or faulty keeper is a
//! temporary refusal; only what the keeper itself refuses (no such account, too large) is permanent.
//!
//! # Some recipients could be served and some not
//!
//! LMTP says so for each. SMTP has one answer for all: 250 would lose mail, and 451 alone would deliver twice to those who were served. So
//! the answer is 451, what was placed is remembered (`placed`), and the sender's next try places only the rest. What is forgotten (a
//! restart, a full table, five days) costs a second copy, never a lost message. The common case, a full mailbox, is refused at RCPT
//! already. A report (DSN) to the sender would be the other way; it needs the outbound queue, which is not there yet.

use std::collections::HashSet;

use bytes::Bytes;
use mail::{Address, InternalDate};
use mailbox::{AccountId, MailboxFault};
use smtp::{Envelope, ForwardPath, Recipient, Refusal, Role};
use storage::arrival::{Arrival, Posted, Refusing};
use storage::outgoing::Submission;
use store::BodyIn;

use super::content::Incoming;
use super::keeper::refusal_for;
use super::leaving::{addressee, copy, envelope as queued};
use super::route::{self, Route};
use super::verdict::Digest;
use super::{Keeper, Receiver, Settings};

impl<K: Keeper> Receiver<K> {
    /// Makes the message durable in a mailbox of each recipient's account; one outcome for each recipient. For SMTP, which has one answer
    /// for all, what was placed is remembered when that answer will not be 250.
    pub(super) async fn hand_off(
        &self,
        settings: &Settings,
        (raw, incoming): (&Bytes, &Incoming),
        digest: Digest,
        envelope: &Envelope<Route>,
        detail: &mut String,
        span: &tracing::Span,
    ) -> Vec<Result<(), Refusal>> {
        let recipients = &envelope.recipients[..];
        if let Some(mark) = incoming.mark {
            let body = BodyIn {
                name: digest.name,
                raw: raw.clone(),
                summary: digest.summary,
            };
            let role = settings.smtp.role;
            return self
                .take_over(role, mark, body, incoming.unix_seconds, envelope, span)
                .await;
        }
        if recipients
            .iter()
            .any(|recipient| recipient.route.is_listed())
        {
            let outcome = self.submit(raw, incoming, digest, envelope, span).await;
            return vec![outcome; recipients.len()];
        }
        let one_answer = settings.smtp.role == Role::Smtp;
        let mut wanted = route::accounts(recipients);
        let content = &raw[incoming.trace_bytes..];
        let earlier = if one_answer {
            self.placed.recall(content, &wanted, self.host.now())
        } else {
            Vec::new()
        };
        wanted.retain(|account| !earlier.contains(account));

        let body = BodyIn {
            name: digest.name,
            raw: raw.clone(),
            summary: digest.summary,
        };
        let arrival = Arrival {
            body,
            internal_date: InternalDate::utc(incoming.unix_seconds),
            accounts: wanted.clone(),
            junk: incoming.judged.accounts.clone(),
            posted: posted(
                envelope,
                &wanted,
                match one_answer {
                    false => Refusing::Each,
                    true if earlier.is_empty() => Refusing::Together,
                    // Some of them have it.
                    true => Refusing::Report,
                },
            ),
        };
        let on_behalf = |accounts: &[AccountId]| {
            let recipients = recipients.iter();
            let theirs = recipients.filter_map(|recipient| match &recipient.route {
                Route::Local { account, to } if accounts.contains(account) => {
                    Some(addressee(recipient, named(recipient, to)))
                }
                _ => None,
            });
            let mut waits = queued(envelope, theirs.collect(), incoming.unix_seconds, raw);
            // An envelope has one mark: what one of them wants to see in INBOX is there for all.
            let junk = &incoming.judged.accounts;
            waits.terms.is_junk = accounts.iter().all(|account| junk.contains(account));
            waits
        };
        let results: Vec<Result<(), Refusal>> = if wanted.is_empty() {
            Vec::new()
        } else {
            match self.keeper.deliver(arrival, &on_behalf, span).await {
                Ok(results) => {
                    assert_eq!(results.len(), wanted.len(), "one result for each recipient");
                    explain(&results, detail);
                    results
                        .into_iter()
                        .map(|result| result.map_err(|fault| refusal_for(&fault)))
                        .collect()
                }
                Err(_busy) => vec![Err(Refusal::Busy); wanted.len()],
            }
        };

        let failed = results.iter().any(Result::is_err);
        if one_answer && failed {
            let of = |served: bool| -> Vec<AccountId> {
                let results = wanted.iter().zip(&results);
                let chosen = results.filter(|(_, result)| result.is_ok() == served);
                chosen.map(|(account, _)| *account).collect()
            };
            let (placed, missing) = (of(true), of(false));
            self.placed
                .remember(content, &placed, &missing, self.host.now());
        } else if one_answer {
            self.placed.settle(content, &wanted);
        }
        route::outcomes(recipients, &wanted, &results)
    }

    /// Where an address leads on: copies for accounts and an entry in the queue for the rest, in one durable step. It is taken for every
    /// recipient or for none, so that the next try doubles nothing. A mailbox without room is served from the queue.
    async fn submit(
        &self,
        raw: &Bytes,
        incoming: &Incoming,
        digest: Digest,
        envelope: &Envelope<Route>,
        span: &tracing::Span,
    ) -> Result<(), Refusal> {
        let (mut here, mut listed, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for recipient in &envelope.recipients {
            match &recipient.route {
                Route::Local { account, .. } if !seen.insert(*account) => {}
                Route::Local { account, to } => {
                    let to = named(recipient, to);
                    here.push(copy(*account, addressee(recipient, to)));
                }
                Route::Listed { to } => listed.push(addressee(recipient, to)),
            }
        }
        let body = BodyIn {
            name: digest.name,
            raw: raw.clone(),
            summary: digest.summary,
        };
        let mut elsewhere = queued(envelope, listed, incoming.unix_seconds, raw);
        elsewhere.terms.is_junk = incoming.judged.is_junk;
        let submission = Submission {
            body,
            internal_date: InternalDate::utc(incoming.unix_seconds),
            here,
            junk: incoming.judged.accounts.clone(),
            elsewhere,
        };
        match self.keeper.submit(submission, span).await {
            Ok(result) => result.map_err(|fault| refusal_for(&fault)),
            Err(_busy) => Err(Refusal::Busy),
        }
    }
}

/// Who sent the message to `accounts`, for their scripts.
pub(super) fn posted(
    envelope: &Envelope<Route>,
    accounts: &[AccountId],
    refusing: Refusing,
) -> Posted {
    // The first address of each account; what is asked of the content is asked where it matters.
    let of = |account: &AccountId| {
        let mut recipients = envelope.recipients.iter();
        recipients.find_map(|recipient| match &recipient.route {
            Route::Local { account: own, to } if own == account => {
                Some(addressee(recipient, named(recipient, to)))
            }
            _ => None,
        })
    };
    let queued = queued(envelope, Vec::new(), 0, &[]);
    Posted {
        from: queued.from,
        to: accounts.iter().filter_map(of).collect(),
        terms: queued.terms,
        refusing,
    }
}

/// The words of a script stand behind the refusal, if they are those of all that refuse.
fn explain(results: &[Result<(), MailboxFault>], detail: &mut String) {
    let mut faults = results.iter().filter_map(|result| result.as_ref().err());
    if let (Some(MailboxFault::Rejected(reason)), None) = (faults.next(), faults.next()) {
        let printable = reason.chars().map(|each| match each {
            ' '..='~' => each,
            '\r' | '\n' | '\t' => ' ',
            _ => '?',
        });
        *detail = printable.take(REASON_SAID_MAX).collect();
    }
}

/// Letters of a script's reason in a reply: with the text in front they fit a line (RFC 5321 §4.5.3.1.5).
const REASON_SAID_MAX: usize = 200;

/// The address that a copy of ours stands for.
pub(super) fn named<'r>(recipient: &'r Recipient<Route>, to: &'r Option<Address>) -> &'r Address {
    let named = match &recipient.path {
        ForwardPath::Address(address) => Some(address),
        ForwardPath::Postmaster => None,
    };
    let to = to.as_ref().or(named);
    to.expect("<Postmaster> is found under another address")
}
