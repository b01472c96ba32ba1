//! Stage 4 for a message that another zone of ours hands over: nothing is checked again, and what has its id is placed once.
//!
//! LMTP has an answer for each recipient, so each account has its own result. SMTP and QMQP have one for all: the message is taken for all of them in
//! one durable step, and what finds no room waits in the queue, which tries on and reports. So is what waited in the other zone's spool, by each of
//! them: every recipient of it is `Listed` here, and the hand-over looks up what it is.
//!
//! What must hold: an outcome is `Ok` only where the message is durable; the recipients were looked up here, whatever the other zone thought of them.

use mail::InternalDate;
use runtime::events::MESSAGE;
use smtp::{Envelope, Refusal, Role};
use storage::arrival::{Arrival, Refusing};
use store::BodyIn;

use super::hand_off::{named, posted};
use super::keeper::{Handed, refusal_for};
use super::leaving::{addressee, envelope as queued};
use super::mark::Mark;
use super::route::{self, Route};
use super::{Keeper, Receiver};

impl<K: Keeper> Receiver<K> {
    /// One outcome for each recipient.
    pub(super) async fn take_over(
        &self,
        role: Role,
        mark: Mark,
        body: BodyIn,
        unix_seconds: i64,
        envelope: &Envelope<Route>,
        span: &tracing::Span,
    ) -> Vec<Result<(), Refusal>> {
        tracing::info!(target: MESSAGE, parent: span, delivery = %mark, "another zone hands over");
        let recipients = &envelope.recipients[..];
        let leads_on = recipients.iter().any(|each| each.route.is_listed());
        if role == Role::Lmtp && !leads_on {
            let accounts = route::accounts(recipients);
            let arrival = Arrival {
                body,
                internal_date: InternalDate::utc(unix_seconds),
                junk: if mark.is_junk {
                    accounts.clone()
                } else {
                    Vec::new()
                },
                accounts: accounts.clone(),
                // The zone in front has answered its sender, or may answer it from its spool.
                posted: posted(envelope, &accounts, Refusing::Report),
            };
            let handed = Handed::Each {
                id: mark.id,
                arrival,
            };
            let results = self.handed_over(handed, accounts.len(), span).await;
            return route::outcomes(recipients, &accounts, &results);
        }
        let all = recipients.iter().map(|recipient| match &recipient.route {
            Route::Local { to, .. } => addressee(recipient, named(recipient, to)),
            Route::Listed { to } => addressee(recipient, to),
        });
        let mut queued = queued(envelope, all.collect(), unix_seconds, &body.raw);
        queued.terms.is_junk = mark.is_junk;
        let handed = Handed::Whole {
            id: mark.id,
            is_again: mark.is_again,
            body,
            envelope: queued,
        };
        let results = self.handed_over(handed, 1, span).await;
        vec![results[0]; recipients.len()]
    }

    /// So many results of the keeper, in a sender's words.
    pub(super) async fn handed_over(
        &self,
        handed: Handed,
        count: usize,
        span: &tracing::Span,
    ) -> Vec<Result<(), Refusal>> {
        match self.keeper.take_over(handed, span).await {
            Ok(results) => {
                assert_eq!(results.len(), count, "one result for each");
                let results = results.into_iter();
                let refused = |fault| refusal_for(&fault);
                results.map(|result| result.map_err(refused)).collect()
            }
            Err(_busy) => vec![Err(Refusal::Busy); count],
        }
    }
}
