//! Metrics of the other directory (LDAP), by server.

use super::page::Page;
use crate::admin::shared::Admin;

impl Admin {
    /// Nothing where the settings name no directory.
    pub(super) fn write_ldap(&self, page: &mut Page) {
        let Some(directory) = self.ldap() else {
            return;
        };
        let health = directory.ldap.gauges().health();
        let label = |url: &str| vec![("server", url.to_owned())];
        page.gauges(
            "ringpost_ldap_up",
            "Reports whether a server of the directory answered the last question; 1 means that it did, or that none was put to it, 0 that it did not.",
            health.iter().map(|one| (label(&one.url), u64::from(one.is_up))),
        );
        page.counters(
            "ringpost_ldap_calls",
            "Reports the number of questions put to a server of the directory.",
            health.iter().map(|one| (label(&one.url), one.calls)),
        );
        page.counters(
            "ringpost_ldap_failures",
            "Reports the number of questions that a server of the directory did not answer.",
            health.iter().map(|one| (label(&one.url), one.failures)),
        );
        page.histograms(
            "ringpost_ldap_seconds",
            "Reports the time from a question to the directory to its answer or failure, in seconds; reading everything counts as one question.",
            health.iter().map(|one| (label(&one.url), one.took)),
        );
    }
}
