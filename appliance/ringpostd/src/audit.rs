//! The audit: every login and every change of rights, in lines that cannot be changed unnoticed.
//!
//! A line of JSON ends with its hash, which is made of the line and of the hash before it (`chain`). The lines are in files of the state directory (`files`), and the
//! end of the chain goes to the mirrored volume every minute and at a stop (`logins::Head`): an intruder who changes the files, and makes all later hashes again, does not
//! have the end that storage remembers. Lines of the last minute before a crash, and those of a stop behind the last word, are held by the chain alone.
//!
//! What must hold: a login waits for no disk and no file; what waits is bounded; a full disk costs lines, which are counted, and the next line that is
//! written says how many; failures have a share of the space (`share`), and no flood of them pushes out who has logged in; the end that storage has is moved on only by a process that found it in its files.

mod chain;
mod files;
mod share;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::login::audit::{Entry, Sink};
use logins::Head;
use plan::settings::Login;
use storage::owner::{Ask, Owner};

pub(crate) use chain::Fields;
pub(crate) use files::{list, verify};

use files::Files;
use share::Share;

/// Of the files, in the state directory.
pub(crate) const PLACE: &str = "audit";
/// Lines that wait for the disk; some 400 bytes each.
pub(crate) const WAITING_MAX: usize = 4_096;
/// A name that was tried may be anything.
const NAME_CHARS_MAX: usize = 256;
/// The names of a mailbox, an owner and an identifier, and rights before and after.
const WHAT_CHARS_MAX: usize = 2_048;
/// How often storage gets the end of the chain.
const HEAD_EVERY: Duration = Duration::from_secs(60);
/// How often lines are made durable.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// After the first line others are waited for.
const GATHERS: Duration = Duration::from_millis(20);

static SHOWN: OnceLock<Audit> = OnceLock::new();

/// Lines written since start, and lines that found no room or could not be written.
pub(crate) fn counts() -> (u64, u64) {
    SHOWN.get().map_or((0, 0), |audit| {
        let shared = &audit.shared;
        (shared.written.load(Relaxed), shared.lost.load(Relaxed))
    })
}

/// Clones are the same audit.
#[derive(Clone)]
pub(crate) struct Audit {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<VecDeque<Fields>>,
    more: Condvar,
    ends: AtomicBool,
    lost: AtomicU64,
    written: AtomicU64,
    /// What failures may write. Locked behind `waiting`.
    share: Mutex<Share>,
    began: OnceLock<Instant>,
    /// The last line that is durable in a file.
    head: Mutex<Option<Head>>,
    /// Storage has said which end it remembers, and the files had it or the gap is written: from then on it gets the new ones.
    knows_head: AtomicBool,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    /// Goes on behind what is in `directory`, where `head`, which storage has, is among it. It never fails: what cannot be written is counted. Where storage cannot say what it has, the
    /// end that it has is left as it is, until it can (`look_after`): another one in its place would make lines that are missing look as if they had never been.
    pub(crate) fn begin(directory: &Path, settings: &Login, head: Kept) -> Audit {
        let audit = Audit {
            shared: Arc::default(),
        };
        *audit.shared.share() = Share::of(settings);
        let knows_head = head != Kept::Unknown;
        audit.shared.knows_head.store(knows_head, Relaxed);
        let head = match head {
            Kept::End(head) => Some(head),
            Kept::Nothing => None,
            Kept::Unknown => {
                tracing::warn!(
                    "storage cannot say which end of the audit it remembers; it is asked again"
                );
                None
            }
        };
        let (files, trouble) = Files::open(directory, settings, head);
        if let Some(trouble) = trouble {
            let place = directory.display();
            tracing::error!(%place, trouble, "the audit is not what was written: see `ringpostctl audit verify`");
        }
        let shared = audit.shared.clone();
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let writer = thread.spawn(move || shared.keep_writing(files)).ok();
        *audit
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = writer;
        // The first one of the process: the metrics show it.
        let _ = SHOWN.set(audit.clone());
        audit
    }

    /// For `client::login`.
    pub(crate) fn sink(&self) -> Arc<Sink> {
        let shared = self.shared.clone();
        Arc::new(move |entry: &Entry<'_>| {
            shared.push(fields(entry), entry.outcome.is_failure());
        })
    }

    /// Writes what waits; lines that come later are lost.
    pub(crate) fn finish(&self) {
        self.shared.ends.store(true, Relaxed);
        // Held once, so that the writer either sees the end or is woken.
        drop(self.shared.waiting());
        self.shared.more.notify_all();
        let writer = self.shared.writer.lock();
        let writer = writer.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }

    /// Storage gets the end of the chain, if it has another one.
    pub(crate) async fn save_head(&self, owner: &Owner) {
        if !self.shared.knows_head.load(Relaxed) {
            return;
        }
        let head = *self.shared.head();
        let Some(head) = head else { return };
        let saved = owner.ask_outgoing(move |outgoing| async move {
            match outgoing.keyring() {
                Some(keyring) => keyring
                    .set_head(head)
                    .await
                    .map_err(|fault| fault.to_string()),
                None => Ok(()),
            }
        });
        if !matches!(saved.await, Ok(Ok(()))) {
            tracing::debug!("the end of the audit could not be written to storage");
        }
    }

    /// Storage has said at last what it remembers: the files must have it, or nothing in its place is ever saved by this process.
    async fn learn_head(&self, owner: &Owner, directory: &Path) {
        let knows = match kept_head(Some(owner)).await {
            Kept::Unknown => return,
            Kept::Nothing => true,
            // Files that cannot be read are not files without it: they are looked at again.
            Kept::End(head) => match files::have(directory, head) {
                Ok(have) => have,
                Err(error) => {
                    let place = directory.display();
                    tracing::warn!(%place, %error, "the files of the audit cannot be read");
                    return;
                }
            },
        };
        match knows {
            true => self.shared.knows_head.store(true, Relaxed),
            false => {
                let place = directory.display();
                tracing::error!(%place, "the audit is not what was written: see `ringpostctl audit verify`");
            }
        }
    }

    /// Does so every minute.
    pub(crate) async fn look_after(self, owner: Owner, directory: PathBuf) {
        loop {
            // until the process ends
            tokio::time::sleep(HEAD_EVERY).await;
            if !self.shared.knows_head.load(Relaxed) {
                self.learn_head(&owner, &directory).await;
            }
            self.save_head(&owner).await;
        }
    }
}

/// What storage remembers of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    End(Head),
    Nothing,
    /// It cannot say now, which is not nothing.
    Unknown,
}

/// `owner`: `None` where storage is elsewhere, and remembers nothing of ours.
pub(crate) async fn kept_head(owner: Option<&impl Ask>) -> Kept {
    let Some(owner) = owner else {
        return Kept::Nothing;
    };
    let asked = owner.ask_outgoing(|outgoing| async move {
        outgoing.keyring().and_then(|keyring| keyring.head())
    });
    match asked.await {
        Ok(Some(head)) => Kept::End(head),
        Ok(None) => Kept::Nothing,
        Err(_busy) => Kept::Unknown,
    }
}

impl Shared {
    fn push(&self, fields: Fields, failed: bool) {
        let mut waiting = self.waiting();
        let fields = match failed {
            true => {
                let is_crowded = waiting.len() >= WAITING_MAX / 2;
                let line = self.share().line(fields, is_crowded, self.now_us());
                let Some(line) = line else { return };
                line
            }
            false => fields,
        };
        if waiting.len() >= WAITING_MAX || self.ends.load(Relaxed) {
            self.lost.fetch_add(1, Relaxed);
            return;
        }
        waiting.push_back(fields);
        drop(waiting);
        self.more.notify_one();
    }

    fn keep_writing(&self, mut files: Files) {
        *self.head() = files.head();
        let mut synced = Instant::now();
        loop {
            // until the end
            let waiting = self.waiting();
            let nothing =
                |waiting: &mut VecDeque<Fields>| waiting.is_empty() && !self.ends.load(Relaxed);
            let waited = self.more.wait_timeout_while(waiting, SYNC_EVERY, nothing);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            let ends = self.ends.load(Relaxed);
            if !ends {
                std::thread::sleep(GATHERS);
            }
            let mut lines = std::mem::take(&mut *self.waiting());
            lines.extend(self.share().summaries(self.now_us(), ends));
            let count = lines.len() as u64;
            // Those that found no room are reported, too.
            let lost = files.take(lines, self.lost.load(Relaxed));
            self.lost.fetch_add(lost, Relaxed);
            self.written.fetch_add(count - lost, Relaxed);
            // Storage must not remember a line that a power cut takes from the file.
            let is_newer = files.head() != *self.head();
            let is_due = is_newer && (ends || synced.elapsed() >= SYNC_EVERY);
            if is_due && files.sync() {
                *self.head() = files.head();
                synced = Instant::now();
            }
            if ends {
                return;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Fields>> {
        // A panic elsewhere leaves whole lines.
        let locked = self.waiting.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    fn share(&self) -> MutexGuard<'_, Share> {
        let locked = self.share.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// Since the start.
    fn now_us(&self) -> u64 {
        let began = self.began.get_or_init(Instant::now);
        began.elapsed().as_micros() as u64
    }

    fn head(&self) -> MutexGuard<'_, Option<Head>> {
        let locked = self.head.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

fn fields(entry: &Entry<'_>) -> Fields {
    let text = |text: &str| text.chars().take(NAME_CHARS_MAX).collect::<String>();
    Fields {
        unix_s: entry.unix_seconds,
        protocol: entry.from.protocol.name().to_owned(),
        mechanism: entry.from.mechanism.to_owned(),
        peer: entry.from.peer.to_string(),
        tls: entry.from.tls.map(str::to_owned),
        user: entry.name.map(text),
        app: entry.app.map(text),
        outcome: entry.outcome.name().to_owned(),
        what: entry
            .what
            .map(|what| what.chars().take(WHAT_CHARS_MAX).collect()),
        more: None,
    }
}

/// An administrator changed something by `ringpostctl`: that it was done stands in the audit of the process, if it keeps one.
pub(crate) fn note_change(unix_s: i64, who: &str, door: &str, what: &str) {
    if let Some(audit) = SHOWN.get() {
        audit.shared.push(
            Fields {
                unix_s,
                protocol: "admin".to_owned(),
                mechanism: door.to_owned(),
                peer: "-".to_owned(),
                tls: None,
                user: Some(who.to_owned()),
                app: None,
                outcome: "changed".to_owned(),
                what: Some(what.chars().take(WHAT_CHARS_MAX).collect()),
                more: None,
            },
            false,
        );
    }
}

#[cfg(test)]
mod tests;
