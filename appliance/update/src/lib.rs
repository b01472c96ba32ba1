//! Image slots: which versions are on the EFI system partition, and how a new one gets there.
//!
//! An appliance is one signed file (a unified kernel image) on the EFI system partition (ESP); an update is a second one
//! beside it. The boot loader counts its tries in the file's name (`ringpost_1.2.0+3.efi`, see `slots.rs`), the health gate of
//! the new system blesses it, and a version that never was blessed is given up for the old one without anybody's help.
//!
//! What must hold: nothing that the boot loader would start exists under its final name before every byte of it was checked
//! against the signature, as written and as read back; the running version's file is never removed or changed by `apply`; an
//! update is for this product and newer than what runs, and both are in the signed comment, not in a file name; a copy that
//! is cut off by a power cut leaves the slots as they were; why a version was given up stays on the ESP (`failures.rs`). On several system disks every ESP comes to hold
//! the same: what is done here is done on the disk that runs, and `disks.rs` has it mirrored.
//!
//! Main path: `main.rs` → `apply.rs` → `signature.rs`, `slots.rs`, then a boot → `gate.rs`. Start reading at `apply.rs`.
#![forbid(unsafe_code)]

pub mod apply;
pub mod disks;
pub mod failures;
pub mod fetch;
pub mod gate;
pub mod limits;
pub mod signature;
pub mod slots;

pub use apply::{Applied, Refused};
pub use slots::{Esp, Slot, Standing};
