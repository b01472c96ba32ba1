//! Frames: how groups and the store's own records are stored in a batch's payload (FORMAT.md §1).
//!
//! A frame is a header, a *meta* part and *runs* (bodies, summaries, chunks, tables), each beginning on 8 bytes. The header's
//! check covers header and meta; each run's check is in the meta and again in the `RecordAddress` that leads to it. The batch
//! around them has its own checksum, so what fails here behind a good batch is a format we do not know, or ours.

use base::cursor::{Reader, Short, Write};
use base::{BodyName, hash};
use bytes::Bytes;
use volume::{BATCH_HEADER_BYTES, BatchAddress, RecordAddress};

use crate::body::Codec;
use crate::limits::BATCH_PAYLOAD_BYTES_MAX;
use crate::{BodyRef, Record, RecordKind};

pub(crate) const FRAME_HEADER_BYTES: usize = 24;
/// First bytes of a frame: "RPfr", little-endian.
const MAGIC: u32 = u32::from_le_bytes(*b"RPfr");
/// The shape of the header and of the metas below. Another version refuses the opening.
const VERSION: u8 = 1;
/// A reader that does not know the kind must not go on.
const FLAG_INCOMPAT: u16 = 1;

/// What a frame is. The numbers are the format's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Records of tenants, and the bodies and summaries that came with them.
    Group,
    /// One piece of a body that does not fit a batch.
    Chunk,
    /// What the projection had at a checkpoint.
    IndexSync,
    /// One run of a whole table of page checks.
    IndexTable,
}
impl Kind {
    /// The format's number. Numbers from 128 on are the store's.
    fn number(self) -> u8 {
        match self {
            Kind::Group => 128,
            Kind::Chunk => 129,
            Kind::IndexSync => 130,
            Kind::IndexTable => 131,
        }
    }
    /// The pair of `number`; `None` for a kind of a later release.
    fn of(number: u8) -> Option<Kind> {
        Some(match number {
            128 => Kind::Group,
            129 => Kind::Chunk,
            130 => Kind::IndexSync,
            131 => Kind::IndexTable,
            _ => return None,
        })
    }
}

/// A run inside a batch: `at` counts from the batch's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Bytes from the batch's first byte (its header) to the run.
    pub at: u32,
    pub bytes: u32,
    /// XXH3-64 of the run, as in `RecordAddress::check`.
    pub check: u64,
}
impl Run {
    /// The run's address once its batch has a place.
    pub fn address(&self, batch: &BatchAddress) -> RecordAddress {
        RecordAddress {
            segment: batch.segment,
            generation: batch.generation,
            batch_block: batch.block,
            at: self.at,
            bytes: self.bytes,
            check: self.check,
        }
    }
}

/// A body as placed in a batch whose address is not known yet.
#[derive(Debug, Clone)]
pub(crate) struct PlacedBody {
    /// The BLAKE3 of the uncompressed body.
    pub name: BodyName,
    /// Length of the body before compression.
    pub raw_bytes: u32,
    /// How the run is compressed.
    pub codec: Codec,
    /// The summary that was computed when the body arrived.
    pub summary: Run,
    /// The body itself, or its chunk list.
    pub body: Run,
}
impl PlacedBody {
    /// The reference that tenants keep, once the batch has a place.
    pub fn at(&self, batch: &BatchAddress) -> BodyRef {
        BodyRef {
            name: self.name,
            raw_bytes: self.raw_bytes,
            summary: self.summary.address(batch),
            body: self.body.address(batch),
            codec: self.codec,
        }
    }
}

const _: () = assert!(FRAME_HEADER_BYTES == align8(FRAME_HEADER_BYTES));
const _: () = assert!(BATCH_HEADER_BYTES == align8(BATCH_HEADER_BYTES));

/// The next multiple of 8. Frames and runs begin on one (FORMAT.md §1).
pub(crate) const fn align8(bytes: usize) -> usize {
    (bytes + 7) & !7
}

/// Starts a frame in `out` (emptied first): room for the header, then the caller's meta.
pub(crate) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.resize(FRAME_HEADER_BYTES, 0);
}

/// Writes the header of the frame in `out`, whose meta is complete. `runs_bytes`: aligned bytes of the runs that follow.
pub(crate) fn end(out: &mut [u8], kind: Kind, runs_bytes: usize, seed: u64) {
    assert!(out.len() >= FRAME_HEADER_BYTES, "`begin` came first");
    let meta_bytes = out.len() - FRAME_HEADER_BYTES;
    // The pairs of what `Frames::next` refuses.
    assert_eq!(align8(runs_bytes), runs_bytes, "runs end on 8 bytes");
    assert!(align8(out.len()) + runs_bytes <= BATCH_PAYLOAD_BYTES_MAX);
    out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    out[4] = kind.number();
    out[5] = VERSION;
    // Skipping any of today's kinds would lose state or tables.
    out[6..8].copy_from_slice(&FLAG_INCOMPAT.to_le_bytes());
    out[8..12].copy_from_slice(
        &u32::try_from(meta_bytes)
            .expect("a frame fits a batch")
            .to_le_bytes(),
    );
    out[12..16].copy_from_slice(
        &u32::try_from(runs_bytes)
            .expect("a frame fits a batch")
            .to_le_bytes(),
    );
    out[16..24].fill(0);
    let check = hash::xxh3_64(out, seed);
    out[16..24].copy_from_slice(&check.to_le_bytes());
}

/// A frame found in a payload.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub kind: Kind,
    /// The meta part, whose check has been verified.
    pub meta: Bytes,
    /// Where the runs begin, from the batch's first byte.
    pub runs_at: usize,
    /// Bytes of all runs with their padding.
    pub runs_bytes: usize,
}

/// Why a payload cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameFault {
    #[error(
        "the log holds a record of kind {0} that this version does not know: open the volume with the version that wrote it, or a newer one"
    )]
    Unknown(u8),
    #[error("a batch with a good checksum holds a broken frame at byte {0}")]
    Broken(usize),
}

/// The frames of one batch's payload, in order. Unknown compatible kinds are skipped.
pub(crate) struct Frames {
    payload: Bytes,
    next: usize,
    seed: u64,
}
impl Frames {
    /// The frames of `payload`, whose batch has been verified. `seed` is the volume's `check_seed`.
    pub fn new(payload: Bytes, seed: u64) -> Frames {
        Frames {
            payload,
            next: 0,
            seed,
        }
    }

    /// The next frame; `None` at the end of the payload. A fault ends the walk: what follows it cannot be found.
    pub fn next(&mut self) -> Result<Option<Frame>, FrameFault> {
        // Bounded by the payload: every round moves at least one header forward.
        loop {
            let at = self.next;
            let broken = FrameFault::Broken(at + BATCH_HEADER_BYTES);
            let rest = self.payload.get(at..).unwrap_or_default();
            // Zeros (the batch's padding) or nothing: the end.
            if rest.len() < FRAME_HEADER_BYTES || rest[..4] == [0; 4] {
                return Ok(None);
            }
            let header: [u8; FRAME_HEADER_BYTES] = rest[..FRAME_HEADER_BYTES]
                .try_into()
                .expect("as long as was asked");
            let mut reader = Reader::new(&header);
            let (magic, number, version, flags, meta_bytes, runs_bytes, check) =
                header_fields(&mut reader).map_err(|_| broken.clone())?;
            let meta_end = FRAME_HEADER_BYTES + meta_bytes as usize;
            let runs_at = align8(meta_end);
            let end = runs_at.saturating_add(runs_bytes as usize);
            // The last frame's padding may belong to the batch's.
            if magic != MAGIC
                || align8(end) != end
                || meta_end > rest.len()
                || end > align8(rest.len())
            {
                return Err(broken);
            }
            let mut covered = rest[..meta_end].to_vec();
            covered[16..24].fill(0);
            if hash::xxh3_64(&covered, self.seed) != check {
                return Err(broken);
            }
            self.next = at + end;
            match Kind::of(number) {
                Some(kind) if version == VERSION => {
                    return Ok(Some(Frame {
                        kind,
                        meta: self.payload.slice(at + FRAME_HEADER_BYTES..at + meta_end),
                        runs_at: BATCH_HEADER_BYTES + at + runs_at,
                        runs_bytes: runs_bytes as usize,
                    }));
                }
                _ if flags & FLAG_INCOMPAT != 0 => return Err(FrameFault::Unknown(number)),
                _ => {}
            }
        }
    }
}

type HeaderFields = (u32, u8, u8, u16, u32, u32, u64);
/// Magic, kind, version, flags, meta bytes, runs bytes, check: the header in its order.
fn header_fields(reader: &mut Reader<'_>) -> Result<HeaderFields, Short> {
    Ok((
        reader.u32()?,
        reader.u8()?,
        reader.u8()?,
        reader.u16()?,
        reader.u32()?,
        reader.u32()?,
        reader.u64()?,
    ))
}

/// A run as the meta tells it: relative to where the frame's runs begin.
pub(crate) fn put_run(out: &mut Vec<u8>, relative: usize, bytes: usize, check: u64) {
    out.put_varint(relative as u64);
    out.put_varint(bytes as u64);
    out.put_u64(check);
}

/// The most bytes `put_run` takes.
pub(crate) const RUN_BYTES_MAX: usize = 5 + 5 + 8;

/// Reads a run. `Short` where it would end behind the frame's runs, so that a broken meta cannot lead out of its frame.
fn run(reader: &mut Reader<'_>, frame: &Frame) -> Result<Run, Short> {
    let relative = usize::try_from(reader.varint()?).map_err(|_| Short)?;
    let bytes = usize::try_from(reader.varint()?).map_err(|_| Short)?;
    let check = reader.u64()?;
    if relative
        .checked_add(bytes)
        .is_none_or(|end| end > frame.runs_bytes)
    {
        return Err(Short);
    }
    let at = u32::try_from(frame.runs_at + relative).map_err(|_| Short)?;
    Ok(Run {
        at,
        bytes: bytes as u32,
        check,
    })
}

/// Appends a record: kind, length, payload. `group` is its pair.
pub(crate) fn put_record(out: &mut Vec<u8>, record: &Record) {
    out.put_u8(record.kind.0);
    out.put_varint(record.payload.len() as u64);
    out.put_bytes(&record.payload);
}
/// Kind and length of a record: what `put_record` adds to its payload at most.
pub(crate) const RECORD_OVERHEAD_BYTES_MAX: usize = 1 + 5;

/// Name, raw length, codec and two runs: what a body takes in its group's meta at most.
pub(crate) const BODY_META_BYTES_MAX: usize = 32 + 5 + 1 + 2 * RUN_BYTES_MAX;

/// The content of a group frame.
pub(crate) struct GroupFrame {
    /// The records, in the order in which they are applied.
    pub records: Vec<Record>,
    /// The bodies that the records name.
    pub bodies: Vec<PlacedBody>,
}

/// Reads the meta of a group frame. `Short` means a shape that this version did not write: the frame's check has been
/// verified before.
pub(crate) fn group(frame: &Frame) -> Result<GroupFrame, Short> {
    let mut reader = Reader::new(&frame.meta);
    let record_count = reader.varint()?;
    let mut records = Vec::new();
    for _ in 0..record_count {
        let kind = RecordKind(reader.u8()?);
        let bytes = usize::try_from(reader.varint()?).map_err(|_| Short)?;
        let at = frame.meta.len() - reader.rest().len();
        reader.take(bytes)?;
        records.push(Record {
            kind,
            payload: frame.meta.slice(at..at + bytes),
        });
    }
    let body_count = reader.varint()?;
    let mut bodies = Vec::new();
    for _ in 0..body_count {
        let name = BodyName(reader.array()?);
        let raw_bytes = u32::try_from(reader.varint()?).map_err(|_| Short)?;
        let codec = Codec::of(reader.u8()?).ok_or(Short)?;
        let summary = run(&mut reader, frame)?;
        let body = run(&mut reader, frame)?;
        bodies.push(PlacedBody {
            name,
            raw_bytes,
            codec,
            summary,
            body,
        });
    }
    Ok(GroupFrame { records, bodies })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 7;

    fn frame(kind: Kind, meta: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        begin(&mut out);
        out.extend_from_slice(meta);
        end(&mut out, kind, 0, SEED);
        out.resize(align8(out.len()), 0);
        out
    }

    #[test]
    fn frames_are_read_in_order_up_to_the_padding() {
        let mut payload = frame(Kind::Chunk, b"one");
        payload.extend(frame(Kind::IndexSync, b""));
        payload.resize(4096, 0);
        let mut frames = Frames::new(payload.into(), SEED);
        let first = frames.next().unwrap().unwrap();
        assert_eq!((first.kind, &first.meta[..]), (Kind::Chunk, &b"one"[..]));
        assert_eq!(frames.next().unwrap().unwrap().kind, Kind::IndexSync);
        assert!(frames.next().unwrap().is_none());
    }

    fn with_number(number: u8, flags: u16) -> Vec<u8> {
        let mut bytes = frame(Kind::Chunk, b"x");
        bytes[4] = number;
        bytes[6..8].copy_from_slice(&flags.to_le_bytes());
        bytes[16..24].fill(0);
        let check = hash::xxh3_64(&bytes[..FRAME_HEADER_BYTES + 1], SEED);
        bytes[16..24].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    #[test]
    fn an_unknown_kind_is_skipped_only_when_it_says_so() {
        let mut payload = with_number(200, 0);
        payload.extend(frame(Kind::Group, b"\0\0"));
        let mut frames = Frames::new(payload.into(), SEED);
        assert_eq!(frames.next().unwrap().unwrap().kind, Kind::Group);
        assert_eq!(
            Frames::new(with_number(200, FLAG_INCOMPAT).into(), SEED)
                .next()
                .unwrap_err(),
            FrameFault::Unknown(200)
        );
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_noticed_or_harmless() {
        let good = frame(Kind::Chunk, b"sixteen bytes ok");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            match Frames::new(bad.into(), SEED).next() {
                Err(_) => {}
                Ok(other) => panic!("bit {bit} went unnoticed: {other:?}"),
            }
        }
    }
}
