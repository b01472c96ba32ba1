//! Bounds of the spool.

use volume::Room;

/// Reclaim moves a body once in a pass; passes take long.
pub const STALE_READS_MAX: usize = 3;
/// Copies given up, or made to wait again, in one step.
pub const GIVEN_UP_AT_ONCE: usize = 32;
/// A message that finds the volume full is tried again so often, each time after half of the copies were given up and reclaim had a round.
pub const ROOM_TRIES: usize = 6;

/// Bytes of messages that fit a volume of this size, about: without what the engine keeps free for reclaim, checkpoints and records. The engine itself says
/// when it is full; this bounds what copies may take, so that reclaim always finds something to give back.
pub fn usable_bytes(room: &Room) -> u64 {
    let kept =
        store::limits::KEPT_FROM_BODIES.max(room.segments / store::limits::RESERVE_BODIES_PART);
    let arena = room.arena_pages.div_ceil(room.segment_pages.max(1)) as usize;
    let segments = room.segments.saturating_sub(kept + arena + 1).max(1);
    segments as u64 * room.segment_pages * store::limits::PAGE_BYTES as u64
}
