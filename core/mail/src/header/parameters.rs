//! Values with parameters (RFC 2045 §5.1, RFC 2183).

use crate::limits::PARAMETERS_MAX;

use super::Words;

/// A value with parameters (RFC 2045 §5.1 Content-Type, RFC 2183 Content-Disposition). Names and values as written,
/// quoting removed; RFC 2231 pieces stay pieces, as IMAP wants them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameterised {
    pub value: Vec<u8>,
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// There are more than `PARAMETERS_MAX`; they are not listed.
    pub cut: bool,
}

impl Parameterised {
    /// White space ends a token. Where the semicolon before a parameter is missing the parameter is read all the same; in a value
    /// that should have been quoted (`filename=my file.pdf`) white space is one space.
    pub fn parse(value: &[u8]) -> Parameterised {
        let mut words = Words::new(value);
        let mut parsed = Parameterised {
            value: head(&mut words),
            ..Parameterised::default()
        };
        loop {
            // each turn takes a byte at least, or ends
            let mut separated = false;
            while words.skip_gap() || words.bytes.first() == Some(&b';') {
                if let [b';', rest @ ..] = words.bytes {
                    separated = true;
                    words.bytes = rest;
                }
            }
            if words.bytes.is_empty() {
                return parsed;
            }
            let mut name = Vec::new();
            take(&mut words, &mut name, b"=");
            words.skip_gap();
            let mut text = Vec::new();
            match words.bytes {
                [b'=', rest @ ..] => {
                    words.bytes = rest;
                    text = parameter_value(&mut words);
                }
                [b'"', ..] => words.quoted(&mut Vec::new()),
                _ if separated => {}
                _ => continue, // words behind the value that are not a parameter
            }
            if name.is_empty() {
                continue;
            }
            if parsed.parameters.len() == PARAMETERS_MAX {
                parsed.cut = true;
                return parsed;
            }
            parsed.parameters.push((name, text));
        }
    }

    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let same = |pair: &&(Vec<u8>, Vec<u8>)| pair.0.eq_ignore_ascii_case(name.as_bytes());
        self.parameters.iter().find(same).map(|pair| &pair.1[..])
    }
}

/// The value itself. RFC 2045 §5.1 is written in tokens, so that white space and comments may stand around the slash of a type.
fn head(words: &mut Words<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    loop {
        // each turn takes a byte at least, or ends
        let gap = words.skip_gap() && !text.is_empty();
        let slash = text.last() == Some(&b'/') || words.bytes.first() == Some(&b'/');
        match words.bytes {
            [] | [b';', ..] => return text,
            _ if gap && !slash => return text,
            [b'"', ..] => words.quoted(&mut text),
            _ => take(words, &mut text, b""),
        }
    }
}

/// After `=`, up to a semicolon or what must be the next parameter.
fn parameter_value(words: &mut Words<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    words.skip_gap();
    loop {
        // each turn takes a byte at least, or ends
        match words.bytes {
            [] | [b';', ..] => return text,
            [b'"', ..] => words.quoted(&mut text),
            _ => take(words, &mut text, b""),
        }
        let blank = matches!(words.bytes, [b' ' | b'\t' | b'\r' | b'\n' | 0, ..]);
        words.skip_gap();
        if blank && !matches!(words.bytes, [] | [b';', ..]) {
            if begins_parameter(words.bytes) {
                return text;
            }
            text.push(b' ');
        }
    }
}

/// A token of RFC 2045 §5.1 and an equals sign.
fn begins_parameter(bytes: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(byte);
    let end = bytes.iter().position(|byte| !token(byte));
    let rest = end.map_or(&[][..], |end| &bytes[end..]);
    end != Some(0) && rest.trim_ascii_start().first() == Some(&b'=')
}

/// Bytes up to white space, a comment, a quoted string, a semicolon, or one of `stops`.
fn take(words: &mut Words<'_>, into: &mut Vec<u8>, stops: &[u8]) {
    let ends = |byte: &u8| b" \t\r\n\0(\";".contains(byte) || stops.contains(byte);
    let end = words.bytes.iter().position(ends);
    let (token, rest) = words.bytes.split_at(end.unwrap_or(words.bytes.len()));
    into.extend_from_slice(token);
    words.bytes = rest;
}
