//! The keeper of a node without storage: recipients from the table, messages to a storage node.
//!
//! What must hold: an outcome is `Ok` only where a storage node answered 250 for it; while it is not known whether one has the message, no other is
//! asked, and the answer is a temporary one.

use std::cell::Cell;
use std::rc::Rc;

use base::BodyName;
use bytes::Bytes;
use mail::{Address, return_path};
use mailbox::{AccountId, MailboxFault};
use queue::{DeliveryId, Envelope, Terms};
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
    pub(super) shared: Rc<Shared<D>>,
}

impl<D: Dial> Clone for Afar<D> {
    fn clone(&self) -> Afar<D> {
        Afar {
            shared: self.shared.clone(),
        }
    }
}

pub(super) struct Shared<D: Dial> {
    pub caller: Caller<D>,
    pub settings: Settings,
    pool: Pool<D::Connection>,
    turns: Semaphore,
    /// What chance is drawn from: one of the same weight after the other, without a pattern that senders could fall into.
    drawn: Cell<u64>,
}

pub(super) type Results = Vec<Result<(), MailboxFault>>;

/// A message, and for whom.
#[derive(Clone)]
pub(super) struct Letter<'l> {
    pub raw: &'l Bytes,
    pub name: &'l BodyName,
    pub envelope: &'l Envelope,
    /// A path for each result.
    pub recipients: Vec<String>,
    pub id: DeliveryId,
    /// For all of its recipients or for none.
    pub is_whole: bool,
    /// It waited in the spool.
    pub is_spooled: bool,
    /// … and was handed over from there before.
    pub is_again: bool,
}

impl Letter<'_> {
    /// A delivery of its own, and the first hand-over of it.
    fn for_some(&self, recipients: Vec<String>) -> Self {
        Letter {
            id: delivery_id(self.name, &self.envelope.terms, &recipients, 0),
            recipients,
            ..self.clone()
        }
    }
}

/// Why a letter has no results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotHanded {
    Busy,
    /// A node refuses some, and took it for none. What was said to each.
    Some(Vec<Reply>),
    /// A node that has one answer for all refuses one of several, and took it for none.
    OneOfSeveral,
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
    pub(super) async fn hand(&self, letter: &Letter<'_>) -> Result<Results, NotHanded> {
        let shared = &*self.shared;
        let Settings {
            targets, doubts, ..
        } = &shared.settings;
        let host = &shared.caller.host;
        let turn = host.within(TURN_MAX, shared.turns.acquire()).await;
        let Some(Ok(_turn)) = turn else {
            return Err(NotHanded::Busy);
        };
        let terms = &letter.envelope.terms;
        let (from, recipients) = (&letter.envelope.from, &letter.recipients);
        let key = match letter.is_spooled {
            true => Key::of_spool(letter.id),
            false => Key::of(letter.raw, from, recipients, letter.is_whole),
        };
        let begun = doubts.begin(key, letter.id, host.now());
        let parcel = Parcel {
            raw: letter.raw,
            mark: Mark {
                id: begun.id,
                is_junk: terms.is_junk,
                is_spooled: letter.is_spooled,
                is_again: letter.is_again,
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
                    if let Answer::All(Outcome::Never, text) = &answer
                        && !letter.is_whole
                        && recipients.len() > 1
                        && is_about_one(&never(text, false))
                    {
                        tracing::info!(
                            text,
                            "a storage node refuses one of several recipients: each is handed over alone"
                        );
                        begun.settle();
                        return Err(NotHanded::OneOfSeveral);
                    }
                    let count = parcel.recipients.len();
                    let results = results(answer, count, letter.is_spooled);
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
                    return Ok(all(fault_of(&reply, letter.is_spooled)));
                }
                Err(Broke::SomeRefused(replies)) => {
                    target.works();
                    return Err(NotHanded::Some(replies));
                }
                Err(Broke::Busy) => return Err(NotHanded::Busy),
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

    /// As `hand`, where each recipient may have another result: one that a node with one answer for all refuses keeps nothing from the others.
    async fn hand_each(&self, letter: &Letter<'_>) -> Results {
        let busy = || unavailable("too many messages wait for a storage node");
        match self.hand(letter).await {
            Ok(results) => return results,
            Err(NotHanded::Busy) => return vec![Err(busy()); letter.recipients.len()],
            Err(NotHanded::Some(replies)) => return self.hand_to_rest(letter, &replies).await,
            Err(NotHanded::OneOfSeveral) => {}
        }
        let mut results = Vec::with_capacity(letter.recipients.len());
        for path in &letter.recipients {
            let handed = self.hand(&letter.for_some(vec![path.clone()])).await;
            results.extend(handed.unwrap_or_else(|_| vec![Err(busy())]));
        }
        results
    }

    /// To those whom a node does not refuse, as a delivery of their own.
    async fn hand_to_rest(&self, letter: &Letter<'_>, replies: &[Reply]) -> Results {
        let is_left = |index: usize| replies.get(index).is_none_or(Reply::is_ok);
        let each = || letter.recipients.iter().enumerate();
        let left = each().filter(|(index, _)| is_left(*index));
        let left: Vec<String> = left.map(|(_, path)| path.clone()).collect();
        let count = left.len();
        let handed = self.hand(&letter.for_some(left)).await;
        // Also where it refuses one of these, too: the next try begins with what it says then.
        let again = || unavailable("the other recipients wait for the next try");
        let mut handed = handed
            .unwrap_or_else(|_| vec![Err(again()); count])
            .into_iter();
        let result = |(index, _): (usize, &String)| match replies
            .get(index)
            .filter(|reply| !reply.is_ok())
        {
            Some(reply) => Err(fault_of(reply, false)),
            None => handed.next().expect("one result for each that is left"),
        };
        each().map(result).collect()
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
        let recipients = paths(&envelope);
        let name = &submission.body.name;
        let letter = Letter {
            raw: &submission.body.raw,
            name,
            id: delivery_id(name, &envelope.terms, &recipients, 0),
            recipients,
            envelope: &envelope,
            is_whole: true,
            is_spooled: false,
            is_again: false,
        };
        let results = self.hand(&letter).instrument(span.clone()).await;
        Ok(results.map_err(|_| Busy)?.into_iter().collect())
    }

    async fn deliver(
        &self,
        arrival: Arrival,
        on_behalf: OnBehalf<'_>,
        span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        let mut results: Vec<(AccountId, Result<(), MailboxFault>)> = Vec::new();
        for accounts in parts(&arrival.accounts, &arrival.junk) {
            // Every address, not one for each account: a table that came between two RCPT may mean others by the same numbers.
            let (mut recipients, mut counts) = (Vec::new(), Vec::with_capacity(accounts.len()));
            for account in &accounts {
                let theirs = on_behalf(&[*account]).recipients;
                assert!(!theirs.is_empty(), "an account stands for a recipient");
                counts.push(theirs.len());
                recipients.extend(theirs.into_iter().map(|to| to.path));
            }
            let envelope = on_behalf(&accounts);
            let letter = Letter {
                raw: &arrival.body.raw,
                name: &arrival.body.name,
                id: delivery_id(&arrival.body.name, &envelope.terms, &recipients, 0),
                recipients,
                envelope: &envelope,
                is_whole: false,
                is_spooled: false,
                is_again: false,
            };
            let handed = self.hand_each(&letter).instrument(span.clone()).await;
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

/// A message is marked as junk for all of its recipients or for none: those for whom it is not, and those for whom it is. The two parts are two
/// deliveries.
pub(super) fn parts(accounts: &[AccountId], junk: &[AccountId]) -> Vec<Vec<AccountId>> {
    let all = accounts.iter().copied();
    let (junk, other): (Vec<_>, Vec<_>) = all.partition(|account| junk.contains(account));
    let both = [other, junk].into_iter();
    both.filter(|part| !part.is_empty()).collect()
}

pub(super) fn paths(envelope: &Envelope) -> Vec<String> {
    let recipients = envelope.recipients.iter();
    recipients.map(|to| to.path.clone()).collect()
}

/// The id of a part of a message: for whom it is belongs to it, because a storage node that has an id has it for all. The spool's hand-over of it has the
/// same one, so it comes from what the spool keeps, and from nothing else. `round`: how often it was handed over before.
pub(super) fn delivery_id(
    name: &BodyName,
    terms: &Terms,
    recipients: &[String],
    round: u32,
) -> DeliveryId {
    let mut paths: Vec<&str> = recipients.iter().map(String::as_str).collect();
    paths.sort_unstable();
    let mut text = name.0.to_vec();
    text.push(u8::from(terms.is_junk));
    for path in paths {
        text.extend_from_slice(path.as_bytes());
        // No path has it.
        text.push(0);
    }
    DeliveryId::again(&BodyName::of(&text), round)
}

pub(super) fn unavailable(why: &str) -> MailboxFault {
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
    matches!(
        fault,
        NoAccount | NotPermitted | TooLarge | OverQuota | Refused(_)
    )
}

fn results(answer: Answer, count: usize, is_spooled: bool) -> Results {
    match answer {
        Answer::Each(replies) => {
            let each = replies.iter();
            each.map(|reply| match reply.is_ok() {
                true => Ok(()),
                false => Err(fault_of(reply, is_spooled)),
            })
            .collect()
        }
        Answer::All(Outcome::Taken, _) => vec![Ok(()); count],
        Answer::All(Outcome::Later, text) => vec![Err(unavailable(&text)); count],
        Answer::All(Outcome::Never, text) => vec![Err(never(&text, is_spooled)); count],
    }
}

/// What a refusal for good means.
fn never(text: &str, is_spooled: bool) -> MailboxFault {
    let (code, words) = text.split_once(' ').unwrap_or_default();
    fault_by(code, words, is_spooled)
}

/// It may be another one for the other recipients.
fn is_about_one(fault: &MailboxFault) -> bool {
    matches!(fault, MailboxFault::NoAccount | MailboxFault::NotPermitted)
}

/// What a storage node's refusal means.
fn fault_of(reply: &Reply, is_spooled: bool) -> MailboxFault {
    let words = reply.lines.first().map_or("", String::as_str);
    fault_by(&reply.code.to_string(), words, is_spooled)
}

/// By its status (RFC 3463), which its table of replies gives each refusal. What is not about the message or its recipient is about our own nodes, and is
/// no sender's fault: it defers. From the spool it would be deferred without end, and all for its recipients behind it: there what is refused for good is
/// put aside (`Refused`).
fn fault_by(code: &str, words: &str, is_spooled: bool) -> MailboxFault {
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
        (Some(b'5'), _) if is_spooled => {
            tracing::warn!(code, words, "a storage node refuses a message of the spool");
            MailboxFault::Refused("a storage node refuses it for good")
        }
        _ => unavailable(&format!("it says {code} {words}")),
    }
}
