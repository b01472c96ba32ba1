//! One `* n FETCH (…)`: every item as bytes (RFC 9051, 7.5.2).

use std::borrow::Cow;

use bytes::Bytes;
use imap::fetch::{
    FetchItem, Partial, Section, SectionText, binary_part, cut, fields_from_summary, part_of,
    transfer_decoded,
};
use imap::respond::{
    put, put_binary_name, put_body_structure, put_envelope, put_flags_of_session, put_literal_mark,
    put_number, put_section_name, put_string, without_nul,
};
use mail::Summary;
use mailbox::{MailboxFault, Message};

use super::super::fault::Failure;
use super::super::limits::*;
use super::Wanted;

/// What was read of one message.
pub(super) struct Read<'c> {
    pub summary: Option<&'c Result<Bytes, MailboxFault>>,
    pub body: Option<&'c Result<Bytes, MailboxFault>>,
    pub newly_seen: bool,
    /// \Recent in this session.
    pub recent: bool,
}

/// One `* n FETCH (…)` in the making.
pub(super) struct FetchLine<'o> {
    pub out: &'o mut Vec<u8>,
    /// Bodies to be sent when `out` was sent up to there.
    pub direct: Vec<(usize, Bytes)>,
}

impl FetchLine<'_> {
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
        let summary = match (read.summary, body) {
            (None, _) => None,
            (Some(Ok(bytes)), body)
                if let Ok(summary) = Summary::decode(bytes)
                    && (summary.complete || body.is_none() || !wanted.whole_bodies()) =>
            {
                Some(summary)
            }
            (Some(_), Some(body)) => Some(Summary::whole(body)),
            (Some(Err(fault)), None) => return Err(fault.clone().into()),
            (Some(Ok(_)), None) => return Err(MailboxFault::Damaged.into()),
        };
        put(self.out, "* ");
        put_number(self.out, number);
        put(self.out, " FETCH (");
        for (index, item) in wanted.items.iter().enumerate() {
            if index > 0 {
                self.out.push(b' ');
            }
            self.put_item(item, message, read, summary.as_ref(), body, wanted.rev2)?;
        }
        // RFC 9051 §6.4.5: flags that change on the way are told.
        if read.newly_seen && !wanted.flags_listed {
            put(self.out, " FLAGS ");
            put_flags_of_session(self.out, &message.flags, read.recent);
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
        body: Option<&Bytes>,
        rev2: bool,
    ) -> Result<(), Failure> {
        let known = || summary.expect("`Wanted` asked for the summary");
        // RFC 9051 §7.5.2: NIL is for what is absent. What cannot be told whole is refused, and `BODY[]` has it.
        let all_known = || match known() {
            summary if summary.complete => Ok(summary),
            _ => Err(Failure::No(
                "LIMIT",
                "a message has a header too long for ENVELOPE and BODYSTRUCTURE",
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
                self.put_bytes(body.expect("`Wanted` asked for the body").clone());
            }
            FetchItem::Rfc822Header => {
                put(self.out, "RFC822.HEADER ");
                self.put_section(&whole(SectionText::Header), None, known(), body);
            }
            FetchItem::Rfc822Text => {
                put(self.out, "RFC822.TEXT ");
                self.put_section(&whole(SectionText::Text), None, known(), body);
            }
            FetchItem::Section {
                section, partial, ..
            } => {
                put_section_name(self.out, section, *partial);
                self.out.push(b' ');
                if item.is_whole_message() {
                    let body = body.expect("`Wanted` asked for the body");
                    let wanted = part_of(body, *partial);
                    let wanted = body.slice_ref(wanted);
                    self.put_bytes(wanted);
                } else {
                    self.put_section(section, *partial, known(), body);
                }
            }
            FetchItem::Binary { part, partial, .. } => {
                let body = body.expect("`Wanted` asked for the body");
                put_binary_name(self.out, "BINARY", part, *partial);
                self.out.push(b' ');
                match decoded(part, known(), body)? {
                    Some(bytes) => self.put_binary(part_of(&bytes, *partial)),
                    None => put(self.out, "NIL"),
                }
            }
            FetchItem::BinarySize { part } => {
                let body = body.expect("`Wanted` asked for the body");
                put_binary_name(self.out, "BINARY.SIZE", part, None);
                self.out.push(b' ');
                let size = decoded(part, known(), body)?.map_or(0, |bytes| bytes.len());
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
        body: Option<&Bytes>,
    ) {
        let from_summary = fields_from_summary(section, summary).map(Cow::Owned);
        let from_body = || body.and_then(|body| cut(section, summary, body));
        match from_summary.or_else(from_body) {
            Some(Cow::Owned(bytes)) => put_string(self.out, part_of(&bytes, partial)),
            Some(Cow::Borrowed(bytes)) => {
                let body = body.expect("it was cut from there");
                self.put_bytes(body.slice_ref(part_of(bytes, partial)));
            }
            None => put(self.out, "NIL"),
        }
    }

    /// Always a literal.
    fn put_bytes(&mut self, bytes: Bytes) {
        let bytes = match without_nul(&bytes) {
            Cow::Borrowed(_) => bytes,
            Cow::Owned(changed) => Bytes::from(changed),
        };
        put_literal_mark(self.out, bytes.len());
        if bytes.len() < DIRECT_BYTES_MIN {
            self.out.extend_from_slice(&bytes);
        } else {
            self.direct.push((self.out.len(), bytes));
        }
    }

    fn put_binary(&mut self, bytes: &[u8]) {
        // RFC 3516 §4.2: a literal8 where there are NULs.
        if bytes.contains(&0) {
            self.out.push(b'~');
        }
        put_literal_mark(self.out, bytes.len());
        self.out.extend_from_slice(bytes);
    }
}

fn whole(text: SectionText) -> Section {
    Section {
        part: Vec::new(),
        text,
    }
}

/// A part with its transfer encoding undone; `None` for no such part.
fn decoded<'a>(
    part: &[u32],
    summary: &Summary<'_>,
    body: &'a [u8],
) -> Result<Option<Cow<'a, [u8]>>, Failure> {
    let Some((bytes, encoding)) = binary_part(part, summary, body) else {
        return Ok(None);
    };
    match transfer_decoded(bytes, encoding) {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(Failure::No(
            "UNKNOWN-CTE",
            "the part's transfer encoding cannot be undone",
        )),
    }
}
