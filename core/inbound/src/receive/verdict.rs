//! Stage 3, the end of mail data: what a look at the whole message says about it.
//!
//! `Digest::of` is work over every byte: a core does it beside its connections when the message is large (`runtime::work`). What must hold:
//! a verdict needs no store and no network, and is the same for every recipient.

use base::BodyName;
use bytes::Bytes;
use mail::Summary;
use smtp::Refusal;

/// A message with more Received fields is taken to go in circles. RFC 5321 §6.3 asks for 100 or more.
const HOPS_MAX: usize = 100;

/// What is to be known of a complete message, by looking at all of it.
pub struct Digest {
    pub name: BodyName,
    pub summary: Bytes,
    /// The value of its Message-ID field, cut to `MESSAGE_ID_BYTES_MAX`; empty where there is none.
    pub message_id: String,
    /// Received fields that others wrote.
    hops: usize,
}

impl Digest {
    /// What begins at `trace_bytes` came from outside. What begins at `mail_data` is as SMTP took it in (`Summary::of_mail_data`).
    pub fn of(raw: &[u8], trace_bytes: usize, mail_data: usize) -> Digest {
        let summary = Summary::of_mail_data(raw, mail_data);
        Digest {
            name: BodyName::of(raw),
            message_id: message_id(&summary.header),
            summary: Bytes::from(summary.encode()),
            hops: hops(&raw[trace_bytes..]),
        }
    }

    /// Why the message is refused for every recipient, if it is. What another zone of ours hands over was counted there, before our own field came in front.
    pub fn refusal(&self, is_handed_over: bool) -> Option<Refusal> {
        (!is_handed_over && self.hops > HOPS_MAX).then_some(Refusal::Loop)
    }
}

fn message_id(header: &[u8]) -> String {
    let mut fields = mail::header::fields(header);
    let field = fields.find(|field| field.name.eq_ignore_ascii_case(b"Message-ID"));
    let value = field.map_or(&b""[..], |field| field.value.trim_ascii());
    let value = &value[..value.len().min(MESSAGE_ID_BYTES_MAX)];
    value.escape_ascii().to_string()
}

/// Of a Message-ID field in the log. RFC 5322 §2.1.1: a line has 998 characters at most, and 78 as a rule.
const MESSAGE_ID_BYTES_MAX: usize = 250;

/// Received fields in the header of `content`.
fn hops(content: &[u8]) -> usize {
    const NAME: &[u8] = b"received:";
    let mut hops = 0;
    let mut begin = 0;
    // The header ends at the first empty line; each turn goes one line on.
    while let Some(length) = memchr::memchr(b'\n', &content[begin..]) {
        let line = &content[begin..begin + length];
        if line.is_empty() || line == b"\r" {
            break;
        }
        if line
            .get(..NAME.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(NAME))
        {
            hops += 1;
        }
        begin += length + 1;
    }
    hops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_id_is_found_cut_and_made_printable() {
        let id = |text: &str| Digest::of(text.as_bytes(), 0, text.len()).message_id;
        assert_eq!(
            id("From: a\r\nmessage-id:\r\n <a@b>\r\n\r\nMessage-ID: <c@d>"),
            "<a@b>"
        );
        assert_eq!(id("From: a\r\n\r\n"), "");
        assert_eq!(id("Message-ID: <\x1b[2J@b>\r\n\r\n"), "<\\x1b[2J@b>");
        let long = format!("Message-ID: <{}>\r\n\r\n", "x".repeat(900));
        assert_eq!(id(&long).len(), MESSAGE_ID_BYTES_MAX);
    }

    #[test]
    fn hops_are_counted_in_the_header_only() {
        assert_eq!(
            hops(b"Received: a\r\n\tb\r\nreceiVED: c\r\nX-Received: d\r\n\r\nReceived: e\r\n"),
            2
        );
        assert_eq!(hops(b""), 0);
        assert_eq!(hops(b"Received: no line end"), 0);
    }
}
