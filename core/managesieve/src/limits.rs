//! What one connection may ask of us. `appliance/plan` multiplies the byte figures by the number of connections.

/// All of a command but a script: its words, and literals that are as short. RFC 5804 §4 has quoted strings of 1,024 octets; a SASL response of 12 KiB
/// has to fit.
pub const COMMAND_BYTES_MAX: usize = 16 * 1_024;
/// A script. It is received as a literal, for which the caller finds memory first.
pub const SCRIPT_BYTES_MAX: usize = 256 * 1_024;
/// A script that is larger is thrown away as it comes, and refused: a client sends it without asking. Past this the connection is closed.
pub const SKIPPED_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// The first line of a literal: an opening brace, ten digits, `+}`, and the line end.
pub const LITERAL_HEAD_BYTES_MAX: usize = 16;
/// Words of a command.
pub const WORDS_MAX: usize = 3;
/// Letters of a script's name (RFC 5804 §1.6 asks for 128 at least), …
pub const NAME_LETTERS_MAX: usize = 128;
/// … and its octets (§1.6: up to 512).
pub const NAME_BYTES_MAX: usize = 512;
/// Replies that wait to be sent while there is more to do. A script that is sent comes on top.
pub const REPLIES_BYTES_MAX: usize = 16 * 1_024;
/// A text of a reply that is sent as a quoted string (RFC 5804 §4); a longer one is a literal.
pub const QUOTED_BYTES_MAX: usize = 1_024;
/// Commands that make no sense before the connection is closed; ordinary clients never send three.
pub const BAD_COMMANDS_MAX: u32 = 20;
/// Failed logins before the connection is closed.
pub const LOGIN_FAILURES_MAX: u32 = 3;

const _: () = assert!(COMMAND_BYTES_MAX >= 12_288 + 1_024);
const _: () = assert!(NAME_LETTERS_MAX * 4 <= NAME_BYTES_MAX);
