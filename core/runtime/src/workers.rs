//! Work that would hold a core: a search through a large message, the digest of one, thousands of names against a pattern. A core
//! serves hundreds of sessions, and all of them wait while one of its tasks computes.
//!
//! `work` runs a job where it is asked for when it is small, and on one of a few threads beside the cores when it is not. What
//! counts is bytes looked at, never a clock: the same job goes the same way every time.
//!
//! What must hold: a job touches no runtime and waits for nothing. The queue is bounded by its callers, of whom each awaits its
//! job.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

use base::host::oneshot;

use crate::limits::{SHORT_WORK_BYTES_MAX, WORK_BYTES_MAX};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    bell: Condvar,
    away: AtomicU64,
}

/// Short jobs have a thread that takes no others: the digest of a message that is being received does not wait for a search through
/// fifty mebibytes.
#[derive(Default)]
struct Jobs {
    short: VecDeque<Job>,
    long: VecDeque<Job>,
}

/// What a thread takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Short,
    LongThenShort,
}

impl Jobs {
    fn next(&mut self, takes: Takes) -> Option<Job> {
        match takes {
            Takes::Short => self.short.pop_front(),
            Takes::LongThenShort => self.long.pop_front().or_else(|| self.short.pop_front()),
        }
    }
}

static QUEUE: OnceLock<Option<&'static Queue>> = OnceLock::new();

thread_local! {
    /// The largest job that this thread did itself.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// Starts the threads that jobs go to. They stay on the CPUs of the first caller: the daemon does so before there are pinned
/// cores. Without a call the first large job starts them.
pub fn begin() {
    queue();
}

/// Runs `job`, which looks at about `bytes` bytes, and answers what it answers. At most `WORK_BYTES_MAX` on this thread; a larger one runs
/// elsewhere while this core serves others. Dropping the wait does not stop the job.
pub async fn work<T, F>(bytes: usize, job: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let queue = match queue() {
        Some(queue) if bytes > WORK_BYTES_MAX => queue,
        _ => {
            LARGEST.set(LARGEST.get().max(bytes));
            return job();
        }
    };
    let (sender, receiver) = oneshot();
    queue.push(bytes, Box::new(move || sender.send(job())));
    receiver.await.expect("a job runs to its end")
}

/// Jobs that went to other threads since start.
pub fn away() -> u64 {
    queue().map_or(0, |queue| queue.away.load(Relaxed))
}

/// Jobs that wait for a thread.
pub fn waiting() -> usize {
    queue().map_or(0, |queue| {
        let jobs = queue.jobs();
        jobs.short.len() + jobs.long.len()
    })
}

/// The most bytes that one job looked at on this thread.
pub fn largest_here() -> usize {
    LARGEST.get()
}

/// `None`: the system does not give us both threads, and everything is done in place.
fn queue() -> Option<&'static Queue> {
    *QUEUE.get_or_init(|| {
        let queue: &'static Queue = Box::leak(Box::default());
        let start = |name: &str, takes| {
            let thread = std::thread::Builder::new().name(name.to_owned());
            match thread.spawn(move || queue.serve(takes)) {
                Ok(_) => true,
                Err(error) => {
                    tracing::warn!(%error, "a thread for large work cannot be started");
                    false
                }
            }
        };
        let both = start("work", Takes::LongThenShort) && start("work/short", Takes::Short);
        both.then_some(queue)
    })
}

impl Queue {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().expect("no holder of this lock panics")
    }

    fn push(&self, bytes: usize, job: Job) {
        self.away.fetch_add(1, Relaxed);
        let mut jobs = self.jobs();
        match bytes > SHORT_WORK_BYTES_MAX {
            true => jobs.long.push_back(job),
            false => jobs.short.push_back(job),
        }
        drop(jobs);
        // Both: one of them may not take this one.
        self.bell.notify_all();
    }

    fn serve(&self, takes: Takes) {
        loop {
            // until the process ends
            let mut jobs = self.jobs();
            let job = loop {
                if let Some(job) = jobs.next(takes) {
                    break job;
                }
                jobs = self.bell.wait(jobs).expect("no holder of this lock panics");
            };
            drop(jobs);
            job();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
            .block_on(future)
    }

    #[test]
    fn small_work_stays_and_large_work_leaves() {
        let here = thread::current().id();
        let seen = |bytes| block_on(work(bytes, || thread::current().id()));
        assert_eq!(seen(0), here);
        assert_eq!(seen(WORK_BYTES_MAX), here);
        assert_ne!(seen(WORK_BYTES_MAX + 1), here);
        assert_ne!(seen(usize::MAX), here);
        assert_eq!(largest_here(), WORK_BYTES_MAX);
        assert!(away() >= 2);
    }

    #[test]
    fn the_core_goes_on_while_work_is_away() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (first, second) = block_on(async {
            let away = work(usize::MAX, move || wait.recv().is_ok());
            let beside = async { go.send(()).is_ok() };
            tokio::join!(away, beside)
        });
        assert!(
            first && second,
            "the job ended because something else on this thread ran"
        );
    }

    #[test]
    fn short_work_does_not_wait_for_long_work() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (first, second) = block_on(async {
            let long = work(usize::MAX, move || wait.recv().is_ok());
            let short = async {
                let done = work(SHORT_WORK_BYTES_MAX, || true).await;
                go.send(()).is_ok() && done
            };
            tokio::join!(long, short)
        });
        assert!(
            first && second,
            "the long job ended because the short one was done beside it"
        );
    }

    #[test]
    fn a_wait_that_is_dropped_stops_no_thread() {
        for _ in 0..4 {
            let mut wait = Box::pin(work(usize::MAX, || ()));
            let waker = std::task::Waker::noop();
            let _ = wait
                .as_mut()
                .poll(&mut std::task::Context::from_waker(waker));
        }
        assert_eq!(block_on(work(usize::MAX, || 7)), 7);
    }
}
