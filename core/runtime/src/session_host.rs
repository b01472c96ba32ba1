//! What a session stands on beside its connection: a clock, sleeps, tasks, and a place for work over many bytes.
//!
//! On a core that is tokio and the threads of `workers`. Anywhere else (the simulator, tests) it is a `base::Host`, and a session reads
//! no clock and starts no task but through it: one seed then replays the session.

use std::future::Future;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base::host::{job, sleep_us};
use base::{Host, LocalTask, Time};

use crate::limits::WORK_BYTES_MAX;
use crate::workers;

/// Clones are the same host.
#[derive(Clone)]
pub struct SessionHost {
    ground: Ground,
}

#[derive(Clone)]
enum Ground {
    /// The runtime of the core that this is called on.
    Core,
    Host(Rc<dyn Host>),
}

impl SessionHost {
    /// For sessions on a core. All cores share one clock.
    pub fn of_core() -> SessionHost {
        SessionHost {
            ground: Ground::Core,
        }
    }

    /// Everything on `host`.
    pub fn on(host: Rc<dyn Host>) -> SessionHost {
        SessionHost {
            ground: Ground::Host(host),
        }
    }

    /// Monotonic time.
    pub fn now(&self) -> Time {
        match &self.ground {
            Ground::Core => {
                static BEGAN: OnceLock<Instant> = OnceLock::new();
                let began = BEGAN.get_or_init(Instant::now);
                Time(began.elapsed().as_micros() as u64)
            }
            Ground::Host(host) => host.now(),
        }
    }

    /// Seconds since the Unix epoch, for dates that people see. Not monotonic.
    pub fn unix_seconds(&self) -> i64 {
        match &self.ground {
            Ground::Core => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |span| span.as_secs() as i64),
            Ground::Host(host) => host.unix_seconds(),
        }
    }

    /// Resolves when `span` is over, counted from the first poll.
    pub async fn sleep(&self, span: Duration) {
        match &self.ground {
            Ground::Core => tokio::time::sleep(span).await,
            Ground::Host(host) => sleep_us(&**host, span.as_micros() as u64).await,
        }
    }

    /// Resolves at `until` or a little later.
    pub async fn sleep_until(&self, until: Time) {
        match &self.ground {
            Ground::Core => {
                let us = until.since_us(self.now());
                tokio::time::sleep(Duration::from_micros(us)).await;
            }
            Ground::Host(host) => host.sleep_until(until).await,
        }
    }

    /// What `wait` answers; `None` when it did not within `span`.
    pub async fn within<T>(&self, span: Duration, wait: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = wait => Some(answer),
            () = self.sleep(span) => None,
        }
    }

    /// Starts `task` on this thread. Where the core's runtime is gone it is dropped: the process ends soon.
    pub fn spawn(&self, task: LocalTask) {
        match &self.ground {
            Ground::Core if tokio::runtime::Handle::try_current().is_err() => {}
            Ground::Core => drop(tokio::task::spawn_local(task)),
            Ground::Host(host) => host.spawn(task),
        }
    }

    /// Runs `work`, which looks at about `bytes` bytes: see `workers::work`.
    pub async fn work<T, F>(&self, bytes: usize, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        match &self.ground {
            Ground::Core => workers::work(bytes, work).await,
            Ground::Host(_) if bytes <= WORK_BYTES_MAX => work(),
            Ground::Host(host) => job(&**host, work).await,
        }
    }
}
