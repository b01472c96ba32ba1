//! The counters of all cores as OpenMetrics text.
//!
//! Each core writes its own counters; nothing here is touched while mail flows. Asking adds them up into a `page`.

mod afar;
mod cores;
mod door;
mod fetch;
mod filter;
mod front;
mod ldap;
mod logins;
mod page;
mod process;
mod quarantine;

mod reports;
mod scan;
mod sending;
mod spool;
mod storage;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use client::imap;
use client::managesieve;
use client::pop3;

use crate::admin::counters::ServiceCount;
use crate::admin::machine;
use crate::admin::shared::Admin;
use page::{Labels, Page};

/// Nothing where the settings name no target.
async fn write_paths(page: &mut Page) {
    let look = || machine::paths(Path::new("/"));
    let Ok(Ok(paths)) = tokio::task::spawn_blocking(look).await else {
        return; // an alarm of `status` says so
    };
    if paths.is_empty() {
        return;
    }
    page.gauges(
        "ringpost_san_path",
        "Reports whether data can flow by this path to a SAN target; 1 means that it can, 0 that it cannot.",
        paths.iter().map(|path| {
            let labels = vec![
                ("target", path.target.to_string()),
                ("address", path.address.to_string()),
            ];
            (labels, u64::from(path.usable))
        }),
    );
}

impl Admin {
    /// OpenMetrics 1.0 text. Answers also while storage does not: its part is then missing and `ringpost_storage_answers` 0.
    // What needs no other thread comes first. A scrape that waits for storage at its beginning would show nothing of a box whose storage hangs.
    pub(crate) async fn open_metrics(&self) -> String {
        let mut page = Page::default();
        self.write_process(&mut page);
        self.metrics().write_cores(&mut page);
        self.write_services(&mut page);
        self.write_messages(&mut page);
        self.write_door(&mut page);
        self.write_ldap(&mut page);
        self.write_fetch(&mut page);
        self.write_scan(&mut page);
        self.write_reports(&mut page);
        self.write_filter(&mut page);
        self.write_imap(&mut page);
        self.write_pop3(&mut page);
        self.write_managesieve(&mut page);
        self.write_afar(&mut page);
        self.write_front(&mut page);
        self.write_incidents(&mut page);
        self.write_certificate(&mut page);
        self.write_memory(&mut page);
        self.write_spool(&mut page);
        write_paths(&mut page).await;
        let read = async |mailboxes| storage::Storage::read(&mailboxes);
        // One visit for all of storage's figures, so that they are of one moment and cost one place in the lane.
        let mut storage = self.ask(read).await;
        if let Ok(storage) = &mut storage {
            // The volume knows of faults that it met; the probes of the owner's health find those that it has not met yet.
            storage.taking &= self.owner().gauges().health().trouble().is_none();
        }
        page.gauge(
            "ringpost_storage_answers",
            "Reports whether the storage thread answers; 1 means that it does, 0 that it does not.",
            u64::from(storage.is_ok()),
        );
        if let Ok(storage) = storage {
            storage.write(&mut page);
        }
        // These two ask storage again, each by itself; what cannot be had is left out, as its absence says.
        self.write_quarantine(&mut page).await;
        self.write_sending(&mut page).await;
        page.text()
    }

    /// Every listener that the plan has, also one without a connection so far: a series that appears only with its first event has no rate for it.
    fn write_services(&self, page: &mut Page) {
        let count = |service| self.metrics().service(service);
        let listeners = self.plan().listeners.iter();
        let services: Vec<(&str, ServiceCount)> = listeners
            .map(|listener| (listener.service.name(), count(listener.service)))
            .collect();
        let samples = |field: fn(&ServiceCount) -> u64| {
            let services = services.iter();
            services.map(move |(name, count)| (vec![("service", name.to_string())], field(count)))
        };
        page.gauges(
            "ringpost_connections_open",
            "Reports the number of connections that are open now.",
            samples(|count| count.open),
        );
        type Field = fn(&ServiceCount) -> u64;
        let counters: [(&str, &str, Field); 6] = [
            (
                "ringpost_connections",
                "Reports the number of connections accepted since the start.",
                |count| count.accepted,
            ),
            (
                "ringpost_connections_refused",
                "Reports the number of connections refused because the service was at its limit.",
                |count| count.refused,
            ),
            (
                "ringpost_received_bytes",
                "Reports the number of bytes received from peers.",
                |count| count.bytes_in,
            ),
            (
                "ringpost_sent_bytes",
                "Reports the number of bytes sent to peers.",
                |count| count.bytes_out,
            ),
            (
                "ringpost_tls_failures",
                "Reports the number of TLS sessions that failed.",
                |count| count.tls_failures,
            ),
            (
                "ringpost_connections_timed_out",
                "Reports the number of connections closed because the peer was silent too long.",
                |count| count.timed_out,
            ),
        ];
        for (name, help, field) in counters {
            page.counters(name, help, samples(field));
        }
    }

    /// Sums over the cores, each of which writes counters of its own: there is no shared cache line on the path of a message.
    fn write_messages(&self, page: &mut Page) {
        let received = self.metrics().received();
        let outcomes = [
            ("accepted", received.accepted),
            ("refused", received.refused),
            ("deferred", received.deferred),
        ];
        page.counters(
            "ringpost_messages",
            "Reports the number of messages and recipients by outcome: accepted (2xx), refused (5xx) or deferred (4xx).",
            outcomes.map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count)),
        );
        page.counter(
            "ringpost_message_bytes",
            "Reports the number of bytes of accepted messages, with the trace fields that we add.",
            received.bytes,
        );
        page.histograms(
            "ringpost_receive_seconds",
            "Reports the time from the end of mail data to the 2xx reply of an accepted message, in seconds.",
            [(Labels::new(), received.took)],
        );
        page.counters(
            "ringpost_authentication",
            "Reports the results of SPF, DKIM, ARC and DMARC for mail of strangers, in messages.",
            self.metrics()
                .authenticated()
                .into_iter()
                .map(|(method, outcome, count)| {
                    let labels = vec![
                        ("method", method.to_owned()),
                        ("outcome", outcome.to_owned()),
                    ];
                    (labels, count)
                }),
        );
        let done = [
            ("rejected", self.metrics().results_sum(|of| &of.rejected)),
            (
                "quarantined",
                self.metrics().results_sum(|of| &of.quarantined),
            ),
        ];
        page.counters(
            "ringpost_dmarc_dispositions",
            "Reports what was done because the domain in From asks for it: rejected or quarantined (delivered with a mark), in messages.",
            done.map(|(disposition, count)| (vec![("disposition", disposition.to_owned())], count)),
        );
        page.counters(
            "ringpost_spam_judged",
            "Reports how mail of strangers was judged: ham, unsure or spam, in messages.",
            self.metrics()
                .judged()
                .into_iter()
                .map(|(class, count)| (vec![("class", class.to_owned())], count)),
        );
        page.counter(
            "ringpost_spam_refused",
            "Reports the messages refused because of their score (spam.refuse_score).",
            self.metrics().junk_refused(),
        );
        let submitted = self.metrics().submitted();
        let outcomes = [
            ("accepted", submitted.accepted),
            ("refused", submitted.refused),
            ("deferred", submitted.deferred),
        ];
        page.counters(
            "ringpost_submissions",
            "Reports the submissions, and refused senders and recipients, by outcome: accepted (2xx), refused (5xx) or deferred (4xx), in messages.",
            outcomes.map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count)),
        );
        page.counter(
            "ringpost_submission_bytes",
            "Reports the size of accepted submissions, with the fields that the daemon adds, in bytes.",
            submitted.bytes,
        );
    }

    fn write_pop3(&self, page: &mut Page) {
        type Counter = fn(&pop3::Counters) -> &AtomicU64;
        let counters: [(&str, &str, Counter); 5] = [
            (
                "ringpost_pop3_logins",
                "Reports the number of POP3 logins that succeeded.",
                |of| &of.logins,
            ),
            (
                "ringpost_pop3_logins_refused",
                "Reports the number of POP3 logins refused because the user name or the password was wrong.",
                |of| &of.logins_refused,
            ),
            (
                "ringpost_pop3_retrieved",
                "Reports the number of messages that RETR sent to their end.",
                |of| &of.retrieved,
            ),
            (
                "ringpost_pop3_deleted",
                "Reports the number of messages that POP3 clients removed.",
                |of| &of.deleted,
            ),
            (
                "ringpost_pop3_kept",
                "Reports the number of messages that POP3 clients removed and that a rule keeps in a folder.",
                |of| &of.kept,
            ),
        ];
        for (name, help, counter) in counters {
            page.counter(name, help, self.metrics().pop3_sum(counter));
        }
        let expired = self.metrics().kept().expired.load(Ordering::Relaxed);
        page.counter(
            "ringpost_pop3_kept_expired",
            "Reports the number of messages that were kept for POP3 clients and removed when their time was over.",
            expired,
        );
    }

    fn write_managesieve(&self, page: &mut Page) {
        type Counter = fn(&managesieve::Counters) -> &AtomicU64;
        let counters: [(&str, &str, Counter); 4] = [
            (
                "ringpost_managesieve_logins",
                "Reports the number of ManageSieve logins that succeeded.",
                |of| &of.logins,
            ),
            (
                "ringpost_managesieve_logins_refused",
                "Reports the number of ManageSieve logins refused because the user name or the password was wrong.",
                |of| &of.logins_refused,
            ),
            (
                "ringpost_managesieve_stored",
                "Reports the number of Sieve scripts that ManageSieve clients stored.",
                |of| &of.stored,
            ),
            (
                "ringpost_managesieve_invalid",
                "Reports the number of Sieve scripts that ManageSieve clients sent and that did not compile.",
                |of| &of.invalid,
            ),
        ];
        for (name, help, counter) in counters {
            page.counter(name, help, self.metrics().managesieve_sum(counter));
        }
    }

    fn write_imap(&self, page: &mut Page) {
        type Counter = fn(&imap::Counters) -> &AtomicU64;
        let counters: [(&str, &str, Counter); 8] = [
            (
                "ringpost_imap_logins",
                "Reports the number of IMAP logins that succeeded.",
                |of| &of.logins,
            ),
            (
                "ringpost_imap_logins_refused",
                "Reports the number of IMAP logins refused because the user name or the password was wrong.",
                |of| &of.logins_refused,
            ),
            (
                "ringpost_imap_commands",
                "Reports the number of IMAP commands carried out for clients that are logged in.",
                |of| &of.commands,
            ),
            (
                "ringpost_imap_fetched",
                "Reports the number of messages of which FETCH sent something.",
                |of| &of.fetched,
            ),
            (
                "ringpost_imap_bodies_read",
                "Reports the number of message bodies that FETCH read from storage.",
                |of| &of.bodies_read,
            ),
            (
                "ringpost_imap_appended",
                "Reports the number of messages that APPEND stored.",
                |of| &of.appended,
            ),
            (
                "ringpost_imap_events",
                "Reports the number of messages for which the script of their mailbox ran after a command put them there or changed their flags.",
                |of| &of.events,
            ),
            (
                "ringpost_imap_events_skipped",
                "Reports the number of messages for which the script of their mailbox did not run, because too many waited or because of a fault.",
                |of| &of.events_skipped,
            ),
        ];
        for (name, help, counter) in counters {
            page.counter(name, help, self.metrics().imap_sum(counter));
        }
        page.histograms(
            "ringpost_imap_fetch_seconds",
            "Reports the time from the whole of a FETCH command to its tagged OK, in seconds; it includes the time that the client needs to receive.",
            [(Labels::new(), self.metrics().fetches())],
        );
    }
}
