//! How far volumes have come, written down by a thread of its own: a note replaces the one before that was not written yet, so
//! there is never more than one for each volume, and the sender of one never waits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use files::Mode;
use volume::{Position, VolumeId};

use crate::witness_file::{encode_position, position_path};

/// A stop waits so long for the last note: a state disk that does not answer must not keep the process, and an older note costs the next
/// start nothing but a weaker proof.
const LAST_NOTE_WAIT_MAX: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Pending {
    positions: BTreeMap<[u8; 16], Position>,
    /// No note will follow.
    ended: bool,
    /// The thread runs.
    writing: bool,
}

#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    bell: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("no holder of this lock panics")
    }
}

/// Replaces the file at a path, durably.
type Replace = fn(&Path, &str) -> std::io::Result<()>;

/// Dropping it waits until the last note is durable, at most `LAST_NOTE_WAIT_MAX`.
pub(crate) struct Notes {
    directory: PathBuf,
    shared: Arc<Shared>,
    /// Set once the thread was started, with the first note; where it could not be, nothing is noted.
    started: OnceLock<()>,
    wait_max: Duration,
    replace: Replace,
}

impl Notes {
    pub fn new(directory: PathBuf) -> Notes {
        Notes {
            directory,
            shared: Arc::default(),
            started: OnceLock::new(),
            wait_max: LAST_NOTE_WAIT_MAX,
            replace: |path, text| files::replace(path, text.as_bytes(), Mode::Umask),
        }
    }

    /// Never waits for the file.
    pub fn note(&self, volume: VolumeId, position: Position) {
        self.started.get_or_init(|| self.start());
        self.shared.lock().positions.insert(volume.0, position);
        self.shared.bell.notify_all();
    }

    fn start(&self) {
        let (directory, shared) = (self.directory.clone(), self.shared.clone());
        let replace = self.replace;
        self.shared.lock().writing = true;
        let thread = std::thread::Builder::new().name("position".into());
        let started = thread.spawn(move || {
            let ends = Ends(&shared);
            write_down(&directory, ends.0, replace);
        });
        if let Err(error) = started {
            self.shared.lock().writing = false;
            tracing::warn!(%error, "the position of the volume cannot be recorded");
        }
    }
}

/// Says at the end of the thread, however it ends, that nothing is written any more.
struct Ends<'s>(&'s Shared);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.lock().writing = false;
        self.0.bell.notify_all();
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let mut pending = self.shared.lock();
        pending.ended = true;
        self.shared.bell.notify_all();
        let (bell, wait_max) = (&self.shared.bell, self.wait_max);
        let waited = bell.wait_timeout_while(pending, wait_max, |pending| pending.writing);
        let (pending, waited) = waited.expect("no holder of this lock panics");
        drop(pending);
        if waited.timed_out() {
            tracing::warn!(
                directory = %self.directory.display(),
                "the state directory does not answer: the position of the volume cannot be recorded"
            );
        }
    }
}

/// Writes what is pending until `ended`.
fn write_down(directory: &Path, shared: &Shared, replace: Replace) {
    loop {
        let positions = {
            let mut pending = shared.lock();
            while pending.positions.is_empty() && !pending.ended {
                pending = shared
                    .bell
                    .wait(pending)
                    .expect("no holder of this lock panics");
            }
            std::mem::take(&mut pending.positions)
        };
        if positions.is_empty() {
            return;
        }
        for (volume, position) in positions {
            let volume = VolumeId(volume);
            let path = position_path(directory, volume);
            let text = encode_position(volume, position);
            if let Err(error) = replace(&path, &text) {
                tracing::warn!(path = %path.display(), %error, "the position of the volume cannot be recorded");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use volume::Lsn;

    use super::*;

    #[test]
    fn a_state_directory_that_hangs_does_not_hold_up_the_stop() {
        let directory = tempfile::tempdir().expect("a directory");
        let id = VolumeId([7; 16]);
        let path = position_path(directory.path(), id);
        // Opening it for writing waits for a reader, as a disk that does not answer.
        let hung = path.with_extension("hung");
        nix::unistd::mkfifo(&hung, Mode::S_IRWXU).expect("a fifo");
        let mut notes = Notes::new(directory.path().to_owned());
        notes.wait_max = Duration::from_millis(20);
        notes.replace = |path, text| std::fs::write(path.with_extension("hung"), text);
        let (seq, acked) = (1, Lsn(10));
        notes.note(id, Position { seq, acked });
        drop(notes);
        assert!(!path.exists());
        // The thread goes on, and ends.
        std::fs::read(&hung).expect("a reader");
    }
}
