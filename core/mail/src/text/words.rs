//! Encoded-words (RFC 2047) to text.

use memchr::memchr;

use super::{base64_decoded, charset};

/// `value` with its encoded-words decoded. What is not quite one stays as it stands. Every byte is looked at a bounded number of
/// times, whatever `value` is.
pub(super) fn decoded(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    let mut pending = Pending::default();
    let mut plain_begin = 0;
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&value[at..], b"=?") {
        let begin = at + found;
        let Some((word, length)) = word(&value[begin..]) else {
            at = begin + 2;
            continue;
        };
        // RFC 2047 §6.2: white space between two encoded-words is not shown.
        let between = &value[plain_begin..begin];
        let joined = !pending.bytes.is_empty() && between.iter().all(u8::is_ascii_whitespace);
        if !joined {
            pending.flush(&mut out);
            out.push_str(&String::from_utf8_lossy(between));
        }
        pending.push(word, &mut out);
        at = begin + length;
        plain_begin = at;
    }
    pending.flush(&mut out);
    out.push_str(&String::from_utf8_lossy(&value[plain_begin..]));
    out
}

struct Word<'v> {
    charset: &'v [u8],
    bytes: Vec<u8>,
}

/// Words in a row of one charset: senders cut characters of several bytes in two (which RFC 2047 §5 forbids).
#[derive(Default)]
struct Pending<'v> {
    charset: &'v [u8],
    bytes: Vec<u8>,
}

impl<'v> Pending<'v> {
    fn push(&mut self, word: Word<'v>, out: &mut String) {
        let same = self.charset.eq_ignore_ascii_case(word.charset);
        if !(same && charset::is_stateless(word.charset)) {
            self.flush(out);
            self.charset = word.charset;
        }
        self.bytes.extend_from_slice(&word.bytes);
    }

    fn flush(&mut self, out: &mut String) {
        if !self.bytes.is_empty() {
            out.push_str(&charset::decode(self.charset, &self.bytes));
            self.bytes.clear();
        }
    }
}

/// The encoded-word that `value` begins with, and its length: `=?charset*language?encoding?text?=`.
fn word(value: &[u8]) -> Option<(Word<'_>, usize)> {
    let rest = value.strip_prefix(b"=?")?;
    let (charset, rest) = rest.split_at(memchr(b'?', rest)?);
    // RFC 2231 §5: the language is not looked at.
    let charset = charset.split(|&byte| byte == b'*').next()?;
    let [b'?', encoding, b'?', rest @ ..] = rest else {
        return None;
    };
    let text = &rest[..memchr(b'?', rest)?];
    if rest.get(text.len() + 1) != Some(&b'=') || charset.is_empty() {
        return None;
    }
    let bytes = match encoding {
        b'b' | b'B' => base64_decoded(text)?,
        b'q' | b'Q' => q_decoded(text),
        _ => return None,
    };
    let length = value.len() - rest.len() + text.len() + 2;
    Some((Word { charset, bytes }, length))
}

/// RFC 2047 §4.2.
fn q_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        out.push(match (byte, digit(at), digit(at + 1)) {
            (b'=', Some(high), Some(low)) => {
                at += 2;
                (high * 16 + low) as u8
            }
            (b'_', ..) => b' ',
            _ => byte,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_become_text() {
        let cases: [(&str, &str); 9] = [
            ("=?utf-8?q?Z=C3=BCrich?= =?iso-8859-1?q?_=FC?=", "Zürich ü"),
            ("a =?utf-8?b?w7w=?= b", "a ü b"),
            ("=?utf-8*de?B?w7w?=x", "üx"),
            // A character cut in two, and the shifts of ISO-2022-JP in each word.
            ("=?UTF-8?B?5L0=?=	=?utf-8?q?=A0?=", "你"),
            (
                "=?ISO-2022-JP?B?GyRCRnwbKEI=?= =?ISO-2022-JP?B?GyRCS1wbKEI=?=",
                "日本",
            ),
            ("=?gb2312?B?xOO6ww==?=", "你好"),
            // What is not an encoded-word stays.
            ("=?utf-8?x?abc?= =?", "=?utf-8?x?abc?= =?"),
            ("1 =?= 2 =?utf-8?q?a", "1 =?= 2 =?utf-8?q?a"),
            ("=?utf-8?q?a b=2?=", "a b=2"),
        ];
        for (value, text) in cases {
            assert_eq!(decoded(value.as_bytes()), text, "{value}");
        }
    }
}
