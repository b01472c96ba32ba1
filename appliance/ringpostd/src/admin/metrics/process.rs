//! Metrics of the process: version, memory, the owner's lane, the certificate, incidents.

use std::sync::atomic::Ordering::Relaxed;

use ::admin::certificate;
use hardware::incident::{self, Kind};

use super::page::{Labels, Page};
use crate::admin::counters::read;
use crate::admin::logs;
use crate::admin::shared::Admin;
use crate::trace;

impl Admin {
    pub(super) fn write_process(&self, page: &mut Page) {
        page.info(
            "ringpost_build",
            "Reports the version that runs.",
            vec![("version", env!("CARGO_PKG_VERSION").to_owned())],
        );
        page.gauge(
            "ringpost_uptime_seconds",
            "Reports the time since the daemon started, in seconds.",
            self.uptime().as_secs(),
        );
        page.counter(
            "ringpost_log_lines_dropped",
            "Reports the number of log lines lost because the reader of standard error was too slow.",
            logs::dropped(),
        );
        page.counter(
            "ringpost_trace_lines_dropped",
            "Reports the number of lines that `ringpostctl trace` misses because they could not be written in time.",
            trace::dropped(),
        );
        self.write_logins(page);
        let gauges = self.owner().gauges();
        page.counter(
            "ringpost_owner_asks",
            "Reports the number of jobs handed to the storage thread.",
            read(&gauges.asked),
        );
        page.counter(
            "ringpost_owner_busy",
            "Reports the number of jobs refused because the storage thread was busy.",
            read(&gauges.refused),
        );
        page.gauge(
            "ringpost_owner_queue",
            "Reports the number of jobs that wait for the storage thread.",
            self.owner().waiting() as u64,
        );
        page.gauge(
            "ringpost_owner_under_way",
            "Reports the number of jobs that the storage thread has begun and not ended.",
            gauges.under_way.load(Relaxed) as u64,
        );
    }

    pub(super) fn write_incidents(&self, page: &mut Page) {
        let all = incident::list(&self.plan().state);
        // From the file and not from a counter: most incidents end the process that would have counted them.
        let times = |kind| -> u64 {
            let of_kind = all.iter().filter(|incident| incident.kind == kind);
            of_kind.map(|incident| incident.times).sum()
        };
        page.gauges(
            "ringpost_incidents",
            "Reports the number of hangs, crashes and power losses on record, by kind.",
            Kind::ALL
                .iter()
                .map(|kind| (vec![("kind", kind.name().to_owned())], times(*kind))),
        );
    }

    pub(super) fn write_certificate(&self, page: &mut Page) {
        let ends = certificate::ends_s(&self.certificate().chain());
        page.gauges(
            "ringpost_certificate_ends_timestamp_seconds",
            "Reports the time at which the TLS certificate in use expires, in seconds since 1970.",
            ends.map(|ends| (Labels::new(), ends.max(0).cast_unsigned())),
        );
        let sources = self.certificate().sources();
        let now_s = certificate::now_s();
        page.gauges(
            "ringpost_certificate_left_seconds",
            "Reports the time until each TLS certificate in use expires, in seconds; 0 means that it has expired.",
            sources.into_iter().filter_map(|source| {
                // Beside the date itself, because an alarm by seconds left needs no clock of the monitoring system.
                let left = certificate::ends_s(&source.chain)? - now_s;
                Some((vec![("certificate", source.name)], left.max(0).cast_unsigned()))
            }),
        );
    }

    /// What is in memory, beside what the plan gives it. The rest of it is buffers of sessions and batches, and pages that the
    /// allocator has not given back yet.
    pub(super) fn write_memory(&self, page: &mut Page) {
        let plan = self.plan();
        page.gauges(
            "ringpost_resident_memory_bytes",
            "Reports the memory of the daemon that is in RAM, in bytes.",
            resident_bytes().map(|bytes| (Labels::new(), bytes)),
        );
        page.gauge(
            "ringpost_planned_memory_bytes",
            "Reports the sum of all memory limits of the plan, in bytes.",
            plan.memory.iter().map(|line| line.bytes).sum(),
        );
        page.gauge(
            "ringpost_mailbox_cache_limit_bytes",
            "Reports the memory that loaded mailboxes may use at most, in bytes.",
            plan.storage.mailbox_cache_bytes,
        );
        page.gauge(
            "ringpost_projection_cache_limit_bytes",
            "Reports the memory that pages of the index may use at most, in bytes.",
            plan.storage.projection_cache_bytes,
        );
    }
}

/// `VmRSS:  123 kB` of proc_pid_status(5).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_memory_of_this_process_is_known() {
        let bytes = super::resident_bytes().expect("Linux says so");
        assert!(bytes > 1 << 20, "{bytes}");
    }
}
