//! Changes of a message's header that a filter asks for.
//!
//! What must hold: a field that is put in has a name of RFC 5322 §3.6.8 and lines of at most 998 bytes, each of them folded; nothing
//! in it ends the header.

use std::ops::Range;

use mail::header;

use crate::limits::ADDED_BYTES_MAX;

/// What a filter asks for. Added fields go in front of the message (`put_field`), whatever place the filter names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of the fields to be changed.
    pub name: Vec<u8>,
    /// Which of them, from 1.
    pub index: u32,
    /// The field as it will be, its line's end included; empty: it is removed.
    pub field: Vec<u8>,
}

/// Appends `name: value` to `out` where both can stand in a header and `out` has room; whether it did.
pub fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> bool {
    let Some(field) = field(name, value) else {
        return false;
    };
    let fits = out.len() + field.len() <= ADDED_BYTES_MAX;
    if fits {
        out.extend_from_slice(&field);
    }
    fits
}

/// The field with its line's end. Folds of `value` stay; other line ends and controls become blanks. `None`: this cannot be a field, or it
/// is one that only we write.
pub fn field(name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let is_name = |byte: &u8| (33..=126).contains(byte) && *byte != b':';
    if name.is_empty() || name.len() > 76 || !name.iter().all(is_name) {
        return None;
    }
    if name.len() >= 11 && name[..11].eq_ignore_ascii_case(b"x-ringpost-") {
        return None;
    }
    let mut out = [name, b":"].concat();
    let mut line = out.len();
    let mut has_text = false;
    for part in value.split(|byte| *byte == b'\n') {
        let part = part.trim_ascii_end();
        let text = part.trim_ascii();
        if text.is_empty() {
            continue;
        }
        // A part that begins a line without a blank would be a field of its own.
        let folded = has_text && matches!(part.first(), Some(b' ' | b'\t'));
        if folded {
            out.extend_from_slice(b"\r\n\t");
            line = 1;
        } else {
            out.push(b' ');
            line += 1;
        }
        for (at, word) in text.split(|byte| *byte == b' ').enumerate() {
            if at > 0 {
                if line + word.len() > 200 {
                    out.extend_from_slice(b"\r\n");
                    line = 0;
                }
                out.push(b' ');
                line += 1;
            }
            for byte in word {
                if line >= 990 {
                    out.extend_from_slice(b"\r\n ");
                    line = 1;
                }
                let is_control = byte.is_ascii_control() && *byte != b'\t';
                out.push(if is_control { b' ' } else { *byte });
                line += 1;
            }
        }
        has_text = true;
    }
    out.extend_from_slice(b"\r\n");
    Some(out)
}

/// Makes `changes`, in their order, in `content`, whose first `from` bytes are not looked at. A field that is not there is not changed.
pub fn apply(content: &mut Vec<u8>, from: usize, changes: &[Change]) {
    for change in changes {
        if let Some(range) = find(content, from, &change.name, change.index) {
            content.splice(range, change.field.iter().copied());
        }
    }
}

/// By how many bytes `changes` may make a message longer.
pub fn growth(changes: &[Change]) -> usize {
    changes.iter().map(|change| change.field.len()).sum()
}

fn find(content: &[u8], from: usize, name: &[u8], index: u32) -> Option<Range<usize>> {
    let (mut at, mut seen) = (from, 0);
    for field in header::fields(&content[from..]) {
        let range = at..at + field.raw.len();
        at = range.end;
        if field.name.eq_ignore_ascii_case(name) {
            seen += 1;
            // Index 0 is taken for the first one, as in sendmail.
            if seen == index.max(1) {
                return Some(range);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, value: &str) -> Option<String> {
        field(name.as_bytes(), value.as_bytes())
            .map(|field| String::from_utf8(field).expect("UTF-8"))
    }

    #[test]
    fn a_field_never_ends_the_header() {
        let of = |value: &str| shown("X", value).expect("a field");
        assert_eq!(of("a b"), "X: a b\r\n");
        assert_eq!(of(" a"), "X: a\r\n");
        assert_eq!(of("a;\n\tb=c"), "X: a;\r\n\tb=c\r\n");
        assert_eq!(of("a\r\n b"), "X: a\r\n\tb\r\n");
        assert_eq!(of("a\r\n\r\nFrom: b"), "X: a From: b\r\n");
        assert_eq!(of("a\rb\0c"), "X: a b c\r\n");
        assert_eq!(of(""), "X:\r\n");
        for name in [
            "",
            "a b",
            "a:b",
            "a\r\nb",
            "X-Ringpost-Scan",
            "x-RINGPOST-Door",
            "\u{e9}",
        ] {
            assert_eq!(shown(name, "x"), None, "{name:?}");
        }
        for long in [
            "x".repeat(20_000),
            "word ".repeat(5_000),
            "\n x".repeat(3_000),
        ] {
            let field = of(&long);
            let lines = field.strip_suffix("\r\n").expect("an end").split("\r\n");
            for (at, line) in lines.enumerate() {
                assert!(line.len() <= 998 && (at == 0 || line.starts_with([' ', '\t'])));
            }
        }
    }

    #[test]
    fn fields_are_changed_and_removed_behind_ours() {
        let mut content =
            b"Subject: ours\r\nSubject: one\r\nX: y\r\n\tz\r\nSUBJECT: two\r\n\r\nSubject: text\r\n"
                .to_vec();
        let change = |name: &[u8], index, value: Option<&[u8]>| Change {
            name: name.to_vec(),
            index,
            field: value.map_or(Vec::new(), |value| field(name, value).expect("a field")),
        };
        let changes = [
            change(b"subject", 2, Some(b"TWO")),
            change(b"X", 1, None),
            change(b"Subject", 3, None),
            change(b"Nothing", 1, None),
        ];
        apply(&mut content, 15, &changes);
        assert_eq!(
            String::from_utf8_lossy(&content),
            "Subject: ours\r\nSubject: one\r\nsubject: TWO\r\n\r\nSubject: text\r\n"
        );
    }
}
