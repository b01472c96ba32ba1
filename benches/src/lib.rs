//! Measuring: a load program that speaks real SMTP, LMTP and IMAP over sockets, the peers that ours is compared with,
//! and the scenarios that `benches/PROMISES.md` names.
//!
//! What must hold: every server is driven by the same client with the same settings, over sockets; servers that are
//! compared run alternately in one run on the same disk; a figure is printed as `name value unit` and nothing else
//! stands on its line; what could not be measured says so and is never replaced by a guess.
//!
//! Start reading at `scenario.rs` (what is measured), then `load/smtp.rs` (the client) and `process.rs` (what the
//! server cost). `peers/` sets Postfix and Dovecot up in a private directory; no system configuration is touched.
#![forbid(unsafe_code)]

pub mod commit;
pub mod figures;
pub mod load;
pub mod network;
pub mod peers;
pub mod process;
pub mod promises;
pub mod report;
pub mod scenario;
