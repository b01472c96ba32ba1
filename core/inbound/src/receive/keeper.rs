//! What a receiver asks of the side that keeps the mail, and what its faults mean to a sender. In the appliance that is the mailboxes' owner (`Ask`);
//! tests put their own in.

use std::future::Future;

use mail::Address;
use mailbox::{AccountId, MailboxFault};
use queue::{DeliveryId, Envelope, QueueId};
use runtime::events::{MESSAGE, detail};
use smtp::Refusal;
use storage::addresses::{self, Refused};
use storage::arrival::{self, Arrival, Looked};
use storage::lessons::{self, Answer, Asked};
use storage::outgoing::{HandedOver, Submission};
use storage::owner::{Ask, Busy};
use store::BodyIn;
use tracing::{Instrument, Span};

/// The envelope of a message for some of its accounts: for a keeper that has it wait.
pub type OnBehalf<'a> = &'a dyn Fn(&[AccountId]) -> queue::Envelope;

/// A message that another zone of ours hands over, under the id that it gave. What has that id is placed once.
#[derive(Debug, Clone)]
pub enum Handed {
    /// For accounts, each with its own result.
    Each { id: DeliveryId, arrival: Arrival },
    /// For all of its recipients or for none: what finds no room waits in the queue.
    Whole {
        id: DeliveryId,
        /// It was handed over before: who still has it gets no second copy.
        is_again: bool,
        body: BodyIn,
        envelope: Envelope,
    },
}

pub trait Keeper {
    /// The account of this address, if it is one of ours.
    fn look_up(&self, address: &Address) -> impl Future<Output = Result<Looked, Busy>>;

    /// Whether no mail can be taken just now, so that a sender is refused before it sends its content.
    fn refuses(&self) -> bool {
        false
    }

    /// Whether mail is taken for an account that this core looked up before, when it cannot be looked up now.
    fn takes_known(&self) -> bool {
        false
    }

    /// Whether mail from `sender` (`None`: the null reverse-path) is taken for an address that leads on (`Found::Listed`). `Busy` for ever
    /// where no address does.
    fn admit(
        &self,
        address: &Address,
        sender: Option<&Address>,
        unix_seconds: u64,
    ) -> impl Future<Output = Result<Result<Result<(), Refused>, MailboxFault>, Busy>> {
        let _ = (address, sender, unix_seconds);
        async { Err(Busy) }
    }

    /// What trained words say of a message. `Busy` for ever where nothing is trained.
    fn words(&self, asked: Asked) -> impl Future<Output = Result<Answer, Busy>> {
        let _ = asked;
        async { Err(Busy) }
    }

    /// Takes a message for mailboxes and for the queue; `Ok` when it is durable for all of them, any fault: for none. `Busy` for ever where
    /// there is no queue.
    fn submit(
        &self,
        submission: Submission,
        span: &Span,
    ) -> impl Future<Output = Result<Result<(), MailboxFault>, Busy>> {
        let _ = (submission, span);
        async { Err(Busy) }
    }

    /// Takes a message over from another zone: one result for each account, or one for all. `Busy` for ever where none hands over.
    fn take_over(
        &self,
        handed: Handed,
        span: &Span,
    ) -> impl Future<Output = Result<Vec<Result<(), MailboxFault>>, Busy>> {
        let _ = (handed, span);
        async { Err(Busy) }
    }

    /// One result for each account, `Ok` when it is durable. `on_behalf`: whom those accounts stand for. Its log lines belong to `span`.
    fn deliver(
        &self,
        arrival: Arrival,
        on_behalf: OnBehalf<'_>,
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

    async fn admit(
        &self,
        address: &Address,
        sender: Option<&Address>,
        unix_seconds: u64,
    ) -> Result<Result<Result<(), Refused>, MailboxFault>, Busy> {
        let (address, sender) = (address.clone(), sender.cloned());
        self.ask(move |mailboxes| async move {
            addresses::admit(&mailboxes, &address, sender.as_ref(), unix_seconds).await
        })
        .await
    }

    async fn words(&self, asked: Asked) -> Result<Answer, Busy> {
        self.ask_outgoing(move |outgoing| async move {
            lessons::words(outgoing.mailboxes(), outgoing.lessons(), &asked)
        })
        .await
    }

    async fn submit(
        &self,
        submission: Submission,
        span: &Span,
    ) -> Result<Result<(), MailboxFault>, Busy> {
        let work = span.clone();
        self.ask_outgoing(move |outgoing| {
            async move {
                let queued = outgoing.submit(submission).await?;
                if let Some(QueueId(queue)) = queued {
                    tracing::info!(target: MESSAGE, queue, "queued");
                }
                Ok(())
            }
            .instrument(work)
        })
        .await
    }

    async fn take_over(
        &self,
        handed: Handed,
        span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        let work = span.clone();
        self.ask_outgoing(move |outgoing| {
            async move {
                match handed {
                    Handed::Each { id, arrival } => outgoing.deliver_once_as(id, arrival).await,
                    Handed::Whole {
                        id,
                        is_again,
                        body,
                        envelope,
                    } => {
                        let handed = outgoing.hand_over_as(id, is_again, body, envelope).await;
                        vec![handed.and_then(settled)]
                    }
                }
            }
            .instrument(work)
        })
        .await
    }

    async fn deliver(
        &self,
        arrival: Arrival,
        _on_behalf: OnBehalf<'_>,
        span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        let work = detail(span);
        self.ask_either(move |mailboxes, outgoing| {
            let deliver = async move {
                match outgoing {
                    Some(outgoing) => outgoing.deliver(arrival).await,
                    None => arrival::deliver(&mailboxes, arrival).await,
                }
            };
            deliver.instrument(work)
        })
        .await
    }
}

/// Whether all recipients have it.
fn settled(handed: HandedOver) -> Result<(), MailboxFault> {
    match handed {
        HandedOver::Now | HandedOver::Before => Ok(()),
        HandedOver::UnderWay => {
            let why = "the same delivery is under way";
            Err(MailboxFault::Unavailable(why.to_owned()))
        }
    }
}

/// What it means to a sender that an address does not lead on.
pub fn refusal_of(refused: Refused) -> Refusal {
    match refused {
        Refused::Unknown => Refusal::UnknownRecipient,
        Refused::NotPermitted => Refusal::PostDenied,
        Refused::NoReport => Refusal::RelayDenied,
        Refused::Loop => Refusal::Loop,
    }
}

/// What the keeper's fault means to a sender.
pub fn refusal_for(fault: &MailboxFault) -> Refusal {
    match fault {
        MailboxFault::NoAccount => Refusal::UnknownRecipient,
        MailboxFault::NotPermitted => Refusal::PostDenied,
        MailboxFault::Rejected(_) => Refusal::Rejected,
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
