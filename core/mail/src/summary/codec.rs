//! The kept form of a summary. Lengths and offsets are LEB128; an optional text has its length plus one before it, 0 for none.

use std::borrow::Cow;

use base::cursor::{Reader, Short, Write};

use crate::header::Text;
use crate::limits::{DEPTH_MAX, PARAMETERS_MAX, SUMMARY_BYTES_MAX, WHOLE_PARTS_MAX};

use super::{Content, Disposition, Part, Summary};

/// 2: `Content::Unread`, and `COMPLETE` covers the parts too. Version 1 could list fewer parts than there were.
const VERSION: u8 = 2;
/// The flag of `Summary::complete`.
const COMPLETE: u8 = 1;
/// `Summary::line_ends_missing` is behind all else. Without the flag it is 0, as it is of nearly every message.
const RAGGED: u8 = 2;

/// The bytes are not a summary of this version: the body must be scanned again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SummaryFault {
    /// It cannot be what `encode` wrote.
    #[error("the summary is cut short or its fields contradict each other")]
    Malformed,
    /// A version of another release.
    #[error("the summary is of another version")]
    Version,
}

impl From<Short> for SummaryFault {
    fn from(_: Short) -> Self {
        SummaryFault::Malformed
    }
}

/// The pair of `decode`.
pub(super) fn encode(summary: &Summary<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(summary.header.len() + 128);
    out.put_u8(VERSION);
    let complete = if summary.complete { COMPLETE } else { 0 };
    let is_ragged = summary.line_ends_missing > 0;
    out.put_u8(complete | if is_ragged { RAGGED } else { 0 });
    put_text(&mut out, &summary.header);
    put_part(&mut out, &summary.root);
    if is_ragged {
        out.put_varint(summary.line_ends_missing.into());
    }
    out
}

/// By the first two bytes alone.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    matches!(bytes, [VERSION, flags, ..] if flags & COMPLETE != 0)
}

/// By the first two bytes alone, except of a message that misses line ends.
pub(super) fn line_ends_missing_in(bytes: &[u8]) -> Result<u32, SummaryFault> {
    match bytes {
        [VERSION, flags, ..] if flags & RAGGED == 0 => Ok(0),
        _ => Ok(decode(bytes)?.line_ends_missing),
    }
}

/// The kept fields alone: what is behind them costs more than they do.
pub(super) fn header_in(bytes: &[u8]) -> Result<&[u8], SummaryFault> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != VERSION {
        return Err(SummaryFault::Version);
    }
    reader.u8()?;
    let count = count(&mut reader)?;
    Ok(reader.take(count)?)
}

/// Reads the digest and borrows its texts. Depth and number of parts are bounded, so bytes that are damaged cost no
/// more than a real digest.
pub(super) fn decode(bytes: &[u8]) -> Result<Summary<'_>, SummaryFault> {
    if bytes.len() > SUMMARY_BYTES_MAX {
        return Err(SummaryFault::Malformed);
    }
    let mut reader = Reader::new(bytes);
    if reader.u8()? != VERSION {
        return Err(SummaryFault::Version);
    }
    let flags = reader.u8()?;
    let header = text(&mut reader)?;
    // Each multipart may hold the rest of its parts as one more.
    let mut parts_left = 2 * WHOLE_PARTS_MAX + 2;
    let root = part(&mut reader, DEPTH_MAX + 1, &mut parts_left)?;
    let line_ends_missing = match flags & RAGGED {
        0 => 0,
        _ => line_ends_missing(&mut reader)?,
    };
    if !reader.is_empty() {
        return Err(SummaryFault::Malformed);
    }
    Ok(Summary {
        header,
        complete: flags & COMPLETE != 0,
        line_ends_missing,
        root,
    })
}

fn line_ends_missing(reader: &mut Reader<'_>) -> Result<u32, SummaryFault> {
    let count = u32::try_from(reader.varint()?).map_err(|_| SummaryFault::Malformed)?;
    match count {
        0 => Err(SummaryFault::Malformed),
        count => Ok(count),
    }
}

/// Length, then bytes.
fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.put_varint(text.len() as u64);
    out.put_bytes(text);
}

/// Length plus one, or 0 for none.
fn put_optional(out: &mut Vec<u8>, text: Option<&Text<'_>>) {
    out.put_varint(text.map_or(0, |text| text.len() as u64 + 1));
    out.put_bytes(text.map_or(&[], |text| text));
}

/// Their number, then name and value of each.
fn put_parameters(out: &mut Vec<u8>, parameters: &[(Text<'_>, Text<'_>)]) {
    out.put_varint(parameters.len() as u64);
    for (name, value) in parameters {
        put_text(out, name);
        put_text(out, value);
    }
}

/// A part and the parts in it.
fn put_part(out: &mut Vec<u8>, part: &Part<'_>) {
    put_text(out, &part.media_type);
    put_text(out, &part.media_subtype);
    put_parameters(out, &part.parameters);
    for text in [
        &part.id,
        &part.description,
        &part.encoding,
        &part.md5,
        &part.language,
        &part.location,
    ] {
        put_optional(out, text.as_ref());
    }
    put_optional(
        out,
        part.disposition
            .as_ref()
            .map(|disposition| &disposition.kind),
    );
    if let Some(disposition) = &part.disposition {
        put_parameters(out, &disposition.parameters);
    }
    out.put_varint(part.header_begin.into());
    out.put_varint((part.body_begin - part.header_begin).into());
    out.put_varint((part.body_end - part.body_begin).into());
    out.put_varint(part.lines.into());
    match &part.content {
        Content::Leaf => out.put_varint(0),
        Content::Unread => out.put_varint(2),
        Content::Message(inner) => {
            out.put_varint(1);
            put_text(out, &inner.0);
            put_part(out, &inner.1);
        }
        Content::Multipart(parts) => {
            out.put_varint(2 + parts.len() as u64);
            for part in parts {
                put_part(out, part);
            }
        }
    }
}

/// The pair of `put_text`.
fn text<'a>(reader: &mut Reader<'a>) -> Result<Text<'a>, SummaryFault> {
    let count = count(reader)?;
    Ok(Cow::Borrowed(reader.take(count)?))
}

/// The pair of `put_optional`.
fn optional<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>, SummaryFault> {
    match count(reader)? {
        0 => Ok(None),
        count => Ok(Some(Cow::Borrowed(reader.take(count - 1)?))),
    }
}

/// A length or a number.
fn count(reader: &mut Reader<'_>) -> Result<usize, SummaryFault> {
    usize::try_from(reader.varint()?).map_err(|_| SummaryFault::Malformed)
}

/// An offset, which is stored as the distance from the one before it: offsets ascend.
fn offset(reader: &mut Reader<'_>, from: u32) -> Result<u32, SummaryFault> {
    let span = u32::try_from(reader.varint()?).map_err(|_| SummaryFault::Malformed)?;
    from.checked_add(span).ok_or(SummaryFault::Malformed)
}

/// The pair of `put_parameters`.
fn parameters<'a>(reader: &mut Reader<'a>) -> Result<Vec<(Text<'a>, Text<'a>)>, SummaryFault> {
    let count = count(reader)?;
    if count > PARAMETERS_MAX {
        return Err(SummaryFault::Malformed);
    }
    (0..count)
        .map(|_| Ok((text(reader)?, text(reader)?)))
        .collect()
}

/// The pair of `put_part`.
fn part<'a>(
    reader: &mut Reader<'a>,
    depth_left: usize,
    parts_left: &mut usize,
) -> Result<Part<'a>, SummaryFault> {
    *parts_left = parts_left.checked_sub(1).ok_or(SummaryFault::Malformed)?;
    let depth_left = depth_left.checked_sub(1).ok_or(SummaryFault::Malformed)?;
    let media_type = text(reader)?;
    let media_subtype = text(reader)?;
    let own_parameters = parameters(reader)?;
    let [id, description, encoding, md5, language, location] = {
        let mut six = [const { None }; 6];
        for slot in &mut six {
            *slot = optional(reader)?;
        }
        six
    };
    let disposition = match optional(reader)? {
        Some(kind) => Some(Disposition {
            kind,
            parameters: parameters(reader)?,
        }),
        None => None,
    };
    let header_begin = offset(reader, 0)?;
    let body_begin = offset(reader, header_begin)?;
    let body_end = offset(reader, body_begin)?;
    let lines = offset(reader, 0)?;
    let content = match count(reader)? {
        0 => Content::Leaf,
        1 => Content::Message(Box::new((
            text(reader)?,
            part(reader, depth_left, parts_left)?,
        ))),
        2 => Content::Unread,
        more => {
            let parts = (2..more)
                .map(|_| part(reader, depth_left, parts_left))
                .collect::<Result<_, _>>()?;
            Content::Multipart(parts)
        }
    };
    Ok(Part {
        media_type,
        media_subtype,
        parameters: own_parameters,
        id,
        description,
        encoding,
        md5,
        disposition,
        language,
        location,
        header_begin,
        body_begin,
        body_end,
        lines,
        content,
    })
}
