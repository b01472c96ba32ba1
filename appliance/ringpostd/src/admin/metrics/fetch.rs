//! Metrics of accounts elsewhere, by protocol.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use mailbox::names::FetchProtocol;

use super::page::Page;
use crate::admin::shared::Admin;
use crate::fetch::Counts;

const PROTOCOLS: [(FetchProtocol, &str); 2] =
    [(FetchProtocol::Pop3, "pop3"), (FetchProtocol::Imap, "imap")];

impl Admin {
    /// Nothing where the settings do not fetch.
    pub(super) fn write_fetch(&self, page: &mut Page) {
        let Some(fetcher) = self.fetcher() else {
            return;
        };
        let (all, stopped, failing, running) = fetcher.gauges();
        let state = |name: &str| vec![("state", name.to_owned())];
        let well = all.saturating_sub(stopped + failing);
        page.gauges(
            "ringpost_fetch_accounts",
            "Reports the number of accounts elsewhere by state: well, failing (the last conversation failed) or stopped (the server refuses the password).",
            [(state("well"), well as u64), (state("failing"), failing as u64), (state("stopped"), stopped as u64)],
        );
        page.gauge(
            "ringpost_fetch_running",
            "Reports the number of conversations with servers elsewhere that are under way.",
            running as u64,
        );
        type Field = fn(&Counts) -> &AtomicU64;
        let of = |field: Field| {
            PROTOCOLS.map(|(protocol, name)| {
                let count = field(fetcher.counts(protocol)).load(Relaxed);
                (vec![("protocol", name.to_owned())], count)
            })
        };
        let outcomes: [(&str, Field); 3] = [
            ("done", |of| &of.done),
            ("failed", |of| &of.failed),
            ("refused", |of| &of.refused),
        ];
        let ended = outcomes.into_iter().flat_map(|(outcome, field)| {
            of(field).map(|(mut labels, count)| {
                labels.push(("outcome", outcome.to_owned()));
                (labels, count)
            })
        });
        page.counters(
            "ringpost_fetch_conversations",
            "Reports the number of conversations with servers elsewhere by outcome: done, failed, or refused (the login).",
            ended,
        );
        page.counters(
            "ringpost_fetch_messages",
            "Reports the number of messages fetched from accounts elsewhere.",
            of(|of| &of.fetched),
        );
        page.counters(
            "ringpost_fetch_bytes",
            "Reports the size of messages fetched from accounts elsewhere, with the fields that the daemon adds, in bytes.",
            of(|of| &of.bytes),
        );
        page.counters(
            "ringpost_fetch_deleted",
            "Reports the number of messages deleted at servers elsewhere after they were fetched.",
            of(|of| &of.deleted),
        );
    }
}
