//! Rows of the projection, as bytes.
//!
//! | table | key | value |
//! |---|---|---|
//! | `COUNTERS` | empty | next mailbox, highest UIDVALIDITY of accounts removed |
//! | `TREES` | account (u32 big-endian) | UIDVALIDITYs, folders, subscriptions |
//! | `USAGE` | account (u32 big-endian) | bytes used |
//! | `HEADS` | mailbox (u64 big-endian) | numbers of the mailbox |
//! | `CHUNKS` | mailbox (u64 big-endian), chunk (u32 big-endian) | up to `CHUNK_MESSAGES` messages |
//! | `CONDEMNED` | mailbox (u64 big-endian) | empty: deleted, its chunks are still to be cleared away |
//!
//! A message's chunk is its UID divided by `CHUNK_MESSAGES`: no row is ever split or merged, and the row to rewrite after
//! a change is known without looking. Messages are written as differences to their neighbour; of the 70 bytes or so, 48
//! are the body's name and the two checksums. The same encoding of messages serves COPY and snapshot records.
//!
//! Reading never panics on what the bytes say.

mod counters;
mod left;

pub use counters::Counters;
pub use left::NamesLeft;

use std::collections::{BTreeMap, BTreeSet};

use base::BodyName;
use base::cursor::{Reader, Write};
use mail::{Flags, InternalDate, Keyword, ModSeq, SystemFlags, Uid, UidValidity};
use store::{BodyRef, Codec, Lsn, Table};
use tenancy::encoding::{put_signed, put_text, read_signed, read_text};
use volume::{Generation, RecordAddress, SegmentIndex};

pub use tenancy::encoding::{Broken, decode_number, encode_number, read_u32};

use crate::limits::CHUNK_MESSAGES;
use crate::{AccountId, MailboxId, Message, SpecialUse};

pub const COUNTERS: Table = Table(32);
pub const TREES: Table = Table(33);
pub const USAGE: Table = Table(34);
pub const HEADS: Table = Table(35);
pub const CHUNKS: Table = Table(36);
pub const CONDEMNED: Table = Table(37);

/// Which chunk row holds a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chunk(pub u32);

impl Chunk {
    pub fn of(uid: Uid) -> Chunk {
        Chunk(uid.0 / CHUNK_MESSAGES)
    }
    pub fn next(self) -> Chunk {
        Chunk(self.0 + 1)
    }
    /// The lowest UID that lies in it (0 for the first, which no message has).
    pub fn first_uid(self) -> Uid {
        Uid(self.0.saturating_mul(CHUNK_MESSAGES))
    }
}

pub fn account_key(account: AccountId) -> Vec<u8> {
    account.0.to_be_bytes().to_vec()
}
pub fn mailbox_key(mailbox: MailboxId) -> Vec<u8> {
    mailbox.0.to_be_bytes().to_vec()
}
pub fn chunk_key(mailbox: MailboxId, chunk: Chunk) -> Vec<u8> {
    let mut key = mailbox_key(mailbox);
    key.extend_from_slice(&chunk.0.to_be_bytes());
    key
}
pub fn read_mailbox_key(key: &[u8]) -> Result<MailboxId, Broken> {
    Ok(MailboxId(u64::from_be_bytes(
        key.try_into().map_err(|_| Broken)?,
    )))
}
pub fn read_chunk_key(key: &[u8]) -> Result<(MailboxId, Chunk), Broken> {
    let (mailbox, chunk) = key.split_at_checked(8).ok_or(Broken)?;
    Ok((
        read_mailbox_key(mailbox)?,
        Chunk(u32::from_be_bytes(chunk.try_into().map_err(|_| Broken)?)),
    ))
}

pub fn put_date(out: &mut Vec<u8>, date: InternalDate) {
    put_signed(out, date.unix_seconds);
    put_signed(out, i64::from(date.zone_minutes));
}
pub fn read_date(reader: &mut Reader<'_>) -> Result<InternalDate, Broken> {
    Ok(InternalDate {
        unix_seconds: read_signed(reader)?,
        zone_minutes: i16::try_from(read_signed(reader)?).map_err(|_| Broken)?,
    })
}

pub fn put_flags(out: &mut Vec<u8>, flags: &Flags) {
    out.put_u8(flags.system.0);
    out.put_varint(flags.keywords.len() as u64);
    for keyword in &flags.keywords {
        put_text(out, keyword.as_str());
    }
}
pub fn read_flags(reader: &mut Reader<'_>) -> Result<Flags, Broken> {
    let system = SystemFlags(reader.u8()?);
    let count = reader.varint()?;
    let mut keywords = Vec::new();
    for _ in 0..count {
        keywords.push(Keyword::parse(&read_text(reader)?).ok_or(Broken)?);
    }
    Ok(Flags { system, keywords })
}

pub fn put_special_use(out: &mut Vec<u8>, special_use: Option<SpecialUse>) {
    out.put_u8(match special_use {
        None => 0,
        Some(SpecialUse::Archive) => 1,
        Some(SpecialUse::Drafts) => 2,
        Some(SpecialUse::Flagged) => 3,
        Some(SpecialUse::Junk) => 4,
        Some(SpecialUse::Sent) => 5,
        Some(SpecialUse::Trash) => 6,
        Some(SpecialUse::All) => 7,
    });
}
pub fn read_special_use(reader: &mut Reader<'_>) -> Result<Option<SpecialUse>, Broken> {
    Ok(match reader.u8()? {
        0 => None,
        1 => Some(SpecialUse::Archive),
        2 => Some(SpecialUse::Drafts),
        3 => Some(SpecialUse::Flagged),
        4 => Some(SpecialUse::Junk),
        5 => Some(SpecialUse::Sent),
        6 => Some(SpecialUse::Trash),
        7 => Some(SpecialUse::All),
        _ => return Err(Broken),
    })
}

/// The numbers of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub account: AccountId,
    pub uid_validity: UidValidity,
    pub uid_next: Uid,
    pub highest_modseq: ModSeq,
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    pub size_bytes: u64,
    /// Sessions that saw the mailbox before this still think it is INBOX; it was renamed away (0: never).
    pub moved_at: ModSeq,
    /// Records about this mailbox at or before it are no longer needed: a snapshot came later.
    pub snapshot: Lsn,
}

impl Head {
    pub fn new(account: AccountId, uid_validity: UidValidity) -> Head {
        Head {
            account,
            uid_validity,
            uid_next: Uid(1),
            highest_modseq: ModSeq(1),
            messages: 0,
            unseen: 0,
            deleted: 0,
            size_bytes: 0,
            moved_at: ModSeq(0),
            snapshot: Lsn(0),
        }
    }
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(ROW_VERSION);
        out.put_varint(u64::from(self.account.0));
        out.put_varint(u64::from(self.uid_validity.0));
        out.put_varint(u64::from(self.uid_next.0));
        out.put_varint(self.highest_modseq.0);
        out.put_varint(u64::from(self.messages));
        out.put_varint(u64::from(self.unseen));
        out.put_varint(u64::from(self.deleted));
        out.put_varint(self.size_bytes);
        out.put_varint(self.moved_at.0);
        out.put_varint(self.snapshot.0);
    }
    pub fn decode(reader: &mut Reader<'_>) -> Result<Head, Broken> {
        version(reader)?;
        Ok(Head {
            account: AccountId(read_u32(reader)?),
            uid_validity: UidValidity(read_u32(reader)?),
            uid_next: Uid(read_u32(reader)?),
            highest_modseq: ModSeq(reader.varint()?),
            messages: read_u32(reader)?,
            unseen: read_u32(reader)?,
            deleted: read_u32(reader)?,
            size_bytes: reader.varint()?,
            moved_at: ModSeq(reader.varint()?),
            snapshot: Lsn(reader.varint()?),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folder {
    pub mailbox: MailboxId,
    pub special_use: Option<SpecialUse>,
}

/// The mailboxes of one account, but for the bytes they use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub folders: BTreeMap<String, Folder>,
    pub subscriptions: BTreeSet<String>,
    /// The next mailbox's UIDVALIDITY is higher.
    pub uid_validity_last: UidValidity,
    pub left: NamesLeft,
    pub snapshot: Lsn,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            folders: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            uid_validity_last: UidValidity(0),
            left: NamesLeft::default(),
            snapshot: Lsn(0),
        }
    }
}

impl Tree {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(ROW_VERSION);
        out.put_varint(u64::from(self.uid_validity_last.0));
        self.left.encode(out);
        out.put_varint(self.snapshot.0);
        out.put_varint(self.folders.len() as u64);
        for (name, folder) in &self.folders {
            put_text(out, name);
            out.put_varint(folder.mailbox.0);
            put_special_use(out, folder.special_use);
        }
        out.put_varint(self.subscriptions.len() as u64);
        for name in &self.subscriptions {
            put_text(out, name);
        }
    }
    pub fn decode(reader: &mut Reader<'_>) -> Result<Tree, Broken> {
        version(reader)?;
        let uid_validity_last = UidValidity(read_u32(reader)?);
        let left = NamesLeft::decode(reader)?;
        let snapshot = Lsn(reader.varint()?);
        let mut folders = BTreeMap::new();
        for _ in 0..reader.varint()? {
            let name = read_text(reader)?;
            let mailbox = MailboxId(reader.varint()?);
            folders.insert(
                name,
                Folder {
                    mailbox,
                    special_use: read_special_use(reader)?,
                },
            );
        }
        let mut subscriptions = BTreeSet::new();
        for _ in 0..reader.varint()? {
            subscriptions.insert(read_text(reader)?);
        }
        Ok(Tree {
            folders,
            subscriptions,
            uid_validity_last,
            left,
            snapshot,
        })
    }
}

/// Writes messages that ascend by UID.
pub fn put_messages(out: &mut Vec<u8>, messages: &[Message]) {
    out.put_u8(ROW_VERSION);
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
    version(reader)?;
    let mut keywords = Vec::new();
    for _ in 0..reader.varint()? {
        keywords.push(Keyword::parse(&read_text(reader)?).ok_or(Broken)?);
    }
    let count = reader.varint()?;
    let mut floor = into.last().map_or(Uid(0), |message| message.uid);
    let mut before = Neighbour::FIRST;
    for _ in 0..count {
        let message = read_message(reader, &before, &keywords)?;
        if message.uid <= floor {
            return Err(Broken);
        }
        floor = message.uid;
        before = Neighbour::of(&message);
        into.push(message);
    }
    Ok(())
}

/// What the next message's differences are taken from.
struct Neighbour {
    uid: Uid,
    modseq: ModSeq,
    unix_seconds: i64,
    segment: SegmentIndex,
    generation: Generation,
}

impl Neighbour {
    const FIRST: Neighbour = Neighbour {
        uid: Uid(0),
        modseq: ModSeq(0),
        unix_seconds: 0,
        segment: SegmentIndex(0),
        generation: Generation(0),
    };

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

fn read_message(
    reader: &mut Reader<'_>,
    before: &Neighbour,
    keywords: &[Keyword],
) -> Result<Message, Broken> {
    let shape = reader.u8()?;
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

fn version(reader: &mut Reader<'_>) -> Result<(), Broken> {
    if reader.u8()? == ROW_VERSION {
        Ok(())
    } else {
        Err(Broken)
    }
}

const ROW_VERSION: u8 = 3;
const SHAPE_CODEC: u8 = 0b11;
const SHAPE_KEYWORDS: u8 = 4;
const SHAPE_ONE_SEGMENT: u8 = 8;
const SHAPE_ONE_BATCH: u8 = 16;
const SHAPE_ZONE: u8 = 32;
const SHAPE_SIZE: u8 = 64;

#[cfg(test)]
pub(crate) mod tests;
