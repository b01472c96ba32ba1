//! Words of a server, made fit for a header field, a reply or a line of the log.

use crate::limits::TEXT_CHARS_MAX;

/// `text` in printable ASCII, one blank for each run of other bytes, cut where it is too long.
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        if out.len() >= TEXT_CHARS_MAX {
            break;
        }
        match char {
            '!'..='~' => out.push(char),
            _ if out.ends_with(' ') || out.is_empty() => {}
            char if char.is_whitespace() || char.is_control() => out.push(' '),
            _ => out.push('?'),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// As `plain`, without what begins or ends a comment or a part of our header field.
pub fn word(text: &str) -> String {
    let mut word = plain(text);
    word.retain(|char| !matches!(char, '(' | ')' | ';' | '\\' | '"' | ','));
    word
}

/// `text` as the value of one line of a protocol: without control characters. Other bytes stay.
pub fn line(text: &str) -> impl Iterator<Item = u8> + '_ {
    text.bytes().filter(|byte| !byte.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_server_ends_a_line() {
        assert_eq!(plain(" a\r\n b\tc\0 \u{e9}x "), "a b c x");
        assert_eq!(plain("\u{e9}t\u{e9}"), "t?");
        assert_eq!(plain(&"x".repeat(10_000)).len(), TEXT_CHARS_MAX);
        assert_eq!(word("a(b);c\\\"d,e"), "abcde");
        assert_eq!(line("a\r\nb\0c").collect::<Vec<u8>>(), b"abc");
    }
}
