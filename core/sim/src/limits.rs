//! Bounds of one simulated story, each with its reason.

use std::time::Duration;

/// Outcomes tried for one power cut with more writes in flight than can be tried in every combination.
pub const OUTCOMES_MAX: usize = 64;

/// Writes in flight up to which every combination of whole, torn and missing is tried.
pub const TORN_WRITES_MAX: usize = 3;

/// Writes in flight up to which every subset is tried (whole or missing).
pub const SUBSET_WRITES_MAX: usize = 6;

/// Outcomes tried for each cut of the mailboxes' day: opening a store costs a hundred times what opening a bare volume does, and the
/// volume's own scripts try the rest.
pub const MAILBOX_OUTCOMES_MAX: usize = 12;

/// Of the outcomes of a cut one in so many is also opened from each leg by itself: each costs as much as the outcome.
pub const ALONE_SHARE: usize = 6;

/// Virtual time a volume may take to get all legs in sync once faults have stopped. Its longest waits are retries of seconds.
pub const HEAL_US_MAX: u64 = 600_000_000;

/// Seeds in which a planted fault has to be found: a tenth and more of what the ordinary test run has.
pub const PLANTED_SEEDS: u64 = 300;

/// Operations of each client that is to fill a small volume; it ends earlier when it is refused.
pub const FILLING_OPERATIONS: usize = 400;

/// Checkpoints and reclaim passes after which an emptied volume has to have room: each empties four segments, and frees them one later.
pub const EMPTYING_PASSES_MAX: usize = 40;

/// Reclaim passes that run before the power goes, less one: a few empty what was thinned out, the rest would free it too early.
pub const THINNING_PASSES_MAX: u8 = 9;

/// A leg that comes back shorter keeps at least this much: the frame's head and one segment.
pub const LEG_BYTES_MIN: u64 = 512 << 10;

/// Openings in a row that must cost no segment. An even number: the last one is not closed, so that it can give back the rest.
pub const CYCLES: usize = 6;

/// The largest message that the lintel's servers take: past what one batch holds and what is read with its neighbours.
pub const LINTEL_MESSAGE_BYTES_MAX: u64 = 256 << 10;

/// Memory for bodies in the lintel's story: so little that shares are spent now and then.
pub const LINTEL_READING_BYTES: usize = 64 << 20;
pub const LINTEL_SENDING_BYTES: usize = 3 << 20;

/// Virtual time in which a server must answer a client that listens, and end a session whose client is gone. Its own longest waits are 30 s for
/// memory and some 20 s while every leg refuses writes.
pub const LINTEL_PATIENCE: Duration = Duration::from_secs(300);

/// Virtual time in which a client that says nothing must have been left: longer than the 31 minutes that IMAP allows.
pub const LINTEL_SILENCE: Duration = Duration::from_secs(40 * 60);

/// One seed in so many has a story of the lintel: all of them together cost a sixth of what the other stories do.
pub const LINTEL_SHARE: u64 = 4;

/// One seed in so many has a story of mail that leaves. One costs half of what the other stories of a seed do: in sum a twenty-fifth.
pub const OUTBOUND_SHARE: u64 = 12;

/// Virtual time in which the queue must be empty once everything is well: the longest wait between two tries is 4 hours and a tenth, and a try
/// that hangs ends within one.
pub const OUTBOUND_DRAIN: Duration = Duration::from_secs(6 * 3_600);

/// Virtual time in which a server that is well gets what was accepted for it, whatever others do: names, a connection and a commit are seconds.
pub const OUTBOUND_SWIFT: Duration = Duration::from_secs(60);

const _: () = assert!(CYCLES.is_multiple_of(2));
const _: () = assert!(5_usize.pow(TORN_WRITES_MAX as u32) >= OUTCOMES_MAX);
const _: () = assert!(1 << SUBSET_WRITES_MAX <= OUTCOMES_MAX);
