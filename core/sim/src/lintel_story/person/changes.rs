//! What a person changes: STORE, COPY, MOVE, APPEND, EXPUNGE and CLOSE. The account is told what was asked before it is asked, and what came of
//! it when that is answered.

use mail::SystemFlags;

use super::super::model::{Letter, NAMES, Operation, content};
use super::super::talk::{Answer, Numbers, Outcome, Talk, Trouble, put_flags};
use super::Person;

impl Person {
    /// Asks for a change; its outcome is told, or open.
    pub(super) async fn change(
        &mut self,
        talk: &mut Talk,
        operation: Operation,
        line: &str,
        literal: Option<&[u8]>,
        numbers: Numbers,
    ) -> Outcome<Answer> {
        self.account().asks(operation.clone());
        let answer = talk.command_with(line, literal, numbers).await?;
        if !answer.is_ok {
            // It was refused whole, and the session goes on.
            // The one refusal that says for certain that nothing happened. After any other the outcome is open, and the session is given up.
            if answer.text.contains("[OVERQUOTA]") {
                self.account().pending = None;
                return Ok(answer);
            }
            return Err(Trouble::Lost);
        }
        let wrong = |why: &str| Trouble::Wrong(format!("{line}: {why} in {}", answer.text));
        let uids: Vec<(u32, u32)> = match &operation {
            Operation::Append { .. } => {
                // UIDPLUS is what makes the model exact: without it the new letter would have to be searched for.
                let code = answer.code("APPENDUID");
                let uid = code.and_then(|words| words.get(1)?.parse().ok());
                vec![(0, uid.ok_or_else(|| wrong("no APPENDUID"))?)]
            }
            Operation::Copy { .. } | Operation::Move { .. } => {
                let code = answer.code("COPYUID").ok_or_else(|| wrong("no COPYUID"))?;
                match &code[..] {
                    [_, from, to] => expand(from).into_iter().zip(expand(to)).collect(),
                    _ => return Err(wrong("half a COPYUID")),
                }
            }
            _ => Vec::new(),
        };
        self.account().settle(&operation, &uids)?;
        self.acked.set(self.acked.get() + 1);
        Ok(answer)
    }

    pub(super) async fn store(&mut self, talk: &mut Talk, folder: &'static str) -> Outcome<()> {
        let uids = self.some(talk, folder);
        if uids.is_empty() {
            return Ok(());
        }
        let (uid, set) = self.set(talk, &uids);
        // Often what an EXPUNGE takes later: that is what other sessions must hear of, and when.
        let (change, flags) = match self.rng.u8(..3) {
            0 => ('+', SystemFlags::DELETED),
            _ => (
                ['+', '-', ' '][self.rng.usize(..3)],
                SystemFlags(self.rng.u8(..32)),
            ),
        };
        let sign = if change == ' ' {
            String::new()
        } else {
            change.to_string()
        };
        let silent = ["", ".SILENT"][self.rng.usize(..2)];
        let line = format!("{uid}STORE {set} {sign}FLAGS{silent} {}", put_flags(flags));
        let numbers = if uid.is_empty() {
            Numbers::Stay
        } else {
            Numbers::Change
        };
        let operation = Operation::Store {
            folder,
            uids,
            change,
            flags,
        };
        self.change(talk, operation, &line, None, numbers).await?;
        Ok(())
    }

    pub(super) async fn place(
        &mut self,
        talk: &mut Talk,
        folder: &'static str,
        moves: bool,
    ) -> Outcome<()> {
        let to = NAMES[self.rng.usize(..NAMES.len())];
        let mut uids = self.some(talk, folder);
        uids.truncate(8);
        // Copies beget copies: bounded, so that stories end.
        let crowded = self.account().folders[to].letters.len() > LETTERS_MAX;
        if uids.is_empty() || to == folder || (crowded && !moves) {
            return Ok(());
        }
        let (uid, set) = self.set(talk, &uids);
        let (from, verb) = (folder, if moves { "MOVE" } else { "COPY" });
        let operation = match moves {
            true => Operation::Move { from, uids, to },
            false => Operation::Copy { from, uids, to },
        };
        let line = format!("{uid}{verb} {set} {to}");
        self.change(talk, operation, &line, None, Numbers::Change)
            .await?;
        Ok(())
    }

    pub(super) async fn append(&mut self, talk: &mut Talk) -> Outcome<()> {
        // Not to INBOX: what comes there unasked is an arrival.
        let to = NAMES[self.rng.usize(1..NAMES.len())];
        let mut token = self.tokens.get();
        // Numbers are dealt out among the accounts, so that a letter which turns up in the wrong one is recognised.
        while !self.account().owns(token) {
            token += 1;
        }
        self.tokens.set(token + 1);
        let flags = SystemFlags(self.rng.u8(..32));
        let line = format!("APPEND {to} {}", put_flags(flags));
        let letter = Letter { token, flags };
        let operation = Operation::Append { to, letter };
        let raw = content(token);
        self.change(talk, operation, &line, Some(&raw), Numbers::Change)
            .await?;
        Ok(())
    }

    /// `true`: the mailbox was closed.
    pub(super) async fn expunge(&mut self, talk: &mut Talk, folder: &'static str) -> Outcome<bool> {
        let deleted = |(uid, letter): (&u32, &Letter)| {
            letter.flags.contains(SystemFlags::DELETED).then_some(*uid)
        };
        let mut uids: Vec<u32> = self.account().folders[folder]
            .letters
            .iter()
            .filter_map(deleted)
            .collect();
        // This session was not shown all of them yet, and may then not be shown the expunge of them either.
        if !uids.iter().all(|uid| self.shows(talk, *uid)) {
            return Ok(false);
        }
        let way = self.rng.u8(..3);
        let line = match way {
            0 => "EXPUNGE".to_owned(),
            1 => "CLOSE".to_owned(),
            _ => {
                uids.retain(|_| self.rng.bool());
                if uids.is_empty() {
                    return Ok(false);
                }
                let (_, words) = ((), uids.iter().map(u32::to_string).collect::<Vec<_>>());
                format!("UID EXPUNGE {}", words.join(","))
            }
        };
        let operation = Operation::Expunge {
            folder,
            uids: uids.clone(),
        };
        self.change(talk, operation, &line, None, Numbers::Change)
            .await?;
        if way == 1 {
            talk.seen = None;
            return Ok(true);
        }
        // A busy storage is asked again at the next command.
        let seen = talk.seen.as_ref().filter(|_| self.strict);
        let seen = seen.map_or(&[][..], |seen| &seen.uids);
        match uids.iter().find(|uid| seen.contains(&Some(**uid))) {
            Some(uid) => Err(Trouble::Wrong(format!(
                "UID {uid} is expunged, and has a number"
            ))),
            None => Ok(false),
        }
    }
}

/// `1:3,7` in full.
fn expand(set: &str) -> Vec<u32> {
    let number = |word: &str| word.parse::<u32>().unwrap_or(0);
    let ranges = set.split(',').map(|range| match range.split_once(':') {
        Some((first, last)) => number(first)..=number(last),
        None => number(range)..=number(range),
    });
    ranges.flatten().collect()
}

/// Letters in a mailbox past which nothing is copied there.
const LETTERS_MAX: usize = 60;
