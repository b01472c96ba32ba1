//! Bounds of what all tenants of one log share.

/// Tenants of one log.
pub const TENANTS_MAX: usize = 8;

/// Groups that replay reads ahead so that tenants load what they are about together: a visit to the index thread costs more than a row.
pub const REPLAY_GROUPS_AHEAD: usize = 512;
/// After so many replayed groups an opening looks whether the projection still takes what they changed.
pub const REPLAY_GROUPS_LOOK: u64 = 64;
/// Rows that one replayed group changes, about, when it is asked whether the projection takes the next few.
pub const REPLAY_ROWS_PER_GROUP: u64 = 5;

/// How often a volume with unwritten changes looks whether a checkpoint is due.
pub const UPKEEP_STEP_US: u64 = 20_000;
/// Wait after a failed checkpoint or reclaim before the next attempt.
pub const UPKEEP_RETRY_US: u64 = 1_000_000;
/// How often reclaim is given a chance while things change; it answers at once while most of the volume is free.
pub const RECLAIM_STEP_US: u64 = 2_000_000;
/// And while nothing changes: a look may walk the whole index.
pub const RECLAIM_STEP_US_MAX: u64 = 60_000_000;

/// A caller waits for at most so many checkpoints before it is asked to come again.
pub const CHECKPOINTS_AWAITED: usize = 3;
/// Rounds of checkpoint and reclaim that a deletion waits for when a full volume has no room even for it.
pub const ROOM_ROUNDS_AWAITED: usize = 16;
/// Rounds of it before a full volume is served again: one empties what earlier starts left, the next frees it. The third starts on what they freed.
pub const TIDY_ROUNDS: usize = 3;
/// Rounds that follow each other without a rest, while each frees or empties something. Past it the timers go on.
pub const ROOM_ROUNDS_MAX: usize = 256;

const _: () = assert!(UPKEEP_STEP_US < RECLAIM_STEP_US && RECLAIM_STEP_US < RECLAIM_STEP_US_MAX);
