//! The keeper of a box with a spool: storage first, the spool where storage does not take the message.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use base::Time;
use mail::Address;
use mailbox::{AccountId, MailboxFault};
use queue::Envelope;
use runtime::SessionHost;
use spool::SpoolFault;
use storage::addresses::{self, Refused};
use storage::arrival::{self, Arrival, Looked};
use storage::outgoing::Submission;
use storage::owner::{Ask, Busy};
use store::BodyIn;
use tracing::{Instrument, Span};

use super::Spooling;
use super::limits::{DIRECT_MAX, LOOK_UP_MAX, SILENCE_NOTED, TAKE_MAX};
use crate::receive::{Keeper, OnBehalf};

/// What a core's receivers did with the spool since start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages spooled.
    pub spooled: AtomicU64,
    /// Messages that the spool refused.
    pub refused: AtomicU64,
    /// Direct deliveries that were not answered in time.
    pub silent: AtomicU64,
}

/// Storage behind a spool; for one core.
#[derive(Clone)]
pub struct Spooled<A, S> {
    ask: A,
    spool: S,
    host: SessionHost,
    /// Storage was silent, and is not waited for until then.
    silent_until: Rc<Cell<Time>>,
    counters: Arc<Counters>,
}

impl<A: Ask, S: Spooling> Spooled<A, S> {
    pub fn new(host: SessionHost, ask: A, spool: S) -> Spooled<A, S> {
        Spooled {
            ask,
            spool,
            host,
            silent_until: Rc::default(),
            counters: Arc::default(),
        }
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Whether a message goes to storage first: nothing waits that it would overtake, and storage takes mail.
    fn is_direct(&self) -> bool {
        !self.spool.waits() && !self.ask.refuses_mail()
    }

    /// What `wait` answers; `None`: nothing in time, or it is not known what.
    async fn direct<T>(&self, wait: impl Future<Output = Result<T, Busy>>) -> Option<T> {
        match self.host.within(DIRECT_MAX, wait).await {
            Some(answer) => answer.ok(),
            None => {
                self.counters.silent.fetch_add(1, Relaxed);
                self.note_silence();
                None
            }
        }
    }

    fn note_silence(&self) {
        let until = self.host.now().after_us(SILENCE_NOTED.as_micros() as u64);
        self.silent_until.set(until);
    }

    /// A look-up, unless storage was silent just now.
    async fn look<T>(&self, wait: impl Future<Output = Result<T, Busy>>) -> Result<T, Busy> {
        if self.host.now() < self.silent_until.get() {
            return Err(Busy);
        }
        match self.host.within(LOOK_UP_MAX, wait).await {
            Some(answer) => answer,
            None => {
                self.note_silence();
                Err(Busy)
            }
        }
    }

    /// `Ok` when it is durable in the spool.
    async fn spool(
        &self,
        body: BodyIn,
        envelope: Envelope,
        span: &Span,
    ) -> Result<(), MailboxFault> {
        let taken = self.spool.take(body, envelope).instrument(span.clone());
        let taken = self.host.within(TAKE_MAX, taken).await;
        let counter = match taken {
            Some(Ok(())) => &self.counters.spooled,
            _ => &self.counters.refused,
        };
        counter.fetch_add(1, Relaxed);
        match taken {
            Some(Ok(())) => {
                tracing::info!(parent: span, "spooled until storage takes it");
                Ok(())
            }
            Some(Err(SpoolFault::Full)) => Err(MailboxFault::Full),
            Some(Err(fault)) => Err(MailboxFault::Unavailable(fault.to_string())),
            None => Err(MailboxFault::Unavailable("the spool is silent".to_owned())),
        }
    }
}

impl<A: Ask, S: Spooling> Keeper for Spooled<A, S> {
    async fn look_up(&self, address: &Address) -> Result<Looked, Busy> {
        let wanted = address.clone();
        let asked = self
            .ask
            .ask(move |mailboxes| async move { arrival::look_up(&mailboxes, &wanted).await });
        self.look(asked).await
    }

    fn refuses(&self) -> bool {
        self.ask.refuses_mail() && self.spool.is_full()
    }

    fn takes_known(&self) -> bool {
        !self.spool.is_full()
    }

    async fn admit(
        &self,
        address: &Address,
        sender: Option<&Address>,
        unix_seconds: u64,
    ) -> Result<Result<Result<(), Refused>, MailboxFault>, Busy> {
        let (address, sender) = (address.clone(), sender.cloned());
        let asked = self.ask.ask(move |mailboxes| async move {
            addresses::admit(&mailboxes, &address, sender.as_ref(), unix_seconds).await
        });
        self.look(asked).await
    }

    async fn submit(
        &self,
        submission: Submission,
        span: &Span,
    ) -> Result<Result<(), MailboxFault>, Busy> {
        let (body, mut envelope) = (submission.body.clone(), submission.elsewhere.clone());
        let here = submission.here.iter();
        let here = here.filter_map(|local| local.to.clone());
        envelope.recipients.extend(here);
        if self.is_direct() {
            let work = span.clone();
            let asked = self.ask.ask_outgoing(move |outgoing| {
                async move { outgoing.submit_once(submission).await }.instrument(work)
            });
            match self.direct(asked).await {
                Some(Err(fault)) if is_deferred(&fault) => {}
                Some(result) => return Ok(result),
                None => {}
            }
        }
        Ok(self.spool(body, envelope, span).await)
    }

    async fn deliver(
        &self,
        arrival: Arrival,
        on_behalf: OnBehalf<'_>,
        span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        let (body, accounts) = (arrival.body.clone(), arrival.accounts.clone());
        let mut results = None;
        if self.is_direct() {
            let work = span.clone();
            let asked = self.ask.ask_outgoing(move |outgoing| {
                async move { outgoing.deliver_once(arrival).await }.instrument(work)
            });
            results = self.direct(asked).await;
        }
        let deferred = Err(MailboxFault::Unavailable("storage is silent".to_owned()));
        let mut results = results.unwrap_or_else(|| vec![deferred; accounts.len()]);
        assert_eq!(results.len(), accounts.len(), "one result for each account");
        // Those that were placed or refused have their answer; the others have none yet.
        let open: Vec<usize> = (0..accounts.len())
            .filter(|index| results[*index].as_ref().is_err_and(is_deferred))
            .collect();
        if open.is_empty() {
            return Ok(results);
        }
        let whose: Vec<AccountId> = open.iter().map(|index| accounts[*index]).collect();
        let spooled = self.spool(body, on_behalf(&whose), span).await;
        for index in open {
            results[index] = spooled.clone();
        }
        Ok(results)
    }
}

/// Storage may take the message later, for any recipient.
fn is_deferred(fault: &MailboxFault) -> bool {
    matches!(fault, MailboxFault::Full | MailboxFault::Unavailable(_))
}
