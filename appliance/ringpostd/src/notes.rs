//! How far volumes have come, written down by a thread of its own: a note replaces the one before that was not written yet, so
//! there is never more than one for each volume, and whoever gives one never waits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;

use volume::{Position, VolumeId};

use crate::witness::{encode_position, position_path, replace_durably};

#[derive(Default)]
struct Pending {
    positions: BTreeMap<[u8; 16], Position>,
    ended: bool,
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

/// Dropping it waits until the last note is durable.
pub(crate) struct Notes {
    directory: PathBuf,
    shared: Arc<Shared>,
    /// Begins with the first note; `None`: it could not be started, and nothing is noted.
    thread: OnceLock<Option<JoinHandle<()>>>,
}

impl Notes {
    pub fn new(directory: PathBuf) -> Notes {
        Notes {
            directory,
            shared: Arc::default(),
            thread: OnceLock::new(),
        }
    }

    /// Never waits for the file.
    pub fn note(&self, volume: VolumeId, position: Position) {
        self.thread.get_or_init(|| self.start());
        self.shared.lock().positions.insert(volume.0, position);
        self.shared.bell.notify_one();
    }

    fn start(&self) -> Option<JoinHandle<()>> {
        let (directory, shared) = (self.directory.clone(), self.shared.clone());
        let thread = std::thread::Builder::new().name("position".into());
        let started = thread.spawn(move || write_down(&directory, &shared));
        started
            .inspect_err(|error| tracing::warn!(%error, "how far the volume has come is not noted"))
            .ok()
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.bell.notify_one();
        if let Some(Some(thread)) = self.thread.take() {
            // A thread that panicked has nothing left to write.
            let _ = thread.join();
        }
    }
}

/// Writes what is pending until `ended`.
fn write_down(directory: &Path, shared: &Shared) {
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
            if let Err(error) = replace_durably(directory, &path, &text) {
                tracing::warn!(path = %path.display(), %error, "how far the volume has come is not noted");
            }
        }
    }
}
