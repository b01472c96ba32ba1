//! One device looked at from outside: is it a leg, whose, or blank, or something that must not be touched?
//!
//! EIO is never "blank" (I12): a device whose rings cannot be read is reported, not formatted.

use std::sync::Arc;

use base::hash::xxh3_64;
use device::{BLOCK_BYTES, Buffer, DeviceIndex, Io, IoFault, Op};

use crate::format::FORMAT_MAJOR;
use crate::gate::within;
use crate::layout::{Frame, GUARD_AT, RING_BYTES, RING_SLOTS, frame};
use crate::superblock::{Foreign, Quorum, Slot, SlotContent, decode_slot, quorum};
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

/// How much of each end must be zero for a device to count as blank: frames, file systems and partition tables show there.
const BLANK_BYTES: u64 = 4 << 20;
/// Blocks in between that must be zero as well, at most. A disk whose ends alone were wiped may hold mail that can be rescued.
const BLANK_SAMPLES_MAX: u64 = 256;
/// The smallest unit that any device writes whole.
const SECTOR_BYTES: usize = 512;

/// Reads the rings of `device`. Never writes.
pub(crate) async fn probe(io: &Io, device: DeviceIndex, deadline_us: u64) -> Probe {
    let geometry = io.device.geometry(device);
    let name = geometry.stable_id.clone();
    let Some(frame) = frame(geometry.capacity_bytes) else {
        return Probe::Unusable(too_small(&name));
    };
    let Found {
        slots,
        unreadable,
        foreign,
        silent,
    } = slots(io, device, &frame, deadline_us).await;
    if silent {
        return Probe::Unusable(format!(
            "device {name} does not answer; check its cable, or replace it"
        ));
    }
    match foreign {
        Some(Foreign::Newer) => {
            return Probe::Unusable(format!(
                "device {name} is a leg written by a newer release; start that release"
            ));
        }
        Some(Foreign::Older(major)) => {
            return Probe::Unusable(format!(
                "device {name} is a leg of format {major}, which only development versions of Ringpost wrote; this release reads                  format {FORMAT_MAJOR}: copy the mail out with the version that wrote it (`ringpostctl salvage`), then blank the device"
            ));
        }
        None => {}
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
        Ok(None) => match holds_only(io, device, deadline_us, &[]).await {
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
    foreign: Option<Foreign>,
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
            SlotContent::Foreign(format) => self.foreign = Some(format),
            SlotContent::Other => {}
        }
    }
}

pub(crate) fn too_small(name: &str) -> String {
    format!("device {name} is too small for a leg; give it at least 2 MiB")
}

/// Where blocks between the ends are looked at: evenly, and where segments may begin.
pub fn blank_samples(capacity: u64) -> impl Iterator<Item = u64> {
    let between = capacity.saturating_sub(2 * BLANK_BYTES);
    let stride = between
        .div_ceil(BLANK_SAMPLES_MAX)
        .next_multiple_of(BLANK_BYTES)
        .max(BLANK_BYTES);
    let end = capacity.saturating_sub(BLANK_BYTES);
    (BLANK_BYTES..end).step_by(stride as usize)
}

/// Whether both ends of `device` (`BLANK_BYTES` each) and the samples between them are zero, except that each sector of `pages` may also be what is given.
/// A page that was torn on its way counts as that page.
pub(crate) async fn holds_only(
    io: &Io,
    device: DeviceIndex,
    deadline_us: u64,
    pages: &[(u64, Buffer)],
) -> Result<bool, IoFault> {
    let capacity = io.device.geometry(device).capacity_bytes;
    let span = BLANK_BYTES.min(capacity / 2 / BLOCK_BYTES as u64 * BLOCK_BYTES as u64);
    for from in [0, capacity - span] {
        let mut at = from;
        while at < from + span {
            let bytes = (from + span - at).min(1 << 20) as usize;
            let buffer = read(io, device, at, bytes, deadline_us).await?;
            for (index, block) in buffer[..bytes].chunks(BLOCK_BYTES).enumerate() {
                let block_at = at + (index * BLOCK_BYTES) as u64;
                let page = pages.iter().find(|(page_at, _)| *page_at == block_at);
                if !is_zero_or(block, page.map(|(_, page)| &page[..])) {
                    return Ok(false);
                }
            }
            at += bytes as u64;
        }
    }
    for at in blank_samples(capacity) {
        let buffer = read(io, device, at, BLOCK_BYTES, deadline_us).await?;
        if !is_zero_or(&buffer[..BLOCK_BYTES], None) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// By sectors: what a device stores whole.
fn is_zero_or(block: &[u8], page: Option<&[u8]>) -> bool {
    if block.chunks(SECTOR_BYTES).all(is_zero) {
        return true;
    }
    let Some(page) = page else { return false };
    block
        .chunks(SECTOR_BYTES)
        .zip(page.chunks(SECTOR_BYTES))
        .all(|(sector, written)| is_zero(sector) || sector == written)
}

/// Without a way out at each byte: so the compiler makes it wide, and an opening looks through megabytes of it.
fn is_zero(sector: &[u8]) -> bool {
    sector.iter().fold(0, |all, &byte| all | byte) == 0
}

/// One read. No answer within the deadline is `Gone`: what is there is unknown, not absent (I12).
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

/// One durable write. After `Gone` it may still land: the buffer stays with the device until it answers.
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

/// Text for the human who looks at the disk.
pub(crate) fn guard_page(volume: VolumeId, leg: LegId) -> Buffer {
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
    write(io, device, GUARD_AT, guard_page(volume, leg), deadline_us).await?;
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
