//! Bodies: references to them, their encodings, and the list of a chunked one.

use std::sync::{Mutex, MutexGuard};

use base::BodyName;
use base::cursor::{Reader, Short, Write};
use bytes::Bytes;
use volume::{Generation, ReadFault, RecordAddress, SegmentIndex};

use crate::limits::{
    BODY_BYTES_MAX, CHUNKS_MAX, COMPRESS_BYTES_MIN, COMPRESS_GAIN_PART, LEAD_BYTES_MIN,
};

/// Where a stored body is, and how to prove it. Encodes to at most [`BODY_REF_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyRef {
    /// BLAKE3 of the raw bytes.
    pub name: BodyName,
    /// Length of the raw bytes.
    pub raw_bytes: u32,
    /// The digest kept beside the body; always uncompressed.
    pub summary: RecordAddress,
    /// Where the stored form is: the body itself, or its chunk list.
    pub body: RecordAddress,
    /// How the stored form is made.
    pub codec: Codec,
}

/// How a body, or one chunk of it, is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As it came.
    Raw,
    /// As one zstd frame.
    Zstd,
    /// `body` is a list of chunk addresses (a message larger than a batch).
    Chunked,
}
impl Codec {
    /// The format's number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Codec::Raw => 0,
            Codec::Zstd => 1,
            Codec::Chunked => 2,
        }
    }
    /// The pair of `number`; `None` for a codec of a later release.
    pub(crate) fn of(number: u8) -> Option<Codec> {
        Some(match number {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            2 => Codec::Chunked,
            _ => return None,
        })
    }
}

/// What `BodyRef::encode` adds at most.
pub const BODY_REF_BYTES_MAX: usize = 32 + 1 + 5 + 2 * ADDRESS_BYTES_MAX;
/// Five numbers of at most five bytes, and the check.
const ADDRESS_BYTES_MAX: usize = 5 * 5 + 8;
/// Summary and body are in one batch (always so when the store wrote them): the batch's address is encoded once.
const FLAG_ONE_BATCH: u8 = 0x80;

impl BodyRef {
    /// Appends the reference in its stored form (FORMAT.md §4), some 70 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let one_batch = (
            self.summary.segment,
            self.summary.generation,
            self.summary.batch_block,
        ) == (
            self.body.segment,
            self.body.generation,
            self.body.batch_block,
        );
        out.put_u8(self.codec.number() | if one_batch { FLAG_ONE_BATCH } else { 0 });
        out.put_bytes(&self.name.0);
        out.put_varint(u64::from(self.raw_bytes));
        put_address(out, &self.body);
        if one_batch {
            out.put_varint(u64::from(self.summary.at));
            out.put_varint(u64::from(self.summary.bytes));
            out.put_u64(self.summary.check);
        } else {
            put_address(out, &self.summary);
        }
    }

    /// Reads what `encode` wrote; an unknown codec answers `Short` too.
    pub fn decode(reader: &mut Reader<'_>) -> Result<BodyRef, Short> {
        let first = reader.u8()?;
        let codec = Codec::of(first & !FLAG_ONE_BATCH).ok_or(Short)?;
        let name = BodyName(reader.array()?);
        let raw_bytes = u32_varint(reader)?;
        let body = address(reader)?;
        let summary = if first & FLAG_ONE_BATCH != 0 {
            RecordAddress {
                at: u32_varint(reader)?,
                bytes: u32_varint(reader)?,
                check: reader.u64()?,
                ..body
            }
        } else {
            address(reader)?
        };
        Ok(BodyRef {
            name,
            raw_bytes,
            summary,
            body,
            codec,
        })
    }

    /// Whether this body may have bytes in one of `segments`. A chunked body's chunks lie where only its list knows, so it
    /// always answers yes. What `Tenant::live_bodies` filters by.
    pub fn may_lie_in(&self, segments: &[SegmentIndex]) -> bool {
        self.codec == Codec::Chunked
            || segments.contains(&self.body.segment)
            || segments.contains(&self.summary.segment)
    }
}

/// Appends an address; the pair of `address`.
pub(crate) fn put_address(out: &mut Vec<u8>, address: &RecordAddress) {
    out.put_varint(u64::from(address.segment.0));
    out.put_varint(u64::from(address.generation.0));
    out.put_varint(u64::from(address.batch_block));
    out.put_varint(u64::from(address.at));
    out.put_varint(u64::from(address.bytes));
    out.put_u64(address.check);
}

/// Reads what `put_address` wrote.
pub(crate) fn address(reader: &mut Reader<'_>) -> Result<RecordAddress, Short> {
    Ok(RecordAddress {
        segment: SegmentIndex(u32_varint(reader)?),
        generation: Generation(u32_varint(reader)?),
        batch_block: u32_varint(reader)?,
        at: u32_varint(reader)?,
        bytes: u32_varint(reader)?,
        check: reader.u64()?,
    })
}

/// A LEB128 number that must fit 32 bits.
fn u32_varint(reader: &mut Reader<'_>) -> Result<u32, Short> {
    u32::try_from(reader.varint()?).map_err(|_| Short)
}

/// One piece of a chunked body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub address: RecordAddress,
    pub codec: Codec,
    /// Length of the chunk before compression.
    pub raw_bytes: u32,
}
/// What one chunk takes in the list at most.
pub(crate) const CHUNK_ENTRY_BYTES_MAX: usize = ADDRESS_BYTES_MAX + 1 + 5;
/// The shape of a chunk list. Another one is `Short`.
const CHUNK_LIST_VERSION: u8 = 1;
/// What `encode_chunks` takes at most for `count` chunks.
pub(crate) const fn chunk_list_bytes_max(count: usize) -> usize {
    1 + 5 + count * CHUNK_ENTRY_BYTES_MAX
}

/// A chunk list, which is stored as the body of a chunked one.
pub(crate) fn encode_chunks(chunks: &[Chunk]) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunk_list_bytes_max(chunks.len()));
    out.put_u8(CHUNK_LIST_VERSION);
    out.put_varint(chunks.len() as u64);
    for chunk in chunks {
        out.put_u8(chunk.codec.number());
        out.put_varint(u64::from(chunk.raw_bytes));
        put_address(&mut out, &chunk.address);
    }
    out
}

/// The chunks of a list, whose raw lengths add up to `raw_bytes`.
pub(crate) fn decode_chunks(bytes: &[u8], raw_bytes: u32) -> Result<Vec<Chunk>, Short> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != CHUNK_LIST_VERSION {
        return Err(Short);
    }
    let count = reader.varint()?;
    if count > CHUNKS_MAX as u64 {
        return Err(Short);
    }
    let mut chunks = Vec::with_capacity(count as usize);
    let mut total = 0u64;
    for _ in 0..count {
        let codec = Codec::of(reader.u8()?)
            .filter(|codec| *codec != Codec::Chunked)
            .ok_or(Short)?;
        let raw_bytes = u32_varint(&mut reader)?;
        total += u64::from(raw_bytes);
        chunks.push(Chunk {
            address: address(&mut reader)?,
            codec,
            raw_bytes,
        });
    }
    if total != u64::from(raw_bytes) {
        return Err(Short);
    }
    Ok(chunks)
}

/// How many bytes of a body's beginning are often read without the rest: they are packed as a frame of their own. 0: none.
pub type Lead = fn(&[u8]) -> usize;

/// For a store whose bodies are read whole.
pub fn no_lead(_raw: &[u8]) -> usize {
    0
}

/// zstd with its contexts kept: making one costs more than compressing a small message.
pub(crate) struct Zstd {
    lead: Lead,
    /// `None`: nothing is compressed.
    compressor: Option<Mutex<zstd::bulk::Compressor<'static>>>,
    /// Always there: what an earlier setting compressed must be read.
    decompressor: Mutex<zstd::bulk::Decompressor<'static>>,
}

/// Held for one body.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().expect("no holder of this lock panics")
}
impl Zstd {
    /// `level` 0: nothing is compressed.
    pub fn new(level: i32, lead: Lead) -> Zstd {
        let compressor = (level != 0).then(|| {
            Mutex::new(zstd::bulk::Compressor::new(level).expect("planned memory is there"))
        });
        Zstd {
            lead,
            compressor,
            decompressor: Mutex::new(
                zstd::bulk::Decompressor::new().expect("planned memory is there"),
            ),
        }
    }

    /// The compressed form of a body, or of its first piece, when it pays: one frame, or two where the body has a lead.
    pub fn compress(&self, raw: &[u8]) -> Option<Bytes> {
        let lead = (self.lead)(raw);
        // Each frame has a table of its own: a short one packs badly, and before a short rest it gains nothing.
        let apart = lead >= LEAD_BYTES_MIN && raw.len().saturating_sub(lead) >= LEAD_BYTES_MIN;
        self.compress_at(raw, if apart { lead } else { 0 })
    }

    /// The same of a piece that is not the first one.
    pub fn compress_piece(&self, raw: &[u8]) -> Option<Bytes> {
        self.compress_at(raw, 0)
    }

    fn compress_at(&self, raw: &[u8], lead: usize) -> Option<Bytes> {
        let compressor = self.compressor.as_ref()?;
        if raw.len() < COMPRESS_BYTES_MIN {
            return None;
        }
        // A buffer too small for what does not pay makes zstd give up early.
        let worth = raw.len() - raw.len() / COMPRESS_GAIN_PART;
        let mut out = vec![0; worth];
        let mut compressor = held(compressor);
        let (first, rest) = raw.split_at(lead);
        let mut bytes = 0;
        for part in [first, rest].into_iter().filter(|part| !part.is_empty()) {
            let packed = compressor.compress_to_buffer(part, &mut out[bytes..]);
            bytes += packed.ok()?;
        }
        out.truncate(bytes);
        out.shrink_to_fit();
        Some(out.into())
    }

    /// The first `bytes` raw bytes of a stored run that passed its checksum, in memory of their own; all where there are fewer.
    pub fn head(
        &self,
        stored: &[u8],
        codec: Codec,
        raw_bytes: u32,
        bytes: usize,
    ) -> Result<Bytes, ReadFault> {
        let first = match codec {
            Codec::Raw if stored.len() == raw_bytes as usize => {
                return Ok(Bytes::copy_from_slice(&stored[..bytes.min(stored.len())]));
            }
            Codec::Zstd => first_frame(stored).filter(|first| first.raw_bytes >= bytes),
            Codec::Raw | Codec::Chunked => return Err(ReadFault::Damaged),
        };
        let (stored, expected) = match first {
            Some(first) => (&stored[..first.stored_bytes], first.raw_bytes),
            None => (stored, raw_bytes as usize),
        };
        if expected > BODY_BYTES_MAX.min(raw_bytes as usize) {
            return Err(ReadFault::Damaged);
        }
        match held(&self.decompressor).decompress(stored, expected) {
            Ok(expanded) if expanded.len() == expected => {
                Ok(Bytes::copy_from_slice(&expanded[..bytes.min(expected)]))
            }
            _ => Err(ReadFault::Damaged),
        }
    }

    /// The raw bytes of a stored run that passed its checksum.
    pub fn expand(&self, stored: Bytes, codec: Codec, raw_bytes: u32) -> Result<Bytes, ReadFault> {
        let raw_bytes = raw_bytes as usize;
        if raw_bytes > BODY_BYTES_MAX {
            return Err(ReadFault::Damaged);
        }
        let raw = match codec {
            Codec::Raw => stored,
            Codec::Zstd => {
                let expanded = held(&self.decompressor).decompress(&stored, raw_bytes);
                expanded.map_err(|_| ReadFault::Damaged)?.into()
            }
            Codec::Chunked => return Err(ReadFault::Damaged),
        };
        if raw.len() == raw_bytes {
            Ok(raw)
        } else {
            Err(ReadFault::Damaged)
        }
    }
}

/// The first frame of several.
struct FirstFrame {
    stored_bytes: usize,
    raw_bytes: usize,
}

/// `None`: the frame does not say how long it is, as none does that this store did not write.
fn first_frame(stored: &[u8]) -> Option<FirstFrame> {
    let raw_bytes = zstd::zstd_safe::get_frame_content_size(stored).ok()??;
    let stored_bytes = zstd::zstd_safe::find_frame_compressed_size(stored).ok()?;
    Some(FirstFrame {
        stored_bytes: (stored_bytes <= stored.len()).then_some(stored_bytes)?,
        raw_bytes: usize::try_from(raw_bytes).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u32, byte: u32) -> RecordAddress {
        RecordAddress {
            segment: SegmentIndex(segment),
            generation: Generation(3),
            batch_block: 900,
            at: byte,
            bytes: 77,
            check: 0xfeed_beef,
        }
    }

    #[test]
    fn a_reference_is_read_back_whether_or_not_its_parts_share_a_batch() {
        for summary in [at(5, 4200), at(6, 4200)] {
            let body = BodyRef {
                name: BodyName::of(b"x"),
                raw_bytes: u32::MAX,
                summary,
                body: at(5, 8000),
                codec: Codec::Zstd,
            };
            let mut bytes = Vec::new();
            body.encode(&mut bytes);
            assert!(bytes.len() <= BODY_REF_BYTES_MAX);
            assert_eq!(BodyRef::decode(&mut Reader::new(&bytes)), Ok(body));
            for cut in 0..bytes.len() {
                assert_eq!(BodyRef::decode(&mut Reader::new(&bytes[..cut])), Err(Short));
            }
        }
    }

    #[test]
    fn a_chunk_list_must_add_up() {
        let chunks = vec![
            Chunk {
                address: at(1, 0),
                codec: Codec::Raw,
                raw_bytes: 10,
            },
            Chunk {
                address: at(2, 0),
                codec: Codec::Zstd,
                raw_bytes: 5,
            },
        ];
        let bytes = encode_chunks(&chunks);
        assert_eq!(decode_chunks(&bytes, 15), Ok(chunks));
        assert_eq!(decode_chunks(&bytes, 16), Err(Short));
    }

    #[test]
    fn compression_is_used_only_when_it_pays() {
        let zstd = Zstd::new(1, no_lead);
        let text = b"the quick brown fox ".repeat(100);
        let packed = zstd.compress(&text).expect("text shrinks");
        assert!(packed.len() < text.len() / 4);
        assert_eq!(
            zstd.expand(packed.clone(), Codec::Zstd, text.len() as u32)
                .unwrap(),
            text
        );
        assert_eq!(
            zstd.expand(packed, Codec::Zstd, text.len() as u32 - 1),
            Err(ReadFault::Damaged)
        );

        let mut noise = vec![0u8; 4096];
        let mut state = 1u64;
        for byte in &mut noise {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        assert!(zstd.compress(&noise).is_none());
        assert!(zstd.compress(&[b'a'; 100]).is_none());
        assert!(Zstd::new(0, no_lead).compress(&text).is_none());
    }

    /// The lead of a body that begins with its length in a byte, times 256.
    fn counted(raw: &[u8]) -> usize {
        raw.first().map_or(0, |first| usize::from(*first) * 256)
    }

    #[test]
    fn a_lead_is_expanded_without_the_rest() {
        let zstd = Zstd::new(1, counted);
        let text = b"the quick brown fox jumps over the lazy dog ".repeat(200);
        let raw: Vec<u8> = std::iter::once(8).chain(text).collect();
        let size = raw.len() as u32;
        let packed = zstd.compress(&raw).expect("text shrinks");
        let whole = zstd.expand(packed.clone(), Codec::Zstd, size);
        assert_eq!(whole.expect("two frames are one body"), raw);
        let head = |bytes| {
            zstd.head(&packed, Codec::Zstd, size, bytes)
                .expect("it is there")
        };
        assert_eq!(head(0), b""[..]);
        assert_eq!(head(700), raw[..700]);
        assert_eq!(head(2_048), raw[..2_048]);
        assert_eq!(head(2_049), raw[..2_049], "more than the lead");
        assert_eq!(head(raw.len() + 1), raw);
        let cut = zstd.head(&packed[..packed.len() - 5], Codec::Zstd, size, raw.len());
        assert_eq!(cut, Err(ReadFault::Damaged));
        let wrong = zstd.head(&packed, Codec::Zstd, 100, 1);
        assert_eq!(wrong, Err(ReadFault::Damaged));
        let one = zstd.compress_piece(&raw).expect("text shrinks");
        assert_eq!(
            zstd.head(&one, Codec::Zstd, size, 10).expect("one frame"),
            raw[..10]
        );
        let plain = zstd.head(&raw, Codec::Raw, size, 10);
        assert_eq!(plain.expect("as it came"), raw[..10]);
    }

    #[test]
    fn a_short_lead_or_a_short_rest_is_not_packed_apart() {
        let zstd = Zstd::new(1, counted);
        let text = b"the quick brown fox jumps over the lazy dog ".repeat(100);
        for first in [0, 1, 17, 200] {
            let raw: Vec<u8> = std::iter::once(first).chain(text.iter().copied()).collect();
            let packed = zstd.compress(&raw).expect("text shrinks");
            assert_eq!(
                packed,
                zstd.compress_piece(&raw).expect("text shrinks"),
                "{first}"
            );
        }
    }
}
