//! `base::Host` on a core: tokio's clock and tasks, and one helper thread where blocking is allowed.

use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base::Time;
use base::host::{BlockingJob, Host, LocalTask};

/// The host of an engine that lives on a core. Must be made and used on that core.
pub struct CoreHost {
    began: Instant,
    jobs: mpsc::Sender<BlockingJob>,
}

impl CoreHost {
    /// Starts the helper thread `name`. The thread ends when the host is dropped and its jobs are done.
    pub fn new(name: &str) -> std::io::Result<CoreHost> {
        // Unbounded in type, bounded in use: every caller of `post` awaits its job.
        let (jobs, posted) = mpsc::channel::<BlockingJob>();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                for job in posted {
                    job();
                }
            })?;
        Ok(CoreHost {
            began: Instant::now(),
            jobs,
        })
    }
}

impl Host for CoreHost {
    fn now(&self) -> Time {
        Time(self.began.elapsed().as_micros() as u64)
    }

    fn unix_seconds(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_secs() as i64,
            Err(before) => -(before.duration().as_secs() as i64),
        }
    }

    fn sleep_until(&self, until: Time) -> LocalTask {
        let deadline = self.began + Duration::from_micros(until.0);
        Box::pin(tokio::time::sleep_until(deadline.into()))
    }

    fn spawn(&self, task: LocalTask) {
        tokio::task::spawn_local(task);
    }

    fn post(&self, job: BlockingJob) {
        self.jobs
            .send(job)
            .expect("the helper thread lives as long as its host");
    }
}
