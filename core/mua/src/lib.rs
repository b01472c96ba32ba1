//! A mail user agent: blocking SMTP, IMAP and POP3 clients, with and without TLS.
//!
//! `smtp::client` and `imap::client` know the protocols; here they get a socket. Every wait is bounded by the time that the stream was
//! opened with. `imap.rs` and `smtp.rs` serve programs that test a server of their own; `mover.rs` and `pop3.rs` are for mail that is moved from and to servers of others, which may be
//! slow, mad or hostile.
//!
//! What must hold: `tls::config` verifies no certificate, and no mail goes to a server of another owner with it; `tls::trusting` is for that.
#![forbid(unsafe_code)]

pub mod imap;
pub mod limits;
pub mod mover;
pub mod pop3;
pub mod smtp;
pub mod socket;
pub mod stream;
pub mod tls;

#[cfg(test)]
mod tests;
