//! Guests in QEMU, and stories told about them.
//!
//! A `Shape` says what the machine has; `Guest::start` turns it into a running QEMU with a serial log that is watched, a
//! QMP connection and forwarded ports; `Ledger` remembers outside what was acknowledged. What must hold: a failing boot
//! is reported by what the serial line says (kernel trouble, a failed unit, a refused start, an idle guest), not by a
//! time-out; deadlines are written for an unshared machine and stretched by the slowest boot so far; QEMU
//! is killed when its `Guest` is dropped; a failure keeps serial log and disks in a directory whose path is printed.
//!
//! Start reading at `guest.rs`; the stories are in `stories.rs`, one line each.
#![forbid(unsafe_code)]

pub mod accel;
pub mod bound;
pub mod certificate;
pub mod connect;
pub mod failure;
pub mod guest;
pub mod harm;
pub mod http;
pub mod image;
pub mod internet;
pub mod keep;
pub mod ledger;
pub mod limits;
pub mod nvme_target;
pub mod pace;
pub mod ports;
pub mod profiled;
pub mod qmp;
pub mod releases;
pub mod screen;
pub mod serial;
pub mod serve;
pub mod settings;
pub mod shape;
pub mod stories;
pub mod tgt;
pub mod tool;
pub mod uki;
pub mod world;
pub mod write_cache;
