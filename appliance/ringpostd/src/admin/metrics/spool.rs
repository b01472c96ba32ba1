//! Mail that waits for storage.

use super::page::Page;
use crate::admin::shared::Admin;

impl Admin {
    /// Nothing but `ringpost_spool_taking` where there is no spool.
    pub(super) fn write_spool(&self, page: &mut Page) {
        let spool = self.spool();
        // This one is always there: an alarm on it must also hear of a spool that did not open.
        let taking = spool.is_ok_and(|spool| spool.trouble().is_none());
        page.gauge(
            "ringpost_spool_taking",
            "Reports whether mail can be spooled, by the probes of the last seconds; 1 means that it can, 0 that it cannot or that there is no spool.",
            u64::from(taking),
        );
        let Ok(spool) = spool else { return };
        let gauges = spool.gauges();
        let (messages_max, bytes_max) = gauges.max();
        let shown = [
            (
                "ringpost_spool_messages",
                "Reports the number of messages in the spool that wait for storage.",
                gauges.waiting() as u64,
            ),
            (
                "ringpost_spool_messages_limit",
                "Reports the number of messages that may wait in the spool.",
                messages_max as u64,
            ),
            (
                "ringpost_spool_bytes",
                "Reports the size of the messages that wait in the spool, in bytes.",
                gauges.bytes(),
            ),
            (
                "ringpost_spool_bytes_limit",
                "Reports how many bytes of messages may wait in the spool.",
                bytes_max,
            ),
            (
                "ringpost_spool_oldest_timestamp_seconds",
                "Reports the time at which the oldest message in the spool arrived, in seconds since 1970; 0 means that none waits.",
                gauges.oldest().map_or(0, |oldest| oldest.0),
            ),
            (
                "ringpost_spool_stuck",
                "Reports the number of messages in the spool that cannot be handed over.",
                gauges.stuck() as u64,
            ),
            (
                "ringpost_spool_kept",
                "Reports the number of copies in the spool of messages that storage took over.",
                gauges.kept() as u64,
            ),
            (
                "ringpost_spool_kept_bytes",
                "Reports the size of these copies, in bytes.",
                gauges.kept_bytes(),
            ),
            (
                "ringpost_storage_credit_bytes",
                "Reports the size of messages on their way to storage or to the spool, in bytes.",
                self.credits().used_bytes() as u64,
            ),
            (
                "ringpost_storage_credit_limit_bytes",
                "Reports how many bytes of messages may be on their way; past it messages are deferred.",
                self.credits().bytes_max() as u64,
            ),
        ];
        for (name, help, value) in shown {
            page.gauge(name, help, value);
        }
        let sum = |counter| self.metrics().spooled_sum(counter);
        let counted = [
            (
                "ringpost_spool_taken",
                "Reports the number of messages spooled since the start.",
                gauges.taken(),
            ),
            (
                "ringpost_spool_handed_over",
                "Reports the number of messages that storage took over from the spool since the start.",
                gauges.handed(),
            ),
            (
                "ringpost_spool_refused",
                "Reports the number of messages that neither storage nor the spool took, in messages.",
                sum(|of| &of.refused),
            ),
            (
                "ringpost_storage_silent",
                "Reports how often storage did not answer a delivery in time, and the message went to the spool.",
                sum(|of| &of.silent),
            ),
            (
                "ringpost_storage_throttled",
                "Reports the number of messages deferred because too much was on its way to storage.",
                sum(|of| &of.throttled),
            ),
        ];
        for (name, help, value) in counted {
            page.counter(name, help, value);
        }
    }
}
