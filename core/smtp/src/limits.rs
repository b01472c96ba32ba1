//! Every number of this crate, with its reason. `Limits` holds those that a plan may lower or raise.

/// A command line with its CRLF. RFC 5321 §4.5.3.1.4 asks for 512, RFC 6531 §3.4 and the MAIL parameters we know add
/// 460; the rest is room for parameters we will refuse with a better reply than "line too long".
pub const COMMAND_LINE_BYTES_MAX: usize = 2_048;

/// A line of a login on a submission port, with its CRLF: RFC 4954 §4 wants room for 12,288 octets of base64, which tokens of OAuth need, and clients
/// send them as the initial response too.
pub const AUTH_LINE_BYTES_MAX: usize = 12_288 + 64;

/// A reply line with its CRLF, RFC 5321 §4.5.3.1.5. Every reply we write keeps to it.
pub const REPLY_LINE_BYTES_MAX: usize = 512;

/// A path with its brackets, RFC 5321 §4.5.3.1.3.
pub const PATH_BYTES_MAX: usize = 256;

/// A HELO or EHLO argument: a domain or an address literal, RFC 5321 §4.5.3.1.2.
pub const HELLO_BYTES_MAX: usize = 255;

/// An ENVID, decoded, RFC 3461 §4.4.
pub const ENVELOPE_ID_BYTES_MAX: usize = 100;

/// An ORCPT, decoded, with its type. RFC 3461 §4.2 allows 500 bytes of xtext.
pub const ORIGINAL_RECIPIENT_BYTES_MAX: usize = 500;

/// The value of XDELIVERY: an id of 16 bytes in hexadecimal and a word or two.
pub const DELIVERY_BYTES_MAX: usize = 64;

/// Digits of the length of a netstring: a decimal number below 10^10, more than any message of ours.
pub const NETSTRING_DIGITS_MAX: usize = 10;

/// A value of XCLIENT, decoded: a domain name at most, with room for what is ignored.
pub const XCLIENT_VALUE_BYTES_MAX: usize = 255;

/// Logins refused on one connection: a person mistypes two or three times.
pub const LOGIN_FAILURES_MAX: u32 = 5;

/// Recipients in one mail transaction. RFC 5321 §4.5.3.1.8 asks for 100 or more; a thousand paths of the greatest length
/// are 256 KiB.
pub const RECIPIENTS_MAX: usize = 1_000;

/// Mail data in bytes when the plan says nothing. RFC 5321 §4.5.3.1.7 asks for 64 KiB or more. Lines of mail data have no limit of their
/// own (§4.5.3 asks for none where possible): programs that write HTML on one line are many, and no buffer of ours holds a line.
pub const MESSAGE_BYTES_MAX: u64 = 50 * 1_024 * 1_024;

/// Messages on one connection, so that a balancer in front of us gets to choose again now and then.
pub const MESSAGES_MAX: u64 = 100_000;

/// Commands refused (syntax, sequence, unknown) since the last accepted message. A person at a terminal makes a
/// few; a program that makes more does not speak SMTP.
pub const ERRORS_MAX: u32 = 20;

/// Recipients refused since the last accepted message: an old mailing list has dozens, a dictionary attack thousands.
pub const REFUSED_RECIPIENTS_MAX: u32 = 100;

/// Commands that move no mail (NOOP, RSET, VRFY, HELP, EHLO …) since the last accepted message.
pub const IDLE_COMMANDS_MAX: u32 = 200;

/// Buffer reserved at the start of mail data from the sender's SIZE: at most this much is reserved in advance.
pub const CONTENT_RESERVE_BYTES_MAX: usize = 256 * 1_024;

/// Buffer reserved at the start of mail data when the sender announced no SIZE: the usual message is smaller.
pub const CONTENT_RESERVE_BYTES: usize = 16 * 1_024;

// The line that RFC 5321 §4.5.3.1.4 asks for, and what the extensions that we offer add to it.
const _: () = assert!(COMMAND_LINE_BYTES_MAX >= 512 + 460);
const _: () = assert!(AUTH_LINE_BYTES_MAX > COMMAND_LINE_BYTES_MAX);
// RFC 5321 §4.5.3.1.8.
const _: () = assert!(RECIPIENTS_MAX >= 100);
// RFC 5321 §4.5.3.1.7.
const _: () = assert!(MESSAGE_BYTES_MAX >= 64 * 1_024);

/// The limits that a plan may set. `Default` is the constants above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Mail data in bytes, counted after dot removal (RFC 1870 §5).
    pub message_bytes_max: u64,
    /// See `RECIPIENTS_MAX`.
    pub recipients_max: usize,
    /// See `MESSAGES_MAX`.
    pub messages_max: u64,
    /// See `ERRORS_MAX`.
    pub errors_max: u32,
    /// See `REFUSED_RECIPIENTS_MAX`.
    pub refused_recipients_max: u32,
    /// See `IDLE_COMMANDS_MAX`.
    pub idle_commands_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX,
            recipients_max: RECIPIENTS_MAX,
            messages_max: MESSAGES_MAX,
            errors_max: ERRORS_MAX,
            refused_recipients_max: REFUSED_RECIPIENTS_MAX,
            idle_commands_max: IDLE_COMMANDS_MAX,
        }
    }
}
