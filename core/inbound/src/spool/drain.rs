//! From the spool to storage: what waits is handed over in order, as soon as storage takes it.

use std::collections::{HashMap, HashSet};

use base::Time;
use mailbox::MailboxFault;
use queue::{Entry, Envelope, QueueId};
use runtime::events::MESSAGE;
use runtime::{SessionHost, Stop};
use spool::Spool;
use storage::outgoing::{HandedOver, Seen};
use store::{BodyIn, ReadFault};

use super::limits::*;
use super::storing::{Message, Storing, Told};

/// Hands over until `stop`; on the spool's thread. What is not handed over by then waits for the next start. Storage that forgets at a restart what it was
/// asked has a while to answer (`Storing::answers_within`).
pub async fn drain<A: Storing>(host: SessionHost, spool: Spool, storage: A, stop: Stop) {
    let mut drain = Drain::new(host.clone(), spool.clone(), storage);
    let mut pause = PAUSE_MIN;
    loop {
        // until the stop
        if stop.is_requested() {
            return;
        }
        // Before the round: what arrives during it rings this wait, which would be missed if it were made afterwards.
        let arrival = spool.arrival();
        let answers_within = drain.storage.answers_within();
        let came = {
            let mut round = std::pin::pin!(drain.round());
            tokio::select! {
                biased;
                () = stop.requested() => {
                    if !answers_within.is_zero() {
                        let _ = host.within(answers_within, round).await;
                    }
                    return;
                }
                came = &mut round => came,
            }
        };
        let pauses = async {
            match came {
                Round::Moved => pause = PAUSE_MIN,
                Round::Nothing => {
                    pause = PAUSE_MIN;
                    let _ = host.within(TRIMMED_EVERY, arrival).await;
                    spool.trim().await;
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
            () = pauses => {}
        }
    }
}

/// What one round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Something left the spool, or is stuck from now on.
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
    storage: A,
    /// Not to be handed over: damaged, or refused for good. They are kept and tried again after `STUCK_FOR`.
    stuck: HashMap<QueueId, Seen>,
    stuck_since: Time,
    /// Deferred by storage, each until then.
    aside: HashMap<QueueId, Time>,
}

/// What is handed over at a time.
#[derive(Default)]
struct Wave {
    entries: Vec<Entry>,
    bodies: Vec<BodyIn>,
    /// Cannot be read on any leg.
    damaged: Vec<Entry>,
}

impl<A: Storing> Drain<A> {
    pub fn new(host: SessionHost, spool: Spool, storage: A) -> Drain<A> {
        Drain {
            stuck_since: host.now(),
            host,
            spool,
            storage,
            stuck: HashMap::new(),
            aside: HashMap::new(),
        }
    }

    /// Hands over the oldest that can be, and takes out of the spool what storage has.
    pub async fn round(&mut self) -> Round {
        let now = self.host.now();
        if now.since_us(self.stuck_since) >= STUCK_FOR.as_micros() as u64 {
            self.stuck.clear();
            self.stuck_since = now;
        }
        // Bounded by what the spool holds: only ids that were in a wave come here, and each leaves after a while.
        self.aside.retain(|_, until| *until > now);
        let wave = match self.wave().await {
            Ok(wave) => wave,
            Err(fault) => {
                tracing::warn!(%fault, "the spool cannot be read just now");
                return Round::Later;
            }
        };
        self.tell_stuck();
        let Wave {
            entries,
            bodies,
            damaged,
        } = wave;
        if entries.is_empty() && damaged.is_empty() {
            return match self.aside.is_empty() {
                true => Round::Nothing,
                false => Round::Later,
            };
        }
        // Asked after the wave was read: that is when a damaged message is found, whatever storage does.
        if self.storage.refuses_mail() {
            return Round::Later;
        }
        let envelopes = entries.iter().map(envelope);
        let messages = bodies.into_iter().zip(envelopes).zip(&entries);
        let messages: Vec<Message> = messages
            .map(|((body, envelope), entry)| Message {
                number: entry.id.0,
                body,
                envelope,
                round: spool::round(entry),
            })
            .collect();
        let Ok(Told { results, seen }) = self.storage.hand_over(messages, &damaged).await else {
            return Round::Later;
        };
        assert_eq!(results.len(), entries.len(), "one result for each message");
        let stuck_before = self.stuck.len();
        let (seen_damaged, seen) = seen.split_at(damaged.len());
        let mut done = Vec::with_capacity(entries.len());
        for (entry, seen) in damaged.into_iter().zip(seen_damaged) {
            let why = "its bytes are damaged on every leg of the spool";
            done.extend(self.give_up(entry, *seen, why));
        }
        let aside_until = self.host.now().after_us(ASIDE_FOR.as_micros() as u64);
        for ((entry, result), seen) in entries.into_iter().zip(results).zip(seen) {
            match result {
                Ok(HandedOver::Now | HandedOver::Before) => {
                    let (spool, again) = (entry.id.0, spool::round(&entry));
                    tracing::info!(target: MESSAGE, spool, again, "handed over from the spool");
                    done.push(entry);
                }
                // The direct delivery that was not answered in time is still on its way. The next round asks again.
                Ok(HandedOver::UnderWay) => {}
                Err(fault @ (MailboxFault::TooLarge | MailboxFault::Refused(_))) => {
                    done.extend(self.give_up(entry, *seen, &fault.to_string()));
                }
                // It stays where it is in the order: when there is room it is the first again.
                Err(MailboxFault::Full) => {}
                Err(fault) => {
                    tracing::debug!(%fault, "storage defers a hand-over");
                    self.aside.insert(entry.id, aside_until);
                }
            }
        }
        self.tell_stuck();
        if done.is_empty() {
            return match self.stuck.len() > stuck_before {
                true => Round::Moved,
                false => Round::Later,
            };
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

    /// The oldest messages that neither are stuck nor wait aside, with their bytes: no two of them for one address, and none for an address of an
    /// older one that waits. At most `HANDED_AT_ONCE` and `HANDED_BYTES`.
    async fn wave(&self) -> Result<Wave, ReadFault> {
        let (mut wave, mut bytes) = (Wave::default(), 0);
        let (mut paths, mut after, mut looked_at) = (HashSet::new(), None, 0);
        loop {
            // until it is full, or nothing is left to look at
            let page = self.spool.entries(after, HANDED_AT_ONCE);
            let is_last = page.len() < HANDED_AT_ONCE;
            for entry in page {
                after = Some(entry.id);
                if self.stuck.contains_key(&entry.id) {
                    continue;
                }
                looked_at += 1;
                let own = entry.recipients.iter();
                // Order is kept for each address and not for the whole spool: one mailbox that defers holds up only its own mail.
                let own: HashSet<String> = own.map(|each| each.to.path.to_lowercase()).collect();
                let is_behind = own.iter().any(|path| paths.contains(path));
                paths.extend(own);
                if is_behind || self.aside.contains_key(&entry.id) {
                    continue;
                }
                bytes += entry.body.raw_bytes as usize;
                if !wave.entries.is_empty() && bytes > HANDED_BYTES {
                    return Ok(wave);
                }
                match self.spool.read(entry.id).await {
                    Some(Ok(body)) => {
                        wave.bodies.push(body);
                        wave.entries.push(entry);
                    }
                    Some(Err(ReadFault::Damaged)) => {
                        bytes -= entry.body.raw_bytes as usize;
                        wave.damaged.push(entry);
                    }
                    // What can be read goes first; a later round begins with this one.
                    Some(Err(_)) if !wave.entries.is_empty() => return Ok(wave),
                    Some(Err(fault)) => return Err(fault),
                    None => bytes -= entry.body.raw_bytes as usize,
                }
                if wave.entries.len() + wave.damaged.len() >= HANDED_AT_ONCE {
                    return Ok(wave);
                }
            }
            if is_last || self.aside.is_empty() && looked_at >= LOOKED_AT_MAX {
                return Ok(wave);
            }
        }
    }

    /// What cannot be handed over stays, unless storage has or had all of it: then it is answered.
    fn give_up(&mut self, entry: Entry, seen: Seen, why: &str) -> Option<Entry> {
        match seen {
            Seen::Placed => return Some(entry),
            // Asked again when that has ended.
            Seen::UnderWay => return None,
            // Storage had it: nothing is owed to its sender, and it stays a copy.
            Seen::Nowhere if spool::round(&entry) > 0 => {
                let number = entry.id.0;
                tracing::error!(
                    number,
                    why,
                    "a copy in the spool cannot be handed over again"
                );
                return Some(entry);
            }
            Seen::Partly | Seen::Nowhere => {}
        }
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
        self.stuck.insert(entry.id, seen);
        None
    }

    fn tell_stuck(&self) {
        let doubtful = self.stuck.values().filter(|seen| **seen == Seen::Partly);
        let gauges = self.spool.gauges();
        gauges.note_stuck(self.stuck.len(), doubtful.count());
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

const _: () = assert!(PAUSE_MIN.as_micros() < PAUSE_MAX.as_micros());
