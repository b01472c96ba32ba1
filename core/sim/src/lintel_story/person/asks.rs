//! What a person asks, and holds against what it was told before: FETCH, SEARCH, STATUS and LIST.

use mail::SystemFlags;

use super::super::model::{Folder, INBOX, Letter, NAMES, Operation, content, recognise};
use super::super::talk::{Numbers, Outcome, Talk, Trouble};
use super::Person;

/// What SEARCH is to find.
type Holds = Box<dyn Fn(&Letter) -> bool>;

impl Person {
    /// By numbers: those that are known have the flags that were stored last.
    pub(super) async fn fetch(&mut self, talk: &mut Talk, folder: &'static str) -> Outcome<()> {
        let count = talk.seen.as_ref().map_or(0, |seen| seen.uids.len());
        if count == 0 {
            return Ok(());
        }
        let answer = talk.command("FETCH 1:* (UID FLAGS)", Numbers::Stay).await?;
        if !answer.is_ok {
            return Err(Trouble::Lost);
        }
        let account = self.account();
        let letters = &account.folders[folder].letters;
        for fetched in &answer.fetched {
            let known = fetched.uid.and_then(|uid| letters.get(&uid));
            if let (Some(letter), Some(flags)) = (known, fetched.flags)
                // Flags that nobody else may change are exactly those that were stored last; of shared folders the model knows less, and `may_vanish` says
                // of which letters.
                && letter.flags != flags
            {
                return Err(Trouble::Wrong(format!(
                    "{folder}: {fetched:?}, stored was {letter:?}"
                )));
            }
        }
        let told = |uid: &u32| {
            answer
                .fetched
                .iter()
                .any(|fetched| fetched.uid == Some(*uid))
        };
        // What must be there is demanded; what is there beyond it may have come since.
        let mut stay = letters
            .iter()
            .filter(|(_, letter)| !account.may_vanish(letter));
        match stay.find(|(uid, _)| !told(uid) && self.shows(talk, **uid)) {
            Some((uid, _)) => Err(Trouble::Wrong(format!(
                "{folder}: UID {uid} is not among {count}"
            ))),
            None => Ok(()),
        }
    }

    /// What senders brought since the last time.
    pub(super) async fn arrivals(&mut self, talk: &mut Talk, folder: &'static str) -> Outcome<()> {
        if folder != INBOX {
            return Ok(());
        }
        talk.command("NOOP", Numbers::Change).await?;
        let from = self.account().folders[INBOX].floor.max(1);
        let letters = self.fetch_letters(talk, &format!("{from}:*")).await?;
        for (uid, letter) in letters {
            let mut account = self.account();
            if !account.owns(letter.token) {
                continue;
            }
            if !account.knows(INBOX, uid) {
                account.arrived(uid, letter)?;
            }
            account.raise_floor(INBOX, uid);
        }
        Ok(())
    }

    /// Reads one letter, which sets \Seen.
    pub(super) async fn read(&mut self, talk: &mut Talk, folder: &'static str) -> Outcome<()> {
        let Some(uid) = self.some(talk, folder).first().copied() else {
            return Ok(());
        };
        let line = format!("UID FETCH {uid} BODY[]");
        let flags = SystemFlags::SEEN;
        // Reading a body stores \Seen, so it counts as a change of this session from the moment that it is asked.
        let operation = Operation::Store {
            folder,
            uids: vec![uid],
            change: '+',
            flags,
        };
        self.account().asks(operation.clone());
        let answer = talk.command(&line, Numbers::Change).await?;
        if !answer.is_ok {
            return Err(Trouble::Lost);
        }
        let body = answer
            .fetched
            .iter()
            .find_map(|fetched| fetched.body.as_ref());
        let body =
            body.ok_or_else(|| Trouble::Wrong(format!("{line} is answered with nothing")))?;
        let (token, known) = (
            recognise(body)?,
            self.account().folders[folder].letters[&uid],
        );
        if token != known.token {
            return Err(Trouble::Wrong(format!(
                "UID {uid} was {known:?} and is letter {token}"
            )));
        }
        // That \Seen cannot be stored is no reason to refuse the letter; the client is shown the flag when it is.
        let mut shown = answer.fetched.iter().filter_map(|fetched| fetched.flags);
        if known.flags.contains(flags)
            || shown.next_back().is_some_and(|shown| shown.contains(flags))
        {
            self.account().settle(&operation, &[])?;
            return Ok(());
        }
        Err(Trouble::Lost)
    }

    pub(super) async fn search(&mut self, talk: &mut Talk, folder: &'static str) -> Outcome<()> {
        let letters = self.account().folders[folder].letters.clone();
        let some = letters.values().next().map_or(0, |letter| letter.token);
        let (key, holds): (String, Holds) = match self.rng.u8(..4) {
            0 => (
                "DELETED".into(),
                Box::new(|letter| letter.flags.contains(SystemFlags::DELETED)),
            ),
            1 => (
                "UNSEEN".into(),
                Box::new(|letter| !letter.flags.contains(SystemFlags::SEEN)),
            ),
            2 => (
                format!("SUBJECT \"token {some} end\""),
                Box::new(move |letter| letter.token == some),
            ),
            _ => (
                "BODY \".a\"".into(),
                Box::new(|letter| {
                    let raw = content(letter.token);
                    let head = raw
                        .windows(4)
                        .position(|window| window == b"\r\n\r\n")
                        .unwrap_or(0);
                    raw[head..].windows(2).any(|window| window == b".a")
                }),
            ),
        };
        let answer = talk
            .command(&format!("UID SEARCH {key}"), Numbers::Change)
            .await?;
        if !answer.is_ok {
            return Err(Trouble::Lost);
        }
        let lines = answer
            .untagged
            .iter()
            .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
        let found: Vec<u32> = lines
            .filter_map(|line| line.strip_prefix("* SEARCH").map(str::to_owned))
            .flat_map(|line| {
                line.split(' ')
                    .filter_map(|word| word.parse().ok())
                    .collect::<Vec<u32>>()
            })
            .collect();
        let account = self.account();
        let stay = letters
            .iter()
            .filter(|(_, letter)| !account.may_vanish(letter));
        let mut shown = stay.filter(|(uid, _)| self.shows(talk, **uid));
        let right = shown.find(|(uid, letter)| found.contains(uid) != holds(letter));
        match right {
            Some((uid, letter)) => Err(Trouble::Wrong(format!(
                "{folder}: SEARCH {key} finds {found:?}, and UID {uid} is {letter:?}"
            ))),
            None => Ok(()),
        }
    }

    pub(super) async fn status(&mut self, talk: &mut Talk) -> Outcome<()> {
        let name = NAMES[self.rng.usize(..NAMES.len())];
        let answer = talk
            .command(
                &format!("STATUS {name} (MESSAGES UIDNEXT)"),
                Numbers::Change,
            )
            .await?;
        if !answer.is_ok {
            return Err(Trouble::Lost);
        }
        let lines = answer
            .untagged
            .iter()
            .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
        let mut counts = lines.filter_map(|line| {
            let words = line.split_once('(')?.1.trim_end_matches(')').to_owned();
            let words: Vec<&str> = words.split(' ').collect();
            line.starts_with("* STATUS").then_some(())?;
            Some((
                words.get(1)?.parse::<usize>().ok()?,
                words.get(3)?.parse::<u32>().ok()?,
            ))
        });
        let counts = counts.next_back();
        let account = self.account();
        let Folder { letters, .. } = &account.folders[name];
        let newest = account.folders[name].newest();
        let stay = letters
            .values()
            .filter(|letter| !account.may_vanish(letter));
        let fits = match counts {
            Some((messages, next)) if account.is_shared() => {
                messages >= stay.count() && next > newest
            }
            // INBOX gets mail by itself, so only a lower bound is known. Other folders are this person's alone, and the count is exact.
            Some((messages, next)) if name == INBOX => messages >= letters.len() && next > newest,
            Some((messages, next)) => messages == letters.len() && next > newest,
            None => false,
        };
        match fits {
            true => Ok(()),
            false => Err(Trouble::Wrong(format!(
                "STATUS {name} reports {counts:?}, there are {}",
                letters.len()
            ))),
        }
    }

    pub(super) async fn list(&mut self, talk: &mut Talk) -> Outcome<()> {
        let answer = talk.command("LIST \"\" *", Numbers::Change).await?;
        let text = |name: &str| {
            let (plain, quoted) = (format!(" {name}"), format!(" \"{name}\""));
            let lines = answer.untagged.iter().map(|line| line.as_bytes());
            let mut lines = lines.filter(|line| line.starts_with(b"* LIST"));
            lines.any(|line| line.ends_with(plain.as_bytes()) || line.ends_with(quoted.as_bytes()))
        };
        match answer.is_ok && !NAMES.iter().all(|name| text(name)) {
            true => Err(Trouble::Wrong("LIST does not name every mailbox".into())),
            false => Ok(()),
        }
    }
}
