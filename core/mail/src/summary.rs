//! The short digest of a message that is kept beside its body: the header fields that lists ask for, as they stand, and the
//! tree of its parts with byte offsets. ENVELOPE, BODYSTRUCTURE and most HEADER.FIELDS fetches are answered from it alone, so
//! that a list view never reads a body; BODY[1.2] cuts the body by its offsets.
//!
//! `Summary::of` takes any bytes. It holds to the bounds of `limits.rs`: past them it lists less and says so (`complete`). What it does not
//! list is unknown, not absent: then the message is read again, by `Summary::whole` with bounds a hundred times as wide.

mod codec;
mod envelope;
mod scan;

use crate::LineEnds;
use crate::header::Text;

pub use codec::SummaryFault;
pub use envelope::{AddressList, ENVELOPE_FIELDS, EnvelopeFields};

/// See the module. Borrows from the message or from the encoded form wherever it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary<'a> {
    /// Header fields of the message named in `KEPT_FIELDS`, in order, byte for byte, line ends included.
    pub header: Text<'a>,
    /// `header` holds every field of those names, and `root` says everything of every part. When not, answers need the body.
    pub complete: bool,
    /// `line_ends_missing` of the message: POP3 lists sizes with every line ended.
    pub line_ends_missing: u32,
    /// The message itself as a part; its header begins at 0.
    pub root: Part<'a>,
}

/// One body part (RFC 2045; RFC 3501 §7.4.2 for what each field is for). Text is undecoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// `text`, `image`, …; `text` where the message does not say (RFC 2045 §5.2).
    pub media_type: Text<'a>,
    /// `plain`, `html`, …
    pub media_subtype: Text<'a>,
    /// Names and values of the Content-Type's parameters, in order.
    pub parameters: Vec<(Text<'a>, Text<'a>)>,
    /// Content-ID.
    pub id: Option<Text<'a>>,
    /// Content-Description.
    pub description: Option<Text<'a>>,
    /// `None`: 7bit, by RFC 2045 §6.1.
    pub encoding: Option<Text<'a>>,
    /// Content-MD5 (RFC 1864).
    pub md5: Option<Text<'a>>,
    /// Content-Disposition (RFC 2183).
    pub disposition: Option<Disposition<'a>>,
    /// Content-Language (RFC 3282).
    pub language: Option<Text<'a>>,
    /// Content-Location (RFC 2557).
    pub location: Option<Text<'a>>,
    /// Bytes from the first byte of the message: where the part's header begins, where its body begins (after the empty
    /// line) and ends (before the line end that belongs to the boundary).
    pub header_begin: u32,
    pub body_begin: u32,
    pub body_end: u32,
    /// Text lines of the body, an unfinished last one included.
    pub lines: u32,
    pub content: Content<'a>,
}

/// Content-Disposition (RFC 2183).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disposition<'a> {
    /// `inline`, `attachment`, or another word.
    pub kind: Text<'a>,
    /// Names and values of its parameters, in order.
    pub parameters: Vec<(Text<'a>, Text<'a>)>,
}

/// What a part consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// No parts: text, an image, an attachment.
    Leaf,
    /// A container that was not looked into: too deep, encoded, or the rest of one with too many parts. Its type is
    /// application/octet-stream, for a type that has parts must list them.
    Unread,
    /// At least one part.
    Multipart(Vec<Part<'a>>),
    /// message/rfc822: the fields an ENVELOPE needs, as in `Summary::header`, and the message in it.
    Message(Box<(Text<'a>, Part<'a>)>),
}

/// `ENVELOPE_FIELDS` and what mutt, Thunderbird, Apple Mail, Roundcube and offline synchronisers ask for in their lists.
pub const KEPT_FIELDS: [&str; 28] = [
    "Date",
    "Subject",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "In-Reply-To",
    "Message-ID",
    "References",
    "Content-Type",
    "Content-Description",
    "Lines",
    "List-Id",
    "List-Post",
    "List-Subscribe",
    "List-Unsubscribe",
    "Mail-Followup-To",
    "Mail-Reply-To",
    "Disposition-Notification-To",
    "Newsgroups",
    "Importance",
    "Priority",
    "X-Priority",
    "X-Label",
    "X-TUID",
    "X-Draft-Info",
];

impl<'a> Summary<'a> {
    /// The digest of one message, short enough to be kept.
    pub fn of(raw: &'a [u8]) -> Summary<'a> {
        Summary::of_mail_data(raw, raw.len())
    }

    /// As `of`, where what begins at `begin` is mail data as SMTP takes it in: there every line but perhaps the last one ends in CRLF
    /// (RFC 5321 §2.3.8), and no byte is looked at to find out that they do.
    pub fn of_mail_data(raw: &'a [u8], begin: usize) -> Summary<'a> {
        let (before, mail_data) = raw.split_at(begin);
        let mut line_ends = LineEnds::default();
        line_ends.put(before);
        line_ends.skip(mail_data);
        scan::summary(raw, scan::Bounds::KEPT, line_ends.missing())
    }

    /// The digest of a message whose kept one is not complete. This one is not complete when the header or the descriptions of its
    /// parts pass `WHOLE_HEADER_BYTES_MAX` or `WHOLE_TEXT_BYTES_MAX`.
    pub fn whole(raw: &'a [u8]) -> Summary<'a> {
        scan::summary(raw, scan::Bounds::WHOLE, crate::line_ends_missing(raw))
    }

    /// Whether `bytes`, which `encode` wrote, are of a complete summary of this version. Looks at the first two only.
    pub fn is_complete(bytes: &[u8]) -> bool {
        codec::is_complete(bytes)
    }

    /// `line_ends_missing` of what `encode` wrote; of nearly every message the first two bytes say that it is 0.
    pub fn line_ends_missing_in(bytes: &[u8]) -> Result<u32, SummaryFault> {
        codec::line_ends_missing_in(bytes)
    }

    /// The digest as bytes; the pair of `decode`. The first byte is the version.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads what `encode` wrote. Bytes that are anything else are a `SummaryFault`.
    pub fn decode(bytes: &'a [u8]) -> Result<Summary<'a>, SummaryFault> {
        codec::decode(bytes)
    }

    /// `header` of what `encode` wrote. The parts behind it are not looked at.
    pub fn header_in(bytes: &[u8]) -> Result<&[u8], SummaryFault> {
        codec::header_in(bytes)
    }

    /// The fields of an ENVELOPE, taken out of the kept header.
    pub fn envelope(&self) -> EnvelopeFields<'_> {
        EnvelopeFields::of(&self.header)
    }
}

/// Whether two names of header fields are the same (RFC 5322 §1.2.2: case does not count).
fn same(name: &[u8], other: &str) -> bool {
    name.len() == other.len() && name.eq_ignore_ascii_case(other.as_bytes())
}

#[cfg(test)]
mod tests;
