//! Bounds of the spool.

/// Reclaim moves a body once in a pass; passes take long.
pub const STALE_READS_MAX: usize = 3;
