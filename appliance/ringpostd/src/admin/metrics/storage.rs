//! The storage thread's part of the metrics.

use ::admin::reply::LegLine;
use base::Histogram;

use super::page::{Labels, Page};
use crate::admin::legs;
use crate::admin::shared::volume_of;

/// The states of `ringpost_leg`, each with a sample for each leg.
// All states of every leg, with 0 for those that it is not in: an alarm on `failed == 1` then works before the first failure.
const LEG_STATES: [&str; 9] = [
    "in_sync",
    legs::FAILING,
    "catching_up",
    "rebuilding",
    "bridge",
    "stale",
    "failed",
    "spare",
    "retired",
];

/// The storage thread's figures, taken together.
pub(super) struct Storage {
    legs: Vec<LegLine>,
    /// How long batch writes took, by index of the leg.
    flushes: Vec<(u8, Histogram)>,
    pub(super) taking: bool,
    scrub: volume::ScrubState,
    volume: volume::Counters,
    store: store::Counters,
    damaged: usize,
    checkpoint_lsn: u64,
    since_checkpoint: store::LogSince,
    segments: [usize; 4],
    mailbox_cache_bytes: usize,
    digests: mailbox::DigestCounts,
}

impl Storage {
    pub(super) fn read(mailboxes: &mailbox::Mailboxes) -> Storage {
        let volume = volume_of(mailboxes);
        // By the number of the state: the order here is that of `volume::SegmentState`.
        let mut segments = [0; 4];
        for segment in volume.segments() {
            segments[segment.state as usize] += 1;
        }
        let reports = volume.legs().into_iter();
        Storage {
            legs: legs::lines(volume),
            flushes: reports.map(|leg| (leg.index.0, leg.flushes)).collect(),
            taking: volume.refuses().is_none(),
            scrub: volume.scrub_state(),
            volume: volume.counters(),
            store: mailboxes.store().counters(),
            damaged: volume.damage().len(),
            checkpoint_lsn: volume.checkpoint().lsn.0,
            since_checkpoint: mailboxes.store().since_checkpoint(),
            segments,
            mailbox_cache_bytes: mailboxes.cached_bytes(),
            digests: mailboxes.digest_counts(),
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let scrub = &self.scrub;
        // A clock before 1970 shows as "never".
        let unix = |seconds: i64| u64::try_from(seconds).unwrap_or(0);
        let gauges = [
            (
                "ringpost_volume_taking",
                "Reports whether the volume accepts and serves mail, by the probes of the last seconds; 1 means that it does, 0 that it does not.",
                u64::from(self.taking),
            ),
            (
                "ringpost_mailbox_cache_bytes",
                "Reports the memory of loaded mailboxes and of digests of messages, in bytes.",
                self.mailbox_cache_bytes as u64,
            ),
            (
                "ringpost_scrub_ended_timestamp_seconds",
                "Reports the time at which the last complete scrub ended, in seconds since 1970; 0 means that none has.",
                unix(scrub.ended),
            ),
            (
                "ringpost_scrub_began_timestamp_seconds",
                "Reports the time at which the running scrub began, in seconds since 1970; 0 means that none runs.",
                unix(scrub.began),
            ),
            (
                "ringpost_scrub_done_bytes",
                "Reports how much of the log the running scrub has read, in bytes of one leg.",
                scrub.done_bytes,
            ),
            (
                "ringpost_scrub_all_bytes",
                "Reports how much of the log the running scrub has to read, in bytes of one leg.",
                scrub.all_bytes,
            ),
            (
                "ringpost_damaged_batches",
                "Reports the number of batches found damaged on every leg.",
                self.damaged as u64,
            ),
            (
                "ringpost_checkpoint_lsn",
                "Reports the number of the batch after which recovery would begin.",
                self.checkpoint_lsn,
            ),
            (
                "ringpost_since_checkpoint_bytes",
                "Reports how much of the log a restart would replay, in bytes.",
                self.since_checkpoint.bytes,
            ),
        ];
        for (name, help, value) in gauges {
            page.gauge(name, help, value);
        }
        let states = ["free", "open", "sealed", "arena"].iter();
        page.gauges(
            "ringpost_segments",
            "Reports the number of segments by state.",
            states
                .zip(self.segments)
                .map(|(state, count)| (vec![("state", state.to_string())], count as u64)),
        );
        self.write_volume(page);
        self.write_store(page);
        self.write_legs(page);
    }

    fn write_volume(&self, page: &mut Page) {
        let volume = &self.volume;
        let counters = [
            (
                "ringpost_commit_batches",
                "Reports the number of commit batches made durable.",
                volume.batches,
            ),
            (
                "ringpost_device_writes",
                "Reports the number of writes to legs.",
                volume.device_writes,
            ),
            (
                "ringpost_device_written_bytes",
                "Reports the number of bytes written to all legs together.",
                volume.bytes_written,
            ),
            (
                "ringpost_device_reads",
                "Reports the number of reads from legs.",
                volume.device_reads,
            ),
            (
                "ringpost_device_read_bytes",
                "Reports the number of bytes read from legs.",
                volume.bytes_read,
            ),
            (
                "ringpost_digests_remembered",
                "Reports the number of digests of messages that lists and searches found in memory.",
                self.digests.remembered,
            ),
            (
                "ringpost_digests_read",
                "Reports the number of digests of messages that lists and searches read from legs.",
                self.digests.read,
            ),
            (
                "ringpost_repairs",
                "Reports the number of copies rewritten from a good leg.",
                volume.repairs,
            ),
            (
                "ringpost_legs_ejected",
                "Reports the number of times that a leg was taken out of the mirror.",
                volume.ejected,
            ),
            (
                "ringpost_legs_resynced",
                "Reports the number of times that a leg was brought back in sync.",
                volume.resynced,
            ),
        ];
        for (name, help, value) in counters {
            page.counter(name, help, value);
        }
    }

    fn write_store(&self, page: &mut Page) {
        let store = &self.store;
        let counters = [
            (
                "ringpost_log_groups",
                "Reports the number of groups appended to the log.",
                store.groups,
            ),
            (
                "ringpost_log_bytes",
                "Reports the number of bytes appended to the log on each leg, with their framing.",
                store.batch_bytes,
            ),
            (
                "ringpost_body_bytes",
                "Reports the number of bytes of message bodies accepted.",
                store.body_raw_bytes,
            ),
            (
                "ringpost_body_stored_bytes",
                "Reports the number of bytes that message bodies occupy in the log after compression.",
                store.body_stored_bytes,
            ),
            (
                "ringpost_checkpoints",
                "Reports the number of checkpoints of the index.",
                store.checkpoints,
            ),
            (
                "ringpost_checkpoint_bytes",
                "Reports the number of bytes of the index that checkpoints wrote on each leg.",
                store.checkpoint_bytes,
            ),
            (
                "ringpost_reclaimed_segments",
                "Reports the number of segments that reclaim made free.",
                store.reclaimed_segments,
            ),
            (
                "ringpost_reclaim_copied_bytes",
                "Reports the number of bytes that reclaim copied to make segments free.",
                store.reclaim_copied_bytes,
            ),
        ];
        for (name, help, value) in counters {
            page.counter(name, help, value);
        }
        page.histograms(
            "ringpost_commit_seconds",
            "Reports the time from the append of a group to its durability on every leg that counts, in seconds.",
            [(Labels::new(), store.commits)],
        );
    }

    fn write_legs(&self, page: &mut Page) {
        let states = self.legs.iter().flat_map(|leg| {
            LEG_STATES.map(|state| {
                let labels = vec![
                    ("leg", leg.index.to_string()),
                    ("ringpost_leg", state.to_owned()),
                ];
                (labels, u64::from(leg.state == state))
            })
        });
        page.gauges(
            "ringpost_leg",
            "Reports the state of each leg; the sample of the state that it is in is 1, the others are 0.",
            states,
        );
        type Field = fn(&LegLine) -> u64;
        let by_leg: [(&str, &str, Field); 3] = [
            (
                "ringpost_leg_repairs",
                "Reports the number of copies rewritten on this leg.",
                |leg| leg.repairs,
            ),
            (
                "ringpost_leg_read_faults",
                "Reports the number of reads from this leg that failed or did not verify.",
                |leg| leg.read_faults,
            ),
            (
                "ringpost_leg_write_faults",
                "Reports the number of writes to this leg that failed.",
                |leg| leg.write_faults,
            ),
        ];
        for (name, help, field) in by_leg {
            let legs = self.legs.iter();
            let samples = legs.map(|leg| (vec![("leg", leg.index.to_string())], field(leg)));
            page.counters(name, help, samples);
        }
        let flushes = self.flushes.iter();
        page.histograms(
            "ringpost_leg_flush_seconds",
            "Reports the time from the submission of a batch to this leg to its durability there, in seconds.",
            flushes.map(|(index, durations)| (vec![("leg", index.to_string())], *durations)),
        );
    }
}
