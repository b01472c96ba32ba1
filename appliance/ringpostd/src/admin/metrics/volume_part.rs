//! The storage thread's part of the metrics.

use ::admin::reply::LegLine;

use super::{Text, sample_name};
use crate::admin::legs;
use crate::admin::shared::volume_of;

/// The storage thread's figures, taken together.
pub(super) struct Storage {
    legs: Vec<LegLine>,
    pub(super) taking: bool,
    scrub: volume::ScrubState,
    volume: volume::Counters,
    store: store::Counters,
    damaged: usize,
    checkpoint_lsn: u64,
    since_checkpoint: store::LogSince,
    segments: [usize; 4],
    mailbox_cache_bytes: usize,
}

pub(super) fn storage(mailboxes: &mailbox::Mailboxes) -> Storage {
    let volume = volume_of(mailboxes);
    let mut segments = [0; 4];
    for segment in volume.segments() {
        segments[segment.state as usize] += 1;
    }
    Storage {
        legs: legs::lines(volume),
        taking: volume.refuses().is_none(),
        scrub: volume.scrub_state(),
        volume: volume.counters(),
        store: mailboxes.store().counters(),
        damaged: volume.damage().len(),
        checkpoint_lsn: volume.checkpoint().lsn.0,
        since_checkpoint: mailboxes.store().since_checkpoint(),
        segments,
        mailbox_cache_bytes: mailboxes.cached_bytes(),
    }
}

pub(super) fn write_storage(text: &mut Text, storage: &Storage) {
    text.family(
        "ringpost_volume_taking",
        "gauge",
        "1: the volume takes and serves mail, by what a probe saw in the last seconds.",
    );
    text.sample("ringpost_volume_taking", "", u64::from(storage.taking));
    text.family(
        "ringpost_mailbox_cache_bytes",
        "gauge",
        "Memory of loaded mailboxes, in bytes.",
    );
    let cached = storage.mailbox_cache_bytes as u64;
    text.sample("ringpost_mailbox_cache_bytes", "", cached);
    let scrub = &storage.scrub;
    let scrubs = [
        (
            "ringpost_scrub_ended_timestamp_seconds",
            "When the last whole scrub ended, in Unix seconds; 0: never.",
            u64::try_from(scrub.ended).unwrap_or(0),
        ),
        (
            "ringpost_scrub_began_timestamp_seconds",
            "When the scrub that is under way began, in Unix seconds; 0: none is.",
            u64::try_from(scrub.began).unwrap_or(0),
        ),
        (
            "ringpost_scrub_done_bytes",
            "Bytes of the log that the scrub under way has read, of one leg.",
            scrub.done_bytes,
        ),
        (
            "ringpost_scrub_all_bytes",
            "Bytes of the log that the scrub under way is to read, of one leg.",
            scrub.all_bytes,
        ),
    ];
    for (name, help, value) in scrubs {
        text.family(name, "gauge", help);
        text.sample(name, "", value);
    }
    let volume = &storage.volume;
    let counters = [
        (
            "ringpost_commit_batches",
            "Commit batches made durable.",
            volume.batches,
        ),
        (
            "ringpost_device_writes",
            "Writes to legs.",
            volume.device_writes,
        ),
        (
            "ringpost_device_written_bytes",
            "Bytes written to legs, all together.",
            volume.bytes_written,
        ),
        (
            "ringpost_device_reads",
            "Reads from legs.",
            volume.device_reads,
        ),
        (
            "ringpost_device_read_bytes",
            "Bytes read from legs.",
            volume.bytes_read,
        ),
        (
            "ringpost_repairs",
            "Copies rewritten from a good leg.",
            volume.repairs,
        ),
        (
            "ringpost_legs_ejected",
            "Legs taken out of the mirror.",
            volume.ejected,
        ),
        (
            "ringpost_legs_resynced",
            "Legs brought back in sync.",
            volume.resynced,
        ),
    ];
    for (name, help, value) in counters {
        text.family(name, "counter", help);
        text.sample(&sample_name(name, "counter"), "", value);
    }
    write_store(text, &storage.store);
    text.family(
        "ringpost_damaged_batches",
        "gauge",
        "Batches found bad on every leg.",
    );
    text.sample("ringpost_damaged_batches", "", storage.damaged as u64);
    text.family(
        "ringpost_checkpoint_lsn",
        "gauge",
        "Recovery begins after this batch.",
    );
    text.sample("ringpost_checkpoint_lsn", "", storage.checkpoint_lsn);
    text.family(
        "ringpost_since_checkpoint_bytes",
        "gauge",
        "Log that a restart would replay.",
    );
    text.sample(
        "ringpost_since_checkpoint_bytes",
        "",
        storage.since_checkpoint.bytes,
    );
    text.family("ringpost_segments", "gauge", "Segments by state.");
    for (state, count) in ["free", "open", "sealed", "arena"]
        .iter()
        .zip(storage.segments)
    {
        text.sample(
            "ringpost_segments",
            &format!("state=\"{state}\""),
            count as u64,
        );
    }
    text.family("ringpost_leg", "stateset", "The state of each leg.");
    for leg in &storage.legs {
        for state in [
            "in_sync",
            legs::FAILING,
            "catching_up",
            "rebuilding",
            "bridge",
            "stale",
            "failed",
            "spare",
            "retired",
        ] {
            let labels = format!("leg=\"{}\",ringpost_leg=\"{state}\"", leg.index);
            text.sample("ringpost_leg", &labels, u64::from(leg.state == state));
        }
    }
    type Field = fn(&LegLine) -> u64;
    let by_leg: [(&str, &str, Field); 3] = [
        (
            "ringpost_leg_repairs",
            "Copies rewritten on this leg.",
            |leg| leg.repairs,
        ),
        (
            "ringpost_leg_read_faults",
            "Reads that failed or did not verify.",
            |leg| leg.read_faults,
        ),
        ("ringpost_leg_write_faults", "Writes that failed.", |leg| {
            leg.write_faults
        }),
    ];
    for (name, help, field) in by_leg {
        text.family(name, "counter", help);
        for leg in &storage.legs {
            text.sample(
                &sample_name(name, "counter"),
                &format!("leg=\"{}\"", leg.index),
                field(leg),
            );
        }
    }
}

fn write_store(text: &mut Text, store: &store::Counters) {
    let counters = [
        (
            "ringpost_log_groups",
            "Groups appended to the log.",
            store.groups,
        ),
        (
            "ringpost_log_bytes",
            "Bytes of the log, framing included, per leg.",
            store.batch_bytes,
        ),
        (
            "ringpost_body_bytes",
            "Bytes of message bodies taken in.",
            store.body_raw_bytes,
        ),
        (
            "ringpost_body_stored_bytes",
            "What they took in the log.",
            store.body_stored_bytes,
        ),
        (
            "ringpost_checkpoints",
            "Checkpoints of the index.",
            store.checkpoints,
        ),
        (
            "ringpost_checkpoint_bytes",
            "Bytes of the index written by them, per leg.",
            store.checkpoint_bytes,
        ),
        (
            "ringpost_reclaimed_segments",
            "Segments freed by reclaim.",
            store.reclaimed_segments,
        ),
        (
            "ringpost_reclaim_copied_bytes",
            "Bytes that reclaim had to copy.",
            store.reclaim_copied_bytes,
        ),
    ];
    for (name, help, value) in counters {
        text.family(name, "counter", help);
        text.sample(&sample_name(name, "counter"), "", value);
    }
}
