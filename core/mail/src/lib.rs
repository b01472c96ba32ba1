//! What mail *is*: addresses, flags, UIDs, modification sequences, and the summary of a message (envelope and structure).
//! Nothing here knows how mail is kept. Parsing of messages is `mail-parser`'s, wrapped so that no input can stop us.
#![forbid(unsafe_code)]

pub mod address;
pub mod flags;
pub mod ids;

pub use address::Address;
pub use flags::{Flags, Keyword, SystemFlags};
pub use ids::{InternalDate, ModSeq, Uid, UidValidity};
