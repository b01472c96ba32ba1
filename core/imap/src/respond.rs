//! What the server says: replies and the values in them. Every string from outside goes through `put_string`, so that no name,
//! header or error text can end a line early and speak for us.

mod access;
mod envelope;
mod structure;

pub use access::{put_acl, put_list_rights, put_metadata, put_my_rights};
pub use envelope::put_envelope;
pub use structure::put_body_structure;

use std::borrow::Cow;

use mail::{Flags, SystemFlags};

use crate::fetch::{Partial, Section, SectionText};
use crate::limits::QUOTED_BYTES_MAX;
use crate::parse::{Names, SYSTEM_FLAGS};
use crate::utf7;

/// The word after the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    No,
    Bad,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::No => "NO",
            Status::Bad => "BAD",
        }
    }
}

/// `tag OK [code] text`. `code` is without brackets and may be empty; both are ours, never the client's words.
pub fn put_reply(out: &mut Vec<u8>, tag: &str, status: Status, code: &str, text: &str) {
    debug_assert!(![tag, code, text].concat().contains(['\r', '\n']));
    for piece in [tag, " ", status.word(), " "] {
        put(out, piece);
    }
    if !code.is_empty() {
        for piece in ["[", code, "] "] {
            put(out, piece);
        }
    }
    put(out, text);
    put(out, "\r\n");
}

/// `* line`
pub fn put_untagged(out: &mut Vec<u8>, line: &str) {
    debug_assert!(!line.contains(['\r', '\n']));
    for piece in ["* ", line, "\r\n"] {
        put(out, piece);
    }
}

/// Appends `text` as it is; never bytes from outside.
pub fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends the decimal digits, without an allocation.
pub fn put_number(out: &mut Vec<u8>, number: impl Into<u64>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number.into();
    loop {
        // at most twenty turns
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A string: quoted when it is short plain ASCII, a literal otherwise. A literal holds any octet except NUL.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) || *byte == b'\t';
    if bytes.len() <= QUOTED_BYTES_MAX && bytes.iter().all(plain) {
        out.push(b'"');
        for &byte in bytes {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
    } else {
        put_literal_mark(out, bytes.len());
        out.extend_from_slice(&without_nul(bytes));
    }
}

/// What an ordinary literal may hold of `bytes`: every NUL becomes 0x80, so that sizes and offsets stay what they are
/// (RFC 9051 §4.3 and §9 CHAR8). Messages with NUL are refused on every way in; an older volume may hold some.
pub fn without_nul(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(0, bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let replaced = bytes
        .iter()
        .map(|&byte| if byte == 0 { 0x80 } else { byte });
    Cow::Owned(replaced.collect())
}

/// `{n}` and its line end; the caller sends exactly `count` bytes next.
pub fn put_literal_mark(out: &mut Vec<u8>, count: usize) {
    out.push(b'{');
    put_number(out, count as u64);
    put(out, "}\r\n");
}

/// RFC 9051 §9 nstring: a string, or NIL.
pub fn put_nstring(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => put_string(out, bytes),
        None => put(out, "NIL"),
    }
}

/// A mailbox name in the form this client reads.
pub fn put_mailbox(out: &mut Vec<u8>, name: &str, names: Names) {
    match names {
        Names::ModifiedUtf7 => put_string(out, utf7::encode(name).as_bytes()),
        // RFC 9051 §5.1, RFC 6855 §3: UTF-8 in a quoted string.
        Names::Utf8 if !name.is_ascii() => {
            out.push(b'"');
            for symbol in name.chars().filter(|symbol| !symbol.is_control()) {
                if matches!(symbol, '"' | '\\') {
                    out.push(b'\\');
                }
                out.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes());
            }
            out.push(b'"');
        }
        Names::Utf8 => put_string(out, name.as_bytes()),
    }
}

/// `(\Seen $Work)`
pub fn put_flags(out: &mut Vec<u8>, flags: &Flags) {
    put_flags_of_session(out, flags, false);
}

/// The same, with \Recent where the session has it (RFC 3501 §2.3.2).
pub fn put_flags_of_session(out: &mut Vec<u8>, flags: &Flags, recent: bool) {
    out.push(b'(');
    put_flag_words(out, flags);
    if recent {
        put(
            out,
            if out.ends_with(b"(") {
                "\\Recent"
            } else {
                " \\Recent"
            },
        );
    }
    out.push(b')');
}

/// The flags with a space between them, system flags first.
fn put_flag_words(out: &mut Vec<u8>, flags: &Flags) {
    let system = SYSTEM_FLAGS
        .into_iter()
        .filter(|(_, flag)| flags.system.contains(*flag))
        .map(|(name, _)| name);
    for (index, name) in system
        .chain(flags.keywords.iter().map(|keyword| keyword.as_str()))
        .enumerate()
    {
        if index > 0 {
            out.push(b' ');
        }
        put(out, name);
    }
}

/// The FLAGS and PERMANENTFLAGS lines of SELECT: all system flags, the keywords in use, and (`\*`) that more may be made. Permanent are those that
/// `rights` allow to be changed (RFC 4314 §4); none of them in a mailbox that was opened for reading.
pub fn put_mailbox_flags(out: &mut Vec<u8>, keywords: &[mail::Keyword], rights: mail::Rights) {
    let all = SYSTEM_FLAGS
        .iter()
        .fold(SystemFlags::default(), |all, (_, flag)| all.with(*flag));
    let flags = Flags {
        system: all,
        keywords: keywords.to_vec(),
    };
    put(out, "* FLAGS ");
    put_flags(out, &flags);
    put(out, "\r\n* OK [PERMANENTFLAGS (");
    put_flag_words(out, &rights.allowed(&flags));
    if rights.contains(mail::Rights::WRITE) {
        put(out, " \\*");
    }
    put(out, ")] flags that are kept\r\n");
}

/// `BODY[1.HEADER.FIELDS (TO)]<0>`, as the client asked, without PEEK (RFC 9051 §7.5.2).
pub fn put_section_name(out: &mut Vec<u8>, section: &Section, partial: Option<Partial>) {
    put(out, "BODY[");
    put_part_numbers(out, &section.part);
    let word = match &section.text {
        SectionText::All => "",
        SectionText::Header => "HEADER",
        SectionText::HeaderFields { not: false, .. } => "HEADER.FIELDS",
        SectionText::HeaderFields { not: true, .. } => "HEADER.FIELDS.NOT",
        SectionText::Text => "TEXT",
        SectionText::Mime => "MIME",
    };
    if !section.part.is_empty() && !word.is_empty() {
        out.push(b'.');
    }
    put(out, word);
    if let SectionText::HeaderFields { names, .. } = &section.text {
        put(out, " (");
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            put_astring(out, name.as_bytes());
        }
        out.push(b')');
    }
    out.push(b']');
    put_origin(out, partial);
}

/// `BINARY[1.2]<0>`, as the reply names the item (RFC 3516 §4.3).
pub fn put_binary_name(out: &mut Vec<u8>, name: &str, part: &[u32], partial: Option<Partial>) {
    put(out, name);
    out.push(b'[');
    put_part_numbers(out, part);
    out.push(b']');
    put_origin(out, partial);
}

/// `1.2`
fn put_part_numbers(out: &mut Vec<u8>, part: &[u32]) {
    for (index, &number) in part.iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        put_number(out, number);
    }
}

/// `<offset>` of a partial FETCH; the reply has no count (RFC 9051 §7.5.2).
fn put_origin(out: &mut Vec<u8>, partial: Option<Partial>) {
    if let Some(Partial { offset, .. }) = partial {
        out.push(b'<');
        put_number(out, offset);
        out.push(b'>');
    }
}

/// An atom where the bytes are one, else a string.
pub fn put_astring(out: &mut Vec<u8>, bytes: &[u8]) {
    let atom = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\[]".contains(byte);
    if !bytes.is_empty()
        && bytes.len() <= QUOTED_BYTES_MAX
        && bytes.iter().all(atom)
        && !bytes.eq_ignore_ascii_case(b"NIL")
    {
        out.extend_from_slice(bytes);
    } else {
        put_string(out, bytes);
    }
}

#[cfg(test)]
mod tests;
