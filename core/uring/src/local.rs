//! The smallest owner of a ring: one thread, its tasks, the real clock, a thread for blocking jobs. For tests, benches and
//! offline tools; the appliance runs the ring on its zone's runtime instead.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base::host::BlockingJob;
use base::{Host, LocalTask, Time};
use device::Io;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::limits::POLLS_PER_TURN_MAX;
use crate::{Misfit, Ring};

/// The id of the future that `run` was called with; tasks count from 1.
const ROOT: u64 = 0;

/// A ring and a host on this thread.
pub struct Local {
    /// The devices.
    pub ring: Rc<Ring>,
    /// Tasks and the clock.
    pub host: Rc<LocalHost>,
}

impl Local {
    /// A ring with the best flags of this kernel. Fails with one sentence for the operator.
    pub fn new() -> Result<Local, Misfit> {
        Local::with_ring(Ring::new()?)
    }

    /// With a ring of the caller's choice.
    pub fn with_ring(ring: Ring) -> Result<Local, Misfit> {
        Ok(Local {
            ring: Rc::new(ring),
            host: Rc::new(LocalHost::new()?),
        })
    }

    /// The device and the host as the engine takes them.
    pub fn io(&self) -> Io {
        Io {
            device: self.ring.clone(),
            host: self.host.clone(),
        }
    }

    /// Runs `future` and every spawned task until `future` is done. Tasks live on until the next call or the host's end.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let root = Arc::new(Signal {
            id: ROOT,
            queued: AtomicBool::new(false),
            ready: self.host.ready.clone(),
        });
        let waker = Waker::from(root.clone());
        root.wake_by_ref();
        loop {
            // until the future is done
            for _ in 0..POLLS_PER_TURN_MAX {
                match self.host.ready.take() {
                    Some(ROOT) => {
                        root.queued.store(false, Ordering::Release);
                        if let Poll::Ready(value) =
                            future.as_mut().poll(&mut Context::from_waker(&waker))
                        {
                            return value;
                        }
                    }
                    Some(id) => self.host.poll_task(id),
                    None => break,
                }
            }
            if self.ring.outstanding() > 0 {
                self.ring.turn();
            }
            self.host.wake_sleepers();
            if self.host.ready.is_empty() {
                self.wait();
            }
        }
    }

    /// Sleeps until the ring, another thread or the clock has something for us.
    fn wait(&self) {
        let timeout_ms = self
            .host
            .next_sleep_us()
            .map(|us| us.div_ceil(1000).min(60_000) as u16);
        let timeout = timeout_ms.map_or(PollTimeout::NONE, PollTimeout::from);
        let ready = &self.host.ready;
        let mut files = [
            PollFd::new(self.ring.eventfd(), PollFlags::POLLIN),
            PollFd::new(ready.bell.as_fd(), PollFlags::POLLIN),
        ];
        ready.asleep.store(true, Ordering::SeqCst);
        if ready.is_empty() {
            match poll(&mut files, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => panic!("poll of two eventfds: {errno}"),
            }
        }
        ready.asleep.store(false, Ordering::SeqCst);
        // Both are counters that never block; empty is as good as read.
        for file in [self.ring.eventfd(), ready.bell.as_fd()] {
            let mut count = [0; 8];
            match nix::unistd::read(file, &mut count) {
                Ok(_) | Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
                Err(errno) => panic!("read of an eventfd: {errno}"),
            }
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Tasks hold the host and the ring: without this neither would ever go.
        self.host.stop_tasks();
    }
}

/// Tasks, sleeps and the index thread.
pub struct LocalHost {
    /// Tasks to poll, filled by wakers.
    ready: Arc<Ready>,
    /// Every spawned task that is not being polled now.
    tasks: RefCell<BTreeMap<u64, Task>>,
    next_task: Cell<u64>,
    sleepers: Rc<Sleepers>,
    /// To the thread that runs blocking jobs.
    jobs: mpsc::Sender<BlockingJob>,
}

/// Who sleeps until when.
struct Sleepers {
    /// The zero of `Time` for this host.
    started: Instant,
    /// By the moment of waking, then by number.
    waiting: RefCell<BTreeMap<(Time, u64), Waker>>,
    next: Cell<u64>,
}

impl Sleepers {
    /// Microseconds since the start of the host.
    fn now(&self) -> Time {
        Time(self.started.elapsed().as_micros() as u64)
    }
}

/// A future that is ready at `until`. Dropped, it leaves the table of sleepers.
struct Sleep {
    /// The table that the sleep is in while it waits.
    sleepers: Rc<Sleepers>,
    /// When it is ready.
    until: Time,
    /// Tells sleeps of one moment apart.
    number: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.sleepers.now() >= self.until {
            return Poll::Ready(());
        }
        let mut waiting = self.sleepers.waiting.borrow_mut();
        waiting.insert((self.until, self.number), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let forgotten = self
            .sleepers
            .waiting
            .borrow_mut()
            .remove(&(self.until, self.number));
        drop(forgotten);
    }
}

/// A spawned future with the waker that puts its id into `Ready`.
struct Task {
    /// What the task still does.
    future: LocalTask,
    /// To be reset before each poll.
    signal: Arc<Signal>,
    /// `signal` as the standard library wants it, made once.
    waker: Waker,
}

/// Ids of tasks to poll, filled from any thread.
struct Ready {
    ids: Mutex<std::collections::VecDeque<u64>>,
    /// Wakes the owner out of `poll`.
    bell: EventFd,
    /// The owner waits in `poll` or is about to: a push must ring the bell.
    asleep: AtomicBool,
}

impl Ready {
    /// The task that has been ready for longest.
    fn take(&self) -> Option<u64> {
        self.ids
            .lock()
            .expect("no holder of this lock panics")
            .pop_front()
    }

    fn is_empty(&self) -> bool {
        self.ids
            .lock()
            .expect("no holder of this lock panics")
            .is_empty()
    }

    /// The task is ready. The bell is rung only when the owner sleeps: a system call for each wake would cost more than
    /// the poll.
    fn push(&self, id: u64) {
        self.ids
            .lock()
            .expect("no holder of this lock panics")
            .push_back(id);
        if self.asleep.load(Ordering::SeqCst) {
            match self.bell.write(1) {
                // A full counter is a bell that rings already.
                Ok(_) | Err(nix::errno::Errno::EAGAIN) => {}
                Err(errno) => panic!("write to an eventfd: {errno}"),
            }
        }
    }
}

/// The waker of one task: it queues the id once, however often it is called before the next poll.
struct Signal {
    id: u64,
    /// Whether the id is in `ready` already.
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.push(self.id);
        }
    }
}

impl LocalHost {
    /// Starts the index thread; it ends with the host, after the job it is at.
    pub fn new() -> Result<LocalHost, Misfit> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let bell = bell.map_err(|errno| Misfit(format!("no eventfd for the host: {errno}")))?;
        let (jobs, inbox) = mpsc::channel::<BlockingJob>();
        let index = std::thread::Builder::new().name("index".to_owned());
        let started = index.spawn(move || inbox.into_iter().for_each(|job| job()));
        started.map_err(|error| Misfit(format!("the index thread does not start: {error}")))?;
        Ok(LocalHost {
            ready: Arc::new(Ready {
                ids: Mutex::default(),
                bell,
                asleep: AtomicBool::new(false),
            }),
            tasks: RefCell::default(),
            next_task: Cell::new(ROOT + 1),
            sleepers: Rc::new(Sleepers {
                started: Instant::now(),
                waiting: RefCell::default(),
                next: Cell::new(0),
            }),
            jobs,
        })
    }

    /// Drops every spawned task. Tasks that hold the host keep it alive otherwise.
    pub fn stop_tasks(&self) {
        let tasks = self.tasks.take();
        drop(tasks);
    }

    /// Polls one task, unless it has ended.
    fn poll_task(&self, id: u64) {
        // Out of the table while it is polled: it may spawn others.
        let task = self.tasks.borrow_mut().remove(&id);
        let Some(mut task) = task else { return };
        task.signal.queued.store(false, Ordering::Release);
        if task
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&task.waker))
            .is_pending()
        {
            self.tasks.borrow_mut().insert(id, task);
        }
    }

    /// Wakes every sleep that is due.
    fn wake_sleepers(&self) {
        let now = self.now();
        loop {
            // until the first that is not due
            let mut sleepers = self.sleepers.waiting.borrow_mut();
            let Some(first) = sleepers.first_entry().filter(|first| first.key().0 <= now) else {
                break;
            };
            let waker = first.remove();
            drop(sleepers);
            waker.wake();
        }
    }

    /// Microseconds until the next sleep is due; `None`: there is none.
    fn next_sleep_us(&self) -> Option<u64> {
        let waiting = self.sleepers.waiting.borrow();
        waiting
            .first_key_value()
            .map(|((until, _), _)| until.since_us(self.now()))
    }
}

impl Host for LocalHost {
    fn now(&self) -> Time {
        self.sleepers.now()
    }

    fn unix_seconds(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as i64)
    }

    fn sleep_until(&self, until: Time) -> LocalTask {
        let number = self.sleepers.next.get();
        self.sleepers.next.set(number + 1);
        Box::pin(Sleep {
            sleepers: self.sleepers.clone(),
            until,
            number,
        })
    }

    fn spawn(&self, task: LocalTask) {
        let id = self.next_task.get();
        self.next_task.set(id + 1);
        let signal = Arc::new(Signal {
            id,
            queued: AtomicBool::new(false),
            ready: self.ready.clone(),
        });
        signal.wake_by_ref();
        let waker = Waker::from(signal.clone());
        self.tasks.borrow_mut().insert(
            id,
            Task {
                future: task,
                signal,
                waker,
            },
        );
    }

    fn post(&self, job: BlockingJob) {
        self.jobs
            .send(job)
            .expect("the index thread lives as long as the host");
    }
}
