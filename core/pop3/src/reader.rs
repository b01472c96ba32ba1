//! Lines of the client, however their bytes were cut.

use memchr::memchr;

/// What the client sent and was not taken yet.
#[derive(Default)]
pub struct Reader {
    input: Vec<u8>,
    /// All before is taken: lines that were pipelined are not moved once for each of them.
    at: usize,
}

/// A line does not fit its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Reader {
    /// Where received bytes are appended.
    pub fn input(&mut self) -> &mut Vec<u8> {
        self.input.drain(..self.at);
        self.at = 0;
        &mut self.input
    }

    /// The next line without its line end, CRLF or a lone LF (which people type); `None`: it is not all there.
    pub fn line(&mut self, bytes_max: usize) -> Result<Option<&[u8]>, TooLong> {
        let rest = &self.input[self.at..];
        let Some(end) = memchr(b'\n', rest) else {
            return match rest.len() < bytes_max {
                true => Ok(None),
                false => Err(TooLong),
            };
        };
        if end >= bytes_max {
            return Err(TooLong);
        }
        self.at += end + 1;
        let line = &rest[..end];
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Nothing that was sent is acted on.
    pub fn clear(&mut self) {
        self.input.clear();
        self.at = 0;
    }

    /// Gives memory back before a long wait.
    pub fn rest(&mut self) {
        self.input().shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_however_they_were_cut() {
        let text = b"STAT\r\nNOOP\n\r\nRETR 1\r\nQU";
        for size in 1..=text.len() {
            let mut reader = Reader::default();
            let mut lines = Vec::new();
            for piece in text.chunks(size) {
                reader.input().extend_from_slice(piece);
                while let Some(line) = reader.line(10).expect("short lines") {
                    lines.push(line.to_vec());
                }
            }
            assert_eq!(lines, [&b"STAT"[..], b"NOOP", b"", b"RETR 1"], "{size}");
            assert_eq!(reader.input(), b"QU");
        }
    }

    #[test]
    fn a_line_past_its_bound_is_refused_whole_or_not() {
        let mut reader = Reader::default();
        reader.input().extend_from_slice(b"12345678\r\n");
        assert_eq!(reader.line(10), Ok(Some(&b"12345678"[..])));
        reader.input().extend_from_slice(b"123456789\r\n");
        assert_eq!(reader.line(10), Err(TooLong));
        reader.clear();
        reader.input().extend_from_slice(b"123456789");
        assert_eq!(reader.line(10), Ok(None));
        reader.input().extend_from_slice(b"\r");
        assert_eq!(reader.line(10), Err(TooLong));
    }
}
