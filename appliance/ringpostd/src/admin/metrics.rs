//! The counters of all cores as OpenMetrics text.
//!
//! Each core writes its own counters; nothing here is touched while mail flows. Asking adds them up.

mod cores;
mod process;

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use client::imap;

use crate::admin::counters::ServiceCount;
use crate::admin::machine;
use crate::admin::shared::Admin;

mod volume_part;

use volume_part::{storage, write_storage};

/// Nothing where the settings name no target.
async fn write_paths(text: &mut Text) {
    let look = || machine::paths(Path::new("/"));
    let Ok(Ok(paths)) = tokio::task::spawn_blocking(look).await else {
        return; // an alarm of `status` says so
    };
    if paths.is_empty() {
        return;
    }
    text.family(
        "ringpost_san_path",
        "gauge",
        "1: data can flow by this path to a disk that stands elsewhere.",
    );
    for path in &paths {
        // Both are checked words of the settings: nothing in them ends a label.
        let labels = format!("target=\"{}\",address=\"{}\"", path.target, path.address);
        text.sample("ringpost_san_path", &labels, u64::from(path.usable));
    }
}

impl Admin {
    /// OpenMetrics 1.0 text. Answers also while storage does not: its part is then missing and `ringpost_storage_answers` 0.
    pub(crate) async fn open_metrics(&self) -> String {
        let mut text = Text::default();
        self.write_process(&mut text);
        self.metrics().write_cores(&mut text);
        self.write_services(&mut text);
        self.write_incidents(&mut text);
        self.write_certificate(&mut text);
        self.write_memory(&mut text);
        write_paths(&mut text).await;
        let mut storage = self.ask(async |mailboxes| storage(&mailboxes)).await;
        if let Ok(storage) = &mut storage {
            storage.taking &= self.owner().gauges().health().trouble().is_none();
        }
        text.family(
            "ringpost_storage_answers",
            "gauge",
            "1: the storage thread answers.",
        );
        text.sample("ringpost_storage_answers", "", u64::from(storage.is_ok()));
        if let Ok(storage) = storage {
            write_storage(&mut text, &storage);
        }
        text.0.push_str("# EOF\n");
        text.0
    }

    fn write_services(&self, text: &mut Text) {
        let services: Vec<(&str, ServiceCount)> = self
            .plan()
            .listeners
            .iter()
            .map(|listener| {
                (
                    listener.service.name(),
                    self.metrics().service(listener.service),
                )
            })
            .collect();
        type Field = fn(&ServiceCount) -> u64;
        let families: [(&str, &str, &str, Field); 7] = [
            (
                "ringpost_connections",
                "counter",
                "Connections accepted.",
                |count| count.accepted,
            ),
            (
                "ringpost_connections_refused",
                "counter",
                "Connections past the bound.",
                |count| count.refused,
            ),
            (
                "ringpost_connections_open",
                "gauge",
                "Connections open now.",
                |count| count.open,
            ),
            (
                "ringpost_received_bytes",
                "counter",
                "Bytes from peers.",
                |count| count.bytes_in,
            ),
            (
                "ringpost_sent_bytes",
                "counter",
                "Bytes to peers.",
                |count| count.bytes_out,
            ),
            (
                "ringpost_tls_failures",
                "counter",
                "TLS sessions that failed.",
                |count| count.tls_failures,
            ),
            (
                "ringpost_connections_timed_out",
                "counter",
                "Peers silent too long.",
                |count| count.timed_out,
            ),
        ];
        for (name, kind, help, field) in families {
            text.family(name, kind, help);
            for (service, count) in &services {
                text.sample(
                    &sample_name(name, kind),
                    &format!("service=\"{service}\""),
                    field(count),
                );
            }
        }
        let received = self.metrics().received();
        text.family(
            "ringpost_messages",
            "counter",
            "Messages and recipients by what became of them.",
        );
        for (outcome, count) in [
            ("accepted", received.accepted),
            ("refused", received.refused),
            ("deferred", received.deferred),
        ] {
            text.sample(
                "ringpost_messages_total",
                &format!("outcome=\"{outcome}\""),
                count,
            );
        }
        text.family(
            "ringpost_message_bytes",
            "counter",
            "Bytes of accepted messages.",
        );
        text.sample("ringpost_message_bytes_total", "", received.bytes);
        self.write_imap(text);
    }
}

impl Admin {
    fn write_imap(&self, text: &mut Text) {
        type Counter = fn(&imap::Counters) -> &AtomicU64;
        let families: [(&str, &str, Counter); 6] = [
            ("ringpost_imap_logins", "Logins.", |of| &of.logins),
            ("ringpost_imap_logins_refused", "Wrong passwords.", |of| {
                &of.logins_refused
            }),
            ("ringpost_imap_commands", "Commands.", |of| &of.commands),
            ("ringpost_imap_fetched", "Messages fetched of.", |of| {
                &of.fetched
            }),
            ("ringpost_imap_bodies_read", "Bodies read for it.", |of| {
                &of.bodies_read
            }),
            ("ringpost_imap_appended", "Messages appended.", |of| {
                &of.appended
            }),
        ];
        for (name, help, counter) in families {
            text.family(name, "counter", help);
            let count = self.metrics().imap_sum(counter);
            text.sample(&sample_name(name, "counter"), "", count);
        }
    }
}

/// OpenMetrics: a counter's sample carries `_total`.
fn sample_name(name: &str, kind: &str) -> String {
    if kind == "counter" {
        format!("{name}_total")
    } else {
        name.to_owned()
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }
}
