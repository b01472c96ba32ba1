//! The keeper of a node without storage: recipients from the table, messages to a storage node.
//!
//! What must hold: an outcome is `Ok` only where a storage node answered 250 for it; while it is not known whether one has the message, no other is
//! asked, and the answer is a temporary one.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use mail::{Address, return_path};
use mailbox::{AccountId, MailboxFault};
use queue::{DeliveryId, Envelope};
use runtime::events::MESSAGE;
use runtime::{Dial, Stop};
use smtp::client::Reply;
use smtp::qmqp::Outcome;
use storage::addresses::Refused;
use storage::arrival::{Arrival, Looked};
use storage::outgoing::Submission;
use storage::owner::Busy;
use tokio::sync::Semaphore;
use tracing::{Instrument, Span};

use super::doubt::{Doubts, Key};
use super::limits::*;
use super::pool::Pool;
use super::table::Table;
use super::talk::{Answer, Broke, Caller, Parcel};
use super::target::{Protocol, Targets};
use crate::receive::{Keeper, Mark, OnBehalf};

/// What the cores of a node share.
#[derive(Clone)]
pub struct Settings {
    pub targets: Targets,
    pub table: Table,
    pub doubts: Doubts,
}

/// Storage on other machines, for one core. Clones are the same.
pub struct Afar<D: Dial> {
    shared: Rc<Shared<D>>,
}

impl<D: Dial> Clone for Afar<D> {
    fn clone(&self) -> Afar<D> {
        Afar {
            shared: self.shared.clone(),
        }
    }
}

struct Shared<D: Dial> {
    caller: Caller<D>,
    settings: Settings,
    pool: Pool<D::Connection>,
    turns: Semaphore,
    /// What chance is drawn from: one of the same weight after the other, without a pattern that senders could fall into.
    drawn: Cell<u64>,
}

type Results = Vec<Result<(), MailboxFault>>;

/// A message, and for whom.
struct Letter<'l> {
    raw: &'l Bytes,
    envelope: &'l Envelope,
    /// A path for each result.
    recipients: Vec<String>,
    id: DeliveryId,
    is_whole: bool,
}

impl<D: Dial> Afar<D> {
    pub fn new(caller: Caller<D>, settings: Settings) -> Afar<D> {
        Afar {
            shared: Rc::new(Shared {
                pool: Pool::new(settings.targets.all().len()),
                caller,
                settings,
                turns: Semaphore::new(TALKS_MAX),
                drawn: Cell::new(0),
            }),
        }
    }

    /// Closes connections that wait: the old ones now and then, all of them at the stop, which waits for connections to end.
    pub async fn look_after(self, stop: Stop) {
        let shared = &self.shared;
        loop {
            // until the stop
            tokio::select! {
                biased;
                () = stop.requested() => return shared.pool.close(),
                () = shared.caller.host.sleep(IDLE_FOR) => {
                    shared.pool.forget_old(shared.caller.host.now());
                }
            }
        }
    }

    /// One result for each recipient of the letter.
    async fn hand(&self, letter: &Letter<'_>) -> Result<Results, Busy> {
        let shared = &*self.shared;
        let Settings {
            targets, doubts, ..
        } = &shared.settings;
        let host = &shared.caller.host;
        let turn = host.within(TURN_MAX, shared.turns.acquire()).await;
        let Some(Ok(_turn)) = turn else {
            return Err(Busy);
        };
        let terms = &letter.envelope.terms;
        let (from, recipients) = (&letter.envelope.from, &letter.recipients);
        let key = Key::of(letter.raw, from, recipients, letter.is_whole);
        let begun = doubts.begin(key, letter.id, host.now());
        let parcel = Parcel {
            raw: letter.raw,
            mark: Mark {
                id: begun.id,
                is_junk: terms.is_junk,
            },
            from,
            recipients,
            is_eight_bit: terms.is_eight_bit,
            is_utf8: terms.is_utf8
                || !letter.envelope.from.is_ascii()
                || letter.recipients.iter().any(|to| !to.is_ascii()),
            is_whole: letter.is_whole,
        };
        let all = |fault: MailboxFault| vec![Err(fault); letter.recipients.len()];
        let draw = || {
            let drawn = shared.drawn.get();
            shared.drawn.set(drawn.wrapping_add(1));
            base::hash::xxh3_64(&drawn.to_le_bytes(), 0)
        };
        let mut order = targets.order(begun.sent.map(|sent| sent.target), draw);
        let mut why = "no storage node works".to_owned();
        if let Some(sent) = begun.sent.filter(|sent| sent.holds(host.now())) {
            // Another door of the same node has the same name, and finds the id.
            let all = targets.all();
            order.retain(|index| all[*index].name == all[sent.target].name);
            let label = targets.all()[sent.target].label();
            why = format!("{label} may have it, and does not work");
        }
        for index in order {
            let target = &targets.all()[index];
            let now = || host.now();
            let note = || begun.note(index, now());
            match self.send(index, &parcel, note).await {
                Ok(answer) => {
                    target.works();
                    let results = results(answer, parcel.recipients.len());
                    let is_open = |result: &Result<(), MailboxFault>| {
                        result.as_ref().is_err_and(|fault| !is_final(fault))
                    };
                    // One that is deferred may be under way there since the first try: it stays in doubt.
                    if !results.iter().any(is_open) {
                        begun.settle();
                    }
                    targets.count(index, results.iter().any(Result::is_ok));
                    tracing::info!(target: MESSAGE, storage = %target.address, id = %parcel.mark, "handed over");
                    return Ok(results);
                }
                Err(Broke::Refused(reply)) => {
                    target.works();
                    targets.count(index, false);
                    return Ok(all(fault_of(&reply)));
                }
                Err(Broke::Busy) => return Err(Busy),
                Err(Broke::Stopping) => {
                    return Ok(all(unavailable("the appliance is stopping")));
                }
                Err(Broke::InDoubt(words)) => {
                    target.fails(&words, now());
                    shared.pool.clear(index);
                    targets.count(index, false);
                    let words = format!("{}: {words}", target.label());
                    return Ok(all(unavailable(&words)));
                }
                Err(Broke::Before(words)) => {
                    target.fails(&words, now());
                    shared.pool.clear(index);
                    targets.count(index, false);
                    why = format!("{}: {words}", target.label());
                }
                Err(Broke::Untouched) => unreachable!("a fresh connection was tried"),
            }
        }
        Ok(all(unavailable(&why)))
    }

    /// To one storage node, over a connection that waited or a fresh one.
    async fn send(
        &self,
        index: usize,
        parcel: &Parcel<'_>,
        note: impl Fn(),
    ) -> Result<Answer, Broke> {
        let shared = &*self.shared;
        let caller = &shared.caller;
        let target = &shared.settings.targets.all()[index];
        if target.protocol == Protocol::Qmqp {
            return caller.request(target, parcel, &note).await;
        }
        if let Some(mut talk) = shared.pool.take(index, caller.host.now()) {
            match talk.transact(&caller.host, parcel, &note).await {
                // The others have waited longer.
                Err(Broke::Untouched) => shared.pool.clear(index),
                answer => {
                    if answer.is_ok() {
                        shared.pool.put(index, talk, caller.host.now());
                    }
                    return answer;
                }
            }
        }
        let mut talk = caller.open(target).await?;
        let answer = talk.transact(&caller.host, parcel, &note).await?;
        shared.pool.put(index, talk, caller.host.now());
        Ok(answer)
    }
}

impl<D: Dial> Keeper for Afar<D> {
    async fn look_up(&self, address: &Address) -> Result<Looked, Busy> {
        let shared = &self.shared;
        let now = shared.caller.host.now();
        Ok(shared.settings.table.look_up(address, now))
    }

    fn refuses(&self) -> bool {
        !self.shared.settings.targets.any_up()
    }

    /// Who may post, and whether a return path is sealed, only the storage node knows. What is certain is said here.
    async fn admit(
        &self,
        address: &Address,
        sender: Option<&Address>,
        _unix_seconds: u64,
    ) -> Result<Result<Result<(), Refused>, MailboxFault>, Busy> {
        Ok(Ok(
            match return_path::is_sealed(address) && sender.is_some() {
                true => Err(Refused::NoReport),
                false => Ok(()),
            },
        ))
    }

    async fn submit(
        &self,
        submission: Submission,
        span: &Span,
    ) -> Result<Result<(), MailboxFault>, Busy> {
        let mut envelope = submission.elsewhere;
        let here = submission.here.into_iter();
        envelope
            .recipients
            .extend(here.filter_map(|local| local.to));
        let letter = Letter {
            raw: &submission.body.raw,
            recipients: envelope
                .recipients
                .iter()
                .map(|to| to.path.clone())
                .collect(),
            envelope: &envelope,
            id: DeliveryId::of(&submission.body.name),
            is_whole: true,
        };
        let results = self.hand(&letter).instrument(span.clone()).await?;
        Ok(results.into_iter().collect())
    }

    async fn deliver(
        &self,
        arrival: Arrival,
        on_behalf: OnBehalf<'_>,
        span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        let (junk, other): (Vec<AccountId>, Vec<AccountId>) = arrival
            .accounts
            .iter()
            .partition(|account| arrival.junk.contains(account));
        let mut results: Vec<(AccountId, Result<(), MailboxFault>)> = Vec::new();
        // Twice at most: a message is marked as junk for all of its recipients or for none.
        for accounts in [other, junk] {
            if accounts.is_empty() {
                continue;
            }
            // Every address, not one for each account: a table that came between two RCPT may mean others by the same numbers.
            let (mut recipients, mut counts) = (Vec::new(), Vec::with_capacity(accounts.len()));
            for account in &accounts {
                let theirs = on_behalf(&[*account]).recipients;
                assert!(!theirs.is_empty(), "an account stands for a recipient");
                counts.push(theirs.len());
                recipients.extend(theirs.into_iter().map(|to| to.path));
            }
            let envelope = on_behalf(&accounts);
            let is_split = accounts.len() < arrival.accounts.len();
            let letter = Letter {
                raw: &arrival.body.raw,
                recipients,
                id: match is_split && envelope.terms.is_junk {
                    false => DeliveryId::of(&arrival.body.name),
                    // The two parts are two deliveries.
                    true => {
                        let name = [&arrival.body.name.0[..], b"junk"].concat();
                        DeliveryId::of(&base::BodyName::of(&name))
                    }
                },
                envelope: &envelope,
                is_whole: false,
            };
            let handed = self.hand(&letter).instrument(span.clone()).await;
            let busy = || unavailable("too many messages wait for a storage node");
            let paths = counts.iter().sum();
            let handed = handed.unwrap_or_else(|Busy| vec![Err(busy()); paths]);
            let mut handed = &handed[..];
            for (account, count) in accounts.into_iter().zip(counts) {
                let (own, rest) = handed.split_at(count);
                results.push((account, for_account(own)));
                handed = rest;
            }
        }
        let result = |account: &AccountId| {
            let found = results.iter().find(|(each, _)| each == account);
            found.expect("each account was handed over").1.clone()
        };
        Ok(arrival.accounts.iter().map(result).collect())
    }
}

fn unavailable(why: &str) -> MailboxFault {
    MailboxFault::Unavailable(why.to_owned())
}

/// What its addresses came to, at least one. Where they do not agree the sender tries again, and the table is another one by then.
fn for_account(own: &[Result<(), MailboxFault>]) -> Result<(), MailboxFault> {
    match own.iter().all(|result| *result == own[0]) {
        true => own[0].clone(),
        false => Err(unavailable("addresses of one account got several answers")),
    }
}

/// The next try would come to the same.
fn is_final(fault: &MailboxFault) -> bool {
    use MailboxFault::*;
    matches!(fault, NoAccount | NotPermitted | TooLarge | OverQuota)
}

fn results(answer: Answer, count: usize) -> Results {
    match answer {
        Answer::Each(replies) => {
            let each = replies.iter();
            each.map(|reply| match reply.is_ok() {
                true => Ok(()),
                false => Err(fault_of(reply)),
            })
            .collect()
        }
        Answer::All(Outcome::Taken, _) => vec![Ok(()); count],
        Answer::All(Outcome::Later, text) => vec![Err(unavailable(&text)); count],
        // One of several is meant, and it is not known which.
        Answer::All(Outcome::Never, text) if count > 1 => {
            tracing::warn!(
                text,
                "a storage node refuses a message for one of several recipients"
            );
            vec![Err(unavailable(&text)); count]
        }
        Answer::All(Outcome::Never, text) => {
            let (code, words) = text.split_once(' ').unwrap_or_default();
            vec![Err(fault_by(code, words)); count]
        }
    }
}

/// What a storage node's refusal means.
fn fault_of(reply: &Reply) -> MailboxFault {
    let words = reply.lines.first().map_or("", String::as_str);
    fault_by(&reply.code.to_string(), words)
}

/// By its status (RFC 3463), which its table of replies gives each refusal. What is not about the message or its recipient is about our own nodes, and is
/// no sender's fault: it defers.
fn fault_by(code: &str, words: &str) -> MailboxFault {
    let status = words.split(' ').next().unwrap_or("");
    match (code.as_bytes().first(), status) {
        (Some(b'5'), "5.3.4") => MailboxFault::TooLarge,
        (Some(b'5'), "5.7.2") => MailboxFault::NotPermitted,
        // No such user, no such domain; not a domain of ours.
        (Some(b'5'), "5.1.1" | "5.1.2" | "5.7.1") => {
            tracing::info!(code, words, "a storage node refuses a recipient");
            MailboxFault::NoAccount
        }
        (Some(b'4'), "4.2.2") => MailboxFault::OverQuota,
        (Some(b'4'), "4.3.1") => MailboxFault::Full,
        _ => unavailable(&format!("it says {code} {words}")),
    }
}
