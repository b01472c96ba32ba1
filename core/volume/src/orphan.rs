//! One leg, nothing else: no witness, no other leg, no index. For salvage, which goes on past damage, and for `log dump`.
//!
//! Every segment is searched in 4 KiB steps for batches of this volume; nothing is written. What it gives out is what
//! stands on the leg, not what counts: batches of freed segments and of a torn tail may be among it. The caller sorts
//! them out by LSN and by the records inside.

use base::hash::xxh3_64;
use base::units::{round_down, round_up};
use bytes::Bytes;
use device::{BLOCK_BYTES, DeviceIndex, Io, IoFault};

use crate::BATCH_HEADER_BYTES;
use crate::format::{Header, Kind};
use crate::layout::{Plan, frame};
use crate::leg::{read, slots};
use crate::limits::{ORPHAN_DEADLINE_US, ORPHAN_SEARCH_BYTES_MAX, STREAM_READ_BYTES};
use crate::superblock::{Superblock, quorum};
use crate::types::*;

/// A stretch of the leg that holds no whole batch although one was expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("segment {} is damaged from block {block} on ({blocks} blocks)", .segment.0)]
pub struct Damage {
    pub segment: SegmentIndex,
    pub block: u32,
    /// Blocks passed over before the next whole batch or the end of the segment's content.
    pub blocks: u32,
}

/// A leg read on its own.
pub struct OrphanLeg {
    io: Io,
    device: DeviceIndex,
    volume: VolumeId,
    plan: Plan,
    checkpoint: Checkpoint,
    /// Segments in the order of their first batch; those whose beginning is damaged come last.
    order: Vec<SegmentIndex>,
    next_segment: usize,
    current: Option<Cursor>,
    window: Window,
}

/// Where the search stands in one segment.
struct Cursor {
    segment: SegmentIndex,
    block: u32,
    /// The generation of the last batch found: older ones behind it are leftovers of an earlier use.
    generation: Option<Generation>,
    /// Where the damage began that is being passed over.
    bad_from: Option<u32>,
}

/// The stretch of the device read last.
#[derive(Default)]
struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl OrphanLeg {
    /// Looks at `device` and finds out volume and layout: from its superblocks, or, when none can be read, from the
    /// batches themselves. `Misfit` when nothing of a leg is found.
    pub async fn open(io: &Io, device: DeviceIndex) -> Result<OrphanLeg, OpenRefusal> {
        let geometry = io.device.geometry(device);
        let name = geometry.stable_id;
        let Some(frame) = frame(geometry.capacity_bytes) else {
            return misfit(format!("device {name} is too small to be a leg"));
        };
        let found = slots(io, device, &frame, ORPHAN_DEADLINE_US).await;
        // Whatever two copies agree on; failing that the newest single one: here there is nothing to lose by it.
        let newest = found
            .slots
            .iter()
            .max_by_key(|slot| slot.superblock.seq)
            .map(|slot| &slot.superblock);
        let agreed = quorum(&found.slots)
            .ok()
            .flatten()
            .map(|quorum| quorum.superblock);
        let superblock: Option<Superblock> = agreed.or(newest.cloned());
        let mut window = Window::default();
        let (volume, plan, checkpoint) = match superblock {
            Some(superblock) => {
                let checkpoint = Checkpoint {
                    lsn: superblock.checkpoint,
                    note: superblock.note,
                };
                (superblock.volume, superblock.plan, checkpoint)
            }
            None => {
                let span = (frame.segments_at, frame.segments_end);
                let Some((volume, plan)) = guess(io, device, span, &mut window).await else {
                    return misfit(format!(
                        "device {name} holds no superblock and no batch of a Ringpost volume"
                    ));
                };
                (volume, plan, Checkpoint::default())
            }
        };
        // A file cut short still gives what is left of it.
        let here = geometry
            .capacity_bytes
            .saturating_sub(plan.segments_at)
            .div_ceil(plan.segment_bytes);
        let segment_count = plan
            .segment_count
            .min(u32::try_from(here).unwrap_or(u32::MAX));
        let mut leg = OrphanLeg {
            io: io.clone(),
            device,
            volume,
            plan: Plan {
                segment_count,
                ..plan
            },
            checkpoint,
            order: Vec::new(),
            next_segment: 0,
            current: None,
            window,
        };
        leg.sort_segments().await;
        Ok(leg)
    }

    pub fn volume(&self) -> VolumeId {
        self.volume
    }

    /// The last checkpoint this leg knows of; empty when its superblocks are lost.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The next batch of the store's, or the next stretch of damage; `None` at the end of the leg. Roughly in LSN order:
    /// exactly so within a segment.
    pub async fn next_batch(&mut self) -> Option<Result<(BatchAddress, Bytes), Damage>> {
        // bounded by the leg
        loop {
            let Some(mut cursor) = self.current.take() else {
                let segment = *self.order.get(self.next_segment)?;
                self.next_segment += 1;
                self.current = Some(Cursor {
                    segment,
                    block: 0,
                    generation: None,
                    bad_from: None,
                });
                continue;
            };
            if cursor.block >= self.plan.segment_blocks() {
                continue;
            }
            let Some((header, bytes)) = self.batch_at(cursor.segment, cursor.block).await else {
                // Damage only where this segment's log was still going on.
                if cursor.generation.is_some() {
                    cursor.bad_from.get_or_insert(cursor.block);
                }
                cursor.block += 1;
                self.current = Some(cursor);
                continue;
            };
            let leftover = cursor
                .generation
                .is_some_and(|generation| header.generation < generation);
            let damage = cursor
                .bad_from
                .take()
                .filter(|_| !leftover)
                .map(|from| Damage {
                    segment: cursor.segment,
                    block: from,
                    blocks: cursor.block - from,
                });
            if let Some(damage) = damage {
                self.current = Some(cursor);
                return Some(Err(damage));
            }
            cursor.block = header.end_block();
            if leftover {
                self.current = Some(cursor);
                continue;
            }
            cursor.generation = Some(header.generation);
            self.current = Some(cursor);
            if header.kind == Kind::Store {
                let payload =
                    BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + header.payload_bytes as usize;
                return Some(Ok((header.address(), bytes.slice(payload))));
            }
        }
    }

    /// One run of bytes, proved by its own check alone: also where the batch around it is damaged.
    pub async fn read(&mut self, address: &RecordAddress) -> Result<Bytes, ReadFault> {
        let inside = u64::from(address.batch_block) * BLOCK_BYTES as u64 + u64::from(address.at);
        let end = inside + u64::from(address.bytes);
        if address.segment.0 >= self.plan.segment_count || end > self.plan.segment_bytes {
            return Err(ReadFault::Damaged);
        }
        let from = round_down(inside as usize, BLOCK_BYTES);
        let blocks = round_up(end as usize, BLOCK_BYTES) - from;
        let at = self.plan.at(address.segment, 0) + from as u64;
        let skip = inside as usize - from;
        let bytes = self.window.read(&self.io, self.device, at, blocks).await;
        let run = &bytes.ok_or(ReadFault::Damaged)?[skip..skip + address.bytes as usize];
        if xxh3_64(run, self.volume.check_seed()) != address.check {
            return Err(ReadFault::Damaged);
        }
        Ok(Bytes::copy_from_slice(run))
    }

    async fn sort_segments(&mut self) {
        let mut first = Vec::new();
        for segment in (0..self.plan.segment_count).map(SegmentIndex) {
            let lsn = self
                .batch_at(segment, 0)
                .await
                .map_or(Lsn(u64::MAX), |(header, _)| header.lsn);
            first.push((lsn, segment));
        }
        first.sort();
        self.order = first.into_iter().map(|(_, segment)| segment).collect();
    }

    /// The whole batch that begins at this block, if one does.
    async fn batch_at(&mut self, segment: SegmentIndex, block: u32) -> Option<(Header, Bytes)> {
        let at = self.plan.at(segment, block);
        let head = self
            .window
            .read(&self.io, self.device, at, BATCH_HEADER_BYTES)
            .await?;
        let header = Header::decode_anywhere(head, self.volume)?;
        let here = header.segment == segment && header.block == block;
        if !here || header.end_block() > self.plan.segment_blocks() {
            return None;
        }
        let bytes = header.blocks() as usize * BLOCK_BYTES;
        let whole = self.window.read(&self.io, self.device, at, bytes).await?;
        header
            .proves(whole, self.volume)
            .then(|| Bytes::copy_from_slice(whole))
            .map(|bytes| (header, bytes))
    }
}

impl Window {
    /// `bytes` bytes at `at`, reading ahead. Unreadable blocks come back as zeroes; `None` past the device's end or when
    /// it does not answer any more.
    async fn read(&mut self, io: &Io, device: DeviceIndex, at: u64, bytes: usize) -> Option<&[u8]> {
        let end = at.checked_add(bytes as u64)?;
        if at < self.at || end > self.at + self.bytes.len() as u64 {
            let capacity = io.device.geometry(device).capacity_bytes;
            if end > capacity {
                return None;
            }
            let span = ((2 * STREAM_READ_BYTES) as u64).min(capacity - at) as usize;
            (self.at, self.bytes) = (at, read_past_damage(io, device, at, span).await?);
        }
        let from = (at - self.at) as usize;
        self.bytes.get(from..from + bytes)
    }
}

/// Reads a span, block by block where it fails.
async fn read_past_damage(io: &Io, device: DeviceIndex, at: u64, span: usize) -> Option<Vec<u8>> {
    match read(io, device, at, span, ORPHAN_DEADLINE_US).await {
        Ok(buffer) => return Some(buffer[..span].to_vec()),
        Err(IoFault::Gone) => return None,
        Err(_) => {}
    }
    let mut bytes = vec![0; span];
    for (index, block) in bytes.chunks_mut(BLOCK_BYTES).enumerate() {
        if let Ok(buffer) = read(
            io,
            device,
            at + (index * BLOCK_BYTES) as u64,
            BLOCK_BYTES,
            ORPHAN_DEADLINE_US,
        )
        .await
        {
            block.copy_from_slice(&buffer[..BLOCK_BYTES]);
        }
    }
    Some(bytes)
}

/// Volume and layout from the batches alone: each names its segment and block, so two places give the segment size.
async fn guess(
    io: &Io,
    device: DeviceIndex,
    (segments_at, segments_end): (u64, u64),
    window: &mut Window,
) -> Option<(VolumeId, Plan)> {
    let mut volume = None;
    let end = segments_end.min(segments_at + ORPHAN_SEARCH_BYTES_MAX);
    for at in (segments_at..end).step_by(BLOCK_BYTES) {
        let head = window.read(io, device, at, BATCH_HEADER_BYTES).await?;
        let Some((id, header)) = Header::decode_any_volume(head) else {
            continue;
        };
        volume = Some(id);
        let before = at - segments_at - u64::from(header.block) * BLOCK_BYTES as u64;
        if let Some(segment_bytes) = before.checked_div(u64::from(header.segment.0)) {
            let segment_count =
                u32::try_from((segments_end - segments_at) / segment_bytes.max(1)).ok()?;
            return Some((
                id,
                Plan {
                    segments_at,
                    segment_bytes,
                    segment_count,
                },
            ));
        }
    }
    // Only the first segment was ever written.
    let plan = Plan {
        segments_at,
        segment_bytes: segments_end - segments_at,
        segment_count: 1,
    };
    volume.map(|volume| (volume, plan))
}
