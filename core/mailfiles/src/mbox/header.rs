//! The fields in which mbox keeps flags. They belong to the file, not to the message: they are taken out when it is read.

use std::borrow::Cow;
use std::io::{self, Write};

use mail::flags::KEYWORDS_MAX;
use mail::{Flags, Keyword, SystemFlags};

/// Fields of the file. The last three are programs' own notes.
const FIELDS: [&[u8]; 6] = [
    b"Status",
    b"X-Status",
    b"X-Keywords",
    b"X-UID",
    b"X-IMAP",
    b"X-IMAPbase",
];

/// The message without these fields, and what they said.
pub fn without_status(message: &[u8]) -> (Cow<'_, [u8]>, Flags) {
    let mut flags = Flags::default();
    let mut kept: Option<Vec<u8>> = None;
    let (mut at, mut is_ours) = (0, false);
    // bounded by the header
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
        if !is_folded {
            is_ours = false;
            if let Some(colon) = memchr::memchr(b':', &line[..line.len().min(32)]) {
                let name = line[..colon].trim_ascii();
                let same = |field: &&[u8]| field.eq_ignore_ascii_case(name);
                if let Some(field) = FIELDS.iter().find(|field| same(field)) {
                    is_ours = true;
                    read(field, &line[colon + 1..], &mut flags);
                }
            }
        }
        match (is_ours, &mut kept) {
            (true, kept) => {
                kept.get_or_insert_with(|| message[..at].to_vec());
            }
            (false, Some(kept)) => kept.extend_from_slice(line),
            (false, None) => {}
        }
        at += line.len();
    }
    match kept {
        Some(mut kept) => {
            kept.extend_from_slice(&message[at..]);
            (kept.into(), flags)
        }
        None => (message.into(), flags),
    }
}

fn read(field: &[u8], value: &[u8], flags: &mut Flags) {
    let letters: &[(u8, SystemFlags)] = match field {
        b"Status" => &[(b'R', SystemFlags::SEEN)],
        b"X-Status" => &[
            (b'A', SystemFlags::ANSWERED),
            (b'F', SystemFlags::FLAGGED),
            (b'D', SystemFlags::DELETED),
            (b'T', SystemFlags::DRAFT),
        ],
        b"X-Keywords" => {
            for word in String::from_utf8_lossy(value).split([' ', '\t', ',', '\r', '\n']) {
                if let Some(keyword) = Keyword::parse(word)
                    && flags.keywords.len() < KEYWORDS_MAX
                    && !flags.has_keyword(&keyword)
                {
                    flags.keywords.push(keyword);
                }
            }
            return;
        }
        _ => return,
    };
    for (letter, flag) in letters {
        if value.contains(letter) {
            flags.system = flags.system.with(*flag);
        }
    }
}

/// The fields for these flags. `O`: a mail program has shown it in a list.
pub fn put_status(out: &mut impl Write, flags: &Flags) -> io::Result<()> {
    let is = |flag| flags.system.contains(flag);
    let status = if is(SystemFlags::SEEN) { "RO" } else { "O" };
    writeln!(out, "Status: {status}")?;
    let letters = [
        (SystemFlags::ANSWERED, 'A'),
        (SystemFlags::FLAGGED, 'F'),
        (SystemFlags::DELETED, 'D'),
        (SystemFlags::DRAFT, 'T'),
    ];
    let letters = letters.iter().filter(|(flag, _)| is(*flag));
    let letters: String = letters.map(|(_, letter)| letter).collect();
    if !letters.is_empty() {
        writeln!(out, "X-Status: {letters}")?;
    }
    if !flags.keywords.is_empty() {
        let keywords: Vec<&str> = flags.keywords.iter().map(Keyword::as_str).collect();
        writeln!(out, "X-Keywords: {}", keywords.join(" "))?;
    }
    Ok(())
}
