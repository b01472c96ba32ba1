//! Mail on its way out: what waits, and what came of the tries.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use client::relay::Counters;

use super::page::Page;
use crate::admin::shared::Admin;

impl Admin {
    pub(super) async fn write_sending(&self, page: &mut Page) {
        let sum = |counter| self.metrics().relay_sum(counter);
        type Outcome = fn(&Counters) -> u64;
        let outcomes: [(&str, Outcome); 3] = [
            ("delivered", |of| read(&of.delivered)),
            ("deferred", |of| read(&of.deferred)),
            ("failed", |of| read(&of.failed)),
        ];
        page.counters(
            "ringpost_outbound_recipients",
            "The number of tries to send a message to a recipient, by outcome: delivered (the server took it), deferred (tried again later) or failed (given up)",
            outcomes.map(|(outcome, of)| (vec![("outcome", outcome.to_owned())], sum(of))),
        );
        let counters: [(&str, &str, Outcome); 4] = [
            (
                "ringpost_outbound_reports",
                "The number of reports written to senders about failure, delay or success",
                |of| read(&of.reports),
            ),
            (
                "ringpost_outbound_conversations",
                "The number of SMTP conversations begun with other servers",
                |of| read(&of.conversations),
            ),
            (
                "ringpost_outbound_tls_failures",
                "The number of conversations in clear with servers that offer TLS",
                |of| read(&of.tls_failed),
            ),
            (
                "ringpost_outbound_unreached",
                "The number of times that no conversation could be begun with a destination",
                |of| read(&of.unreached),
            ),
        ];
        for (name, help, of) in counters {
            page.counter(name, help, sum(of));
        }
        let gauges: [(&str, &str, Outcome); 3] = [
            (
                "ringpost_outbound_connections",
                "The number of connections to other servers now, with those that are being made",
                |of| of.connections.load(Relaxed) as u64,
            ),
            (
                "ringpost_outbound_in_hand",
                "The number of messages of the queue that are being sent now or are next",
                |of| of.in_hand.load(Relaxed) as u64,
            ),
            (
                "ringpost_outbound_asleep",
                "The number of destinations left alone for a while because they did not answer",
                |of| of.asleep.load(Relaxed) as u64,
            ),
        ];
        for (name, help, of) in gauges {
            page.gauge(name, help, sum(of));
        }
        let queue = self.outgoing(async |outgoing| {
            let queue = outgoing.queue();
            Ok((queue.count(), queue.oldest()))
        });
        let Ok((count, oldest)) = queue.await else {
            return; // `ringpost_storage_answers` says so
        };
        page.gauge(
            "ringpost_queue_messages",
            "The number of messages in the queue, with those on hold",
            count as u64,
        );
        page.gauge(
            "ringpost_queue_oldest_timestamp_seconds",
            "The time at which the oldest message of the queue came, in seconds since 1970; 0 means that the queue is empty",
            oldest.map_or(0, |at| at.0),
        );
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}
