//! Bounds of the queue.

/// Messages that wait at a time. All of them are in memory: some 400 bytes each, and 100 for each recipient. Past it new mail is refused for a while.
pub const ENTRIES_MAX: usize = 100_000;
/// Recipients of one message.
pub const RECIPIENTS_MAX: usize = 1_000;
/// A mailbox of the envelope (RFC 5321 §4.5.3.1.3: a path has 256 octets).
pub const PATH_BYTES_MAX: usize = 320;
/// What is kept of a server's answer.
pub const REPLY_BYTES_MAX: usize = 512;

/// Bodies re-pointed by one group.
pub const RELOCATIONS_AT_ONCE: usize = 1_024;
/// Numbers that one record about removed messages omits.
pub const KEPT_IN_RECORD_MAX: usize = 16_384;
/// Messages that may wait for a checkpoint before changes wait for it instead.
pub const DIRTY_MAX: usize = 16_384;
/// Rows fetched by one read of the projection.
pub const ROWS_PER_READ: usize = 512;

/// Rows that a change of one message writes: its own, the counter.
pub const ENTRY_ROWS: u64 = 2;
