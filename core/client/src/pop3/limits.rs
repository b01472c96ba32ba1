//! What POP3 sessions may cost.

use std::time::Duration;

/// Before login a client has this long for each line.
pub const SILENCE_BEFORE_LOGIN_MAX: Duration = Duration::from_secs(60);
/// RFC 1939 §3: at least ten minutes. Then the connection is closed without a word, and nothing is deleted.
pub const SILENCE_MAX: Duration = Duration::from_secs(10 * 60);
/// A failed login is answered after this, so that guessing is slow on one connection.
pub const LOGIN_FAILURE_DELAY: Duration = crate::limits::LOGIN_FAILURE_DELAY;
/// A maildrop of so many messages is listed in the connection's own memory, 16 KiB; `plan` counts it with the connection. A larger one
/// takes from the account's share of what waits for clients.
pub const LISTED_FREE_MAX: usize = 2_048;
/// Bytes of that list.
pub const LISTED_BYTES: usize = pop3::Maildrop::memory_bytes(LISTED_FREE_MAX);
/// Bytes of a message that are made ready for the wire at once: with doubled dots twice as many.
pub const WIRE_BYTES: usize = 8 * 1_024;
/// What is ready is sent once it is this much.
pub const OUTPUT_BYTES_MAX: usize = 32 * 1_024;
/// Messages of which the line ends are looked up at once, and the bytes of their summaries.
pub const MEASURED_TOGETHER_MAX: usize = 512;
pub const MEASURED_TOGETHER_BYTES_MAX: usize = 1_024 * 1_024;
/// INBOXes whose line ends a core remembers, and messages with missing ones of each: 2 MiB in all.
pub const MEASURED_MAX: usize = 1_024;
pub const RAGGED_MAX: usize = 256;

/// The list of the largest maildrop fits the smallest share of an account.
const _: () = assert!(
    pop3::Maildrop::memory_bytes(pop3::limits::MESSAGES_MAX)
        <= crate::limits::SENDING_SHARE_BYTES_MIN
);
