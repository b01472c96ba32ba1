//! The words that commands are made of (RFC 9051 §9).

use std::borrow::Cow;
use std::ops::Range;

use mail::ModSeq;

use crate::command::Slice;
use crate::limits::{LIST_WILDCARDS_MAX, MAILBOX_NAME_BYTES_MAX};
use crate::sequence::{self, SequenceSet};
use crate::utf7;

use super::{Names, Parsed, Refusal};

/// A place in the bytes of one command. Each method takes what it names, or fails; the command is then given up.
pub(super) struct Words<'a> {
    bytes: &'a [u8],
    at: usize,
    names: Names,
    /// RFC 9051 §6.4.4: of the strings of a SEARCH.
    pub charset: Vec<u8>,
    /// The command is a SEARCH RETURN (SAVE).
    pub saves: bool,
}

/// RFC 7162 §7: the greatest modification sequence.
const MODSEQ_MAX: u64 = i64::MAX as u64;

/// RFC 9051 §9 ATOM-CHAR: no space, no control, none of `(){%*"\]`.
fn is_atom_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte)
}

impl<'a> Words<'a> {
    /// At the tag. The last CRLF (or LF) is not part of the words.
    pub fn new(bytes: &'a [u8], names: Names) -> Self {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        Self {
            bytes,
            at: 0,
            names,
            charset: b"UTF-8".to_vec(),
            saves: false,
        }
    }

    /// The next byte; `None` at the end.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Whether everything was taken.
    pub fn at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Takes `byte` if it is next, and answers whether it was.
    pub fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// As `accept`, and fails with what was expected.
    pub fn expect(&mut self, byte: u8) -> Parsed<()> {
        if self.accept(byte) {
            return Ok(());
        }
        Err(Refusal::Syntax(match byte {
            b'(' => "Expected (",
            b')' => "Expected )",
            b'[' => "Expected [",
            b']' => "Expected ]",
            b'<' => "Expected <",
            b'>' => "Expected >",
            _ => "Unexpected argument",
        }))
    }

    /// Takes spaces, of which clients send several where the grammar has one.
    pub fn skip_spaces(&mut self) {
        while self.accept(b' ') {}
    }

    /// Whether `bytes` stand here, in any case.
    pub fn is_next(&self, bytes: &[u8]) -> bool {
        let here = self.bytes.get(self.at..self.at + bytes.len());
        here.is_some_and(|here| here.eq_ignore_ascii_case(bytes))
    }

    /// Whether nothing but spaces is left.
    pub fn is_rest_blank(&self) -> bool {
        self.bytes[self.at..].iter().all(|&byte| byte == b' ')
    }

    /// Takes one space or more.
    pub fn space(&mut self) -> Parsed<()> {
        if self.peek() != Some(b' ') {
            return Err(Refusal::Syntax("Missing argument"));
        }
        self.skip_spaces();
        Ok(())
    }

    /// Fails if anything except spaces is left.
    pub fn end(&mut self) -> Parsed<()> {
        self.skip_spaces();
        if self.at_end() {
            Ok(())
        } else {
            Err(Refusal::Syntax("Too many arguments"))
        }
    }

    /// Everything up to the end of the command, trailing spaces aside.
    pub fn rest_of_line(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        let end = rest
            .iter()
            .rposition(|&byte| byte != b' ')
            .map_or(0, |last| last + 1);
        &rest[..end]
    }

    /// Takes ASCII bytes as long as they belong; possibly none.
    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.bytes[self.at..];
        let end = rest
            .iter()
            .position(|&byte| !byte.is_ascii() || !belongs(byte))
            .unwrap_or(rest.len());
        self.at += end;
        std::str::from_utf8(&rest[..end]).expect("only ASCII bytes were taken")
    }

    /// RFC 9051 §9 tag: ASTRING-CHAR except `+`. `None` where there is none.
    pub fn tag(&mut self) -> Option<&'a str> {
        let tag = self.run(|byte| (is_atom_char(byte) || byte == b']') && byte != b'+');
        (!tag.is_empty()).then_some(tag)
    }

    /// An atom that is not empty; `expected` is the reply's text without one.
    pub fn atom(&mut self, expected: &'static str) -> Parsed<&'a str> {
        let atom = self.run(is_atom_char);
        if atom.is_empty() {
            Err(Refusal::Syntax(expected))
        } else {
            Ok(atom)
        }
    }

    /// Takes `word` when it stands here, in any case, as a whole atom.
    pub fn keyword(&mut self, word: &str) -> bool {
        let end = self.at + word.len();
        let here = self
            .bytes
            .get(self.at..end)
            .is_some_and(|here| here.eq_ignore_ascii_case(word.as_bytes()));
        let whole = here && !self.bytes.get(end).is_some_and(|&byte| is_atom_char(byte));
        if whole {
            self.at = end;
        }
        whole
    }

    /// The name of a data item: letters, digits and dots, so that `BODY.PEEK[` ends at its bracket.
    pub fn item_name(&mut self) -> String {
        self.run(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
            .to_ascii_uppercase()
    }

    /// A flag or mailbox attribute: an atom with an optional backslash.
    pub fn flag_text(&mut self) -> Parsed<&'a str> {
        let begin = self.at;
        self.accept(b'\\');
        self.atom("Expected a flag")?;
        Ok(std::str::from_utf8(&self.bytes[begin..self.at])
            .expect("a backslash and an atom are ASCII"))
    }

    /// RFC 9051 §9 number: 32 bits.
    pub fn number(&mut self) -> Parsed<u32> {
        let digits = self.run(|byte| byte.is_ascii_digit());
        sequence::number(digits.as_bytes()).ok_or(Refusal::Syntax("Expected a number"))
    }

    /// RFC 9394 §4 partial-range: `1:50`, or `-1:-50`.
    pub fn slice(&mut self) -> Parsed<Slice> {
        let from_end = self.accept(b'-');
        let first = self.number()?;
        if !self.accept(b':') || self.accept(b'-') != from_end {
            return Err(Refusal::Syntax("Expected a range as 1:50 or -1:-50"));
        }
        let last = self.number()?;
        if first == 0 || last == 0 {
            return Err(Refusal::Syntax("Results are counted from 1"));
        }
        Ok(Slice {
            first,
            last,
            from_end,
        })
    }

    /// RFC 7162 §7 mod-sequence-valzer: 63 bits.
    pub fn modseq(&mut self) -> Parsed<ModSeq> {
        let digits = self.run(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|&number| number <= MODSEQ_MAX);
        number
            .map(ModSeq)
            .ok_or(Refusal::Syntax("Expected a modification sequence"))
    }

    /// RFC 7162 §7 known-uids: neither `*` nor `$`.
    pub fn known_set(&mut self) -> Parsed<SequenceSet> {
        let set = self.sequence_set()?;
        match set.is_plain() {
            true => Ok(set),
            false => Err(Refusal::Syntax("Expected a set without * and $")),
        }
    }

    /// RFC 9051 §9 sequence-set, or `$`.
    pub fn sequence_set(&mut self) -> Parsed<SequenceSet> {
        let text = self.run(|byte| byte.is_ascii_digit() || b",:*$".contains(&byte));
        SequenceSet::parse(text.as_bytes()).ok_or(Refusal::Syntax("Expected a sequence set"))
    }

    /// A quoted string or a literal.
    pub fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            _ => {
                let range = self
                    .literal_range()
                    .ok_or(Refusal::Syntax("Expected a string"))?;
                // RFC 9051 §4.3: NUL is allowed in a literal8 only, and no string is one.
                if self.has_nul(&range) {
                    return Err(Refusal::Syntax("Literal must not contain NUL"));
                }
                Ok(Cow::Borrowed(&self.bytes[range]))
            }
        }
    }

    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.at += 1;
        let begin = self.at;
        let mut unescaped: Option<Vec<u8>> = None;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    let plain = &self.bytes[begin..self.at];
                    self.at += 1;
                    return Ok(unescaped.map_or(Cow::Borrowed(plain), Cow::Owned));
                }
                b'\\' => {
                    let text = unescaped.get_or_insert_with(|| self.bytes[begin..self.at].to_vec());
                    match self.bytes.get(self.at + 1) {
                        Some(&next @ (b'"' | b'\\')) => text.push(next),
                        _ => {
                            return Err(Refusal::Syntax(
                                "Only \" and \\ can be escaped in a quoted string",
                            ));
                        }
                    }
                    self.at += 2;
                }
                b'\r' | b'\n' | 0 => {
                    return Err(Refusal::Syntax("Quoted string contains a line break"));
                }
                _ => {
                    if let Some(text) = &mut unescaped {
                        text.push(byte);
                    }
                    self.at += 1;
                }
            }
        }
        Err(Refusal::Syntax("Quoted string is not closed"))
    }

    /// `{n}`, `{n+}` or `~{n}`, its line end and the n bytes: their place in the command.
    pub fn literal_range(&mut self) -> Option<Range<usize>> {
        let mut at = self.at;
        if self.bytes.get(at) == Some(&b'~') {
            at += 1;
        }
        let rest = self.bytes.get(at..)?.strip_prefix(b"{")?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let count = sequence::number(&rest[..digits])? as usize;
        let after = &rest[digits..];
        let after = after
            .strip_prefix(b"+")
            .unwrap_or(after)
            .strip_prefix(b"}\r\n")?;
        let begin = self.bytes.len() - after.len();
        let end = begin
            .checked_add(count)
            .filter(|&end| end <= self.bytes.len())?;
        self.at = end;
        Some(begin..end)
    }

    /// Whether the command holds NUL there.
    pub fn has_nul(&self, range: &Range<usize>) -> bool {
        memchr::memchr(0, &self.bytes[range.clone()]).is_some()
    }

    /// RFC 9051 §9 astring: an atom (which may hold `]`), a quoted string or a literal.
    pub fn astring(&mut self) -> Parsed<Cow<'a, [u8]>> {
        if matches!(self.peek(), Some(b'"' | b'{' | b'~'))
            && (self.peek() != Some(b'~') || self.bytes.get(self.at + 1) == Some(&b'{'))
        {
            return self.string();
        }
        // 8-bit bytes outside of quotes are no atom by the grammar; clients that send UTF-8 names bare mean what they say.
        let rest = &self.bytes[self.at..];
        let belongs = |byte: u8| is_atom_char(byte) || byte == b']' || byte >= 0x80;
        let end = rest
            .iter()
            .position(|&byte| !belongs(byte))
            .unwrap_or(rest.len());
        if end == 0 {
            return Err(Refusal::Syntax("Expected a string"));
        }
        self.at += end;
        Ok(Cow::Borrowed(&rest[..end]))
    }

    /// A string to look for, in `charset`. No message holds a NUL, so text with one is of another charset.
    pub fn search_text(&mut self) -> Parsed<Box<str>> {
        let bytes = self.astring()?;
        mail::text::decode_strictly(&self.charset, &bytes)
            .filter(|text| !text.contains('\0'))
            .map(Into::into)
            .ok_or(Refusal::BadCharset)
    }

    /// A mailbox name in UTF-8, INBOX in its one spelling.
    pub fn mailbox(&mut self) -> Parsed<Box<str>> {
        let bytes = self.astring()?;
        self.mailbox_name(&bytes)
    }

    /// A LIST pattern: an astring that may hold `%` and `*` bare.
    pub fn list_mailbox(&mut self) -> Parsed<Box<str>> {
        let pattern = if matches!(self.peek(), Some(b'"' | b'{')) {
            self.string()?
        } else {
            let rest = &self.bytes[self.at..];
            let belongs = |byte: u8| is_atom_char(byte) || b"%*]".contains(&byte) || byte >= 0x80;
            let end = rest
                .iter()
                .position(|&byte| !belongs(byte))
                .unwrap_or(rest.len());
            if end == 0 {
                return Err(Refusal::Syntax("Expected a mailbox pattern"));
            }
            self.at += end;
            Cow::Borrowed(&rest[..end])
        };
        if pattern.iter().filter(|byte| b"%*".contains(byte)).count() > LIST_WILDCARDS_MAX {
            return Err(Refusal::TooMuch("wildcards"));
        }
        Ok(self.pattern_of(&pattern))
    }

    /// The reference of LIST and LSUB: the beginning of a pattern.
    pub fn list_reference(&mut self) -> Parsed<Box<str>> {
        let bytes = self.astring()?;
        Ok(self.pattern_of(&bytes))
    }

    /// What cannot be a mailbox name names no mailbox: LIST answers OK and nothing else.
    fn pattern_of(&self, bytes: &[u8]) -> Box<str> {
        self.mailbox_name(bytes)
            .unwrap_or_else(|_| MATCHES_NOTHING.into())
    }

    fn mailbox_name(&self, bytes: &[u8]) -> Parsed<Box<str>> {
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::BadMailboxName)?;
        let name = match self.names {
            // A client that has not asked for UTF-8 but sends it means it; a bare `&` is taken as it stands.
            Names::ModifiedUtf7 if text.is_ascii() => {
                utf7::decode(text).ok_or(Refusal::BadMailboxName)?
            }
            _ => text.to_owned(),
        };
        if name.len() > MAILBOX_NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(Refusal::BadMailboxName);
        }
        Ok(canonical(name).into())
    }
}

/// A pattern without a match: no mailbox name holds a control character.
const MATCHES_NOTHING: &str = "\u{1}";

/// RFC 9051 §5.1: INBOX in any case is INBOX, also as the parent of others.
pub(super) fn canonical(mut name: String) -> String {
    let is_inbox = name
        .get(..5)
        .is_some_and(|head| head.eq_ignore_ascii_case("INBOX"));
    if is_inbox && matches!(name.as_bytes().get(5), None | Some(b'/')) {
        name.replace_range(..5, "INBOX");
    }
    name
}
