//! One `* n FETCH (…)`: every item as bytes (RFC 9051, 7.5.2), or as a place in the message that is sent from the store.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use imap::fetch::{
    FetchItem, Partial, Section, SectionText, binary_part, cut, fields_from_summary, part_of,
    part_of_range, range, transfer_decoded,
};
use imap::respond::{
    put, put_binary_name, put_body_structure, put_envelope, put_flags_of_session, put_literal_mark,
    put_number, put_section_name, put_string, without_nul,
};
use mail::preview::preview;
use mail::{InternalDate, Summary};
use mailbox::{MailboxFault, Message};

use super::super::fault::Failure;
use super::super::limits::*;
use super::super::object::email_id;
use super::super::selected::put_fetch_head;
use super::Wanted;
use super::decode::Encoding;
use super::stream::Source;

/// What was read of one message.
pub(super) struct Read<'c> {
    pub summary: Option<&'c Result<Bytes, MailboxFault>>,
    /// The same, where it can be read.
    pub decoded: Option<Summary<'c>>,
    /// All of it; `None`: what is wanted of it is sent from the store.
    pub body: Option<&'c Result<Bytes, MailboxFault>>,
    /// `body` is small and may be copied into the line; otherwise large parts of it are sent from the store.
    pub stays: bool,
    /// \Recent in this session.
    pub recent: bool,
    /// The first words, where `body` is not at hand.
    pub preview: Option<String>,
}

/// What `summary` says. `None`: there is none, or it cannot be read.
pub(super) fn decoded(summary: Option<&Result<Bytes, MailboxFault>>) -> Option<Summary<'_>> {
    Summary::decode(summary?.as_ref().ok()?).ok()
}

/// One `* n FETCH (…)` in the making.
pub(super) struct FetchLine<'o> {
    pub out: &'o mut Vec<u8>,
    /// What is to be sent when `out` was sent up to there.
    pub sources: Vec<(usize, Source)>,
    /// Where the line begins in `out`, and how long it may get there.
    begin: usize,
    bytes_max: usize,
    /// Bytes that may still be looked at for it: a client may ask for one thing under a hundred names.
    work_left: usize,
}

/// The client can ask for fewer items or messages in one command.
const TOO_LONG: Failure = Failure::No(
    "LIMIT",
    "Too much of one message in one response; request less at once",
);

/// A message's bytes, as far as they are at hand.
#[derive(Clone, Copy)]
struct Raw<'c> {
    bytes: Option<&'c Bytes>,
    size_bytes: usize,
    stays: bool,
}

impl FetchLine<'_> {
    /// A line behind what `out` holds, itself of `bytes_max` at most; longer ones are refused.
    pub fn new(out: &mut Vec<u8>, bytes_max: usize) -> FetchLine<'_> {
        FetchLine {
            begin: out.len(),
            out,
            sources: Vec::new(),
            bytes_max,
            work_left: 0,
        }
    }

    /// Whether `bytes` more fit.
    fn room_for(&self, bytes: usize) -> Result<(), Failure> {
        let sum = (self.out.len() - self.begin).checked_add(bytes);
        match sum.is_some_and(|sum| sum <= self.bytes_max) {
            true => Ok(()),
            false => Err(TOO_LONG),
        }
    }

    /// Pays for `bytes` that are looked at. Fails when the line has cost too much.
    fn work(&mut self, bytes: usize) -> Result<(), Failure> {
        self.work_left = self.work_left.checked_sub(bytes).ok_or(TOO_LONG)?;
        Ok(())
    }

    /// The whole line of one message, from `* n FETCH (` or `* uid UIDFETCH (` to its line end. After a failure the caller takes what was written back.
    pub fn put_message(
        &mut self,
        number: u32,
        message: &Message,
        read: &Read<'_>,
        wanted: &Wanted,
    ) -> Result<(), Failure> {
        let body = match read.body {
            Some(Ok(body)) => Some(body),
            Some(Err(fault)) => return Err(fault.clone().into()),
            None => None,
        };
        // A summary that cannot be read, or does not say everything, is made again when the body is at hand.
        let whole;
        let summary = match (read.summary, body) {
            (None, _) => None,
            (Some(Ok(_)), body)
                if let Some(summary) = &read.decoded
                    && (summary.complete || body.is_none()) =>
            {
                Some(summary)
            }
            (Some(_), Some(body)) => {
                whole = Summary::whole(body);
                Some(&whole)
            }
            (Some(Err(fault)), None) => return Err(fault.clone().into()),
            (Some(Ok(_)), None) => return Err(MailboxFault::Damaged.into()),
        };
        let raw = Raw {
            bytes: body,
            size_bytes: message.body.raw_bytes as usize,
            stays: read.stays,
        };
        self.work_left = LINE_WORK_BYTES_MIN + LINE_WORK_TIMES * raw.size_bytes;
        put_fetch_head(self.out, number, message.uid.0, wanted.uid_only);
        for (index, item) in wanted.items.iter().enumerate() {
            if index > 0 {
                self.out.push(b' ');
            }
            self.put_item(item, message, read, summary, raw, wanted.rev2)?;
            self.room_for(0)?;
        }
        put(self.out, ")\r\n");
        Ok(())
    }

    fn put_item(
        &mut self,
        item: &FetchItem,
        message: &Message,
        read: &Read<'_>,
        summary: Option<&Summary<'_>>,
        raw: Raw<'_>,
        rev2: bool,
    ) -> Result<(), Failure> {
        let body = || raw.bytes.expect("`Wanted` asked for all of it");
        let known = || summary.expect("`Wanted` asked for the summary");
        // RFC 9051 §7.5.2: NIL is for what is absent. What cannot be reported in full is refused, and `BODY[]` has it.
        let all_known = || match known() {
            summary if summary.complete => Ok(summary),
            _ => Err(Failure::No(
                "LIMIT",
                "Message header is too long for ENVELOPE and BODYSTRUCTURE",
            )),
        };
        match item {
            FetchItem::Uid => {
                put(self.out, "UID ");
                put_number(self.out, message.uid.0);
            }
            FetchItem::Flags => {
                put(self.out, "FLAGS ");
                put_flags_of_session(self.out, &message.flags, read.recent);
            }
            FetchItem::InternalDate => {
                put(self.out, "INTERNALDATE \"");
                put(
                    self.out,
                    &imap::date::encode_date_time(message.internal_date),
                );
                self.out.push(b'"');
            }
            FetchItem::Rfc822Size => {
                put(self.out, "RFC822.SIZE ");
                put_number(self.out, message.size_bytes);
            }
            FetchItem::ModSeq => {
                put(self.out, "MODSEQ (");
                put_number(self.out, message.modseq.0);
                put(self.out, ")");
            }
            FetchItem::EmailId => {
                put(self.out, "EMAILID (");
                put(self.out, &email_id(message).text());
                put(self.out, ")");
            }
            // RFC 8474 §5.2: NIL where threads are not kept.
            FetchItem::ThreadId => put(self.out, "THREADID NIL"),
            FetchItem::SaveDate => match message.saved_s {
                0 => put(self.out, "SAVEDATE NIL"),
                saved_s => {
                    let date = InternalDate::utc(i64::from(saved_s));
                    put(self.out, "SAVEDATE \"");
                    put(self.out, &imap::date::encode_date_time(date));
                    put(self.out, "\"");
                }
            },
            FetchItem::Preview { .. } => {
                put(self.out, "PREVIEW ");
                match (&read.preview, raw.bytes) {
                    (Some(preview), _) => put_string(self.out, preview.as_bytes()),
                    (None, Some(bytes)) => {
                        self.work(PREVIEW_WORK_BYTES)?;
                        put_string(self.out, preview(&known().root, bytes).as_bytes());
                    }
                    // RFC 8970 §3.2: a lazy one of a large message.
                    (None, None) => put(self.out, "NIL"),
                }
            }
            FetchItem::Envelope => {
                put(self.out, "ENVELOPE ");
                put_envelope(self.out, &all_known()?.envelope());
            }
            FetchItem::BodyStructureBasic => {
                put(self.out, "BODY ");
                put_body_structure(self.out, &all_known()?.root, false, rev2);
            }
            FetchItem::BodyStructure => {
                put(self.out, "BODYSTRUCTURE ");
                put_body_structure(self.out, &all_known()?.root, true, rev2);
            }
            FetchItem::Rfc822 => {
                put(self.out, "RFC822 ");
                self.put_range(0..raw.size_bytes, raw);
            }
            FetchItem::Rfc822Header => {
                put(self.out, "RFC822.HEADER ");
                self.put_section(&whole(SectionText::Header), None, known(), raw)?;
            }
            FetchItem::Rfc822Text => {
                put(self.out, "RFC822.TEXT ");
                self.put_section(&whole(SectionText::Text), None, known(), raw)?;
            }
            FetchItem::Section {
                section, partial, ..
            } => {
                put_section_name(self.out, section, *partial);
                self.out.push(b' ');
                if item.is_whole_message() {
                    self.put_range(part_of_range(0..raw.size_bytes, *partial), raw);
                } else {
                    self.put_section(section, *partial, known(), raw)?;
                }
            }
            FetchItem::Binary { part, partial, .. } => {
                put_binary_name(self.out, "BINARY", part, *partial);
                self.out.push(b' ');
                self.put_binary_part(part, *partial, known(), body(), raw)?;
            }
            FetchItem::BinarySize { part } => {
                put_binary_name(self.out, "BINARY.SIZE", part, None);
                self.out.push(b' ');
                let decoded = self.decoded(part, known(), body())?;
                let size = decoded.map_or(0, |bytes| bytes.len());
                put_number(self.out, size as u64);
            }
        }
        Ok(())
    }

    fn put_section(
        &mut self,
        section: &Section,
        partial: Option<Partial>,
        summary: &Summary<'_>,
        raw: Raw<'_>,
    ) -> Result<(), Failure> {
        let filtered = match &section.text {
            SectionText::HeaderFields { names, .. } => {
                let header = range(section, summary, raw.size_bytes).map_or(0, |found| found.len());
                // Each field's name is held against each of `names`; a few cost as much as finding the field.
                self.work(header.saturating_mul(1 + names.len() / 8))?;
                fields_from_summary(section, summary)
                    .map(Cow::Owned)
                    .or_else(|| raw.bytes.and_then(|bytes| cut(section, summary, bytes)))
            }
            _ => None,
        };
        if let Some(bytes) = filtered {
            let bytes = part_of(&bytes, partial);
            self.room_for(bytes.len())?;
            put_string(self.out, bytes);
            return Ok(());
        }
        match range(section, summary, raw.size_bytes) {
            Some(found) => self.put_range(part_of_range(found, partial), raw),
            None => put(self.out, "NIL"),
        }
        Ok(())
    }

    /// Always a literal, and so without NUL.
    fn put_range(&mut self, range: Range<usize>, raw: Raw<'_>) {
        put_literal_mark(self.out, range.len());
        match raw.bytes {
            Some(bytes) if raw.stays || range.len() < DIRECT_BYTES_MIN => {
                self.out.extend_from_slice(&without_nul(&bytes[range]));
            }
            _ if range.is_empty() => {}
            _ => self.sources.push((self.out.len(), Source::Stored(range))),
        }
    }

    fn put_binary_part(
        &mut self,
        part: &[u32],
        partial: Option<Partial>,
        summary: &Summary<'_>,
        body: &Bytes,
        raw: Raw<'_>,
    ) -> Result<(), Failure> {
        let Some(bytes) = self.decoded(part, summary, body)? else {
            put(self.out, "NIL");
            return Ok(());
        };
        let wanted = part_of_range(0..bytes.len(), partial);
        let source = match binary_part(part, summary, body) {
            Some(found) if !raw.stays && wanted.len() >= DIRECT_BYTES_MIN => {
                let plain = matches!(bytes, Cow::Borrowed(_));
                source_of(found, body, plain, wanted.clone())
            }
            _ => None,
        };
        match source {
            Some(source) => {
                self.put_binary_mark(&bytes[wanted]);
                self.sources.push((self.out.len(), source));
            }
            None => {
                self.room_for(wanted.len())?;
                self.put_binary(&bytes[wanted]);
            }
        }
        Ok(())
    }

    /// A part with its transfer encoding undone; `None` for no such part.
    fn decoded<'a>(
        &mut self,
        part: &[u32],
        summary: &Summary<'_>,
        body: &'a [u8],
    ) -> Result<Option<Cow<'a, [u8]>>, Failure> {
        let Some((bytes, encoding)) = binary_part(part, summary, body) else {
            return Ok(None);
        };
        self.work(bytes.len())?;
        match transfer_decoded(bytes, encoding) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(Failure::No(
                "UNKNOWN-CTE",
                "Transfer encoding of the part cannot be decoded",
            )),
        }
    }

    fn put_binary(&mut self, bytes: &[u8]) {
        self.put_binary_mark(bytes);
        self.out.extend_from_slice(bytes);
    }

    fn put_binary_mark(&mut self, bytes: &[u8]) {
        // RFC 3516 §4.2: a literal8 where there are NULs.
        if bytes.contains(&0) {
            self.out.push(b'~');
        }
        put_literal_mark(self.out, bytes.len());
    }
}

/// Where `wanted` of a part's decoded bytes comes from (`plain`: they are its own); `None`: only all of it at once can be decoded.
fn source_of(
    (part, encoding): (&[u8], &[u8]),
    body: &Bytes,
    plain: bool,
    wanted: Range<usize>,
) -> Option<Source> {
    let begin = part.as_ptr() as usize - body.as_ptr() as usize;
    let part = begin..begin + part.len();
    if plain {
        return Some(Source::Binary(begin + wanted.start..begin + wanted.end));
    }
    let encoding = Encoding::streaming(encoding, &body[part.clone()])?;
    Some(Source::Decoded {
        part,
        encoding,
        wanted,
    })
}

/// The section of the whole message, not of a part.
fn whole(text: SectionText) -> Section {
    Section {
        part: Vec::new(),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    /// The line about a message `raw`, all of which is at hand but is too large to be copied.
    fn line(raw: &[u8], items: Vec<FetchItem>, bytes_max: usize) -> Result<usize, Failure> {
        let raw = Ok(Bytes::copy_from_slice(raw));
        let mut message = sample::message(1, 1);
        message.body.raw_bytes = raw.as_ref().map_or(0, |raw| raw.len() as u32);
        let summary = raw.as_ref().map(|raw| Summary::of(raw).encode().into());
        let summary = summary.map_err(MailboxFault::clone);
        let read = Read {
            summary: Some(&summary),
            decoded: decoded(Some(&summary)),
            body: Some(&raw),
            stays: false,
            recent: false,
            preview: None,
        };
        let mut out = b"before".to_vec();
        let wanted = Wanted::new(true, items, None, true, Default::default());
        FetchLine::new(&mut out, bytes_max).put_message(1, &message, &read, &wanted)?;
        Ok(out.len())
    }

    fn binary() -> FetchItem {
        FetchItem::Binary {
            part: vec![1],
            partial: None,
            peek: true,
        }
    }

    /// A part that can only be decoded whole, and so is copied.
    #[test]
    fn a_line_does_not_grow_with_what_is_asked_again_and_again() {
        let mut raw = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n".to_vec();
        raw.extend(vec![b'x'; 100_000]);
        assert!(line(&raw, vec![binary()], 150_000).is_ok());
        for items in [vec![binary(); 2], vec![binary(); 100]] {
            assert_eq!(line(&raw, items, 150_000), Err(TOO_LONG));
        }
        assert!(line(&raw, vec![binary(); 2], 250_000).is_ok());
    }

    #[test]
    fn a_part_is_not_decoded_again_and_again() {
        let mut raw = b"Content-Transfer-Encoding: base64\r\n\r\n".to_vec();
        raw.extend(vec![b'x'; LINE_WORK_BYTES_MIN]);
        let size = || FetchItem::BinarySize { part: vec![1] };
        assert!(line(&raw, vec![size(); 8], 1_000_000).is_ok());
        assert_eq!(line(&raw, vec![size(); 128], 1_000_000), Err(TOO_LONG));
    }

    #[test]
    fn a_header_is_not_filtered_again_and_again() {
        let mut raw = b"X: y\r\n".repeat(LINE_WORK_BYTES_MIN / 6);
        raw.extend(b"\r\n");
        let fields = |names: usize| FetchItem::Section {
            section: Section {
                part: Vec::new(),
                text: SectionText::HeaderFields {
                    not: false,
                    names: (0..names).map(|name| format!("n{name}").into()).collect(),
                },
            },
            partial: None,
            peek: true,
        };
        assert!(line(&raw, vec![fields(128)], 1_000_000).is_ok());
        assert_eq!(line(&raw, vec![fields(128); 3], 1_000_000), Err(TOO_LONG));
        assert_eq!(line(&raw, vec![fields(1); 128], 1_000_000), Err(TOO_LONG));
    }
}
