//! Transfer encodings undone while a part passes by, for BINARY of parts that are too large to be held (RFC 3516).
//!
//! The decoders are `mail::text`'s; this cuts what comes in at places where they have nothing in mind. What comes out is the same as
//! when the whole part is decoded at once: `Encoding::streaming` answers only for bodies of which that is so.

use mail::text::{base64_decoded, quoted_printable_decoded};

use super::super::limits::DECODED_LINE_BYTES_MAX;

/// An encoding that can be undone piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Base64,
    QuotedPrintable,
}

/// Undoes an encoding of a part whose bytes are given piece by piece.
#[derive(Debug)]
pub(super) struct Decoder {
    encoding: Encoding,
    /// What came after the last place to cut at.
    rest: Vec<u8>,
}

impl Encoding {
    /// The encoding called `name`, when `body` can be decoded piece by piece. `None`: it has to be decoded whole.
    pub fn streaming(name: &[u8], body: &[u8]) -> Option<Encoding> {
        if name.eq_ignore_ascii_case(b"base64") {
            // The decoder of whole parts stops at this byte.
            (!body.contains(&0xff)).then_some(Encoding::Base64)
        } else if name.eq_ignore_ascii_case(b"quoted-printable") {
            let mut lines = body.split_inclusive(|&byte| byte == b'\n');
            let one_by_one =
                lines.all(|line| line.len() <= DECODED_LINE_BYTES_MAX && ends_plainly(line));
            one_by_one.then_some(Encoding::QuotedPrintable)
        } else {
            None
        }
    }

    /// How much of `bytes` (of base64: without blanks) can be decoded without what follows.
    fn whole_units(self, bytes: &[u8]) -> usize {
        match self {
            Encoding::Base64 => {
                let (mut letters, mut end) = (0, 0);
                for (at, &byte) in bytes.iter().enumerate() {
                    letters = match byte {
                        b'=' => 0,
                        _ => (letters + 1) % 4,
                    };
                    if letters == 0 {
                        end = at + 1;
                    }
                }
                end
            }
            Encoding::QuotedPrintable => memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1),
        }
    }
}

/// What the decoder of whole parts passes over.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// CRLF is its only CR, and a line without one is the last.
fn ends_plainly(line: &[u8]) -> bool {
    let text = line.strip_suffix(b"\r\n");
    let text = text.or_else(|| (!line.ends_with(b"\n")).then_some(line));
    text.is_some_and(|text| !text.contains(&b'\r'))
}

impl Decoder {
    /// At the front of an encoded part.
    pub fn new(encoding: Encoding) -> Decoder {
        Decoder {
            encoding,
            rest: Vec::new(),
        }
    }

    /// What `bytes` add to the decoded part. `None`: the part is not what `streaming` was asked about.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self.encoding {
            // Blanks say nothing (RFC 2045 §6.8). Kept, millions of them behind one letter would be one unit.
            Encoding::Base64 => {
                let letters = bytes.iter().filter(|byte| !is_blank(**byte));
                self.rest.extend(letters);
            }
            Encoding::QuotedPrintable => self.rest.extend_from_slice(bytes),
        }
        let end = self.encoding.whole_units(&self.rest);
        let decoded = self.decode(end)?;
        // A vector of its own: the room of the whole piece is let go of.
        self.rest = self.rest[end..].to_vec();
        Some(decoded)
    }

    /// What is left at the end of the part.
    pub fn finish(self) -> Option<Vec<u8>> {
        self.decode(self.rest.len())
    }

    fn decode(&self, end: usize) -> Option<Vec<u8>> {
        match self.encoding {
            _ if end == 0 => Some(Vec::new()),
            Encoding::Base64 => base64_decoded(&self.rest[..end]),
            Encoding::QuotedPrintable => quoted_printable_decoded(&self.rest[..end]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(encoding: Encoding, body: &[u8], piece_bytes: usize) -> Option<Vec<u8>> {
        let mut decoder = Decoder::new(encoding);
        let mut out = Vec::new();
        for piece in body.chunks(piece_bytes) {
            out.extend(decoder.feed(piece)?);
        }
        out.extend(decoder.finish()?);
        Some(out)
    }

    #[test]
    fn pieces_of_any_size_come_to_what_the_whole_does() {
        let base64: [&[u8]; 6] = [
            b"aGVsbG8gd29ybGQ=",
            b"aGVs\r\nbG8g d29y\r\nbGQ=\r\n",
            b"aGk=aGk=\r\n",
            b"aGVsbG",
            b"=====",
            b"aGVsb\r\nG8=\r\naGVsbG8=",
        ];
        for body in base64 {
            let encoding = Encoding::streaming(b"BASE64", body).expect("it streams");
            for piece_bytes in 1..=body.len() {
                let pieces = in_pieces(encoding, body, piece_bytes);
                assert_eq!(pieces, base64_decoded(body), "{body:?} by {piece_bytes}");
            }
        }
        let printable: [&[u8]; 4] = [
            b"plain =3D text  \r\nsoft=\r\nline\r\n\r\nend",
            b"=C3=BC=\r\n",
            b"no line end at all",
            b"\r\n\r\n",
        ];
        for body in printable {
            let encoding = Encoding::streaming(b"quoted-printable", body).expect("it streams");
            for piece_bytes in 1..=body.len() {
                let pieces = in_pieces(encoding, body, piece_bytes);
                assert_eq!(
                    pieces,
                    quoted_printable_decoded(body),
                    "{body:?} by {piece_bytes}"
                );
            }
        }
    }

    /// A hostile part, or one of a broken program.
    #[test]
    fn what_is_kept_between_pieces_does_not_grow() {
        let blank: Vec<u8> = b"\r\n \t".repeat(4_096);
        let line = [b'x'; DECODED_LINE_BYTES_MAX];
        let mut base64 = Decoder::new(Encoding::Base64);
        let mut printable = Decoder::new(Encoding::QuotedPrintable);
        assert_eq!(base64.feed(b"a"), Some(Vec::new()));
        for _ in 0..100 {
            assert_eq!(base64.feed(&blank), Some(Vec::new()));
            assert!(printable.feed(&line[2..]).is_some());
            assert!(printable.feed(b"\r\n").is_some());
            assert!(base64.rest.capacity() <= 8, "{}", base64.rest.capacity());
            assert!(printable.rest.capacity() <= DECODED_LINE_BYTES_MAX);
        }
        assert_eq!(base64.feed(b"Gk="), Some(b"hi".to_vec()));
    }

    #[test]
    fn what_only_the_whole_decides_is_not_streamed() {
        assert_eq!(Encoding::streaming(b"base64", b"aGk=\xff"), None);
        assert_eq!(Encoding::streaming(b"quoted-printable", b"a\nb\r\n"), None);
        assert_eq!(Encoding::streaming(b"quoted-printable", b"a\rb\r\n"), None);
        let long = vec![b'x'; DECODED_LINE_BYTES_MAX + 1];
        assert_eq!(Encoding::streaming(b"quoted-printable", &long), None);
        assert_eq!(Encoding::streaming(b"x-uuencode", b"begin"), None);
    }
}
