//! The real device: raw io_uring over files and block devices.
//!
//! One `Ring` per thread implements `device::Device`. It owns no runtime: the owner of the thread waits for `eventfd` to
//! become readable (or for the kick) and calls `turn`, which submits what is queued, reaps what is done and wakes who
//! waits. `local` is the smallest such owner, for tests, benches and offline tools.
//!
//! What must hold: memory handed to the kernel stays where it is until its completion was reaped (flights own their
//! buffers, a ring that is dropped waits for them or leaks them); at most `limits::IN_KERNEL_MAX` operations are in the
//! kernel, the rest wait in order; an answer is never made up: a short transfer goes on, a file cut short is `Gone`.
//!
//! Main path: `open::open` → `ring::Ring::start` → `ring::Ring::turn` → `flight::Flight::on_completion`.
//!
//! `Flush` is fdatasync. A durable write carries RWF_DSYNC (FUA, or a flush behind it where the device has none). `Discard`
//! does nothing, on files and on block devices: what a discarded range reads as is undefined by contract, punching holes would
//! cost the extents that were written through at creation, and no part of the engine relies on it.

pub mod limits;
pub mod local;

mod fault;
mod flight;
mod memory;
mod open;
mod ring;
mod setup;
#[cfg(test)]
mod tests;

pub use open::create_file_leg;
pub use ring::Ring;
pub use setup::{FLAGS, Flags, check, refusal};

/// The operator's side does not fit: one sentence, with the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub String);

impl Misfit {
    fn new(path: &std::path::Path, error: std::io::Error) -> Misfit {
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                " (check owner and mode, or run as the right user)"
            }
            std::io::ErrorKind::NotFound => " (does its directory exist?)",
            _ => "",
        };
        Misfit(format!("{}: {error}{hint}", path.display()))
    }
}
