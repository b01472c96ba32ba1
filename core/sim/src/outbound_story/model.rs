//! What is known of every letter: who may have it, who took it, what was reported, and what follows in the end.

use std::collections::{BTreeMap, BTreeSet};

use base::BodyName;
use queue::{Queue, QueueId, RecipientState};

use super::mail_text::{Mail, Report, Token};

/// A letter as it was written.
pub struct Letter {
    /// Without brackets; empty: the null one.
    pub sender: String,
    /// Recipients that were answered 250, and whether a report of failure, and of success, is wanted.
    pub wrote: BTreeMap<String, Wishes>,
    pub began_us: u64,
    /// It was answered 250 at the end.
    pub accepted: bool,
    /// Its life is shorter than the story: that it expires is no fault.
    pub is_short: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    pub failure: bool,
    pub success: bool,
}

impl Wishes {
    pub const UNSAID: Wishes = Wishes {
        failure: true,
        success: false,
    };
}

/// Where a name led from one moment to another.
struct Version {
    /// `None`: it leads there still.
    until_us: Option<u64>,
    /// None: the name was removed.
    targets: Vec<String>,
}

/// A name of ours that leads on.
#[derive(Default)]
struct Name {
    versions: Vec<Version>,
    /// Reports about what it leads to go to this owner.
    owner: Option<String>,
}

/// One message that a server or a mailbox has.
struct Take {
    token: Token,
    /// Whose it is now.
    path: String,
    /// The address that led on to it; empty: none did.
    via: String,
    /// The Message-ID of a report.
    report: String,
    /// Under which names of bodies it may lie in the queue.
    bodies: Vec<BodyName>,
    /// Its 250 left whole: the queue must have noted it, or the power went.
    is_sure: bool,
    excused: bool,
    /// The server reports success itself.
    with_dsn: bool,
    in_mailbox: bool,
}

/// A message that an administrator has waiting.
pub struct Held {
    pub body: BodyName,
    pub paths: Vec<String>,
}

#[derive(Default)]
pub struct Known {
    pub letters: BTreeMap<Token, Letter>,
    names: BTreeMap<String, Name>,
    takes: Vec<Take>,
    /// Reports of failure, by letter and final recipient: to whom.
    failed: BTreeMap<(Token, String), BTreeSet<String>>,
    /// Reports of success likewise.
    relayed: BTreeSet<(Token, String)>,
    /// Reports of one failure, by letter, final recipient and the address that led on: Message-IDs.
    reports: BTreeMap<(Token, String, String), BTreeSet<String>>,
    /// Recipients, and domains, that a server refused for good at least once.
    pub refused: BTreeSet<String>,
    /// Taken out of the queue by an administrator: a letter's recipient, or the report about it.
    pub dropped: BTreeSet<(Token, String)>,
    pub held: BTreeMap<QueueId, Held>,
    /// The volume was full: a report of success may be missing.
    pub was_full: bool,
    pub broken: Option<String>,
    pub accepted: u64,
}

impl Known {
    pub fn fail(&mut self, text: String) {
        self.broken.get_or_insert(text);
    }

    // Names.

    /// `name` may lead to `targets` from now on; until `led` says so the earlier ones count too.
    pub fn leads(&mut self, name: &str, targets: Vec<String>) {
        let versions = &mut self.names.entry(name.to_owned()).or_default().versions;
        versions.push(Version {
            until_us: None,
            targets,
        });
    }

    pub fn set_owner(&mut self, name: &str, owner: &str) {
        self.names.entry(name.to_owned()).or_default().owner = Some(owner.to_owned());
    }

    /// `name` leads to `targets` and to nothing else.
    pub fn led(&mut self, name: &str, targets: &[String], now_us: u64) -> Result<(), String> {
        let known = self.names.entry(name.to_owned()).or_default();
        let same = |version: &&mut Version| {
            version.until_us.is_none() && same_set(&version.targets, targets)
        };
        let open: Vec<&mut Version> = known.versions.iter_mut().rev().collect();
        let mut is_found = false;
        for version in open {
            if !is_found && same(&version) {
                is_found = true;
            } else if version.until_us.is_none() {
                version.until_us = Some(now_us);
            }
        }
        match is_found {
            true => Ok(()),
            false => Err(format!(
                "{name} leads to {targets:?}, which was not asked for"
            )),
        }
    }

    /// Where it leads now.
    pub fn targets(&self, name: &str) -> Vec<String> {
        let open = |name: &&Version| name.until_us.is_none();
        let known = self.names.get(name);
        let known = known.and_then(|name| name.versions.iter().rfind(open));
        known.map_or(Vec::new(), |version| version.targets.clone())
    }

    pub fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    /// The name that `path` is, or that takes it for its domain.
    fn name_of(&self, path: &str) -> Option<(&str, &Name)> {
        let domain = path.rsplit_once('@').map_or("", |(_, domain)| domain);
        let found = self.names.get_key_value(path);
        let found = found.or_else(|| self.names.get_key_value(&format!("@{domain}")));
        found.map(|(name, known)| (name.as_str(), known))
    }

    /// Whether mail for `path` may lead to `to`, at any moment since `since_us`.
    fn may_lead(&self, path: &str, to: &str, since_us: u64, depth: usize) -> bool {
        if path == to {
            return true;
        }
        let Some((_, name)) = self.name_of(path).filter(|_| depth < DEPTH_MAX) else {
            return false;
        };
        let versions = name.versions.iter();
        versions
            .filter(|version| version.until_us.is_none_or(|until| until >= since_us))
            .flat_map(|version| &version.targets)
            .any(|target| self.may_lead(target, to, since_us, depth + 1))
    }

    // What comes about.

    /// A server or a mailbox has it. `sure`: it said so, and its words arrived.
    pub fn take(&mut self, path: &str, mail: &Mail, sure: bool, with_dsn: bool, in_mailbox: bool) {
        let Some(token) = mail.token else {
            return self.fail(format!(
                "{path} has mail that was not written: {}",
                mail.text
            ));
        };
        let Some(letter) = self.letters.get(&token) else {
            return self.fail(format!("{path} has letter {token}, which was not written"));
        };
        if let Some(report) = &mail.report {
            let report = report.clone();
            self.reported(token, path, &report);
        } else if !letter
            .wrote
            .keys()
            .any(|wrote| self.may_lead(wrote, path, letter.began_us, 0))
        {
            let wrote: Vec<&String> = letter.wrote.keys().collect();
            return self.fail(format!(
                "{path} has letter {token}, which was written to {wrote:?}"
            ));
        }
        let sender = letter_sender(&self.letters, token);
        let bodies = mail.bodies(&sender);
        let is_held =
            |held: &Held| bodies.contains(&held.body) && held.paths.iter().any(|held| held == path);
        if !in_mailbox && self.held.values().any(is_held) {
            self.fail(format!("{path} has letter {token}, which is held"));
        }
        let id = mail.report.as_ref().map_or("", |report| report.id.as_str());
        let earlier = self.takes.iter().find(|take| {
            take.is_sure
                && !take.excused
                && (take.token, &*take.path, &*take.via, &*take.report)
                    == (token, path, &*mail.via, id)
        });
        if earlier.is_some() {
            return self.fail(format!(
                "{path} has letter {token} twice (by way of {:?}, report {id:?}), and no answer was lost",
                mail.via
            ));
        }
        self.takes.push(Take {
            token,
            path: path.to_owned(),
            via: mail.via.clone(),
            report: id.to_owned(),
            bodies,
            is_sure: sure,
            excused: false,
            with_dsn,
            in_mailbox,
        });
    }

    fn reported(&mut self, token: Token, to: &str, report: &Report) {
        let letter = &self.letters[&token];
        if letter.sender.is_empty() {
            return self.fail(format!(
                "{to} has a report about letter {token}, which has no sender"
            ));
        }
        let owners: Vec<&String> = self
            .names
            .values()
            .filter_map(|name| name.owner.as_ref())
            .collect();
        if letter.sender != to && !owners.iter().any(|owner| *owner == to) {
            let text = format!(
                "{to} has the report about letter {token} of {}",
                letter.sender
            );
            return self.fail(text);
        }
        let is_short = letter.is_short;
        for (path, action) in &report.cases {
            let key = (token, path.clone());
            match action.as_str() {
                "failed" => {
                    let domain = path.rsplit_once('@').map_or("", |(_, domain)| domain);
                    let is_ours = self.name_of(path).is_some();
                    let was_refused = self.refused.contains(path) || self.refused.contains(domain);
                    if !was_refused && !is_ours && !is_short {
                        self.fail(format!(
                            "letter {token} is said to have failed for {path}, and no server refused it: {}",
                            report.text
                        ));
                    }
                    self.failed.entry(key).or_default().insert(to.to_owned());
                    let key = (token, path.clone(), report.via.clone());
                    let ids = self.reports.entry(key).or_default();
                    ids.insert(report.id.clone());
                    if ids.len() > 1 {
                        self.fail(format!("two reports that letter {token} failed for {path}"));
                    }
                }
                "relayed" => _ = self.relayed.insert(key),
                _ => {}
            }
        }
    }

    /// The sender stops, by a power cut or in peace: what it had not noted by now may leave once more.
    pub fn excuse(&mut self, queue: &Queue) {
        let entries = queue.entries(None, usize::MAX);
        for take in self.takes.iter_mut().filter(|take| !take.in_mailbox) {
            let waits = entries.iter().any(|entry| {
                let waiting = entry
                    .recipients
                    .iter()
                    .filter(|recipient| matches!(recipient.state, RecipientState::Waiting(_)));
                take.bodies.contains(&entry.body.name)
                    && waiting
                        .into_iter()
                        .any(|recipient| recipient.to.path == take.path)
            });
            take.excused |= waits;
        }
    }

    pub fn has_taken(&self, token: Token, path: &str) -> bool {
        let mut takes = self.takes.iter();
        takes.any(|take| take.token == token && take.path == path && take.report.is_empty())
    }

    // In the end.

    /// Everything that was accepted is where it belongs, or its sender knows.
    pub fn check_end(&self) -> Result<(), String> {
        for (token, letter) in self.letters.iter().filter(|(_, letter)| letter.accepted) {
            for (wrote, wishes) in &letter.wrote {
                self.is_settled(*token, letter, wrote, *wishes, None, 0)
                    .map_err(|what| {
                        format!(
                            "letter {token} of {:?} to {wrote} was accepted, and is lost: {what}",
                            letter.sender
                        )
                    })?;
                self.check_success(*token, wrote, *wishes)?;
            }
        }
        for take in &self.takes {
            let key = (take.token, take.path.clone());
            let is_failed = self.failed.contains_key(&key);
            if is_failed
                && take.report.is_empty()
                && take.is_sure
                && !take.excused
                && self.ways(&take.token, &take.path) == 1
            {
                return Err(format!(
                    "letter {} is with {} and was reported as failed",
                    take.token, take.path
                ));
            }
        }
        Ok(())
    }

    /// How many of the written recipients may have led to `path`.
    fn ways(&self, token: &Token, path: &str) -> usize {
        let letter = &self.letters[token];
        let wrote = letter.wrote.keys();
        wrote
            .filter(|wrote| self.may_lead(wrote, path, letter.began_us, 0))
            .count()
    }

    /// `path` itself, or everything that it led to at one moment, has the letter or is reported. `Err`: what is missing.
    fn is_settled(
        &self,
        token: Token,
        letter: &Letter,
        path: &str,
        wishes: Wishes,
        owner: Option<&str>,
        depth: usize,
    ) -> Result<(), String> {
        if self.has_taken(token, path) || self.dropped.contains(&(token, path.to_owned())) {
            return Ok(());
        }
        let reader = owner.unwrap_or(&letter.sender);
        let readers = self.failed.get(&(token, path.to_owned()));
        let is_told = readers.is_some_and(|readers| readers.contains(reader));
        if is_told {
            return Ok(());
        }
        let is_refused = |path: &str| {
            let domain = path.rsplit_once('@').map_or("", |(_, domain)| domain);
            self.refused.contains(path) || self.refused.contains(domain)
        };
        let name = self.name_of(path).filter(|_| depth < DEPTH_MAX);
        // There is no reader to be told, or no way to tell one.
        let is_silent = letter.sender.is_empty() || owner.is_none() && !wishes.failure;
        let is_dropped = self.dropped.contains(&(token, format!("report on {path}")));
        let is_lost = is_silent || is_dropped || is_refused(reader);
        if is_lost && (is_refused(path) || letter.is_short) {
            return Ok(());
        }
        let Some((name_text, name)) = name else {
            return Err(format!(
                "{path} has it not, and {reader:?} was not told (refused: {}, silent: {is_silent})",
                is_refused(path)
            ));
        };
        let owner = match depth {
            0 => name.owner.as_deref(),
            _ => owner,
        };
        let mut whys = Vec::new();
        let versions = name.versions.iter();
        for version in versions.filter(|version| {
            let until = version.until_us;
            until.is_none_or(|until| until >= letter.began_us)
        }) {
            // What leads in a ring, or is gone, adds nothing to others.
            let targets = version.targets.iter();
            let targets: Vec<&String> = targets.filter(|to| !to.starts_with(RING)).collect();
            if targets.is_empty() {
                if is_lost || depth > 0 {
                    return Ok(());
                }
                whys.push("it led nowhere, which was not reported".to_owned());
                continue;
            }
            let missing = targets.into_iter().find_map(|target| {
                let settled = self.is_settled(token, letter, target, wishes, owner, depth + 1);
                settled.err()
            });
            match missing {
                None => return Ok(()),
                Some(missing) => whys.push(missing),
            }
        }
        Err(format!("{name_text} ({})", whys.join("; ")))
    }

    /// A report of success was wanted and no server was there to send it (RFC 3461 §5.2.2).
    fn check_success(&self, token: Token, path: &str, wishes: Wishes) -> Result<(), String> {
        if !wishes.success || self.was_full || self.name_of(path).is_some() {
            return Ok(());
        }
        let letter = &self.letters[&token];
        let is_here = |take: &&Take| {
            take.token == token && take.path == path && take.report.is_empty() && !take.in_mailbox
        };
        let takes: Vec<&Take> = self.takes.iter().filter(is_here).collect();
        let sure = takes
            .iter()
            .any(|take| take.is_sure && !take.excused && !take.with_dsn);
        let reader = &letter.sender;
        let domain = reader.rsplit_once('@').map_or("", |(_, domain)| domain);
        let is_lost = reader.is_empty()
            || self.refused.contains(reader)
            || self.refused.contains(domain)
            || self.dropped.contains(&(token, format!("report on {path}")))
            || self.dropped.contains(&(token, path.to_owned()));
        match sure && takes.len() == 1 && !is_lost {
            true if !self.relayed.contains(&(token, path.to_owned())) => Err(format!(
                "letter {token} is with {path}, and {reader} was not told, who wanted to hear it"
            )),
            _ => Ok(()),
        }
    }
}

fn letter_sender(letters: &BTreeMap<Token, Letter>, token: Token) -> String {
    let letter = letters.get(&token);
    letter.map_or(String::new(), |letter| letter.sender.clone())
}

fn same_set(one: &[String], other: &[String]) -> bool {
    let set = |some: &[String]| some.iter().cloned().collect::<BTreeSet<_>>();
    set(one) == set(other)
}

/// Names that lead to each other, and nowhere else, begin so.
pub const RING: &str = "ring";
/// Names behind names that are followed.
const DEPTH_MAX: usize = 4;
