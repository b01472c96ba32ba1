//! Making a volume on blank legs (storage.md A1).

use device::{BLOCK_BYTES, Buffer, DeviceIndex, Io};

use crate::layout::{Frame, Plan};
use crate::leg::{Probe, clear, probe, write, wwid};
use crate::limits::{CLAIMS_OF_OPENING, LEGS_MAX, RESERVE_SEGMENTS_MIN, SEGMENTS_MAX};
use crate::segment::Table;
use crate::superblock::{ClaimEntry, Member, Superblock, slot_offset};
use crate::types::*;
use crate::{BATCH_HEADER_BYTES, Settings};

/// Of the superblock that `create` writes; the first opening writes the next one before it takes anything.
const FIRST_SEQ: u64 = 1;

/// The fewest segments a volume can work with: the reserve, the open one, claims ahead and something to store in.
const SEGMENTS_MIN: u64 = RESERVE_SEGMENTS_MIN as u64 + 3;

pub(crate) async fn create(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
    witness: &dyn Witness,
    seed: u64,
) -> Result<VolumeId, OpenRefusal> {
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
    let mut random = fastrand::Rng::with_seed(seed);
    let volume = VolumeId(random_id(&mut random));
    let frames = frames(io, devices, settings, Some(volume)).await?;
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
    if frames
        .iter()
        .any(|frame| frame.segments_at != frames[0].segments_at)
    {
        return misfit("the devices' sizes are too unlike: use devices of one size");
    }
    let plan = Plan {
        segments_at: frames[0].segments_at,
        segment_bytes: settings.segment_bytes,
        segment_count: count.min(SEGMENTS_MAX as u64) as u32,
    };
    let mut table = Table::new(plan.segment_count);
    let mut claims = Vec::new();
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
    let in_sync = members.iter().map(|member| member.id).collect();
    let superblock = Superblock {
        volume,
        seq: FIRST_SEQ,
        parent: 0,
        epoch: 1,
        term: 0,
        plan,
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
    let record = WitnessRecord {
        volume,
        epoch: 1,
        term: 0,
        in_sync,
    };
    match witness.replace(None, &record) {
        Ok(()) => Ok(volume),
        Err(fault) => misfit(format!("the new volume could not be recorded: {fault}")),
    }
}

/// Whether `create` would find every device blank. Reads only.
pub(crate) async fn check_blank(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
) -> Result<(), OpenRefusal> {
    frames(io, devices, settings, None).await.map(|_| ())
}

/// The frames of devices that may be formatted: blank ones; with `settings.format_over` also the remains of `ours` that
/// an earlier `create` with the same seed left. A volume that was ever opened, and any other one, is never formatted over.
async fn frames(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
    ours: Option<VolumeId>,
) -> Result<Vec<Frame>, OpenRefusal> {
    let over = settings.format_over && ours.is_some();
    let mut frames: Vec<Frame> = Vec::new();
    for &device in devices {
        match probe(io, device, settings.hard_deadline_us).await {
            Probe::Blank(frame) => frames.push(frame),
            Probe::Leg(quorum, frame)
                if over
                    && Some(quorum.superblock.volume) == ours
                    && quorum.superblock.seq == FIRST_SEQ =>
            {
                frames.push(frame);
            }
            Probe::Leg(quorum, _) => {
                return misfit(format!(
                    "device {} is already a leg of volume {}; nothing was written",
                    io.device.geometry(device).stable_id,
                    quorum.superblock.volume
                ));
            }
            Probe::Unusable(why) if over => {
                let capacity = io.device.geometry(device).capacity_bytes;
                frames.push(crate::layout::frame(capacity).map_or_else(|| misfit(why), Ok)?);
            }
            Probe::Unusable(why) => return misfit(why),
        }
    }
    Ok(frames)
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
    clear(io, device, frame, superblock.volume, leg, deadline_us).await?;
    for (copy, ring) in frame.rings.into_iter().enumerate() {
        let at = ring + slot_offset(superblock.seq);
        let mut buffer = Buffer::zeroed(BLOCK_BYTES);
        superblock.encode_slot(leg, copy, at, &mut buffer);
        write(io, device, at, buffer, deadline_us).await?;
    }
    Ok(())
}

pub(crate) fn random_id(random: &mut fastrand::Rng) -> [u8; 16] {
    uuid::Builder::from_random_bytes(random.u128(..).to_le_bytes())
        .into_uuid()
        .into_bytes()
}
