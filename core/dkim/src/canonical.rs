//! The relaxed canonicalisation of a header field and of a body (RFC 6376 §3.4.2, §3.4.4).

use mail::header::Field;
use memchr::memmem;

/// Appends `field` without a line end: its name in lower case, unfolded, white space as one space, none around the colon and at the end.
pub(crate) fn field(field: &Field<'_>, out: &mut Vec<u8>) {
    out.extend(field.name.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let mut words = words(field.value);
    if let Some(first) = words.next() {
        out.extend_from_slice(first);
    }
    for word in words {
        out.push(b' ');
        out.extend_from_slice(word);
    }
}

/// What stands between white space, CRLF of folds included.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        while let Some(count) = blank(rest) {
            rest = &rest[count..];
        }
        let end = (0..rest.len()).find(|at| blank(&rest[*at..]).is_some());
        let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind;
        (!word.is_empty()).then_some(word)
    })
}

/// How many octets of white space, or of a fold, `bytes` begins with.
fn blank(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b' ' | b'\t', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

/// Hands the body to `take` in pieces: white space as one space, none at the end of a line, no empty lines at the end of the body, CRLF at the
/// end of what is not empty.
pub(crate) fn body(body: &[u8], mut take: impl FnMut(&[u8])) {
    let (mut rest, mut empty_lines) = (body, 0);
    let mut piece = Vec::with_capacity(PIECE_BYTES + 1_000);
    while !rest.is_empty() {
        let (line, behind) = match memmem::find(rest, b"\r\n") {
            Some(at) => (&rest[..at], &rest[at + 2..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = behind;
        let line = trim_end(line);
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        for _ in 0..empty_lines {
            piece.extend_from_slice(b"\r\n");
            flush(&mut piece, &mut take);
        }
        empty_lines = 0;
        let mut was_blank = false;
        for &byte in line {
            let is_blank = matches!(byte, b' ' | b'\t');
            match (is_blank, was_blank) {
                (true, true) => {}
                (true, false) => piece.push(b' '),
                (false, _) => piece.push(byte),
            }
            was_blank = is_blank;
        }
        piece.extend_from_slice(b"\r\n");
        flush(&mut piece, &mut take);
    }
    take(&piece);
}

fn flush(piece: &mut Vec<u8>, take: &mut impl FnMut(&[u8])) {
    if piece.len() >= PIECE_BYTES {
        take(piece);
        piece.clear();
    }
}

fn trim_end(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

/// Gathered before it is hashed: a call for each line would cost more than the hash of it.
const PIECE_BYTES: usize = 16 * 1_024;
