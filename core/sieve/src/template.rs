//! Strings of a script as they are before a run: with encoded characters decoded (RFC 5228 §2.4.2.4), and with references to variables in
//! them (RFC 5229 §3).

use std::borrow::Cow;

use crate::limits::CAPTURE_INDEX_MAX;
use crate::position::{CompileError, Position};

/// A string that a run puts together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Template {
    /// It is the same in every run.
    Text(Box<str>),
    Mixed(Box<[Piece]>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(Box<str>),
    Variable(Slot),
    /// What a wildcard matched; 0 is all of the string.
    Capture(u8),
}

/// Where a variable's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A number among the script's own variables.
    Local(u16),
    /// A number among the names of variables that it shares with other scripts (RFC 6609 §3.4).
    Global(u16),
}

/// A reference as written, before it is looked up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reference<'t> {
    Name(&'t str),
    /// In a namespace: `global.name`.
    Space(&'t str, &'t str),
    Capture(u8),
}

impl Template {
    /// The string, if it is the same in every run.
    pub fn constant(&self) -> Option<&str> {
        match self {
            Template::Text(text) => Some(text),
            Template::Mixed(_) => None,
        }
    }

    /// The string with a name in place of each variable: it is the same in every run.
    pub fn as_written(&self) -> Cow<'_, str> {
        let pieces = match self {
            Template::Text(text) => return Cow::Borrowed(text),
            Template::Mixed(pieces) => pieces,
        };
        let written = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Cow::Borrowed(&text[..]),
            Piece::Variable(Slot::Local(index)) => Cow::Owned(format!("${{local.{index}}}")),
            Piece::Variable(Slot::Global(index)) => Cow::Owned(format!("${{global.{index}}}")),
            Piece::Capture(index) => Cow::Owned(format!("${{{index}}}")),
        });
        Cow::Owned(written.collect())
    }

    /// Bytes beside the `Template` itself.
    pub fn bytes(&self) -> usize {
        match self {
            Template::Text(text) => text.len(),
            Template::Mixed(pieces) => pieces.iter().map(Piece::bytes).sum(),
        }
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        let text = match self {
            Piece::Text(text) => text.len(),
            _ => 0,
        };
        size_of::<Piece>() + text
    }
}

/// Cuts `text` at its references. `find` answers where a variable is, or why there is none.
pub(crate) fn cut(
    text: &str,
    at: Position,
    find: &mut dyn FnMut(Reference<'_>) -> Result<Piece, CompileError>,
) -> Result<Template, CompileError> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find("${") {
        let (before, reference) = rest.split_at(begin);
        plain.push_str(before);
        let name = inside(reference, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')
        });
        match name
            .map(|name| reference_of(name, at))
            .transpose()?
            .flatten()
        {
            Some(found) => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                }
                let name = name.unwrap_or_default();
                pieces.push(find(found)?);
                rest = &reference[name.len() + 3..];
            }
            // What only looks like a reference is text.
            None => {
                plain.push_str("${");
                rest = &reference[2..];
            }
        }
    }
    plain.push_str(rest);
    if pieces.is_empty() {
        return Ok(Template::Text(plain.into()));
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain.into()));
    }
    Ok(Template::Mixed(pieces.into()))
}

/// What stands between the `${` that `text` begins with and a `}`, if there are only bytes between them that `may` be there. The first other
/// byte ends the look: a string of nothing but `${` would be looked through as often as it has them.
fn inside(text: &str, may: impl Fn(u8) -> bool) -> Option<&str> {
    let inner = &text[2..];
    let end = inner.bytes().position(|byte| !may(byte))?;
    inner[end..].starts_with('}').then(|| &inner[..end])
}

/// What stands between `${` and `}`, if it is a reference.
pub(crate) fn reference_of(
    name: &str,
    at: Position,
) -> Result<Option<Reference<'_>>, CompileError> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        let index = name
            .parse()
            .ok()
            .filter(|index| usize::from(*index) <= CAPTURE_INDEX_MAX);
        return match index {
            Some(index) => Ok(Some(Reference::Capture(index))),
            None => {
                let text = format!("Match variables go from ${{0}} to ${{{CAPTURE_INDEX_MAX}}}");
                Err(CompileError::new(at, text))
            }
        };
    }
    if name.split('.').any(|part| !is_identifier(part)) {
        return Ok(None);
    }
    Ok(Some(match name.split_once('.') {
        Some((space, name)) => Reference::Space(space, name),
        None => Reference::Name(name),
    }))
}

pub(crate) fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// RFC 5228 §2.4.2.4: `${hex: …}` and `${unicode: …}` become what they stand for; what only looks like one stays.
pub(crate) fn decode(text: &str, at: Position) -> Result<Cow<'_, str>, CompileError> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find("${") {
        out.extend_from_slice(&rest.as_bytes()[..begin]);
        let inner = &rest[begin + 2..];
        let inside = inside(&rest[begin..], |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b':' | b' ' | b'\t' | b'\r' | b'\n')
        });
        let decoded = inside
            .map(|inside| encoded(inside, at))
            .transpose()?
            .flatten();
        match (inside, decoded) {
            (Some(inside), Some(bytes)) => {
                out.extend_from_slice(&bytes);
                rest = &inner[inside.len() + 1..];
            }
            _ => {
                out.extend_from_slice(b"${");
                rest = inner;
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    let text = "Encoded characters must make up UTF-8";
    String::from_utf8(out)
        .map(Cow::Owned)
        .map_err(|_| CompileError::new(at, text))
}

/// The bytes that `hex:…` or `unicode:…` stands for.
fn encoded(inside: &str, at: Position) -> Result<Option<Vec<u8>>, CompileError> {
    let Some((kind, digits)) = inside.split_once(':') else {
        return Ok(None);
    };
    let numbers = digits
        .split([' ', '\t', '\r', '\n'])
        .filter(|number| !number.is_empty());
    let is_hex = |number: &str| number.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut out = Vec::new();
    if kind.eq_ignore_ascii_case("hex") {
        for number in numbers {
            match u8::from_str_radix(number, 16) {
                Ok(byte) if number.len() <= 2 && is_hex(number) => out.push(byte),
                _ => return Ok(None),
            }
        }
    } else if kind.eq_ignore_ascii_case("unicode") {
        for number in numbers {
            if !is_hex(number) {
                return Ok(None);
            }
            let letter = u32::from_str_radix(number, 16)
                .ok()
                .and_then(char::from_u32);
            let Some(letter) = letter else {
                let text = "Unicode characters go from 0 to D7FF and from E000 to 10FFFF";
                return Err(CompileError::new(at, text));
            };
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
    } else {
        return Ok(None);
    }
    Ok((!out.is_empty()).then_some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_characters_are_decoded_and_lookalikes_stay() {
        for (text, decoded) in [
            ("$${hex:40}", "$@"),
            ("${hex: 40 }", "@"),
            ("${HEX: 40}", "@"),
            ("${hex:40", "${hex:40"),
            ("${hex:400}", "${hex:400}"),
            ("${hex:4${hex:30}}", "${hex:40}"),
            ("${unicode:40}", "@"),
            ("${ unicode:40}", "${ unicode:40}"),
            ("${UnICoDE:0000040}", "@"),
            ("${Unicode:Cool}", "${Unicode:Cool}"),
            ("${hex:c3 BC}${unicode:1F600 21}", "ü😀!"),
            ("${hex:}", "${hex:}"),
            ("${hex:+4}", "${hex:+4}"),
        ] {
            assert_eq!(
                decode(text, Position::START).expect(text),
                decoded,
                "{text}"
            );
        }
        for text in [
            "${unicode:200000}",
            "${Unicode:DF01}",
            "${hex:ff}",
            "${unicode:fffffffff}",
        ] {
            assert!(decode(text, Position::START).is_err(), "{text}");
        }
    }

    /// Each of them once looked for its closing brace up to the end of the string.
    #[test]
    fn a_string_of_nothing_but_begins_stays() {
        let text = "${".repeat(30_000);
        assert_eq!(decode(&text, Position::START).expect("a text"), text);
        let template = cut(&text, Position::START, &mut |_| Ok(Piece::Capture(0)));
        assert_eq!(template.expect("a text"), Template::Text(text.into()));
    }

    #[test]
    fn references_are_cut_out_and_lookalikes_stay() {
        let cut = |text| {
            cut(text, Position::START, &mut |reference| {
                Ok(match reference {
                    Reference::Name(name) => Piece::Text(format!("<{name}>").into()),
                    Reference::Space(space, name) => {
                        Piece::Text(format!("<{space}|{name}>").into())
                    }
                    Reference::Capture(index) => Piece::Capture(index),
                })
            })
        };
        let text = |text: &str| Piece::Text(text.into());
        for plain in [
            "", "a$b", "${", "${}", "${a b}", "${1a}", "${a.}", "${.a}", "&%${}!",
        ] {
            assert_eq!(cut(plain).expect(plain), Template::Text(plain.into()));
        }
        let mixed = cut("x${a}${1}${global.b}${doh!${c}").expect("references");
        let pieces = [
            text("x"),
            text("<a>"),
            Piece::Capture(1),
            text("<global|b>"),
            text("${doh!"),
            text("<c>"),
        ];
        assert_eq!(mixed, Template::Mixed(pieces.into()));
        assert!(cut("${10}").is_err());
    }
}
