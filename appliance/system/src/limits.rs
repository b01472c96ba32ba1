//! Waits and sizes of starting from a disk, each with its reason.

/// How long the disk we were started from may take to appear, in milliseconds. Firmware has just read from it; slow USB
/// controllers and SAS expanders take several seconds to be found again, an emulated one on an overcommitted machine more than
/// twenty. Without that disk a box has no state and no slots, so patience is cheaper than going on.
pub const DISK_WAIT_MS: u64 = 60_000;
/// Pause between two looks: short beside a start, long beside a system call.
pub const DISK_PAUSE_MS: u64 = 50;

/// Bytes at the beginning of a partition that show whether it is blank: superblocks of ext4 and LUKS (and its second header's
/// first place) lie within.
pub const BLANK_BYTES: usize = 64 << 10;

/// Share of the memory that the state may fill when it is stored there: settings and a witness are some hundred KiB, logs are cut.
pub const MEMORY_STATE_BYTES: u64 = 64 << 20;

/// System disks of one box: issue 3 asks for two that mirror one another in content.
pub const INSTALL_DISKS_MAX: usize = 2;
/// An install order is a line or two.
pub const INSTALL_ORDER_BYTES_MAX: u64 = 4 << 10;

/// Files on an ESP: slots, boot loader, keys, addons and notes are some twenty.
pub const ESP_FILES_MAX: usize = 512;
/// `loader/keys/auto/x` has three floors.
pub const ESP_DEPTH_MAX: usize = 8;
/// Copied and compared at a time.
pub const CHUNK_BYTES: usize = 256 << 10;
/// The membership of a few disks has some hundred bytes.
pub const RECORD_BYTES_MAX: u64 = 64 << 10;
/// 512 MiB of ESP, 192 MiB of state at least, and room for the partition table; rounded up.
pub const SYSTEM_DISK_BYTES_MIN: u64 = 768 << 20;
/// At both ends of a disk that is taken: partition tables, and what RAID, LVM and file systems write there. As for legs.
pub const SYSTEM_DISK_ENDS_BYTES: u64 = 4 << 20;
/// Every byte of both ESPs is compared after each start and once a day: some hundred MiB, read when no other program reads.
/// Hundredths of a second.
pub const COMPARE_EVERY_CS: u64 = 24 * 60 * 60 * 100;
