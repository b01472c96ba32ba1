//! Lines on their way to the files: one buffer that all threads append to, and a thread that writes it out.
//!
//! What must hold: who appends waits for no disk and wakes the writer at most once for what it writes at once; the buffer is bounded, and what does not
//! fit is counted and lost.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::days;
use crate::admin::limits::TRACE_WAITING_BYTES_MAX;

/// After the first line others are waited for: a writer that is woken for each costs as much as the writing.
const GATHERS: Duration = Duration::from_millis(20);

#[derive(Clone, Default)]
pub(super) struct Lines {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// The first line of a buffer, or the end.
    more: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    ends: bool,
}

impl Lines {
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.bytes.len() + line.len() > TRACE_WAITING_BYTES_MAX {
            self.shared.lost.fetch_add(1, Relaxed);
            return;
        }
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.shared.more.notify_one();
        }
    }

    /// Lines that found no room.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Relaxed)
    }

    /// Starts the thread that writes them; `None`: the system gives no thread, and lines are lost.
    pub(super) fn write_out(&self) -> Option<JoinHandle<()>> {
        let lines = self.clone();
        let thread = std::thread::Builder::new().name("trace".to_owned());
        thread.spawn(move || lines.keep_writing()).ok()
    }

    /// What waits now is written, and then the thread ends.
    pub(super) fn end(&self) {
        self.waiting().ends = true;
        self.shared.more.notify_one();
    }

    fn keep_writing(&self) {
        loop {
            // until the end
            let mut waiting = self.waiting();
            while waiting.bytes.is_empty() && !waiting.ends {
                let woken = self.shared.more.wait(waiting);
                waiting = woken.unwrap_or_else(PoisonError::into_inner);
            }
            let ends = waiting.ends;
            drop(waiting);
            if !ends {
                std::thread::sleep(GATHERS);
            }
            let bytes = self.take();
            if !bytes.is_empty() {
                days::write(&bytes);
            }
            if ends {
                return;
            }
        }
    }

    /// The lines that wait, out of the buffer.
    pub(super) fn take(&self) -> Vec<u8> {
        mem::take(&mut self.waiting().bytes)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic elsewhere leaves whole lines.
        let locked = self.shared.waiting.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_what_is_lost_is_counted() {
        let lines = Lines::default();
        let line = [b'x'; 1_000];
        for _ in 0..TRACE_WAITING_BYTES_MAX / line.len() + 5 {
            lines.push(&line);
        }
        assert_eq!(lines.lost(), 5);
        assert!(lines.take().len() <= TRACE_WAITING_BYTES_MAX);
        lines.push(b"again\n");
        assert_eq!(lines.take(), b"again\n");
    }

    #[test]
    fn the_thread_ends_when_it_is_asked_to() {
        let lines = Lines::default();
        let thread = lines.write_out().expect("a thread");
        // Without `keep` they go nowhere.
        lines.push(b"{}\n");
        lines.end();
        thread.join().expect("it does not panic");
        assert_eq!(lines.take(), b"");
    }
}
