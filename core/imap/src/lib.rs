//! IMAP as a pure state machine, server and client: IMAP4rev2 (RFC 9051) and IMAP4rev1 (RFC 3501) with the extensions that
//! clients use. Bytes in, commands out; values in, bytes out. No sockets, no mailboxes, no clock.
//!
//! What must hold: no input makes us panic, recurse without bound or keep more than `limits.rs` says; no string from outside
//! reaches the wire but as a quoted string or a literal; a command means the same however its bytes were cut.
//!
//! The main path: `session` owns a `reader` that finds where a command ends, has it parsed (`parse` → `command`), holds it
//! to the rules of its state, and answers what needs no mailbox. The rest goes to `core/client`, which answers with the
//! writers of `respond`. FETCH's sections are cut in `fetch`, SEARCH is decided in `search`, LIST patterns in `list`.
//! SORT's order is made in `sort`, THREAD's trees in `thread`.
//! `client` is the other side, for tests and the load program. Start reading at `session`.
#![forbid(unsafe_code)]

pub mod acl;
pub mod client;
pub mod command;
pub mod date;
pub mod deflate;
pub mod fetch;
pub mod hide;
pub mod limits;
pub mod list;
pub mod metadata;
pub mod notify;
pub mod object;
pub mod parse;
pub mod reader;
pub mod respond;
pub mod search;
pub mod sequence;
pub mod session;
pub mod sort;
pub mod subject;
pub mod thread;
mod uids;
pub mod utf7;

pub use command::{Body, Command};
pub use parse::Names;
pub use session::{Event, Policy, Session, State};
