//! Messages, as a row of `CHUNKS` holds them, and COPY and snapshot records too.
//!
//! Each is written as differences to its neighbour; of the 70 bytes or so, 48 are the body's name and the two checksums.

use base::BodyName;
use base::cursor::{Reader, Write};
use mail::{Flags, InternalDate, Keyword, ModSeq, SystemFlags, Uid};
use store::{BodyRef, Codec};
use tenancy::encoding::{put_signed, put_text, read_signed, read_text};
use volume::{Generation, RecordAddress, SegmentIndex};

use super::{Broken, ROW_VERSION, read_u32};
use crate::Message;

/// Writes messages that ascend by UID.
pub fn put_messages(out: &mut Vec<u8>, messages: &[Message]) {
    // Without a date it is what earlier releases wrote, and read.
    let is_dated = messages.iter().any(|message| message.saved_s != 0);
    out.put_u8(match is_dated {
        true => DATED_VERSION,
        false => ROW_VERSION,
    });
    let mut keywords: Vec<&Keyword> = Vec::new();
    for keyword in messages.iter().flat_map(|message| &message.flags.keywords) {
        if !keywords
            .iter()
            .any(|known| known.as_str() == keyword.as_str())
        {
            keywords.push(keyword);
        }
    }
    out.put_varint(keywords.len() as u64);
    for keyword in &keywords {
        put_text(out, keyword.as_str());
    }
    out.put_varint(messages.len() as u64);
    let mut before = Neighbour::FIRST;
    for message in messages {
        put_message(out, message, &before, &keywords);
        before = Neighbour::of(message);
    }
}

/// Reads what `put_messages` wrote and appends it to `into`; the UIDs must ascend, also from what is there already.
pub fn read_messages(reader: &mut Reader<'_>, into: &mut Vec<Message>) -> Result<(), Broken> {
    let is_dated = match reader.u8()? {
        ROW_VERSION => false,
        DATED_VERSION => true,
        _ => return Err(Broken),
    };
    let mut keywords = Vec::new();
    for _ in 0..reader.varint()? {
        keywords.push(Keyword::parse(&read_text(reader)?).ok_or(Broken)?);
    }
    let count = reader.varint()?;
    let mut floor = into.last().map_or(Uid(0), |message| message.uid);
    let mut before = Neighbour::FIRST;
    for _ in 0..count {
        let message = read_message(reader, &before, &keywords, is_dated)?;
        if message.uid <= floor {
            return Err(Broken);
        }
        floor = message.uid;
        before = Neighbour::of(&message);
        into.push(message);
    }
    Ok(())
}

/// More than `put_messages` writes for one message.
pub fn encoded_bytes_max(message: &Message) -> usize {
    136 + message
        .flags
        .keywords
        .iter()
        .map(|keyword| keyword.as_str().len() + 8)
        .sum::<usize>()
}

/// What the next message's differences are taken from.
struct Neighbour {
    uid: Uid,
    modseq: ModSeq,
    /// Its internal date, in seconds since 1970.
    unix_seconds: i64,
    /// The segment of its body.
    segment: SegmentIndex,
    /// The generation of that segment.
    generation: Generation,
}

impl Neighbour {
    /// What the first message's differences are taken from.
    const FIRST: Neighbour = Neighbour {
        uid: Uid(0),
        modseq: ModSeq(0),
        unix_seconds: 0,
        segment: SegmentIndex(0),
        generation: Generation(0),
    };

    /// What the message after `message` needs of it.
    fn of(message: &Message) -> Neighbour {
        Neighbour {
            uid: message.uid,
            modseq: message.modseq,
            unix_seconds: message.internal_date.unix_seconds,
            segment: message.body.body.segment,
            generation: message.body.body.generation,
        }
    }
}

/// One message: a byte that says what follows, then the differences.
fn put_message(out: &mut Vec<u8>, message: &Message, before: &Neighbour, keywords: &[&Keyword]) {
    let body = &message.body.body;
    let summary = &message.body.summary;
    let mut shape = match message.body.codec {
        Codec::Raw => 0,
        Codec::Zstd => 1,
        Codec::Chunked => 2,
    };
    let one_segment = (body.segment, body.generation) == (before.segment, before.generation);
    let one_batch = (summary.segment, summary.generation, summary.batch_block)
        == (body.segment, body.generation, body.batch_block);
    for (bit, holds) in [
        (SHAPE_KEYWORDS, !message.flags.keywords.is_empty()),
        (SHAPE_ONE_SEGMENT, one_segment),
        (SHAPE_ONE_BATCH, one_batch),
        (SHAPE_ZONE, message.internal_date.zone_minutes != 0),
        (SHAPE_SIZE, message.size_bytes != message.body.raw_bytes),
        (SHAPE_SAVED, message.saved_s != 0),
    ] {
        shape |= if holds { bit } else { 0 };
    }
    out.put_u8(shape);
    out.put_u8(message.flags.system.0);
    out.put_varint(u64::from(message.uid.0 - before.uid.0));
    put_signed(out, message.modseq.0.wrapping_sub(before.modseq.0) as i64);
    put_signed(
        out,
        message
            .internal_date
            .unix_seconds
            .wrapping_sub(before.unix_seconds),
    );
    if shape & SHAPE_ZONE != 0 {
        put_signed(out, i64::from(message.internal_date.zone_minutes));
    }
    if shape & SHAPE_SAVED != 0 {
        // Most messages are placed in the second in which they arrive.
        let unix_seconds = message.internal_date.unix_seconds;
        put_signed(out, i64::from(message.saved_s).wrapping_sub(unix_seconds));
    }
    if shape & SHAPE_KEYWORDS != 0 {
        out.put_varint(message.flags.keywords.len() as u64);
        for keyword in &message.flags.keywords {
            let index = keywords
                .iter()
                .position(|known| known.as_str() == keyword.as_str())
                .expect("every keyword was gathered");
            out.put_varint(index as u64);
        }
    }
    out.put_bytes(&message.body.name.0);
    out.put_varint(u64::from(message.body.raw_bytes));
    if shape & SHAPE_SIZE != 0 {
        out.put_varint(u64::from(message.size_bytes));
    }
    if !one_segment {
        out.put_varint(u64::from(body.segment.0));
        out.put_varint(u64::from(body.generation.0));
    }
    out.put_varint(u64::from(body.batch_block));
    out.put_varint(u64::from(body.at));
    out.put_varint(u64::from(body.bytes));
    out.put_u64(body.check);
    if !one_batch {
        out.put_varint(u64::from(summary.segment.0));
        out.put_varint(u64::from(summary.generation.0));
        out.put_varint(u64::from(summary.batch_block));
    }
    put_signed(out, i64::from(summary.at) - i64::from(body.at));
    out.put_varint(u64::from(summary.bytes));
    out.put_u64(summary.check);
}

/// The pair of `put_message`. Bytes that do not add up are `Broken`.
fn read_message(
    reader: &mut Reader<'_>,
    before: &Neighbour,
    keywords: &[Keyword],
    is_dated: bool,
) -> Result<Message, Broken> {
    let shape = reader.u8()?;
    if shape & SHAPE_SAVED != 0 && !is_dated {
        return Err(Broken);
    }
    let codec = match shape & SHAPE_CODEC {
        0 => Codec::Raw,
        1 => Codec::Zstd,
        2 => Codec::Chunked,
        _ => return Err(Broken),
    };
    let system = SystemFlags(reader.u8()?);
    let uid = Uid(before.uid.0.checked_add(read_u32(reader)?).ok_or(Broken)?);
    let modseq = ModSeq(before.modseq.0.wrapping_add(read_signed(reader)? as u64));
    let unix_seconds = before.unix_seconds.wrapping_add(read_signed(reader)?);
    let zone_minutes = if shape & SHAPE_ZONE != 0 {
        i16::try_from(read_signed(reader)?).map_err(|_| Broken)?
    } else {
        0
    };
    let saved_s = if shape & SHAPE_SAVED != 0 {
        let saved_s = read_signed(reader)?.wrapping_add(unix_seconds);
        u32::try_from(saved_s).map_err(|_| Broken)?
    } else {
        0
    };
    let mut own_keywords = Vec::new();
    if shape & SHAPE_KEYWORDS != 0 {
        for _ in 0..reader.varint()? {
            let index = usize::try_from(reader.varint()?).map_err(|_| Broken)?;
            own_keywords.push(keywords.get(index).ok_or(Broken)?.clone());
        }
    }
    let name = BodyName(reader.array()?);
    let raw_bytes = read_u32(reader)?;
    let size_bytes = if shape & SHAPE_SIZE != 0 {
        read_u32(reader)?
    } else {
        raw_bytes
    };
    let (segment, generation) = if shape & SHAPE_ONE_SEGMENT != 0 {
        (before.segment, before.generation)
    } else {
        (
            SegmentIndex(read_u32(reader)?),
            Generation(read_u32(reader)?),
        )
    };
    let body = RecordAddress {
        segment,
        generation,
        batch_block: read_u32(reader)?,
        at: read_u32(reader)?,
        bytes: read_u32(reader)?,
        check: reader.u64()?,
    };
    let (segment, generation, batch_block) = if shape & SHAPE_ONE_BATCH != 0 {
        (body.segment, body.generation, body.batch_block)
    } else {
        (
            SegmentIndex(read_u32(reader)?),
            Generation(read_u32(reader)?),
            read_u32(reader)?,
        )
    };
    let at =
        u32::try_from(i64::from(body.at).wrapping_add(read_signed(reader)?)).map_err(|_| Broken)?;
    let summary = RecordAddress {
        segment,
        generation,
        batch_block,
        at,
        bytes: read_u32(reader)?,
        check: reader.u64()?,
    };
    Ok(Message {
        uid,
        modseq,
        flags: Flags {
            system,
            keywords: own_keywords,
        },
        internal_date: InternalDate {
            unix_seconds,
            zone_minutes,
        },
        saved_s,
        size_bytes,
        body: BodyRef {
            name,
            raw_bytes,
            summary,
            body,
            codec,
        },
    })
}

/// Seconds since 1970 and the zone in minutes.
pub fn put_date(out: &mut Vec<u8>, date: InternalDate) {
    put_signed(out, date.unix_seconds);
    put_signed(out, i64::from(date.zone_minutes));
}
/// The pair of `put_date`.
pub fn read_date(reader: &mut Reader<'_>) -> Result<InternalDate, Broken> {
    Ok(InternalDate {
        unix_seconds: read_signed(reader)?,
        zone_minutes: i16::try_from(read_signed(reader)?).map_err(|_| Broken)?,
    })
}

/// System flags as bits, then the keywords.
pub fn put_flags(out: &mut Vec<u8>, flags: &Flags) {
    out.put_u8(flags.system.0);
    out.put_varint(flags.keywords.len() as u64);
    for keyword in &flags.keywords {
        put_text(out, keyword.as_str());
    }
}
/// The pair of `put_flags`.
pub fn read_flags(reader: &mut Reader<'_>) -> Result<Flags, Broken> {
    let system = SystemFlags(reader.u8()?);
    let count = reader.varint()?;
    let mut keywords = Vec::new();
    for _ in 0..count {
        keywords.push(Keyword::parse(&read_text(reader)?).ok_or(Broken)?);
    }
    Ok(Flags { system, keywords })
}

/// The codec of the body.
const SHAPE_CODEC: u8 = 0b11;
/// Keywords follow.
const SHAPE_KEYWORDS: u8 = 4;
/// The body is in the same segment as the neighbour's.
const SHAPE_ONE_SEGMENT: u8 = 8;
/// The summary is in the same batch as the body.
const SHAPE_ONE_BATCH: u8 = 16;
/// The zone follows; without it the date is in UTC.
const SHAPE_ZONE: u8 = 32;
/// RFC822.SIZE follows; without it it is the length of the body.
const SHAPE_SIZE: u8 = 64;
/// When it was placed follows.
const SHAPE_SAVED: u8 = 128;
/// Of rows and records with a message that has it: earlier releases refuse them.
const DATED_VERSION: u8 = 4;
