//! Changes of a message's header that a filter asks for.
//!
//! What must hold: a field that is put in has a name of RFC 5322 §3.6.8 and lines of at most 998 bytes, each of them folded; nothing
//! in it ends the header, and no line of it is blank. A filter counts fields in the message that it was shown, whatever other filters ask for.

use std::ops::Range;

use mail::header;

use crate::limits::ADDED_BYTES_MAX;

/// What a filter asks for (`smfi_chgheader`). Added fields go in front of the message (`put_field`), whatever place the filter names.
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

/// Whether only we write fields with this name: what we say of a message (X-Ringpost-Scan, …).
pub fn is_ours(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-ringpost-";
    let begin = name.get(..PREFIX.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(PREFIX))
}

/// The field with its line's end. Folds of `value` stay; other line ends and controls become blanks. `None`: this cannot be a field, or it
/// is one that only we write.
pub fn field(name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let is_name = |byte: &u8| (33..=126).contains(byte) && *byte != b':';
    if name.is_empty() || name.len() > 76 || !name.iter().all(is_name) {
        return None;
    }
    if is_ours(name) {
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
        let is_gap = |byte: &u8| *byte == b' ' || byte.is_ascii_control();
        // Of a run of blanks one stays: a line of nothing else would look like the end of the header.
        let words = text.split(is_gap).filter(|word| !word.is_empty());
        for (at, word) in words.enumerate() {
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
                out.push(*byte);
                line += 1;
            }
        }
        has_text = true;
    }
    out.extend_from_slice(b"\r\n");
    Some(out)
}

/// A change of one field of a message, found where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The field, its line's end included; an empty range: a field is put there.
    pub range: Range<usize>,
    /// What stands there instead.
    pub field: Vec<u8>,
}

/// The fields that a filter is shown: up to the first line that is none, where other software sees the body begin.
pub fn fields(content: &[u8]) -> impl Iterator<Item = header::Field<'_>> {
    header::fields(content).take_while(|field| !field.name.is_empty())
}

/// One of them, and what a filter wants in its place.
struct Shown<'a> {
    name: &'a [u8],
    range: Range<usize>,
    wanted: Option<Vec<u8>>,
}

/// What the `changes` of one filter, in their order, come to in the `content` that it was shown. A field that is not there is put in front
/// (`smfi_chgheader`); one that the filter has removed counts no more, as in Postfix.
pub fn edits(content: &[u8], changes: Vec<Change>) -> Vec<Edit> {
    if changes.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<Shown<'_>> = Vec::new();
    for field in fields(content) {
        let begin = all.last().map_or(0, |before| before.range.end);
        all.push(Shown {
            name: field.name,
            range: begin..begin + field.raw.len(),
            wanted: None,
        });
    }
    let mut edits = Vec::new();
    for change in changes {
        let of_name = all.iter_mut().filter(|shown| {
            let is_removed = shown.wanted.as_ref().is_some_and(Vec::is_empty);
            !is_removed && shown.name.eq_ignore_ascii_case(&change.name)
        });
        // Index 0 is taken for the first one, as in sendmail.
        let mut found = of_name.skip(change.index.max(1) as usize - 1);
        match found.next() {
            Some(shown) => shown.wanted = Some(change.field),
            None if change.field.is_empty() => {}
            None => edits.push(Edit {
                range: 0..0,
                field: change.field,
            }),
        }
    }
    edits.extend(all.into_iter().filter_map(|shown| {
        Some(Edit {
            range: shown.range,
            field: shown.wanted?,
        })
    }));
    edits
}

/// Makes `edits`, whose ranges count from `from`, in `content`. Of two of the same field the later one stands.
pub fn apply(content: &mut Vec<u8>, from: usize, mut edits: Vec<Edit>) {
    // Stable: the later one of two stays behind the earlier one.
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let mut done = 0..0;
    // From the back, where nothing that is still to be changed moves.
    for edit in edits.into_iter().rev() {
        let is_stale = !edit.range.is_empty() && edit.range == done;
        if !is_stale {
            let range = from + edit.range.start..from + edit.range.end;
            content.splice(range, edit.field);
            done = edit.range;
        }
    }
}

/// By how many bytes `edits` may make a message longer.
pub fn growth(edits: &[Edit]) -> usize {
    edits.iter().map(|edit| edit.field.len()).sum()
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
    fn no_line_of_a_field_is_blank() {
        for gap in [" ".repeat(500), "\t".repeat(3_000), "\u{1} ".repeat(700)] {
            let field = shown("X", &format!("a{gap}b")).expect("a field");
            assert_eq!(field, "X: a b\r\n");
        }
    }

    fn change(name: &[u8], index: u32, value: Option<&[u8]>) -> Change {
        Change {
            name: name.to_vec(),
            index,
            field: value.map_or(Vec::new(), |value| field(name, value).expect("a field")),
        }
    }

    const CAME: &str = "Subject: one\r\nX: y\r\n\tz\r\nSUBJECT: two\r\n\r\nSubject: text\r\n";

    /// What is left of `CAME` behind a field of ours, by the changes of several filters.
    fn changed(filters: &[&[Change]]) -> String {
        let ours = "Subject: ours\r\n";
        let mut content = format!("{ours}{CAME}").into_bytes();
        let all = filters
            .iter()
            .map(|changes| edits(CAME.as_bytes(), changes.to_vec()));
        apply(&mut content, ours.len(), all.flatten().collect());
        let content = String::from_utf8(content).expect("UTF-8");
        content.strip_prefix(ours).expect("ours stands").to_owned()
    }

    #[test]
    fn fields_are_changed_and_removed_behind_ours() {
        let changes = [
            change(b"subject", 2, Some(b"TWO")),
            change(b"X", 1, None),
            change(b"Nothing", 1, None),
            change(b"Subject", 3, None),
        ];
        let left = "Subject: one\r\nsubject: TWO\r\n\r\nSubject: text\r\n";
        assert_eq!(changed(&[&changes]), left);
        assert_eq!(changed(&[]), CAME);
    }

    #[test]
    fn a_field_that_is_not_there_is_put_in_front() {
        let changes = [
            change(b"Subject", 3, Some(b"z")),
            change(b"New", 1, Some(b"n")),
        ];
        assert_eq!(
            changed(&[&changes]),
            format!("Subject: z\r\nNew: n\r\n{CAME}")
        );
    }

    #[test]
    fn what_a_filter_removed_counts_no_more_for_it_and_still_for_the_next() {
        let both = [change(b"Subject", 1, None), change(b"Subject", 1, None)];
        let none = "X: y\r\n\tz\r\n\r\nSubject: text\r\n";
        assert_eq!(changed(&[&both]), none);
        let reverse = [change(b"Subject", 2, None), change(b"Subject", 1, None)];
        assert_eq!(changed(&[&reverse]), none);
        // Each was shown both fields.
        let (first, second) = (
            [change(b"Subject", 1, None)],
            [change(b"Subject", 2, Some(b"second"))],
        );
        let left = "X: y\r\n\tz\r\nSubject: second\r\n\r\nSubject: text\r\n";
        assert_eq!(changed(&[&first, &second]), left);
        let last = [change(b"subject", 1, Some(b"last"))];
        assert!(changed(&[&first, &last]).starts_with("subject: last\r\nX: y"));
    }

    #[test]
    fn a_filter_counts_up_to_the_first_line_that_is_no_field() {
        let content = b"A: 1\r\nno field\r\nA: 2\r\n\r\nA: 3\r\n";
        assert_eq!(fields(content).count(), 1);
        let second = vec![change(b"A", 2, None)];
        assert_eq!(edits(content, second), []);
    }
}
