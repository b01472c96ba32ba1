//! Scripts that run because of what a client did with messages (RFC 6785): jobs beside the session, one after another for each account.
//!
//! What must hold: APPEND, REPLACE, COPY, MOVE and STORE are durable, and are answered without waiting for a script. What is under way on a core is
//! bounded, in commands of an account and in messages of all; what does not fit is skipped, counted and in the log. A script runs at most once
//! for each message of a command: what waits when the daemon stops does not run.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use mail::{Flags, Rights, Uid};
use mailbox::{AccountId, FlagChange, MailboxId, Mailboxes};
use runtime::SessionHost;
use runtime::events::MESSAGE;
use storage::filter::{Cause, Event};
use storage::holder;
use storage::outgoing::Outgoing;
use storage::owner::Ask;
use tokio::sync::Semaphore;

use super::limits::{
    EVENT_COMMANDS_MAX, EVENT_KEYWORDS_PER_MESSAGE, EVENTS_AT_ONCE, EVENTS_TOGETHER_MAX,
    EVENTS_WAITING_MAX,
};
use super::{Counters, Imap, Memory};

/// What one command did.
pub(super) struct Job {
    pub mailbox: MailboxId,
    pub cause: Cause,
    /// Messages as they are there now, ascending, with the flags that changed.
    pub messages: Vec<(Uid, Flags)>,
    /// Of how many others it was clear at once that there are too many.
    pub left_out: usize,
}

impl Job {
    /// Of messages that were placed there.
    pub fn placed(
        mailbox: MailboxId,
        cause: Cause,
        uids: impl ExactSizeIterator<Item = Uid>,
    ) -> Job {
        let left_out = uids.len().saturating_sub(EVENTS_TOGETHER_MAX);
        let newest = uids.skip(left_out);
        Job {
            mailbox,
            cause,
            messages: newest.map(|uid| (uid, Flags::default())).collect(),
            left_out,
        }
    }

    /// Further ones of the same command, which are newer.
    pub fn add(&mut self, more: Changing) {
        self.messages.extend(more.messages);
        self.left_out += more.left_out;
        let over = self.messages.len() - newest(&self.messages, EVENTS_TOGETHER_MAX);
        self.messages.drain(..over);
        self.left_out += over;
    }
}

/// As how many messages one counts: a STORE may change as many keywords as a message can have, of each another choice.
fn weight(changed: &Flags) -> usize {
    1 + changed.keywords.len() / EVENT_KEYWORDS_PER_MESSAGE
}

/// How many messages at the end count as `most` at most.
fn newest(messages: &[(Uid, Flags)], most: usize) -> usize {
    let mut left = most;
    let fits = |(_, changed): &&(Uid, Flags)| {
        let rest = left.checked_sub(weight(changed));
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    messages.iter().rev().take_while(fits).count()
}

/// What a STORE is about to change.
#[derive(Default)]
pub(super) struct Changing {
    pub messages: Vec<(Uid, Flags)>,
    left_out: usize,
}

/// The jobs of a core. An account is in it while its task goes on.
pub(super) struct Events {
    /// Scripts that run now: of one account there is one.
    turns: Rc<Semaphore>,
    accounts: HashMap<AccountId, VecDeque<Job>>,
    /// Messages of all jobs, those that run now too, as they count.
    messages: usize,
}

impl Default for Events {
    fn default() -> Events {
        Events {
            turns: Rc::new(Semaphore::new(EVENTS_AT_ONCE)),
            accounts: HashMap::new(),
            messages: 0,
        }
    }
}

impl Events {
    /// Cuts the job down to what runs, and says how many messages are left out. `true`: the account has no task yet.
    fn take_in(&mut self, account: AccountId, mut job: Job) -> (usize, bool) {
        let (count, left_out) = (job.messages.len(), job.left_out);
        let queue = self.accounts.get(&account);
        let is_full = queue.is_some_and(|queue| queue.len() >= EVENT_COMMANDS_MAX);
        let room = match is_full {
            true => 0,
            false => EVENTS_WAITING_MAX - self.messages,
        };
        let taken = newest(&job.messages, room.min(EVENTS_TOGETHER_MAX));
        if taken == 0 {
            return (count + left_out, false);
        }
        // The newest ones, as those that teach: what a person works on is at the end.
        job.messages.drain(..count - taken);
        let weights = job.messages.iter().map(|(_, changed)| weight(changed));
        self.messages += weights.sum::<usize>();
        let is_first = queue.is_none();
        self.accounts.entry(account).or_default().push_back(job);
        (count - taken + left_out, is_first)
    }

    /// The account's next job. `None`: its task ends.
    fn next(&mut self, account: AccountId) -> Option<Job> {
        let job = self.accounts.get_mut(&account)?.pop_front();
        if job.is_none() {
            self.accounts.remove(&account);
        }
        job
    }

    /// One message of a job, which counted as so many, is done with.
    fn done(&mut self, weight: usize) {
        self.messages -= weight;
    }
}

/// Whether a script is to run for a mailbox, asked where the command is done. What cannot be looked up is looked up again when it would run.
pub(super) async fn wants(outgoing: Option<&Outgoing>, mailbox: MailboxId) -> bool {
    let Some(outgoing) = outgoing else {
        return false;
    };
    outgoing.has_event_script(mailbox).await.unwrap_or(true)
}

/// Which flags `change` will change of the messages, of which scripts are to run. Those that it leaves as they are, are left out.
pub(super) async fn changing(
    mailboxes: &Mailboxes,
    mailbox: MailboxId,
    uids: &[Uid],
    change: FlagChange,
    (flags, rights): (&Flags, Rights),
) -> Changing {
    let left_out = uids.len().saturating_sub(EVENTS_TOGETHER_MAX);
    let newest = &uids[left_out..];
    // The STORE behind it meets the same fault and answers it.
    let before = mailboxes.messages(mailbox, newest).await;
    let before = before.unwrap_or_default();
    let changed = before.into_iter().map(|message| {
        let before = &message.flags;
        let changed = match change {
            FlagChange::Add => flags.without(before),
            FlagChange::Remove => before.without(&before.without(flags)),
            FlagChange::Replace => before.without(flags).with(&flags.without(before)),
        };
        (message.uid, rights.allowed(&changed))
    });
    let changed = changed.filter(|(_, changed)| *changed != Flags::default());
    Changing {
        messages: changed.collect(),
        left_out,
    }
}

impl<K: Ask> Imap<K> {
    /// Has the mailbox's script run for what `account` did. The command was durable before.
    pub(super) fn begin_events(&self, account: AccountId, job: Job) {
        if job.messages.is_empty() && job.left_out == 0 {
            return;
        }
        let (mailbox, cause) = (job.mailbox, job.cause);
        let (skipped, is_first) = self.events.borrow_mut().take_in(account, job);
        if skipped > 0 {
            let counter = &self.counters.events_skipped;
            counter.fetch_add(skipped as u64, Relaxed);
            tracing::info!(target: MESSAGE, account = account.0, mailbox = mailbox.0, cause = cause.name(), skipped, "messages were not given to the mailbox's script: too many wait");
        }
        if is_first {
            let runner = Runner {
                owner: self.owner.clone(),
                host: self.host.clone(),
                memory: self.memory.clone(),
                counters: self.counters.clone(),
                events: self.events.clone(),
            };
            self.host
                .spawn(Box::pin(async move { runner.run(account).await }));
        }
    }
}

/// What runs jobs, beside all sessions.
struct Runner<K> {
    owner: K,
    host: SessionHost,
    memory: Memory,
    counters: Arc<Counters>,
    events: Rc<RefCell<Events>>,
}

impl<K: Ask> Runner<K> {
    /// The account's jobs, until there is none.
    async fn run(self, account: AccountId) {
        let turns = self.events.borrow().turns.clone();
        loop {
            // until nothing of the account waits
            let job = self.events.borrow_mut().next(account);
            let Some(job) = job else { return };
            for (uid, changed) in job.messages {
                let weight = weight(&changed);
                let event = Event {
                    mailbox: job.mailbox,
                    uid,
                    actor: account,
                    cause: job.cause,
                    changed,
                };
                let turn = turns.acquire().await;
                let ran = self.one(event).await;
                drop(turn);
                self.events.borrow_mut().done(weight);
                match ran {
                    Ok(true) => {
                        self.counters.events.fetch_add(1, Relaxed);
                    }
                    Ok(false) => {}
                    Err(why) => {
                        self.counters.events_skipped.fetch_add(1, Relaxed);
                        tracing::info!(target: MESSAGE, account = account.0, mailbox = job.mailbox.0, uid = uid.0, why, "a message was not given to the mailbox's script");
                    }
                }
                // Sessions of this core go on between two messages.
                self.host.sleep(std::time::Duration::ZERO).await;
            }
        }
    }

    async fn one(&self, event: Event) -> Result<bool, String> {
        let (mailbox, uid) = (event.mailbox, event.uid);
        let found = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.messages(mailbox, &[uid]).await });
        let found = found.await.map_err(|busy| busy.to_string())?;
        let Some(message) = found.map_err(|fault| fault.to_string())?.pop() else {
            return Ok(false);
        };
        // All of it is read: a test of the body may look at any part.
        let bytes = message.size_bytes as usize;
        let holder = holder::of_account(event.actor);
        let _charge = self.memory.reading.wait_for(holder, bytes).await;
        let ran = self
            .owner
            .ask_outgoing(move |outgoing| async move { outgoing.on_event(&event).await });
        let ran = ran.await.map_err(|busy| busy.to_string())?;
        ran.map_err(|fault| fault.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(count: u32) -> Job {
        Job {
            mailbox: MailboxId(1),
            cause: Cause::Flag,
            messages: (1..=count)
                .map(|uid| (Uid(uid), Flags::default()))
                .collect(),
            left_out: 0,
        }
    }

    #[test]
    fn of_a_large_command_the_newest_messages_run() {
        let mut events = Events::default();
        let account = AccountId(1);
        let most = EVENTS_TOGETHER_MAX;
        assert_eq!(events.take_in(account, job(10_000)), (10_000 - most, true));
        let taken = events.next(account).expect("a job");
        assert_eq!(taken.messages.len(), most);
        assert_eq!(taken.messages.last().expect("some").0, Uid(10_000));
        (0..most).for_each(|_| events.done(1));
        assert!(events.next(account).is_none() && events.accounts.is_empty());
        assert_eq!(events.messages, 0);
    }

    #[test]
    fn messages_with_many_changed_keywords_count_as_several() {
        let words = (0..64).map(|number| format!("k{number}"));
        let changed = Flags {
            keywords: words
                .filter_map(|word| mail::Keyword::parse(&word))
                .collect(),
            ..Flags::default()
        };
        let some = |count: u32| Changing {
            messages: (1..=count).map(|uid| (Uid(uid), changed.clone())).collect(),
            left_out: 0,
        };
        let mut large = job(0);
        large.add(some(200));
        let most = EVENTS_TOGETHER_MAX / weight(&changed);
        assert!(most < 20);
        assert_eq!((large.messages.len(), large.left_out), (most, 200 - most));
        assert_eq!(large.messages.last().expect("some").0, Uid(200));
        let (mut events, account) = (Events::default(), AccountId(1));
        assert_eq!(events.take_in(account, large), (200 - most, true));
        let taken = events.next(account).expect("a job").messages;
        for (_, changed) in taken {
            events.done(weight(&changed));
        }
        assert_eq!(events.messages, 0);
    }

    #[test]
    fn what_waits_is_bounded_for_an_account_and_for_all() {
        let mut events = Events::default();
        let ann = AccountId(1);
        for index in 0..EVENT_COMMANDS_MAX {
            assert_eq!(events.take_in(ann, job(1)), (0, index == 0));
        }
        assert_eq!(events.take_in(ann, job(3)), (3, false), "too many commands");
        let mut taken = EVENT_COMMANDS_MAX;
        for number in 2..100 {
            let (skipped, is_first) = events.take_in(AccountId(number), job(100));
            assert_eq!(is_first, skipped < 100);
            taken += 100 - skipped;
        }
        assert_eq!(taken, EVENTS_WAITING_MAX);
    }
}
