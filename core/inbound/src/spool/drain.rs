//! From the spool to storage: what waits is handed over in order, as soon as storage takes it.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use base::Time;
use mailbox::MailboxFault;
use queue::{Entry, Envelope, QueueId};
use runtime::{SessionHost, Stop};
use spool::Spool;
use storage::outgoing::{HandedOver, Outgoing};
use storage::owner::Ask;
use store::{BodyIn, ReadFault};

use super::limits::*;

/// Hands over until `stop`; on the spool's thread. What is not handed over by then waits for the next start.
pub async fn drain<A: Ask>(host: SessionHost, spool: Spool, ask: A, stop: Stop) {
    let mut drain = Drain::new(host.clone(), spool.clone(), ask);
    let mut pause = PAUSE_MIN;
    loop {
        // until the stop
        let arrival = spool.arrival();
        let turn = async {
            match drain.round().await {
                Round::Moved => pause = PAUSE_MIN,
                Round::Nothing => {
                    pause = PAUSE_MIN;
                    let _ = host.within(STUCK_FOR, arrival).await;
                }
                Round::Later => {
                    host.sleep(pause).await;
                    pause = PAUSE_MAX.min(pause * 2);
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.requested() => return,
            () = turn => {}
        }
    }
}

/// What one round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Something left the spool.
    Moved,
    /// Nothing waits that could be handed over.
    Nothing,
    /// Storage takes nothing just now.
    Later,
}

/// The one task that hands over.
pub struct Drain<A> {
    host: SessionHost,
    spool: Spool,
    ask: A,
    /// Not to be handed over: damaged, or refused for good. They are kept and tried again after `STUCK_FOR`.
    stuck: HashSet<QueueId>,
    stuck_since: Time,
}

impl<A: Ask> Drain<A> {
    pub fn new(host: SessionHost, spool: Spool, ask: A) -> Drain<A> {
        Drain {
            stuck_since: host.now(),
            host,
            spool,
            ask,
            stuck: HashSet::new(),
        }
    }

    /// Hands over the oldest that can be, and takes out of the spool what storage has.
    pub async fn round(&mut self) -> Round {
        let stuck_us = self.host.now().since_us(self.stuck_since);
        if stuck_us >= STUCK_FOR.as_micros() as u64 {
            self.stuck.clear();
            self.stuck_since = self.host.now();
        }
        let (entries, bodies) = match self.wave().await {
            Ok(wave) => wave,
            Err(fault) => {
                tracing::warn!(%fault, "the spool cannot be read just now");
                return Round::Later;
            }
        };
        self.spool.gauges().note_stuck(self.stuck.len());
        if entries.is_empty() {
            return Round::Nothing;
        }
        if self.ask.refuses_mail() {
            return Round::Later;
        }
        let envelopes = entries.iter().map(envelope);
        let messages: Vec<(BodyIn, Envelope)> = bodies.into_iter().zip(envelopes).collect();
        let asked = self
            .ask
            .ask_outgoing(move |outgoing| hand_over_all(outgoing, messages));
        // However long it takes: a second closure with the same bytes would wait behind the first, and a third behind both.
        let Ok(results) = asked.await else {
            return Round::Later;
        };
        assert_eq!(results.len(), entries.len(), "one result for each message");
        let mut done = Vec::with_capacity(entries.len());
        let is_first_stuck = self.stuck.is_empty();
        for (entry, result) in entries.into_iter().zip(results) {
            match result {
                Ok(HandedOver::Now | HandedOver::Before) => done.push(entry),
                Ok(HandedOver::UnderWay) => {}
                Err(fault @ (MailboxFault::TooLarge | MailboxFault::Refused(_))) => {
                    self.note_stuck(&entry, &fault.to_string());
                }
                Err(fault) => tracing::debug!(%fault, "storage defers a hand-over"),
            }
        }
        if is_first_stuck && !self.stuck.is_empty() {
            self.stuck_since = self.host.now();
        }
        if done.is_empty() {
            return Round::Later;
        }
        match self.spool.done(&done).await {
            Ok(()) => Round::Moved,
            Err(fault) => {
                // They are handed over once more, and storage knows them.
                tracing::warn!(%fault, "what was handed over cannot leave the spool just now");
                Round::Later
            }
        }
    }

    /// The oldest messages, no two of them for one address, with their bytes; at most `HANDED_AT_ONCE` and `HANDED_BYTES`.
    async fn wave(&mut self) -> Result<(Vec<Entry>, Vec<BodyIn>), ReadFault> {
        let waiting = self.spool.entries(None, HANDED_AT_ONCE + self.stuck.len());
        let (mut entries, mut bodies, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut paths = HashSet::new();
        for entry in waiting {
            if self.stuck.contains(&entry.id) {
                continue;
            }
            bytes += entry.body.raw_bytes as usize;
            let is_over = entries.len() >= HANDED_AT_ONCE || bytes > HANDED_BYTES;
            let own: HashSet<String> = entry
                .recipients
                .iter()
                .map(|each| each.to.path.to_lowercase())
                .collect();
            if !entries.is_empty() && (is_over || own.iter().any(|path| paths.contains(path))) {
                break;
            }
            match self.spool.read(entry.id).await {
                Some(Ok(body)) => {
                    bodies.push(body);
                    entries.push(entry);
                    paths.extend(own);
                }
                Some(Err(ReadFault::Damaged)) => {
                    self.note_stuck(&entry, "its bytes are damaged on every leg of the spool");
                }
                // What can be read goes first; the next round begins with this one.
                Some(Err(_)) if !entries.is_empty() => break,
                Some(Err(fault)) => return Err(fault),
                None => {}
            }
        }
        Ok((entries, bodies))
    }

    fn note_stuck(&mut self, entry: &Entry, why: &str) {
        tracing::error!(
            number = entry.id.0,
            from = %entry.from,
            recipients = entry.recipients.len(),
            why,
            "a message stays in the spool"
        );
        if self.stuck.is_empty() {
            self.stuck_since = self.host.now();
        }
        self.stuck.insert(entry.id);
    }
}

/// As it was taken.
fn envelope(entry: &Entry) -> Envelope {
    Envelope {
        from: entry.from.clone(),
        recipients: entry
            .recipients
            .iter()
            .map(|each| each.to.clone())
            .collect(),
        arrived: entry.arrived,
        warns: entry.warns,
        expires: entry.expires,
        terms: entry.terms.clone(),
    }
}

type Handed = Result<HandedOver, MailboxFault>;

/// All at once, so that one batch of the log takes them. One result for each.
async fn hand_over_all(outgoing: Outgoing, messages: Vec<(BodyIn, Envelope)>) -> Vec<Handed> {
    type Work = Pin<Box<dyn Future<Output = Handed>>>;
    let mut work: Vec<Result<Handed, Work>> = messages
        .into_iter()
        .map(|(body, envelope)| {
            let outgoing = outgoing.clone();
            let hand_over = async move { outgoing.hand_over(body, envelope).await };
            Err(Box::pin(hand_over) as Work)
        })
        .collect();
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

const _: () = assert!(PAUSE_MIN.as_micros() < PAUSE_MAX.as_micros());
