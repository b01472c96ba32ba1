//! One session that only watches a mailbox, while its owner and senders change it: at the end it knows what a new session is told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;

use super::model::{Account, NAMES, Settled};
use super::servers::Servers;
use super::talk::{Numbers, Outcome, Seen, Talk, Trouble};

pub struct Watcher {
    pub servers: Rc<Servers>,
    pub accounts: Rc<Vec<RefCell<Account>>>,
    pub user: String,
    /// Everybody else is done.
    pub quiet: Rc<Cell<bool>>,
    pub rng: Rng,
}

impl Watcher {
    pub async fn run(&mut self) -> Result<(), String> {
        let name = NAMES[self.rng.usize(..NAMES.len())];
        // Bounded: each turn watches for a while.
        for _ in 0..TURNS_MAX {
            let (servers, rng) = (&self.servers, self.rng.fork());
            let Some(mut talk) = Talk::over(servers, rng, Servers::connect_watcher) else {
                return Ok(());
            };
            let watched = self.watch(&mut talk, name).await;
            self.servers.ended(talk.line).await?;
            match watched {
                Ok(true) => return Ok(()),
                Ok(false) | Err(Trouble::Lost) => {}
                Err(Trouble::Wrong(text)) => return Err(text),
            }
            self.servers
                .host
                .sleep_until(
                    self.servers
                        .host
                        .now()
                        .after_us(self.rng.u64(..TURN_US_MAX)),
                )
                .await;
        }
        Ok(())
    }

    /// `true`: it saw the end.
    async fn watch(&mut self, talk: &mut Talk, name: &str) -> Outcome<bool> {
        talk.log_in(&self.user).await?;
        // EXAMINE, so that the watcher changes nothing: \Recent and \Seen stay what others make of them.
        if !talk.open("EXAMINE", name).await? {
            // Nobody made it yet.
            return Ok(self.quiet.get());
        }
        let mut checked = 0;
        while !self.quiet.get() {
            if self.rng.bool() {
                self.hear_nothing(talk, name).await?;
            }
            match self.rng.u8(..10) {
                // Once after each change that is settled.
                5..=9 if checked != self.version() => {
                    checked = self.version();
                    self.keeps_up(talk, name).await?;
                }
                0 => drop(talk.command("NOOP", Numbers::Change).await?),
                1 | 2 => self.fetch_by_number(talk).await?,
                3 => drop(
                    talk.command("UID SEARCH BODY \"..\"", Numbers::Change)
                        .await?,
                ),
                4 => {
                    let line = "UID FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[TEXT])";
                    talk.command(line, Numbers::Change).await?;
                }
                _ => {
                    let most = [5_000, 50_000, WATCH_US_MAX][self.rng.usize(..3)];
                    let span = Duration::from_micros(self.rng.u64(..most));
                    talk.idle(span).await?;
                }
            }
        }
        // A busy storage is asked again at the next command.
        for _ in 0..ASKS {
            talk.command("NOOP", Numbers::Change).await?;
        }
        talk.command("UID FETCH 1:* UID", Numbers::Change).await?;
        let seen = talk.seen.take().unwrap_or_default();
        // Over the same connection, by opening the mailbox once more: between the two looks nothing changes any more.
        let fresh = self.fresh(talk, name).await?;
        compare(&seen, &fresh).map_err(|text| {
            Trouble::Wrong(format!(
                "a session that watched {name} of {}: {text}",
                self.user
            ))
        })?;
        Ok(true)
    }

    /// What was settled before it asked, it knows afterwards, however busy storage was when it happened.
    async fn keeps_up(&self, talk: &mut Talk, name: &str) -> Outcome<()> {
        // Settled before the first question. What others do during the questions may be seen or not, which is why it is compared with both looks.
        let before = self.settled(name);
        for _ in 0..ASKS {
            talk.command("NOOP", Numbers::Change).await?;
        }
        let answer = talk.command("UID FETCH 1:* UID", Numbers::Change).await?;
        let (true, Some(seen)) = (answer.is_ok, &talk.seen) else {
            return Ok(());
        };
        let uids: BTreeSet<u32> = seen.uids.iter().flatten().copied().collect();
        let after = self.settled(name);
        for (before, after) in before.iter().zip(after) {
            let stays = |uid: &u32| after.letters.contains_key(uid);
            let missed = before
                .letters
                .keys()
                .find(|uid| stays(uid) && !uids.contains(uid));
            let kept = before.gone.iter().find(|uid| uids.contains(uid));
            let old = before.letters.iter().find(|(uid, flags)| {
                let shown = seen.flags.get(uid);
                before.version == after.version && shown.is_some_and(|shown| shown != *flags)
            });
            if missed.is_some() || kept.is_some() || old.is_some() {
                return Err(Trouble::Wrong(format!(
                    "a session that watches {name} of {} asked {ASKS} times and does not know: UID {missed:?} is there, {kept:?} is gone, flags \
                     are {old:?}",
                    self.user
                )));
            }
        }
        Ok(())
    }

    fn settled(&self, name: &str) -> Vec<Settled> {
        let accounts = self.accounts.iter().map(|account| account.borrow());
        let own = accounts.filter(|account| account.name == self.user);
        own.map(|account| account.settled(name)).collect()
    }

    /// Rises when something may have changed.
    fn version(&self) -> u64 {
        let accounts = self.accounts.iter().map(|account| account.borrow());
        let own = accounts.filter(|account| account.name == self.user);
        own.map(|account| account.version).sum()
    }

    /// What is told of the mailbox when it is opened anew.
    async fn fresh(&mut self, talk: &mut Talk, name: &str) -> Outcome<Seen> {
        for _ in 0..ASKS {
            if !talk.open("EXAMINE", name).await? {
                continue;
            }
            let answer = talk.command("UID FETCH 1:* FLAGS", Numbers::Change).await?;
            if answer.is_ok {
                return Ok(talk.seen.take().unwrap_or_default());
            }
        }
        Err(Trouble::Lost)
    }

    /// Asks nothing until something was taken out of the mailbox, or for a while; then its numbers are old.
    async fn hear_nothing(&mut self, talk: &mut Talk, name: &str) -> Outcome<()> {
        let before = self.gone(name);
        let host = self.servers.host.clone();
        for _ in 0..self.rng.usize(..DEAF_STEPS) {
            if self.gone(name) != before {
                return self.fetch_by_number(talk).await;
            }
            host.sleep_until(host.now().after_us(DEAF_STEP_US)).await;
        }
        Ok(())
    }

    fn gone(&self, name: &str) -> usize {
        let accounts = self.accounts.iter().map(|account| account.borrow());
        let own = accounts.filter(|account| account.name == self.user);
        own.map(|account| account.gone_count(name)).sum()
    }

    /// RFC 9051 §7.5.1: numbers stay meanwhile, whatever others expunge.
    async fn fetch_by_number(&self, talk: &mut Talk) -> Outcome<()> {
        if talk.seen.as_ref().is_some_and(|seen| !seen.uids.is_empty()) {
            let line = ["FETCH 1:* (UID FLAGS)", "SEARCH ALL"][usize::from(talk.rng.u8(..4) == 0)];
            talk.command(line, Numbers::Stay).await?;
        }
        Ok(())
    }
}

fn compare(seen: &Seen, fresh: &Seen) -> Result<(), String> {
    if seen.uids.len() != fresh.uids.len() {
        let (seen, fresh) = (seen.uids.len(), fresh.uids.len());
        return Err(format!("it counts {seen} messages of {fresh}"));
    }
    for (known, uid) in seen.uids.iter().zip(&fresh.uids) {
        // A number whose UID the session was not shown yet cannot be wrong.
        if known.is_some() && known != uid {
            return Err(format!("it takes {uid:?} for {known:?}"));
        }
    }
    for (uid, flags) in &seen.flags {
        if fresh.flags.get(uid) != Some(flags) {
            let now = fresh.flags.get(uid);
            return Err(format!(
                "it shows UID {uid} with {flags:?}, stored is {now:?}"
            ));
        }
    }
    Ok(())
}

/// Questions after which a session must know what was settled before the first one: one in three may find storage busy, and 3^32 stories end
/// before all do.
const ASKS: usize = 32;
/// The longest time between two connections.
const TURN_US_MAX: u64 = 100_000;
/// How often, and how long after each other, it looks whether something was taken out: half a second at most.
const DEAF_STEPS: usize = 200;
const DEAF_STEP_US: u64 = 2_500;
/// The longest IDLE of a watcher: a story of some minutes of virtual time must not be made of watching.
const WATCH_US_MAX: u64 = 2_000_000;
/// Connections of one watcher in one power-on.
const TURNS_MAX: usize = 200;
