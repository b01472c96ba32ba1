//! How long a core did not come back: a watch that notes how late it was.
//!
//! A task that computes holds all sessions of its core. The watch is one of them, so it is late by that much. It ticks only while
//! something happens (`arm`): a core where all wait is not woken by it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::{STALL_KEPT, STALL_MIN, STALL_TICK};

/// What one core's watch saw. Written by that core, read by any thread.
#[derive(Debug)]
pub struct Stalls {
    began: Instant,
    /// The stretch of time that something was noted in last, counted from `began`.
    stretch: AtomicU64,
    /// Microseconds: in that stretch, and in the one before.
    present_us: AtomicU64,
    before_us: AtomicU64,
    count: AtomicU64,
}

impl Default for Stalls {
    fn default() -> Stalls {
        Stalls {
            began: Instant::now(),
            stretch: AtomicU64::new(0),
            present_us: AtomicU64::new(0),
            before_us: AtomicU64::new(0),
            count: AtomicU64::new(0),
        }
    }
}

impl Stalls {
    /// The longest time that the core did not come back, of the last one to two minutes.
    pub fn longest(&self) -> Duration {
        self.longest_in(self.stretch_now())
    }

    /// How often it was longer than `STALL_MIN`, since start.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    fn stretch_now(&self) -> u64 {
        self.began.elapsed().as_secs() / STALL_KEPT.as_secs()
    }

    fn longest_in(&self, stretch: u64) -> Duration {
        let present = self.present_us.load(Relaxed);
        let us = match stretch.saturating_sub(self.stretch.load(Relaxed)) {
            0 => present.max(self.before_us.load(Relaxed)),
            1 => present,
            _ => 0,
        };
        Duration::from_micros(us)
    }

    fn note(&self, late: Duration) {
        self.note_in(self.stretch_now(), late);
    }

    fn note_in(&self, stretch: u64, late: Duration) {
        match stretch - self.stretch.swap(stretch, Relaxed) {
            0 => {}
            1 => self
                .before_us
                .store(self.present_us.swap(0, Relaxed), Relaxed),
            _ => {
                self.before_us.store(0, Relaxed);
                self.present_us.store(0, Relaxed);
            }
        }
        self.present_us.fetch_max(late.as_micros() as u64, Relaxed);
        if late >= STALL_MIN {
            self.count.fetch_add(1, Relaxed);
        }
    }
}

/// Whether this core's watch ticks.
#[derive(Default)]
struct Arming {
    /// Something happened since the last tick.
    active: Cell<bool>,
    /// Nothing did, and there is no next tick.
    waits: Cell<bool>,
    /// When that ended.
    since: Cell<Option<Instant>>,
    bell: Notify,
}

thread_local! {
    static ARMING: Rc<Arming> = Rc::default();
}

/// Something came for this core: bytes, an item of a lane, an answer, a completion. What is done about it now is watched.
pub fn arm() {
    ARMING.with(|arming| {
        arming.active.set(true);
        if arming.waits.replace(false) {
            arming.since.set(Some(Instant::now()));
            arming.bell.notify_one();
        }
    });
}

impl Arming {
    /// Waits for `arm`, and answers when it was.
    async fn wait(&self) -> Instant {
        self.waits.set(true);
        loop {
            // until it is armed
            self.bell.notified().await;
            if let Some(since) = self.since.take() {
                return since;
            }
        }
    }
}

/// Watches the core it runs on until it is dropped.
pub(crate) async fn watch(stalls: Arc<Stalls>) {
    let arming = ARMING.with(Rc::clone);
    loop {
        // until the core ends
        stalls.note(arming.wait().await.elapsed());
        while arming.active.replace(false) {
            let due = Instant::now() + STALL_TICK;
            tokio::time::sleep_until(due).await;
            stalls.note(due.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn the_longest_is_kept_for_a_stretch_and_a_second_one() {
        let stalls = Stalls::default();
        let longest = STALL_MIN + Duration::from_millis(7);
        stalls.note_in(3, Duration::from_millis(1));
        stalls.note_in(3, longest);
        stalls.note_in(3, Duration::from_millis(2));
        assert_eq!((stalls.longest_in(3), stalls.count()), (longest, 1));
        assert_eq!(stalls.longest_in(4), longest, "nothing was noted since");
        assert_eq!(stalls.longest_in(5), Duration::ZERO);
        stalls.note_in(4, Duration::from_millis(3));
        assert_eq!(stalls.longest_in(4), longest);
        stalls.note_in(5, Duration::from_millis(2));
        assert_eq!(stalls.longest_in(5), Duration::from_millis(3));
        stalls.note_in(9, Duration::ZERO);
        assert_eq!((stalls.longest_in(9), stalls.count()), (Duration::ZERO, 1));
    }

    #[test]
    fn a_core_that_rests_has_no_timer_and_one_that_is_held_is_noted() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let stalls = Arc::new(Stalls::default());
        let mut watch = pin!(watch(stalls.clone()));
        // Outside of a runtime, where a timer panics.
        let poll = |watch: Pin<&mut dyn Future<Output = ()>>| {
            let mut context = Context::from_waker(Waker::noop());
            assert!(watch.poll(&mut context).is_pending());
        };
        let rests = || ARMING.with(|arming| arming.waits.get());
        poll(watch.as_mut());
        assert!(rests());
        arm();
        std::thread::sleep(STALL_MIN);
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = &mut watch => unreachable!("it has no end"),
                () = tokio::time::sleep(3 * STALL_TICK) => {}
            }
        });
        assert!(stalls.count() >= 1);
        poll(watch.as_mut());
        assert!(rests(), "nothing happened for a tick");
        assert!(stalls.longest() >= STALL_MIN);
    }
}
