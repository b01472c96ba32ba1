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
    /// Received fields that others wrote.
    hops: usize,
}

impl Digest {
    pub fn of(raw: &[u8], trace_bytes: usize) -> Digest {
        Digest {
            name: BodyName::of(raw),
            summary: Bytes::from(Summary::of(raw).encode()),
            hops: hops(&raw[trace_bytes..]),
        }
    }

    /// Why the message is refused for every recipient, if it is.
    pub fn refusal(&self) -> Option<Refusal> {
        (self.hops > HOPS_MAX).then_some(Refusal::Loop)
    }
}

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
    fn hops_are_counted_in_the_header_only() {
        assert_eq!(
            hops(b"Received: a\r\n\tb\r\nreceiVED: c\r\nX-Received: d\r\n\r\nReceived: e\r\n"),
            2
        );
        assert_eq!(hops(b""), 0);
        assert_eq!(hops(b"Received: no line end"), 0);
    }
}
