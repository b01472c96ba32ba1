//! What scanners found in messages.

use scan::{Outcome, Scanner};

use super::page::Page;
use crate::admin::shared::Admin;

impl Admin {
    pub(super) fn write_scan(&self, page: &mut Page) {
        let metrics = self.metrics();
        let counters = metrics.scan();
        let pairs = Scanner::ALL
            .into_iter()
            .flat_map(|scanner| Outcome::ALL.map(|outcome| (scanner, outcome)));
        page.counters(
            "ringpost_scan",
            "Reports what scanners found, by scanner and outcome, in messages.",
            pairs.map(|(scanner, outcome)| {
                let labels = vec![
                    ("scanner", scanner.name().to_owned()),
                    ("outcome", outcome.name().to_owned()),
                ];
                (labels, counters.read(scanner, outcome))
            }),
        );
        let servers = [Scanner::Rspamd, Scanner::Clamd, Scanner::Milter];
        page.histograms(
            "ringpost_scan_seconds",
            "Reports how long calls to scanners took, those without a verdict included, in seconds.",
            servers.map(|scanner| {
                let labels = vec![("scanner", scanner.name().to_owned())];
                (labels, counters.took(scanner).read())
            }),
        );
        page.gauge(
            "ringpost_scan_servers_resting",
            "Reports the scanners that failed and are left alone for a while, each counted by every thread that does so, in servers.",
            counters.resting(),
        );
    }
}
