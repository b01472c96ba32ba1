//! Stage 3, behind authentication: how much a stranger's message looks like junk, and for whom it is filed as junk.
//!
//! `core/spam` judges; here it meets the core: the look at the bytes runs beside it when the message is large, and the words are asked for
//! from the storage room's owner thread, which has the people's lessons. What must hold:
//!
//! - Where judging is off, or the message is refused already, no byte is looked at.
//! - An owner that is busy or slow gives no words, and never a refusal: the rest of the evidence stands.
//! - Where nothing is trained the words are not even read; the owner is asked again some seconds later.
//! - A message for several people says nothing in its field of what one of them taught.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use base::Time;
use smtp::{ForwardPath, Recipient, Refusal, Role};
use spam::{Judgement, Points, Reading, Want, Whose, Words};
use storage::lessons::{Answer, Asked, For};

use super::authentic::Front;
use super::content::Incoming;
use super::judged::Judged;
use super::route::Route;
use super::{Keeper, Receiver, Settings};

/// How mail of strangers is judged, on one core.
pub struct Judge {
    /// From this score on a message is junk.
    junk: Points,
    /// From this score on it is refused; `None`: never.
    refuse: Option<Points>,
    /// Until then the owner is not asked for words: nothing is trained.
    quiet_until: Cell<Time>,
}

impl Judge {
    pub fn new(junk: Points, refuse: Option<Points>) -> Judge {
        let quiet_until = Cell::new(Time(0));
        Judge {
            junk,
            refuse,
            quiet_until,
        }
    }
}

impl<K: Keeper> Receiver<K> {
    /// Judges `content`, which comes back as it was, and notes the outcome in `front` and `incoming`.
    pub(super) async fn judge(
        &self,
        settings: &Settings,
        front: &mut Front,
        content: Vec<u8>,
        incoming: &mut Incoming,
        recipients: &[Recipient<Route>],
    ) -> Vec<u8> {
        // LMTP: a mail server of the operator's own is in front, as for `authentic`.
        if settings.smtp.role == Role::Lmtp || front.refusal.is_some() {
            return content;
        }
        let Some(judge) = &self.judge else {
            if front.is_apart {
                incoming.judged = judged(recipients, |_| true);
            }
            return content;
        };
        let want = match self.host.now() < judge.quiet_until.get() {
            true => Want::Structure,
            false => Want::Words,
        };
        let bytes = content.len().min(spam::limits::READ_BYTES_MAX);
        let trace_bytes = incoming.trace_bytes;
        let read = move || {
            let reading = Reading::of(&content[trace_bytes..], want);
            (content, reading)
        };
        let (content, mut reading) = self.host.work(bytes, read).await;
        let base = spam::judge(&front.author, &incoming.peer, &reading);
        let tokens = std::mem::take(&mut reading.tokens);
        let words = self.words(judge, tokens, recipients).await;

        let score = |words: Option<Words>| base.clone().with(words).score;
        let scores: Vec<Points> = words.iter().map(|words| score(*words)).collect();
        let is_junk = |index: usize| front.is_apart || scores[index] >= judge.junk;
        incoming.judged = judged(recipients, is_junk);
        let judgement = base.with(shown(recipients, &words));
        let class = judgement.class(judge.junk);
        self.counters.judged[class as usize].fetch_add(1, Relaxed);
        let all = |least: Points| scores.iter().all(|score| *score >= least);
        if judge
            .refuse
            .is_some_and(|least| !scores.is_empty() && all(least))
        {
            self.counters.junk_refused.fetch_add(1, Relaxed);
            front.refusal = Some(Refusal::Junk);
        }
        self.put_field(front, incoming, &judgement, judge.junk);
        content
    }

    fn put_field(
        &self,
        front: &mut Front,
        incoming: &mut Incoming,
        judgement: &Judgement,
        junk: Points,
    ) {
        let (id, score) = (incoming.id.as_str(), judgement.score);
        tracing::info!(id, %score, class = judgement.class(junk).word(), "judged");
        let field = spam::field(judgement, junk);
        if incoming.may_grow(field.len()) {
            front.add(&field);
        } else if front.refusal.is_none() {
            front.refusal = Some(Refusal::StorageFull);
        }
    }

    /// What words say for each recipient.
    async fn words(
        &self,
        judge: &Judge,
        tokens: Vec<u64>,
        recipients: &[Recipient<Route>],
    ) -> Vec<Option<Words>> {
        let none = vec![None; recipients.len()];
        if tokens.is_empty() {
            return none;
        }
        let of = recipients.iter().map(asked_for).collect();
        let ask = self.keeper.words(Asked { tokens, of });
        match self.host.within(WORDS_WITHIN, ask).await {
            Some(Ok(Answer::Words(words))) if words.len() == recipients.len() => words,
            Some(Ok(Answer::Untrained)) | Some(Err(_)) | None => {
                // Busy or slow too: an owner that has much to do is left alone.
                let until = self.host.now().after_us(QUIET_US);
                judge.quiet_until.set(until);
                none
            }
            Some(Ok(Answer::Words(_))) => none,
        }
    }
}

fn asked_for(recipient: &Recipient<Route>) -> For {
    let named = match &recipient.path {
        ForwardPath::Address(address) => Some(address),
        ForwardPath::Postmaster => None,
    };
    let (account, address) = match &recipient.route {
        Route::Local { account, to } => (Some(*account), to.as_ref().or(named)),
        Route::Listed { to } => (None, Some(to)),
    };
    For {
        account,
        domain: address.map_or(String::new(), |address| address.domain().to_lowercase()),
    }
}

/// An account with several addresses gets one copy: it is junk where it is for one of them. Addresses that lead on share one message in the
/// queue, and may be of different domains: it is junk where it is for all of them.
fn judged(recipients: &[Recipient<Route>], is_junk: impl Fn(usize) -> bool) -> Judged {
    let mut judged = Judged::default();
    let (mut led_on, mut led_on_as_junk) = (0, 0);
    for (index, recipient) in recipients.iter().enumerate() {
        let is_junk = is_junk(index);
        match recipient.route {
            Route::Local { account, .. } if is_junk => judged.accounts.push(account),
            Route::Local { .. } => {}
            Route::Listed { .. } => {
                led_on += 1;
                led_on_as_junk += usize::from(is_junk);
            }
        }
    }
    judged.is_junk = led_on > 0 && led_on == led_on_as_junk;
    judged.accounts.sort_unstable();
    judged.accounts.dedup();
    judged
}

/// The words that the field may show: a person's own only to that person, a domain's only to people of it.
fn shown(recipients: &[Recipient<Route>], words: &[Option<Words>]) -> Option<Words> {
    let first = words.first().copied().flatten()?;
    let is_alone = recipients.len() == 1;
    let is_same = words.iter().all(|words| *words == Some(first));
    (is_alone || is_same && first.whose == Whose::Domain).then_some(first)
}

/// How long the owner is waited for.
const WORDS_WITHIN: Duration = Duration::from_millis(250);
const QUIET_US: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use mail::Address;
    use mailbox::AccountId;

    use super::*;

    fn to(route: Route) -> Recipient<Route> {
        Recipient {
            path: ForwardPath::Postmaster,
            notify: None,
            original: None,
            route,
        }
    }

    fn listed(path: &str) -> Recipient<Route> {
        let to_whom = Address::from_path(path).expect("an address");
        to(Route::Listed { to: to_whom })
    }

    /// They share one message in the queue: what one domain's words say must not hide the mail of another.
    #[test]
    fn what_is_led_on_is_junk_where_it_is_for_all_that_are_led_on() {
        let local = || {
            to(Route::Local {
                account: AccountId(7),
                to: None,
            })
        };
        let both = [listed("all@a.example"), listed("all@b.example"), local()];
        let (junk, good) = (Points(50), Points(0));
        for (scores, is_quarantined, is_junk, accounts) in [
            ([junk, junk, good], false, true, vec![]),
            ([junk, good, junk], false, false, vec![AccountId(7)]),
            ([good, junk, good], false, false, vec![]),
            ([good, good, good], false, false, vec![]),
            ([good, good, good], true, true, vec![AccountId(7)]),
        ] {
            let found = judged(&both, |at| is_quarantined || scores[at] >= junk);
            assert_eq!(found, Judged { accounts, is_junk });
        }
        let found = judged(&[local()], |_| true);
        assert!(!found.is_junk, "none is led on");
        assert_eq!(judged(&[], |_| true), Judged::default());
    }
}
