//! Sizes and times of building and booting an image, each with its reason.

/// Digits of each of a version's three numbers: the file name stays one that firmware shows whole.
pub const VERSION_PART_DIGITS_MAX: usize = 6;

/// The EFI system partition, in MiB: three UKIs of up to 150 MB (two slots and one being written), keys and settings.
pub const ESP_MIB: u64 = 512;

/// Compressed image, in bytes: issue 3 asks for at most 150 MB, so that an update crosses a slow line in minutes.
pub const IMAGE_BYTES_MAX: u64 = 150_000_000;

/// Days after which the OS layer is called old: Debian's security fixes reach an image only by a new one.
pub const OS_LAYER_DAYS_OLD: u64 = 14;

/// Lines of a failed tool's log that are shown: its error and what led to it, one screen.
pub const LOG_LINES_SHOWN: usize = 25;

/// How long a guest under KVM may take to its first word on the serial port. A working one needs under a second; where the
/// device opens and the guest hangs, nothing ever comes.
pub const KVM_PROBE_SECONDS: u64 = 5;

/// Memory of a guest, in MiB: the unpacked system (about 0.2 GB, at most half may be files), the engine's plan, and room.
pub const GUEST_MIB: u64 = 1_536;

/// Size of each scratch leg, in MiB.
pub const LEG_MIB: u64 = 1_024;

/// What a copy of the disk image is grown to for a guest, in MiB: the ESP and a state partition.
pub const SYSTEM_DISK_MIB: u64 = 2_048;
