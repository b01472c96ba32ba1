//! Stage 4 for a message that is kept apart: into the quarantine, with its envelope in front, in place of the mailboxes of its recipients.
//!
//! It takes the same way through the keeper as any message, to an account of its own (`storage::quarantine`), so it waits in a spool as any
//! other does. What must hold: the answer is 250 only when the message is durable there; a quarantine without room, or one that could not be
//! set up, defers; the lines in front are paid for as the content is.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use mail::InternalDate;
use mailbox::{AccountId, MailboxFault};
use queue::{Addressee, UnixSeconds};
use smtp::{Envelope, Refusal};
use storage::arrival::{Arrival, Posted};
use storage::outgoing::lifetimes;
use storage::quarantine::{self, Held, Why};
use store::BodyIn;

use super::content::Incoming;
use super::hand_off::named;
use super::keeper::refusal_for;
use super::leaving::{addressee, envelope as queued};
use super::route::Route;
use super::verdict::Digest;
use super::{Keeper, Receiver};

/// Which mail of strangers is kept apart, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    pub verdicts: Vec<Why>,
    /// `None`: it could not be set up, and what belongs into it is deferred.
    pub account: Option<AccountId>,
}

impl<K: Keeper> Receiver<K> {
    /// What goes in front of a message that is kept apart for the first of `reasons` that the operator keeps mail apart for; `None`: it goes
    /// to its recipients.
    pub(super) fn apart(
        &self,
        reasons: Vec<(Why, String)>,
        envelope: &Envelope<Route>,
        content: &[u8],
        incoming: &Incoming,
    ) -> Option<Held> {
        let quarantine = self.quarantine.as_ref()?;
        let mut reasons = reasons.into_iter();
        let (why, detail) = reasons.find(|(why, _)| quarantine.verdicts.contains(why))?;
        let recipients = envelope.recipients.iter().map(|recipient| {
            let to = match &recipient.route {
                Route::Local { to, .. } => named(recipient, to),
                Route::Listed { to } => to,
            };
            addressee(recipient, to)
        });
        // The queue's words for the same envelope: each path once.
        let queued = queued(
            envelope,
            recipients.collect(),
            incoming.unix_seconds,
            content,
        );
        Some(Held {
            why,
            detail,
            unix_seconds: queued.arrived.0,
            id: incoming.id.clone(),
            from: queued.from,
            recipients: queued.recipients,
            terms: queued.terms,
        })
    }

    /// One outcome for all recipients. `raw` begins with the lines of `held`.
    pub(super) async fn keep_apart(
        &self,
        held: &Held,
        raw: &Bytes,
        incoming: &Incoming,
        digest: Digest,
        envelope: &Envelope<Route>,
        span: &tracing::Span,
    ) -> Result<(), Refusal> {
        let account = self.quarantine.as_ref().and_then(|set| set.account);
        let account = account.ok_or(Refusal::StorageFault)?;
        let arrival = Arrival {
            body: BodyIn {
                name: digest.name,
                raw: raw.clone(),
                summary: digest.summary,
            },
            internal_date: InternalDate::utc(incoming.unix_seconds),
            accounts: vec![account],
            junk: Vec::new(),
            posted: Posted::default(),
        };
        let on_behalf = |_: &[AccountId]| {
            let to = Addressee::new(quarantine::address().to_path());
            let mut waits = queued(envelope, vec![to], incoming.unix_seconds, raw);
            // What is kept apart may have a forged sender: it gets no report.
            waits.from.clear();
            let now = UnixSeconds(held.unix_seconds);
            (waits.warns, waits.expires) = lifetimes(now, true);
            waits
        };
        let delivered = self.keeper.deliver(arrival, &on_behalf, span).await;
        let mut results = delivered.map_err(|_busy| Refusal::Busy)?;
        let result = results.pop().expect("one result for one account");
        result.map_err(|fault| refusal_of(&fault))?;
        let at = Why::ALL.iter().position(|why| *why == held.why);
        let at = at.expect("every reason is in the list");
        self.counters.kept_apart[at].fetch_add(1, Relaxed);
        let (why, detail) = (held.why.word(), held.detail.as_str());
        tracing::info!(target: runtime::events::MESSAGE, parent: span, why, detail, "quarantined");
        Ok(())
    }
}

/// It is the quarantine's account that is missing then, and no recipient: the sender is to come again.
fn refusal_of(fault: &MailboxFault) -> Refusal {
    match fault {
        MailboxFault::NoAccount => Refusal::StorageFault,
        fault => refusal_for(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fault_of_the_quarantine_refuses_mail_for_good() {
        let why = || "why".to_owned();
        for fault in [
            MailboxFault::NoAccount,
            MailboxFault::NoMailbox,
            MailboxFault::OverQuota,
            MailboxFault::TooMany("why"),
            MailboxFault::Full,
            MailboxFault::Unavailable(why()),
            MailboxFault::Exists,
            MailboxFault::Refused("why"),
            MailboxFault::Damaged,
        ] {
            assert!(refusal_of(&fault).is_temporary(), "{fault}");
        }
    }
}
