//! What the owner's thread shows of itself to any other: what its lane did, and what the last probe saw.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A probe older than this says nothing any more.
pub const PROBE_AGE_MAX: Duration = Duration::from_secs(60);

/// What the last probe saw.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// When; `None`: there was none yet.
    pub at: Option<Instant>,
    /// Why mail is not taken or not read, in one sentence.
    pub trouble: Option<String>,
    /// There is no other trouble than that nothing more fits.
    pub full: bool,
    /// What a restart of the daemon mends, and nothing else does.
    pub restart: Option<String>,
}

impl Health {
    /// Why mail is not taken or not read just now; also when the probe itself does not come back.
    pub fn trouble(&self) -> Option<String> {
        let age = self.at?.elapsed();
        if age > PROBE_AGE_MAX {
            return Some(format!(
                "storage was not probed for {} seconds: its thread or a leg hangs",
                age.as_secs()
            ));
        }
        self.trouble.clone()
    }
}

/// What the owner's lane did since start.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Work that was taken.
    pub asked: AtomicU64,
    /// Work that found no place: the caller got `Busy`.
    pub refused: AtomicU64,
    /// Work that has begun and not ended.
    pub under_way: AtomicUsize,
    /// The volume refuses new mail: senders are refused at RCPT.
    pub refusing: AtomicBool,
    health: Mutex<Health>,
}

impl Gauges {
    /// A probe has ended. `refusing` follows from it; a volume that is only full does not refuse here.
    pub fn note_health(&self, health: Health) {
        self.refusing
            .store(health.trouble.is_some() && !health.full, Ordering::Relaxed);
        *self.health.lock().expect("no holder of this lock panics") = health;
    }

    /// What the last probe saw.
    pub fn health(&self) -> Health {
        self.health
            .lock()
            .expect("no holder of this lock panics")
            .clone()
    }
}
