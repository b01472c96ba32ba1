//! `ringpost-san`: reaches the targets that the settings name, keeps reaching them, and gives legs back to the engine.
//!
//! `orders.rs` turns targets into orders to the kernel (`/dev/nvme-fabrics`), open-iscsi and multipathd; `system.rs` tells
//! them. `legs.rs` decides which leg the engine is to take back. `watch.rs` is the loop over all three (this file shall be read
//! first): before READY it looks often, for the engine waits; afterwards every few seconds for as long as the box runs.
//!
//! What must hold: the engine waits for us a bounded time and then starts with the legs that are there; a lost path ends in I/O that
//! fails within seconds and never in a hang; what the operator took out of the mirror is not put back; a secret is in files of root
//! alone and in no argument, no log and no report; no path is waited for by another.
#![forbid(unsafe_code)]

pub mod legs;
pub mod limits;
pub mod orders;
mod pace;
pub mod system;
pub mod watch;
