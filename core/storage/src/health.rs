//! Whether mail is taken and read, by what a probe just did: every few seconds, on the owner's thread.
//!
//! A probe reads one block from each leg that counts, and looks at the path of a commit: what it refuses, how long its oldest batch
//! waits. When nothing was committed for long it writes a block to each leg that is the same for ever. So a box without writes
//! knows as well, and nothing grows on it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use base::Host;
use base::host::{Time, sleep_us};
use mailbox::Mailboxes;
use store::Store;
use volume::{LegState, Volume};

use crate::gauges::{Gauges, Health};

/// How often: a monitoring system asks every ten seconds or so, and two small reads a leg are no load.
pub const PROBE_US: u64 = 2_000_000;
/// A commit that waits longer than this is trouble. The hard deadlines of the profiles' devices are close to it.
pub const WAIT_US_MAX: u64 = 10_000_000;
/// With no commit for so long a block is written to each leg.
pub const WRITE_PROBE_US: u64 = 300_000_000;

/// Probes until the thread ends.
pub async fn watch(host: Rc<dyn Host>, mailboxes: Mailboxes, gauges: Arc<Gauges>) {
    let mut path = CommitPath::default();
    loop {
        // until the thread ends
        gauges.note_health(probe(&*host, &mailboxes, &mut path).await);
        sleep_us(&*host, PROBE_US).await;
    }
}

/// What is known of the path of a commit.
#[derive(Default)]
pub struct CommitPath {
    batches: u64,
    moved: Time,
    /// How the last write of the probe failed, until one holds or something is committed.
    failed: Option<String>,
}

/// One probe.
pub async fn probe(host: &dyn Host, mailboxes: &Mailboxes, path: &mut CommitPath) -> Health {
    probe_store(host, mailboxes.store(), path).await
}

/// The same of any store: a spool has one as well.
pub async fn probe_store(host: &dyn Host, store: &Store, path: &mut CommitPath) -> Health {
    let volume = store.volume();
    volume.probe_legs().await;
    path.look(host, volume).await;
    let (refuses, silent) = (volume.refuses(), no_leg_answers(volume));
    let lost = store.projection_fault().map(|fault| fault.to_string());
    let waits = volume.oldest_wait_us().filter(|us| *us > WAIT_US_MAX);
    let reachable = refuses.is_none() && silent.is_none();
    let restart = lost.clone().filter(|_| reachable);
    let trouble = refuses
        .or(silent)
        .or(lost.map(|fault| format!("the index of the mailboxes cannot be read ({fault}); ringpostd restarts and makes it again")))
        .or(waits.map(|us| format!("a commit has been waiting for {} seconds", us / 1_000_000)))
        .or_else(|| path.failed.clone());
    let full = trouble.is_none() && !store.admits_bodies();
    Health {
        at: Some(Instant::now()),
        trouble: trouble.or_else(|| full.then(|| FULL.to_owned())),
        full,
        restart,
    }
}

impl CommitPath {
    async fn look(&mut self, host: &dyn Host, volume: &Volume) {
        let batches = volume.counters().batches;
        let now = host.now();
        if batches != self.batches {
            (self.batches, self.moved, self.failed) = (batches, now, None);
        }
        let idle_us = now.since_us(self.moved);
        let probed = idle_us < WRITE_PROBE_US && self.failed.is_none();
        // A batch that waits shows the same.
        if probed || volume.refuses().is_some() || volume.oldest_wait_us().is_some() {
            return;
        }
        let failed = volume.probe_writes().await.err();
        self.failed = failed.map(|fault| format!("a probe could not write: {fault}"));
        (self.batches, self.moved) = (volume.counters().batches, host.now());
    }
}

/// Why none of the legs that count could be read by the last probe of them.
pub(crate) fn no_leg_answers(volume: &Volume) -> Option<String> {
    let counting = volume.legs().into_iter();
    let counting = counting.filter(|leg| leg.state == LegState::InSync);
    let answers: Vec<Option<String>> = counting
        .map(|leg| Some(format!("leg {}: {}", leg.index.0, leg.unread?)))
        .collect();
    let silent: Option<Vec<String>> = answers.into_iter().collect();
    silent.map(|silent| format!("no leg can be read ({})", silent.join(", ")))
}

const FULL: &str = "the volume is full: delete mail, or add a volume; what was deleted comes back as room after a while";
