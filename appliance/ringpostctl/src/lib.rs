//! `ringpostctl`: the operator's program.
//!
//! `verbs.rs` has the words of the command line and the request that each of them is, with `domain.rs` and `dkim.rs`; `command.rs` sends it to the daemon (the crate
//! `admin` has the two ways there, and the replies for people) or works without one: `salvage.rs` with `maildir.rs`, `dump.rs`,
//! `profiles.rs`, `selftest.rs` through the appliance's own listeners, `admin_cert.rs`, `config check`. `file.rs` reads settings that
//! are to be sent. `transfer.rs` moves mail in and out.
//!
//! What must hold: exit status 0 is done, 1 refused, 2 usage; what is refused is one sentence on standard error; salvage and dump
//! read legs and never write to them; a password stands in no argument unless the operator puts it there.
//!
//! `ringpostd` answers to the same name. Start reading at `command.rs`.
#![forbid(unsafe_code)]

mod acl;
mod addresses;
mod admin_cert;
mod app_password;
mod audit;
mod ban;
pub mod command;
mod dkim;
mod domain;
mod dump;
mod fetch;
mod file;
mod ldap;
mod leg;
mod limits;
mod maildir;
mod password;
mod profiles;
mod quarantine;
mod queue;
mod report;
mod salvage;
mod selftest;
mod sieve;
mod spam;
mod spool;
mod transfer;
mod verbs;
