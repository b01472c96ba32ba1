//! The keeper of a box with a spool: storage first, the spool where storage does not take the message.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use base::Time;
use mail::Address;
use mailbox::{AccountId, MailboxFault};
use queue::{Envelope, QueueId};
use runtime::events::MESSAGE;
use runtime::{Budget, Holder, SessionHost};
use spool::SpoolFault;
use storage::addresses::Refused;
use storage::arrival::{Arrival, Looked};
use storage::lessons::{Answer, Asked};
use storage::outgoing::Submission;
use storage::owner::Busy;
use store::BodyIn;
use tracing::{Instrument, Span};

use super::limits::{DIRECT_MAX, LOOK_UP_MAX, SILENCE_NOTED, TAKE_MAX};
use super::{Held, Part, Spooling, Storing};
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
    /// Messages deferred because what is under way had all credits.
    pub throttled: AtomicU64,
}

/// Whose share of the credits.
// Each way has a share of its own. Otherwise messages that hang on the way to a silent storage would leave no memory for the way around it.
const STRAIGHT: Holder = Holder(0);
const TO_SPOOL: Holder = Holder(1);

/// Storage behind a spool; for one core.
#[derive(Clone)]
pub struct Spooled<A, S> {
    storage: A,
    spool: S,
    host: SessionHost,
    /// Bytes of messages on their way to storage or to the spool, with a share for each way; of all cores.
    credits: Budget,
    /// Storage was silent, and is not waited for until then.
    silent_until: Rc<Cell<Time>>,
    counters: Arc<Counters>,
}

impl<A: Storing, S: Spooling> Spooled<A, S> {
    pub fn new(host: SessionHost, storage: A, spool: S, credits: Budget) -> Spooled<A, S> {
        Spooled {
            storage,
            spool,
            host,
            credits,
            silent_until: Rc::default(),
            counters: Arc::default(),
        }
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Credits of a message for as long as it is under way there. `None`: what is under way there has all of them.
    fn credit(&self, way: Holder, body: &BodyIn) -> Option<Held> {
        // The largest message alone may be a little more: trace fields were added to it.
        let bytes = body.raw.len().min(self.credits.share_bytes_max());
        self.credits.take_for(way, bytes).map(Arc::new)
    }

    /// Those of the way to storage, where a message may go there first. Without them it goes to the spool, as when the lane to storage is full.
    fn credit_straight(&self, body: &BodyIn) -> Option<Held> {
        match self.is_direct() {
            true => self.credit(STRAIGHT, body),
            false => None,
        }
    }

    /// Those of the way to the spool. A message that went to storage first is never refused for want of them: its own may serve for both.
    fn credit_spool(&self, body: &BodyIn, straight: Option<Held>) -> Result<Held, Busy> {
        let credit = self.credit(TO_SPOOL, body).or(straight);
        credit.ok_or_else(|| {
            self.counters.throttled.fetch_add(1, Relaxed);
            Busy
        })
    }

    /// Whether a message goes to storage first: nothing waits that it would overtake, and storage takes mail.
    fn is_direct(&self) -> bool {
        // Order matters to people: a message that overtakes an older one of the same thread reads as an answer to nothing.
        !self.spool.waits() && !self.storage.refuses_mail()
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
        // Only where a look-up crosses the network: each would take its whole time-out, and receivers stand behind each other.
        if self.storage.looks_far() && self.host.now() < self.silent_until.get() {
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

    /// `Ok` when it is durable in the spool. `straight`: what storage answered, which is the answer where there is no spool just now.
    async fn spool(
        &self,
        body: BodyIn,
        envelope: Envelope,
        (held, straight): (Held, MailboxFault),
        span: &Span,
    ) -> Result<(), MailboxFault> {
        let taken = self
            .spool
            .take(body, envelope, held)
            .instrument(span.clone());
        let taken = self.host.within(TAKE_MAX, taken).await;
        let counter = match taken {
            Some(Ok(_)) => &self.counters.spooled,
            _ => &self.counters.refused,
        };
        counter.fetch_add(1, Relaxed);
        match taken {
            Some(Ok(QueueId(number))) => {
                tracing::info!(target: MESSAGE, parent: span, spool = number, "spooled until storage takes it");
                Ok(())
            }
            Some(Err(SpoolFault::Full)) => Err(MailboxFault::Full),
            // What storage said is the better reason: a spool that is away is not what the sender has to wait for.
            Some(Err(SpoolFault::Away(_))) => Err(straight),
            Some(Err(fault)) => Err(MailboxFault::Unavailable(fault.to_string())),
            None => Err(MailboxFault::Unavailable("the spool is silent".to_owned())),
        }
    }
}

impl<A: Storing, S: Spooling> Keeper for Spooled<A, S> {
    async fn look_up(&self, address: &Address) -> Result<Looked, Busy> {
        self.look(self.storage.look_up(address)).await
    }

    fn refuses(&self) -> bool {
        self.storage.refuses_mail() && self.spool.is_full()
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
        let asked = self.storage.admit(address, sender, unix_seconds);
        self.look(asked).await
    }

    async fn words(&self, asked: Asked) -> Result<Answer, Busy> {
        self.look(self.storage.words(asked)).await
    }

    async fn submit(
        &self,
        submission: Submission,
        span: &Span,
    ) -> Result<Result<(), MailboxFault>, Busy> {
        let credit = self.credit_straight(&submission.body);
        // Until storage says otherwise.
        let mut straight = silent();
        let (body, mut envelope) = (submission.body.clone(), submission.elsewhere.clone());
        let here = submission.here.iter();
        let here = here.filter_map(|local| local.to.clone());
        envelope.recipients.extend(here);
        if let Some(credit) = credit.clone() {
            let asked = self.storage.submit_once(submission, credit, span);
            match self.direct(asked).await {
                Some(Err(fault)) if is_deferred(&fault) => straight = fault,
                Some(result) => return Ok(result),
                None => {}
            }
        }
        let part = Part {
            body: &body,
            tried: &envelope,
            waits: &envelope,
            is_whole: true,
        };
        // Of some messages only storage knows whether their sender may send them: those do not wait here with a 250, and the sender tries again.
        if !self.storage.goes_to_spool(&part) {
            return Ok(Err(straight));
        }
        let held = (self.credit_spool(&body, credit)?, straight);
        let spooled = self.spool(body.clone(), envelope.clone(), held, span);
        let spooled = spooled.await;
        if spooled.is_err() {
            self.storage.stays_out(&part);
        }
        Ok(spooled)
    }

    async fn deliver(
        &self,
        arrival: Arrival,
        on_behalf: OnBehalf<'_>,
        span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        let credit = self.credit_straight(&arrival.body);
        let (body, accounts) = (arrival.body.clone(), arrival.accounts.clone());
        let junk = arrival.junk.clone();
        let mut results = None;
        if let Some(credit) = credit.clone() {
            let storage = &self.storage;
            let asked = storage.deliver_once(arrival, on_behalf, credit, span);
            results = self.direct(asked).await;
        }
        let mut results = results.unwrap_or_else(|| vec![Err(silent()); accounts.len()]);
        assert_eq!(results.len(), accounts.len(), "one result for each account");
        // Those that were placed or refused have their answer; the others have none yet.
        let is_open = |result: &Result<(), MailboxFault>| result.as_ref().is_err_and(is_deferred);
        let Some(first) = results.iter().find(|result| is_open(result)) else {
            return Ok(results);
        };
        let straight = first.clone().err().unwrap_or_else(silent);
        let held = self.credit_spool(&body, credit)?;
        for all in self.storage.parts(&accounts, &junk) {
            let each = || accounts.iter().zip(&results);
            let open = each().filter(|(account, result)| all.contains(account) && is_open(result));
            let open: Vec<AccountId> = open.map(|(account, _)| *account).collect();
            if open.is_empty() {
                continue;
            }
            let (tried, waits) = (on_behalf(&all), on_behalf(&open));
            let part = Part {
                body: &body,
                tried: &tried,
                waits: &waits,
                is_whole: false,
            };
            let spooled = match self.storage.goes_to_spool(&part) {
                true => {
                    let held = (held.clone(), straight.clone());
                    self.spool(body.clone(), waits.clone(), held, span).await
                }
                false => Err(straight.clone()),
            };
            if spooled.is_err() {
                self.storage.stays_out(&part);
            }
            for (account, result) in accounts.iter().zip(&mut results) {
                if open.contains(account) {
                    result.clone_from(&spooled);
                }
            }
        }
        Ok(results)
    }
}

fn silent() -> MailboxFault {
    MailboxFault::Unavailable("storage is silent".to_owned())
}

/// Storage may take the message later, for any recipient.
fn is_deferred(fault: &MailboxFault) -> bool {
    matches!(fault, MailboxFault::Full | MailboxFault::Unavailable(_))
}
