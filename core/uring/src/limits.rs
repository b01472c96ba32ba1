//! Numbers of the ring, each with its reason.

use base::units::MIB;

/// Submission queue entries: four times what one enter takes, so that a turn never waits for the queue.
pub const SQ_ENTRIES: u32 = 256;

/// Entries handed over by one `io_uring_enter`: 512 at once blocked some 5 ms inside the call (axboe/liburing #1301).
pub const SUBMIT_PER_ENTER_MAX: usize = 64;

/// Operations the kernel holds at a time, all devices together. The rest wait in order inside the ring. Twice this fits the
/// completion queue, so it cannot overflow.
pub const IN_KERNEL_MAX: usize = 256;

/// Completion queue entries.
pub const CQ_ENTRIES: u32 = 512;

/// Enter-and-reap rounds of one turn: past this the runtime's other tasks get their share first.
pub const ROUNDS_PER_TURN_MAX: usize = 16;

/// Devices open at a time: legs of a few volumes, and slots of those that left and came back.
pub const DEVICES_MAX: usize = 64;

/// Registered buffers: the batch buffers of a few volumes. Each costs the kernel a table of its pages.
pub const REGISTERED_BUFFERS_MAX: usize = 128;

/// Smaller buffers are not worth a slot: registering saves pinning pages, which is little for a few of them.
pub const REGISTERED_BUFFER_BYTES_MIN: usize = 64 * 1024;

/// All registered buffers together.
pub const REGISTERED_BYTES_MAX: usize = 256 * MIB;

/// Times one operation is tried again after EINTR, EAGAIN or a short transfer. A whole 1 MiB transfer moved block by block
/// is 256 steps; more is a device that does not get on.
pub const RETRIES_MAX: u32 = 512;

/// How long an exclusive open is tried: io_uring keeps a dead process's descriptors, and with them its lock, a moment longer.
pub const OPEN_RETRY_MS: u64 = 3_000;

/// Pause between two tries of an exclusive open.
pub const OPEN_RETRY_PAUSE_MS: u64 = 50;

/// How often a file behind a leg is looked at while writes go on: a file cut short or removed takes writes without complaint.
pub const FILE_CHECK_MS: u64 = 100;

/// Unit in which a new file leg is written through.
pub const CREATE_WRITE_BYTES: usize = MIB;

/// Bounce buffer of a blocking reader: the projection reads single pages; a longer read takes a few calls.
pub const BLOCKING_READ_BYTES: usize = 64 * 1024;

/// How long a dropped ring waits for the kernel to give its buffers back before it leaks them.
pub const DROP_WAIT_MS: u64 = 2_000;

/// Entries of the table of ready tasks polled before the ring is looked at again (`local`).
pub const POLLS_PER_TURN_MAX: usize = 256;

const _: () = assert!(CQ_ENTRIES as usize >= 2 * IN_KERNEL_MAX);
const _: () = assert!(SQ_ENTRIES as usize >= SUBMIT_PER_ENTER_MAX);
const _: () = assert!(REGISTERED_BUFFERS_MAX <= u16::MAX as usize);
