//! Numbers of the simulated device, each with its reason.

/// A power cut tears writes at this size: what disks promise to write whole at least, and no more is relied on.
pub const SECTOR_BYTES: usize = 512;

/// Virtual time one `SimWorld::run` may take: a future that needs an hour waits for something that never comes.
pub const RUN_US_MAX: u64 = 3_600 * 1_000_000;

/// Task polls in one `SimWorld::run`: past this two tasks wake each other for ever.
pub const POLLS_MAX: u64 = 20_000_000;

/// Writes remembered by the write log of one world; a checker that needs more takes it more often.
pub const LOGGED_WRITES_MAX: usize = 4_000_000;

const _: () = assert!(crate::BLOCK_BYTES.is_multiple_of(SECTOR_BYTES));
