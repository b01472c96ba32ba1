//! The volume as administration sees it. All of it runs on the storage thread.

use ::admin::reply::{ScrubLine, Scrubbed, VolumeDetail, VolumeLine};
use ::admin::request::Request;
use mailbox::Mailboxes;
use serde_json::Value;
use volume::{ScrubReport, SegmentState, Volume};

use crate::admin::shared::{Admin, Refused, document, volume_of};
use crate::admin::{damage, legs};

/// Performs a request about volumes.
pub(crate) async fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::VolumeList => {
            let line = admin.ask(async |mailboxes| line(&mailboxes));
            document(&[line.await?])
        }
        Request::VolumeShow => {
            let detail = admin.ask(async |mailboxes| detail(&mailboxes));
            document(&detail.await?)
        }
        Request::VolumeAcceptDamage { yes } => document(&damage::accept(admin, yes).await?),
        Request::VolumeScrub => {
            let report = admin.ask(async |mailboxes| volume_of(&mailboxes).scrub().await);
            document(&scrubbed(&report.await?))
        }
        _ => Err("not about volumes".into()),
    }
}

/// Of the last scrub, which may be one of an earlier start: its times are in the superblock.
pub(crate) fn scrub_line(volume: &Volume) -> ScrubLine {
    let state = volume.scrub_state();
    ScrubLine {
        ended_unix_s: state.ended,
        began_unix_s: state.began,
        done_bytes: state.done_bytes,
        all_bytes: state.all_bytes,
    }
}

fn line(mailboxes: &Mailboxes) -> VolumeLine {
    line_of(volume_of(mailboxes))
}

/// One volume: the mail's or the spool's.
pub(crate) fn line_of(volume: &Volume) -> VolumeLine {
    let lines = legs::lines(volume);
    let in_sync = lines.iter().filter(|leg| leg.state == "in_sync").count();
    let segments = volume.segments();
    let free = segments
        .iter()
        .filter(|segment| segment.state == SegmentState::Free)
        .count();
    // What it refuses counts more than what it lacks: a degraded volume takes mail.
    let state = match (volume.refuses(), in_sync == lines.len()) {
        (Some(why), _) => format!("refuses ({why})"),
        (None, true) => "in_sync".into(),
        (None, false) => "degraded".into(),
    };
    VolumeLine {
        id: volume.id().to_string(),
        state,
        legs: lines.len(),
        legs_in_sync: in_sync,
        segments: segments.len(),
        segments_free: free,
    }
}

fn detail(mailboxes: &Mailboxes) -> VolumeDetail {
    let volume = volume_of(mailboxes);
    let segments = volume.segments();
    let count = |state| {
        segments
            .iter()
            .filter(|segment| segment.state == state)
            .count()
    };
    let counters = volume.counters();
    VolumeDetail {
        volume: line(mailboxes),
        legs: legs::lines(volume),
        segments_open: count(SegmentState::Open),
        segments_sealed: count(SegmentState::Sealed),
        segments_arena: count(SegmentState::Arena),
        used_bytes: segments.iter().map(|segment| segment.used_bytes).sum(),
        checkpoint_lsn: volume.checkpoint().lsn.0,
        since_checkpoint_bytes: mailboxes.store().since_checkpoint().bytes,
        batches: counters.batches,
        device_writes: counters.device_writes,
        bytes_written: counters.bytes_written,
        damaged_batches: volume.damage().len(),
    }
}

/// What a scrub came to.
pub(crate) fn scrubbed(report: &ScrubReport) -> Scrubbed {
    Scrubbed {
        bytes_read: report.bytes_read,
        repaired: report.repaired,
        damaged_batches: report.damaged.len(),
    }
}
