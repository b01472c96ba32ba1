//! One device looked at from outside: is it a leg, whose, or blank, or something that must not be touched?
//!
//! EIO is never "blank" (I12): a device whose rings cannot be read is reported, not formatted.

use std::sync::Arc;

use base::hash::xxh3_64;
use device::{BLOCK_BYTES, Buffer, DeviceIndex, Io, IoFault, Op};

use crate::gate::within;
use crate::layout::{Frame, GUARD_AT, RING_BYTES, RING_SLOTS, frame};
use crate::superblock::{Quorum, Slot, SlotContent, decode_slot, quorum};
use crate::types::{LegId, VolumeId};

/// What a device turned out to be.
#[derive(Debug)]
pub(crate) enum Probe {
    Leg(Box<Quorum>, Frame),
    /// Only zeroes where a leg, a file system or a partition table would show.
    Blank(Frame),
    /// One sentence: why it cannot be used, and what to do.
    Unusable(String),
}

/// How much of each end must be zero for a device to count as blank.
const BLANK_BYTES: u64 = 4 << 20;

/// Reads the rings of `device`. Never writes.
pub(crate) async fn probe(io: &Io, device: DeviceIndex, deadline_us: u64) -> Probe {
    let geometry = io.device.geometry(device);
    let name = geometry.stable_id.clone();
    let Some(frame) = frame(geometry.capacity_bytes) else {
        return Probe::Unusable(format!(
            "device {name} is too small for a leg; give it at least 2 MiB"
        ));
    };
    let Found {
        slots,
        unreadable,
        newer,
        silent,
    } = slots(io, device, &frame, deadline_us).await;
    if silent {
        return Probe::Unusable(format!(
            "device {name} does not answer; check its cable, or replace it"
        ));
    }
    if newer {
        return Probe::Unusable(format!(
            "device {name} is a leg written by a newer release; start that release"
        ));
    }
    match quorum(&slots) {
        Err(why) => Probe::Unusable(format!(
            "device {name} contradicts itself: {why}; take it out and attach a blank device in its place"
        )),
        Ok(Some(quorum)) => Probe::Leg(Box::new(quorum), frame),
        Ok(None) if unreadable > 0 => Probe::Unusable(format!(
            "device {name} does not let its superblocks be read ({unreadable} slots failed); replace it"
        )),
        Ok(None) if !slots.is_empty() => Probe::Unusable(format!(
            "device {name} has superblocks of a leg, but no two of them agree; attach a blank device in its place"
        )),
        Ok(None) => match is_blank(io, device, geometry.capacity_bytes, deadline_us).await {
            Ok(true) => Probe::Blank(frame),
            Ok(false) => Probe::Unusable(format!(
                "device {name} holds something that is not a Ringpost leg; if it may be lost, blank it first \
                 (blkdiscard -z, or a fresh file)"
            )),
            Err(fault) => Probe::Unusable(format!(
                "device {name} cannot be read ({fault}); replace it"
            )),
        },
    }
}

/// What stands in the rings of one device.
#[derive(Default)]
pub(crate) struct Found {
    pub slots: Vec<Slot>,
    unreadable: usize,
    newer: bool,
    silent: bool,
}

/// Reads all four rings, slot by slot where a ring does not read at once.
pub(crate) async fn slots(io: &Io, device: DeviceIndex, frame: &Frame, deadline_us: u64) -> Found {
    let mut found = Found::default();
    for (copy, ring) in frame.rings.into_iter().enumerate() {
        if let Ok(buffer) = read(io, device, ring, RING_BYTES as usize, deadline_us).await {
            for (slot, bytes) in buffer[..RING_BYTES as usize]
                .chunks(BLOCK_BYTES)
                .enumerate()
            {
                found.note(decode_slot(bytes, copy, ring + (slot * BLOCK_BYTES) as u64));
            }
            continue;
        }
        for slot in 0..RING_SLOTS {
            let at = ring + slot * BLOCK_BYTES as u64;
            match read(io, device, at, BLOCK_BYTES, deadline_us).await {
                Ok(buffer) => found.note(decode_slot(&buffer[..BLOCK_BYTES], copy, at)),
                Err(IoFault::Gone) => {
                    return Found {
                        silent: true,
                        ..found
                    };
                }
                Err(_) => found.unreadable += 1,
            }
        }
    }
    found
}

impl Found {
    fn note(&mut self, content: SlotContent) {
        match content {
            SlotContent::Valid(slot) => self.slots.push(*slot),
            SlotContent::Newer => self.newer = true,
            SlotContent::Other => {}
        }
    }
}

async fn is_blank(
    io: &Io,
    device: DeviceIndex,
    capacity: u64,
    deadline_us: u64,
) -> Result<bool, IoFault> {
    let span = BLANK_BYTES.min(capacity / 2 / BLOCK_BYTES as u64 * BLOCK_BYTES as u64);
    for from in [0, capacity - span] {
        let mut at = from;
        while at < from + span {
            let bytes = (from + span - at).min(1 << 20) as usize;
            let buffer = read(io, device, at, bytes, deadline_us).await?;
            if buffer[..bytes].iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            at += bytes as u64;
        }
    }
    Ok(true)
}

pub(crate) async fn read(
    io: &Io,
    device: DeviceIndex,
    at: u64,
    bytes: usize,
    deadline_us: u64,
) -> Result<Buffer, IoFault> {
    let pending = io.device.start(
        device,
        Op::Read {
            at,
            into: Buffer::zeroed(bytes),
            bytes,
        },
    );
    let completion = within(&*io.host, deadline_us, pending)
        .await
        .ok_or(IoFault::Gone)?;
    completion.result?;
    completion.buffer.ok_or(IoFault::Medium)
}

pub(crate) async fn write(
    io: &Io,
    device: DeviceIndex,
    at: u64,
    data: Buffer,
    deadline_us: u64,
) -> Result<(), IoFault> {
    let range = 0..data.len();
    let op = Op::Write {
        at,
        data: Arc::new(data),
        range,
        durable: true,
    };
    let pending = io.device.start(device, op);
    within(&*io.host, deadline_us, pending)
        .await
        .ok_or(IoFault::Gone)?
        .result
}

/// The guard page: text for the human who looks at the disk.
pub(crate) fn guard(volume: VolumeId, leg: LegId) -> Buffer {
    let mut guard = Buffer::zeroed(BLOCK_BYTES);
    let text = format!("Ringpost leg {leg} of volume {volume}, do not format\n");
    guard[..text.len()].copy_from_slice(text.as_bytes());
    guard
}

/// The guard page, and zeroes over whatever the rings held before.
pub(crate) async fn clear(
    io: &Io,
    device: DeviceIndex,
    frame: &Frame,
    volume: VolumeId,
    leg: LegId,
    deadline_us: u64,
) -> Result<(), IoFault> {
    write(io, device, GUARD_AT, guard(volume, leg), deadline_us).await?;
    for ring in frame.rings {
        write(
            io,
            device,
            ring,
            Buffer::zeroed(RING_BYTES as usize),
            deadline_us,
        )
        .await?;
    }
    Ok(())
}

/// The device's own stable name as the member table keeps it.
pub(crate) fn wwid(io: &Io, device: DeviceIndex) -> u64 {
    xxh3_64(io.device.geometry(device).stable_id.as_bytes(), 0)
}
