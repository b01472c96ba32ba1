//! Where the programs of this crate are, and what they may do there.

use std::path::PathBuf;
use std::time::Duration;

/// What the daemon reads, below the root.
pub const SETTINGS: &str = "run/ringpost/ringpost.toml";

/// A program and its arguments.
pub type RunProgram = dyn Fn(&str, &[&str]) -> Result<(), String>;

/// Where we are, and what may be done there.
pub struct World {
    /// `/`, or a tree of files.
    pub root: PathBuf,
    /// `$CREDENTIALS_DIRECTORY`.
    pub credentials: Option<PathBuf>,
    /// How long disks are waited for.
    pub wait: Duration,
    /// Seconds since 1970.
    pub now: u64,
    /// Mounts a USB stick with the label RINGPOST and says where; asked only when no other place has settings.
    pub usb: Box<dyn Fn() -> Option<PathBuf>>,
    /// Runs a program of the system; `Err`: why it did not work.
    pub command: Box<RunProgram>,
}
