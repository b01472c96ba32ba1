//! `ringpost-boot`: between power-on and the daemon. Finds the settings, checks them, chooses and applies the hardware
//! profile, and writes what systemd and `ringpostd` read.
//!
//! `find.rs` looks for settings, in order: a systemd credential, the applied settings on the state partition, the ESP, a USB
//! stick. `settle.rs` makes them complete (profile, legs, password hashes). `network.rs` writes files for systemd-networkd, `san.rs` for `ringpost-san`.
//! `world.rs` is where all of this happens, `derive.rs` what follows from settings and machine. `selftest.rs` names what is missing, `last_end.rs` says how the run before ended. `report.rs` is `/run/ringpost/boot.json`. `run.rs` does it all in order.
//!
//!
//! Afterwards settings are changed from afar. `serve.rs` performs what the daemon asks for (`admin::settings`): `check.rs` holds new settings
//! against the box as the next boot would, `change.rs` says what differs and when it takes effect, `secret.rs` keeps hashes to the
//! box, `probation.rs` reverts what is not confirmed, `history.rs` remembers who did what.
//!
//! What must hold: everything is below a root directory that the caller names, so that a test needs no machine; settings
//! that are there and wrong are refused with file, line and fix, and never passed over for older ones; no secret is written
//! into the report; what is tuned and does not hold is reported, and stops nothing.
//!
//! Start reading at `run.rs`.
#![forbid(unsafe_code)]

pub mod change;
pub mod check;
mod derive;
pub mod find;
pub mod history;
pub mod last_end;
pub mod limits;
mod network;
pub mod probation;
pub mod report;
pub mod run;
pub mod san;
pub mod secret;
mod selftest;
pub mod serve;
mod settle;
mod world;
mod write;

pub use report::Report;
pub use run::{Outcome, again, run};
pub use world::{RunProgram, World};
