//! Every number of this crate, with its reason.

/// Legs of one volume, absent and retired ones included. Two are usual, three a setting; the rest is room for a
/// bridge, a rebuild target and members that wait to be retired. The member table of a superblock holds this many.
pub const LEGS_MAX: usize = 8;

/// The store's note in a checkpoint. Half of a superblock slot, so that the rest always fits beside it.
pub const NOTE_BYTES_MAX: usize = 2048 - 256;

/// Segments claimed ahead of the one being filled. Four keep the pipeline moving when each batch fills a segment of
/// its own (small test volumes) and cost recovery four probes.
pub const CLAIMS_AHEAD: usize = 4;

/// Claims a superblock can list: those made since the last segment table. Opening adds two; 40 allows for twenty
/// crashes in a row inside `open`.
pub const SUPERBLOCK_CLAIMS_MAX: usize = 40;

/// Segments that only the volume's own records, reclaim and re-appended batches may use: a full volume can still be
/// emptied. At least this many, and at least one in `RESERVE_SHARE`.
pub const RESERVE_SEGMENTS_MIN: usize = 5;
/// One segment in twenty: five percent of a volume is set aside for emptying it.
pub const RESERVE_SHARE: usize = 20;

// Spare segments that each purpose leaves, from the bottom up: FORMAT.md, "Room", says why these are enough for any number of power cuts.
/// Segments that only openings may take. An opening takes one, and gives back the one that the opening before it took once its
/// own table is recorded; one that is interrupted has taken nothing.
pub const KEPT_FOR_OPENING: usize = 1;
/// Segments that a store's first checkpoint leaves, because what it fills stays taken; the next one gives that back in turn. Reclaim leaves
/// as many where it writes in an opening's own segment: until a checkpoint stands for what it wrote that costs nothing, and then it gained one.
pub const KEPT_FROM_CHECKPOINT: usize = KEPT_FOR_OPENING + 1;
/// Segments that the arena's growth leaves. One fewer than reclaim leaves: without a checkpoint no segment becomes free.
pub const KEPT_FROM_ARENA: usize = KEPT_FROM_CHECKPOINT;
/// Segments that reclaim and expunge leave when they begin another one: what they fill does not come back with the next opening.
pub const KEPT_FROM_RECLAIM: usize = KEPT_FROM_ARENA + 1;
/// Segments that a deletion leaves: after a power cut the one it wrote in stays taken until reclaim has brought it together with others,
/// and reclaim finds what it leaves itself.
pub const KEPT_FROM_DELETES: usize = KEPT_FROM_RECLAIM + 1;

/// Of the open segment, the part that only the volume's own records may use once no segment is left to reclaim: segment tables
/// and the records that free segments, a few blocks each.
pub const OPEN_KEPT_SHARE: u32 = 4;

/// SKIP records in one batch: 36 bytes each, with room left for the claims that any batch may carry.
pub const SKIPS_PER_BATCH: usize = 64;

/// Segments of one volume: what `TABLE_PARTS_MAX` batches can list (9 TiB at 64 MiB).
pub const SEGMENTS_MAX: usize = 147_456;
/// Batches that one segment table may take.
pub const TABLE_PARTS_MAX: usize = 16;

/// After the last valid batch of a segment recovery looks this far for another one. More than the pipeline can have
/// in flight (`BATCHES_IN_FLIGHT_MAX` at the usual 256 KiB), and so more than a torn tail can span.
pub const SEARCH_WINDOW_BYTES: u64 = 16 << 20;

/// Batches written and not yet durable. Deeper pipelines gain nothing on NVMe and lengthen the torn tail.
pub const BATCHES_IN_FLIGHT_MAX: usize = 16;

/// Sequential reads: size and how many run at once. 8 MiB in flight saturates NVMe and SAN alike.
pub const STREAM_READ_BYTES: usize = 1 << 20;
/// See `STREAM_READ_BYTES`: eight reads of a MiB each.
pub const STREAM_READS_MAX: usize = 8;

/// `read_many`: neighbours closer than this are fetched together (a seek costs more than these bytes).
pub const READ_GAP_BYTES: u64 = 16 << 10;
/// One coalesced device read, and how many of them run at once for one caller.
pub const READ_BYTES_MAX: usize = 1 << 20;
/// Sixteen reads keep a device busy and hold 16 MiB of buffers.
pub const READS_AT_ONCE_MAX: usize = 16;
/// Buffers kept for reads between calls, in bytes.
pub const READ_CACHE_BYTES_MAX: usize = 16 << 20;

/// Buffers that a stuck leg may hold while the pool makes replacements (DESIGN.md B3: the zombie list's cap).
pub const ZOMBIE_BUFFERS_MAX: usize = 16;

/// Segments a leg may spoil by write errors within `SPOILED_WINDOW_US` before it is ejected (DESIGN.md B3).
pub const SPOILED_SEGMENTS_MAX: usize = 3;
/// Ten minutes: segments that refuse writes now and then over months are worn places, not a failing leg.
pub const SPOILED_WINDOW_US: u64 = 600_000_000;
/// Repairs within an hour before a leg is ejected (DESIGN.md B3).
pub const REPAIRS_MAX: usize = 64;
/// One hour. DESIGN.md B3 gives the number.
pub const REPAIRS_WINDOW_US: u64 = 3_600_000_000;

/// How long to wait before the witness is asked again.
pub const WITNESS_RETRY_US: u64 = 1_000_000;

/// When every leg refuses writes they are tried again after this long, then at intervals that double up to the second: room in
/// a pool, or an array that restarts, is noticed within a minute, and a dead one is not hammered.
pub const OUTAGE_RETRY_US_MIN: u64 = 1_000_000;
/// The longest interval: a minute after an array has returned, mail is taken again.
pub const OUTAGE_RETRY_US_MAX: u64 = 60_000_000;
/// Tries in a row in which one leg takes writes again and another still refuses before that one leaves: two devices behind one
/// switch do not come back in the same second.
pub const OUTAGE_TRIES_ALONE: u32 = 3;
/// Places that one batch is given while every leg answers EIO: a few bad places are believed, more is not the places' fault.
pub const OUTAGE_MOVES_MAX: u32 = 4;

/// Sparse marks (LSN → place) kept for finding where a walk begins: one per this many bytes.
pub const MARK_BYTES: u64 = 1 << 20;
/// Marks kept; past it every second one is dropped.
pub const MARKS_MAX: usize = 4096;

/// Arena pages that a stale leg missed, by number. Past this its arenas are copied whole.
pub const ARENA_MISSED_MAX: usize = 65_536;
/// Page repairs the index thread may ask for before the owner thread has done them; further ones are asked again at
/// the next read.
pub const ARENA_REPAIRS_MAX: usize = 1024;

/// Damaged batches listed by name. The log is worth nothing past this many.
pub const DAMAGE_MAX: usize = 4096;

// Each purpose leaves more than the one below it, and a small volume has room for all of them.
const _: () = assert!(RESERVE_SEGMENTS_MIN > KEPT_FROM_DELETES);
const _: () =
    assert!(KEPT_FROM_CHECKPOINT > KEPT_FOR_OPENING && KEPT_FROM_RECLAIM > KEPT_FROM_CHECKPOINT);
// An opening is not the last that a superblock can list.
const _: () = assert!(SUPERBLOCK_CLAIMS_MAX >= 10 * CLAIMS_OF_OPENING);
// Claims keep the pipeline moving, and recovery looks further than a torn tail can reach.
const _: () = assert!(CLAIMS_AHEAD > CLAIMS_OF_OPENING);
const _: () =
    assert!(SEARCH_WINDOW_BYTES as usize >= BATCHES_IN_FLIGHT_MAX * crate::BATCH_BYTES_MAX);
const _: () = assert!(
    READ_BYTES_MAX >= crate::BATCH_BYTES_MAX && STREAM_READ_BYTES >= crate::BATCH_BYTES_MAX
);
// One batch of each in flight, and one that a stuck leg holds.
const _: () = assert!(ZOMBIE_BUFFERS_MAX >= BATCHES_IN_FLIGHT_MAX);
// Intervals grow, and the witness is asked again at least as often as legs are in a long outage.
const _: () =
    assert!(OUTAGE_RETRY_US_MIN < OUTAGE_RETRY_US_MAX && WITNESS_RETRY_US <= OUTAGE_RETRY_US_MAX);
// Otherwise the repairs of an opening would eject a leg that the opening has just admitted.
const _: () = assert!(
    LACKING_AT_OPEN_MAX <= REPAIRS_MAX,
    "what an opening repairs ejects no leg"
);
// Otherwise a leg that lacks every head that an opening looks at would pass for a rotten one.
const _: () = assert!(HEADS_LACKING_MAX < HEADS_AT_OPEN);
// A superblock counts each of them in one byte.
const _: () = assert!(LEGS_MAX <= u8::MAX as usize);
const _: () = assert!(SUPERBLOCK_CLAIMS_MAX <= u8::MAX as usize);
const _: () = assert!(TABLE_PARTS_MAX <= u8::MAX as usize);
// Reads are of whole blocks.
const _: () = assert!(STREAM_READ_BYTES.is_multiple_of(4096));

/// A resync writes its cursor into the superblocks after this many segments: at most so much is copied twice.
pub const CURSOR_SEGMENTS: usize = 16;

/// Numbers that superblocks may leave out: after a crash the next is above any that a single copy shows.
pub const SUPERBLOCKS_SKIPPED_MAX: u64 = 3;
/// Segments, the newest, that an opening reads again to prove what a leg holds that is behind. For what lies before them a
/// later batch on that leg must stand; without one it is left to a resync.
pub const PROVED_AT_OPEN_MAX: usize = 8;
/// Acknowledged batches that a leg may lack at an opening and be repaired at once, as rot. With more it went back in time.
pub const LACKING_AT_OPEN_MAX: usize = 16;
/// Sealed segments, the newest, whose first block an opening looks at on every leg: one moment each. The rest is looked at
/// behind the opening.
pub const HEADS_AT_OPEN: usize = 32;
/// Sealed segments of which a leg may lack the first batch and pass for rotten. With more, writes got lost.
pub const HEADS_LACKING_MAX: usize = 1;
/// What the look at the rest waits between two segments.
pub const HEADS_PAUSE_US: u64 = 2_000;
/// How long nothing must have been acknowledged before the position is noted beside the witness.
pub const QUIET_US: u64 = 1_000_000;

/// What a scrub waits between two segments, so that foreground work always finds a gap.
pub const SCRUB_PAUSE_US: u64 = 500;

/// How often the cursor of a scrub goes into the superblocks: at most so much is read twice after a restart.
pub const SCRUB_RECORD_US: u64 = 600_000_000;

/// How often a scrub looks again for superblock copies when a new superblock is written under its eyes. Written that often
/// they renew themselves; the next scrub looks anyway.
pub const SUPERBLOCK_LOOKS_MAX: usize = 4;

/// Segments that an opening claims for itself, if there are so many.
pub const CLAIMS_OF_OPENING: usize = 2;

/// Segments with only the volume's own batches that one checkpoint gives back: it must stay brief.
pub const OWN_FREED_AT_ONCE_MAX: usize = 4;

/// How long salvage waits for one read of a leg that may be dying.
pub const ORPHAN_DEADLINE_US: u64 = 30_000_000;
/// How far salvage searches for batches on a leg whose superblocks are all lost, before it gives up.
pub const ORPHAN_SEARCH_BYTES_MAX: u64 = 8 << 30;
