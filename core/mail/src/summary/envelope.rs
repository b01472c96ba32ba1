//! The fields of an ENVELOPE (RFC 9051 §7.5.2).
//!
//! What RFC 9051 calls NIL and what it calls an empty list are decided by the writer (`imap`): here a field is there or
//! it is not, and its text is undecoded.

use crate::header::{self, HeaderAddress, Text};

use super::same;

/// What IMAP calls ENVELOPE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvelopeFields<'a> {
    /// Date, as it stands.
    pub date: Option<Text<'a>>,
    /// Subject, as it stands, encoded words included.
    pub subject: Option<Text<'a>>,
    /// From, of all fields of the name: RFC 5322 §3.6 allows one, and some messages have several.
    pub from: AddressList<'a>,
    /// As `from` when the message says nothing else.
    pub sender: AddressList<'a>,
    /// Reply-To; as `from` when the message says nothing else.
    pub reply_to: AddressList<'a>,
    pub to: AddressList<'a>,
    pub cc: AddressList<'a>,
    pub bcc: AddressList<'a>,
    /// In-Reply-To, as it stands.
    pub in_reply_to: Option<Text<'a>>,
    /// Message-ID, as it stands.
    pub message_id: Option<Text<'a>>,
}

/// One address list of a header: the values of all fields of its name, in order. Its entries are parsed each time they are asked for,
/// since there may be as many as a header has room for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressList<'a>(Vec<&'a [u8]>);

impl<'a> AddressList<'a> {
    /// The fields called `name` of a header, as `EnvelopeFields` joins them. Only they are looked at.
    pub fn of_field(header: &'a [u8], name: &str) -> AddressList<'a> {
        let named = header::fields(header).filter(|field| same(field.name, name));
        AddressList(named.map(|field| field.value).collect())
    }
}

impl AddressList<'_> {
    /// The addresses of every field of the name, in order.
    pub fn iter(&self) -> impl Iterator<Item = HeaderAddress<'static>> {
        self.0.iter().flat_map(|value| header::addresses(value))
    }

    /// No field of the name, or none with an address in it.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// The fields an ENVELOPE is made of.
pub const ENVELOPE_FIELDS: [&str; 10] = [
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
];

impl<'a> EnvelopeFields<'a> {
    /// From a header or from a kept part of one. Of a field that stands twice the first counts, except for address lists,
    /// which are joined.
    pub fn of(header: &'a [u8]) -> EnvelopeFields<'a> {
        let mut envelope = EnvelopeFields::default();
        for field in header::fields(header) {
            let Some(index) = ENVELOPE_FIELDS
                .iter()
                .position(|name| same(field.name, name))
            else {
                continue;
            };
            let text = match index {
                0 => &mut envelope.date,
                1 => &mut envelope.subject,
                8 => &mut envelope.in_reply_to,
                9 => &mut envelope.message_id,
                _ => {
                    let list = match index {
                        2 => &mut envelope.from,
                        3 => &mut envelope.sender,
                        4 => &mut envelope.reply_to,
                        5 => &mut envelope.to,
                        6 => &mut envelope.cc,
                        _ => &mut envelope.bcc,
                    };
                    list.0.push(field.value);
                    continue;
                }
            };
            if text.is_none() {
                *text = Some(header::unfold(field.value));
            }
        }
        // RFC 9051 §7.5.2: the server defaults Sender and Reply-To from From.
        for list in [&mut envelope.sender, &mut envelope.reply_to] {
            if list.is_empty() {
                list.clone_from(&envelope.from);
            }
        }
        envelope
    }
}
