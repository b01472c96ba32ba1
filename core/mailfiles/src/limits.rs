//! Every number of this crate, with its reason.

/// One message; the same as that of an IMAP APPEND. A longer one is read past and reported.
pub const MESSAGE_BYTES_MAX: usize = 50 * 1_024 * 1_024;
/// Of a line that is read at once: RFC 5322 §2.1.1 allows 998 octets. The rest of a longer one comes in pieces.
pub const LINE_PIECE_BYTES_MAX: usize = 64 * 1_024;
/// Keywords that the name of a Maildir file has letters for: `a` to `z`.
pub const LETTERS_MAX: usize = 26;
/// A file of keywords has 26 lines. What is behind this is not read.
pub const KEYWORDS_BYTES_MAX: usize = 64 * 1_024;
