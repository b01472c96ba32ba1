//! What the people of the story were told, and so what has to be there. It survives crashes.
//!
//! A letter is known by its token, which its bytes follow from. Senders deliver to any account; each letter of an account is changed by one
//! person, at a time by one command, so that every difference has one explanation: an arrival, or the one command that was never answered.
//! Several persons may share an account, and then each minds its own letters; \Deleted is an invitation to all of them.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use mail::SystemFlags;

use crate::limits::LINTEL_MESSAGE_BYTES_MAX;

pub const INBOX: &str = "INBOX";
/// INBOX and what a person makes.
pub const NAMES: [&str; 3] = [INBOX, "a", "b"];

pub type Token = u64;

/// How often a letter was promised to an account, and how often it came.
#[derive(Debug, Clone, Copy, Default)]
struct Promise {
    /// Answered 250.
    acked: u32,
    /// Tries without an answer, or with one that leaves it open.
    open: u32,
    arrived: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letter {
    pub token: Token,
    pub flags: SystemFlags,
}

#[derive(Debug, Clone, Default)]
pub struct Folder {
    uid_validity: Option<u32>,
    /// What comes to light later has this UID or a greater one.
    pub floor: u32,
    /// Every UID that was ever told. None of them is used again.
    ever: BTreeSet<u32>,
    pub letters: BTreeMap<u32, Letter>,
}

/// Asked for, and not answered.
#[derive(Debug, Clone)]
pub enum Operation {
    Append {
        to: &'static str,
        letter: Letter,
    },
    Copy {
        from: &'static str,
        uids: Vec<u32>,
        to: &'static str,
    },
    Move {
        from: &'static str,
        uids: Vec<u32>,
        to: &'static str,
    },
    /// `change`: '+', '-', or ' ' to replace.
    Store {
        folder: &'static str,
        uids: Vec<u32>,
        change: char,
        flags: SystemFlags,
    },
    Expunge {
        folder: &'static str,
        uids: Vec<u32>,
    },
}

/// What one person knows of the mailboxes of an account.
#[derive(Default)]
pub struct Account {
    pub name: String,
    /// Which of so many persons it is; a letter is that one's whose number is the rest of its token.
    person: u64,
    persons: u64,
    pub folders: BTreeMap<&'static str, Folder>,
    pub pending: Option<Operation>,
    promises: BTreeMap<Token, Promise>,
    /// Rises when something may have changed.
    pub version: u64,
}

/// What is certain of a mailbox.
pub struct Settled {
    pub version: u64,
    pub letters: BTreeMap<u32, SystemFlags>,
    pub gone: BTreeSet<u32>,
}

/// A mailbox as a look found it.
#[derive(Default)]
pub struct Look {
    pub uid_validity: Option<u32>,
    pub letters: BTreeMap<u32, Letter>,
}

/// The bytes of a letter, as they are sent.
pub fn content(token: Token) -> Vec<u8> {
    let mut rng = Rng::with_seed(token ^ 0x6c69_6e74_656c);
    let lines = match rng.u8(..40) {
        0 => rng.usize(1_500..3_000),
        1..=4 => rng.usize(100..400),
        _ => rng.usize(..20),
    };
    let mut raw = format!("Subject: token {token} end\r\nFrom: s@example.net\r\n\r\n").into_bytes();
    for _ in 0..lines {
        // Some lines begin with dots, some are empty.
        let line: String = (0..rng.usize(..70))
            .map(|_| char::from(b"..ab cd"[rng.usize(..7)]))
            .collect();
        raw.extend_from_slice(line.as_bytes());
        raw.extend_from_slice(b"\r\n");
    }
    assert!(raw.len() < LINTEL_MESSAGE_BYTES_MAX as usize);
    raw
}

/// The letter that `raw` is, whole: as it was sent, behind trace fields or not.
pub fn recognise(raw: &[u8]) -> Result<Token, String> {
    let text = String::from_utf8_lossy(&raw[..raw.len().min(2_000)]).into_owned();
    let token = text
        .split_once("Subject: token ")
        .and_then(|(_, rest)| rest.split_once(" end")?.0.parse().ok());
    let token: Token = token.ok_or_else(|| format!("no letter of ours: {text:?}"))?;
    match raw.ends_with(&content(token)) {
        true => Ok(token),
        false => Err(format!("letter {token} has other bytes")),
    }
}

pub fn changed(before: SystemFlags, change: char, flags: SystemFlags) -> SystemFlags {
    match change {
        '+' => before.with(flags),
        '-' => before.without(flags),
        _ => flags,
    }
}

impl Folder {
    /// The greatest UID that was ever told.
    pub fn newest(&self) -> u32 {
        self.ever.last().copied().unwrap_or(0)
    }
}

impl Account {
    pub fn new(name: String, person: u64, persons: u64) -> Account {
        Account {
            name,
            person,
            persons,
            folders: NAMES.map(|name| (name, Folder::default())).into(),
            ..Account::default()
        }
    }

    pub fn owns(&self, token: Token) -> bool {
        token % self.persons == self.person
    }

    pub fn is_first(&self) -> bool {
        self.person == 0
    }

    /// Others work on the same mailboxes.
    pub fn is_shared(&self) -> bool {
        self.persons > 1
    }

    /// Whether another person's EXPUNGE or CLOSE may take it away.
    pub fn may_vanish(&self, letter: &Letter) -> bool {
        self.is_shared() && letter.flags.contains(SystemFlags::DELETED)
    }

    /// What every session that asked since has to know of `folder`. Nothing that may change at this moment is in it.
    pub fn settled(&self, folder: &str) -> Settled {
        let place = &self.folders[folder];
        let touched = |uid: &u32| match &self.pending {
            Some(
                Operation::Store {
                    folder: from, uids, ..
                }
                | Operation::Move { from, uids, .. }
                | Operation::Expunge { folder: from, uids },
            ) => *from == folder && uids.contains(uid),
            _ => false,
        };
        let letters = place.letters.iter();
        let letters = letters.filter(|(uid, letter)| !touched(uid) && !self.may_vanish(letter));
        let gone = place.ever.iter();
        Settled {
            version: self.version,
            letters: letters.map(|(uid, letter)| (*uid, letter.flags)).collect(),
            gone: gone
                .filter(|uid| !place.letters.contains_key(uid))
                .copied()
                .collect(),
        }
    }

    /// How many letters left `folder` so far.
    pub fn gone_count(&self, folder: &str) -> usize {
        let place = &self.folders[folder];
        place.ever.len() - place.letters.len()
    }

    // Senders.

    /// A try begins: from now on the letter may come.
    pub fn try_begins(&mut self, token: Token) {
        self.promises.entry(token).or_default().open += 1;
    }

    /// It was refused before its content: it does not come by this try.
    pub fn refused(&mut self, token: Token) {
        self.promises.entry(token).or_default().open -= 1;
    }

    pub fn acked(&mut self, token: Token) {
        let promise = self.promises.entry(token).or_default();
        promise.open -= 1;
        promise.acked += 1;
    }

    /// What was promised by now: a look that begins later finds at least this.
    pub fn promised(&self) -> Vec<(Token, u32)> {
        let promises = self.promises.iter();
        promises
            .map(|(token, promise)| (*token, promise.acked))
            .collect()
    }

    /// Everything of `promised` has come.
    pub fn is_kept(&self, promised: &[(Token, u32)]) -> Result<(), String> {
        for (token, acked) in promised {
            let arrived = self
                .promises
                .get(token)
                .map_or(0, |promise| promise.arrived);
            if arrived < *acked {
                return Err(format!(
                    "{}: letter {token} was accepted and is not there",
                    self.name
                ));
            }
        }
        Ok(())
    }

    // The person.

    /// From now on it may happen, until it is settled or resolved.
    pub fn asks(&mut self, operation: Operation) {
        self.pending = Some(operation);
        self.version += 1;
    }

    /// A letter in `folder` that was not known: it has to have a reason, and a UID that is not used yet.
    fn came(&mut self, folder: &'static str, uid: u32, letter: Letter) -> Result<(), String> {
        let place = self.folders.get_mut(folder).expect("one of NAMES");
        if uid < place.floor || !place.ever.insert(uid) {
            return Err(format!(
                "{folder}: UID {uid} comes below {}, or again",
                place.floor
            ));
        }
        place.letters.insert(uid, letter);
        Ok(())
    }

    /// A letter that a sender sent is seen for the first time.
    pub fn arrived(&mut self, uid: u32, letter: Letter) -> Result<(), String> {
        let promise = self.promises.entry(letter.token).or_default();
        promise.arrived += 1;
        if promise.arrived > promise.acked + promise.open {
            return Err(format!(
                "letter {} came too often: {promise:?}",
                letter.token
            ));
        }
        if letter.flags != SystemFlags::default() {
            return Err(format!("letter {} comes with flags", letter.token));
        }
        self.came(INBOX, uid, letter)
    }

    /// Whether `uid` was told of before.
    pub fn knows(&self, folder: &str, uid: u32) -> bool {
        self.folders[folder].ever.contains(&uid)
    }

    /// All there was in `folder` up to `uid` was told.
    pub fn raise_floor(&mut self, folder: &str, uid: u32) {
        if let Some(place) = self.folders.get_mut(folder) {
            place.floor = place.floor.max(uid + 1);
        }
    }

    /// A UID that was given just now is greater than every other.
    fn given(&mut self, folder: &'static str, uid: u32, letter: Letter) -> Result<(), String> {
        let newest = self.folders[folder].newest();
        if uid <= newest {
            return Err(format!("{folder}: UID {uid} is given after {newest}"));
        }
        self.came(folder, uid, letter)
    }

    /// The command was answered OK: `uids` are the new UIDs, one for each source.
    pub fn settle(&mut self, operation: &Operation, uids: &[(u32, u32)]) -> Result<(), String> {
        self.pending = None;
        self.version += 1;
        match operation {
            Operation::Append { to, letter } => {
                for (_, uid) in uids {
                    self.given(to, *uid, *letter)?;
                }
            }
            Operation::Copy {
                from,
                uids: sources,
                to,
            }
            | Operation::Move {
                from,
                uids: sources,
                to,
            } => {
                let told: Vec<u32> = uids.iter().map(|(source, _)| *source).collect();
                if told != *sources {
                    return Err(format!(
                        "COPYUID reports {told:?}, the request was {sources:?}"
                    ));
                }
                for (source, uid) in uids {
                    let letter = self.folders[from].letters[source];
                    self.given(to, *uid, letter)?;
                }
                if matches!(operation, Operation::Move { .. }) {
                    let place = self.folders.get_mut(from).expect("one of NAMES");
                    place.letters.retain(|uid, _| !sources.contains(uid));
                }
            }
            Operation::Store {
                folder,
                uids,
                change,
                flags,
            } => {
                let place = self.folders.get_mut(folder).expect("one of NAMES");
                for uid in uids {
                    let letter = place.letters.get_mut(uid).expect("chosen from these");
                    letter.flags = changed(letter.flags, *change, *flags);
                }
            }
            Operation::Expunge { folder, uids } => {
                let place = self.folders.get_mut(folder).expect("one of NAMES");
                place.letters.retain(|uid, _| !uids.contains(uid));
            }
        }
        Ok(())
    }

    /// A look at everything: what differs is explained by arrivals and by the command that was not answered, or something is wrong.
    pub fn resolve(&mut self, looks: &BTreeMap<&'static str, Look>) -> Result<(), String> {
        let pending = self.pending.take();
        self.version += 1;
        let shared = self.is_shared();
        let vanishes = |letter: &Letter| shared && letter.flags.contains(SystemFlags::DELETED);
        let wrong = |text: String| Err(format!("{text}; not answered: {pending:?}"));
        let mut left: BTreeMap<Token, i32> = BTreeMap::new();
        for (name, look) in looks {
            let place = self.folders.get_mut(name).expect("one of NAMES");
            if *place
                .uid_validity
                .get_or_insert(look.uid_validity.unwrap_or(0))
                != look.uid_validity.unwrap_or(0)
            {
                return wrong(format!("{name}: UIDVALIDITY changes"));
            }
            let known: Vec<(u32, Letter)> = place
                .letters
                .iter()
                .map(|(uid, letter)| (*uid, *letter))
                .collect();
            for (uid, letter) in known {
                let Some(now) = look.letters.get(&uid) else {
                    let stored = match &pending {
                        Some(Operation::Store {
                            folder,
                            uids,
                            change,
                            flags,
                        }) if folder == name && uids.contains(&uid) => Letter {
                            flags: changed(letter.flags, *change, *flags),
                            ..letter
                        },
                        _ => letter,
                    };
                    match &pending {
                        _ if vanishes(&letter) || vanishes(&stored) => {}
                        Some(Operation::Expunge { folder, uids })
                            if folder == name && uids.contains(&uid) => {}
                        Some(Operation::Move { from, uids, .. })
                            if from == name && uids.contains(&uid) =>
                        {
                            *left.entry(letter.token).or_default() += 1;
                        }
                        _ => return wrong(format!("{name}: UID {uid} ({letter:?}) is gone")),
                    }
                    place.letters.remove(&uid);
                    continue;
                };
                let stored = match &pending {
                    Some(Operation::Store {
                        folder,
                        uids,
                        change,
                        flags,
                    }) if folder == name && uids.contains(&uid) => {
                        changed(letter.flags, *change, *flags)
                    }
                    _ => letter.flags,
                };
                if now.token != letter.token || (now.flags != letter.flags && now.flags != stored) {
                    return wrong(format!("{name}: UID {uid} was {letter:?} and is {now:?}"));
                }
                place.letters.insert(uid, *now);
            }
        }
        // Tokens that the command may have placed, and how often.
        let mut may_come: Vec<Letter> = match &pending {
            Some(Operation::Append { letter, .. }) => vec![*letter],
            Some(Operation::Copy { from, uids, .. }) => {
                let letters = &self.folders[from].letters;
                uids.iter()
                    .filter_map(|uid| letters.get(uid).copied())
                    .collect()
            }
            _ => Vec::new(),
        };
        let target = match &pending {
            Some(
                Operation::Append { to, .. }
                | Operation::Copy { to, .. }
                | Operation::Move { to, .. },
            ) => Some(*to),
            _ => None,
        };
        for (name, look) in looks {
            for (uid, letter) in &look.letters {
                if self.folders[name].letters.contains_key(uid) {
                    continue;
                }
                let moved = left.get_mut(&letter.token).filter(|count| **count > 0);
                let place = may_come.iter().position(|other| other == letter);
                let placed = target == Some(*name);
                if let (true, Some(count)) = (placed, moved) {
                    *count -= 1;
                    self.came(name, *uid, *letter)?;
                } else if let (true, Some(index)) = (placed, place) {
                    may_come.swap_remove(index);
                    self.came(name, *uid, *letter)?;
                } else if *name == INBOX {
                    self.arrived(*uid, *letter)?;
                } else {
                    return wrong(format!(
                        "{name}: UID {uid} ({letter:?}) has no reason to be there"
                    ));
                }
            }
        }
        for (name, look) in looks {
            if let Some(uid) = look.letters.keys().next_back() {
                self.raise_floor(name, *uid);
            }
        }
        match left.values().any(|count| *count != 0) {
            true => wrong(format!("a MOVE lost letters on its way: {left:?}")),
            false => Ok(()),
        }
    }
}
