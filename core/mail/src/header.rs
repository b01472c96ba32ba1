//! Header fields as they stand (RFC 5322 §2.2, §3.6; RFC 2045 §5): finding, unfolding, address lists, parameters.
//!
//! IMAP wants fields undecoded, encoded-words included, which is why these few parsers are ours; decoded text for search
//! comes from `mail-parser` (`text.rs`). Every function takes any bytes and answers something sensible.

mod addresses;
mod parameters;
mod words;

use std::borrow::Cow;

use memchr::memchr;

pub use addresses::{Addresses, addresses};
pub use parameters::Parameterised;
use words::Words;

/// Bytes of a header field or parameter, mostly borrowed from the message.
pub type Text<'a> = Cow<'a, [u8]>;

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Without the colon and blanks before it; empty when what stands before the colon is not a field name, or there is no colon.
    pub name: &'a [u8],
    /// After the colon, folds included, without the last line end.
    pub value: &'a [u8],
    /// The whole field, last line end included.
    pub raw: &'a [u8],
}

/// The fields of `header` up to its end or its first empty line.
pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields { rest: header }
}

/// Bytes of the header of a message, its empty line included; all of a message without one.
pub fn bytes(raw: &[u8]) -> usize {
    let mut begin = 0;
    loop {
        // until an empty line, or the end
        match &raw[begin..] {
            [] => return raw.len(),
            [b'\n', ..] => return begin + 1,
            [b'\r', b'\n', ..] => return begin + 2,
            _ => begin = line_end(raw, begin),
        }
    }
}

/// See `fields`.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    /// What was not given out yet.
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let bytes = self.rest;
        if bytes.is_empty() || bytes[0] == b'\n' || bytes.starts_with(b"\r\n") {
            return None;
        }
        let mut end = line_end(bytes, 0);
        while matches!(bytes.get(end), Some(b' ' | b'\t')) {
            end = line_end(bytes, end);
        }
        let (raw, rest) = bytes.split_at(end);
        self.rest = rest;
        Some(split_field(raw))
    }
}

/// Where the line that contains `from` ends, its line feed included.
pub(crate) fn line_end(bytes: &[u8], from: usize) -> usize {
    memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |at| from + at + 1)
}

/// A field, or a line that is none: its bytes are not lost, and it has no name.
fn split_field(raw: &[u8]) -> Field<'_> {
    let line = trim_line_end(raw);
    let colon = memchr(b':', line);
    match colon.and_then(|colon| Some((name(&line[..colon])?, colon))) {
        Some((name, colon)) => Field {
            name,
            value: &line[colon + 1..],
            raw,
        },
        None => Field {
            name: &[],
            value: line,
            raw,
        },
    }
}

/// RFC 5322 §2.2, §4.5.2: printable ASCII, then blanks. A line end is not a blank: a fold before the colon makes no second author.
fn name(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | b'\t'))?;
    let name = &bytes[..=end];
    name.iter().all(u8::is_ascii_graphic).then_some(name)
}

/// Without CRLF, or without LF where that is all.
fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Without blanks and line ends at either end.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The value of the first field called `name`, unfolded.
pub fn value<'a>(header: &'a [u8], name: &str) -> Option<Text<'a>> {
    fields(header)
        .find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
        .map(|field| unfold(field.value))
}

/// RFC 5322 §2.2.3: folds removed, white space around the value too. A NUL, which IMAP cannot carry, becomes a space.
pub fn unfold(value: &[u8]) -> Text<'_> {
    let value = trim(value);
    let odd = |byte: u8| matches!(byte, b'\r' | b'\n' | 0);
    if !value.iter().copied().any(odd) {
        return Cow::Borrowed(value);
    }
    let kept = value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    Cow::Owned(
        kept.map(|&byte| if byte == 0 { b' ' } else { byte })
            .collect(),
    )
}

/// One entry of an address list in IMAP's form (RFC 3501 §7.4.2, RFC 9051 §7.5.2): a group begins with an entry without
/// `host` whose `mailbox` is its name, and ends with one that has neither.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderAddress<'a> {
    /// The display name with RFC 5322 quoting removed and encoded-words left as they are.
    pub name: Option<Text<'a>>,
    /// RFC 5322 §4.4 obsolete route.
    pub route: Option<Text<'a>>,
    /// The part before the `@`, or the name of a group.
    pub mailbox: Option<Text<'a>>,
    /// The part behind the `@`.
    pub host: Option<Text<'a>>,
}

#[cfg(test)]
mod tests;
