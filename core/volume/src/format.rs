//! The bytes of a batch header and of its inline records. `FORMAT.md` is the description; this is its one encoder
//! and decoder.
//!
//! A decoder here answers `None` for anything that does not verify: bytes from a leg are a claim until the checksum
//! agrees, and a checksum is seeded with the place it was read from, so a well-formed header elsewhere says `None`.

use base::cursor::{Reader, Write};
use base::hash;
use device::BLOCK_BYTES;

use crate::limits;
use crate::types::{BatchAddress, Generation, Lsn, SegmentIndex, VolumeId};
use crate::{BATCH_BYTES_MAX, BATCH_HEADER_BYTES};

/// "RPBATCH1", little-endian.
const BATCH_MAGIC: u64 = u64::from_le_bytes(*b"RPBATCH1");
/// Of superblocks and batches alike. Format 1 was that of development versions: mailboxes, accounts and domains were one tenant's.
pub(crate) const FORMAT_MAJOR: u16 = 2;
/// Fixed fields end here, inline records begin.
const INLINE_AT: usize = 256;
/// The header's checksum is its last 16 bytes: XXH3-128, seeded with the place.
pub(crate) const CHECK_AT: usize = BATCH_HEADER_BYTES - 16;
/// Room for inline records in one header.
pub(crate) const INLINE_BYTES_MAX: usize = CHECK_AT - INLINE_AT;

const _: () = assert!(INLINE_AT < CHECK_AT && BATCH_HEADER_BYTES == BLOCK_BYTES);
const _: () =
    assert!(BATCH_BYTES_MAX.is_multiple_of(BLOCK_BYTES) && BATCH_BYTES_MAX > BATCH_HEADER_BYTES);
// The claims that any batch may carry fit beside what a batch of the volume's own says.
const _: () = assert!(
    limits::SKIPS_PER_BATCH * SKIP_BYTES + limits::CLAIMS_AHEAD * CLAIM_BYTES + SEAL_BYTES
        <= INLINE_BYTES_MAX
);
/// Bytes of inline records, code and length included; a claim has two numbers of four bytes, and six to spare.
pub(crate) const CLAIM_BYTES: usize = 16;
/// Code and length, then `after`, `until` and the chain value.
const SKIP_BYTES: usize = 2 + 8 + 8 + 16;
/// Code and length, then the last LSN that stays.
const SEAL_BYTES: usize = 2 + 8;

/// Who a batch's payload belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The store's.
    Store,
    /// None: only inline records count.
    Records,
    /// A part of the segment table.
    Table,
    /// The store's, and of use only to a checkpoint that names its segment.
    Index,
}

/// A batch header that has verified at the place it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whose payload it is.
    pub kind: Kind,
    /// The membership number when it was written.
    pub epoch: u64,
    /// The ownership number of the opening that wrote it.
    pub term: u64,
    /// The batch's number.
    pub lsn: Lsn,
    /// Every batch up to here was acknowledged when this one was written.
    pub acked: Lsn,
    /// The segment that it was written to.
    pub segment: SegmentIndex,
    /// The segment's generation at that time.
    pub generation: Generation,
    /// 4 KiB blocks from the start of the segment.
    pub block: u32,
    /// Payload without the padding to whole blocks.
    pub payload_bytes: u32,
    /// How often the batch was given another place. It keeps its number.
    pub attempt: u32,
    /// When it was written, by the machine's clock. For people; nothing is decided by it.
    pub unix_seconds: i64,
    /// The chain value of the batch before.
    pub prev: u128,
    /// XXH3-128 of payload and padding.
    pub content: u128,
    /// Encoded inline records, at most `INLINE_BYTES_MAX`.
    pub inline: Vec<u8>,
}

impl Header {
    /// 4 KiB blocks of header, payload and padding.
    pub fn blocks(&self) -> u32 {
        blocks_of(self.payload_bytes)
    }

    /// The first block behind the batch.
    pub fn end_block(&self) -> u32 {
        self.block + self.blocks()
    }

    /// What the batch leaves in its segment.
    pub fn holds(&self) -> Holds {
        Holds::of(self.kind, &self.inline)
    }

    /// Where the batch is, as readers keep it.
    pub fn address(&self) -> BatchAddress {
        BatchAddress {
            lsn: self.lsn,
            segment: self.segment,
            generation: self.generation,
            block: self.block,
        }
    }

    /// This batch's link: covers what it says, not where it lies nor how often it was tried, so that a batch
    /// re-appended elsewhere keeps the chain.
    pub fn chain(&self, volume: VolumeId) -> u128 {
        let mut bytes = Vec::with_capacity(96 + self.inline.len());
        bytes.put_bytes(&volume.0);
        bytes.put_u64(self.lsn.0);
        bytes.put_u8(kind_code(self.kind));
        bytes.put_u32(self.payload_bytes);
        bytes.put_i64(self.unix_seconds);
        bytes.put_u128(self.prev);
        bytes.put_u128(self.content);
        bytes.put_blob(&self.inline);
        hash::xxh3_128(&bytes, 0)
    }

    /// Fills `out`, exactly one header block.
    pub fn encode(&self, volume: VolumeId, out: &mut [u8]) {
        assert_eq!(out.len(), BATCH_HEADER_BYTES);
        assert!(self.inline.len() <= INLINE_BYTES_MAX);
        assert!(
            self.is_sound(),
            "LSN {}: `decode` would refuse it",
            self.lsn
        );
        let mut bytes = Vec::with_capacity(INLINE_AT);
        bytes.put_u64(BATCH_MAGIC);
        bytes.put_u16(FORMAT_MAJOR);
        bytes.put_u8(kind_code(self.kind));
        bytes.put_u8(0);
        bytes.put_u32(self.attempt);
        bytes.put_bytes(&volume.0);
        bytes.put_u64(self.epoch);
        bytes.put_u64(self.term);
        bytes.put_u64(self.lsn.0);
        bytes.put_u64(self.acked.0);
        bytes.put_u32(self.segment.0);
        bytes.put_u32(self.generation.0);
        bytes.put_u32(self.block);
        bytes.put_u32(self.payload_bytes);
        bytes.put_i64(self.unix_seconds);
        bytes.put_u128(self.prev);
        bytes.put_u128(self.content);
        bytes.put_u32(self.inline.len() as u32);
        assert!(bytes.len() <= INLINE_AT);
        out.fill(0);
        out[..bytes.len()].copy_from_slice(&bytes);
        out[INLINE_AT..INLINE_AT + self.inline.len()].copy_from_slice(&self.inline);
        let seed = place_seed(volume, self.segment, self.generation, self.block);
        let check = hash::xxh3_128(&out[..CHECK_AT], seed);
        out[CHECK_AT..].copy_from_slice(&check.to_le_bytes());
    }

    /// The header in `bytes` if it was written by this volume for exactly this place.
    pub fn decode(
        bytes: &[u8],
        volume: VolumeId,
        segment: SegmentIndex,
        generation: Generation,
        block: u32,
    ) -> Option<Header> {
        let header = Header::decode_anywhere(bytes, volume)?;
        let here =
            header.segment == segment && header.generation == generation && header.block == block;
        here.then_some(header)
    }

    /// The header in `bytes` if it verifies for the place it names itself. Only for reading orphan legs, where the
    /// generation is not known beforehand; the caller compares segment and block.
    pub fn decode_anywhere(bytes: &[u8], volume: VolumeId) -> Option<Header> {
        let (named, header) = Header::decode_any_volume(bytes)?;
        (named == volume).then_some(header)
    }

    /// The volume and header in `bytes`, whichever volume that is. Only where nothing else says which.
    pub fn decode_any_volume(bytes: &[u8]) -> Option<(VolumeId, Header)> {
        let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
        let mut reader = Reader::new(bytes);
        if reader.u64().ok()? != BATCH_MAGIC || reader.u16().ok()? != FORMAT_MAJOR {
            return None;
        }
        let kind = kind_of(reader.u8().ok()?)?;
        reader.u8().ok()?;
        let attempt = reader.u32().ok()?;
        let volume = VolumeId(reader.array().ok()?);
        let mut header = Header {
            kind,
            attempt,
            epoch: reader.u64().ok()?,
            term: reader.u64().ok()?,
            lsn: Lsn(reader.u64().ok()?),
            acked: Lsn(reader.u64().ok()?),
            segment: SegmentIndex(reader.u32().ok()?),
            generation: Generation(reader.u32().ok()?),
            block: reader.u32().ok()?,
            payload_bytes: reader.u32().ok()?,
            unix_seconds: reader.i64().ok()?,
            prev: reader.u128().ok()?,
            content: reader.u128().ok()?,
            inline: Vec::new(),
        };
        let inline_bytes = reader.u32().ok()? as usize;
        let seed = place_seed(volume, header.segment, header.generation, header.block);
        let check = hash::xxh3_128(&bytes[..CHECK_AT], seed);
        if bytes[CHECK_AT..] != check.to_le_bytes() || inline_bytes > INLINE_BYTES_MAX {
            return None;
        }
        header.inline = bytes[INLINE_AT..INLINE_AT + inline_bytes].to_vec();
        header.is_sound().then_some((volume, header))
    }

    /// What every header says that an owner writes: asserted before, and asked of what a device gave before anything is done with it.
    fn is_sound(&self) -> bool {
        self.payload_bytes as usize <= BATCH_BYTES_MAX - BATCH_HEADER_BYTES
            && self.lsn > Lsn(0)
            && self.acked < self.lsn
            && self.generation > Generation(0)
    }

    /// Whether `batch`, header and padding included, holds the payload this header promises.
    pub fn proves(&self, batch: &[u8], volume: VolumeId) -> bool {
        batch.len() == self.blocks() as usize * BLOCK_BYTES
            && content_hash(&batch[BATCH_HEADER_BYTES..], volume) == self.content
    }

    /// The inline records; `None` when they do not parse, which behind a good checksum means a newer format.
    pub fn records(&self) -> Option<Vec<Inline>> {
        decode_inline(&self.inline)
    }
}

/// Blocks of a batch with this much payload.
pub(crate) fn blocks_of(payload_bytes: u32) -> u32 {
    1 + payload_bytes.div_ceil(BLOCK_BYTES as u32)
}

/// XXH3-128 of payload and padding: bound to the volume here and to its place by the header that carries it.
pub(crate) fn content_hash(padded: &[u8], volume: VolumeId) -> u128 {
    hash::xxh3_128(padded, volume.check_seed())
}

/// The seed of a header's checksum. A header that was copied to another place, or is of an earlier use of the segment,
/// does not verify.
pub(crate) fn place_seed(
    volume: VolumeId,
    segment: SegmentIndex,
    generation: Generation,
    block: u32,
) -> u64 {
    let (low, high) = volume.halves();
    hash::seed(&[
        low,
        high,
        u64::from(segment.0),
        u64::from(generation.0),
        u64::from(block),
    ])
}

/// The format's number of a kind.
fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::Store => 0,
        Kind::Records => 1,
        Kind::Table => 2,
        Kind::Index => 3,
    }
}

/// The pair of `kind_code`; `None` for a kind of a later release.
fn kind_of(code: u8) -> Option<Kind> {
    match code {
        0 => Some(Kind::Store),
        1 => Some(Kind::Records),
        2 => Some(Kind::Table),
        3 => Some(Kind::Index),
        _ => None,
    }
}

/// A volume-level record inside a batch header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inline {
    /// SEG-CLAIM: the owner may write in this segment from now on.
    Claim {
        segment: SegmentIndex,
        generation: Generation,
    },
    /// SEG-FREE: the segment is free; `generation` is the one its next use will have.
    Free {
        segment: SegmentIndex,
        generation: Generation,
    },
    /// ARENA-GROW: the segment becomes number `ordinal` of the arena.
    ArenaGrow {
        segment: SegmentIndex,
        generation: Generation,
        ordinal: u32,
    },
    /// SEAL: batches of a term older than this batch's with an LSN above `last` are void.
    Seal { last: Lsn },
    /// SKIP: what lay in (`after`, `until`] was the volume's own and is given up; the log goes on behind `chain`, the chain
    /// value of `until`.
    Skip { after: Lsn, until: Lsn, chain: u128 },
    /// PROVISIONAL: the batch changes nothing that was acknowledged to a caller. An opening may give it up as long as no checkpoint
    /// stands for it and its segment and later ones hold nothing else of the store's.
    Provisional,
}

/// What a batch leaves in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Nothing of the store's that a restart needs.
    Own,
    /// See `Inline::Provisional`.
    Provisional,
    /// Mail, or what else the store must find again.
    Store,
}

impl Holds {
    /// What a batch with this kind and these inline records leaves.
    pub fn of(kind: Kind, inline: &[u8]) -> Holds {
        let is_provisional = || {
            let records = decode_inline(inline).unwrap_or_default();
            records.contains(&Inline::Provisional)
        };
        match kind {
            Kind::Store if is_provisional() => Holds::Provisional,
            Kind::Store => Holds::Store,
            Kind::Records | Kind::Table | Kind::Index => Holds::Own,
        }
    }
}

/// SEG-FREE destroys: its record repeats this, so that no damage reads as one.
const FREE_MAGIC: u32 = 0x4652_4545;

/// Appends one record: code, length, body. `decode_inline` is the pair.
pub(crate) fn encode_inline(record: &Inline, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(16);
    let code = match *record {
        Inline::Claim {
            segment,
            generation,
        } => {
            body.put_u32(segment.0);
            body.put_u32(generation.0);
            1
        }
        Inline::Free {
            segment,
            generation,
        } => {
            body.put_u32(FREE_MAGIC);
            body.put_u32(segment.0);
            body.put_u32(generation.0);
            2
        }
        Inline::ArenaGrow {
            segment,
            generation,
            ordinal,
        } => {
            body.put_u32(segment.0);
            body.put_u32(generation.0);
            body.put_u32(ordinal);
            3
        }
        Inline::Seal { last } => {
            body.put_u64(last.0);
            4
        }
        Inline::Skip {
            after,
            until,
            chain,
        } => {
            body.put_u64(after.0);
            body.put_u64(until.0);
            body.put_u128(chain);
            5
        }
        Inline::Provisional => PROVISIONAL,
    };
    out.put_u8(code);
    out.put_u8(body.len() as u8);
    out.put_bytes(&body);
}

/// Codes from 128 on may be skipped by a reader that does not know them; below they may not.
const SKIPPABLE_FROM: u8 = 128;
/// An older release keeps such a batch like any other.
const PROVISIONAL: u8 = 128;

/// `None` for a record that must be understood and is not, and for bytes that end early. Bound: each turn takes two
/// bytes at least.
fn decode_inline(bytes: &[u8]) -> Option<Vec<Inline>> {
    let mut reader = Reader::new(bytes);
    let mut records = Vec::new();
    while !reader.is_empty() {
        let code = reader.u8().ok()?;
        let length = reader.u8().ok()? as usize;
        let mut body = Reader::new(reader.take(length).ok()?);
        let segment = |body: &mut Reader| {
            Some((SegmentIndex(body.u32().ok()?), Generation(body.u32().ok()?)))
        };
        let record = match code {
            1 => {
                let (segment, generation) = segment(&mut body)?;
                Inline::Claim {
                    segment,
                    generation,
                }
            }
            2 => {
                if body.u32().ok()? != FREE_MAGIC {
                    return None;
                }
                let (segment, generation) = segment(&mut body)?;
                Inline::Free {
                    segment,
                    generation,
                }
            }
            3 => {
                let (segment, generation) = segment(&mut body)?;
                Inline::ArenaGrow {
                    segment,
                    generation,
                    ordinal: body.u32().ok()?,
                }
            }
            4 => Inline::Seal {
                last: Lsn(body.u64().ok()?),
            },
            5 => Inline::Skip {
                after: Lsn(body.u64().ok()?),
                until: Lsn(body.u64().ok()?),
                chain: body.u128().ok()?,
            },
            PROVISIONAL => Inline::Provisional,
            _ if code >= SKIPPABLE_FROM => continue,
            _ => return None,
        };
        records.push(record);
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: VolumeId = VolumeId([7; 16]);

    fn header() -> Header {
        let mut inline = Vec::new();
        for record in records() {
            encode_inline(&record, &mut inline);
        }
        Header {
            kind: Kind::Store,
            epoch: 3,
            term: 4,
            lsn: Lsn(99),
            acked: Lsn(97),
            segment: SegmentIndex(5),
            generation: Generation(2),
            block: 17,
            payload_bytes: 5000,
            attempt: 1,
            unix_seconds: 1_700_000_000,
            prev: 0x1234,
            content: 0x5678,
            inline,
        }
    }

    fn records() -> Vec<Inline> {
        let (segment, generation) = (SegmentIndex(9), Generation(3));
        vec![
            Inline::Claim {
                segment,
                generation,
            },
            Inline::Free {
                segment,
                generation,
            },
            Inline::ArenaGrow {
                segment,
                generation,
                ordinal: 2,
            },
            Inline::Seal { last: Lsn(40) },
            Inline::Skip {
                after: Lsn(12),
                until: Lsn(40),
                chain: 0x9abc,
            },
        ]
    }

    #[test]
    fn a_header_reads_back_only_at_its_own_place() {
        let header = header();
        let mut block = vec![0; BATCH_HEADER_BYTES];
        header.encode(VOLUME, &mut block);
        let read = |volume, segment, generation, place| {
            Header::decode(
                &block,
                volume,
                SegmentIndex(segment),
                Generation(generation),
                place,
            )
        };
        assert_eq!(read(VOLUME, 5, 2, 17), Some(header.clone()));
        assert_eq!(header.records(), Some(records()));
        assert_eq!(read(VolumeId([8; 16]), 5, 2, 17), None);
        assert_eq!(read(VOLUME, 6, 2, 17), None);
        assert_eq!(read(VOLUME, 5, 3, 17), None);
        assert_eq!(read(VOLUME, 5, 2, 18), None);
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_seen() {
        let header = header();
        let mut block = vec![0; BATCH_HEADER_BYTES];
        header.encode(VOLUME, &mut block);
        for bit in 0..block.len() * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode_anywhere(&block, VOLUME), None, "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_batch_tried_again_elsewhere_keeps_its_link() {
        let first = header();
        let again = Header {
            segment: SegmentIndex(6),
            block: 0,
            attempt: 2,
            epoch: 4,
            acked: Lsn(98),
            ..first.clone()
        };
        assert_eq!(first.chain(VOLUME), again.chain(VOLUME));
        let other = Header {
            content: 1,
            ..first.clone()
        };
        assert_ne!(first.chain(VOLUME), other.chain(VOLUME));
    }

    #[test]
    fn unknown_records_stop_a_reader_unless_marked_skippable() {
        assert_eq!(decode_inline(&[77, 1, 0]), None);
        assert_eq!(decode_inline(&[200, 1, 0]), Some(vec![]));
        assert_eq!(
            decode_inline(&[2, 12, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]),
            None,
            "a free without its magic"
        );
        assert_eq!(decode_inline(&[1, 200, 0]), None);
    }
}
