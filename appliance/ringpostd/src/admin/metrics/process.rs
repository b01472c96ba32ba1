//! Metrics of the process: version, memory, the owner's lane, the certificate, incidents.

use std::sync::atomic::Ordering::Relaxed;

use ::admin::certificate;
use hardware::incident::{self, Kind};

use super::Text;
use crate::admin::counters::read;
use crate::admin::logs;
use crate::admin::shared::Admin;

impl Admin {
    pub(super) fn write_process(&self, text: &mut Text) {
        text.family("ringpost_build", "info", "Which version runs.");
        text.sample(
            "ringpost_build_info",
            &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
            1,
        );
        text.family("ringpost_uptime_seconds", "gauge", "Since start.");
        text.sample("ringpost_uptime_seconds", "", self.uptime().as_secs());
        text.family(
            "ringpost_log_lines_dropped",
            "counter",
            "Log lines lost because whoever reads standard error is too slow.",
        );
        text.sample("ringpost_log_lines_dropped_total", "", logs::dropped());
        text.family(
            "ringpost_receive_memory_bytes",
            "gauge",
            "Memory of messages being received.",
        );
        text.sample(
            "ringpost_receive_memory_bytes",
            "",
            self.receive_memory().used_bytes() as u64,
        );
        text.family("ringpost_receive_memory_limit_bytes", "gauge", "Its bound.");
        text.sample(
            "ringpost_receive_memory_limit_bytes",
            "",
            self.receive_memory().bytes_max() as u64,
        );
        let gauges = self.owner().gauges();
        text.family(
            "ringpost_owner_asks",
            "counter",
            "Work handed to the volume's owner.",
        );
        text.sample("ringpost_owner_asks_total", "", read(&gauges.asked));
        text.family(
            "ringpost_owner_busy",
            "counter",
            "Work refused because the owner was busy.",
        );
        text.sample("ringpost_owner_busy_total", "", read(&gauges.refused));
        text.family(
            "ringpost_owner_queue",
            "gauge",
            "Work waiting in the owner's lane.",
        );
        text.sample("ringpost_owner_queue", "", self.owner().waiting() as u64);
        text.family(
            "ringpost_owner_under_way",
            "gauge",
            "Work begun and not ended.",
        );
        text.sample(
            "ringpost_owner_under_way",
            "",
            gauges.under_way.load(Relaxed) as u64,
        );
    }

    pub(super) fn write_incidents(&self, text: &mut Text) {
        text.family(
            "ringpost_incidents",
            "gauge",
            "Hangs, crashes and lost power that are remembered, by kind.",
        );
        let all = incident::list(&self.plan().state);
        for kind in Kind::ALL {
            let of_kind = all.iter().filter(|incident| incident.kind == kind);
            text.sample(
                "ringpost_incidents",
                &format!("kind=\"{}\"", kind.name()),
                of_kind.map(|incident| incident.times).sum(),
            );
        }
    }

    pub(super) fn write_certificate(&self, text: &mut Text) {
        let name = "ringpost_certificate_ends_timestamp_seconds";
        let help = "When the TLS certificate that is shown ends, in seconds since 1970.";
        text.family(name, "gauge", help);
        if let Some(ends) = certificate::ends_s(&self.certificate().chain()) {
            text.sample(name, "", ends.max(0).cast_unsigned());
        }
    }

    /// What is in memory, beside what the plan gives it. The rest of it is buffers of sessions and batches, and pages that the
    /// allocator has not given back yet.
    pub(super) fn write_memory(&self, text: &mut Text) {
        let plan = self.plan();
        let planned: u64 = plan.memory.iter().map(|line| line.bytes).sum();
        let gauges = [
            (
                "ringpost_resident_memory_bytes",
                "Memory of the process that is in RAM.",
                resident_bytes(),
            ),
            (
                "ringpost_planned_memory_bytes",
                "What all limits of the plan add up to.",
                Some(planned),
            ),
            (
                "ringpost_mailbox_cache_limit_bytes",
                "Memory that loaded mailboxes may take.",
                Some(plan.storage.mailbox_cache_bytes),
            ),
            (
                "ringpost_projection_cache_limit_bytes",
                "Memory that the projection's pages may take.",
                Some(plan.storage.projection_cache_bytes),
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                text.family(name, "gauge", help);
                text.sample(name, "", value);
            }
        }
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
