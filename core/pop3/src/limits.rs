//! What one connection may ask of us. `appliance/plan` multiplies the byte figures by the number of connections.

/// A line of the client with its line end. RFC 2449 §4 asks for 255 octets; a password of 1,024 octets has to fit, and a SASL response
/// with it on the line of AUTH.
pub const LINE_BYTES_MAX: usize = 4 * 1_024;
/// A line inside of AUTH (RFC 5034 §4: 12,288 octets without the line end).
pub const SASL_LINE_BYTES_MAX: usize = 12_288 + 2;
/// Messages of one maildrop. Each takes 8 bytes and a bit while the session lasts; their deletion fits one commit (`core/client`).
pub const MESSAGES_MAX: usize = 200_000;
/// Replies that wait to be sent while there is more to do: a list of messages is written in pieces of about this size.
pub const REPLIES_BYTES_MAX: usize = 16 * 1_024;
/// Commands that make no sense before the connection is closed; ordinary clients never send three.
pub const BAD_COMMANDS_MAX: u32 = 20;
/// Failed logins before the connection is closed.
pub const LOGIN_FAILURES_MAX: u32 = 3;

const _: () = assert!(LINE_BYTES_MAX >= 255);
const _: () = assert!(SASL_LINE_BYTES_MAX > LINE_BYTES_MAX);
