//! The box's own disk: the EFI system partition it was started from, the state partition beside it, and writing both to new disks.
//!
//! Programs of the image use it: `ringpost-state` runs once at every start, before anything reads settings;
//! `ringpost-install` runs only where an install order was given. Mail is never stored here: the legs are other disks, and no
//! function of this crate writes to a disk that was not named to it.
//!
//! What must hold: a box always starts. Without a state partition that can be used the state is in memory, an alarm reports why
//! (`/run/ringpost/state.json`), and nothing on the disk is thrown away. A partition is made or made again only where there
//! was none, where it is blank, or where a factory reset was ordered.
//!
//! With two system disks the other one is kept alive: `mirror.rs` decides (its hands on real disks are `hands.rs`), `level.rs` makes
//! one ESP equal to another, `keep.rs` carries settings and certificate, `record.rs` says who belongs together.
//!
//! `button.rs` listens to the power button (`ringpost-button`).
//!
//! Start reading at `state::ready`.
#![forbid(unsafe_code)]

pub mod button;
pub mod disk;
pub mod efi;
pub mod hands;
pub mod install;
pub mod keep;
pub mod level;
pub mod limits;
pub mod mirror;
pub mod record;
pub mod state;
pub mod tool;
