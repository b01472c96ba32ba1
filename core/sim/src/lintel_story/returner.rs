//! A client with QRESYNC: it keeps the mailboxes of an account over its connections and over power cuts, comes back again and again while others
//! work on them, and has what the server has each time (`cache`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use fastrand::Rng;

use super::cache::{Cache, News};
use super::model::NAMES;
use super::servers::Servers;
use super::talk::{Numbers, Outcome, Talk, Trouble};

/// What a client keeps, by the names of mailboxes.
pub type Caches = RefCell<BTreeMap<&'static str, Cache>>;

pub struct Returner {
    pub servers: Rc<Servers>,
    pub user: String,
    pub caches: Rc<Caches>,
    /// The others are done.
    pub quiet: Rc<Cell<bool>>,
    pub rng: Rng,
    /// Storage is never busy: a session has been told everything when a command is answered.
    pub strict: bool,
    /// Of some messages in the open mailbox only the number is known.
    pub unknown: bool,
}

impl Returner {
    /// Comes and goes until the others are done.
    pub async fn run(&mut self) -> Result<(), String> {
        // Each turn is a connection.
        for _ in 0..TURNS_MAX {
            if self.quiet.get() {
                return Ok(());
            }
            let (servers, rng) = (&self.servers, self.rng.fork());
            let Some(mut talk) = Talk::over(servers, rng, Servers::connect_watcher) else {
                return Ok(());
            };
            talk.break_share = [0, 9][self.rng.usize(..2)];
            let visited = self.visit(&mut talk).await;
            self.servers.ended(talk.line).await?;
            match visited {
                Ok(()) | Err(Trouble::Lost) => {}
                Err(Trouble::Wrong(text)) => return Err(self.named(&text)),
            }
            let host = &self.servers.host;
            let away_us = self.rng.u64(..AWAY_US_MAX);
            host.sleep_until(host.now().after_us(away_us)).await;
        }
        Ok(())
    }

    /// Nothing disturbs any more: after coming back it has exactly what there is.
    pub async fn last_look(&mut self) -> Result<(), String> {
        for _ in 0..LOOKS_MAX {
            let (servers, rng) = (&self.servers, self.rng.fork());
            let Some(mut talk) = Talk::over(servers, rng, Servers::connect_watcher) else {
                return Err("no connection is accepted".into());
            };
            let looked = async {
                self.begin(&mut talk).await?;
                for name in NAMES {
                    if self.open(&mut talk, name).await? {
                        self.look(&mut talk, name).await?;
                    }
                }
                Ok(())
            };
            let looked: Outcome<()> = looked.await;
            self.servers.ended(talk.line).await?;
            match looked {
                Ok(()) => return Ok(()),
                Err(Trouble::Lost) => {}
                Err(Trouble::Wrong(text)) => return Err(self.named(&text)),
            }
        }
        Err("no look comes to an end".into())
    }

    fn named(&self, text: &str) -> String {
        format!("a client of {} that comes back: {text}", self.user)
    }

    async fn begin(&self, talk: &mut Talk) -> Outcome<()> {
        talk.log_in(&self.user).await?;
        let answer = talk.command("ENABLE QRESYNC", Numbers::Change).await?;
        match answer.is_ok {
            true => Ok(()),
            false => Err(Trouble::Wrong("QRESYNC cannot be enabled".into())),
        }
    }

    async fn visit(&mut self, talk: &mut Talk) -> Outcome<()> {
        self.begin(talk).await?;
        for _ in 0..self.rng.usize(1..4) {
            let name = NAMES[self.rng.usize(..NAMES.len())];
            if !self.open(talk, name).await? {
                continue;
            }
            if self.rng.u8(..4) > 0 {
                self.look(talk, name).await?;
            }
            for _ in 0..self.rng.usize(..6) {
                let host = &self.servers.host;
                let span_us = self.rng.u64(..STAY_US_MAX);
                host.sleep_until(host.now().after_us(span_us)).await;
                // By number: expunges wait, and what is shown may be newer than they are.
                let line = ["NOOP", "FETCH 1:* (UID FLAGS)", "UID FETCH 1:* FLAGS"];
                let line = line[self.rng.usize(..3)];
                if self.caches.borrow()[name].messages.is_empty() && line != "NOOP" {
                    continue;
                }
                let (news, is_ok) = self.ask(talk, name, line).await?;
                let fetched = is_ok && line != "NOOP";
                self.unknown = (self.unknown && !fetched) || news.exists > 0;
                let minded = self.cache(name, |cache| {
                    cache.learn(&news);
                    if self.unknown {
                        Ok(())
                    } else {
                        cache.answered(&news)
                    }
                });
                minded.map_err(|why| Trouble::Wrong(format!("{name}, {line}: {why}")))?;
            }
        }
        Ok(())
    }

    fn cache<T>(&self, name: &'static str, work: impl FnOnce(&mut Cache) -> T) -> T {
        work(self.caches.borrow_mut().entry(name).or_default())
    }

    /// A command in `name`; what came with it is not learnt yet, and the tagged reply is minded. Whether it is OK.
    async fn ask(&self, talk: &mut Talk, name: &'static str, line: &str) -> Outcome<(News, bool)> {
        let answer = talk.command(line, Numbers::Change).await?;
        let mut news = News::default();
        for response in &answer.untagged {
            let text = String::from_utf8_lossy(response.as_bytes()).into_owned();
            let values = response.values();
            let values = values.map_err(|_| Trouble::Wrong(format!("cannot be read: {text}")))?;
            let taken = news.take(&text, &values);
            taken.map_err(|why| Trouble::Wrong(format!("{name}, {line}: {why}")))?;
        }
        Ok((news, answer.is_ok))
    }

    /// SELECT with what is kept. `false`: it is not there, or storage is busy.
    async fn open(&mut self, talk: &mut Talk, name: &'static str) -> Outcome<bool> {
        let kept = self.cache(name, |cache| cache.clone());
        let known = match (self.rng.u8(..3), kept.messages.keys().next_back()) {
            (0, Some(last)) => format!(" 1:{last}"),
            _ => String::new(),
        };
        let verb = ["SELECT", "EXAMINE"][self.rng.usize(..2)];
        let line = match kept.modseq {
            0 => format!("{verb} {name} (CONDSTORE)"),
            modseq => format!(
                "{verb} {name} (QRESYNC ({} {modseq}{known}))",
                kept.uid_validity
            ),
        };
        let (news, is_ok) = self.ask(talk, name, &line).await?;
        if !is_ok {
            return Ok(false);
        }
        let wrong = |why: String| Trouble::Wrong(format!("{name}, {line}: {why}"));
        // One tells how many there are.
        self.unknown = news.exists > 1;
        let (Some(uid_validity), Some(_)) = (news.uid_validity, news.highest) else {
            return Err(wrong("no UIDVALIDITY, or no HIGHESTMODSEQ".into()));
        };
        if kept.modseq > 0 && uid_validity != kept.uid_validity {
            return Err(wrong("another UIDVALIDITY".into()));
        }
        if kept.modseq == 0 {
            // Everything, once.
            let (all, is_ok) = self.ask(talk, name, "UID FETCH 1:* FLAGS").await?;
            if !is_ok {
                return Ok(false);
            }
            self.unknown = all.exists > 0;
            self.cache(name, |cache| {
                *cache = Cache {
                    uid_validity,
                    ..Cache::default()
                };
                cache.answered(&news)?;
                cache.learn(&all);
                if all.exists > 0 {
                    Ok(())
                } else {
                    cache.answered(&all)
                }
            })?;
            return Ok(true);
        }
        self.cache(name, |cache| cache.learn(&news));
        if !known.is_empty() {
            // What came since was not asked for. Until it is known the old modification sequence stays.
            let last = kept.messages.keys().next_back().copied().unwrap_or(0);
            let line = format!("UID FETCH {}:* FLAGS", last + 1);
            let (more, is_ok) = self.ask(talk, name, &line).await?;
            if !is_ok {
                return Ok(false);
            }
            self.unknown |= more.exists > 0;
            self.cache(name, |cache| cache.learn(&more));
        }
        let minded = self.cache(name, |cache| cache.answered(&news));
        minded.map_err(wrong)?;
        Ok(true)
    }

    /// Asks for everything, and has it already.
    async fn look(&mut self, talk: &mut Talk, name: &'static str) -> Outcome<()> {
        let (all, is_ok) = self.ask(talk, name, "UID FETCH 1:* (FLAGS)").await?;
        if !is_ok {
            // What was told before the NO was told: it does not come again.
            self.cache(name, |cache| cache.learn(&all));
            return Ok(());
        }
        let strict = self.strict;
        self.unknown = all.exists > 0;
        let compared = self.cache(name, |cache| {
            cache.compare(&all, strict)?;
            cache.learn(&all);
            if all.exists > 0 {
                Ok(())
            } else {
                cache.answered(&all)
            }
        });
        compared.map_err(|why| Trouble::Wrong(format!("{name}: {why}")))
    }
}

/// The longest time between two connections.
const AWAY_US_MAX: u64 = 400_000;
/// And between two commands.
const STAY_US_MAX: u64 = 30_000;
/// Connections of one client in one power-on.
const TURNS_MAX: usize = 200;
/// Connections for one look.
const LOOKS_MAX: usize = 50;
