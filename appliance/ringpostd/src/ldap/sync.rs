//! What another directory has, brought here: what differs is found out first (`differences.rs`), and then made so (`apply.rs`).
//!
//! What must hold: nothing is changed unless all of the directory was read. A reading that would disable or remove more than the settings allow changes nothing, so that
//! an empty answer locks no user out. An account is disabled, never removed; what is of this directory alone stays as it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::admin::certificate::now_s;
use ::admin::ldap::{ChangeLine, SyncReport};
use ::ldap::{Group, Person};
use storage::owner::Owner;

use super::apply::Done;
use super::differences::{NOTES_MAX, changes};
use super::{Directory, apply, canonical, parse};

/// How reading everything went.
#[derive(Default)]
pub(crate) struct Syncing {
    is_under_way: bool,
    pub last: Option<SyncReport>,
    /// Why the last one ended before anything was compared.
    unread: Option<String>,
    /// The first one is soon after the start.
    next_s: i64,
}

impl Syncing {
    pub fn alarm(&self) -> Option<String> {
        if let Some(why) = &self.unread {
            return Some(format!(
                "ldap: the last reading changed nothing: {why}: accounts of people who are gone stay open until it is read: look at its servers and their limits"
            ));
        }
        let last = self.last.as_ref()?;
        if let Some(why) = &last.stopped {
            return Some(format!(
                "ldap: the last reading changed nothing: {why}: look at `ringpostctl ldap sync --dry-run`, and run it with --force if that is right"
            ));
        }
        (last.failed > 0).then(|| {
            format!(
                "ldap: the last reading could not make {} changes: `ringpostctl ldap status` says why",
                last.failed
            )
        })
    }
}

/// Reads everything, and makes it so unless `is_dry`. `Err`: one sentence, and nothing was changed.
pub(crate) async fn sync(
    directory: &Directory,
    owner: &Owner,
    is_dry: bool,
    is_forced: bool,
) -> Result<SyncReport, String> {
    let _running = Running::begin(directory)?;
    let began = Instant::now();
    let read = directory.ldap.everything().await;
    let read = read.map_err(|away| format!("the directory was not read: {away}"));
    {
        let mut syncing = directory.syncing.lock().expect("no holder panics");
        syncing.unread = read.as_ref().err().cloned();
    }
    let (mut people, mut groups) = read?;
    spelled(&mut people, &mut groups);
    let here = apply::here(owner).await?;
    let share = directory.settings.sync_disables_max;
    let mut changes = changes(&people, &groups, &here, share);
    let stopped = changes.stopped.take().filter(|_| !is_forced);
    let mut report = SyncReport {
        unix_s: now_s().max(0).cast_unsigned(),
        dry_run: is_dry,
        people: people.len() as u64,
        groups: groups.len() as u64,
        notes: changes.notes,
        stopped,
        ..SyncReport::default()
    };
    drop((people, groups, here));
    let is_made = !is_dry && report.stopped.is_none();
    for change in changes.all {
        let (what, name) = change.words();
        let done = match is_made {
            true => apply::apply(owner, change, directory.settings.quota.0).await,
            false => Ok(Done::Made),
        };
        if done == Ok(Done::Kept) {
            if report.notes.len() < NOTES_MAX {
                report.notes.push(format!(
                    "{name}: it is here already, and is not the directory's: it stays as it is"
                ));
            }
            continue;
        }
        report.changes_total += 1;
        report.failed += u64::from(done.is_err());
        if report.changes.len() < CHANGES_SHOWN_MAX || done.is_err() && report.failed < 100 {
            report.changes.push(ChangeLine {
                what: what.to_owned(),
                name,
                error: done.err(),
            });
        }
    }
    report.took_ms = began.elapsed().as_millis() as u64;
    if !is_dry {
        tracing::info!(
            people = report.people,
            changes = report.changes_total,
            failed = report.failed,
            stopped = report.stopped.as_deref().unwrap_or_default(),
            "the directory was read"
        );
        let mut syncing = directory.syncing.lock().expect("no holder panics");
        syncing.last = Some(report.clone());
    }
    Ok(report)
}

/// Addresses as `apply::here` has them.
fn spelled(people: &mut [Person], groups: &mut [Group]) {
    let respell = |text: &mut String| {
        if let Some(address) = parse(text) {
            *text = canonical(&address);
        }
    };
    for person in people {
        person.address.iter_mut().for_each(respell);
        person.aliases.iter_mut().for_each(respell);
    }
    for group in groups {
        respell(&mut group.address);
        group.members.iter_mut().flatten().for_each(respell);
    }
}

/// Reads everything again and again, as the settings say.
pub async fn run(directory: Arc<Directory>, owner: Owner) {
    let every = directory.settings.sync.0;
    if every.is_zero() {
        return;
    }
    let mut wait = FIRST_AFTER;
    loop {
        // until the daemon ends
        {
            let mut syncing = directory.syncing.lock().expect("no holder panics");
            syncing.next_s = now_s() + wait.as_secs().cast_signed();
        }
        tokio::time::sleep(wait).await;
        if let Err(why) = sync(&directory, &owner, false, false).await {
            tracing::warn!(why, "the directory is read again later");
        }
        wait = every;
    }
}

impl Directory {
    /// What came of the last one; `None`: there was none since the start.
    pub(crate) fn last_sync(&self) -> Option<SyncReport> {
        let syncing = self.syncing.lock().expect("no holder panics");
        syncing.last.clone()
    }

    /// When everything is read next, in seconds since 1970; `None`: when an administrator says so.
    pub(crate) fn next_sync_s(&self) -> Option<u64> {
        let syncing = self.syncing.lock().expect("no holder panics");
        let next = (syncing.next_s > 0).then_some(syncing.next_s);
        next.map(i64::cast_unsigned)
    }
}

/// One reading at a time.
struct Running<'a>(&'a Directory);

impl Running<'_> {
    fn begin(directory: &Directory) -> Result<Running<'_>, String> {
        let mut syncing = directory.syncing.lock().expect("no holder panics");
        if syncing.is_under_way {
            return Err("the directory is being read: try again when that is done".to_owned());
        }
        syncing.is_under_way = true;
        Ok(Running(directory))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut syncing = self.0.syncing.lock().expect("no holder panics");
        syncing.is_under_way = false;
    }
}

const CHANGES_SHOWN_MAX: usize = 1_000;
const FIRST_AFTER: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_read_is_an_alarm_until_it_is() {
        let mut syncing = Syncing::default();
        assert_eq!(syncing.alarm(), None);
        syncing.unread = Some("it has too many people".to_owned());
        assert!(syncing.alarm().expect("an alarm").contains("too many"));
        syncing.unread = None;
        syncing.last = Some(SyncReport::default());
        assert_eq!(syncing.alarm(), None);
    }
}
