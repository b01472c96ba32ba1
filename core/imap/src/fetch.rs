//! FETCH data items (RFC 9051 §6.4.5) and the sections that BODY[…] cuts out of a message.

use std::borrow::Cow;
use std::ops::Range;

use mail::header;
use mail::summary::{Content, KEPT_FIELDS, Part, Summary};

/// What FETCH can ask about a message (RFC 9051 §6.4.5). Macros such as ALL are expanded by the parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    Uid,
    Flags,
    InternalDate,
    Rfc822Size,
    /// RFC 7162 §3.1.4.2.
    ModSeq,
    /// RFC 8474 §5.1 and §5.2.
    EmailId,
    ThreadId,
    /// RFC 8514.
    SaveDate,
    /// RFC 8970; lazy: only where it costs little.
    Preview {
        lazy: bool,
    },
    Envelope,
    /// BODY without a section: BODYSTRUCTURE without extension data.
    BodyStructureBasic,
    BodyStructure,
    Rfc822,
    Rfc822Header,
    Rfc822Text,
    Section {
        peek: bool,
        section: Section,
        partial: Option<Partial>,
    },
    /// RFC 3516 §4.2.
    Binary {
        peek: bool,
        part: Vec<u32>,
        partial: Option<Partial>,
    },
    BinarySize {
        part: Vec<u32>,
    },
}

/// `<offset.count>` of a section; `count` is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    pub offset: u32,
    pub count: u32,
}

/// RFC 9051 §6.4.5.1: which part of a message, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Part numbers from the outside in; empty for the message itself.
    pub part: Vec<u32>,
    pub text: SectionText,
}

/// What of the part is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// The part's body, or the whole message.
    All,
    Header,
    HeaderFields {
        not: bool,
        names: Vec<Box<str>>,
    },
    Text,
    Mime,
}

impl FetchItem {
    /// RFC 9051 §6.4.5: these set \Seen, their PEEK forms do not.
    pub fn sets_seen(&self) -> bool {
        match self {
            FetchItem::Rfc822 | FetchItem::Rfc822Text => true,
            FetchItem::Section { peek, .. } | FetchItem::Binary { peek, .. } => !peek,
            _ => false,
        }
    }

    /// Whether the summary kept beside the body is looked at.
    pub fn needs_summary(&self) -> bool {
        !matches!(
            self,
            FetchItem::Uid
                | FetchItem::Flags
                | FetchItem::InternalDate
                | FetchItem::Rfc822Size
                | FetchItem::ModSeq
                | FetchItem::EmailId
                | FetchItem::ThreadId
                | FetchItem::SaveDate
                | FetchItem::Rfc822
        ) && !self.is_whole_message()
    }

    /// Whether the body must be read for a message of this summary. A list view answers `false` to all its items.
    pub fn needs_body(&self, summary: Option<&Summary<'_>>) -> bool {
        match self {
            FetchItem::Uid
            | FetchItem::Flags
            | FetchItem::InternalDate
            | FetchItem::Rfc822Size
            | FetchItem::ModSeq
            | FetchItem::EmailId
            | FetchItem::ThreadId
            | FetchItem::SaveDate => false,
            // RFC 9051 §7.5.2: NIL is for what is absent, not for what was not kept.
            FetchItem::Envelope | FetchItem::BodyStructureBasic | FetchItem::BodyStructure => {
                summary.is_none_or(|summary| !summary.complete)
            }
            FetchItem::Section { section, .. } => {
                summary.is_none_or(|summary| fields_from_summary(section, summary).is_none())
            }
            _ => true,
        }
    }

    /// A complete summary answers it: ENVELOPE, BODYSTRUCTURE, HEADER.FIELDS of fields that summaries keep.
    pub fn may_do_without_body(&self) -> bool {
        let section = match self {
            FetchItem::Envelope | FetchItem::BodyStructureBasic | FetchItem::BodyStructure => {
                return true;
            }
            FetchItem::Section { section, .. } => section,
            _ => return false,
        };
        let SectionText::HeaderFields { not: false, names } = &section.text else {
            return false;
        };
        section.part.is_empty() && names.iter().all(|name| is_kept(name))
    }

    /// What is kept of it beside its own place, about: names of fields, numbers of parts.
    pub fn name_bytes(&self) -> usize {
        match self {
            FetchItem::Section { section, .. } => {
                let names: usize = match &section.text {
                    SectionText::HeaderFields { names, .. } => names
                        .iter()
                        .map(|name| size_of::<Box<str>>() + name.len())
                        .sum(),
                    _ => 0,
                };
                names + 4 * section.part.len()
            }
            FetchItem::Binary { part, .. } | FetchItem::BinarySize { part } => 4 * part.len(),
            _ => 0,
        }
    }

    /// What it answers is in the message's own header.
    pub fn is_of_header(&self) -> bool {
        match self {
            FetchItem::Rfc822Header => true,
            FetchItem::Section { section, .. } => {
                let text = &section.text;
                section.part.is_empty()
                    && matches!(text, SectionText::Header | SectionText::HeaderFields { .. })
            }
            _ => false,
        }
    }

    /// `BODY[]`: no part and no section text.
    pub fn is_whole_message(&self) -> bool {
        match self {
            FetchItem::Rfc822 => true,
            FetchItem::Section { section, .. } => {
                section.part.is_empty() && section.text == SectionText::All
            }
            _ => false,
        }
    }
}

fn is_kept(name: &str) -> bool {
    KEPT_FIELDS
        .iter()
        .any(|kept| kept.eq_ignore_ascii_case(name))
}

/// HEADER.FIELDS from the summary alone, when it kept all the fields that are asked for.
pub fn fields_from_summary(section: &Section, summary: &Summary<'_>) -> Option<Vec<u8>> {
    let SectionText::HeaderFields { not: false, names } = &section.text else {
        return None;
    };
    let enough =
        section.part.is_empty() && summary.complete && names.iter().all(|name| is_kept(name));
    enough.then(|| filtered(&summary.header, false, names))
}

/// What `section` names in `raw`; `None` when the message has no such part (NIL on the wire).
///
/// Whole sections are borrowed. `summary` must be of `raw`; if it is of something else, ranges outside of `raw` are `None`.
pub fn cut<'a>(section: &Section, summary: &Summary<'_>, raw: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let found = raw.get(range(section, summary, raw.len())?)?;
    Some(match &section.text {
        SectionText::HeaderFields { not, names } => Cow::Owned(filtered(found, *not, names)),
        _ => Cow::Borrowed(found),
    })
}

/// Where `section` is in a message of `raw_bytes`: for HEADER.FIELDS the header that is filtered. `None` as for `cut`. The message
/// itself is not looked at.
pub fn range(section: &Section, summary: &Summary<'_>, raw_bytes: usize) -> Option<Range<usize>> {
    let (part, as_message) = find(&summary.root, &section.part)?;
    // RFC 9051 §6.4.5.1: HEADER and TEXT of a part are those of the message in it.
    let message = match &part.content {
        _ if as_message => Some(part),
        Content::Message(inner) => Some(&inner.1),
        _ => None,
    };
    let (begin, end) = match &section.text {
        SectionText::All if section.part.is_empty() => return Some(0..raw_bytes),
        SectionText::All => (part.body_begin, part.body_end),
        SectionText::Mime if section.part.is_empty() => return None,
        SectionText::Mime => (part.header_begin, part.body_begin),
        SectionText::Header | SectionText::HeaderFields { .. } => {
            let message = message?;
            (message.header_begin, message.body_begin)
        }
        SectionText::Text => {
            let message = message?;
            (message.body_begin, message.body_end)
        }
    };
    let range = begin as usize..end as usize;
    (range.start <= range.end && range.end <= raw_bytes).then_some(range)
}

/// The part that numbers lead to, and whether it is the message itself. A message that is not a multipart has one part, 1.
fn find<'s, 'm>(root: &'s Part<'m>, path: &[u32]) -> Option<(&'s Part<'m>, bool)> {
    let mut part = root;
    // The numbers count inside `part` as a message: its children, or 1 for its own body.
    for (depth, &number) in path.iter().enumerate() {
        let container = match &part.content {
            Content::Message(inner) if depth > 0 => &inner.1,
            _ => part,
        };
        part = match &container.content {
            Content::Multipart(parts) => parts.get((number as usize).checked_sub(1)?)?,
            // RFC 9051 §6.4.5.1: part 1 of a message that is not a multipart is its text. Below a part that is not a container
            // there is nothing.
            _ if number == 1 && (depth == 0 || !std::ptr::eq(container, part)) => container,
            _ => return None,
        };
    }
    Some((part, path.is_empty()))
}

/// The body of a part and its transfer encoding, for BINARY.
pub fn binary_part<'a, 's>(
    part: &[u32],
    summary: &'s Summary<'_>,
    raw: &'a [u8],
) -> Option<(&'a [u8], &'s [u8])> {
    if part.is_empty() {
        return Some((raw, b"7bit"));
    }
    let (found, _) = find(&summary.root, part)?;
    let body = raw.get(found.body_begin as usize..found.body_end as usize)?;
    Some((body, found.encoding.as_deref().unwrap_or(b"7bit")))
}

/// Undoes a content transfer encoding (RFC 3516 §4.2); `None` for one that is not known or not decodable.
pub fn transfer_decoded<'a>(body: &'a [u8], encoding: &[u8]) -> Option<Cow<'a, [u8]>> {
    let is = |name: &str| encoding.eq_ignore_ascii_case(name.as_bytes());
    if is("7bit") || is("8bit") || is("binary") {
        Some(Cow::Borrowed(body))
    } else if is("base64") {
        mail::text::base64_decoded(body).map(Cow::Owned)
    } else if is("quoted-printable") {
        mail::text::quoted_printable_decoded(body).map(Cow::Owned)
    } else {
        None
    }
}

/// The part of `range` that a partial fetch wants; empty when it begins past the end.
pub fn part_of_range(range: Range<usize>, partial: Option<Partial>) -> Range<usize> {
    let Some(Partial { offset, count }) = partial else {
        return range;
    };
    let begin = range.start.saturating_add(offset as usize).min(range.end);
    begin..begin.saturating_add(count as usize).min(range.end)
}

/// The bytes that a partial fetch wants; empty when it begins past the end.
pub fn part_of(bytes: &[u8], partial: Option<Partial>) -> &[u8] {
    &bytes[part_of_range(0..bytes.len(), partial)]
}

/// The fields named (or not named) in `names`, each as it stands, and the empty line, which is always sent (RFC 3501 §6.4.5).
fn filtered(header: &[u8], not: bool, names: &[Box<str>]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in header::fields(header) {
        let named = names
            .iter()
            .any(|name| field.name.eq_ignore_ascii_case(name.as_bytes()));
        if named != not {
            out.extend_from_slice(field.raw);
            if !field.raw.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests;
