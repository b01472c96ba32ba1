//! What mail *is*: addresses, flags, UIDs, modification sequences, header fields, and the summary of a message.
//! Nothing here knows how mail is kept or which protocol brought it.
//!
//! Bytes are the world's here: every parser takes anything, panics at nothing, and holds to the bounds of `limits.rs`.
//! A message itself is never changed; what cannot be understood is merely described less.
//!
//! - `summary`: `Summary::of` is run once, when a message is accepted, and kept beside its body. IMAP's ENVELOPE and
//!   BODYSTRUCTURE come from it for ever after. Start reading there.
//! - `header`: fields, address lists and parameters, undecoded, as IMAP wants them.
//! - `text`: decoded text for search, by `mail-parser`.
//! - `spelling`: one spelling for names that Unicode lets people write in several ways.
//! - `return_path`: sealed return paths of mail that is sent on (SRS).
//! - `address`, `flags`, `ids`, `rights`: the words that all other rooms use.
//!
//! Why the structure is scanned by code of ours when `mail-parser` could do it: it decodes every body on the way, and
//! delivery may spend 10 µs here; and IMAP wants header text as it was written. The two are held to agree by a test.
#![forbid(unsafe_code)]

pub mod address;
pub mod flags;
pub mod header;
pub mod ids;
pub mod limits;
mod line_ends;
pub mod preview;
pub mod return_path;
pub mod rights;
pub mod spelling;
pub mod summary;
pub mod text;

pub use address::Address;
pub use flags::{Flags, Keyword, SystemFlags};
pub use header::{HeaderAddress, Text};
pub use ids::{InternalDate, ModSeq, Uid, UidValidity};
pub use line_ends::{LineEnds, line_ends_missing};
pub use rights::{Rights, RightsChange};
pub use summary::Summary;
