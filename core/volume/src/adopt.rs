//! The witness was lost (a wiped state partition): what the legs themselves prove of their volume (DESIGN.md B8).
//!
//! The member table of the newest superblock says which legs count. When every one of them is here, no other set can
//! have acknowledged anything: a set without one of them would have recorded itself on the legs that stayed before its
//! first acknowledgement. So the record can be made again. When one is missing nothing is known, and nothing is guessed.

use device::{DeviceIndex, Io};

use crate::Settings;
use crate::leg::{Probe, probe};
use crate::superblock::Quorum;
use crate::types::{LegId, LegState, OpenRefusal, VolumeId, Witness, WitnessRecord, misfit};

/// The adopted volume; `None` when no device is a leg.
pub(crate) async fn adopt(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
    witness: &dyn Witness,
) -> Result<Option<VolumeId>, OpenRefusal> {
    let mut legs: Vec<Box<Quorum>> = Vec::new();
    let mut others = Vec::new();
    for &device in devices {
        match probe(io, device, settings.hard_deadline_us).await {
            Probe::Leg(quorum, _) => legs.push(quorum),
            Probe::Blank(_) => {}
            Probe::Unusable(why) => others.push(why),
        }
    }
    let Some(newest) = legs
        .iter()
        .max_by_key(|leg| (leg.superblock.epoch, leg.superblock.seq))
    else {
        return Ok(None);
    };
    let volume = newest.superblock.volume;
    if let Some(other) = legs.iter().find(|leg| leg.superblock.volume != volume) {
        return misfit(format!(
            "the devices are legs of volumes {volume} and {}, and no record says which one is meant: name only one \
             volume's",
            other.superblock.volume
        ));
    }
    let counting = newest
        .superblock
        .members
        .iter()
        .filter(|member| member.state == LegState::InSync);
    let in_sync: Vec<LegId> = counting.map(|member| member.id).collect();
    let missing: Vec<String> = in_sync
        .iter()
        .filter(|id| !legs.iter().any(|leg| leg.leg == **id))
        .map(LegId::to_string)
        .collect();
    if in_sync.is_empty() || !missing.is_empty() {
        return misfit(format!(
            "the record of volume {volume} is lost, and without leg {} it is unknown what was acknowledged since: reconnect the leg, restore the state directory, or export the mail with `ringpostctl salvage`. {}",
            missing.join(" and "),
            others.join("; ")
        ));
    }
    let counted = legs.iter().filter(|leg| in_sync.contains(&leg.leg));
    let record = WitnessRecord {
        volume,
        epoch: newest.superblock.epoch,
        term: legs
            .iter()
            .map(|leg| leg.superblock.term)
            .max()
            .expect("the newest is among them"),
        // What every one of them knows; more is not proved.
        opened: counted.map(|leg| leg.superblock.term).min().unwrap_or(0),
        in_sync,
    };
    match witness.replace(None, &record) {
        Ok(()) => Ok(Some(volume)),
        Err(fault) => misfit(format!("volume {volume} could not be recorded: {fault}")),
    }
}
