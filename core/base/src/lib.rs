//! Floor 0: what every other room may stand on.
//!
//! Byte cursors, units, checksums, histograms, and the *host* a sans-IO engine runs on (a clock,
//! a way to start a task, a way to run a blocking job elsewhere). Nothing here depends on mail, on a
//! disk or of a socket, and nothing here reads the wall clock or the operating system's randomness: that is
//! what lets one seed replay the whole world (`core/sim`).
#![forbid(unsafe_code)]

pub mod bounded;
pub mod cursor;
pub mod hash;
pub mod histogram;
pub mod host;
pub mod network;
pub mod units;

pub use bounded::Full;
pub use hash::BodyName;
pub use histogram::{Histogram, SharedHistogram};
pub use host::{Host, LocalTask, Time};
pub use network::Network;
