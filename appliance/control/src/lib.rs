//! The operator's side: `ringpostctl`, the control socket it talks to, and HTTP for monitoring.
//!
//! `words.rs` has every request and reply as data. `command.rs` reads the command line and either sends a request over the
//! socket (`client.rs`) or works offline (`salvage.rs`, `dump.rs`, `profiles.rs`, `config check`); `text.rs` writes for people. On the daemon's
//! side `admin.rs` opens the socket and the HTTP doors on the main thread, and `answer.rs` performs requests: what concerns
//! mail or legs is asked of the volume's owner like everybody else asks.
//!
//! `settings.rs` hands changes of settings to `ringpost-boot`, which may make them.
//!
//! The same requests come over HTTPS from those who show a client certificate (`remote.rs`).
//!
//! What must hold: whoever may open the socket may do everything (its mode is 0600), and so may who has a certificate signed by
//! the configured authority, and nobody else; a password never travels, only its hash;
//! requests and replies are bounded; metrics are read from counters that each core writes for itself.
//!
//! Start reading at `answer.rs`.
#![forbid(unsafe_code)]

mod accounts;
mod appliance;
mod applied;
mod bundle;
mod caller;
mod certificates;
pub mod client;
pub mod command;
pub mod content;
pub mod counters;
mod credentials;
mod damage;
mod domains;
pub mod doors;
mod dump;
mod file;
mod fsck;
mod http;
mod https;
pub mod legs;
pub mod limits;
pub mod logs;
mod machine;
mod maildir;
mod metrics;
pub mod password;
mod perform;
pub mod places;
mod profiles;
mod remote;
pub mod reply;
pub mod request;
pub mod room;
mod salvage;
mod selftest;
mod settings;
pub mod shared;
mod socket;
mod status;
mod table;
mod text;
mod tls;
pub mod validity;
mod verbs;
mod volume;

pub use credentials::make as make_credentials;
