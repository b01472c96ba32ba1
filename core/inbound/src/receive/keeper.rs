//! What a receiver asks of whoever keeps the mail. In the appliance that is the mailboxes' owner; tests put their own in.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mail::Address;
use mailbox::{Delivery, MailboxFault};
use storage::owner::{Busy, Owner};
use tracing::{Instrument, Span};

use super::directory::{Entry, Found};

/// An answer about an address and how long it is good.
pub struct Looked {
    pub(super) found: Result<Found, MailboxFault>,
    /// The answer stands while `generation` is still `at`.
    pub(super) generation: Arc<AtomicU64>,
    pub(super) at: u64,
}

pub trait Keeper {
    /// Who has this address?
    fn look_up(&self, address: &Address) -> impl Future<Output = Result<Looked, Busy>>;

    /// Whether no mail can be taken just now, so that a sender need not send its content to hear so.
    fn refuses(&self) -> bool {
        false
    }

    /// One result for each recipient, `Ok` when it is durable. What it does is told inside of `span`.
    fn deliver(
        &self,
        delivery: Delivery,
        span: &Span,
    ) -> impl Future<Output = Result<Vec<Result<(), MailboxFault>>, Busy>>;
}

impl Keeper for Owner {
    async fn look_up(&self, address: &Address) -> Result<Looked, Busy> {
        let wanted = address.clone();
        self.ask(move |mailboxes| async move {
            let generation = mailboxes.directory_generation();
            // Read first: a change during the look-up makes the answer old, not the other way round.
            let at = generation.load(Ordering::Acquire);
            let found = match mailboxes.account(&wanted).await {
                Ok(Some(account)) => Ok(Found::Account(Entry::of(&account))),
                Ok(None) => {
                    let ours = mailboxes.has_domain(wanted.domain());
                    Ok(if ours {
                        Found::NoMailbox
                    } else {
                        Found::NotOurs
                    })
                }
                Err(fault) => Err(fault),
            };
            Looked {
                found,
                generation,
                at,
            }
        })
        .await
    }

    fn refuses(&self) -> bool {
        self.gauges().refusing.load(Ordering::Relaxed)
    }

    async fn deliver(
        &self,
        delivery: Delivery,
        span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        let work = span.clone();
        let results = self
            .ask(move |mailboxes| async move { mailboxes.deliver(delivery).await }.instrument(work))
            .await?;
        Ok(results.into_iter().map(|result| result.map(drop)).collect())
    }
}
