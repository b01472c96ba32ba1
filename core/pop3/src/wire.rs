//! A message as RETR and TOP send it (RFC 1939 §3): each line ends in CRLF, a dot at the beginning of a line is doubled, a dot alone ends it.
//!
//! What must hold: whatever the bytes are and however they are cut, no line of the message is the dot that ends it, also for a client that
//! takes a lone LF for the end of a line. Without doubled dots a message has its own octets and `mail::line_ends_missing` more.

use memchr::memchr;

/// One message on its way out.
#[derive(Debug, Clone)]
pub struct Wire {
    /// The byte before; LF at the beginning.
    last: u8,
    /// Bytes of the line so far, but no more than two are counted.
    line_bytes: u8,
    /// TOP: lines of the body that are still wanted. `None`: all of them.
    lines_left: Option<u32>,
    /// Before the empty line.
    in_header: bool,
    /// The last line that is wanted has been.
    is_over: bool,
}

impl Wire {
    /// RETR: all of the message.
    pub fn whole() -> Wire {
        Wire {
            last: b'\n',
            line_bytes: 0,
            lines_left: None,
            in_header: true,
            is_over: false,
        }
    }

    /// TOP: the header, the empty line, and so many lines of the body.
    pub fn top(lines: u32) -> Wire {
        Wire {
            lines_left: Some(lines),
            ..Wire::whole()
        }
    }

    /// No more of the message is wanted.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Appends the message's next bytes as they go out: at most twice as many, and one.
    pub fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_over {
            let end = memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            if self.last == b'\n' && line.first() == Some(&b'.') {
                out.push(b'.');
            }
            out.extend_from_slice(line);
            self.line_bytes = self.line_bytes.saturating_add(line.len().min(2) as u8);
            self.last = *line.last().unwrap_or(&self.last);
            match end {
                Some(end) => {
                    self.end_line(out);
                    rest = &rest[end + 1..];
                }
                None => return,
            }
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        let ends_in_cr = self.last == b'\r' && self.line_bytes > 0;
        let is_empty = self.line_bytes == u8::from(ends_in_cr);
        out.extend_from_slice(if ends_in_cr { b"\n" } else { b"\r\n" });
        self.last = b'\n';
        self.line_bytes = 0;
        if self.in_header {
            self.in_header = !is_empty;
            self.is_over = is_empty && self.lines_left == Some(0);
        } else if let Some(lines_left) = &mut self.lines_left {
            *lines_left -= 1;
            self.is_over = *lines_left == 0;
        }
    }

    /// The end of the message, and the dot alone.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.last != b'\n' {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(mut wire: Wire, raw: &[u8], size: usize) -> String {
        let mut out = Vec::new();
        for piece in raw.chunks(size.max(1)) {
            wire.put(piece, &mut out);
        }
        wire.finish(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn dots_are_doubled_and_line_ends_are_completed() {
        for (raw, wire) in [
            ("", ".\r\n"),
            (".", "..\r\n.\r\n"),
            ("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n.\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r", "a\r\r\n.\r\n"),
            ("\n\r\n\r", "\r\n\r\n\r\r\n.\r\n"),
            ("a.\r\n", "a.\r\n.\r\n"),
        ] {
            for size in 1..=4 {
                assert_eq!(sent(Wire::whole(), raw.as_bytes(), size), wire, "{raw:?}");
            }
        }
    }

    #[test]
    fn top_is_the_header_and_so_many_lines() {
        let raw = "A: 1\r\nB: 2\r\n\r\n1\r\n\r\n3\r\n";
        for (lines, wire) in [
            (0, "A: 1\r\nB: 2\r\n\r\n.\r\n"),
            (1, "A: 1\r\nB: 2\r\n\r\n1\r\n.\r\n"),
            (2, "A: 1\r\nB: 2\r\n\r\n1\r\n\r\n.\r\n"),
            (9, "A: 1\r\nB: 2\r\n\r\n1\r\n\r\n3\r\n.\r\n"),
        ] {
            for size in 1..=5 {
                assert_eq!(sent(Wire::top(lines), raw.as_bytes(), size), wire);
            }
        }
        assert_eq!(sent(Wire::top(0), b"A: 1\n\nbody", 99), "A: 1\r\n\r\n.\r\n");
        assert_eq!(sent(Wire::top(5), b"A: 1", 99), "A: 1\r\n.\r\n");
        let mut wire = Wire::top(0);
        wire.put(b"A: 1\r\n\r\n", &mut Vec::new());
        assert!(wire.is_over());
    }

    proptest! {
        /// A client gets the message back, with CRLF, in as many octets as LIST said.
        #[test]
        fn a_message_comes_back_whole_in_the_octets_that_were_said(
            raw in proptest::collection::vec(proptest::sample::select(b"\r\n.ab".to_vec()), 0..60),
            size in 1usize..9,
        ) {
            let wire = sent(Wire::whole(), &raw, size);
            let text = wire.strip_suffix(".\r\n").expect("the dot");
            let mut octets = 0;
            for line in text.split_inclusive('\n') {
                prop_assert!(line.ends_with("\r\n"));
                prop_assert_ne!(line, ".\r\n");
                octets += line.strip_prefix('.').unwrap_or(line).len();
            }
            prop_assert_eq!(octets, raw.len() + mail::line_ends_missing(&raw) as usize);
        }
    }
}
