//! Bounds of what is counted for reports.

/// Kinds of sheets. What each is for is the lintel's to say.
pub const SUBJECTS_MAX: u8 = 8;
/// Subjects that are in use. Each has the same share of all bounds, so that one that strangers fill takes nothing from the others.
pub const SHARES: usize = 4;
/// Sheets of one subject, of all days together.
pub const SHEETS_MAX: usize = 2_500;
/// Sheets of one subject and day: a domain more than these is not counted on that day.
pub const SHEETS_PER_DAY_MAX: usize = 500;
/// Different lines of one sheet; what would be another one is counted as `other`.
pub const LINES_PER_SHEET_MAX: usize = 600;
/// A line: an address, some domains and results.
pub const LINE_BYTES_MAX: usize = 700;
/// What a sheet says once: a policy, and where reports go.
pub const HEAD_BYTES_MAX: usize = 2_048;
/// A domain's name (RFC 1035 §2.3.4).
pub const NAME_BYTES_MAX: usize = 255;

/// A line in memory beside its own bytes: its count, its place in the map.
pub(crate) const LINE_COST_BYTES: usize = 80;
/// A sheet in memory beside its name, head and lines.
pub(crate) const SHEET_COST_BYTES: usize = 240;
/// One sheet, counted like that. It is one record and one row.
pub const SHEET_BYTES_MAX: usize = 64 << 10;
/// All sheets of one subject, counted like that.
pub const CONTENT_BYTES_MAX: usize = 1 << 20;
/// All sheets in memory, and all of them as rows of one checkpoint: reclaim may touch every one before it.
pub const BYTES_MAX: usize = 2 * SHARES * CONTENT_BYTES_MAX;

/// Additions of one group.
pub const ADDITIONS_PER_GROUP_MAX: usize = 8;
/// Sheets that may wait for a checkpoint. From half of it on a checkpoint is due; past it counts wait in memory, and nothing else does.
pub const DIRTY_MAX: usize = 64;
/// Rows of usual size that one sheet stands for when a checkpoint's room is worked out.
pub const SHEET_ROWS: u64 = 8;
/// Rows fetched by one read of the projection.
pub const ROWS_PER_READ: usize = 8;

const _: () = assert!(BYTES_MAX <= 8 << 20, "the plan counts 8 MiB");
const _: () = assert!(SHEETS_MAX * SHEET_COST_BYTES < CONTENT_BYTES_MAX);
const _: () = assert!(
    ADDITIONS_PER_GROUP_MAX * SHEET_BYTES_MAX <= store::limits::GROUP_FIXED_BYTES_MAX,
    "an addition is at most as large as its sheet"
);
