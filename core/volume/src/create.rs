//! Making a volume on blank legs (DESIGN.md A1).

use device::{BLOCK_BYTES, Buffer, DeviceIndex, Io};

use crate::layout::{self, Frame, GUARD_AT, Plan};
use crate::leg::{self, Probe, clear, guard_page, holds_only, probe, write, wwid};
use crate::limits::{CLAIMS_OF_OPENING, LEGS_MAX, RESERVE_SEGMENTS_MIN, SEGMENTS_MAX};
use crate::segment::Table;
use crate::superblock::{ClaimEntry, Member, Superblock, slot_offset};
use crate::types::*;
use crate::{BATCH_HEADER_BYTES, Settings};

/// Of the superblock that `create` writes; the first opening writes the next one before it takes anything.
const FIRST_SEQ: u64 = 1;

/// The fewest segments a volume can work with: the reserve, the open one, claims ahead and something to store in.
const SEGMENTS_MIN: u64 = RESERVE_SEGMENTS_MIN as u64 + 3;

/// What `create` writes: the same for the same devices, settings and seed.
/// Worked out before the first write: what does not fit is refused while every device is still as it was. That it is the same each time is what
/// lets a first boot that was cut off go on (`settings.format_over`).
struct Draft {
    frames: Vec<Frame>,
    superblock: Superblock,
}

/// The record of the witness comes last: until it is there no opening trusts these legs, so a creation that was cut off leaves devices that
/// look formatted and are not a volume.
pub(crate) async fn create(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
    witness: &dyn Witness,
    seed: u64,
) -> Result<VolumeId, OpenRefusal> {
    let Draft { frames, superblock } = checked(io, devices, settings, seed).await?;
    for ((&device, frame), member) in devices.iter().zip(&frames).zip(&superblock.members) {
        let formatted = format_leg(
            io,
            device,
            frame,
            &superblock,
            member.id,
            settings.hard_deadline_us,
        )
        .await;
        if let Err(fault) = formatted {
            let name = io.device.geometry(device).stable_id;
            return misfit(format!(
                "device {name} could not be formatted: {fault}; replace it"
            ));
        }
    }
    let volume = superblock.volume;
    let record = WitnessRecord {
        volume,
        epoch: superblock.epoch,
        term: superblock.term,
        opened: 0,
        in_sync: superblock.members.iter().map(|member| member.id).collect(),
    };
    match witness.replace(None, &record) {
        Ok(()) => Ok(volume),
        Err(fault) => misfit(format!("the new volume could not be recorded: {fault}")),
    }
}

/// Whether `create` with these arguments would find nothing on the devices that it must not write over. Reads only.
pub(crate) async fn check_blank(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
    seed: u64,
) -> Result<(), OpenRefusal> {
    checked(io, devices, settings, seed).await.map(|_| ())
}

/// The draft, once every device was seen to be blank; with `settings.format_over` a device may also hold what an earlier
/// `create` with the same arguments wrote, byte for byte, and nothing else. Anything else is refused: what cannot be
/// read, too, and a volume that was ever opened.
async fn checked(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
    seed: u64,
) -> Result<Draft, OpenRefusal> {
    let draft = draft(io, devices, settings, seed)?;
    let deadline_us = settings.hard_deadline_us;
    for ((&device, frame), member) in devices
        .iter()
        .zip(&draft.frames)
        .zip(&draft.superblock.members)
    {
        // A device that cannot be read is not blank. Formatting it would be the one way to lose mail that no mirror helps against.
        let found = probe(io, device, deadline_us).await;
        if matches!(found, Probe::Blank(_)) {
            continue;
        }
        let pages = pages(frame, &draft.superblock, member.id);
        if settings.format_over && holds_only(io, device, deadline_us, &pages).await == Ok(true) {
            continue;
        }
        match found {
            Probe::Leg(quorum, _) => {
                return misfit(format!(
                    "device {} is already a leg of volume {}; nothing was written",
                    io.device.geometry(device).stable_id,
                    quorum.superblock.volume
                ));
            }
            Probe::Unusable(why) => return misfit(why),
            Probe::Blank(_) => {}
        }
    }
    Ok(draft)
}

fn draft(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
    seed: u64,
) -> Result<Draft, OpenRefusal> {
    if devices.is_empty() || devices.len() > LEGS_MAX {
        return misfit(format!(
            "a volume has one to {LEGS_MAX} legs, not {}",
            devices.len()
        ));
    }
    let block = BLOCK_BYTES as u64;
    if !settings.segment_bytes.is_multiple_of(block)
        || settings.segment_bytes < 4 * BATCH_HEADER_BYTES as u64
    {
        return misfit("segment_bytes must be a multiple of 4096 and at least 16384");
    }
    let mut frames = Vec::new();
    for &device in devices {
        let geometry = io.device.geometry(device);
        let Some(frame) = layout::frame(geometry.capacity_bytes) else {
            return misfit(leg::too_small(&geometry.stable_id));
        };
        frames.push(frame);
    }
    let count = frames
        .iter()
        .map(|frame| frame.segments(settings.segment_bytes))
        .min()
        .unwrap_or(0);
    if count < SEGMENTS_MIN {
        return misfit(format!(
            "the smallest device has room for {count} segments of {} bytes; at least {SEGMENTS_MIN} are needed: give \
             larger devices or smaller segments",
            settings.segment_bytes
        ));
    }
    // The segments must begin at one place on all legs, because an address in the log has no leg in it.
    if frames
        .iter()
        .any(|frame| frame.segments_at != frames[0].segments_at)
    {
        return misfit("the sizes of the devices differ too much: use devices of one size");
    }
    let plan = Plan {
        segments_at: frames[0].segments_at,
        segment_bytes: settings.segment_bytes,
        // By the smallest device: a larger one has room behind the last segment that is never used.
        segment_count: count.min(SEGMENTS_MAX as u64) as u32,
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let volume = VolumeId(random_id(&mut random));
    let mut table = Table::new(plan.segment_count);
    let mut claims = Vec::new();
    // The first opening writes into segments that are claimed already, as every later one does.
    for _ in 0..CLAIMS_OF_OPENING {
        let (segment, generation) = table.claim(Lsn(0), Lsn(0)).expect("SEGMENTS_MIN are free");
        claims.push(ClaimEntry {
            segment,
            generation,
        });
    }
    let members: Vec<Member> = devices
        .iter()
        .map(|&device| Member {
            id: LegId(random_id(&mut random)),
            state: LegState::InSync,
            stale_since: Lsn(0),
            wwid: wwid(io, device),
        })
        .collect();
    let superblock = Superblock {
        volume,
        seq: FIRST_SEQ,
        parent: 0,
        epoch: 1,
        term: 0,
        plan,
        // Nothing was ever acknowledged here, so that there is no end of the log to look for.
        clean: true,
        acked: Lsn(0),
        members,
        checkpoint: Lsn(0),
        start: None,
        table: Vec::new(),
        table_lsn: Lsn(0),
        table_chain: 0,
        claims,
        note: Vec::new(),
        scrub: ScrubState::default(),
    };
    Ok(Draft { frames, superblock })
}

/// Every page that formatting a leg leaves there; the rest of its ends is zero.
fn pages(frame: &Frame, superblock: &Superblock, leg: LegId) -> Vec<(u64, Buffer)> {
    let mut pages = vec![(GUARD_AT, guard_page(superblock.volume, leg))];
    for (copy, ring) in frame.rings.into_iter().enumerate() {
        pages.push(slot_page(superblock, leg, copy, ring));
    }
    pages
}

fn slot_page(superblock: &Superblock, leg: LegId, copy: usize, ring: u64) -> (u64, Buffer) {
    let at = ring + slot_offset(superblock.seq);
    let mut buffer = Buffer::zeroed(BLOCK_BYTES);
    superblock.encode_slot(leg, copy, at, &mut buffer);
    (at, buffer)
}

/// Guard page, cleared rings, then all four copies of `superblock`.
pub(crate) async fn format_leg(
    io: &Io,
    device: DeviceIndex,
    frame: &Frame,
    superblock: &Superblock,
    leg: LegId,
    deadline_us: u64,
) -> Result<(), device::IoFault> {
    // The rings are empty before the first superblock is written: what a disk had in these places could otherwise be taken for one of a
    // higher number.
    clear(io, device, frame, superblock.volume, leg, deadline_us).await?;
    for (copy, ring) in frame.rings.into_iter().enumerate() {
        let (at, page) = slot_page(superblock, leg, copy, ring);
        write(io, device, at, page, deadline_us).await?;
    }
    Ok(())
}

pub(crate) fn random_id(random: &mut fastrand::Rng) -> [u8; 16] {
    uuid::Builder::from_random_bytes(random.u128(..).to_le_bytes())
        .into_uuid()
        .into_bytes()
}
