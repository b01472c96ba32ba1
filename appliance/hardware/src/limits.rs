//! Every number of this crate, with its reason.

/// A file of `/sys` is a page at most; one that is larger is not looked at further.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;
/// CPUs, disks, cards and interrupts looked at: more than any machine that this runs on has.
pub const ENTRIES_MAX: usize = 8_192;
