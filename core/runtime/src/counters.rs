//! What listeners and diallers count. `core` counts the open sessions of a thread as well, which a stop waits for.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::core::Core;

/// What one listener, or one dialler, on one core counted since start. Written by that core, read by any thread.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that came to be: accepted, or dialled and answered.
    pub accepted: AtomicU64,
    /// Those past our own bound.
    pub refused: AtomicU64,
    /// Open now: the only one that goes down as well.
    pub open: AtomicU64,
    /// As they were on the wire, TLS included.
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    /// Handshakes that failed, and TLS that broke later.
    pub tls_failures: AtomicU64,
    /// Waits that ended at a deadline, those of a dial included.
    pub timed_out: AtomicU64,
}

/// Counts one open session for as long as it lives.
pub(crate) struct Open {
    core: Core,
    counters: Arc<Counters>,
}

impl Open {
    pub(crate) fn new(core: Core, counters: Arc<Counters>) -> Open {
        counters.open.fetch_add(1, Relaxed);
        core.session_began();
        Open { core, counters }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Relaxed);
        self.core.session_ended();
    }
}
