//! Limits of the clients.

/// Untagged responses to one command. A mailbox of this many messages can be fetched at once.
pub const RESPONSES_MAX: usize = 1_000_000;
/// Bytes that are read from a stream at once.
pub const READ_BYTES: usize = 16 * 1_024;
