//! What people's scripts did with mail that came.

use std::sync::atomic::Ordering::Relaxed;

use super::page::Page;
use crate::admin::shared::Admin;

impl Admin {
    pub(super) fn write_filter(&self, page: &mut Page) {
        // A node without storage runs no scripts and has no such series.
        let Some(counters) = self.metrics().filter() else {
            return;
        };
        for (name, help, value) in [
            (
                "ringpost_filter_runs",
                "Reports the messages that scripts ran for, one for each account, in messages.",
                &counters.runs,
            ),
            (
                "ringpost_filter_runs_away",
                "Reports the runs of scripts that were too long for the storage thread and were made on another, in runs.",
                &counters.away,
            ),
            (
                "ringpost_filter_failures",
                "Reports the messages that were kept because a script failed, in messages.",
                &counters.failures,
            ),
            (
                "ringpost_filter_filed",
                "Reports the copies that scripts filed into mailboxes, in copies.",
                &counters.filed,
            ),
            (
                "ringpost_filter_discarded",
                "Reports the messages that scripts discarded, in messages.",
                &counters.discarded,
            ),
            (
                "ringpost_filter_redirected",
                "Reports the messages that scripts sent on to other addresses, in messages.",
                &counters.redirected,
            ),
            (
                "ringpost_filter_redirect_loops",
                "Reports the messages that scripts did not send on because they had been there before, in messages.",
                &counters.loops,
            ),
            (
                "ringpost_filter_rejected",
                "Reports the messages that scripts refused, in messages.",
                &counters.rejected,
            ),
            (
                "ringpost_filter_replies",
                "Reports the vacation replies that scripts sent, in messages.",
                &counters.replies,
            ),
            (
                "ringpost_filter_notifications",
                "Reports the notifications that scripts sent, in messages.",
                &counters.notifications,
            ),
            (
                "ringpost_filter_compiled",
                "Reports the scripts that were compiled, in scripts.",
                &counters.compiled,
            ),
        ] {
            page.counter(name, help, value.load(Relaxed));
        }
        page.gauge(
            "ringpost_filter_cache_bytes",
            "Reports the memory that compiled scripts take, in bytes.",
            counters.cache_bytes.load(Relaxed),
        );
    }
}
