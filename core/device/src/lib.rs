//! Block I/O as data: an operation, its completion, an aligned buffer. Knows no io_uring (that is `uring`) and
//! not what the bytes mean (that is `volume`).
//!
//! Two devices implement `Device`: the real rings (`uring::Ring`) and the simulated one (`sim`, here), which
//! tears, loses, misdirects, flips, stalls, vanishes and crashes from a seed. Code above cannot distinguish them.
//!
//! What must hold between calls: a buffer belongs to the device from `start` until its completion is
//! delivered, also when the future that waits for it was dropped.
#![forbid(unsafe_code)]

pub mod buffer;
pub mod limits;
pub mod operation;
pub mod sim;

use std::rc::Rc;
use std::sync::Arc;

use base::Host;

pub use buffer::Buffer;
pub use operation::{Completion, IoFault, Op, Pending};

/// The unit of every offset and length that reaches a device, and its atomicity is *not* relied on.
pub const BLOCK_BYTES: usize = 4096;

/// Which of the open devices of one ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceIndex(pub u16);

/// What a device says of itself when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Usable size, a multiple of `BLOCK_BYTES`.
    pub capacity_bytes: u64,
    /// The device's own stable name (serial, WWID, or the path's inode for a file).
    pub stable_id: String,
    /// `false`: O_DIRECT is missing and writes go through the page cache with RWF_DSYNC.
    pub direct: bool,
}

/// The open devices of one thread.
pub trait Device {
    /// Starts `op` and returns at once. The number of operations in flight is bounded by the device: past the
    /// bound operations wait in order inside it.
    ///
    /// Stops the process on an unaligned or out-of-range operation: those are ours, not the device's.
    fn start(&self, device: DeviceIndex, op: Op) -> Pending;

    fn geometry(&self, device: DeviceIndex) -> Geometry;

    /// A reader for another thread, where blocking is allowed (the projection's page reads).
    fn blocking_reader(&self, device: DeviceIndex) -> Arc<dyn BlockingRead>;

    /// Operations started and not yet completed on `device`, those whose waiter is gone included. A leg may be
    /// re-attached only at zero (DESIGN.md B3: zombies).
    fn in_flight(&self, device: DeviceIndex) -> usize;

    /// A zeroed buffer of `bytes` for a pool that lives as long as the device: a ring registers such memory with the kernel once,
    /// while there is room for it.
    fn allocate(&self, bytes: usize) -> Buffer {
        Buffer::zeroed(bytes)
    }
}

/// Reads blocks on the calling thread.
pub trait BlockingRead: Send + Sync {
    /// Fills `into` from `at`. Both are multiples of `BLOCK_BYTES`; `into` need not be aligned in memory.
    fn read_at(&self, at: u64, into: &mut [u8]) -> Result<(), IoFault>;
}

/// The ground an engine stands on: its devices and its host.
#[derive(Clone)]
pub struct Io {
    pub device: Rc<dyn Device>,
    pub host: Rc<dyn Host>,
}
