//! `base::Host` on a core: tokio's clock and tasks, and one helper thread where blocking is allowed.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base::Time;
use base::host::{BlockingJob, Host, LocalTask};
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use crate::limits::{ALARMS_KEPT_MAX, PRECISE_SLEEP_MAX};

/// The host of an engine that lives on a core. Must be made and used on that core.
pub struct CoreHost {
    began: Instant,
    jobs: mpsc::Sender<BlockingJob>,
    alarms: Alarms,
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
            alarms: Alarms::default(),
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
        let span = deadline.saturating_duration_since(Instant::now());
        let alarm = if span < PRECISE_SLEEP_MAX {
            self.alarms.take()
        } else {
            None
        };
        Box::pin(async move {
            if let Some(mut alarm) = alarm
                && alarm.wait(span).await.is_ok()
            {
                return;
            }
            tokio::time::sleep_until(deadline.into()).await;
        })
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

/// Kernel timers for sleeps that tokio's clock, which ticks in milliseconds, would stretch.
#[derive(Clone, Default)]
struct Alarms {
    free: Rc<RefCell<Vec<Alarm>>>,
}

struct Alarm {
    timer: TimerFd,
    /// The same timer again, for the runtime to wait on.
    ready: AsyncFd<OwnedFd>,
}

/// An alarm in use; goes back when dropped.
struct Taken {
    alarm: Option<Alarm>,
    home: Alarms,
}

impl Alarms {
    /// `None` when the kernel has no timer for us: the sleep is then a coarse one.
    fn take(&self) -> Option<Taken> {
        let kept = self.free.borrow_mut().pop();
        let alarm = match kept {
            Some(alarm) => alarm,
            None => Alarm::new().ok()?,
        };
        Some(Taken {
            alarm: Some(alarm),
            home: self.clone(),
        })
    }
}

impl Alarm {
    fn new() -> io::Result<Alarm> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let descriptor = timer.as_fd().try_clone_to_owned()?;
        #[expect(
            deprecated,
            reason = "an OwnedFd owns its descriptor for life, which is all that `register` asks; that one is unsafe"
        )]
        let ready = AsyncFd::new(descriptor)?;
        Ok(Alarm { timer, ready })
    }
}

impl Taken {
    async fn wait(&mut self, span: Duration) -> io::Result<()> {
        let Some(Alarm { timer, ready }) = &self.alarm else {
            return Ok(());
        };
        // Zero would switch the timer off.
        let span = TimeSpec::from_duration(span.max(Duration::from_nanos(1)));
        timer.set(Expiration::OneShot(span), TimerSetTimeFlags::empty())?;
        loop {
            // until the timer went off; an earlier use may have left a word behind
            let mut ready = ready.readable().await?;
            ready.clear_ready();
            match nix::unistd::read(timer, &mut [0; 8]) {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut free = self.home.free.borrow_mut();
        if let Some(alarm) = self.alarm.take()
            && free.len() < ALARMS_KEPT_MAX
        {
            free.push(alarm);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_sleep_ends_and_its_alarm_serves_the_next() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let host = CoreHost::new("test").expect("a thread");
            for us in [0, 1, 300, 1_500, 3_000] {
                let until = host.now().after_us(us);
                host.sleep_until(until).await;
                assert!(host.now() >= until);
            }
            assert_eq!(host.alarms.free.borrow().len(), 1);
            // Given up midway, it still goes off some time; no other waiter is woken too early by that.
            drop(
                tokio::time::timeout(Duration::ZERO, host.sleep_until(host.now().after_us(500)))
                    .await,
            );
            let until = host.now().after_us(1_000);
            host.sleep_until(until).await;
            assert!(host.now() >= until);
        });
    }
}
