//! Reports about mail between domains, as bytes: aggregate reports of DMARC (RFC 9990), failure reports (RFC 9991, RFC 6591) and reports of
//! TLS (RFC 8460). Out: the report, its packing and the message around it. In: from a message to figures.
//!
//! No sockets, no clock, no store. What must hold:
//! - No bytes of a stranger stop us; depth, expansion, texts and numbers of records are bounded (`limits.rs`).
//! - Nothing of a stranger ends a line, an element or a field.
//! - What a line of figures says is the same bytes for the same facts, so that it can be counted.
//!
//! mail-auth's own reports are not used: its reader expands what is packed without a bound, and brings the crate zip.
//!
//! - `dmarc.rs`, `tls.rs`: what is counted, and the reports of it. Start reading there.
//! - `letter.rs`: messages. `package.rs`: gzip and zip. `destination.rs`: where a domain wants its reports.
//! - `heard.rs`: messages that may be reports.
#![forbid(unsafe_code)]

pub mod destination;
pub mod dmarc;
#[doc(hidden)]
pub mod fuzzing;
pub mod heard;
pub mod letter;
pub mod limits;
pub mod package;
pub mod text;
pub mod tls;

pub use destination::Destination;
