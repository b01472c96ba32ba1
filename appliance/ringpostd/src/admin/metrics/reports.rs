//! Reports to other domains and of them.

use std::sync::atomic::Ordering::Relaxed;

use super::page::Page;
use crate::admin::shared::Admin;

impl Admin {
    pub(super) fn write_reports(&self, page: &mut Page) {
        let Some(tallies) = self.metrics().tallies() else {
            return;
        };
        let figures = tallies.figures();
        for (name, help, value) in [
            (
                "ringpost_report_notes",
                "Reports the results of authentication and of TLS that were counted for reports, in results.",
                &figures.noted,
            ),
            (
                "ringpost_report_notes_lost",
                "Reports the results, and reports of others, for which there was no room among the counts, in results.",
                &figures.lost,
            ),
            (
                "ringpost_reports_received",
                "Reports the reports of others about domains of this server that were read, in reports.",
                &figures.heard,
            ),
            (
                "ringpost_reports_sent",
                "Reports the reports that were sent to other domains, in reports.",
                &figures.sent,
            ),
            (
                "ringpost_reports_failed",
                "Reports the reports that could not be made or that no address took, in reports.",
                &figures.failed,
            ),
        ] {
            page.counter(name, help, value.load(Relaxed));
        }
        page.gauge(
            "ringpost_report_sheets",
            "Reports the domains and days for which something is counted, in pairs of a domain and a day.",
            figures.sheets.load(Relaxed),
        );
        page.gauge(
            "ringpost_report_bytes",
            "Reports the memory that the counts for reports take, in bytes.",
            figures.bytes.load(Relaxed),
        );
    }
}
