//! Every number of this crate, with its reason.

/// A file of `/sys` is a page at most; one that is larger is not looked at further.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;
/// `/proc/interrupts`: 11 bytes for each CPU in each line; a thousand lines on 512 CPUs are 6 MiB.
pub const TABLE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// CPUs, disks, cards and interrupts looked at: more than any machine that this runs on has.
pub const ENTRIES_MAX: usize = 8_192;
/// `smartctl`'s JSON about one disk has some 10 KiB; the report of all of them is as long as there are disks.
pub const HEALTH_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A healthy disk answers within a second, one that spins up within ten; a dying one never.
pub const SMARTCTL_WITHIN: std::time::Duration = std::time::Duration::from_secs(20);
/// A disk is reported for replacement while there is time: makers reckon 100 % as the end of what they warrant.
pub const WEAR_PERCENT_ALARM: u64 = 90;
/// glibc's resolver reads no more (resolv.conf(5), MAXNS).
pub const NAME_SERVERS_MAX: usize = 3;
/// Incidents remembered: a year of bad luck, and still one small file (FILE_BYTES_MAX) that is written whole each time.
pub const INCIDENTS_MAX: usize = 50;
