//! What a POP3 server sends, cut into lines and messages. Pure: bytes come in, and nothing is waited for.

use crate::limits::POP3_LINE_BYTES_MAX;

/// A line has no end within its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// More bytes are needed.
    More,
    End,
    /// It would be longer than allowed.
    TooLong,
}

/// Received bytes.
#[derive(Debug)]
pub struct Lines {
    input: Vec<u8>,
    /// Of `input`, before here.
    taken: usize,
    /// The next byte of a message begins a line.
    at_line: bool,
    /// The server ends lines with CRLF: what ends with LF alone is a part of a line. A message with such lines would otherwise end where its sender likes, and
    /// what stands behind would be taken for replies.
    is_strict: bool,
}

impl Default for Lines {
    fn default() -> Lines {
        Lines {
            input: Vec::new(),
            taken: 0,
            at_line: true,
            is_strict: true,
        }
    }
}

impl Lines {
    /// Where received bytes are appended.
    pub fn input(&mut self) -> &mut Vec<u8> {
        self.input.drain(..self.taken);
        self.taken = 0;
        &mut self.input
    }

    /// The next line without its end, which may lack its CR. `None`: more bytes are needed.
    pub fn line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let rest = &self.input[self.taken..];
        let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
            return match rest.len() > POP3_LINE_BYTES_MAX {
                true => Err(TooLong),
                false => Ok(None),
            };
        };
        if at > POP3_LINE_BYTES_MAX {
            return Err(TooLong);
        }
        let stripped = rest[..at].strip_suffix(b"\r");
        let line = stripped.unwrap_or(&rest[..at]).to_vec();
        self.is_strict = stripped.is_some();
        self.taken += at + 1;
        Ok(Some(line))
    }

    /// Nothing is there that was not taken.
    pub fn is_empty(&self) -> bool {
        self.taken == self.input.len()
    }

    /// Appends what is there of a message to `out`, which gets no longer than `end`: without the dots that RFC 1939 §3 adds, and with CRLF at the end of each line
    /// of which the server sends LF alone. A line may be longer than one of a reply: it is taken in pieces.
    pub fn take_message(&mut self, out: &mut Vec<u8>, end: usize) -> Taken {
        loop {
            // each turn takes a line or a piece of one, or returns
            let rest = &self.input[self.taken..];
            if rest.is_empty() {
                return Taken::More;
            }
            let at = rest.iter().position(|byte| *byte == b'\n');
            let (mut piece, is_whole) = match at {
                Some(at) => (&rest[..at], true),
                // A CR or a dot at the end may be half of something.
                None if rest.len() <= 2 => return Taken::More,
                None => (&rest[..rest.len() - 1], false),
            };
            let count = piece.len() + usize::from(is_whole);
            let mut is_ended = false;
            if is_whole {
                let stripped = piece.strip_suffix(b"\r");
                is_ended = stripped.is_some() || !self.is_strict;
                piece = stripped.unwrap_or(piece);
            }
            if self.at_line
                && (piece != b"." || !is_whole || is_ended)
                && let Some(stripped) = piece.strip_prefix(b".")
            {
                if is_whole && stripped.is_empty() {
                    self.taken += count;
                    self.at_line = true;
                    return Taken::End;
                }
                piece = stripped;
            }
            let added = piece.len() + if is_whole { 2 } else { 0 };
            if out.len() + added > end {
                return Taken::TooLong;
            }
            out.extend_from_slice(piece);
            if is_whole {
                out.extend_from_slice(b"\r\n");
            }
            self.taken += count;
            self.at_line = is_ended;
        }
    }
}

/// `7 text`, of a list.
pub fn numbered(line: &[u8]) -> Option<(u32, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let (number, text) = line.trim().split_once(' ')?;
    Some((number.parse().ok()?, text.trim()))
}

/// Doors for `core/fuzz`: the same bytes in pieces of any size make the same lines and the same message.
pub mod fuzzing {
    use super::*;

    /// The first byte is the size of the pieces.
    pub fn cut(bytes: &[u8]) {
        let Some((size, bytes)) = bytes.split_first() else {
            return;
        };
        let size = usize::from(*size).max(1);
        assert_eq!(message(bytes, size), message(bytes, bytes.len().max(1)));
        let mut lines = Lines::default();
        for piece in bytes.chunks(size) {
            lines.input().extend_from_slice(piece);
            loop {
                // until there is no line left
                match lines.line() {
                    Ok(Some(line)) => {
                        assert!(line.len() <= POP3_LINE_BYTES_MAX && !line.contains(&b'\n'));
                        let _ = numbered(&line);
                    }
                    Ok(None) => break,
                    Err(TooLong) => return,
                }
            }
        }
    }

    fn message(bytes: &[u8], size: usize) -> (Vec<u8>, Taken) {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        let mut last = Taken::More;
        for piece in bytes.chunks(size) {
            lines.input().extend_from_slice(piece);
            last = lines.take_message(&mut out, usize::MAX);
            if last != Taken::More {
                break;
            }
        }
        let is_whole = out.len() < 2 || last != Taken::End || out.ends_with(b"\r\n");
        assert!(is_whole, "a message ends with a line");
        // What comes of a line whose end is missing depends on where it was cut.
        if last == Taken::More {
            let end = out.iter().rposition(|byte| *byte == b'\n');
            out.truncate(end.map_or(0, |at| at + 1));
        }
        (out, last)
    }
}
