//! Header fields as they stand (RFC 5322 §2.2, §3.6; RFC 2045 §5): finding, unfolding, address lists, parameters.
//!
//! IMAP wants fields undecoded, encoded-words included, which is why these few parsers are ours; decoded text for search
//! comes from `mail-parser` (`text.rs`). Every function takes any bytes and answers something sensible.

use std::borrow::Cow;

use memchr::memchr;

use crate::limits::{ADDRESSES_MAX, PARAMETERS_MAX};

/// Bytes of a header field or parameter, mostly borrowed from the message.
pub type Text<'a> = Cow<'a, [u8]>;

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Without the colon and white space before it; empty when the line has no colon.
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

#[derive(Debug, Clone)]
pub struct Fields<'a> {
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

fn split_field(raw: &[u8]) -> Field<'_> {
    let line = trim_line_end(raw);
    match memchr(b':', line) {
        Some(colon) => Field {
            name: trim(&line[..colon]),
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

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

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
    pub mailbox: Option<Text<'a>>,
    pub host: Option<Text<'a>>,
}

/// An RFC 5322 address list, obsolete forms included. What makes no sense is skipped, at most to the next comma.
pub fn addresses(value: &[u8]) -> Vec<HeaderAddress<'static>> {
    let mut words = Words {
        bytes: value,
        comment: None,
    };
    let mut list = Vec::new();
    let mut in_group = false;
    while list.len() < ADDRESSES_MAX {
        words.comment = None;
        let phrase = words.run(true);
        match words.next_special() {
            None => {
                push_bare(&mut list, phrase);
                break;
            }
            Some(b'<') => {
                let mut entry = angle(&mut words);
                words.skip_to_separator();
                entry.name = phrase.or_else(|| words.comment.take()).map(Cow::Owned);
                if entry.mailbox.is_some() {
                    list.push(entry);
                }
            }
            Some(b'@') => {
                let host = words.run(false).unwrap_or_default();
                words.skip_to_separator();
                if let Some(local) = phrase {
                    list.push(HeaderAddress {
                        name: words.comment.take().map(Cow::Owned),
                        route: None,
                        mailbox: Some(Cow::Owned(local)),
                        host: Some(Cow::Owned(host)),
                    });
                }
            }
            Some(b':') if !in_group => {
                let name = phrase.unwrap_or_default();
                list.push(HeaderAddress {
                    mailbox: Some(Cow::Owned(name)),
                    ..HeaderAddress::default()
                });
                in_group = true;
            }
            Some(b';') if in_group => {
                push_bare(&mut list, phrase);
                list.push(HeaderAddress::default());
                in_group = false;
            }
            Some(_) => push_bare(&mut list, phrase),
        }
    }
    if in_group {
        list.push(HeaderAddress::default());
    }
    list
}

/// A name alone (`undisclosed recipients`, a local user): a mailbox at an empty host, for a missing host means a group.
fn push_bare(list: &mut Vec<HeaderAddress<'static>>, phrase: Option<Vec<u8>>) {
    if let Some(phrase) = phrase {
        list.push(HeaderAddress {
            mailbox: Some(Cow::Owned(phrase)),
            host: Some(Cow::Borrowed(b"")),
            ..HeaderAddress::default()
        });
    }
}

/// After `<`: an optional route, a local part, a domain, `>`.
fn angle(words: &mut Words<'_>) -> HeaderAddress<'static> {
    let mut entry = HeaderAddress::default();
    let mut route = Vec::new();
    loop {
        // each turn takes at least one special character
        let run = words.run(false);
        match words.next_special() {
            Some(b'@') if run.is_none() => {
                let host = words.run(false).unwrap_or_default();
                if !route.is_empty() {
                    route.push(b',');
                }
                route.push(b'@');
                route.extend_from_slice(&host);
            }
            Some(b',' | b':') if run.is_none() && !route.is_empty() => {}
            Some(b'@') => {
                entry.mailbox = run.map(Cow::Owned);
                entry.host = Some(Cow::Owned(words.run(false).unwrap_or_default()));
                break;
            }
            Some(b'>') | None => {
                // `<>` is an empty mailbox at an empty host
                entry.mailbox = Some(Cow::Owned(run.unwrap_or_default()));
                entry.host = Some(Cow::Borrowed(b""));
                break;
            }
            Some(_) => break,
        }
    }
    if !route.is_empty() {
        entry.route = Some(Cow::Owned(route));
    }
    entry
}

/// Reads words, quoted strings, comments and domain literals from the front of an address list.
struct Words<'a> {
    bytes: &'a [u8],
    comment: Option<Vec<u8>>,
}

impl Words<'_> {
    /// Words up to the next special character, joined by one space where white space stood (`spaced`) or by nothing.
    fn run(&mut self, spaced: bool) -> Option<Vec<u8>> {
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

    fn next_special(&mut self) -> Option<u8> {
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

    fn quoted(&mut self, into: &mut Vec<u8>) {
        let mut at = 1;
        while let Some(&byte) = self.bytes.get(at) {
            at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    into.extend(self.bytes.get(at));
                    at += 1;
                }
                b'\r' | b'\n' | 0 => {}
                _ => into.push(byte),
            }
        }
        self.bytes = &self.bytes[at.min(self.bytes.len())..];
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
    fn skip_comment(&mut self) -> Vec<u8> {
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
                    text.extend(self.bytes.get(at));
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
    fn skip_to_separator(&mut self) {
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

/// A value with parameters (RFC 2045 §5.1 Content-Type, RFC 2183 Content-Disposition). Names and values as written,
/// quoting removed; RFC 2231 pieces stay pieces, as IMAP wants them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameterised {
    pub value: Vec<u8>,
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Parameterised {
    pub fn parse(value: &[u8]) -> Parameterised {
        let mut rest = value;
        let head = token_run(&mut rest, b";");
        let mut parameters = Vec::new();
        while let [b';', after @ ..] = rest {
            rest = after;
            let name = token_run(&mut rest, b"=;");
            let mut text = Vec::new();
            if let [b'=', after @ ..] = rest {
                rest = after;
                text = token_run(&mut rest, b";");
            }
            if !name.is_empty() && parameters.len() < PARAMETERS_MAX {
                parameters.push((name, text));
            }
        }
        Parameterised {
            value: head,
            parameters,
        }
    }

    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let same = |pair: &&(Vec<u8>, Vec<u8>)| pair.0.eq_ignore_ascii_case(name.as_bytes());
        self.parameters.iter().find(same).map(|pair| &pair.1[..])
    }
}

/// Text up to one of `stops`, with white space outside quotes and comments removed.
fn token_run(rest: &mut &[u8], stops: &[u8]) -> Vec<u8> {
    let mut words = Words {
        bytes: rest,
        comment: None,
    };
    let mut text = Vec::new();
    while let Some(&byte) = words.bytes.first() {
        match byte {
            b'"' => words.quoted(&mut text),
            b'(' => {
                words.skip_comment();
            }
            _ if stops.contains(&byte) => break,
            _ => {
                words.bytes = &words.bytes[1..];
                if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0) {
                    text.push(byte);
                }
            }
        }
    }
    *rest = words.bytes;
    text
}

#[cfg(test)]
mod tests;
