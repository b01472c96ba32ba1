//! One session that only watches a mailbox, while its owner and senders change it: at the end it knows what a new session is told.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;

use super::model::NAMES;
use super::servers::Servers;
use super::talk::{Numbers, Outcome, Seen, Talk, Trouble};

pub struct Watcher {
    pub servers: Rc<Servers>,
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
            let Some(mut talk) = Talk::begin(&self.servers, self.rng.fork()) else {
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
                .sleep_until(self.servers.host.now().after_us(100_000))
                .await;
        }
        Ok(())
    }

    /// `true`: it saw the end.
    async fn watch(&mut self, talk: &mut Talk, name: &str) -> Outcome<bool> {
        talk.log_in(&self.user).await?;
        if !talk.open("EXAMINE", name).await? {
            // Nobody made it yet.
            return Ok(self.quiet.get());
        }
        while !self.quiet.get() {
            if self.rng.bool() {
                // It hears nothing for a while, and then its numbers are old.
                let now = self.servers.host.now();
                let until = now.after_us(self.rng.u64(..WATCH_US_MAX / 4));
                self.servers.host.sleep_until(until).await;
            }
            match self.rng.u8(..8) {
                0 => drop(talk.command("NOOP", Numbers::Change).await?),
                1 | 2 if talk.seen.as_ref().is_some_and(|seen| !seen.uids.is_empty()) => {
                    talk.command("FETCH 1:* (UID FLAGS)", Numbers::Stay).await?;
                }
                3 => drop(
                    talk.command("UID SEARCH BODY \"..\"", Numbers::Change)
                        .await?,
                ),
                4 => {
                    let line = "UID FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[TEXT])";
                    talk.command(line, Numbers::Change).await?;
                }
                _ => {
                    let span = Duration::from_micros(self.rng.u64(..WATCH_US_MAX));
                    talk.idle(span).await?;
                }
            }
        }
        // A busy storage is asked again at the next command.
        for _ in 0..5 {
            talk.command("NOOP", Numbers::Change).await?;
        }
        talk.command("UID FETCH 1:* UID", Numbers::Change).await?;
        let seen = talk.seen.take().unwrap_or_default();
        let fresh = self.fresh(talk, name).await?;
        compare(&seen, &fresh).map_err(|text| {
            Trouble::Wrong(format!(
                "a session that watched {name} of {}: {text}",
                self.user
            ))
        })?;
        Ok(true)
    }

    /// What is told of the mailbox when it is opened anew.
    async fn fresh(&mut self, talk: &mut Talk, name: &str) -> Outcome<Seen> {
        if !talk.open("EXAMINE", name).await? {
            return Err(Trouble::Lost);
        }
        let answer = talk.command("UID FETCH 1:* FLAGS", Numbers::Change).await?;
        match answer.is_ok {
            true => Ok(talk.seen.take().unwrap_or_default()),
            false => Err(Trouble::Lost),
        }
    }
}

fn compare(seen: &Seen, fresh: &Seen) -> Result<(), String> {
    if seen.uids.len() != fresh.uids.len() {
        let (seen, fresh) = (seen.uids.len(), fresh.uids.len());
        return Err(format!("it counts {seen} messages of {fresh}"));
    }
    for (known, uid) in seen.uids.iter().zip(&fresh.uids) {
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

/// The longest IDLE of a watcher: a story of some minutes of virtual time must not be made of watching.
const WATCH_US_MAX: u64 = 2_000_000;
/// Connections of one watcher in one power-on.
const TURNS_MAX: usize = 200;
