//! What a volume needs while nobody asks: somebody who notices that a leg left or came back, and a slow scrub.

use std::rc::Rc;

use base::Host;
use base::host::sleep_us;
use volume::{LegReport, LegState, Volume};

/// How often the legs are looked at. An ejection shows in the log within this; mail never waits for it.
pub const LOOK_US: u64 = 1_000_000;
/// Every live byte of every leg is read this often (storage.md B7): rot is found while the other copy is still good.
pub const SCRUB_EVERY_US: u64 = 7 * 24 * 3_600 * 1_000_000;

/// Runs on the owner's thread until the thread ends. `legs_planned`: how many legs the operator wants.
pub async fn run(host: Rc<dyn Host>, volume: Volume, legs_planned: usize) {
    let mut before = volume.legs();
    let mut scrub_at = host.now().after_us(SCRUB_EVERY_US);
    loop {
        // until the thread ends
        sleep_us(&*host, LOOK_US).await;
        let now = volume.legs();
        tell(&before, &now);
        before = now;
        retire_replaced(&volume, legs_planned).await;
        if host.now() >= scrub_at {
            scrub(&volume).await;
            scrub_at = host.now().after_us(SCRUB_EVERY_US);
        }
    }
}

/// Absent members that others stand in for: as many legs are in sync as are wanted, so nobody waits for them any more.
pub async fn retire_replaced(volume: &Volume, legs_planned: usize) {
    let legs = volume.legs();
    if legs
        .iter()
        .filter(|leg| leg.state == LegState::InSync)
        .count()
        < legs_planned
    {
        return;
    }
    let absent = |leg: &&LegReport| {
        leg.device.is_none() && !matches!(leg.state, LegState::InSync | LegState::Retired)
    };
    for leg in legs.iter().filter(absent) {
        if let Err(fault) = volume.retire(leg.index).await {
            tracing::warn!(leg = leg.index.0, %fault, "a replaced leg cannot be retired yet");
        }
    }
}

fn tell(before: &[LegReport], now: &[LegReport]) {
    for leg in now {
        let old = before
            .iter()
            .find(|old| old.id == leg.id)
            .map(|old| old.state);
        if old == Some(leg.state) {
            continue;
        }
        let why = leg.why.as_deref().unwrap_or("");
        match leg.state {
            LegState::InSync => tracing::info!(leg = leg.index.0, id = %leg.id, "leg is in sync"),
            LegState::Failed | LegState::Stale => {
                tracing::error!(leg = leg.index.0, id = %leg.id, state = ?leg.state, why, "leg left the mirror; mail goes on with the rest");
            }
            _ => tracing::info!(leg = leg.index.0, id = %leg.id, state = ?leg.state, "leg changed"),
        }
    }
}

async fn scrub(volume: &Volume) {
    let report = volume.scrub().await;
    if report.damaged.is_empty() {
        tracing::info!(
            bytes = report.bytes_read,
            repaired = report.repaired,
            "scrub found nothing that could not be repaired"
        );
    } else {
        tracing::error!(
            damaged = report.damaged.len(),
            repaired = report.repaired,
            "scrub found batches that are bad on every leg"
        );
    }
}
