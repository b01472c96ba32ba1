//! What a volume needs without a request: a watch for legs that leave or come back, and a slow scrub.

use std::cell::Cell;
use std::rc::Rc;

use base::Host;
use base::host::sleep_us;
use volume::{LegReport, LegState, ScrubState, Volume};

/// How often the legs are looked at. An ejection shows in the log within this; mail never waits for it.
pub const LOOK_US: u64 = 1_000_000;
/// Every live byte of every leg is read this often (DESIGN.md B7): rot is found while the other copy is still good. Counted from the end
/// of the last whole scrub, which is kept on the legs.
pub const SCRUB_EVERY_S: i64 = 7 * 24 * 3_600;
/// A scrub that is due, or that a restart interrupted, begins this long after a start: mail comes first.
pub const SCRUB_AFTER_START_US: u64 = 600_000_000;
/// A date so far in the future is a clock that was wrong.
const CLOCK_SLACK_S: i64 = 24 * 3_600;

/// Runs on the owner's thread until the thread ends. `legs_planned`: how many legs the operator wants.
pub async fn run(host: Rc<dyn Host>, volume: Volume, legs_planned: usize) {
    let mut before = volume.legs();
    let scrubbing = Rc::new(Cell::new(false));
    let first_scrub = host.now().after_us(SCRUB_AFTER_START_US);
    loop {
        // until the thread ends
        sleep_us(&*host, LOOK_US).await;
        let now = volume.legs();
        tell(&before, &now);
        before = now;
        retire_replaced(&volume, legs_planned).await;
        let due = scrub_is_due(&volume.scrub_state(), host.unix_seconds());
        if due && host.now() >= first_scrub && !scrubbing.get() {
            // Beside this loop: it takes hours, and a leg that leaves meanwhile is reported.
            scrubbing.set(true);
            let (volume, scrubbing) = (volume.clone(), scrubbing.clone());
            let host_of_scrub = host.clone();
            host.spawn(Box::pin(async move {
                scrub(&volume).await;
                // One that could not read everything goes on a while later.
                sleep_us(&*host_of_scrub, SCRUB_AFTER_START_US).await;
                scrubbing.set(false);
            }));
        }
    }
}

/// Never scrubbed, interrupted, or a week ago.
pub fn scrub_is_due(state: &ScrubState, now: i64) -> bool {
    let future = state.ended > now.saturating_add(CLOCK_SLACK_S);
    state.began != 0 || future || now >= state.ended.saturating_add(SCRUB_EVERY_S)
}

/// Absent members that others stand in for: as many legs are in sync as are wanted, so the volume no longer waits for them.
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
    let report = volume.scrub_on().await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrub_is_due_a_week_after_the_last_one_ended_and_after_an_interruption() {
        let (day, now) = (24 * 3_600, 1_800_000_000);
        let ended = |ended| ScrubState {
            ended,
            ..ScrubState::default()
        };
        assert!(scrub_is_due(&ended(0), now), "never");
        assert!(!scrub_is_due(&ended(now - 6 * day), now));
        assert!(scrub_is_due(&ended(now - 7 * day), now));
        assert!(!scrub_is_due(&ended(now + 3_600), now), "a clock put right");
        assert!(scrub_is_due(&ended(now + 2 * day), now), "a wrong clock");
        let interrupted = ScrubState {
            began: now - day,
            ..ended(now - 8 * day)
        };
        assert!(scrub_is_due(&interrupted, now));
    }
}
