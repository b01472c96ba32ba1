//! A mail user agent for programs that test a server of their own: blocking SMTP and IMAP clients, with and without TLS.
//!
//! `smtp::client` and `imap::client` know the protocols; here they get a socket. Every wait is bounded by the time that the stream was
//! opened with. Certificates are not verified (`tls`), so nothing here may carry mail to a server of another owner.
#![forbid(unsafe_code)]

pub mod imap;
pub mod limits;
pub mod smtp;
pub mod stream;
pub mod tls;

#[cfg(test)]
mod tests;
