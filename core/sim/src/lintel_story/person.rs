//! One person, who changes the mailboxes of an account, with others or alone. Connects, looks at everything, works, loses the connection, and looks again.

mod asks;
mod changes;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;

use super::model::{Account, Letter, Look, NAMES, Token, recognise};
use super::servers::Servers;
use super::talk::{Fetched, Numbers, Outcome, Talk, Trouble};

pub struct Person {
    pub servers: Rc<Servers>,
    pub accounts: Rc<Vec<RefCell<Account>>>,
    pub index: usize,
    pub tokens: Rc<Cell<Token>>,
    pub acked: Rc<Cell<u64>>,
    pub rng: Rng,
    /// One command in so many is broken off.
    pub break_share: u32,
    /// Storage is never busy: a session has been told everything when a command is answered.
    pub strict: bool,
}

impl Person {
    fn account(&self) -> std::cell::RefMut<'_, Account> {
        self.accounts[self.index].borrow_mut()
    }

    fn user(&self) -> String {
        self.account().name.clone()
    }

    /// Works until `count` things are done.
    pub async fn run(&mut self, count: usize) -> Result<(), String> {
        let mut left = count;
        // Each turn is a connection, and most of them do something.
        for _ in 0..4 * count + 20 {
            if left == 0 {
                break;
            }
            let Some(mut talk) = Talk::begin(&self.servers, self.rng.fork()) else {
                return Ok(());
            };
            talk.break_share = self.break_share;
            let done = self.visit(&mut talk, &mut left).await;
            self.servers.ended(talk.line).await?;
            match done {
                Ok(()) | Err(Trouble::Lost) => {}
                Err(Trouble::Wrong(text)) => return Err(text),
            }
        }
        Ok(())
    }

    /// A last look, by a connection that nothing disturbs: everything that was ever promised is there.
    pub async fn last_look(&mut self) -> Result<(), String> {
        for _ in 0..LOOKS_MAX {
            let Some(mut talk) = Talk::begin(&self.servers, self.rng.fork()) else {
                return Err("no connection is accepted".into());
            };
            let looked = async {
                talk.log_in(&self.user()).await?;
                self.look(&mut talk).await
            };
            let looked = looked.await;
            self.servers.ended(talk.line).await?;
            match looked {
                Ok(()) => return Ok(()),
                Err(Trouble::Lost) => {}
                Err(Trouble::Wrong(text)) => return Err(text),
            }
        }
        Err("no look comes to an end".into())
    }

    async fn visit(&mut self, talk: &mut Talk, left: &mut usize) -> Outcome<()> {
        let user = self.user();
        talk.log_in(&user).await?;
        for name in &NAMES[1..] {
            // NO: it is there already, or storage is busy; then the look does not find it.
            talk.command(&format!("CREATE {name}"), Numbers::Change)
                .await?;
        }
        // At every connection first: what was open when the last one broke is settled now, one way or the other.
        self.look(talk).await?;
        let mut folder = NAMES[self.rng.usize(..NAMES.len())];
        self.select(talk, folder).await?;
        while *left > 0 {
            *left -= 1;
            match self.rng.u8(..24) {
                0 | 1 => {
                    folder = NAMES[self.rng.usize(..NAMES.len())];
                    self.select(talk, folder).await?;
                }
                2..=4 => self.store(talk, folder).await?,
                5 | 6 => self.place(talk, folder, true).await?,
                7 | 8 => self.place(talk, folder, false).await?,
                9 | 10 => self.append(talk).await?,
                11 | 12 => {
                    if self.expunge(talk, folder).await? {
                        self.select(talk, folder).await?;
                    }
                }
                13 | 14 => self.fetch(talk, folder).await?,
                15 | 16 => self.arrivals(talk, folder).await?,
                17 => self.read(talk, folder).await?,
                18 => self.search(talk, folder).await?,
                19 => self.status(talk).await?,
                20 | 21 => {
                    let span = Duration::from_micros(self.rng.u64(..300_000));
                    drop(talk.idle(span).await?);
                }
                22 => self.list(talk).await?,
                _ => {
                    talk.command("LOGOUT", Numbers::Change).await?;
                    return Err(Trouble::Lost);
                }
            }
        }
        Ok(())
    }

    async fn select(&mut self, talk: &mut Talk, folder: &str) -> Outcome<()> {
        if !talk.open("SELECT", folder).await? {
            return Err(Trouble::Lost);
        }
        if !self.strict {
            talk.command("UID FETCH 1:* FLAGS", Numbers::Change).await?;
        }
        Ok(())
    }

    /// Whether the session has told of it: a command does nothing to a letter that its session does not know yet.
    fn shows(&self, talk: &Talk, uid: u32) -> bool {
        let seen = talk.seen.as_ref();
        self.strict || seen.is_some_and(|seen| seen.uids.contains(&Some(uid)))
    }

    /// Everything, and what the account makes of it.
    async fn look(&mut self, talk: &mut Talk) -> Outcome<()> {
        // Taken before the look: what is promised while it goes on need not be in it.
        let promised = self.account().promised();
        let mut looks = BTreeMap::new();
        for name in NAMES {
            let verb = ["SELECT", "EXAMINE"][self.rng.usize(..2)];
            if !talk.open(verb, name).await? {
                return Err(Trouble::Lost);
            }
            let mut look = Look {
                uid_validity: talk.seen.as_ref().and_then(|seen| seen.uid_validity),
                ..Look::default()
            };
            let (answer, asked) = (self.fetch_letters(talk, "1:*").await?, name);
            for (uid, letter) in answer {
                // The other person's letter, of whose fate this model knows nothing.
                if !self.account().owns(letter.token) {
                    continue;
                }
                if look.letters.insert(uid, letter).is_some() {
                    return Err(Trouble::Wrong(format!("{asked}: UID {uid} comes twice")));
                }
            }
            looks.insert(name, look);
        }
        let mut account = self.account();
        account.resolve(&looks)?;
        account.is_kept(&promised)?;
        Ok(())
    }

    /// UID, flags and bytes of the letters in `set`.
    async fn fetch_letters(&mut self, talk: &mut Talk, set: &str) -> Outcome<Vec<(u32, Letter)>> {
        let line = format!("UID FETCH {set} (UID FLAGS BODY.PEEK[])");
        let answer = talk.command(&line, Numbers::Change).await?;
        if !answer.is_ok {
            return Err(Trouble::Lost);
        }
        let mut letters = Vec::new();
        for fetched in answer.fetched {
            if let Fetched {
                uid: Some(uid),
                flags: Some(flags),
                body: Some(body),
            } = fetched
            {
                let token = recognise(&body)?;
                letters.push((uid, Letter { token, flags }));
            }
        }
        Ok(letters)
    }

    /// Some of the letters that are known to be in `folder`, ascending.
    fn some(&mut self, talk: &Talk, folder: &str) -> Vec<u32> {
        let all: Vec<u32> = {
            let account = self.account();
            let letters = account.folders[folder].letters.iter();
            let stay = letters.filter(|(_, letter)| !account.may_vanish(letter));
            stay.map(|(uid, _)| *uid).collect()
        };
        let share = self.rng.u8(1..10);
        let shown = all.into_iter().filter(|uid| self.shows(talk, *uid));
        let shown: Vec<u32> = shown.collect();
        shown
            .into_iter()
            .filter(|_| self.rng.u8(..10) < share)
            .collect()
    }

    /// A set that names them: UIDs, or numbers where all of them are known.
    fn set(&mut self, talk: &Talk, uids: &[u32]) -> (&'static str, String) {
        let seen = talk.seen.as_ref();
        let number = |uid: &u32| {
            let uids = &seen?.uids;
            uids.iter()
                .position(|other| *other == Some(*uid))
                .map(|index| index + 1)
        };
        // By numbers only if all are known to the session: a number that it guessed could be another message's.
        let numbers: Option<Vec<usize>> = uids.iter().map(number).collect();
        let join = |words: Vec<String>| words.join(",");
        match numbers {
            Some(numbers) if self.rng.bool() => {
                ("", join(numbers.iter().map(usize::to_string).collect()))
            }
            _ => ("UID ", join(uids.iter().map(u32::to_string).collect())),
        }
    }
}

/// Connections for one look: `Busy` ends some of them.
const LOOKS_MAX: usize = 50;
