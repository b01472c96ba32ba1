//! What we recognise without any server: GTUBE (spamassassin.apache.org/gtube) and the EICAR test file (eicar.org), the two strings that
//! operators send to see whether scanning works.
//!
//! Both are searched in the whole message as it stands and in each base64 or quoted-printable part, decoded.

use std::sync::LazyLock;

use mail::Summary;
use mail::summary::{Content, Part};
use memchr::memmem::Finder;

use crate::limits::PIECE_BYTES;

/// What was recognised; of both, the virus counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// The test for spam.
    Gtube,
    /// The test for viruses.
    Eicar,
}

/// Looks at every byte of `content`, and at what its encoded parts hold: work for `runtime::work` where it is large.
pub fn recognise(content: &[u8]) -> Option<Known> {
    let found = search(content);
    if found == Some(Known::Eicar) || !may_have_encoded(content) {
        return found;
    }
    found.max(in_part(content, &Summary::of(content).root))
}

fn search(bytes: &[u8]) -> Option<Known> {
    // Each with the place of `COMMON` in it.
    static SAMPLES: LazyLock<[(Known, String, usize); 2]> = LazyLock::new(|| {
        samples().map(|(known, text)| {
            let at = text.find(COMMON).expect("it is in both");
            (known, text, at)
        })
    });
    static SEARCH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(COMMON));
    let samples = &*SAMPLES;
    let stands = |at: usize, text: &str, before: usize| {
        let begin = at.checked_sub(before);
        begin.is_some_and(|begin| bytes[begin..].starts_with(text.as_bytes()))
    };
    worst(SEARCH.find_iter(bytes).map(|at| {
        let mut samples = samples.iter();
        let found = samples.find(|(_, text, before)| stands(at, text, *before));
        found.map(|(known, ..)| *known)
    }))
}

/// Both strings have it, and other mail has not: one search in place of two.
const COMMON: &str = "-STANDARD-ANTI";

/// What is searched for. Written in pieces, so that a scanner that reads this program does not find it there.
pub fn samples() -> [(Known, String); 2] {
    let eicar = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-";
    let gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI";
    [
        (Known::Eicar, format!("{eicar}ANTIVIRUS-TEST-FILE!$H+H*")),
        (Known::Gtube, format!("{gtube}-UBE-TEST-EMAIL*C.34X")),
    ]
}

/// Whether any part can be encoded: most mail has none, and is then not taken apart.
fn may_have_encoded(content: &[u8]) -> bool {
    const WORD: &[u8] = b"-encoding";
    memchr::memchr_iter(b'-', content).any(|at| {
        let word = content.get(at..at + WORD.len());
        word.is_some_and(|word| word.eq_ignore_ascii_case(WORD))
    })
}

fn in_part(content: &[u8], part: &Part<'_>) -> Option<Known> {
    match &part.content {
        Content::Multipart(parts) => worst(parts.iter().map(|part| in_part(content, part))),
        Content::Message(inner) => in_part(content, &inner.1),
        Content::Leaf | Content::Unread => {
            let range = part.body_begin as usize..part.body_end as usize;
            let body = content.get(range)?;
            let encoding = part.encoding.as_deref()?.trim_ascii();
            if encoding.eq_ignore_ascii_case(b"base64") {
                in_base64(body)
            } else if encoding.eq_ignore_ascii_case(b"quoted-printable") {
                in_quoted_printable(body)
            } else {
                None
            }
        }
    }
}

/// The worst that is found; nothing behind a virus is looked at.
fn worst(found: impl Iterator<Item = Option<Known>>) -> Option<Known> {
    let mut worst = None;
    for found in found {
        worst = worst.max(found);
        if worst == Some(Known::Eicar) {
            break;
        }
    }
    worst
}

/// Decoded bytes in pieces, each searched together with the end of the one before.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
}

impl Window {
    /// Both strings are shorter.
    const KEPT_BYTES: usize = 100;

    fn search(&mut self, decoded: Option<Vec<u8>>) -> Option<Known> {
        let kept = self.bytes.len().saturating_sub(Window::KEPT_BYTES);
        self.bytes.drain(..kept);
        self.bytes.extend_from_slice(&decoded?);
        search(&self.bytes)
    }
}

fn in_base64(body: &[u8]) -> Option<Known> {
    let mut window = Window::default();
    // Line ends may stand anywhere: whole groups of four letters are what can be decoded.
    let mut letters = body.iter().filter(|byte| !byte.is_ascii_whitespace());
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    worst(std::iter::from_fn(|| {
        piece.clear();
        piece.extend(letters.by_ref().take(PIECE_BYTES));
        (!piece.is_empty()).then(|| window.search(mail::text::base64_decoded(&piece)))
    }))
}

fn in_quoted_printable(body: &[u8]) -> Option<Known> {
    let (mut window, mut rest) = (Window::default(), body);
    worst(std::iter::from_fn(|| {
        let least = PIECE_BYTES.min(rest.len());
        // To the end of a line, where there is one.
        let end = memchr::memrchr(b'\n', &rest[..least]).map_or(least, |at| at + 1);
        let (piece, more) = rest.split_at(end);
        rest = more;
        (!piece.is_empty()).then(|| window.search(mail::text::quoted_printable_decoded(piece)))
    }))
}

const _: () = assert!(PIECE_BYTES.is_multiple_of(4));

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, columns: usize) -> String {
        let encoded = data_encoding::BASE64.encode(text.as_bytes());
        let lines: Vec<&str> = encoded
            .as_bytes()
            .chunks(columns)
            .map(|line| std::str::from_utf8(line).expect("ASCII"))
            .collect();
        lines.join("\r\n")
    }

    #[test]
    fn both_are_found_wherever_they_are() {
        for (known, sample) in samples() {
            let encoded = format!("padding of {} bytes {sample}", sample.len());
            let quoted = sample
                .replace('*', "=2A")
                .replace("STANDARD", "STAN=\r\nDARD");
            for message in [
                format!("Subject: x\r\n\r\n{sample}\r\n"),
                format!("Subject: {sample}\r\n\r\n\r\n"),
                format!(
                    "content-transfer-ENCODING:\r\n BASE64\r\n\r\n{}\r\n",
                    wrapped(&encoded, 60)
                ),
                format!("Content-Transfer-Encoding: quoted-printable\r\n\r\n{quoted}\r\n"),
                format!(
                    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\nContent-Type: application/zip\r\n\
                     Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
                    wrapped(&encoded, 7)
                ),
                format!(
                    "Content-Type: message/rfc822\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
                    wrapped(&encoded, 76)
                ),
            ] {
                assert_eq!(recognise(message.as_bytes()), Some(known), "{message}");
            }
        }
    }

    #[test]
    fn both_are_found_across_the_pieces_of_a_long_part() {
        for (known, sample) in samples() {
            for before in [0, 10, 35_900, 36_863, 36_864, 100_000] {
                let text = format!("{}{sample}{}", "x".repeat(before), "y".repeat(50_000));
                let base64 = wrapped(&text, 76);
                let lines: Vec<&str> = text
                    .as_bytes()
                    .chunks(70)
                    .map(|line| std::str::from_utf8(line).expect("ASCII"))
                    .collect();
                let quoted = lines.join("=\r\n");
                for (encoding, body) in [("base64", base64), ("quoted-printable", quoted)] {
                    let message =
                        format!("Content-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n");
                    let found = recognise(message.as_bytes());
                    assert_eq!(found, Some(known), "{encoding}, behind {before}");
                }
            }
        }
    }

    #[test]
    fn of_both_the_virus_counts_wherever_they_are() {
        let [(_, eicar), (_, gtube)] = samples();
        let hidden = wrapped(&eicar, 76);
        let far = wrapped(&format!("{gtube}{}{eicar}", "x".repeat(100_000)), 76);
        let part =
            |text: &str| format!("--b\r\nContent-Transfer-Encoding: base64\r\n\r\n{text}\r\n");
        let mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
        for message in [
            format!("Subject: {gtube}\r\nContent-Transfer-Encoding: base64\r\n\r\n{hidden}\r\n"),
            format!("Content-Transfer-Encoding: base64\r\n\r\n{far}\r\n"),
            format!(
                "{mixed}{}{}--b--\r\n",
                part(&wrapped(&gtube, 76)),
                part(&hidden)
            ),
        ] {
            assert_eq!(recognise(message.as_bytes()), Some(Known::Eicar));
        }
    }

    #[test]
    fn other_mail_is_not_recognised() {
        for (_, sample) in samples() {
            let cut = &sample[..sample.len() - 1];
            for message in [
                String::new(),
                format!("Subject: x\r\n\r\n{cut}\r\n"),
                format!(
                    "Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
                    wrapped(cut, 76)
                ),
                "Content-Transfer-Encoding: base64\r\n\r\n\u{1}\u{2}=\r\n".to_owned(),
            ] {
                assert_eq!(recognise(message.as_bytes()), None, "{message}");
            }
        }
    }
}
