//! Messages whose lines do not all end in CRLF. SMTP takes none in; APPEND of IMAP stores what a client sends, byte for byte.

use memchr::memchr_iter;

/// Octets that `raw` takes more where every line ends in CRLF, the last one included: 0 for nearly every message. Saturates.
pub fn line_ends_missing(raw: &[u8]) -> u32 {
    let mut line_ends = LineEnds::default();
    line_ends.put(raw);
    line_ends.missing()
}

/// `line_ends_missing` of a message that comes in pieces.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineEnds {
    /// The byte before; `None` at the beginning.
    last: Option<u8>,
    lone: usize,
}

impl LineEnds {
    /// The message's next bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        let before = |at: usize| match at {
            0 => self.last,
            at => Some(bytes[at - 1]),
        };
        let is_lone = |&at: &usize| before(at) != Some(b'\r');
        self.lone += memchr_iter(b'\n', bytes).filter(is_lone).count();
        self.last = bytes.last().copied().or(self.last);
    }

    /// Of all that was put.
    pub fn missing(self) -> u32 {
        let at_the_end = match self.last {
            None | Some(b'\n') => 0,
            Some(_) => 2,
        };
        u32::try_from(self.lone + at_the_end).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crlf_would_add_is_counted() {
        for (raw, missing) in [
            ("", 0),
            ("a\r\n", 0),
            ("a\r\n\r\n", 0),
            ("a", 2),
            ("a\r", 2),
            ("\n", 1),
            ("a\n\nb\r\nc", 4),
            ("\r\r\n", 0),
        ] {
            assert_eq!(line_ends_missing(raw.as_bytes()), missing, "{raw:?}");
            for size in 1..=3 {
                let mut line_ends = LineEnds::default();
                raw.as_bytes()
                    .chunks(size)
                    .for_each(|piece| line_ends.put(piece));
                assert_eq!(line_ends.missing(), missing, "{raw:?} by {size}");
            }
        }
    }
}
