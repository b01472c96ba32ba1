//! BER as LDAP uses it (RFC 4511 §5.1): definite lengths, tags of one octet. Reading does not recurse: who reads descends as far as the grammar says.

use crate::limits::MESSAGE_BYTES_MAX;

/// These bytes are not what LDAP says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

pub const INTEGER: u8 = 0x02;
pub const OCTETS: u8 = 0x04;
pub const ENUMERATED: u8 = 0x0a;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// Elements that stand one after another.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    pub fn new(rest: &'a [u8]) -> Elements<'a> {
        Elements { rest }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Tag and contents of the next one.
    pub fn next(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let Head { tag, start, length } = head(self.rest)?.ok_or(Malformed)?;
        let whole = start.checked_add(length).ok_or(Malformed)?;
        let contents = self.rest.get(start..whole).ok_or(Malformed)?;
        self.rest = &self.rest[whole..];
        Ok((tag, contents))
    }

    /// The contents of the next one, which has this tag.
    pub fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.next()? {
            (found, contents) if found == tag => Ok(contents),
            _ => Err(Malformed),
        }
    }

    /// The next one where it has this tag; otherwise nothing is taken.
    pub fn take_if(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        match self.rest.first() {
            Some(first) if *first == tag => self.expect(tag).map(Some),
            _ => Ok(None),
        }
    }
}

struct Head {
    tag: u8,
    /// Where the contents begin.
    start: usize,
    length: usize,
}

/// `None`: there are too few bytes to tell.
fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let [tag, first, rest @ ..] = bytes else {
        return Ok(None);
    };
    // A tag of several octets, and a length that is not known (RFC 4511 §5.1: not used).
    if tag & 0x1f == 0x1f || *first == 0x80 {
        return Err(Malformed);
    }
    if *first < 0x80 {
        return Ok(Some(Head {
            tag: *tag,
            start: 2,
            length: usize::from(*first),
        }));
    }
    let octets = usize::from(first & 0x7f);
    if octets > 4 {
        return Err(Malformed);
    }
    let Some(length) = rest.get(..octets) else {
        return Ok(None);
    };
    let length = length
        .iter()
        .fold(0, |sum, octet| sum << 8 | usize::from(*octet));
    Ok(Some(Head {
        tag: *tag,
        start: 2 + octets,
        length,
    }))
}

/// How long the message is that `bytes` begin with; `None`: not all of its head is there. One over the bound is `Malformed` before it is read.
pub fn message_length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    if bytes.first().is_some_and(|tag| *tag != SEQUENCE) {
        return Err(Malformed);
    }
    let Some(Head { start, length, .. }) = head(bytes)? else {
        return Ok(None);
    };
    match start.checked_add(length) {
        Some(whole) if whole <= MESSAGE_BYTES_MAX => Ok(Some(whole)),
        _ => Err(Malformed),
    }
}

/// A number of at most four octets that is not negative.
pub fn number(contents: &[u8]) -> Result<u32, Malformed> {
    match contents {
        [first, ..] if *first < 0x80 && contents.len() <= 4 => Ok(contents
            .iter()
            .fold(0, |sum, octet| sum << 8 | u32::from(*octet))),
        _ => Err(Malformed),
    }
}

/// An element.
pub fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(contents.len() + 6);
    out.push(tag);
    match contents.len() {
        short @ 0..0x80 => out.push(short as u8),
        long => {
            let octets = long.to_be_bytes();
            let zeros = octets.iter().take_while(|octet| **octet == 0).count();
            out.push(0x80 | (octets.len() - zeros) as u8);
            out.extend(&octets[zeros..]);
        }
    }
    out.extend(contents);
    out
}

/// Elements in one.
pub fn constructed(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    element(tag, &parts.concat())
}

pub fn octets(text: &[u8]) -> Vec<u8> {
    element(OCTETS, text)
}

/// INTEGER or ENUMERATED, as `tag` says.
pub fn put_number(tag: u8, number: u32) -> Vec<u8> {
    let octets = number.to_be_bytes();
    let mut from = octets
        .iter()
        .take_while(|octet| **octet == 0)
        .count()
        .min(3);
    // A first bit that is set would make it negative.
    let mut contents = Vec::with_capacity(5);
    if octets[from] >= 0x80 {
        match from {
            0 => contents.push(0),
            _ => from -= 1,
        }
    }
    contents.extend(&octets[from..]);
    element(tag, &contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_come_back() {
        for value in [0, 1, 127, 128, 255, 256, 0x7fff_ffff] {
            let bytes = put_number(INTEGER, value);
            let mut elements = Elements::new(&bytes);
            assert_eq!(number(elements.expect(INTEGER).unwrap()), Ok(value));
            assert!(elements.is_empty());
        }
        for length in [0, 1, 127, 128, 255, 256, 65_536] {
            let bytes = element(SEQUENCE, &vec![7; length]);
            assert_eq!(message_length(&bytes), Ok(Some(bytes.len())));
            assert_eq!(Elements::new(&bytes).next().unwrap().1.len(), length);
        }
    }

    #[test]
    fn what_is_too_long_endless_or_cut_short_is_refused() {
        assert_eq!(
            message_length(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]),
            Err(Malformed)
        );
        assert_eq!(message_length(&[0x30, 0x80]), Err(Malformed), "no length");
        assert_eq!(message_length(&[0x30, 0x89]), Err(Malformed));
        assert_eq!(message_length(b"HTTP/1.1"), Err(Malformed));
        assert_eq!(message_length(&[0x30, 0x82, 0x01]), Ok(None));
        assert!(Elements::new(&[0x04, 0x05, b'a']).next().is_err());
        assert!(Elements::new(&[0x1f, 0x81, 0x00, 0x00]).next().is_err());
        assert_eq!(number(&[0xff]), Err(Malformed));
        assert_eq!(number(&[]), Err(Malformed));
    }
}
