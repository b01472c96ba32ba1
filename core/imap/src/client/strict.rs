//! BODYSTRUCTURE and ENVELOPE read back by the letter of RFC 9051 §9, for tests and fuzzers. `Responses` is lenient, as a client
//! must be; this reader takes exactly what the grammar allows, and `verify` compares what it read with the message.

use mail::Summary;

use crate::fetch::{Section, SectionText, cut};
use crate::respond::{put_body_structure, put_envelope};

/// Where the bytes leave the grammar, and what the grammar wants there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {wanted}")]
pub struct GrammarFault {
    /// Bytes from the beginning of what was read.
    pub at: usize,
    /// A production of the grammar, or the text that must stand there.
    pub wanted: &'static str,
}

type Read<T> = Result<T, GrammarFault>;

/// One `address` (RFC 9051 §9): name, source route, mailbox and host.
pub type Address = [Option<Vec<u8>>; 4];

/// `envelope`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The Date field as it stands in the message.
    pub date: Option<Vec<u8>>,
    pub subject: Option<Vec<u8>>,
    /// From, Sender, Reply-To, To, Cc, Bcc. NIL is an empty list.
    pub addresses: [Vec<Address>; 6],
    /// Message-IDs that the message answers.
    pub in_reply_to: Option<Vec<u8>>,
    /// The message's own Message-ID.
    pub message_id: Option<Vec<u8>>,
}

/// `body`, without its extension data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Structure {
    /// `body-type-mpart`.
    Multipart {
        /// For example MIXED or ALTERNATIVE.
        subtype: Vec<u8>,
        /// At least one.
        parts: Vec<Structure>,
    },
    /// `body-type-1part`.
    Single {
        /// For example TEXT.
        media_type: Vec<u8>,
        /// For example PLAIN.
        subtype: Vec<u8>,
        /// The Content-Transfer-Encoding; 7BIT where the message has none.
        encoding: Vec<u8>,
        /// Octets of the encoded part.
        octets: u32,
        /// For text and for embedded messages.
        lines: Option<u32>,
        /// For MESSAGE/RFC822 (and MESSAGE/GLOBAL in rev2): the embedded message.
        message: Option<Box<(Envelope, Structure)>>,
    },
}

/// The whole of `bytes` as one `envelope`.
pub fn envelope(bytes: &[u8]) -> Read<Envelope> {
    whole(bytes, |reader| reader.envelope())
}

/// The whole of `bytes` as one `body`. `extended`: with the extension data that only BODYSTRUCTURE has. `rev2`: MESSAGE/GLOBAL is an
/// embedded message (RFC 9051 §9 `media-message`); in IMAP4rev1 (RFC 3501 §9) it is a basic type.
pub fn body(bytes: &[u8], extended: bool, rev2: bool) -> Read<Structure> {
    whole(bytes, |reader| reader.body(extended, rev2, DEPTH_MAX))
}

/// Writes the ENVELOPE and the body structures of `raw`, reads them back, and compares octets and lines of every part with the section that
/// FETCH cuts for it. Stops the test with what does not agree.
pub fn verify(raw: &[u8], summary: &Summary<'_>) {
    let mut out = Vec::new();
    put_envelope(&mut out, &summary.envelope());
    if let Err(fault) = envelope(&out) {
        panic!("{fault} in ENVELOPE {}", out.escape_ascii());
    }
    for (extended, rev2) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut out = Vec::new();
        put_body_structure(&mut out, &summary.root, extended, rev2);
        let structure = match body(&out, extended, rev2) {
            Ok(structure) => structure,
            Err(fault) => panic!("{fault} in BODYSTRUCTURE {}", out.escape_ascii()),
        };
        structure.compare(&mut Vec::new(), &|part| {
            let section = Section {
                part: part.to_vec(),
                text: SectionText::All,
            };
            let bytes = cut(&section, summary, raw);
            bytes.unwrap_or_else(|| panic!("BODYSTRUCTURE lists {part:?}, BODY[] has no such part"))
        });
    }
}

impl Structure {
    /// RFC 9051 §6.4.5.1: the number of a part. `path` leads to the message that this is the body of.
    fn compare<'m>(
        &self,
        path: &mut Vec<u32>,
        section: &impl Fn(&[u32]) -> std::borrow::Cow<'m, [u8]>,
    ) {
        match self {
            Structure::Multipart { parts, .. } => {
                for (number, part) in (1..).zip(parts) {
                    path.push(number);
                    part.compare_part(path, section);
                    path.pop();
                }
            }
            Structure::Single { .. } => {
                path.push(1);
                self.compare_part(path, section);
                path.pop();
            }
        }
    }

    /// The same for one part: its octets and lines, and the message in it.
    fn compare_part<'m>(
        &self,
        path: &mut Vec<u32>,
        section: &impl Fn(&[u32]) -> std::borrow::Cow<'m, [u8]>,
    ) {
        let Structure::Single {
            octets,
            lines,
            message,
            ..
        } = self
        else {
            return self.compare(path, section);
        };
        let bytes = section(path);
        assert_eq!(*octets as usize, bytes.len(), "octets of BODY{path:?}");
        if let Some(lines) = lines {
            let ends = memchr::memchr_iter(b'\n', &bytes).count();
            let unfinished = usize::from(bytes.last().is_some_and(|&byte| byte != b'\n'));
            assert_eq!(
                *lines as usize,
                ends + unfinished,
                "lines of BODY{path:?} {}",
                bytes.escape_ascii()
            );
        }
        if let Some(message) = message {
            message.1.compare(path, section);
        }
    }
}

/// Above `mail`'s bound on depth.
const DEPTH_MAX: usize = 64;

/// Reads one production and demands that it is everything.
fn whole<T>(bytes: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Read<T>) -> Read<T> {
    let mut reader = Reader { bytes, at: 0 };
    let value = read(&mut reader)?;
    if reader.at < bytes.len() {
        return reader.fault("the end");
    }
    Ok(value)
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn fault<T>(&self, wanted: &'static str) -> Read<T> {
        Err(GrammarFault {
            at: self.at,
            wanted,
        })
    }

    /// The next byte, which stays.
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes `text` if it stands here.
    fn accept(&mut self, text: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// Takes `text`, or fails.
    fn expect(&mut self, text: &'static str) -> Read<()> {
        if self.accept(text.as_bytes()) {
            Ok(())
        } else {
            self.fault(text)
        }
    }

    /// `number`: digits within 32 bits.
    fn number(&mut self) -> Read<u32> {
        let rest = &self.bytes[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&rest[..digits])
            .ok()
            .and_then(|text| text.parse().ok());
        match number {
            Some(number) => {
                self.at += digits;
                Ok(number)
            }
            None => self.fault("number"),
        }
    }

    /// `string`: quoted (7-bit, as IMAP4rev1 wants it) or a literal without NUL.
    fn string(&mut self) -> Read<Vec<u8>> {
        if self.accept(b"{") {
            let count = self.number()? as usize;
            self.expect("}\r\n")?;
            let Some(text) = self.bytes.get(self.at..self.at + count) else {
                return self.fault("the octets of the literal");
            };
            if text.contains(&0) {
                return self.fault("CHAR8, which is not NUL");
            }
            self.at += count;
            return Ok(text.to_vec());
        }
        self.expect("\"")?;
        let mut text = Vec::new();
        loop {
            // until the closing quote or a byte that may not stand here
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(byte @ (b'"' | b'\\')) => text.push(byte),
                        _ => return self.fault("quoted-specials"),
                    }
                }
                Some(byte @ (1..=0x7f)) if !matches!(byte, b'\r' | b'\n') => text.push(byte),
                _ => return self.fault("QUOTED-CHAR"),
            }
            self.at += 1;
        }
    }

    /// `nstring`: NIL or a string.
    fn nstring(&mut self) -> Read<Option<Vec<u8>>> {
        if self.accept(b"NIL") {
            Ok(None)
        } else {
            self.string().map(Some)
        }
    }

    /// A string that says something: types, parameter names, encodings.
    fn word(&mut self) -> Read<Vec<u8>> {
        let word = self.string()?;
        if word.is_empty() {
            return self.fault("a string that is not empty");
        }
        Ok(word)
    }

    /// A blank, then an `nstring`.
    fn spaced_nstring(&mut self) -> Read<Option<Vec<u8>>> {
        self.expect(" ")?;
        self.nstring()
    }

    /// `envelope`: ten fields, all of them always there.
    fn envelope(&mut self) -> Read<Envelope> {
        self.expect("(")?;
        let date = self.nstring()?;
        let subject = self.spaced_nstring()?;
        let mut addresses: [Vec<Address>; 6] = Default::default();
        for list in &mut addresses {
            self.expect(" ")?;
            *list = self.addresses()?;
        }
        let in_reply_to = self.spaced_nstring()?;
        let message_id = self.spaced_nstring()?;
        self.expect(")")?;
        Ok(Envelope {
            date,
            subject,
            addresses,
            in_reply_to,
            message_id,
        })
    }

    /// A list of addresses in parentheses, or NIL. An empty list is not allowed.
    fn addresses(&mut self) -> Read<Vec<Address>> {
        let mut list = Vec::new();
        if self.accept(b"NIL") {
            return Ok(list);
        }
        self.expect("(")?;
        let mut in_group = false;
        loop {
            // each turn takes an address
            self.expect("(")?;
            let address = [
                self.nstring()?,
                self.spaced_nstring()?,
                self.spaced_nstring()?,
                self.spaced_nstring()?,
            ];
            self.expect(")")?;
            // RFC 9051 §7.5.2: NIL for a host begins a group, NIL for both ends it.
            match (&address[2], &address[3]) {
                (Some(_), None) if !in_group => in_group = true,
                (None, None) if in_group => in_group = false,
                (Some(_), Some(_)) => {}
                _ => return self.fault("groups that begin and end"),
            }
            list.push(address);
            if self.accept(b")") {
                break;
            }
        }
        if in_group {
            return self.fault("the end of the group");
        }
        Ok(list)
    }

    /// `body`. `depth_left` bounds the recursion, so that a test of broken output ends with a fault instead of a full
    /// stack.
    fn body(&mut self, extended: bool, rev2: bool, depth_left: usize) -> Read<Structure> {
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return self.fault("less depth");
        };
        self.expect("(")?;
        let structure = if self.peek() == Some(b'(') {
            self.multipart(extended, rev2, depth_left)?
        } else {
            self.single(extended, rev2, depth_left)?
        };
        self.expect(")")?;
        Ok(structure)
    }

    /// `body-type-mpart`, behind its parenthesis.
    fn multipart(&mut self, extended: bool, rev2: bool, depth_left: usize) -> Read<Structure> {
        let mut parts = Vec::new();
        while self.peek() == Some(b'(') {
            parts.push(self.body(extended, rev2, depth_left)?);
        }
        self.expect(" ")?;
        let subtype = self.word()?;
        if extended {
            self.expect(" ")?;
            self.parameters()?;
            self.extension()?;
        }
        Ok(Structure::Multipart { subtype, parts })
    }

    /// `body-type-1part`, behind its parenthesis.
    fn single(&mut self, extended: bool, rev2: bool, depth_left: usize) -> Read<Structure> {
        let media_type = self.word()?;
        self.expect(" ")?;
        let subtype = self.word()?;
        let is = |text: &[u8], name: &str| text.eq_ignore_ascii_case(name.as_bytes());
        if is(&media_type, "MULTIPART") {
            return self.fault("a type that is not MULTIPART");
        }
        self.expect(" ")?;
        self.parameters()?;
        self.spaced_nstring()?;
        self.spaced_nstring()?;
        self.expect(" ")?;
        let encoding = self.word()?;
        self.expect(" ")?;
        let octets = self.number()?;
        let mut message = None;
        let mut lines = None;
        let is_message = is(&media_type, "MESSAGE")
            && (is(&subtype, "RFC822") || (rev2 && is(&subtype, "GLOBAL")));
        if is_message {
            self.expect(" ")?;
            let envelope = self.envelope()?;
            self.expect(" ")?;
            let inner = self.body(extended, rev2, depth_left)?;
            message = Some(Box::new((envelope, inner)));
        }
        if is_message || is(&media_type, "TEXT") {
            self.expect(" ")?;
            lines = Some(self.number()?);
        }
        if extended {
            self.spaced_nstring()?;
            self.extension()?;
        }
        Ok(Structure::Single {
            media_type,
            subtype,
            encoding,
            octets,
            lines,
            message,
        })
    }

    /// `body-fld-param`.
    fn parameters(&mut self) -> Read<()> {
        if self.accept(b"NIL") {
            return Ok(());
        }
        self.expect("(")?;
        loop {
            // each turn takes a pair
            self.word()?;
            self.expect(" ")?;
            self.string()?;
            if self.accept(b")") {
                return Ok(());
            }
            self.expect(" ")?;
        }
    }

    /// Disposition, language and location, which we always send together.
    fn extension(&mut self) -> Read<()> {
        self.expect(" ")?;
        if !self.accept(b"NIL") {
            self.expect("(")?;
            self.word()?;
            self.expect(" ")?;
            self.parameters()?;
            self.expect(")")?;
        }
        self.expect(" ")?;
        if self.accept(b"(") {
            self.string()?;
            while !self.accept(b")") {
                self.expect(" ")?;
                self.string()?;
            }
        } else {
            self.nstring()?;
        }
        self.spaced_nstring()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASIC: &str = r#"("IMAGE" "PNG" NIL NIL NIL "BASE64" 3)"#;
    const EMPTY: &str = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";

    #[test]
    fn what_the_grammar_allows_is_read() {
        let embedded = format!(r#"("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 3 {EMPTY} {BASIC} 1)"#);
        for text in [
            BASIC,
            &format!(r#"({BASIC}{BASIC} "MIXED")"#),
            &embedded,
            r#"("MESSAGE" "DELIVERY-STATUS" NIL NIL NIL "7BIT" 3)"#,
        ] {
            assert!(body(text.as_bytes(), false, true).is_ok(), "{text}");
        }
        let group = r#"(NIL NIL NIL NIL NIL ((NIL NIL "g" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL)) NIL NIL NIL NIL)"#;
        assert_eq!(
            envelope(group.as_bytes()).map(|read| read.addresses[3].len()),
            Ok(3)
        );
    }

    #[test]
    fn what_leaves_the_grammar_is_named() {
        let no_lines = r#"("TEXT" "PLAIN" NIL NIL NIL "7BIT" 3)"#;
        let no_envelope = r#"("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 0)"#;
        let leaf_multipart = r#"("MULTIPART" "MIXED" NIL NIL NIL "7BIT" 0)"#;
        let nul = "(\"A\" \"B\" NIL {1}\r\n\0 NIL \"7BIT\" 0)";
        let no_encoding = r#"("A" "B" NIL NIL NIL "" 0)"#;
        for text in [no_lines, no_envelope, leaf_multipart, nul, no_encoding] {
            assert!(body(text.as_bytes(), false, true).is_err(), "{text}");
        }
        let open_group = r#"(NIL NIL NIL NIL NIL ((NIL NIL "g" NIL)) NIL NIL NIL NIL)"#;
        assert!(envelope(open_group.as_bytes()).is_err());
        let global = r#"("MESSAGE" "GLOBAL" NIL NIL NIL "8BIT" 0)"#;
        assert!(body(global.as_bytes(), false, false).is_ok());
        assert!(body(global.as_bytes(), false, true).is_err());
    }
}
