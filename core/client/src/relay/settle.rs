//! What came of a try is noted: in the queue, and in a report to the sender where there is something to hear.
//!
//! What must hold: what a server took is noted before the message's lease ends, as long as this core lives and storage takes it at all; a
//! report and what it is about are one durable step.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use base::BodyName;
use bytes::Bytes;
use dns::Names;
use mail::Summary;
use queue::{Entry, Envelope, Note, Outcome, QueueFault, RecipientState, UnixSeconds};
use runtime::Dial;
use runtime::events::MESSAGE;
use storage::owner::Ask;
use store::{BodyIn, StoreFault};

use super::letter::{Letter, travels_from};
use super::limits::*;
use super::report::{self, Action, Case};
use super::schedule;
use super::sender::Shared;
use super::verdict::Verdict;

type Report = (BodyIn, Envelope);

impl<K: Ask, N: Names, D: Dial> Shared<K, N, D> {
    /// Notes `verdicts`; comes back when they are noted, or cannot be before the appliance stops.
    pub(super) async fn settle(&self, letter: &Rc<Letter>, verdicts: Vec<(u32, Verdict)>) {
        let entry = letter.entry();
        let now = self.unix_now();
        // After a jump of the clock the age of messages is not to be trusted: nothing expires until it is plausible again.
        let expires = match self.age_counts() {
            true => entry.expires,
            false => UnixSeconds(u64::MAX),
        };
        let mut outcomes = Vec::with_capacity(verdicts.len());
        for (index, verdict) in &verdicts {
            let Some(recipient) = entry.recipients.get(*index as usize) else {
                continue;
            };
            let (tries, said) = (recipient.tries.saturating_add(1), verdict.said());
            let random = &mut self.random.borrow_mut();
            let state = schedule::decide(verdict, tries, now, expires, random);
            letter.set_state(*index, state);
            let counter = match state {
                RecipientState::Delivered => &self.counters.delivered,
                RecipientState::Waiting(_) => &self.counters.deferred,
                RecipientState::Failed => &self.counters.failed,
            };
            counter.fetch_add(1, Relaxed);
            self.tell(entry, *index, state, verdict);
            outcomes.push(Outcome {
                recipient: *index,
                state,
                reply: said.text.clone(),
                host: said.host.clone(),
            });
        }
        let warned = self.is_to_be_warned(letter, now);
        let cases = cases(letter, &verdicts, &outcomes, warned);
        if outcomes.is_empty() && !warned {
            return;
        }
        let note = Note {
            at: now,
            warned,
            outcomes,
        };
        let report = self.report(entry, &cases, now).await;
        if report.is_some() {
            self.counters.reports.fetch_add(1, Relaxed);
        }
        // Both are one commit: a crash between the report and the note would send it twice, or never.
        self.note(entry, note, report).await;
    }

    /// These three lines are what `trace` reads: their fields are an interface.
    fn tell(&self, entry: &Entry, index: u32, state: RecipientState, verdict: &Verdict) {
        let (queue, said) = (entry.id.0, verdict.said());
        let from = entry.from.as_str();
        let to = entry.recipients[index as usize].to.path.as_str();
        let (host, text) = (said.host.as_str(), said.text.as_str());
        match state {
            RecipientState::Delivered => {
                let tls = said.tls.word();
                tracing::info!(target: MESSAGE, queue, from, to, host, text, tls, "delivered")
            }
            RecipientState::Waiting(next) => {
                tracing::info!(target: MESSAGE, queue, from, to, host, text, next = next.0, "to be tried again")
            }
            RecipientState::Failed => {
                tracing::info!(target: MESSAGE, queue, from, to, host, text, "given up")
            }
        }
    }

    /// Whether this is the moment at which the sender hears that something still waits.
    fn is_to_be_warned(&self, letter: &Letter, now: UnixSeconds) -> bool {
        let entry = letter.entry();
        let is_due = entry.warns.0 > 0 && now >= entry.warns && !letter.warned.get();
        let is_so = is_due && self.warns() && !letter.waiting().is_empty();
        if is_so {
            letter.warned.set(true);
        }
        is_so
    }

    async fn report(&self, entry: &Entry, cases: &[Case<'_>], now: UnixSeconds) -> Option<Report> {
        if cases.is_empty() {
            return None;
        }
        let wanted = report::wanted_bytes(entry, cases);
        let mut beginning = Vec::with_capacity(wanted);
        while beginning.len() < wanted {
            // What cannot be read does not go back; the report goes all the same.
            let Some(piece) = self.read(entry.id, beginning.len() as u32).await else {
                break;
            };
            beginning.extend_from_slice(&piece[..piece.len().min(wanted - beginning.len())]);
        }
        beginning.drain(..travels_from(&beginning));
        // Not the queue's number alone: reports about one message are several, and their Message-IDs must differ.
        let mark = self.random.borrow_mut().u64(..);
        let hostname = &self.caller.hostname;
        let report = report::write(hostname, entry, cases, &beginning, now, mark);
        let raw = Bytes::from(self.signed(report.raw).await);
        let body = BodyIn {
            name: BodyName::of(&raw),
            summary: Bytes::from(Summary::of(&raw).encode()),
            raw,
        };
        Some((body, report.envelope))
    }

    /// A report is from our host name: that domain signs it, or the one above. One that cannot be signed goes unsigned: what it says must not wait.
    async fn signed(&self, raw: Vec<u8>) -> Vec<u8> {
        let domain = dkim::ascii_domain(&self.caller.hostname);
        let (owner, host) = (&self.owner, &self.caller.host);
        let signed = self.signing.sign(owner, host, &domain, raw, 0).await;
        signed.unwrap_or_else(|(why, raw)| {
            tracing::warn!(domain, ?why, "a report goes unsigned");
            raw
        })
    }

    /// Has the owner note it, again and again until it is noted.
    ///
    /// At a stop there is a last chance of some seconds, and then the process ends without the note: the message goes twice, which is the lesser evil.
    async fn note(&self, entry: &Entry, note: Note, mut report: Option<Report>) {
        let id = entry.id;
        // A server has taken the message; only this note keeps it from getting it again. So the loop gives up words and the report before it
        // gives up the note.
        let (mut note, mut pause) = (note, NOTE_AGAIN);
        let (mut is_cut, mut is_bare) = (false, false);
        loop {
            // until it is noted, or the appliance stops
            let (this, about) = (note.clone(), report.clone());
            let settled = self.owner.ask_outgoing(move |outgoing| async move {
                outgoing.settle(id, this, about).await
            });
            match settled.await {
                Ok(Ok(())) => return,
                // An administrator took it out.
                Ok(Err(QueueFault::NoEntry)) => return,
                // What was delivered must not be sent again, whatever is wrong with the words about it.
                Ok(Err(QueueFault::Refused(why))) if !is_bare => {
                    tracing::error!(id = id.0, why, "what came of a try cannot be noted in full");
                    report = None;
                    note = without_words(without_report(note));
                    (is_cut, is_bare) = (true, true);
                    continue;
                }
                Ok(Err(QueueFault::Refused(why))) => {
                    tracing::error!(id = id.0, why, "what came of a try cannot be noted");
                    return;
                }
                Ok(Err(QueueFault::Full | QueueFault::Store(StoreFault::Full)))
                    if report.is_some() && !is_cut =>
                {
                    // No room for a report, and what was delivered must not be sent again. The rest is tried again, and reported then.
                    // It would be past its time at the next look, and at each one after it.
                    let host = &self.caller.host;
                    let again = host.now().after_us(FULL_PAUSE_S * 1_000_000);
                    self.reports_from.set(again);
                    report = None;
                    note = without_report(note);
                    is_cut = true;
                    continue;
                }
                Ok(Err(fault)) => {
                    tracing::warn!(id = id.0, %fault, "storage does not note what came of a try yet")
                }
                Err(busy) => tracing::debug!(id = id.0, %busy, "not noted yet"),
            }
            if self.stop.is_requested() && pause > NOTE_AGAIN * 4 {
                return;
            }
            self.caller.host.sleep(pause).await;
            pause = next_pause(pause, self.stop.is_requested());
        }
    }

    /// The message's content from `at` on, some of it. `None`: it cannot be read now.
    pub(super) async fn read(&self, id: queue::QueueId, at: u32) -> Option<Bytes> {
        for attempt in 1..=READS_MAX {
            let asked = self
                .owner
                .ask_outgoing(move |outgoing| async move { outgoing.body(id, at).await });
            match asked.await {
                // An empty piece would be asked for without end.
                Ok(Some(Ok(piece))) => return Some(piece).filter(|piece| !piece.is_empty()),
                Ok(None) => return None,
                Ok(Some(Err(fault))) => {
                    tracing::warn!(id = id.0, at, %fault, "a message that waits cannot be read")
                }
                Err(_busy) => {}
            }
            if attempt < READS_MAX {
                self.caller.host.sleep(NOTE_AGAIN).await;
            }
        }
        None
    }
}

// Each after a pause. A message that cannot be read now is tried again with its next lease, so that this need not be long.
const READS_MAX: usize = 3;

fn next_pause(pause: Duration, stopping: bool) -> Duration {
    match stopping {
        // There are seconds left.
        true => pause,
        false => (pause * 2).min(NOTE_AGAIN_MAX),
    }
}

/// What was given up waits on: nothing is noted as failed without the report about it.
fn without_report(note: Note) -> Note {
    let later = RecipientState::Waiting(UnixSeconds(note.at.0 + FULL_PAUSE_S));
    let each = note
        .outcomes
        .into_iter()
        .map(|outcome| match outcome.state {
            RecipientState::Failed => Outcome {
                state: later,
                ..outcome
            },
            _ => outcome,
        });
    Note {
        at: note.at,
        warned: false,
        outcomes: each.collect(),
    }
}

/// Only what became of each recipient.
fn without_words(note: Note) -> Note {
    let outcomes = note.outcomes.into_iter().map(|outcome| Outcome {
        reply: String::new(),
        host: String::new(),
        ..outcome
    });
    Note {
        outcomes: outcomes.collect(),
        ..note
    }
}

/// Until there may be room for a report.
const FULL_PAUSE_S: u64 = 1_800;

/// What the sender is to hear.
fn cases<'l>(
    letter: &'l Letter,
    verdicts: &[(u32, Verdict)],
    outcomes: &[Outcome],
    warned: bool,
) -> Vec<Case<'l>> {
    let entry = letter.entry();
    let mut cases = Vec::new();
    // What the sender asked for (NOTIFY) decides for each recipient, so that one report may be about two of five.
    let mut add = |index: u32, action: Action, text: &str, host: &str| {
        let recipient = &entry.recipients[index as usize];
        if report::wants(entry, recipient, action) {
            cases.push(Case {
                recipient,
                action,
                text: text.to_owned(),
                host: host.to_owned(),
            });
        }
    };
    for outcome in outcomes {
        let verdict = verdicts
            .iter()
            .find(|(index, _)| *index == outcome.recipient);
        let reports = verdict.is_some_and(|(_, verdict)| verdict.said().reports);
        let action = match outcome.state {
            RecipientState::Failed => Action::Failed,
            // RFC 3461 §5.2.2: a server with DSN reports itself.
            RecipientState::Delivered if !reports => Action::Relayed,
            _ => continue,
        };
        add(outcome.recipient, action, &outcome.reply, &outcome.host);
    }
    if warned {
        for index in letter.waiting() {
            let known = &entry.recipients[index as usize];
            let now = outcomes.iter().find(|outcome| outcome.recipient == index);
            match now {
                Some(outcome) => add(index, Action::Delayed, &outcome.reply, &outcome.host),
                None => add(index, Action::Delayed, &known.reply, &known.host),
            }
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Note {
        let states = [
            RecipientState::Delivered,
            RecipientState::Failed,
            RecipientState::Waiting(UnixSeconds(900)),
        ];
        let outcomes = (0..).zip(states).map(|(recipient, state)| Outcome {
            recipient,
            state,
            reply: "250 2.0.0 ok".to_owned(),
            host: "mx.example.net".to_owned(),
        });
        Note {
            at: UnixSeconds(100),
            warned: true,
            outcomes: outcomes.collect(),
        }
    }

    fn states(note: &Note) -> Vec<RecipientState> {
        note.outcomes.iter().map(|outcome| outcome.state).collect()
    }

    /// What was delivered stays so, whatever is left away: it would be sent again.
    #[test]
    fn without_words_a_note_says_the_same_of_each_recipient() {
        let (whole, bare) = (note(), without_words(note()));
        assert_eq!((bare.at, bare.warned), (whole.at, whole.warned));
        assert_eq!(states(&bare), states(&whole));
        for (index, outcome) in (0..).zip(&bare.outcomes) {
            assert_eq!(outcome.recipient, index);
            assert!(outcome.reply.is_empty() && outcome.host.is_empty());
        }
    }

    /// What failed, and is not reported, waits on; so does the word that it waits.
    #[test]
    fn without_a_report_nothing_is_noted_as_failed_or_heard() {
        let cut = without_report(note());
        assert!(!cut.warned);
        let later = RecipientState::Waiting(UnixSeconds(100 + FULL_PAUSE_S));
        let expected = [
            RecipientState::Delivered,
            later,
            RecipientState::Waiting(UnixSeconds(900)),
        ];
        assert_eq!(states(&cut), expected);
        assert_eq!(cut.outcomes[1].reply, "250 2.0.0 ok");
    }
}
