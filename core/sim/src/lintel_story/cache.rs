//! What a client keeps of a mailbox while it is away (RFC 7162 §6), and whether that is what the server has when it has come back.
//!
//! It follows the letter of the section: UIDs and flags as they come, and at a tagged reply the modification sequence to come back with, which is
//! that of a HIGHESTMODSEQ or else the greatest MODSEQ since the last reply.

use std::collections::{BTreeMap, BTreeSet};

use imap::client::Value;
use mail::SystemFlags;

use super::talk::flags;

/// The state of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub flags: SystemFlags,
    pub modseq: u64,
}

/// A mailbox as the client has it. It survives its connections.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    pub uid_validity: u32,
    /// What to come back with; 0: nothing is known.
    pub modseq: u64,
    pub messages: BTreeMap<u32, SystemFlags>,
}

/// What came before one tagged reply.
#[derive(Debug, Default)]
pub struct News {
    pub uid_validity: Option<u32>,
    /// The last HIGHESTMODSEQ.
    pub highest: Option<u64>,
    pub fetched: BTreeMap<u32, Shown>,
    pub vanished: BTreeSet<u32>,
    pub earlier: BTreeSet<u32>,
    /// How many EXISTS: of messages that came nothing but the number is known, and the client fetches them before it takes a new modification
    /// sequence.
    pub exists: usize,
}

impl News {
    /// Takes in one untagged response. `Err`: what a client with QRESYNC must not be sent.
    pub fn take(&mut self, text: &str, values: &[Value]) -> Result<(), String> {
        self.uid_validity = number_in(text, "[UIDVALIDITY ").or(self.uid_validity);
        self.highest = number_in(text, "[HIGHESTMODSEQ ").or(self.highest);
        match values {
            [_, Value::Atom(_), Value::Atom(word), ..] if word == "EXPUNGE" => {
                Err(format!("EXPUNGE where VANISHED was enabled: {text}"))
            }
            [_, Value::Atom(_), Value::Atom(word)] if word == "EXISTS" => {
                self.exists += 1;
                Ok(())
            }
            [_, Value::Atom(word), Value::Atom(set)] if word == "VANISHED" => {
                for uid in uids(set) {
                    self.fetched.remove(&uid);
                    self.vanished.insert(uid);
                }
                Ok(())
            }
            [_, Value::Atom(word), Value::List(_), Value::Atom(set)] if word == "VANISHED" => {
                if !self.fetched.is_empty() {
                    return Err(format!("VANISHED (EARLIER) behind FETCH: {text}"));
                }
                self.earlier.extend(uids(set));
                Ok(())
            }
            [_, Value::Atom(_), Value::Atom(word), Value::List(items)] if word == "FETCH" => {
                self.fetch(items).map_err(|why| format!("{why}: {text}"))
            }
            _ => Ok(()),
        }
    }

    fn fetch(&mut self, items: &[Value]) -> Result<(), String> {
        let (mut uid, mut shown, mut modseq) = (None, None, None);
        for pair in items.chunks(2) {
            match pair {
                [Value::Atom(name), Value::Atom(word)] if name == "UID" => uid = word.parse().ok(),
                [Value::Atom(name), Value::List(words)] if name == "FLAGS" => {
                    shown = Some(flags(words));
                }
                [Value::Atom(name), Value::List(words)] if name == "MODSEQ" => {
                    if let [Value::Atom(word)] = &words[..] {
                        modseq = word.parse().ok();
                    }
                }
                _ => {}
            }
        }
        let (Some(uid), Some(flags), Some(modseq)) = (uid, shown, modseq) else {
            return Err("flags without UID or MODSEQ".into());
        };
        self.fetched.insert(uid, Shown { flags, modseq });
        Ok(())
    }
}

impl Cache {
    /// The untagged responses are believed as they come.
    pub fn learn(&mut self, news: &News) {
        for uid in news.earlier.iter().chain(&news.vanished) {
            self.messages.remove(uid);
        }
        let fetched = news.fetched.iter();
        self.messages
            .extend(fetched.map(|(uid, shown)| (*uid, shown.flags)));
    }

    /// The command was answered. `Err`: modification sequences went back.
    pub fn answered(&mut self, news: &News) -> Result<(), String> {
        let greatest = news.fetched.values().map(|shown| shown.modseq).max();
        let modseq = news.highest.or(greatest).unwrap_or(0);
        if news.highest.is_some_and(|highest| highest < self.modseq) {
            return Err(format!(
                "HIGHESTMODSEQ {modseq} after the client had {}",
                self.modseq
            ));
        }
        self.modseq = self.modseq.max(modseq);
        Ok(())
    }

    /// Holds what the client believes against `all`, the answer to a FETCH of every message. What changed after the modification sequence
    /// that it has may differ. `whole`: the answer says of every message that went.
    pub fn compare(&self, all: &News, whole: bool) -> Result<(), String> {
        for (uid, shown) in &all.fetched {
            if shown.modseq <= self.modseq && self.messages.get(uid) != Some(&shown.flags) {
                let believed = self.messages.get(uid);
                return Err(format!(
                    "UID {uid} is {shown:?}, a client that came back with {} has {believed:?}",
                    self.modseq
                ));
            }
        }
        let is_there = |uid: &&u32| {
            all.fetched.contains_key(uid) || all.vanished.contains(uid) || all.earlier.contains(uid)
        };
        match self.messages.keys().find(|uid| !is_there(uid)) {
            Some(uid) if whole => Err(format!(
                "UID {uid} went, and a client that came back with {} still has it",
                self.modseq
            )),
            _ => Ok(()),
        }
    }
}

fn number_in<T: std::str::FromStr>(text: &str, word: &str) -> Option<T> {
    let (_, rest) = text.split_once(word)?;
    rest.split_once(']')?.0.parse().ok()
}

/// `1:3,7` in full. No story has many UIDs.
fn uids(set: &str) -> Vec<u32> {
    let number = |word: &str| word.parse::<u32>().unwrap_or(0);
    let ranges = set.split(',').map(|range| match range.split_once(':') {
        Some((first, last)) => number(first)..=number(last),
        None => number(range)..=number(range),
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use imap::client::Responses;

    use super::*;

    fn news(lines: &[&str]) -> Result<News, String> {
        let mut news = News::default();
        for line in lines {
            let mut responses = Responses::default();
            responses.input().extend(format!("{line}\r\n").bytes());
            let response = responses.step().unwrap().unwrap();
            news.take(line, &response.values().unwrap())?;
        }
        Ok(news)
    }

    /// After a SELECT and a FETCH of everything.
    fn came_back(select: &[&str], fetch: &[&str]) -> Result<(), String> {
        let mut cache = Cache {
            uid_validity: 1,
            modseq: 5,
            messages: [(1, SystemFlags::SEEN), (2, SystemFlags::default())].into(),
        };
        let select = news(select)?;
        cache.learn(&select);
        cache.answered(&select)?;
        cache.compare(&news(fetch)?, true)
    }

    #[test]
    fn a_client_that_heard_everything_agrees() {
        let all = ["* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (4))"];
        let select = ["* OK [HIGHESTMODSEQ 7] x", "* VANISHED (EARLIER) 2"];
        assert_eq!(came_back(&select, &all), Ok(()));
        // What changes while it looks may be new to it, and what goes is told.
        let later = ["* 1 FETCH (UID 1 FLAGS () MODSEQ (8))", "* VANISHED 2"];
        assert_eq!(came_back(&["* OK [HIGHESTMODSEQ 7] x"], &later), Ok(()));
    }

    #[test]
    fn what_was_not_said_is_seen() {
        let highest = "* OK [HIGHESTMODSEQ 7] x";
        let one = "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (4))";
        let flagged = "* 1 FETCH (UID 1 FLAGS (\\Flagged) MODSEQ (6))";
        let came = "* 2 FETCH (UID 3 FLAGS () MODSEQ (7))";
        for (select, all, why) in [
            (&[highest][..], &[one][..], "an expunge"),
            (&[highest, "* VANISHED (EARLIER) 2"], &[flagged], "a flag"),
            (
                &[highest, "* VANISHED (EARLIER) 2"],
                &[one, came],
                "a message",
            ),
            (
                &["* OK [HIGHESTMODSEQ 4] x"],
                &[one],
                "numbers that go back",
            ),
            (&[highest, "* 2 EXPUNGE"], &[one], "the old form"),
            (
                &[flagged, "* VANISHED (EARLIER) 2"],
                &[flagged],
                "the order",
            ),
            (&["* 1 FETCH (UID 1 FLAGS ())"], &[one], "no MODSEQ"),
        ] {
            assert!(came_back(select, all).is_err(), "{why}");
        }
    }
}
