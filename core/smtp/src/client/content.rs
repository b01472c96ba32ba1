//! The content of a message on the wire: dots doubled and the end of data after it (RFC 5321 §4.5.2), or as one chunk (RFC 3030).

use std::sync::Arc;

/// Content made ready for the wire once, for many sendings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Dots doubled, end of data appended (RFC 5321 §4.5.2).
    Stuffed(Arc<[u8]>),
    /// For one BDAT LAST (RFC 3030).
    Chunk(Arc<[u8]>),
    /// The caller sends it after DATA, at `Event::Content`: see `Stuffer`.
    ByCaller,
}

impl Content {
    /// For DATA. `raw` must use CRLF line ends; when the last one is missing it is added.
    pub fn stuffed(raw: &[u8]) -> Content {
        let mut out = Vec::with_capacity(raw.len() + raw.len() / 64 + 5);
        if raw.starts_with(b".") {
            out.push(b'.');
        }
        let mut copied = 0;
        for at in memchr::memmem::find_iter(raw, b"\r\n.") {
            out.extend_from_slice(&raw[copied..at + 3]);
            out.push(b'.');
            copied = at + 3;
        }
        out.extend_from_slice(&raw[copied..]);
        if !raw.is_empty() && !raw.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        Content::Stuffed(out.into())
    }

    /// For BDAT: as it is.
    pub fn chunk(raw: &[u8]) -> Content {
        Content::Chunk(raw.into())
    }
}

/// Content made ready for DATA piece by piece (RFC 5321 §4.5.2), for what is never whole in memory.
#[derive(Debug, Default)]
pub struct Stuffer {
    /// The last bytes of what was put: how much of CRLF, or of a line.
    tail: Tail,
}

/// What the content written so far ends with.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Nothing was put: a dot would be the first of a line.
    #[default]
    Begin,
    /// A CR whose LF may still come.
    Cr,
    /// A line end: a dot is doubled.
    Line,
    /// The middle of a line.
    Within,
}

impl Stuffer {
    /// Appends `raw`, the next bytes of the content, to `out`: dots at the beginnings of lines doubled, and line ends made CRLF.
    pub fn put(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        for &byte in raw {
            let begins = matches!(self.tail, Tail::Begin | Tail::Line);
            match byte {
                b'.' if begins => out.extend_from_slice(b".."),
                // RFC 5321 §2.3.8: neither travels alone, or a server might see an end of data in it.
                b'\n' if self.tail != Tail::Cr => out.extend_from_slice(b"\r\n"),
                _ => {
                    if self.tail == Tail::Cr && byte != b'\n' {
                        out.push(b'\n');
                        if byte == b'.' {
                            out.push(b'.');
                        }
                    }
                    out.push(byte);
                }
            }
            self.tail = match byte {
                b'\r' => Tail::Cr,
                b'\n' => Tail::Line,
                _ => Tail::Within,
            };
        }
    }

    /// Appends the end of data.
    pub fn end(self, out: &mut Vec<u8>) {
        match self.tail {
            Tail::Begin | Tail::Line => {}
            Tail::Cr => out.push(b'\n'),
            Tail::Within => out.extend_from_slice(b"\r\n"),
        }
        out.extend_from_slice(b".\r\n");
    }
}
