//! Limits of the clients.

/// Untagged responses to one command. A mailbox of this many messages can be fetched at once.
pub const RESPONSES_MAX: usize = 1_000_000;
/// Bytes that are read from a stream at once.
pub const READ_BYTES: usize = 16 * 1_024;
/// Of one response to a `Mover`: the largest message that is moved (`imap::limits::APPEND_BYTES_MAX`), and its FETCH line around it.
pub const MOVED_RESPONSE_BYTES_MAX: usize = imap::limits::APPEND_BYTES_MAX + 1_024 * 1_024;
/// One command of a `Mover`, from its first byte to its tagged reply: a server that sends a byte now and then is not waited for without end. A batch of
/// messages takes minutes on a slow line.
pub const MOVED_COMMAND_WITHIN: std::time::Duration = std::time::Duration::from_secs(20 * 60);
/// Capabilities that are remembered of a server, and bytes of a reply that are shown.
pub const CAPABILITIES_MAX: usize = 256;
pub const SHOWN_REPLY_BYTES_MAX: usize = 300;
/// One connection of a `Mover` that is given no end: a mailbox of some gigabytes on a slow line. A command is bounded by itself.
pub const MOVED_MAX: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3_600);
/// A line of a POP3 server, with its end: RFC 2449 §4 has 512 octets at most, and some servers have more to say.
pub const POP3_LINE_BYTES_MAX: usize = 4 * 1_024;
/// Lines of one list of a POP3 server that are read. Past it the answer has no end.
pub const POP3_LINES_MAX: usize = 1_000_000;
/// RFC 1939 §7: a UIDL has 70 octets at most.
pub const POP3_UID_BYTES_MAX: usize = 70;
