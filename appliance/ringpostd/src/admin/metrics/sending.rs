//! Mail on its way out: what waits, and what came of the tries.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use ::admin::reply::SourceLine;
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
            "Reports the tries to send a message to a recipient by outcome: delivered (the server accepted it), deferred (tried again later) or failed (given up), in tries.",
            outcomes.map(|(outcome, of)| (vec![("outcome", outcome.to_owned())], sum(of))),
        );
        let counters: [(&str, &str, Outcome); 9] = [
            (
                "ringpost_outbound_reports",
                "Reports the delivery reports written to senders about failure, delay or success, in messages.",
                |of| read(&of.reports),
            ),
            (
                "ringpost_outbound_conversations",
                "Reports the SMTP conversations begun with other servers, in conversations.",
                |of| read(&of.conversations),
            ),
            (
                "ringpost_outbound_tls_failures",
                "Reports the conversations in clear with servers that offer TLS, in conversations.",
                |of| read(&of.tls_failed),
            ),
            (
                "ringpost_outbound_proved",
                "Reports the conversations with servers that showed a certificate which their domain publishes (DANE), in conversations.",
                |of| read(&of.proved),
            ),
            (
                "ringpost_outbound_policies_met",
                "Reports the conversations with servers that met the policy of their domain (MTA-STS), in conversations.",
                |of| read(&of.policies_met),
            ),
            (
                "ringpost_outbound_policies_unmet",
                "Reports how often a server did not meet the policy of its domain (MTA-STS) and got no mail, in times.",
                |of| read(&of.policies_unmet),
            ),
            (
                "ringpost_outbound_policies_unmet_testing",
                "Reports how often a server did not meet a policy that its domain is testing (MTA-STS), and got mail, in times.",
                |of| read(&of.policies_unmet_testing),
            ),
            (
                "ringpost_outbound_policy_failures",
                "Reports how often a policy (MTA-STS) could not be fetched or read, in times.",
                |of| read(&of.policy_faults),
            ),
            (
                "ringpost_outbound_unreached",
                "Reports how often no conversation could be begun with a destination, in times.",
                |of| read(&of.unreached),
            ),
        ];
        for (name, help, of) in counters {
            page.counter(name, help, sum(of));
        }
        let gauges: [(&str, &str, Outcome); 3] = [
            (
                "ringpost_outbound_connections",
                "Reports the connections to other servers now, with those that are being made, in connections.",
                |of| of.connections.load(Relaxed) as u64,
            ),
            (
                "ringpost_outbound_in_hand",
                "Reports the messages of the queue that are being sent now or are next, in messages.",
                |of| of.in_hand.load(Relaxed) as u64,
            ),
            (
                "ringpost_outbound_asleep",
                "Reports the destinations that are not tried for a while because they did not answer, in destinations.",
                |of| of.asleep.load(Relaxed) as u64,
            ),
        ];
        for (name, help, of) in gauges {
            page.gauge(name, help, sum(of));
        }
        // Counters of this core's sender above, figures of the queue on the storage thread below: with storage away the former are shown.
        self.write_sources(page);
        let queue = self.outgoing(async |outgoing| {
            let queue = outgoing.queue();
            Ok((queue.count(), queue.oldest()))
        });
        let Ok((count, oldest)) = queue.await else {
            return; // `ringpost_storage_answers` says so
        };
        page.gauge(
            "ringpost_queue_messages",
            "Reports the messages in the queue, with those on hold, in messages.",
            count as u64,
        );
        page.gauge(
            "ringpost_queue_oldest_timestamp_seconds",
            "Reports the time at which the oldest message of the queue arrived, or 0 if the queue is empty, in seconds since 1970.",
            oldest.map_or(0, |at| at.0),
        );
    }

    /// One sample for each source, of which there are `plan::limits::SOURCES_MAX` at most.
    fn write_sources(&self, page: &mut Page) {
        let sources = self.metrics().sources();
        type Field = fn(&SourceLine) -> u64;
        let samples = |field: Field| {
            let each = sources.iter();
            each.map(move |one| (vec![("source", one.name.clone())], field(one)))
        };
        let counters: [(&str, &str, Field); 3] = [
            (
                "ringpost_outbound_source_conversations",
                "Reports the conversations begun from each source (outbound.sources), in conversations.",
                |one| one.conversations,
            ),
            (
                "ringpost_outbound_source_refused",
                "Reports how often a destination refused a source in its greeting, in times.",
                |one| one.refused,
            ),
            (
                "ringpost_outbound_source_unavailable",
                "Reports how often the address of a source could not be used on this machine, in times.",
                |one| one.unavailable,
            ),
        ];
        if sources.is_empty() {
            return;
        }
        for (name, help, field) in counters {
            page.counters(name, help, samples(field));
        }
        page.gauges(
            "ringpost_outbound_source_resting",
            "Reports for how many destinations a source is left out for a while, with its addresses that cannot be used, in destinations.",
            samples(|one| one.resting),
        );
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}
