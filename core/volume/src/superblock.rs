//! The superblock: who a leg is, who the members are, and where recovery begins. Four copies in four rings; written on
//! open, close, checkpoint and membership change, never per batch.
//!
//! A sequence number counts on a leg when two of its four copies agree; the newest single copy is not trusted. The same
//! number with two contents is a fork, and a fork refuses to open.

use base::cursor::{Reader, Short, Write};
use base::hash;
use device::BLOCK_BYTES;

use crate::format::FORMAT_MAJOR;
use crate::layout::{Plan, RING_SLOTS};
use crate::limits::{LEGS_MAX, NOTE_BYTES_MAX, SUPERBLOCK_CLAIMS_MAX, TABLE_PARTS_MAX};
use crate::types::{Generation, LegId, LegState, Lsn, ScrubState, SegmentIndex, VolumeId};

/// First bytes of every slot: "RPSUPER1", little-endian.
const MAGIC: u64 = u64::from_le_bytes(*b"RPSUPER1");
/// Feature words this code knows. A leg with an unknown incompat bit is refused.
const INCOMPAT_KNOWN: u32 = 0;
/// Fixed slot head: magic, format, copy number, features, leg, body length.
pub(crate) const BODY_AT: usize = 64;
/// The slot's checksum: XXH3-128 over everything before it, seeded with the slot's place on the device.
pub(crate) const CHECK_AT: usize = BLOCK_BYTES - 16;
/// The body's hash, which is the same on all legs; the slot's own checksum differs.
pub(crate) const BODY_HASH_AT: usize = CHECK_AT - 16;

/// One row of the member table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub id: LegId,
    /// What the leg may be used for, as all legs agree.
    pub state: LegState,
    /// The leg has every live batch up to here. Meaningful unless `InSync`.
    pub stale_since: Lsn,
    /// Hash of the device's own stable name.
    pub wwid: u64,
}

/// A batch's place without its LSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spot {
    pub segment: u32,
    pub generation: u32,
    /// 4 KiB blocks from the start of the segment.
    pub block: u32,
}

/// A claim that is durable, and that the table in the log does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClaimEntry {
    /// The segment that the owner may write in.
    pub segment: SegmentIndex,
    /// Its generation under the claim.
    pub generation: Generation,
}

/// What all legs of a volume hold alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// The volume that the leg belongs to.
    pub volume: VolumeId,
    /// Grows with each superblock of the volume. The slot in each ring is `seq` modulo the ring's length.
    pub seq: u64,
    /// Body hash of the superblock this one replaces.
    pub parent: u128,
    /// The membership number at that time.
    pub epoch: u64,
    /// The ownership number of the opening that wrote it.
    pub term: u64,
    /// The geometry that the volume was made with.
    pub plan: Plan,
    /// Written by `create` or `close`: everything committed was durable, and no write was in flight.
    pub clean: bool,
    /// Every LSN up to here was acknowledged when this was written.
    pub acked: Lsn,
    /// The member table: every leg that the volume has or had, by `LegIndex`.
    pub members: Vec<Member>,
    /// The last batch that the checkpoint stands for; recovery reads from the one after it.
    pub checkpoint: Lsn,
    /// A batch at or before the first one after the checkpoint.
    pub start: Option<Spot>,
    /// The segment table, in parts; empty: every segment is free at generation 1.
    pub table: Vec<Spot>,
    /// LSN of the table's first part: the table knows what batches before it did.
    pub table_lsn: Lsn,
    /// Chain value of the table's last part.
    pub table_chain: u128,
    /// Claims made since the table was written.
    pub claims: Vec<ClaimEntry>,
    /// Opaque bytes of the store, at most `NOTE_BYTES_MAX`.
    pub note: Vec<u8>,
    /// Dates and cursor; how many bytes that is, is not kept.
    pub scrub: ScrubState,
}

impl Superblock {
    /// What every superblock that is written holds to; asked again of one that is read.
    fn is_sound(&self) -> bool {
        self.checkpoint <= self.acked && self.table_lsn <= self.acked
    }

    /// The layout is FORMAT.md's; `decode_body` is the pair. Both change together, and only with the format's number.
    fn encode_body(&self) -> Vec<u8> {
        assert!(self.members.len() <= LEGS_MAX && self.table.len() <= TABLE_PARTS_MAX);
        assert!(self.claims.len() <= SUPERBLOCK_CLAIMS_MAX && self.note.len() <= NOTE_BYTES_MAX);
        assert!(self.is_sound(), "I6: a checkpoint of what was acknowledged");
        let mut out = Vec::with_capacity(BLOCK_BYTES);
        out.put_bytes(&self.volume.0);
        out.put_u64(self.seq);
        out.put_u128(self.parent);
        out.put_u64(self.epoch);
        out.put_u64(self.term);
        out.put_u64(self.plan.segments_at);
        out.put_u64(self.plan.segment_bytes);
        out.put_u32(self.plan.segment_count);
        out.put_u8(u8::from(self.clean));
        out.put_u64(self.acked.0);
        out.put_u8(self.members.len() as u8);
        for member in &self.members {
            out.put_bytes(&member.id.0);
            out.put_u8(state_code(member.state));
            out.put_u64(member.stale_since.0);
            out.put_u64(member.wwid);
        }
        out.put_u64(self.checkpoint.0);
        out.put_u8(u8::from(self.start.is_some()));
        put_spot(&self.start.unwrap_or_default(), &mut out);
        out.put_u8(self.table.len() as u8);
        for spot in &self.table {
            put_spot(spot, &mut out);
        }
        out.put_u64(self.table_lsn.0);
        out.put_u128(self.table_chain);
        out.put_u8(self.claims.len() as u8);
        for claim in &self.claims {
            out.put_u32(claim.segment.0);
            out.put_u32(claim.generation.0);
        }
        out.put_blob(&self.note);
        out.put_u64(self.scrub.ended as u64);
        out.put_u64(self.scrub.began as u64);
        out.put_u64(self.scrub.cursor.0);
        assert!(out.len() <= BODY_HASH_AT - BODY_AT);
        out
    }

    /// Reads what `encode_body` wrote. `Short`: bytes that end early, a count past its bound, or a state that is not
    /// known.
    fn decode_body(bytes: &[u8]) -> Result<Superblock, Short> {
        let mut reader = Reader::new(bytes);
        let volume = VolumeId(reader.array()?);
        let seq = reader.u64()?;
        let parent = reader.u128()?;
        let epoch = reader.u64()?;
        let term = reader.u64()?;
        let plan = Plan {
            segments_at: reader.u64()?,
            segment_bytes: reader.u64()?,
            segment_count: reader.u32()?,
        };
        let clean = reader.u8()? != 0;
        let acked = Lsn(reader.u64()?);
        let mut members = Vec::new();
        for _ in 0..bounded(reader.u8()?, LEGS_MAX)? {
            let id = LegId(reader.array()?);
            let state = state_of(reader.u8()?).ok_or(Short)?;
            members.push(Member {
                id,
                state,
                stale_since: Lsn(reader.u64()?),
                wwid: reader.u64()?,
            });
        }
        let checkpoint = Lsn(reader.u64()?);
        let has_start = reader.u8()? != 0;
        let start = read_spot(&mut reader)?;
        let mut table = Vec::new();
        for _ in 0..bounded(reader.u8()?, TABLE_PARTS_MAX)? {
            table.push(read_spot(&mut reader)?);
        }
        let table_lsn = Lsn(reader.u64()?);
        let table_chain = reader.u128()?;
        let mut claims = Vec::new();
        for _ in 0..bounded(reader.u8()?, SUPERBLOCK_CLAIMS_MAX)? {
            let segment = SegmentIndex(reader.u32()?);
            claims.push(ClaimEntry {
                segment,
                generation: Generation(reader.u32()?),
            });
        }
        let note = reader.blob()?.to_vec();
        if note.len() > NOTE_BYTES_MAX {
            return Err(Short);
        }
        // Superblocks of the first releases end here; later fields go behind these.
        let mut scrub = ScrubState::default();
        if !reader.is_empty() {
            scrub.ended = reader.u64()? as i64;
            scrub.began = reader.u64()? as i64;
            scrub.cursor = Lsn(reader.u64()?);
        }
        let start = has_start.then_some(start);
        Ok(Superblock {
            volume,
            seq,
            parent,
            epoch,
            term,
            plan,
            clean,
            acked,
            members,
            checkpoint,
            start,
            table,
            table_lsn,
            table_chain,
            claims,
            note,
            scrub,
        })
    }

    /// Names this content; equal on all legs.
    pub fn body_hash(&self) -> u128 {
        hash_body(&self.encode_body())
    }

    /// Fills `out`, one slot, as copy number `copy` on `leg` for byte offset `at`.
    pub fn encode_slot(&self, leg: LegId, copy: usize, at: u64, out: &mut [u8]) {
        assert_eq!(out.len(), BLOCK_BYTES);
        let body = self.encode_body();
        let mut head = Vec::with_capacity(BODY_AT);
        head.put_u64(MAGIC);
        head.put_u16(FORMAT_MAJOR);
        head.put_u8(copy as u8);
        head.put_u8(0);
        head.put_u32(INCOMPAT_KNOWN);
        head.put_u32(0); // ro-compat
        head.put_u32(0); // compat
        head.put_bytes(&leg.0);
        head.put_u32(body.len() as u32);
        out.fill(0);
        out[..head.len()].copy_from_slice(&head);
        out[BODY_AT..BODY_AT + body.len()].copy_from_slice(&body);
        out[BODY_HASH_AT..CHECK_AT].copy_from_slice(&hash_body(&body).to_le_bytes());
        let check = hash::xxh3_128(&out[..CHECK_AT], hash::seed(&[at]));
        out[CHECK_AT..].copy_from_slice(&check.to_le_bytes());
    }
}

/// The slot a superblock with this number is written to, as an offset inside each ring.
pub(crate) fn slot_offset(seq: u64) -> u64 {
    seq % RING_SLOTS * BLOCK_BYTES as u64
}

/// One valid slot.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The leg that wrote the slot.
    pub leg: LegId,
    /// The hash of the body, by which superblocks of different legs are compared.
    pub body_hash: u128,
    pub superblock: Superblock,
}

/// What stands in one slot.
#[derive(Debug)]
pub(crate) enum SlotContent {
    /// A superblock of this release's format whose checksum verifies.
    Valid(Box<Slot>),
    /// Ours, whole, and of a format that this release does not read.
    Foreign(Foreign),
    /// Anything else: empty, torn, damaged, or never ours. It is not evidence of anything.
    Other,
}

/// A format that this release does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// An older format with this major number, which only development versions wrote.
    Older(u16),
    /// A newer major number, or an incompatible feature that this release does not know.
    Newer,
}

/// Reads one slot at byte offset `at` of its device, expected to be copy number `copy`. The check is seeded with `at`,
/// so a slot that was copied elsewhere does not verify.
pub(crate) fn decode_slot(bytes: &[u8], copy: usize, at: u64) -> SlotContent {
    assert_eq!(bytes.len(), BLOCK_BYTES);
    let check = hash::xxh3_128(&bytes[..CHECK_AT], hash::seed(&[at]));
    if bytes[CHECK_AT..] != check.to_le_bytes() {
        return SlotContent::Other;
    }
    decode_checked(bytes, copy).unwrap_or(SlotContent::Other)
}

/// Bytes of a device's head that `leg_on` looks at: the guard page and ring H0, which has this place in every layout.
pub const HEAD_BYTES: usize = H0_AT + RING_SLOTS as usize * BLOCK_BYTES;
const H0_AT: usize = 64 << 10;

/// Whose leg a device is, by the newest whole slot in its first `HEAD_BYTES`. `None` proves nothing: that ring may be damaged,
/// or of another format.
pub fn leg_on(head: &[u8]) -> Option<(VolumeId, LegId)> {
    let ring = head.get(H0_AT..)?.chunks_exact(BLOCK_BYTES);
    let slots = ring.enumerate().filter_map(|(number, bytes)| {
        let at = (H0_AT + number * BLOCK_BYTES) as u64;
        match decode_slot(bytes, 0, at) {
            SlotContent::Valid(slot) => Some(slot),
            SlotContent::Foreign(_) | SlotContent::Other => None,
        }
    });
    let newest = slots.max_by_key(|slot| slot.superblock.seq)?;
    Some((newest.superblock.volume, newest.leg))
}

/// Reads a slot whose checksum verified. `Short` here means a shape that this release did not write.
fn decode_checked(bytes: &[u8], copy: usize) -> Result<SlotContent, Short> {
    let mut reader = Reader::new(bytes);
    if reader.u64()? != MAGIC {
        return Ok(SlotContent::Other);
    }
    let major = reader.u16()?;
    let written_as = reader.u8()?;
    reader.u8()?;
    let incompat = reader.u32()?;
    if major != FORMAT_MAJOR || incompat & !INCOMPAT_KNOWN != 0 {
        return Ok(SlotContent::Foreign(if major < FORMAT_MAJOR {
            Foreign::Older(major)
        } else {
            Foreign::Newer
        }));
    }
    reader.u32()?;
    reader.u32()?;
    let leg = LegId(reader.array()?);
    let body_bytes = reader.u32()? as usize;
    let body = bytes[BODY_AT..BODY_HASH_AT]
        .get(..body_bytes)
        .ok_or(Short)?;
    let body_hash = hash_body(body);
    if usize::from(written_as) != copy || bytes[BODY_HASH_AT..CHECK_AT] != body_hash.to_le_bytes() {
        return Ok(SlotContent::Other);
    }
    let superblock = Superblock::decode_body(body)?;
    if !superblock.is_sound() {
        return Ok(SlotContent::Other);
    }
    Ok(SlotContent::Valid(Box::new(Slot {
        leg,
        body_hash,
        superblock,
    })))
}

/// What the rings of one leg agree on.
#[derive(Debug, Clone)]
pub(crate) struct Quorum {
    /// The leg that the rings belong to.
    pub leg: LegId,
    /// The newest superblock that two copies hold.
    pub superblock: Superblock,
    /// Its hash, to be compared with those of other legs.
    pub body_hash: u128,
    /// The highest number on any single copy: the next one must be above it.
    pub seq_seen: u64,
    /// How many copies hold it, of four.
    pub copies: usize,
    /// Every superblock of this leg that any copy holds, newest first.
    pub traces: Vec<Trace>,
}

/// One superblock as the leg's rings remember it: a word of the leg about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    pub seq: u64,
    pub hash: u128,
    /// The hash of the body that it replaced.
    pub parent: u128,
    /// The term of the opening that wrote it.
    pub term: u64,
    /// The leg said there that it has every batch up to here.
    pub holds: Lsn,
    /// The leg was in sync, by the member table that it carried.
    pub counted: bool,
    /// How many of the four copies hold it. One is enough for a trace, two are needed for a quorum.
    pub copies: usize,
}

impl Trace {
    /// Whether `next` was written to replace this one.
    pub fn precedes(&self, next: &Trace) -> bool {
        self.hash == next.parent && self.seq < next.seq
    }
}

/// The trace of every superblock among `slots`, newest first.
fn traces(slots: &[Slot], leg: LegId) -> Vec<Trace> {
    let mut traces: Vec<Trace> = Vec::new();
    for slot in slots.iter().filter(|slot| slot.leg == leg) {
        let superblock = &slot.superblock;
        let known = |trace: &&mut Trace| trace.hash == slot.body_hash;
        if let Some(trace) = traces.iter_mut().find(known) {
            trace.copies += 1;
            continue;
        }
        let row = superblock.members.iter().find(|member| member.id == leg);
        let counted = row.is_some_and(|member| member.state == LegState::InSync);
        let since = row.map_or(Lsn(0), |member| member.stale_since);
        traces.push(Trace {
            seq: superblock.seq,
            hash: slot.body_hash,
            parent: superblock.parent,
            term: superblock.term,
            holds: if counted { superblock.acked } else { since },
            counted,
            copies: 1,
        });
    }
    traces.sort_by_key(|trace| std::cmp::Reverse(trace.seq));
    traces
}

/// The newest superblock that at least two copies hold. `Err`: two contents under one number, or two legs' slots on
/// one device.
pub(crate) fn quorum(slots: &[Slot]) -> Result<Option<Quorum>, String> {
    let seq_seen = slots
        .iter()
        .map(|slot| slot.superblock.seq)
        .max()
        .unwrap_or(0);
    let mut best: Option<(&Slot, usize)> = None;
    for slot in slots {
        let same = |other: &&Slot| other.superblock.seq == slot.superblock.seq;
        if slots.iter().filter(same).any(|other| other.leg != slot.leg) {
            return Err("its superblocks name two different legs".into());
        }
        let agree = slots
            .iter()
            .filter(same)
            .filter(|other| other.body_hash == slot.body_hash)
            .count();
        if agree >= 2 && best.is_none_or(|(best, _)| best.superblock.seq < slot.superblock.seq) {
            best = Some((slot, agree));
        } else if agree >= 2
            && best.is_some_and(|(best, _)| {
                best.superblock.seq == slot.superblock.seq && best.body_hash != slot.body_hash
            })
        {
            return Err(format!(
                "superblock {} exists with two contents (a fork)",
                slot.superblock.seq
            ));
        }
    }
    Ok(best.map(|(slot, copies)| Quorum {
        copies,
        leg: slot.leg,
        superblock: slot.superblock.clone(),
        body_hash: slot.body_hash,
        seq_seen,
        traces: traces(slots, slot.leg),
    }))
}

/// The name of a superblock's content.
pub(crate) fn hash_body(body: &[u8]) -> u128 {
    hash::xxh3_128(body, MAGIC)
}

/// Twelve bytes; the pair of `read_spot`.
fn put_spot(spot: &Spot, out: &mut Vec<u8>) {
    out.put_u32(spot.segment);
    out.put_u32(spot.generation);
    out.put_u32(spot.block);
}

/// Reads what `put_spot` wrote.
fn read_spot(reader: &mut Reader<'_>) -> Result<Spot, Short> {
    Ok(Spot {
        segment: reader.u32()?,
        generation: reader.u32()?,
        block: reader.u32()?,
    })
}

/// A count from a slot, or `Short` where it is past what a superblock can hold.
fn bounded(count: u8, max: usize) -> Result<usize, Short> {
    let count = usize::from(count);
    if count <= max { Ok(count) } else { Err(Short) }
}

/// The format's number of a state. Numbers are never given to another state.
fn state_code(state: LegState) -> u8 {
    match state {
        LegState::InSync => 0,
        LegState::CatchingUp => 1,
        LegState::Rebuilding => 2,
        LegState::Bridge => 3,
        LegState::Stale => 4,
        LegState::Failed => 5,
        LegState::Spare => 6,
        LegState::Retired => 7,
    }
}

/// The pair of `state_code`; `None` for a number of a later release.
fn state_of(code: u8) -> Option<LegState> {
    Some(match code {
        0 => LegState::InSync,
        1 => LegState::CatchingUp,
        2 => LegState::Rebuilding,
        3 => LegState::Bridge,
        4 => LegState::Stale,
        5 => LegState::Failed,
        6 => LegState::Spare,
        7 => LegState::Retired,
        _ => return None,
    })
}

// The longest body leaves its hash and the slot's checksum in place.
const _: () = assert!(
    BODY_HASH_AT > BODY_AT + NOTE_BYTES_MAX + LEGS_MAX * 33 + SUPERBLOCK_CLAIMS_MAX * 8 + 512
);

#[cfg(test)]
mod tests;
