//! The lintel's inbound room: what takes mail from strangers.
//!
//! The protocol machine (`smtp`) meets the mailboxes here. A connection runs on the core that accepted it and asks the volume's
//! owner through `storage::owner`; `Busy` becomes 451.
//!
//! What must hold: no reply leaves before what it promises is durable; no job knows a thread, a CPU number or a path; no password
//! is checked here (`core/ARCHITECTURE.md` has the row).
//!
//! - `spool.rs`: where a message waits when storage does not take it at once.
//! - `afar.rs`: storage on other machines.
//! - `receive.rs`: SMTP and LMTP, with a file for each stage of a message; the walk of one message starts there.
#![forbid(unsafe_code)]

pub mod afar;
pub mod receive;
pub mod spool;

/// The protocol, for the configuration of `receive`.
pub use smtp;
