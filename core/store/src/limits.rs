//! Every number of this crate, and why.

use base::units::{KIB, MIB};
use volume::{BATCH_BYTES_MAX, BATCH_HEADER_BYTES};

/// What one batch carries besides its header.
pub const BATCH_PAYLOAD_BYTES_MAX: usize = BATCH_BYTES_MAX - BATCH_HEADER_BYTES;

/// The largest body. Twice the largest message anybody sends through public mail today; a body is held in memory whole
/// while it is received and while it is read.
pub const BODY_BYTES_MAX: usize = 64 * MIB;

/// A body that does not fit a batch is stored in chunks of at most this: two with their frames fill a batch.
pub const CHUNK_BYTES: usize = 508 * KIB;
/// Chunks of one body. The largest body has 130; volumes with small segments have smaller batches and so smaller chunks.
pub const CHUNKS_MAX: usize = 4_096;
/// Chunks of a body that are read together (2 MiB): enough to keep both legs busy, little beside the body, and expanded in some
/// milliseconds.
pub const CHUNKS_PER_READ: usize = 4;

/// Records and summaries of one group, with their framing: what cannot be chunked and so must fit one batch. The rest of the
/// batch is left for chunk lists.
pub const GROUP_FIXED_BYTES_MAX: usize = 900 * KIB;
/// Bodies in one group: enough for one commit of a small import; each chunk list takes up to `CHUNK_LIST_BYTES_MAX`.
pub const GROUP_BODIES_MAX: usize = 1_024;
/// Records in one group. A reader holds all of them at once, some 2.5 MiB of descriptors.
pub const GROUP_RECORDS_MAX: usize = 65_536;

/// Below this a body is stored raw: zstd's frame and the work are not worth a few hundred bytes.
pub const COMPRESS_BYTES_MIN: usize = KIB;
/// Above this a body comes in raw even when it is alone: packing it would hold the owner thread for more than half a millisecond.
pub const COMPRESS_INLINE_BYTES_MAX: usize = 128 * KIB;
/// A lead, or what comes behind one, is packed apart from so many bytes on.
pub const LEAD_BYTES_MIN: usize = 512;
/// Compression must save at least one part in this many (5 %), else the raw bytes are kept: they cost nothing to read.
pub const COMPRESS_GAIN_PART: usize = 20;

/// Batches on their way to the legs: one being written while the next is. More only adds latency (DESIGN.md B1).
pub const BATCHES_IN_FLIGHT_MAX: usize = 2;
/// A group waits at most this long for company while another batch is being written.
pub const GATHER_US: u64 = 2_000;
/// With nothing on its way a group waits at most this long, and no longer than the last batch took, for as many others as that
/// batch held: senders that were answered together come back together. One that sends alone never waits.
pub const GATHER_BRIEF_US: u64 = 500;

/// Waiting groups past which `Store::room` holds callers back: thirty-two full batches, some 30 ms of a fast disk.
pub const QUEUE_BYTES_SOFT: usize = 32 * MIB;
/// Waiting groups, however small: each takes a few hundred bytes of memory and a place in a commit.
pub const QUEUE_GROUPS_SOFT: usize = 8_192;
/// Past this `append` answers `Deferred` at once: callers that do not ask for `room` first must not exhaust memory. One
/// largest body always fits beside the soft bound.
pub const QUEUE_BYTES_HARD: usize = 128 * MIB;
/// Four times the soft bound, so that callers which asked for `room` in time still fit.
pub const QUEUE_GROUPS_HARD: usize = 32_768;

// The reserve, from the bottom up, in free segments (DESIGN.md A9). At the bottom is what the volume keeps: for openings, a checkpoint's own
// records and the arena (`volume::limits::KEPT_FROM_RECLAIM`). Each line adds what the one below it must find free.
/// Segments by which the arena may grow while a full volume is emptied. A commit of redb writes beside the pages that it
/// replaces; those of the commit before are not free yet either. Each commit then takes at most half of this (`rows_at_once`).
pub const RESERVE_ARENA_SEGMENTS: usize = 2;
/// Segments that one pass of reclaim may fill before it has freed any.
pub const RESERVE_RECLAIM_SEGMENTS: usize = 1;
/// Segments for what deletes mail: expunges, \Deleted flags, removed mailboxes. When they are used up, deletions wait for reclaim.
pub const RESERVE_DELETES_SEGMENTS: usize = 1;
/// Segments for records without bodies (flags, folders, copies), so that a volume which refuses mail can still be read and sorted.
pub const RESERVE_RECORDS_SEGMENTS: usize = 1;

/// Free segments that reclaim's copies leave.
pub const KEPT_FROM_RECLAIM: usize = volume::limits::KEPT_FROM_RECLAIM + RESERVE_ARENA_SEGMENTS;
/// Free segments that deletions leave.
pub const KEPT_FROM_DELETES: usize = KEPT_FROM_RECLAIM + RESERVE_RECLAIM_SEGMENTS;
/// Free segments that other records without bodies leave.
pub const KEPT_FROM_RECORDS: usize = KEPT_FROM_DELETES + RESERVE_DELETES_SEGMENTS;
/// Free segments that new bodies leave, at least. Large volumes keep one part in `RESERVE_BODIES_PART`; both keep in addition what the next
/// checkpoint will take for what was accepted (`PAGES_PER_ROW`).
pub const KEPT_FROM_BODIES: usize = KEPT_FROM_RECORDS + RESERVE_RECORDS_SEGMENTS;
/// One part in ten of a volume stays free of new bodies: reclaim needs segments to copy into, and works better the
/// emptier they are.
pub const RESERVE_BODIES_PART: usize = 10;
/// Part of the projection's pages that is kept free beside `KEPT_FROM_BODIES`: reclaim may have to write every row once more, as
/// snapshots in the log, before it can free the first segment. Half of the pages hold rows; the rest is redb's own and free.
pub const RESERVE_SNAPSHOTS_PART: u64 = 2;

/// Segments that a new volume must have beside the projection's first ones (`ARENA_PAGES_MIN`) and what is kept for snapshots of those: the reserve,
/// the open one, and two for mail. A volume that an older release made smaller still opens, and can be read and emptied.
pub const SEGMENTS_MIN: usize = KEPT_FROM_BODIES + 1 + 2;

/// Pages that one changed row adds to a commit of redb, at most: a leaf (two pages where the row is larger than one), its neighbour after
/// a split, and a branch above it. Neighbouring rows share most of them.
pub const PAGES_PER_ROW: u64 = 4;
/// Pages that a commit adds whatever it changes: roots, the list of freed pages, the state of the allocator.
pub const PAGES_PER_COMMIT: u64 = 64;
/// Rows that one group may change on the smallest volumes.
pub const ROWS_AT_ONCE_MIN: u64 = 16;

/// The unit of the projection's storage.
pub const PAGE_BYTES: usize = 4 * KIB;
/// Room for the projection taken when a volume is opened first: an empty redb already uses a page just past its first MiB, and a
/// volume that fills up before its first checkpoint must still take it.
pub const ARENA_PAGES_MIN: u64 = 512;
/// Pages handed to the volume in one write: bounds the buffers it needs.
pub const CHECKPOINT_PAGES_PER_WRITE: usize = 1_024;
/// Page checks in one table run (512 KiB, the projection's next 256 MiB).
pub const TABLE_RUN_PAGES: usize = 65_536 - 1_024;
/// The projection's size: 16 GiB, past which redb's own commit cost grows (DESIGN.md A6); a 32 MiB table in memory.
pub const PROJECTION_PAGES_MAX: usize = 4 * 1_024 * 1_024;
/// A page delta larger than this is logged as a whole table instead.
pub const DELTA_BYTES_MAX: usize = 256 * KIB;
/// What one page takes in a delta at most.
pub const DELTA_ENTRY_BYTES: usize = 4 + 8;
/// Page deltas between two whole tables: as many small reads at open.
pub const DELTAS_MAX: u32 = 64;
/// A table is not repeated for less than this, however small it is.
pub const TABLE_REPEAT_BYTES_MIN: usize = 64 * KIB;

/// Pages read together while the log is replayed (128 KiB, the block layer's usual read-ahead): a device takes hardly longer for them than for one.
pub const READ_AHEAD_PAGES: u64 = 32;
/// Pages kept of them until replay asks (16 MiB).
pub const READ_AHEAD_PAGES_KEPT_MAX: usize = 4_096;

/// Rows of one `range` answer: bounds what crosses from the index thread.
pub const RANGE_ROWS_MAX: usize = 65_536;
/// Bytes of one key in a table of the projection.
pub const KEY_BYTES_MAX: usize = 4 * KIB;
/// Bytes of one row. A row is read and written whole, so tenants split what can grow past this.
pub const VALUE_BYTES_MAX: usize = 4 * MIB;

/// Segments whose live bodies reclaim asks for in one pass: bounds the answer (16 × 64 MiB at 1 KiB a body is a million references).
pub const RECLAIM_SEGMENTS_ASKED_MAX: usize = 16;
/// Segments emptied in one pass: bounds how long it runs and what waits for the next checkpoint.
pub const RECLAIM_VICTIMS_MAX: usize = 4;
/// Emptied segments that a checkpoint's note names: eight passes between two checkpoints. A kilobyte's third of the note at most.
pub const EMPTIED_NOTED_MAX: usize = 32;
/// Damaged stretches that a note names after a rebuild past them. Of more the first ones are named: when those can be read again the
/// rebuild that follows looks at all.
pub const DAMAGE_NOTED_MAX: usize = 16;
/// Bytes read and appended together while copying: small beside foreground batches.
pub const RECLAIM_COPY_BYTES: usize = 512 * KIB;
/// Bodies copied together, for small ones: as many references wait for their new places.
pub const RECLAIM_COPY_BODIES: usize = 512;
/// Copied bodies that are reported to the layer above at once: each report costs it a look at every mailbox concerned. 3 MiB of references.
pub const RECLAIM_MOVED_MAX: usize = 16_384;
/// With more than this part of all segments free (a half) reclaim empties nothing.
pub const RECLAIM_IDLE_PART: usize = 2;
/// Before pressure begins a segment is emptied only if so many percent of it come back: for each byte gained one is written.
pub const RECLAIM_GAIN_PERCENT_EASY: u64 = 50;
/// Under pressure (less than `RECLAIM_PRESSURE_PART` of the segments free): for each byte gained at most seven are written.
pub const RECLAIM_GAIN_PERCENT_PRESSED: u64 = 13;
/// Reclaim is under pressure while less than one part in four of the segments is free.
pub const RECLAIM_PRESSURE_PART: usize = 4;
/// Under pressure reclaim may also write what does not pay: this part of the volume since open, and as much as the layer above appended and
/// let die. A snapshot pays late, when the older segments come to be emptied.
pub const RECLAIM_CREDIT_PART: u64 = 8;
/// A segment is asked about again when so large a part of it died, or, where room is scarce, so much changed elsewhere.
pub const RECLAIM_LOOK_AGAIN_PART: u64 = 8;
/// Elsewhere means otherwise: one segment for so many of the volume, so that a volume's worth of changes asks about each this many times.
pub const RECLAIM_LOOK_AGAIN_SEGMENTS: u64 = 64;
/// Segments whose records are read in one pass, to find out what must be written for them.
pub const RECLAIM_SEGMENTS_READ_MAX: usize = 8;
/// Records held meanwhile; one segment's more at most.
pub const RECLAIM_RECORDS_HELD_BYTES: usize = 32 * MIB;
/// Dead large bodies whose chunks wait to be looked up; past it their segments are found when they are asked about again.
pub const RECLAIM_DEAD_LISTS_MAX: usize = 1_024;

/// The sizes that depend on the batches of one volume: those with small segments (tests, trials) have smaller batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// What a batch of this volume carries besides its header.
    pub payload_bytes_max: usize,
    /// The largest chunk: two with their frames fit a batch.
    pub chunk_bytes: usize,
    /// What cannot be chunked of a group.
    pub group_fixed_bytes_max: usize,
    /// Page checks in one table run.
    pub table_run_pages: usize,
    /// The largest page delta; a larger one is logged as a table.
    pub delta_bytes_max: usize,
}
impl Sizes {
    /// The sizes for batches with `payload_bytes_max` bytes of payload. Those of the largest batches are the constants
    /// above.
    pub fn of_payload(payload_bytes_max: usize) -> Sizes {
        let chunk_bytes = CHUNK_BYTES.min(payload_bytes_max / 2 - 128) & !7;
        Sizes {
            payload_bytes_max,
            chunk_bytes,
            group_fixed_bytes_max: GROUP_FIXED_BYTES_MAX.min(payload_bytes_max / 8 * 7),
            table_run_pages: TABLE_RUN_PAGES.min(chunk_bytes / 8),
            delta_bytes_max: DELTA_BYTES_MAX.min(chunk_bytes - PAGE_BYTES),
        }
    }
}

const _: () = assert!(BATCHES_IN_FLIGHT_MAX <= volume::limits::BATCHES_IN_FLIGHT_MAX);
const _: () = assert!(QUEUE_GROUPS_SOFT < QUEUE_GROUPS_HARD && QUEUE_BYTES_SOFT < QUEUE_BYTES_HARD);
// What one row may be fits a commit, and a delta fits a batch.
const _: () = assert!(DELTA_BYTES_MAX + PAGE_BYTES <= CHUNK_BYTES);
const _: () = assert!(KEY_BYTES_MAX < VALUE_BYTES_MAX && VALUE_BYTES_MAX < BODY_BYTES_MAX);
// Each line of the reserve leaves more than the one below it.
const _: () =
    assert!(KEPT_FROM_RECLAIM < KEPT_FROM_DELETES && KEPT_FROM_DELETES < KEPT_FROM_RECORDS);
const _: () = assert!(KEPT_FROM_RECORDS < KEPT_FROM_BODIES && KEPT_FROM_BODIES < SEGMENTS_MIN);
const _: () = assert!(
    KEPT_FROM_RECLAIM > volume::limits::KEPT_FROM_CHECKPOINT,
    "the checkpoint has the last word"
);
// What a pass empties before the next checkpoint is what that checkpoint can name.
const _: () = assert!(
    RECLAIM_VICTIMS_MAX <= EMPTIED_NOTED_MAX && RECLAIM_VICTIMS_MAX <= RECLAIM_SEGMENTS_ASKED_MAX
);
const _: () = assert!(
    3 + ADDRESS_BYTES + 2 * 5 + EMPTIED_NOTED_MAX * (5 + 4) + DAMAGE_NOTED_MAX * 10
        <= volume::limits::NOTE_BYTES_MAX
);
/// A `RecordAddress` in a note.
const ADDRESS_BYTES: usize = 5 * 4 + 8;
const _: () = assert!(CHUNKS_MAX >= BODY_BYTES_MAX.div_ceil(CHUNK_BYTES));
const _: () = assert!(2 * (CHUNK_BYTES + 128) <= BATCH_PAYLOAD_BYTES_MAX);
const _: () = assert!(GROUP_FIXED_BYTES_MAX < BATCH_PAYLOAD_BYTES_MAX);
const _: () = assert!(QUEUE_BYTES_SOFT + BODY_BYTES_MAX <= QUEUE_BYTES_HARD);
const _: () = assert!(RECLAIM_COPY_BODIES <= GROUP_BODIES_MAX);
const _: () = assert!(TABLE_RUN_PAGES * 8 <= CHUNK_BYTES);
const _: () = assert!(KEPT_FROM_RECORDS >= volume::limits::RESERVE_SEGMENTS_MIN);
const _: () = assert!(RESERVE_BODIES_PART < volume::limits::RESERVE_SHARE);
const _: () = assert!(
    KEPT_FROM_BODIES
        == volume::limits::KEPT_FROM_RECLAIM
            + RESERVE_ARENA_SEGMENTS
            + RESERVE_RECLAIM_SEGMENTS
            + RESERVE_DELETES_SEGMENTS
            + RESERVE_RECORDS_SEGMENTS
);
