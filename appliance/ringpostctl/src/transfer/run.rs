//! Moves an account: folder by folder, and again over new connections where an end breaks off.
//!
//! What must hold: a run may end at any moment, at either end, and the next one goes on without doubles (`journal.rs`); what one message or folder is refused for stops no
//! other; an end that is away is tried a bounded number of times; of a folder some hundred bytes for each message are held, and of texts one batch.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::journal::{Journal, Link, Place};
use super::letter::{Digest, Fault, Folder, Letter, Listed, Sink, Source, digest};
use super::limits::{
    FETCHED_BYTES_TOGETHER_MAX, FETCHED_TOGETHER_MAX, FOLDERS_MAX, LOOKED_TOGETHER_MAX,
    MESSAGE_BYTES_MAX, MESSAGES_MAX, NAMED_MAX, TRIES_MAX, TRIES_PER_MESSAGE_MAX, WAIT_MAX,
    WAIT_MIN,
};
use super::names::Map;
use super::outcome::{AccountOutcome, Failed, FolderOutcome};
use super::progress::Progress;

/// How an end is reached, as often as it must be.
pub(crate) struct Ends<'a> {
    pub source: &'a mut dyn FnMut() -> Result<Box<dyn Source>, Fault>,
    pub sink: &'a mut dyn FnMut() -> Result<Box<dyn Sink>, Fault>,
    /// Sleeps between two tries.
    pub pause: &'a dyn Fn(Duration),
}

/// What remains over all tries for one folder.
#[derive(Default)]
struct Tried {
    /// Messages that are given up, and why.
    failed: BTreeMap<u64, String>,
    /// How often an end broke off at a message.
    breaks: HashMap<u64, u32>,
    /// Messages of the source in the last try, and how many of them are at the destination.
    keys: Vec<u64>,
    linked: u64,
    /// What the source calls those that failed.
    names: HashMap<u64, String>,
    brought: u64,
    found: u64,
    flags_changed: u64,
    /// Messages whose flags changed at the source and cannot be changed at the destination.
    flags_kept: u64,
    note: Option<String>,
}

/// Moves every folder of an account that is wanted. `Err`: nothing was begun.
pub(crate) fn run(
    ends: Ends<'_>,
    place: &Place,
    map: &Map,
    progress: &Progress,
) -> Result<AccountOutcome, String> {
    let Ends {
        source,
        sink,
        pause,
    } = ends;
    let mut outcome = AccountOutcome::default();
    let mut patience = Patience::default();
    let mut open: Option<Both> = None;
    let folders = loop {
        // until they are known, or patience ends
        let found = source().and_then(|mut from| {
            let folders = from.folders()?;
            Ok((folders, from, sink()?))
        });
        match found {
            Ok((folders, from, to)) => {
                open = Some((from, to)).or(open);
                break folders;
            }
            Err(fault) => patience.wait(fault, progress, pause)?,
        }
    };
    if folders.len() > FOLDERS_MAX {
        return Err(format!("the source has more than {FOLDERS_MAX} folders"));
    }
    let wanted = map.wanted(folders, &mut outcome.omitted)?;
    for folder in wanted {
        let mut tried = Tried::default();
        let mut patience = Patience::default();
        let mut refused = None;
        let mut there = String::new();
        loop {
            // until the folder is done or refused, or patience ends
            let before = tried.brought + tried.found;
            let done = both(&mut open, source, sink).and_then(|(from, to)| {
                let mut ends = Open {
                    from: &mut **from,
                    to: &mut **to,
                };
                one(
                    &mut ends, place, map, &folder, &mut tried, &mut there, progress,
                )
            });
            let Err(fault) = done else { break };
            match fault {
                Fault::Refused(why) => {
                    refused = Some(why);
                    break;
                }
                Fault::Stop(why) => return Err(why),
                fault @ Fault::Away(_) => {
                    open = None;
                    // What is given up is no progress: an end may break off at each message.
                    if tried.brought + tried.found > before {
                        patience = Patience::default();
                    }
                    if let Err(why) = patience.wait(fault, progress, pause) {
                        // What was done until here is in the journal; the table says what is missing.
                        outcome.ended = Some(why.clone());
                        refused = Some(why);
                        break;
                    }
                }
            }
        }
        outcome.folders.push(tried.outcome(&folder, there, refused));
        if outcome.ended.is_some() {
            break;
        }
    }
    Ok(outcome)
}

/// Both ends, as they were reached.
type Both = (Box<dyn Source>, Box<dyn Sink>);

/// Both ends, reached where they are not yet.
fn both<'o>(
    open: &'o mut Option<Both>,
    source: &mut dyn FnMut() -> Result<Box<dyn Source>, Fault>,
    sink: &mut dyn FnMut() -> Result<Box<dyn Sink>, Fault>,
) -> Result<&'o mut Both, Fault> {
    if open.is_none() {
        *open = Some((source()?, sink()?));
    }
    open.as_mut().ok_or_else(|| Fault::Away("not open".into()))
}

/// Tries in a row that brought nothing.
#[derive(Default)]
struct Patience(u32);

impl Patience {
    /// Waits before the next try. `Err`: there is none.
    fn wait(
        &mut self,
        fault: Fault,
        progress: &Progress,
        pause: &dyn Fn(Duration),
    ) -> Result<(), String> {
        let why = match fault {
            Fault::Away(why) => why,
            Fault::Refused(why) | Fault::Stop(why) => return Err(why),
        };
        self.0 += 1;
        if self.0 >= TRIES_MAX {
            return Err(format!("{why} (tried {TRIES_MAX} times)"));
        }
        progress.note(&format!("{why}: trying again"));
        let doubled = WAIT_MIN.saturating_mul(1 << (self.0 - 1));
        pause(doubled.min(WAIT_MAX));
        Ok(())
    }
}

const _: () =
    assert!(TRIES_MAX < 32 && Duration::as_millis(&WAIT_MIN) < Duration::as_millis(&WAIT_MAX));

/// One try for one folder.
fn one(
    ends: &mut Open<'_>,
    place: &Place,
    map: &Map,
    folder: &Folder,
    tried: &mut Tried,
    there: &mut String,
    progress: &Progress,
) -> Result<(), Fault> {
    let source = ends.from.open(folder)?;
    let (target, special_use) = map.target(folder);
    let (sink, name) = ends.to.open(&target, special_use)?;
    *there = name;
    // By both names: folders of some servers have the same generation.
    let path = place.folder(&folder.own_name, &target);
    let mut journal = Journal::open(&path, &folder.own_name, (source, sink))?;
    if ends.to.refills() {
        journal.forget_missing(&ends.to.keys()?.into_iter().collect());
    }
    tried.keys = ends.from.keys()?;
    if tried.keys.len() > MESSAGES_MAX {
        return Err(Fault::Refused(format!(
            "the folder has more than {MESSAGES_MAX} messages"
        )));
    }
    progress.begin(&folder.name, tried.keys.len() as u64);
    let done = messages(ends, &mut journal, tried, progress);
    let linked = tried
        .keys
        .iter()
        .filter(|key| journal.link(**key).is_some());
    tried.linked = linked.count() as u64;
    for key in tried.failed.keys().take(NAMED_MAX) {
        tried.names.insert(*key, ends.from.name_of(*key));
    }
    done?;
    tried.note = ends.to.finish()?;
    Ok(())
}

/// The messages of a folder that is open at both ends.
fn messages(
    ends: &mut Open<'_>,
    journal: &mut Journal,
    tried: &mut Tried,
    progress: &Progress,
) -> Result<(), Fault> {
    let is_new = |key: &u64| journal.link(*key).is_none();
    let mut others = match tried.keys.iter().any(is_new) {
        true => others(ends.to, journal)?,
        false => HashMap::new(),
    };
    for keys in tried.keys.clone().chunks(LOOKED_TOGETHER_MAX) {
        let mut new = Vec::new();
        for listed in ends.from.look(keys)? {
            match journal.link(listed.key) {
                Some(link) => {
                    let link = link.clone();
                    carry_flags(ends.to, journal, tried, &listed, link)?;
                    progress.passed(1);
                }
                None if tried.failed.contains_key(&listed.key) => progress.passed(1),
                None if listed.bytes > MESSAGE_BYTES_MAX => {
                    tried.fail(listed.key, TOO_LARGE.into());
                    progress.passed(1);
                }
                None => new.push(listed),
            }
        }
        for batch in batches(&new) {
            bring(ends, journal, &mut others, tried, &batch, progress)?;
        }
    }
    Ok(())
}

const TOO_LARGE: &str = "the message has more than 50 MiB";

/// Both ends of a folder.
struct Open<'a> {
    from: &'a mut dyn Source,
    to: &'a mut dyn Sink,
}

/// Contents at the destination that no link names, with the keys of each. They are read once and remembered.
fn others(to: &mut dyn Sink, journal: &mut Journal) -> Result<HashMap<Digest, Vec<u64>>, Fault> {
    let keys = to.keys()?;
    let mut others: HashMap<Digest, Vec<u64>> = HashMap::new();
    let mut unread = Vec::new();
    for key in keys.into_iter().take(MESSAGES_MAX) {
        match journal.other(key) {
            _ if journal.is_linked(key) => {}
            Some(digest) => others.entry(digest).or_default().push(key),
            None => unread.push(key),
        }
    }
    for keys in unread.chunks(FETCHED_TOGETHER_MAX) {
        let mut found = Vec::new();
        let done = to.digests(keys, &mut |key, digest| found.push((key, digest)));
        // Also of a try that breaks off: the next one has less to read.
        for (key, digest) in found {
            journal.set_other(key, digest)?;
            others.entry(digest).or_default().push(key);
        }
        done?;
    }
    Ok(others)
}

/// What changed at the source since the last time is changed at the destination; what a person changed there stays.
fn carry_flags(
    to: &mut dyn Sink,
    journal: &mut Journal,
    tried: &mut Tried,
    listed: &Listed,
    link: Link,
) -> Result<(), Fault> {
    let added = listed.flags.without(&link.flags);
    let removed = link.flags.without(&listed.flags);
    if is_empty(&added) && is_empty(&removed) {
        return Ok(());
    }
    let is_changed = match link.destination {
        Some(key) => to.change(key, &added, &removed)?,
        None => false,
    };
    match is_changed {
        true => tried.flags_changed += 1,
        false => tried.flags_kept += 1,
    }
    let flags = listed.flags.clone();
    journal.set_link(listed.key, Link { flags, ..link })
}

fn is_empty(flags: &mail::Flags) -> bool {
    flags.system.0 == 0 && flags.keywords.is_empty()
}

/// In pieces that are fetched together; a large message has one of its own.
fn batches(new: &[Listed]) -> Vec<Vec<u64>> {
    let mut batches: Vec<Vec<u64>> = Vec::new();
    let mut bytes = u64::MAX;
    for listed in new {
        let sum = bytes.saturating_add(listed.bytes);
        match batches.last_mut() {
            Some(batch)
                if sum <= FETCHED_BYTES_TOGETHER_MAX && batch.len() < FETCHED_TOGETHER_MAX =>
            {
                batch.push(listed.key);
                bytes = sum;
            }
            _ => {
                batches.push(vec![listed.key]);
                bytes = listed.bytes;
            }
        }
    }
    batches
}

/// Fetches messages and stores them. A break of the source in mid-batch is counted at the first message that did not come.
fn bring(
    ends: &mut Open<'_>,
    journal: &mut Journal,
    others: &mut HashMap<Digest, Vec<u64>>,
    tried: &mut Tried,
    batch: &[u64],
    progress: &Progress,
) -> Result<(), Fault> {
    let mut came = HashSet::new();
    let mut fault_of_sink = None;
    let to = &mut *ends.to;
    let fetched = ends.from.fetch(batch, &mut |key, letter| {
        // A server may send what was not asked for, or twice.
        if !batch.contains(&key) || !came.insert(key) {
            return Ok(());
        }
        progress.passed(1);
        let stored = store(to, journal, others, tried, key, letter);
        stored.inspect_err(|fault| fault_of_sink = Some((key, fault.clone())))
    });
    let Err(fault) = fetched else { return Ok(()) };
    if let Some((key, fault)) = fault_of_sink {
        if let Fault::Away(why) = &fault {
            tried.broke(key, "destination", why);
        }
        return Err(fault);
    }
    let missing: Vec<u64> = batch
        .iter()
        .filter(|key| !came.contains(key))
        .copied()
        .collect();
    match (fault, &missing[..]) {
        (Fault::Refused(why), [key]) => {
            tried.fail(*key, why);
            progress.passed(1);
            Ok(())
        }
        // One of them is refused: each by itself.
        (Fault::Refused(_), many) => {
            for key in many {
                bring(ends, journal, others, tried, &[*key], progress)?;
            }
            Ok(())
        }
        (Fault::Away(why), [key, ..]) => {
            tried.broke(*key, "source", &why);
            Err(Fault::Away(why))
        }
        (fault, _) => Err(fault),
    }
}

fn store(
    to: &mut dyn Sink,
    journal: &mut Journal,
    others: &mut HashMap<Digest, Vec<u64>>,
    tried: &mut Tried,
    key: u64,
    letter: Letter,
) -> Result<(), Fault> {
    if letter.message.is_empty() {
        tried.fail(key, "the message is empty".into());
        return Ok(());
    }
    if letter.message.len() as u64 > MESSAGE_BYTES_MAX {
        tried.fail(key, TOO_LARGE.into());
        return Ok(());
    }
    let digest = digest(&letter.message);
    let destination = match others.get_mut(&digest).and_then(Vec::pop) {
        Some(found) => {
            to.change(found, &letter.flags, &mail::Flags::default())?;
            tried.found += 1;
            Some(found)
        }
        None => match to.put(&letter) {
            Ok(stored) => {
                tried.brought += 1;
                stored
            }
            Err(Fault::Refused(why)) => {
                tried.fail(key, why);
                return Ok(());
            }
            Err(fault) => return Err(fault),
        },
    };
    let link = Link {
        destination,
        digest,
        flags: letter.flags,
    };
    journal.set_link(key, link)
}

impl Tried {
    fn fail(&mut self, key: u64, why: String) {
        self.failed.insert(key, why);
    }

    /// An end broke off at this message. It is given up after some times, or it would stop all that come behind it.
    fn broke(&mut self, key: u64, end: &str, why: &str) {
        let breaks = self.breaks.entry(key).or_default();
        *breaks += 1;
        if *breaks >= TRIES_PER_MESSAGE_MAX {
            self.fail(key, format!("the {end} breaks off at it: {why}"));
        }
    }

    fn outcome(self, folder: &Folder, there: String, refused: Option<String>) -> FolderOutcome {
        let failed_count = self.failed.len() as u64;
        let messages = self.keys.len() as u64;
        let unnamed = |key: u64| format!("message {key}");
        let failures = self
            .failed
            .into_iter()
            .take(NAMED_MAX)
            .map(|(key, why)| Failed {
                message: self
                    .names
                    .get(&key)
                    .cloned()
                    .unwrap_or_else(|| unnamed(key)),
                why,
            });
        FolderOutcome {
            folder: folder.name.clone(),
            to: there,
            messages,
            brought: self.brought,
            found: self.found,
            flags_changed: self.flags_changed,
            flags_kept: self.flags_kept,
            failed: failed_count,
            failures: failures.collect(),
            missing: messages.saturating_sub(self.linked + failed_count),
            refused,
            note: self.note,
        }
    }
}

#[cfg(test)]
mod tests;
