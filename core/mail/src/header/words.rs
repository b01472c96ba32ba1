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

    /// A phrase: words up to the next special character, joined by one space where white space or a comment stood.
    pub fn phrase(&mut self) -> Option<Vec<u8>> {
        let mut text: Option<Vec<u8>> = None;
        while let Some(word) = self.dotted(|_, _| false) {
            match &mut text {
                Some(text) => {
                    text.push(b' ');
                    text.extend_from_slice(&word);
                }
                None => text = Some(word),
            }
        }
        text
    }

    /// A local part or a domain: one word, or words with dots between them. RFC 5322 §4.4 has white space and comments around the
    /// dots; elsewhere they end it. `None` at a special character.
    pub fn dot_words(&mut self) -> Option<Vec<u8>> {
        self.dotted(|before, next| before == Some(&b'.') || next == b'.')
    }

    /// A local part inside angle brackets. Words without dots between them are not one; they are shown as they stand.
    pub fn local_part(&mut self) -> Option<Vec<u8>> {
        let mut text = self.dot_words()?;
        while let Some(word) = self.dot_words() {
            text.push(b' ');
            text.extend_from_slice(&word);
        }
        Some(text)
    }

    /// Words with nothing between them, and over a gap as long as it `joins` what is before it and what is behind it.
    fn dotted(&mut self, joins: impl Fn(Option<&u8>, u8) -> bool) -> Option<Vec<u8>> {
        self.skip_gap();
        let mut text: Option<Vec<u8>> = None;
        while let Some(&byte) = self.bytes.first() {
            let word = match byte {
                b'<' | b'>' | b'@' | b',' | b';' | b':' => break,
                _ => text.get_or_insert_default(),
            };
            match byte {
                b'"' => self.quoted(word),
                b'[' => self.domain_literal(word),
                _ => self.atom(word),
            }
            let gap = self.skip_gap();
            let next = self.bytes.first().copied();
            if gap && next.is_some_and(|next| !joins(word.last(), next)) {
                break;
            }
        }
        text
    }

    /// Past white space and comments; says whether there was any.
    pub fn skip_gap(&mut self) -> bool {
        let before = self.bytes.len();
        while let Some(&byte) = self.bytes.first() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | 0 => self.bytes = &self.bytes[1..],
                b'(' => self.comment = Some(self.skip_comment()),
                _ => break,
            }
        }
        self.bytes.len() < before
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

    /// The byte behind a backslash. A line end or a NUL is refused there as without it (RFC 5322 §4.1 obs-qp has them).
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
            self.phrase();
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
