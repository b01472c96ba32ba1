//! How long a core did not come back: a watch that wakes at a steady pace and notes how late it was.
//!
//! A task that computes holds all sessions of its core. The watch is one of them, so it is late by that much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{STALL_MIN, STALL_TICK, STALL_TICKS_KEPT};

/// What one core's watch saw. Written by that core, read by whoever asks.
#[derive(Debug, Default)]
pub struct Stalls {
    /// Microseconds: in the present stretch of time, and in the one before.
    present_us: AtomicU64,
    before_us: AtomicU64,
    count: AtomicU64,
}

impl Stalls {
    /// The longest time that the core did not come back, of the last one to two minutes.
    pub fn longest(&self) -> Duration {
        let us = self.present_us.load(Relaxed);
        Duration::from_micros(us.max(self.before_us.load(Relaxed)))
    }

    /// How often it was longer than `STALL_MIN`, since start.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    fn note(&self, late: Duration) {
        self.present_us.fetch_max(late.as_micros() as u64, Relaxed);
        if late >= STALL_MIN {
            self.count.fetch_add(1, Relaxed);
        }
    }

    fn turn(&self) {
        let present = self.present_us.swap(0, Relaxed);
        self.before_us.store(present, Relaxed);
    }
}

/// Watches the core it runs on until it is dropped.
pub(crate) async fn watch(stalls: Arc<Stalls>) {
    loop {
        // until the core ends
        for _ in 0..STALL_TICKS_KEPT {
            let due = Instant::now() + STALL_TICK;
            tokio::time::sleep_until(due).await;
            stalls.note(due.elapsed());
        }
        stalls.turn();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_is_kept_for_a_stretch_and_a_second_one() {
        let stalls = Stalls::default();
        stalls.note(Duration::from_millis(1));
        stalls.note(STALL_MIN + Duration::from_millis(7));
        stalls.note(Duration::from_millis(2));
        let longest = STALL_MIN + Duration::from_millis(7);
        assert_eq!((stalls.longest(), stalls.count()), (longest, 1));
        stalls.turn();
        assert_eq!(stalls.longest(), longest);
        stalls.turn();
        assert_eq!((stalls.longest(), stalls.count()), (Duration::ZERO, 1));
    }
}
