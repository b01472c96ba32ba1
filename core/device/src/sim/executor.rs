//! Tasks, timers and blocking jobs on virtual time. Which of the ready tasks runs next is the seed's choice.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering as Memory};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use base::LocalTask;
use base::host::BlockingJob;
use fastrand::Rng;

/// The task `SimWorld::run` was called with.
pub const ROOT: u64 = 0;

/// Ids of tasks to poll; filled by wakers, which may be called from anywhere.
#[derive(Default)]
pub struct Ready {
    ids: Mutex<Vec<u64>>,
}

impl Ready {
    /// The task is ready. It is put once until it is polled (`TaskWaker`).
    fn push(&self, id: u64) {
        self.ids
            .lock()
            .expect("no holder of this lock panics")
            .push(id);
    }

    /// Takes one of the ready tasks. Where there are several the seed chooses, so that a run explores orders and can be repeated.
    pub fn take(&self, rng: &mut Rng) -> Option<u64> {
        let mut ids = self.ids.lock().expect("no holder of this lock panics");
        match ids.len() {
            0 => None,
            1 => ids.pop(),
            count => Some(ids.swap_remove(rng.usize(..count))),
        }
    }

    /// Forgets every ready task, as a crash of the machine does.
    pub fn clear(&self) {
        self.ids
            .lock()
            .expect("no holder of this lock panics")
            .clear();
    }
}

pub struct TaskWaker {
    id: u64,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl TaskWaker {
    /// A waker that puts `id` into `ready`.
    pub fn new(id: u64, ready: Arc<Ready>) -> Arc<TaskWaker> {
        Arc::new(TaskWaker {
            id,
            queued: AtomicBool::new(false),
            ready,
        })
    }

    /// To be called before each poll: a wake during the poll queues the task again.
    pub fn polled(&self) {
        self.queued.store(false, Memory::Relaxed);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Memory::Relaxed) {
            self.ready.push(self.id);
        }
    }
}

/// A task that was spawned.
pub struct Task {
    /// What the task still does.
    pub future: LocalTask,
    /// To be reset before each poll.
    pub signal: Arc<TaskWaker>,
    /// `signal` as the standard library wants it, made once.
    pub waker: Waker,
}

/// The tasks that are not being polled right now.
pub struct Tasks {
    /// By id, so that the order of a walk does not depend on addresses.
    pub waiting: BTreeMap<u64, Task>,
    next_id: u64,
}

impl Tasks {
    pub fn new() -> Tasks {
        Tasks {
            waiting: BTreeMap::new(),
            next_id: ROOT + 1,
        }
    }

    /// A new task, ready to be polled.
    pub fn add(&mut self, future: LocalTask, ready: &Arc<Ready>) {
        let id = self.next_id;
        self.next_id += 1;
        let signal = TaskWaker::new(id, ready.clone());
        signal.wake_by_ref();
        let waker = Waker::from(signal.clone());
        self.waiting.insert(
            id,
            Task {
                future,
                signal,
                waker,
            },
        );
    }
}

/// The waker of a sleeping future; gone when the future was dropped.
pub type Sleeper = RefCell<Waker>;

/// What happens at a moment of virtual time.
pub enum Happening {
    /// A sleep ends.
    Wake(Weak<Sleeper>),
    /// The operation of this number completes.
    Complete(u64),
    /// The oldest posted job runs.
    Job,
}

/// One entry of the schedule.
struct Event {
    /// When it happens, in microseconds of virtual time.
    at_us: u64,
    /// Events of one moment happen in an order the seed chose.
    tie: u32,
    /// Decides where the ties agree, so that one seed gives one run.
    number: u64,
    what: Happening,
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    /// The earliest is the greatest: `BinaryHeap` gives the greatest first.
    fn cmp(&self, other: &Event) -> Ordering {
        (other.at_us, other.tie, other.number).cmp(&(self.at_us, self.tie, self.number))
    }
}

/// What will happen, by virtual time.
#[derive(Default)]
pub struct Future {
    /// The earliest first.
    heap: BinaryHeap<Event>,
    /// The number of the last event.
    number: u64,
    /// Blocking jobs that were posted and did not run yet, in their order.
    pub jobs: VecDeque<BlockingJob>,
}

impl Future {
    /// Something will happen at `at_us`.
    pub fn add(&mut self, at_us: u64, rng: &mut Rng, what: Happening) {
        self.number += 1;
        self.heap.push(Event {
            at_us,
            tie: rng.u32(..),
            number: self.number,
            what,
        });
    }

    /// The next thing to happen, at or before `until_us`. Sleeps without a waiter are skipped.
    pub fn next(&mut self, until_us: u64) -> Option<(u64, Happening)> {
        loop {
            // until an event counts or none is due
            if self.heap.peek()?.at_us > until_us {
                return None;
            }
            let event = self.heap.pop().expect("peeked");
            if let Happening::Wake(sleeper) = &event.what
                && sleeper.strong_count() == 0
            {
                continue;
            }
            return Some((event.at_us, event.what));
        }
    }

    /// Whether nothing is scheduled: a world in which every task waits as well stands still.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

/// A sleeper with this waker. The schedule holds it weakly, so that a future that was dropped is not woken.
pub fn sleeper(waker: &Waker) -> Rc<Sleeper> {
    Rc::new(RefCell::new(waker.clone()))
}
