//! Words that a native reader of manuals stumbles on, with what to write instead (`core/STYLE.md`, "Language").
//!
//! Three kinds of text are looked at: documents, doc comments and string literals. A word belongs into the table only if it has a plain
//! replacement and no good use in this tree: a false alarm costs more than the word does.

use super::{Findings, Tree};

/// The page that quotes the words, and this table.
const QUOTED: &[&str] = &["core/STYLE.md", "core/xtask/src/house/words.rs"];
/// Folders and files whose doc comments were not rewritten yet. Documents and string literals are held everywhere.
const COMMENTS_PENDING: &[&str] = &[
    "appliance/boot/",
    "appliance/files/",
    "appliance/hardware/src/bin/",
    "appliance/ringpostd/tests/",
    "appliance/san/src/system.rs",
    "appliance/system/src/bin/",
    "core/queue/",
    "core/sim/",
    "core/xtask/src/image/",
    "image/",
    "qemu-tests/",
];

/// A word or phrase that is to be avoided.
struct Word {
    /// In lower case; found only as whole words.
    pattern: &'static str,
    /// Phrases with the pattern that are good English, in lower case.
    unless: &'static [&'static str],
    /// What to write in its place.
    instead: &'static str,
}

/// A row of the table.
const fn word(
    pattern: &'static str,
    unless: &'static [&'static str],
    instead: &'static str,
) -> Word {
    Word {
        pattern,
        unless,
        instead,
    }
}

/// For words that stand for a program's part without naming it.
const ACTOR: &str = "the actor: the caller, the client, no leg, an operator";
const STORED: &str = "`is stored`, or `is`";

/// Each has a line in the tests, a bad one and a good one.
const WORDS: &[Word] = &[
    word("is no", &["there is no", "is no longer"], "`is not a`"),
    word("was no", &["there was no", "was no longer"], "`was not a`"),
    word("nobody", &["nobody@", "`nobody`"], ACTOR),
    word("somebody", &[], ACTOR),
    word("everybody", &[], ACTOR),
    word("whoever", &[], ACTOR),
    word("lies in", &[], STORED),
    word("lies on", &[], STORED),
    word("lies there", &[], STORED),
    word("lies beside", &[], STORED),
    word("lies behind", &[], STORED),
    word("lies durably", &[], STORED),
    word("lie in", &[], STORED),
    word("lie on", &[], STORED),
    word("anew", &["`anew`"], "`again`"),
    word("leave away", &[], "`omit`"),
    word("is told", &[], "`gets`, or `is reported to`"),
    word("are told", &[], "`get`, or `are reported to`"),
    word("was told", &[], "`got`, or `was reported to`"),
    word("hears of", &[], "`is notified of`"),
    word("is believed", &[], "`is trusted`"),
    word("has never heard of", &[], "`does not depend on`"),
];

/// Looks at every document and every source file that git knows.
pub fn inspect(tree: &Tree, findings: &mut Findings) {
    let names = tree.ending(".rs").chain(tree.ending(".md"));
    for name in names.filter(|name| !QUOTED.contains(name)) {
        let text = tree.text(name);
        let passages = match name.ends_with(".md") {
            true => numbered(&text),
            false => {
                let pending = COMMENTS_PENDING.iter().any(|place| name.starts_with(place));
                passages(&text, !pending)
            }
        };
        for (line, passage) in passages {
            for found in words_of(passage) {
                findings.complaints.push(format!(
                    "{name}:{line}: `{}`: write {}",
                    found.pattern, found.instead
                ));
            }
        }
    }
}

/// Each line of a document with its number.
fn numbered(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate();
    lines.map(|(index, line)| (index + 1, line)).collect()
}

/// The doc comments (if `comments`) and the string literals of more than one word, each with its line. A literal of several lines is
/// one passage. Raw strings and character literals are read as Rust reads them.
fn passages(source: &str, comments: bool) -> Vec<(usize, &str)> {
    let bytes = source.as_bytes();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        // until the end of the source; each turn goes on by a byte at least
        let rest = &bytes[at..];
        let length = if rest.starts_with(b"//") {
            let length = end_of_line(rest);
            if comments && (rest.starts_with(b"///") || rest.starts_with(b"//!")) {
                found.push((line, &source[at..at + length]));
            }
            length
        } else if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let begin = hashes + 2;
            let inner = source[at + begin..].find(&close).unwrap_or(0);
            push_literal(&mut found, line, &source[at + begin..at + begin + inner]);
            begin + inner + close.len()
        } else if rest[0] == b'"' {
            let length = quoted(rest);
            push_literal(&mut found, line, &source[at + 1..at + length - 1]);
            length
        } else if rest[0] == b'\'' {
            character(rest)
        } else {
            1
        };
        let end = (at + length).min(bytes.len());
        line += match length {
            1 => usize::from(bytes[at] == b'\n'),
            _ => source[at..end].matches('\n').count(),
        };
        at = end;
    }
    found
}

/// A literal of one word is a name, and is left alone.
fn push_literal<'a>(found: &mut Vec<(usize, &'a str)>, line: usize, literal: &'a str) {
    if literal.trim().contains(' ') {
        found.push((line, literal));
    }
}

/// Bytes up to the line end, without it.
fn end_of_line(rest: &[u8]) -> usize {
    let end = rest.iter().position(|byte| *byte == b'\n');
    end.unwrap_or(rest.len())
}

/// The number of `#` of the raw string that begins here. The byte before `r` is not looked at: no name in Rust is followed by `"`.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let rest = rest.strip_prefix(b"r")?;
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    (rest.get(hashes) == Some(&b'"')).then_some(hashes)
}

/// Bytes of the string literal that begins here, quotes included.
fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Bytes of the character literal that begins here; 1 for a lifetime.
fn character(rest: &[u8]) -> usize {
    match rest {
        [_, b'\\', ..] => {
            4 + rest[3.min(rest.len())..]
                .iter()
                .take_while(|byte| **byte != b'\'')
                .count()
        }
        [_, _, b'\'', ..] => 3,
        _ => 1,
    }
}

/// The words of the table that `passage` has.
fn words_of(passage: &str) -> Vec<&'static Word> {
    let lower = passage.to_ascii_lowercase();
    WORDS.iter().filter(|word| has(&lower, word)).collect()
}

/// Whether the pattern is there as whole words, outside the phrases of `unless`.
fn has(lower: &str, word: &Word) -> bool {
    let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = lower.as_bytes();
    lower.match_indices(word.pattern).any(|(at, _)| {
        let end = at + word.pattern.len();
        let whole = !is_letter(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && !is_letter(bytes.get(end));
        let good = word.unless.iter().any(|phrase| {
            let inside = phrase.find(word.pattern).unwrap_or(0);
            at.checked_sub(inside)
                .and_then(|begin| bytes.get(begin..))
                .is_some_and(|rest| rest.starts_with(phrase.as_bytes()))
        });
        whole && !good
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(passage: &str) -> Vec<&'static str> {
        words_of(passage).iter().map(|word| word.pattern).collect()
    }

    #[test]
    fn every_word_is_found_in_a_bad_line_and_not_in_a_good_one() {
        let lines = [
            (
                "is no",
                "this is no disk",
                "this is not a disk; there is no disk, and it is no longer needed",
            ),
            (
                "was no",
                "it was no leg",
                "it was not a leg; there was no leg",
            ),
            (
                "nobody",
                "Nobody answers",
                "no client answers nobody@example.org",
            ),
            ("somebody", "somebody waits", "a caller waits"),
            ("everybody", "for everybody", "for all callers"),
            ("whoever", "whoever asks", "the caller"),
            (
                "lies in",
                "it lies in the log",
                "it is stored in the log; families in rows",
            ),
            (
                "lies on",
                "it lies on a leg",
                "it is stored on a leg; it relies on a leg",
            ),
            ("lies there", "it lies there", "it is there"),
            (
                "lies beside",
                "it lies beside the log",
                "it is beside the log",
            ),
            (
                "lies behind",
                "it lies behind the log",
                "it is after the log",
            ),
            (
                "lies durably",
                "it lies durably on both",
                "it is stored durably on both",
            ),
            (
                "lie in",
                "they lie in the log",
                "they are stored in the log",
            ),
            ("lie on", "they lie on a leg", "they are stored on a leg"),
            ("anew", "it begins anew", "it begins again"),
            ("leave away", "leave away the key", "omit the key"),
            (
                "is told",
                "the peer is told",
                "this is reported to the peer",
            ),
            ("are told", "peers are told", "peers get a reply"),
            ("was told", "it was told", "it got the reply"),
            (
                "hears of",
                "a session hears of it",
                "a session is notified of it",
            ),
            ("is believed", "a leg is believed", "a leg is trusted"),
            (
                "has never heard of",
                "it has never heard of mail",
                "it does not depend on mail",
            ),
        ];
        for (pattern, bad, good) in lines {
            assert_eq!(patterns(bad), [pattern], "{bad}");
            assert_eq!(patterns(good), Vec::<&str>::new(), "{good}");
        }
        let tested: Vec<&str> = lines.iter().map(|line| line.0).collect();
        let listed: Vec<&str> = WORDS.iter().map(|word| word.pattern).collect();
        assert_eq!(tested, listed, "each word has its two lines");
    }

    #[test]
    fn doc_comments_and_literals_are_looked_at_and_code_is_not() {
        let source = "//! Head.\n/// Doc.\n// Note.\nlet nobody = 'x'; let c = '\"';\nsay(\"two words\", r#\"raw \"text\"\"#, \"one\", '\\'', \"a \\\" b\");\n";
        let found = passages(source, true);
        assert_eq!(
            found,
            [
                (1, "//! Head."),
                (2, "/// Doc."),
                (5, "two words"),
                (5, "raw \"text\""),
                (5, "a \\\" b")
            ]
        );
        assert_eq!(passages(source, false).len(), 3);
    }
}
