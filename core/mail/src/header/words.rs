//! The lexical tokens of structured fields (RFC 5322 §3.2): words, quoted strings, comments, domain literals.

use memchr::memchr;

use super::trim;

/// Reads words, quoted strings, comments and domain literals from the front of an address list.
#[derive(Debug, Clone)]
pub(super) struct Words<'a> {
    pub bytes: &'a [u8],
    /// The last comment that was passed.
    pub comment: Option<Vec<u8>>,
}

impl<'a> Words<'a> {
    pub fn new(bytes: &'a [u8]) -> Words<'a> {
        Words {
            bytes,
            comment: None,
        }
    }

    /// Words up to the next special character, joined by one space where white space stood (`spaced`) or by nothing.
    pub fn run(&mut self, spaced: bool) -> Option<Vec<u8>> {
        let mut text: Option<Vec<u8>> = None;
        let mut gap = false;
        while let Some(&byte) = self.bytes.first() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | 0 => {
                    gap = true;
                    self.bytes = &self.bytes[1..];
                }
                b'(' => {
                    gap = true;
                    self.comment = Some(self.skip_comment());
                }
                b'<' | b'>' | b'@' | b',' | b';' | b':' => break,
                _ => {
                    let text = text.get_or_insert_default();
                    if gap && spaced && !text.is_empty() {
                        text.push(b' ');
                    }
                    gap = false;
                    match byte {
                        b'"' => self.quoted(text),
                        b'[' => self.domain_literal(text),
                        _ => self.atom(text),
                    }
                }
            }
        }
        text
    }

    pub fn next_special(&mut self) -> Option<u8> {
        let (&byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(byte)
    }

    fn atom(&mut self, into: &mut Vec<u8>) {
        let ends = |byte: &u8| b" \t\r\n\0(<>@,;:\"[".contains(byte);
        let end = self
            .bytes
            .iter()
            .skip(1)
            .position(ends)
            .map_or(self.bytes.len(), |at| at + 1);
        into.extend_from_slice(&self.bytes[..end]);
        self.bytes = &self.bytes[end..];
    }

    pub fn quoted(&mut self, into: &mut Vec<u8>) {
        let mut at = 1;
        while let Some(&byte) = self.bytes.get(at) {
            at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    into.extend(self.escaped(at));
                    at += 1;
                }
                b'\r' | b'\n' | 0 => {}
                _ => into.push(byte),
            }
        }
        self.bytes = &self.bytes[at.min(self.bytes.len())..];
    }

    /// The byte behind a backslash. A line end or a NUL is no more welcome there than without (RFC 5322 §4.1 obs-qp has them).
    fn escaped(&self, at: usize) -> Option<u8> {
        let byte = self.bytes.get(at).copied();
        byte.filter(|byte| !matches!(byte, b'\r' | b'\n' | 0))
    }

    fn domain_literal(&mut self, into: &mut Vec<u8>) {
        let end = memchr(b']', self.bytes).map_or(self.bytes.len(), |at| at + 1);
        into.extend(
            self.bytes[..end]
                .iter()
                .filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)),
        );
        self.bytes = &self.bytes[end..];
    }

    /// Past a comment with its nested ones; answers its text.
    pub fn skip_comment(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut depth = 0usize;
        let mut at = 0;
        while let Some(&byte) = self.bytes.get(at) {
            at += 1;
            match byte {
                b'(' => {
                    depth += 1;
                    if depth == 1 {
                        continue;
                    }
                }
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    text.extend(self.escaped(at));
                    at += 1;
                    continue;
                }
                b'\r' | b'\n' | 0 => continue,
                _ => {}
            }
            text.push(byte);
        }
        self.bytes = &self.bytes[at.min(self.bytes.len())..];
        trim(&text).to_vec()
    }

    /// To the next comma or the end of the group, which `;` is left for.
    pub fn skip_to_separator(&mut self) {
        loop {
            self.run(false);
            match self.bytes.first() {
                Some(b',') => {
                    self.bytes = &self.bytes[1..];
                    return;
                }
                Some(b';') | None => return,
                Some(_) => self.bytes = &self.bytes[1..],
            }
        }
    }
}
