//! What is in quarantine, what came into it and what left it.

use std::sync::atomic::Ordering::Relaxed;

use storage::quarantine::{self, Why};

use super::page::Page;
use crate::admin::shared::Admin;

impl Admin {
    pub(super) async fn write_quarantine(&self, page: &mut Page) {
        let metrics = self.metrics();
        page.counters(
            "ringpost_quarantined",
            "Reports the messages that were put into quarantine, by the verdict that sent them there, in messages.",
            Why::ALL.into_iter().enumerate().map(|(at, why)| {
                let labels = vec![("verdict", why.word().to_owned())];
                (labels, metrics.kept_apart(at))
            }),
        );
        let counters = metrics.quarantine();
        let left = [
            ("released", &counters.released),
            ("dropped", &counters.dropped),
            ("expired", &counters.expired),
        ];
        page.counters(
            "ringpost_quarantine_left",
            "Reports the messages that left the quarantine: released (delivered to their recipients), dropped by an administrator or expired, in messages.",
            left.map(|(how, count)| (vec![("how", how.to_owned())], count.load(Relaxed))),
        );
        let contents = self.mailboxes(async |mailboxes| quarantine::contents(&mailboxes).await);
        let Ok(contents) = contents.await else {
            return; // `ringpost_storage_answers` says so
        };
        page.gauge(
            "ringpost_quarantine_messages",
            "Reports the messages in quarantine, in messages.",
            contents.messages.into(),
        );
        page.gauge(
            "ringpost_quarantine_bytes",
            "Reports the size of all messages in quarantine, in bytes.",
            contents.bytes,
        );
        page.gauge(
            "ringpost_quarantine_limit_bytes",
            "Reports how much the quarantine may hold, or 0 if there is none, in bytes.",
            contents.bytes_max,
        );
    }
}
