//! What a peer has sent about a message before and around its content (RFC 5321 §2.3.1).

use crate::path::{ForwardPath, ReversePath};

/// What the peer called itself. A claim, checked for form only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedHello {
    /// As the peer wrote it.
    pub name: String,
    /// EHLO or LHLO rather than HELO.
    pub extended: bool,
}

/// What the sender says of the octets. We carry 8-bit data either way; this is kept for a relay to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// 7BIT (RFC 6152).
    SevenBit,
    /// 8BITMIME (RFC 6152).
    EightBitMime,
}

/// RFC 5321 §2.3.1. `R`: the caller's route of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<R> {
    /// The sender, or nothing for a report.
    pub reverse_path: ReversePath,
    /// Those accepted, in order, duplicates included; at most `Limits::recipients_max`.
    pub recipients: Vec<Recipient<R>>,
    /// RFC 1870: the sender's estimate.
    pub size_bytes: Option<u64>,
    /// RFC 6152: BODY of MAIL.
    pub body: Option<Body>,
    /// RFC 6531: the message may need it on its way.
    pub smtputf8: bool,
    /// RFC 3461 §4.3: how much of the message a report brings back; `None`: not said.
    pub returned: Option<Returned>,
    /// RFC 3461 §4.4, the xtext as it was given: the sender's own name for this transaction; at most `limits::ENVELOPE_ID_BYTES_MAX` decoded.
    pub envelope_id: Option<String>,
}

/// RFC 3461 §4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// The whole message.
    Full,
    /// Its header alone.
    Headers,
}

/// RFC 3461 §4.1: when the sender wants a report about a recipient. All `false` is NEVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it will not be delivered.
    pub failure: bool,
    /// When it is late.
    pub delay: bool,
}

/// One accepted recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient<R> {
    /// Where the mail is for.
    pub path: ForwardPath,
    /// `None`: not said.
    pub notify: Option<Notify>,
    /// RFC 3461 §4.2, as it was given: the address that the sender first had, as xtext, its type in front (`rfc822;ann@example.org`); at most
    /// `limits::ORIGINAL_RECIPIENT_BYTES_MAX` decoded.
    pub original: Option<String>,
    /// What `Session::recipient_verdict` was given: where the message goes for this recipient.
    pub route: R,
}

/// A complete mail transaction. `content` begins with what `Session::begin_content` was given.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<R> {
    pub envelope: Envelope<R>,
    /// The message, with the trace fields in front.
    pub content: Vec<u8>,
}
