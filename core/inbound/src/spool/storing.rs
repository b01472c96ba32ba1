//! Storage as a box with a spool uses it: on this box (`Ask`), or on other machines (`afar::Afar`).

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use mailbox::{AccountId, MailboxFault};
use queue::{DeliveryId, Entry, Envelope};
use runtime::events::{MESSAGE, detail};
use storage::arrival::Arrival;
use storage::outgoing::{HandedOver, Outgoing, Seen, Submission};
use storage::owner::{Ask, Busy};
use store::BodyIn;
use tracing::{Instrument, Span};

use super::Held;
use crate::receive::{Keeper, OnBehalf};

/// A message that the spool hands over.
pub struct Message {
    /// Its number in the spool.
    pub number: u64,
    pub body: BodyIn,
    pub envelope: Envelope,
    /// Which of its hand-overs it is.
    pub round: u32,
}

/// What of a message the spool takes.
pub struct Part<'p> {
    pub body: &'p BodyIn,
    /// The envelope of the direct delivery, as it was or would have been.
    pub tried: &'p Envelope,
    /// Those of `tried` that have no answer.
    pub waits: &'p Envelope,
    /// For all of its recipients or for none.
    pub is_whole: bool,
}

pub type Handed = Result<HandedOver, MailboxFault>;

/// What a round of the drain came to: a result for each message, and what storage has seen of those that cannot be read and then of those.
pub struct Told {
    pub results: Vec<Handed>,
    pub seen: Vec<Seen>,
}

/// What must hold: a direct delivery and the hand-over of the same bytes have one id, and storage places an id once; `held` is dropped when what was begun
/// has ended.
pub trait Storing: Keeper + Clone + 'static {
    /// Whether storage takes no mail just now.
    fn refuses_mail(&self) -> bool;

    /// As `Keeper::submit`, under the id of the bytes.
    fn submit_once(
        &self,
        submission: Submission,
        held: Held,
        span: &Span,
    ) -> impl Future<Output = Result<Result<(), MailboxFault>, Busy>>;

    /// As `Keeper::deliver`, under the id of the bytes.
    fn deliver_once(
        &self,
        arrival: Arrival,
        on_behalf: OnBehalf<'_>,
        held: Held,
        span: &Span,
    ) -> impl Future<Output = Result<Vec<Result<(), MailboxFault>>, Busy>>;

    /// The accounts of each direct delivery. Those that share one share an entry of the spool.
    fn parts(&self, accounts: &[AccountId], junk: &[AccountId]) -> Vec<Vec<AccountId>> {
        let _ = junk;
        vec![accounts.to_vec()]
    }

    /// The spool is about to take a message. `false`: it may not wait there, for storage alone knows whether its sender may send it.
    fn goes_to_spool(&self, part: &Part<'_>) -> bool {
        let _ = part;
        true
    }

    /// The spool did not take it after all: its sender comes again.
    fn stays_out(&self, part: &Part<'_>) {
        let _ = part;
    }

    /// Whether a look-up waits for storage. Where it does, none is begun just after storage was silent.
    fn looks_far(&self) -> bool {
        true
    }

    /// A stop waits so long for a hand-over that was begun. Zero: the next start finds out what became of it.
    fn answers_within(&self) -> Duration {
        Duration::ZERO
    }

    /// Takes messages over from the spool, all at once. `damaged`: those that cannot be read, of which is asked only what storage has seen.
    fn hand_over(
        &self,
        messages: Vec<Message>,
        damaged: &[Entry],
    ) -> impl Future<Output = Result<Told, Busy>>;
}

impl<A: Ask> Storing for A {
    fn refuses_mail(&self) -> bool {
        Ask::refuses_mail(self)
    }

    async fn submit_once(
        &self,
        submission: Submission,
        held: Held,
        span: &Span,
    ) -> Result<Result<(), MailboxFault>, Busy> {
        let work = span.clone();
        self.ask_outgoing(move |outgoing| {
            async move {
                let submitted = outgoing.submit_once(submission).await;
                drop(held);
                submitted
            }
            .instrument(work)
        })
        .await
    }

    async fn deliver_once(
        &self,
        arrival: Arrival,
        _on_behalf: OnBehalf<'_>,
        held: Held,
        span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        let work = detail(span);
        self.ask_outgoing(move |outgoing| {
            async move {
                let delivered = outgoing.deliver_once(arrival).await;
                drop(held);
                delivered
            }
            .instrument(work)
        })
        .await
    }

    async fn hand_over(&self, messages: Vec<Message>, damaged: &[Entry]) -> Result<Told, Busy> {
        let id = |entry: &Entry| DeliveryId::again(&entry.body.name, spool::round(entry));
        let mut ids: Vec<DeliveryId> = damaged.iter().map(id).collect();
        let again = |message: &Message| DeliveryId::again(&message.body.name, message.round);
        ids.extend(messages.iter().map(again));
        // However long it takes: a second closure with the same bytes would wait behind the first, and a third behind both.
        self.ask_outgoing(move |outgoing| async move {
            let work = messages.into_iter().map(|message| {
                let outgoing = outgoing.clone();
                let span = span_of(&message);
                let hand_over = async move {
                    let Message {
                        body,
                        envelope,
                        round,
                        ..
                    } = message;
                    outgoing.hand_over(body, envelope, round).await
                };
                hand_over.instrument(span)
            });
            let results = all(work).await;
            Told {
                results,
                seen: seen_of(&outgoing, &ids),
            }
        })
        .await
    }
}

fn seen_of(outgoing: &Outgoing, ids: &[DeliveryId]) -> Vec<Seen> {
    ids.iter().map(|id| outgoing.seen(*id)).collect()
}

/// What becomes of it in the queue is traced as part of it.
pub(crate) fn span_of(message: &Message) -> Span {
    tracing::info_span!(target: MESSAGE, "message", spool = message.number)
}

/// All at once, so that one batch of the log takes them. One result for each, in their order.
pub(crate) async fn all<'w>(
    work: impl Iterator<Item = impl Future<Output = Handed> + 'w>,
) -> Vec<Handed> {
    type Work<'w> = Pin<Box<dyn Future<Output = Handed> + 'w>>;
    let begin = |work| Err(Box::pin(work) as Work<'w>);
    let mut work: Vec<Result<Handed, Work<'w>>> = work.map(begin).collect();
    poll_fn(|context| {
        let mut is_over = true;
        for each in &mut work {
            let Err(pending) = each else { continue };
            match pending.as_mut().poll(context) {
                Poll::Ready(handed) => *each = Ok(handed),
                Poll::Pending => is_over = false,
            }
        }
        if is_over {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    let missing = || Err(MailboxFault::Unavailable("it did not end".to_owned()));
    let work = work.into_iter();
    work.map(|each| each.unwrap_or_else(|_| missing()))
        .collect()
}
