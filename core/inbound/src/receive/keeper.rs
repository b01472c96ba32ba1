//! What a receiver asks of the side that keeps the mail, and what its faults mean to a sender. In the appliance that is the mailboxes' owner (`Ask`);
//! tests put their own in.

use std::future::Future;

use mail::Address;
use mailbox::MailboxFault;
use smtp::Refusal;
use storage::arrival::{self, Arrival, Looked};
use storage::owner::{Ask, Busy};
use tracing::{Instrument, Span};

pub trait Keeper {
    /// The account of this address, if it is one of ours.
    fn look_up(&self, address: &Address) -> impl Future<Output = Result<Looked, Busy>>;

    /// Whether no mail can be taken just now, so that a sender is refused before it sends its content.
    fn refuses(&self) -> bool {
        false
    }

    /// One result for each recipient, `Ok` when it is durable. Its log lines belong to `span`.
    fn deliver(
        &self,
        arrival: Arrival,
        span: &Span,
    ) -> impl Future<Output = Result<Vec<Result<(), MailboxFault>>, Busy>>;
}

impl<A: Ask> Keeper for A {
    async fn look_up(&self, address: &Address) -> Result<Looked, Busy> {
        let wanted = address.clone();
        self.ask(move |mailboxes| async move { arrival::look_up(&mailboxes, &wanted).await })
            .await
    }

    fn refuses(&self) -> bool {
        self.refuses_mail()
    }

    async fn deliver(
        &self,
        arrival: Arrival,
        span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        let work = span.clone();
        self.ask(move |mailboxes| {
            async move { arrival::deliver(&mailboxes, arrival).await }.instrument(work)
        })
        .await
    }
}

/// What the keeper's fault means to a sender.
pub fn refusal_for(fault: &MailboxFault) -> Refusal {
    match fault {
        MailboxFault::NoAccount => Refusal::UnknownRecipient,
        MailboxFault::OverQuota => Refusal::MailboxFull,
        MailboxFault::TooMany(_) => Refusal::MailboxFull,
        MailboxFault::Full => Refusal::StorageFull,
        MailboxFault::TooLarge => Refusal::TooBig,
        MailboxFault::Unavailable(why) => {
            tracing::warn!(%why, "storage defers");
            Refusal::StorageFault
        }
        MailboxFault::NoMailbox
        | MailboxFault::Exists
        | MailboxFault::Refused(_)
        | MailboxFault::Damaged => {
            tracing::error!(%fault, "a delivery failed that should not");
            Refusal::StorageFault
        }
    }
}
