//! FETCH items and sections (RFC 9051 §9 `fetch`).

use crate::command::{ChangedSince, Slice};
use crate::fetch::{FetchItem, Partial, Section, SectionText};
use crate::limits::{FETCH_ITEMS_MAX, FIELD_NAMES_MAX, SECTION_DEPTH_MAX};
use crate::sequence;

use super::words::Words;
use super::{Parsed, Refusal, more};

const UNKNOWN: Refusal = Refusal::Syntax("Unknown FETCH item");

/// One item, a macro, or items in parentheses; at most `FETCH_ITEMS_MAX`.
pub(super) fn items(words: &mut Words<'_>) -> Parsed<Vec<FetchItem>> {
    let mut items = Vec::new();
    if words.accept(b'(') {
        words.skip_spaces();
        while !words.accept(b')') {
            if items.len() >= FETCH_ITEMS_MAX {
                return Err(Refusal::TooMuch("FETCH items"));
            }
            item(words, &mut items)?;
            words.skip_spaces();
        }
        if items.is_empty() {
            return Err(Refusal::Syntax("Missing FETCH item"));
        }
        return Ok(items);
    }
    item(words, &mut items)?;
    Ok(items)
}

/// RFC 7162 §7 and RFC 9394 §4 fetch-modifier: `(CHANGEDSINCE 5 VANISHED PARTIAL 1:50)`, in any order. Nothing at the end of the command.
pub(super) fn modifiers(
    words: &mut Words<'_>,
    uid: bool,
) -> Parsed<(Option<ChangedSince>, Option<Slice>)> {
    if words.space().is_err() || words.at_end() {
        return Ok((None, None));
    }
    words.expect(b'(')?;
    let (mut modseq, mut vanished, mut slice) = (None, false, None);
    loop {
        // each turn takes a word
        match &words.item_name()[..] {
            "CHANGEDSINCE" if modseq.is_none() => {
                words.space()?;
                modseq = Some(words.modseq()?);
            }
            "VANISHED" if !vanished => vanished = true,
            "PARTIAL" if slice.is_none() => {
                words.space()?;
                slice = Some(words.slice()?);
            }
            _ => {
                return Err(Refusal::Syntax(
                    "Expected CHANGEDSINCE, VANISHED or PARTIAL",
                ));
            }
        }
        words.skip_spaces();
        if words.accept(b')') {
            break;
        }
    }
    // RFC 7162 §3.2.6.
    if vanished && !uid {
        return Err(Refusal::Syntax("VANISHED is allowed in UID FETCH only"));
    }
    // RFC 9394 §3.3.
    if slice.is_some() && !uid {
        return Err(Refusal::Syntax("PARTIAL is allowed in UID FETCH only"));
    }
    match modseq {
        Some(modseq) => Ok((Some(ChangedSince { modseq, vanished }), slice)),
        None if vanished => Err(Refusal::Syntax("VANISHED needs CHANGEDSINCE")),
        None => Ok((None, slice)),
    }
}

/// Appends the item that begins here. A macro appends several.
fn item(words: &mut Words<'_>, items: &mut Vec<FetchItem>) -> Parsed<()> {
    use FetchItem as I;
    let name = words.item_name();
    let one = match &name[..] {
        // RFC 9051 §6.4.5: macros; taken inside parentheses too.
        "ALL" | "FAST" | "FULL" => {
            items.extend([I::Flags, I::InternalDate, I::Rfc822Size]);
            match &name[..] {
                "FAST" => return Ok(()),
                "ALL" => I::Envelope,
                _ => {
                    items.push(I::Envelope);
                    I::BodyStructureBasic
                }
            }
        }
        "UID" => I::Uid,
        "FLAGS" => I::Flags,
        "INTERNALDATE" => I::InternalDate,
        "RFC822.SIZE" => I::Rfc822Size,
        "MODSEQ" => I::ModSeq,
        "EMAILID" => I::EmailId,
        "THREADID" => I::ThreadId,
        "SAVEDATE" => I::SaveDate,
        "PREVIEW" => I::Preview {
            lazy: more::preview_modifier(words)?,
        },
        "ENVELOPE" => I::Envelope,
        "BODYSTRUCTURE" => I::BodyStructure,
        "RFC822" => I::Rfc822,
        "RFC822.HEADER" => I::Rfc822Header,
        "RFC822.TEXT" => I::Rfc822Text,
        "BODY" if words.peek() != Some(b'[') => I::BodyStructureBasic,
        "BODY" | "BODY.PEEK" => {
            let section = section(words)?;
            I::Section {
                peek: name != "BODY",
                section,
                partial: partial(words)?,
            }
        }
        "BINARY" | "BINARY.PEEK" => {
            let part = binary_part(words)?;
            I::Binary {
                peek: name != "BINARY",
                part,
                partial: partial(words)?,
            }
        }
        "BINARY.SIZE" => I::BinarySize {
            part: binary_part(words)?,
        },
        _ => return Err(UNKNOWN),
    };
    items.push(one);
    Ok(())
}

/// `[1.2.HEADER.FIELDS (FROM)]`: part numbers first, then the section text. RFC 9051 §6.4.5.1: MIME needs a part number.
fn section(words: &mut Words<'_>) -> Parsed<Section> {
    words.expect(b'[')?;
    let mut part = Vec::new();
    let name = words.item_name();
    let mut rest = &name[..];
    while rest.starts_with(|first: char| first.is_ascii_digit()) {
        let (number, after) = rest.split_once('.').unwrap_or((rest, ""));
        if part.len() == SECTION_DEPTH_MAX {
            return Err(Refusal::TooMuch("part numbers"));
        }
        part.push(part_number(number)?);
        // `1.` is not a section.
        if after.is_empty() && number.len() < rest.len() {
            return Err(Refusal::Syntax("Invalid section"));
        }
        rest = after;
    }
    let text = match rest {
        "" => SectionText::All,
        "HEADER" => SectionText::Header,
        "TEXT" => SectionText::Text,
        "MIME" if !part.is_empty() => SectionText::Mime,
        "HEADER.FIELDS" | "HEADER.FIELDS.NOT" => SectionText::HeaderFields {
            not: rest == "HEADER.FIELDS.NOT",
            names: field_names(words)?,
        },
        _ => return Err(Refusal::Syntax("Invalid section")),
    };
    words.expect(b']')?;
    Ok(Section { part, text })
}

/// Parts are numbered from 1.
fn part_number(text: &str) -> Parsed<u32> {
    sequence::number(text.as_bytes())
        .filter(|&number| number > 0)
        .ok_or(Refusal::Syntax("Invalid part number"))
}

/// The list of HEADER.FIELDS; at most `FIELD_NAMES_MAX` names of visible ASCII without a colon (RFC 5322 §3.6.8).
fn field_names(words: &mut Words<'_>) -> Parsed<Vec<Box<str>>> {
    words.space()?;
    words.expect(b'(')?;
    let mut names = Vec::new();
    words.skip_spaces();
    while !words.accept(b')') {
        if names.len() == FIELD_NAMES_MAX {
            return Err(Refusal::TooMuch("field names"));
        }
        let name = words.astring()?;
        // RFC 5322 §2.2: printable ASCII without a colon. It is repeated in our reply.
        let ok = !name.is_empty()
            && name
                .iter()
                .all(|&byte| byte.is_ascii_graphic() && byte != b':');
        let text = std::str::from_utf8(&name).ok().filter(|_| ok);
        names.push(text.ok_or(Refusal::Syntax("Invalid field name"))?.into());
        words.skip_spaces();
    }
    if names.is_empty() {
        return Err(Refusal::Syntax("Missing field name"));
    }
    Ok(names)
}

/// RFC 3516 §4.2: part numbers only, `[]` is the whole message.
fn binary_part(words: &mut Words<'_>) -> Parsed<Vec<u32>> {
    words.expect(b'[')?;
    let name = words.item_name();
    let mut part = Vec::new();
    if !name.is_empty() {
        for number in name.split('.') {
            if part.len() == SECTION_DEPTH_MAX {
                return Err(Refusal::TooMuch("part numbers"));
            }
            part.push(part_number(number)?);
        }
    }
    words.expect(b']')?;
    Ok(part)
}

/// `<offset.count>`. `None` where it is not there; a count of 0 is refused (RFC 9051 §9 nz-number).
fn partial(words: &mut Words<'_>) -> Parsed<Option<Partial>> {
    if !words.accept(b'<') {
        return Ok(None);
    }
    let offset = words.number()?;
    words.expect(b'.')?;
    let count = words.number()?;
    words.expect(b'>')?;
    if count == 0 {
        return Err(Refusal::Syntax(
            "Partial FETCH must request at least one byte",
        ));
    }
    Ok(Some(Partial { offset, count }))
}
