//! Administration, performed: the control socket, the same requests over HTTPS, and HTTP for monitoring. Lives on the main thread.
//!
//! `doors.rs` opens the control socket (`socket.rs`) and the HTTP listeners (`http.rs`, `remote.rs`). Each hands a request to
//! `perform.rs`, which has it done by the file of its noun; what concerns mail or legs is asked of the volume's owner as every
//! other zone asks (`shared.rs`). The crate `admin` has requests, replies and their text for people.
//!
//! `settings.rs` and `appliance.rs` hand what the daemon may not do to `ringpost-boot` and `ringpost-update`, which may.
//!
//! What must hold: a process that may open the socket may do everything (its mode is 0600), and so may a client with a certificate that the
//! configured authority signed, and no other; of a request its verb alone is logged; requests and replies are bounded;
//! metrics are read from counters that each core writes for itself.
//!
//! Start reading at `perform.rs`.

mod accounts;
mod acl;
mod addresses;
mod appliance;
mod autoconfig;
mod bans;
mod bundle;
mod caller;
mod certificates;
mod content;
pub mod counters;
mod damage;
mod dkim;
mod domain_check;
mod domain_dns;
mod domains;
pub mod doors;
mod fetch;
mod fsck;
pub mod held;
mod http;
mod ldap;
pub mod legs;
pub mod limits;
mod logins;
pub mod logs;
mod machine;
mod metrics;
pub mod open_legs;
mod perform;
mod policies;
mod profile;
mod quarantine;
mod queue;
mod remote;
mod reports;
mod scripts;
mod settings;
pub mod shared;
mod socket;
mod spam;
mod spool;
mod status;
mod traces;
mod volume;
mod ways;
