//! Bounds of the queue.

/// Messages that wait at a time. All of them are in memory: some 500 bytes each, and 250 for each recipient. Past it new mail is refused for a while.
pub const ENTRIES_MAX: usize = 100_000;
/// Recipients of all messages together: their texts are most of the queue's memory.
pub const ADDRESSEES_MAX: usize = 300_000;
/// Past both bounds reports to senders are still taken, up to this many: what they stand for was accepted.
pub const REPORTS_MAX: usize = 10_000;
/// Recipients of one message.
pub const RECIPIENTS_MAX: usize = 1_000;
/// A mailbox of the envelope (RFC 5321 §4.5.3.1.3: a path has 256 octets).
pub const PATH_BYTES_MAX: usize = 320;
/// The address that a sender had written first (RFC 3461 §4.2: 500 characters).
pub const ORIGINAL_BYTES_MAX: usize = 500;
/// The sender's name for a message (RFC 3461 §4.4: 100 characters, twice written).
pub const ENVELOPE_ID_BYTES_MAX: usize = 200;
/// All texts of one envelope: its record has to fit one batch of the log.
pub const ENVELOPE_BYTES_MAX: usize = 256 * 1_024;
/// What is kept of a server's answer.
pub const REPLY_BYTES_MAX: usize = 400;
/// What is kept of its name.
pub const HOST_BYTES_MAX: usize = 128;

/// A next try further ahead than this, in seconds, was noted by a clock that has been set back since: the message is due. The longest wait that a
/// sender notes is 4.4 hours.
pub const AHEAD_MAX_S: u64 = 5 * 3_600;

/// Bodies re-pointed by one group.
pub const RELOCATIONS_AT_ONCE: usize = 1_024;
/// Ids of deliveries that one group of reclaim writes again; each with 1,000 numbers at most, of 5 bytes.
pub const ARRIVED_AT_ONCE: usize = 64;
/// Messages taken out by one group.
pub const REMOVED_AT_ONCE: usize = 64;
/// Messages of a spool kept or released by one group.
pub const KEPT_AT_ONCE: usize = 32;
/// Numbers that one record about removed messages omits.
pub const KEPT_IN_RECORD_MAX: usize = 16_384;
/// Messages that may wait for a checkpoint before changes wait for it instead.
pub const DIRTY_MAX: usize = 16_384;
/// Rows fetched by one read of the projection.
pub const ROWS_PER_READ: usize = 512;
/// Sites looked at by one `due`: the next call goes on behind them.
pub const SITES_PER_LOOK: usize = 4_096;

/// Rows that a change of one message writes: its own, the counter.
pub const ENTRY_ROWS: u64 = 2;

/// What a recipient takes in a record beside its texts.
const ADDRESSEE_BYTES: usize = 48;
const _: () = assert!(
    ENVELOPE_BYTES_MAX + RECIPIENTS_MAX * (REPLY_BYTES_MAX + HOST_BYTES_MAX + ADDRESSEE_BYTES)
        <= store::limits::GROUP_FIXED_BYTES_MAX
);
