//! The keeper of a box that may have a spool: with one, everything of `Spooled`; without one, storage alone, as ever.

use mail::Address;
use mailbox::MailboxFault;
use storage::addresses::Refused;
use storage::arrival::{Arrival, Looked};
use storage::lessons::{Answer, Asked};
use storage::outgoing::Submission;
use storage::owner::Busy;
use tracing::Span;

use super::{Spooled, Spooling, Storing};
use crate::receive::{Keeper, OnBehalf};

/// Where a receiver's messages go.
/// A box without a spool pays nothing for the possibility: the first arm is the call that was there before.
#[derive(Clone)]
pub enum Way<A, S> {
    /// The box has no spool: a message that storage does not take is deferred.
    Straight(A),
    Spooled(Spooled<A, S>),
}

impl<A: Storing, S: Spooling> Keeper for Way<A, S> {
    async fn look_up(&self, address: &Address) -> Result<Looked, Busy> {
        match self {
            Way::Straight(ask) => ask.look_up(address).await,
            Way::Spooled(spooled) => spooled.look_up(address).await,
        }
    }

    fn refuses(&self) -> bool {
        match self {
            Way::Straight(ask) => ask.refuses(),
            Way::Spooled(spooled) => spooled.refuses(),
        }
    }

    fn takes_known(&self) -> bool {
        match self {
            Way::Straight(ask) => ask.takes_known(),
            Way::Spooled(spooled) => spooled.takes_known(),
        }
    }

    async fn admit(
        &self,
        address: &Address,
        sender: Option<&Address>,
        unix_seconds: u64,
    ) -> Result<Result<Result<(), Refused>, MailboxFault>, Busy> {
        match self {
            Way::Straight(ask) => ask.admit(address, sender, unix_seconds).await,
            Way::Spooled(spooled) => spooled.admit(address, sender, unix_seconds).await,
        }
    }

    async fn words(&self, asked: Asked) -> Result<Answer, Busy> {
        match self {
            Way::Straight(ask) => ask.words(asked).await,
            Way::Spooled(spooled) => spooled.words(asked).await,
        }
    }

    async fn submit(
        &self,
        submission: Submission,
        span: &Span,
    ) -> Result<Result<(), MailboxFault>, Busy> {
        match self {
            Way::Straight(ask) => Keeper::submit(ask, submission, span).await,
            Way::Spooled(spooled) => spooled.submit(submission, span).await,
        }
    }

    async fn deliver(
        &self,
        arrival: Arrival,
        on_behalf: OnBehalf<'_>,
        span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        match self {
            Way::Straight(ask) => ask.deliver(arrival, on_behalf, span).await,
            Way::Spooled(spooled) => spooled.deliver(arrival, on_behalf, span).await,
        }
    }
}
