//! Image slots: which versions lie on the EFI system partition, and how a new one gets there.
//!
//! An appliance is one signed file (a unified kernel image) on the EFI system partition (ESP); an update is a second one
//! beside it. The boot loader counts its tries in the file's name (`ringpost_1.2.0+3.efi`, see `slots.rs`), the health gate of
//! the new system blesses it, and a version that never was blessed is given up for the old one without anybody's help.
//!
//! What must hold: nothing that the boot loader would start exists under its final name before every byte of it was checked
//! against the signature, as written and as read back; the running version's file is never removed or changed by `apply`; an
//! update is for this product and newer than what runs, and both are said by the signed comment, not by a file name; a copy that
//! is cut off by a power cut leaves the slots as they were. On several system disks every ESP holds the same.
//!
//! Main path: `main.rs` → `apply.rs` → `signature.rs`, `slots.rs`. Start reading at `apply.rs`.
#![forbid(unsafe_code)]

pub mod apply;
pub mod fetch;
pub mod limits;
pub mod request;
pub mod signature;
pub mod slots;

pub use apply::{Applied, Refused};
pub use slots::{Esp, Slot, Standing};

/// A status document (`ringpost-update status --json`) for people.
pub fn show(status: &serde_json::Value) -> String {
    let word = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
    let mut text = format!("running {}", word(&status["running"]));
    for esp in status["esps"].as_array().into_iter().flatten() {
        for slot in esp["slots"].as_array().into_iter().flatten() {
            let standing = match slot["left"].as_u64() {
                Some(left) => format!("on trial, {left} left"),
                None => word(&slot["standing"]).replace('_', " "),
            };
            text += &format!(
                "\n{}  {:<10} {standing}",
                word(&esp["esp"]),
                word(&slot["version"])
            );
        }
    }
    text
}
