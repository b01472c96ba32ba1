//! Parameter values in pieces and in charsets (RFC 2231 §3, §4) to text.

use crate::header::Parameterised;

use super::charset;

/// The values of a field's parameters that are written so, each whole. Pieces are joined in the order they stand in.
pub(super) fn decoded(field_value: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    let mut open: Option<Value<'_>> = None;
    let parsed = Parameterised::parse(field_value);
    for (name, text) in &parsed.parameters {
        let Some(star) = memchr::memchr(b'*', name) else {
            continue;
        };
        let (base, extended) = (&name[..star], name.ends_with(b"*"));
        let first = !open
            .as_ref()
            .is_some_and(|open| open.name.eq_ignore_ascii_case(base));
        if first {
            values.extend(open.take().map(Value::text));
        }
        let value = open.get_or_insert(Value {
            name: base,
            charset: b"",
            bytes: Vec::new(),
        });
        match extended {
            false => value.bytes.extend_from_slice(text),
            true => value.push_extended(text, first),
        }
    }
    values.extend(open.map(Value::text));
    values
}

struct Value<'p> {
    name: &'p [u8],
    charset: &'p [u8],
    bytes: Vec<u8>,
}

impl<'p> Value<'p> {
    /// `charset'language'text` in the first piece, `text` in the others, with `%XX`.
    fn push_extended(&mut self, text: &'p [u8], first: bool) {
        let mut text = text;
        let mut quotes = text.splitn(3, |&byte| byte == b'\'');
        if first
            && let (Some(charset), Some(_), Some(rest)) =
                (quotes.next(), quotes.next(), quotes.next())
        {
            self.charset = charset;
            text = rest;
        }
        let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            at += 1;
            self.bytes.push(match (byte, digit(at), digit(at + 1)) {
                (b'%', Some(high), Some(low)) => {
                    at += 2;
                    (high * 16 + low) as u8
                }
                _ => byte,
            });
        }
    }

    fn text(self) -> String {
        charset::decode(self.charset, &self.bytes).into_owned()
    }
}
