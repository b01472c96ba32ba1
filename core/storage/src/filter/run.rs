//! Scripts compiled and run: here for as long as it is short, else on a thread for large work.
//!
//! How long a run may take here: `QUICK_STEPS` are an eightieth of what a run may have, which is some 0.13 ms, and 1 ms at the worst that is
//! known; a header above `QUICK_HEADER_BYTES`, whose addresses are read outside of that count, is not looked at here at all. A rule of a real
//! script takes some 50 steps.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use mail::Address;
use mailbox::{AccountId, MailboxFault, Mailboxes};
use memchr::memmem;
use sieve::limits::STEPS_COUNT_MAX;
use sieve::{Envelope, Environment, Included, Later, Outcome, Script};

use super::answers::Answers;
use super::compiled::{AWAY_BYTES, Compiled};
use super::happened::Happened;
use super::{Filter, Head, Message, Share};

/// Steps of a run on the owner's thread.
const QUICK_STEPS: u64 = STEPS_COUNT_MAX / 80;
/// A longer header is read elsewhere.
const QUICK_HEADER_BYTES: usize = 16 * 1_024;
/// Looks for what a run lacks: mailboxes, keys, and five levels of scripts, with some that change meanwhile.
const ROUNDS_MAX: usize = 24;
/// Scripts read ahead of a run.
const INCLUDES_MAX: usize = sieve::limits::INCLUDES_COUNT_MAX;

/// What is the same for all rounds of one run.
#[derive(Clone)]
struct Facts {
    raw: Bytes,
    from: Option<Address>,
    to: Address,
    domain: String,
    own: Vec<String>,
    host: String,
    now_unix_s: i64,
    spam_percent: Option<u8>,
    event: Option<Arc<Happened>>,
}

/// What the scripts of an account say, and which they were.
pub(super) struct Said {
    pub heads: Vec<Head>,
    pub outcome: Outcome,
    /// The account's own address.
    pub own: Address,
}

impl Filter {
    /// Runs the account's active scripts. `None`: it has none. `answers` is what is known already; it is filled up.
    pub(super) async fn run(
        &self,
        mailboxes: &Mailboxes,
        message: &Message<'_>,
        share: &Share,
        answers: &mut Answers,
    ) -> Result<Option<Said>, MailboxFault> {
        let inner = &self.inner;
        // A box without scripts pays one look at a counter for each message.
        if inner.scripts.count().0 == 0 {
            return Ok(None);
        }
        let account = mailboxes.directory().account_by_id(share.account).await?;
        let Some(account) = account else {
            return Ok(None);
        };
        let own = account.address;
        // What is kept apart is not delivered yet.
        if crate::reserved::is_reserved(own.domain()) {
            return Ok(None);
        }
        let domain = own.domain().to_lowercase();
        let heads = match &share.event {
            Some(event) => vec![event.head.clone()],
            None => self.active(mailboxes, share.account, &domain),
        };
        if heads.is_empty() {
            return Ok(None);
        }
        let mut scripts = Vec::with_capacity(heads.len());
        let mut kept = Vec::with_capacity(heads.len());
        for head in heads {
            match self.compiled(&head).await? {
                Compiled::Script(script) => {
                    scripts.push(script);
                    kept.push(head);
                }
                // A script that compiled in an earlier release. The message is kept: to defer it would stop all of this account's mail.
                Compiled::Broken(text) => {
                    let outcome = broken(kept.len(), text);
                    kept.push(head);
                    return Ok(Some(Said {
                        heads: kept,
                        outcome,
                        own,
                    }));
                }
                Compiled::Absent => {}
            }
        }
        if scripts.is_empty() {
            return Ok(None);
        }
        // Includes are known without running, so they cost no round.
        self.read_ahead(share.account, &scripts, answers).await?;
        let facts = self.facts(message, share, &own, domain);
        let mut rounds = 0;
        let outcome = loop {
            // until nothing is lacking, `ROUNDS_MAX` times at most
            match self.once(&scripts, &facts, answers).await {
                Ok(outcome) => break outcome,
                Err(Later) if rounds < ROUNDS_MAX => {
                    rounds += 1;
                    answers.look_up(self, mailboxes, share.account).await?;
                }
                // Deferred, the message would ask for the same again until its sender gives up.
                Err(Later) => {
                    let why = "The scripts ask for more than is looked up for one message";
                    break broken(kept.len() - 1, why.to_owned());
                }
            }
        };
        Ok(Some(Said {
            heads: kept,
            outcome,
            own,
        }))
    }

    /// Scripts that are included, and those that they include.
    async fn read_ahead(
        &self,
        account: AccountId,
        scripts: &[Arc<Script>],
        answers: &mut Answers,
    ) -> Result<(), MailboxFault> {
        let mut waiting: Vec<sieve::Wanted> = Vec::new();
        for script in scripts {
            waiting.extend_from_slice(script.includes());
        }
        let mut count = 0;
        while let Some(wanted) = waiting.pop() {
            // Ends: each is looked up once, and `INCLUDES_MAX` at most.
            if answers.knows(&wanted) {
                continue;
            }
            count += 1;
            if count > INCLUDES_MAX {
                break;
            }
            let included = self.included(account, &wanted).await?;
            if let Included::Script(script) = &included {
                waiting.extend_from_slice(script.includes());
            }
            answers.know(wanted, included);
        }
        Ok(())
    }

    fn facts(&self, message: &Message<'_>, share: &Share, own: &Address, domain: String) -> Facts {
        let raw = &message.body.raw;
        let mut names = vec![own.key()];
        names.extend(led_from(raw).map(|address| address.key()));
        Facts {
            from: Address::from_path(message.from),
            to: share.to.clone().unwrap_or_else(|| own.clone()),
            domain,
            own: names,
            host: self.inner.name.clone(),
            now_unix_s: self.inner.host.unix_seconds(),
            spam_percent: spam_percent(raw, share.is_junk),
            raw: raw.clone(),
            event: share.event.clone(),
        }
    }

    /// One round: here if it is short.
    async fn once(
        &self,
        scripts: &[Arc<Script>],
        facts: &Facts,
        answers: &mut Answers,
    ) -> Result<Outcome, Later> {
        let begin = &facts.raw[..facts.raw.len().min(QUICK_HEADER_BYTES)];
        let is_short = memmem::find(begin, b"\r\n\r\n").is_some();
        if is_short {
            let outcome = round(QUICK_STEPS, scripts, facts, answers)?;
            // A failure with steps left is the script's own, and would be the same elsewhere.
            if outcome.failure.is_none() || outcome.steps < QUICK_STEPS {
                return Ok(outcome);
            }
        }
        let inner = &self.inner;
        inner.counters.away.fetch_add(1, Relaxed);
        // Few at a time: they share the threads with the parsing of large messages.
        let turn = inner.away.acquire().await;
        let (scripts, facts, taken) = (scripts.to_vec(), facts.clone(), std::mem::take(answers));
        let work = move || {
            let outcome = round(STEPS_COUNT_MAX, &scripts, &facts, &taken);
            (outcome, taken)
        };
        let (outcome, taken) = inner.host.work(AWAY_BYTES, work).await;
        drop(turn);
        // Also when it ended with `Later`: what it lacks is noted in there.
        *answers = taken;
        outcome
    }
}

fn round(
    steps_max: u64,
    scripts: &[Arc<Script>],
    facts: &Facts,
    answers: &Answers,
) -> Result<Outcome, Later> {
    let scripts: Vec<&Script> = scripts.iter().map(|script| &**script).collect();
    let envelope = Envelope {
        from: facts.from.as_ref(),
        to: &facts.to,
    };
    let environment = Environment {
        now_unix_s: facts.now_unix_s,
        zone_minutes: 0,
        host: &facts.host,
        domain: &facts.domain,
        remote_host: None,
        remote_ip: None,
        own_addresses: &facts.own,
        separator: '+',
        spam_percent: facts.spam_percent,
        virus: None,
        event: facts.event.as_deref().map(Happened::shown),
    };
    sieve::run_within(
        steps_max,
        &scripts,
        &facts.raw,
        &envelope,
        &environment,
        answers,
    )
}

/// The outcome of a script that is not run: an older release took it and it does not compile, or it asks for too much.
fn broken(script_index: usize, text: String) -> Outcome {
    Outcome {
        actions: vec![sieve::Action::Keep {
            flags: mail::Flags::default(),
            edition: sieve::Edition::default(),
            implicit: true,
        }],
        failure: Some(sieve::Failure {
            script_index,
            included: None,
            at: None,
            text,
        }),
        ..Outcome::default()
    }
}

/// Addresses that led the message on to the account: what stands in front of the first Received is ours.
fn led_from(raw: &[u8]) -> impl Iterator<Item = Address> {
    let ours = mail::header::fields(raw)
        .take_while(|field| !field.name.eq_ignore_ascii_case(b"Received"))
        .take(FRONT_FIELDS_MAX);
    let names = ours.filter(|field| field.name.eq_ignore_ascii_case(b"Delivered-To"));
    names.filter_map(|field| {
        let path = std::str::from_utf8(field.value.trim_ascii()).ok()?;
        Address::from_path(path)
    })
}

/// How much the message looks like junk, by the field of the judge: at its bound it is 75 %. `None`: nothing judged it.
fn spam_percent(raw: &[u8], is_junk: bool) -> Option<u8> {
    let mut fields = mail::header::fields(raw).take(FRONT_FIELDS_MAX);
    let field = fields.find(|field| field.name.eq_ignore_ascii_case(spam::FIELD.as_bytes()));
    let judged = field.and_then(|field| {
        let text = std::str::from_utf8(field.value).ok()?;
        let mut words = text.split_ascii_whitespace().skip(1);
        let score: f64 = words.next()?.parse().ok()?;
        let bound: f64 = words.nth(1)?.parse().ok()?;
        let percent = 75.0 * score / bound.max(0.1);
        Some(percent.clamp(0.0, 100.0) as u8)
    });
    match (judged, is_junk) {
        (Some(percent), true) => Some(percent.max(75)),
        (Some(percent), false) => Some(percent.min(74)),
        (None, true) => Some(75),
        (None, false) => None,
    }
}

/// Fields at the front that may be ours: led on eight times with five fields each, trace fields, results, judgements.
const FRONT_FIELDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_judge_and_the_account_say_how_much_it_looks_like_junk() {
        let judged = |text: &str| format!("X-Ringpost-Spam: {text}\r\n\r\n");
        let percent = |text: &str, is_junk| spam_percent(judged(text).as_bytes(), is_junk);
        assert_eq!(percent("no, 2.0 of 5.0 (DMARC fails 2.0)", false), Some(30));
        assert_eq!(percent("yes, 9.9 of 5.0", true), Some(100));
        assert_eq!(percent("no, -3.0 of 5.0", false), Some(0));
        assert_eq!(
            percent("unsure, 4.0 of 5.0", true),
            Some(75),
            "for this person it is"
        );
        assert_eq!(
            percent("yes, 9.9 of 5.0", false),
            Some(74),
            "for this person it is not"
        );
        assert_eq!(percent("", true), Some(75));
        assert_eq!(spam_percent(b"Subject: x\r\n\r\n", false), None);
    }

    #[test]
    fn only_what_stands_before_the_first_received_led_the_message_on() {
        let raw = b"Return-Path: <a@b.example>\r\nDelivered-To: Sales@example.org\r\nReceived: x\r\nDelivered-To: forged@example.org\r\n\r\n";
        let found: Vec<String> = led_from(raw).map(|address| address.to_path()).collect();
        assert_eq!(found, ["Sales@example.org"]);
    }
}
