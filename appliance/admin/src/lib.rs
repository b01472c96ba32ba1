//! Administration in words: what may be asked of a Ringpost appliance, what it answers, and how that reads for people.
//!
//! `request.rs` and `reply.rs` are the two languages of the control socket, `client.rs` speaks them over the Unix socket and
//! `https.rs` over HTTPS from another machine (`tls.rs` explains what went wrong there). `text.rs` writes a reply for people.
//! `dkim.rs` and `dns_records.rs` have the words for DKIM keys and for the DNS records of a domain, `spool.rs` those for the spool. `exchange.rs` is how the daemon asks the two programs that may change the box: `settings.rs` and `update.rs` have their requests.
//! `quarantine.rs` has those for mail that is kept apart, `logins.rs` for app passwords and the audit of logins, `ldap.rs` for another directory, `fetch.rs` for accounts elsewhere, `acme.rs` for certificates of an authority, `front.rs` for storage nodes behind a front, `ways.rs` for the way that mail takes. `password.rs` hashes, `certificate.rs` reads certificates.
//!
//! What must hold: nothing here knows the engine, so that small programs that run as root (`ringpost-san`, the console, the boot,
//! the updater) do not link it; a password of an account here never travels, only its hash; requests and replies are bounded.
//!
//! The daemon performs requests (`ringpostd/src/admin.rs`), `ringpostctl` is the operator's program. Start reading at `request.rs`.
#![forbid(unsafe_code)]

pub mod acl;
pub mod acme;
pub mod addresses;
#[cfg(feature = "certificates")]
pub mod certificate;
pub mod client;
pub mod dkim;
pub mod dns_records;
pub mod exchange;
pub mod fetch;
pub mod front;
#[cfg(feature = "https")]
mod https;
pub mod ldap;
pub mod limits;
pub mod logins;
#[cfg(feature = "passwords")]
pub mod password;
pub mod places;
pub mod quarantine;
pub mod reply;
pub mod request;
pub mod scripts;
pub mod settings;
pub mod spool;
pub mod table;
pub mod text;
#[cfg(feature = "https")]
mod tls;
pub mod update;
pub mod ways;
