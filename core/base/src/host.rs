//! What an engine without I/O of its own runs on.
//!
//! `volume`, `store` and `mailbox` are plain `async` code on one thread: their only leaf futures are device
//! operations (`device::Device`), these sleeps and these jobs. In the appliance a `Host` is a pinned core's
//! runtime; in the simulator it is virtual time and a seeded task queue. Neither side knows the difference.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Microseconds since some fixed moment; only differences mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// So many microseconds later, at most the largest `Time`.
    pub fn after_us(self, us: u64) -> Time {
        Time(self.0.saturating_add(us))
    }
    /// Microseconds since `earlier`; 0 if that is later.
    pub fn since_us(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A task of one thread. It need not be `Send`.
pub type LocalTask = Pin<Box<dyn Future<Output = ()>>>;
/// Work that may block, for another thread.
pub type BlockingJob = Box<dyn FnOnce() + Send>;

/// One thread's clock, task starter and door to a blocking helper thread.
pub trait Host {
    /// Monotonic time.
    fn now(&self) -> Time;
    /// Seconds since the Unix epoch, for dates that people see. Not monotonic.
    fn unix_seconds(&self) -> i64;
    /// Resolves at `until` or a little later.
    fn sleep_until(&self, until: Time) -> LocalTask;
    /// Starts `task` on this thread. It lives until it ends or the host does.
    fn spawn(&self, task: LocalTask);
    /// Runs `job` where blocking is allowed (the index thread; inline in the simulator). Jobs run one at a
    /// time in the order they were posted. The queue is bounded by the callers: each awaits its job.
    fn post(&self, job: BlockingJob);
}

/// Resolves `us` microseconds from now.
pub fn sleep_us(host: &dyn Host, us: u64) -> LocalTask {
    host.sleep_until(host.now().after_us(us))
}

/// Runs `work` as a blocking job and resolves with its result.
pub async fn job<T: Send + 'static>(
    host: &dyn Host,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, receiver) = oneshot();
    host.post(Box::new(move || sender.send(work())));
    receiver.await.expect("a posted job runs to its end")
}

/// A value that crosses threads once.
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Mutex::new(Slot {
        state: State::Waiting,
        waker: None,
    }));
    (
        Sender {
            shared: Some(shared.clone()),
        },
        Receiver { shared },
    )
}

/// What the two ends share.
struct Slot<T> {
    /// The value on its way.
    state: State<T>,
    /// The receiver's, while it waits.
    waker: Option<Waker>,
}

/// How far the value is.
enum State<T> {
    /// Not sent yet.
    Waiting,
    /// Sent and not received.
    Sent(T),
    /// Received, or never to come.
    Closed,
}

/// The end that sends. Dropped, it closes the channel.
pub struct Sender<T> {
    shared: Option<Arc<Mutex<Slot<T>>>>,
}

impl<T> Sender<T> {
    /// Hands `value` over; it is dropped when its receiver is gone.
    pub fn send(mut self, value: T) {
        let shared = self.shared.take().expect("a sender sends once");
        settle(&shared, State::Sent(value));
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            settle(&shared, State::Closed);
        }
    }
}

/// Changes the state and wakes the receiver, outside the lock.
fn settle<T>(shared: &Mutex<Slot<T>>, state: State<T>) {
    let waker = {
        let mut slot = shared.lock().expect("no holder of this lock panics");
        slot.state = state;
        slot.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The end that waits. It may be dropped at any time.
pub struct Receiver<T> {
    shared: Arc<Mutex<Slot<T>>>,
}

impl<T> Future for Receiver<T> {
    /// `None`: the sender was dropped without sending.
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.shared.lock().expect("no holder of this lock panics");
        match std::mem::replace(&mut slot.state, State::Waiting) {
            State::Waiting => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
            State::Sent(value) => Poll::Ready(Some(value)),
            State::Closed => {
                slot.state = State::Closed;
                Poll::Ready(None)
            }
        }
    }
}

/// Wakes every task that waits on it; for one thread. A wait that begins before a `ring` ends at that `ring`.
#[derive(Clone, Default)]
pub struct Bell {
    shared: Rc<RefCell<BellState>>,
}

/// What the clones share.
#[derive(Default)]
struct BellState {
    /// How often it has rung.
    rings: u64,
    /// Tasks that wait for the next ring.
    waiting: Vec<Waker>,
}

impl Bell {
    /// A bell that has not rung.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every wait begun so far.
    pub fn ring(&self) {
        let waiting = {
            let mut state = self.shared.borrow_mut();
            state.rings += 1;
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// Resolves at the next `ring` after this call.
    pub fn wait(&self) -> BellWait {
        BellWait {
            bell: self.clone(),
            from: self.shared.borrow().rings,
        }
    }
}

/// One wait for a bell.
pub struct BellWait {
    bell: Bell,
    /// The count of rings when the wait began.
    from: u64,
}

impl Future for BellWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.bell.shared.borrow_mut();
        if state.rings != self.from {
            return Poll::Ready(());
        }
        // Bounded by the tasks that wait: a task polled again replaces its own waker.
        if !state
            .waiting
            .iter()
            .any(|waker| waker.will_wake(context.waker()))
        {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_dropped_sender_is_told_apart_from_a_value() {
        let (sender, receiver) = oneshot::<u8>();
        let mut receiver = Box::pin(receiver);
        assert_eq!(poll_once(receiver.as_mut()), Poll::Pending);
        drop(sender);
        assert_eq!(poll_once(receiver.as_mut()), Poll::Ready(None));

        let (sender, receiver) = oneshot();
        sender.send(5u8);
        assert_eq!(poll_once(Box::pin(receiver).as_mut()), Poll::Ready(Some(5)));
    }

    #[test]
    fn a_bell_ends_only_waits_begun_before_it() {
        let bell = Bell::new();
        let mut early = Box::pin(bell.wait());
        assert_eq!(poll_once(early.as_mut()), Poll::Pending);
        bell.ring();
        let mut late = Box::pin(bell.wait());
        assert_eq!(poll_once(early.as_mut()), Poll::Ready(()));
        assert_eq!(poll_once(late.as_mut()), Poll::Pending);
    }
}
