//! Text as header fields may carry it (RFC 2047, RFC 5322 §2.2.3).

use data_encoding::BASE64;

/// Bytes of text in one encoded word: with the 12 letters around them 64 in base64, below the 75 of RFC 2047 §2, and with room for `Subject:`.
const WORD_BYTES_MAX: usize = 39;
/// RFC 5322 §2.1.1.
const LINE_BYTES_MAX: usize = 76;
/// A longer word without spaces would make a line beyond the 998 of RFC 5322 §2.1.1, with the field's name before it.
const PLAIN_WORD_BYTES_MAX: usize = 700;

/// Has to be encoded, so that it can be folded.
pub(crate) fn has_long_word(text: &str) -> bool {
    text.split(' ')
        .any(|word| word.len() > PLAIN_WORD_BYTES_MAX)
}

/// `text` in printable ASCII: as it stands, or in encoded words. Line ends and other control characters become spaces.
pub(crate) fn ascii(text: &str) -> String {
    let blank = |letter: char| if letter.is_control() { ' ' } else { letter };
    let text: String = text.chars().map(blank).collect();
    let text = text.trim();
    if text.is_ascii() && !text.contains("=?") && !has_long_word(text) {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.floor_char_boundary(WORD_BYTES_MAX);
        let (word, left) = rest.split_at(end);
        words.push(format!("=?utf-8?B?{}?=", BASE64.encode(word.as_bytes())));
        rest = left;
    }
    words.join(" ")
}

/// A whole field with its line end, folded at spaces. `value` is printable ASCII.
pub(crate) fn field(name: &str, value: &str) -> String {
    let mut out = format!("{name}:");
    let mut line_bytes = out.len();
    for word in value.split(' ') {
        // A fold may not leave a line of blanks (RFC 5322 §3.2.2), so that only a word begins one.
        let folds = line_bytes + 1 + word.len() > LINE_BYTES_MAX && !word.is_empty();
        if folds && line_bytes > name.len() + 1 && !out.ends_with(' ') {
            out.push_str("\r\n");
            line_bytes = 0;
        }
        out.push(' ');
        out.push_str(word);
        line_bytes += 1 + word.len();
    }
    out.push_str("\r\n");
    out
}

/// As part of a URI (RFC 3986 §2.1): all but unreserved letters as `%XX`.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_from_its_words() {
        let long = "Grüße aus Köln, ".repeat(20);
        for text in ["plain", "Zürich", "=?x", "a =?utf-8?q?b?=", long.trim()] {
            let encoded = ascii(text);
            assert!(encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            let line = field("Subject", &encoded);
            assert!(line.split("\r\n").all(|line| line.len() <= 78), "{line}");
            let value = &line.as_bytes()["Subject:".len()..];
            assert_eq!(mail::text::decoded_value(value), text);
        }
        assert_eq!(ascii("a\r\nBcc: x"), "a  Bcc: x");
    }

    #[test]
    fn a_long_field_is_folded_and_never_into_an_empty_line() {
        let value = format!("{}  {}", "word ".repeat(40), "x".repeat(200));
        let line = field("X-Test", &value);
        assert!(line.contains("\r\n "));
        for part in line.trim_end().split("\r\n") {
            assert!(!part.trim().is_empty());
        }
        let unfolded = line.replace("\r\n ", " ");
        assert_eq!(unfolded, format!("X-Test: {value}\r\n"));
    }

    #[test]
    fn a_uri_keeps_only_plain_letters() {
        assert_eq!(percent("a b/ü?"), "a%20b%2F%C3%BC%3F");
    }
}
