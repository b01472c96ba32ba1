//! One block operation, and the future of its completion.

use std::cell::RefCell;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::buffer::Buffer;

/// What a device is asked to do. Offsets, ranges and lengths are multiples of `BLOCK_BYTES`.
#[derive(Debug)]
pub enum Op {
    /// Writes `data[range]` at `at`. With `durable`, completion means the bytes survive a power cut
    /// (RWF_DSYNC); without it only a later `Flush` makes them durable.
    Write {
        at: u64,
        data: Arc<Buffer>,
        range: Range<usize>,
        durable: bool,
    },
    /// Fills `into[..bytes]` from `at`.
    Read { at: u64, into: Buffer, bytes: usize },
    /// Makes every completed write of this device durable.
    Flush,
    /// Tells the device that the range holds nothing of value; what it reads as afterwards is undefined.
    Discard { at: u64, bytes: u64 },
}

/// How a device failed, sorted by what the caller does next (DESIGN.md B3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IoFault {
    /// EIO and kin: this range is bad. Reads repair from another leg; writes go elsewhere.
    #[error("the medium failed at this range")]
    Medium,
    /// ENODEV, ENXIO, EREMOTEIO, a file cut short: the device is gone. Eject.
    #[error("the device is gone")]
    Gone,
    /// EBADE: another owner holds the reservation. Stop the volume.
    #[error("another owner holds the device")]
    Conflict,
    /// A file-backed leg could not get space from its file system.
    #[error("no space behind the device")]
    NoSpace,
    /// Anything else, by errno. Treated like `Medium` by readers and like `Gone` by writers.
    #[error("the device answered errno {0}")]
    Other(i32),
}

/// An operation that has ended. A read's buffer comes back here, also when it failed.
#[derive(Debug)]
pub struct Completion {
    pub result: Result<(), IoFault>,
    pub buffer: Option<Buffer>,
}

/// The future of one operation. Dropping it does not cancel: the device keeps the buffer until the kernel has
/// let go of it.
#[derive(Debug)]
pub struct Pending {
    slot: Rc<RefCell<Slot>>,
}

#[derive(Debug, Default)]
struct Slot {
    done: Option<Completion>,
    waker: Option<Waker>,
}

/// The device's end of a `Pending`.
#[derive(Debug)]
pub struct Completer {
    slot: Rc<RefCell<Slot>>,
}

/// A fresh operation: what the device keeps, and what the caller awaits.
pub fn pending() -> (Completer, Pending) {
    let slot = Rc::new(RefCell::new(Slot::default()));
    (Completer { slot: slot.clone() }, Pending { slot })
}

impl Completer {
    pub fn complete(self, completion: Completion) {
        let waker = {
            let mut slot = self.slot.borrow_mut();
            assert!(slot.done.is_none(), "an operation completes once");
            slot.done = Some(completion);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Pending {
    type Output = Completion;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Completion> {
        let mut slot = self.slot.borrow_mut();
        match slot.done.take() {
            Some(completion) => Poll::Ready(completion),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
