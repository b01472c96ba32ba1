//! Counters of all cores, and their OpenMetrics text.
//!
//! Each core writes its own counters; nothing here is touched while mail flows. Asking adds them up.

mod cores;
mod process;

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use plan::Service;
use service::{imap, receive};
use zone::{Counters, Stalls};

use crate::admin::Admin;
use crate::answer::volume_of;
use crate::words::LegLine;
use crate::{legs, machine};

/// Where cores leave their counters. Clones share one list.
#[derive(Clone, Default)]
pub struct Metrics {
    shared: Arc<Mutex<Lists>>,
}

#[derive(Default)]
struct Lists {
    listeners: Vec<(Service, Arc<Counters>)>,
    receivers: Vec<Arc<receive::Counters>>,
    imap: Vec<Arc<imap::Counters>>,
    cores: Vec<(String, Arc<Stalls>)>,
    memory: Option<imap::Memory>,
}

/// One service, all cores together.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceCount {
    pub accepted: u64,
    pub refused: u64,
    pub open: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub tls_failures: u64,
    pub timed_out: u64,
}

/// Messages received, all cores together.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReceivedCount {
    pub accepted: u64,
    pub refused: u64,
    pub deferred: u64,
    pub bytes: u64,
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics::default()
    }

    pub fn add_listener(&self, service: Service, counters: Arc<Counters>) {
        self.lists().listeners.push((service, counters));
    }

    pub fn add_receiver(&self, counters: Arc<receive::Counters>) {
        self.lists().receivers.push(counters);
    }

    pub fn add_imap(&self, counters: Arc<imap::Counters>) {
        self.lists().imap.push(counters);
    }

    /// One IMAP counter, all cores together.
    fn imap(&self, counter: fn(&imap::Counters) -> &AtomicU64) -> u64 {
        let lists = self.lists();
        lists
            .imap
            .iter()
            .map(|counters| read(counter(counters)))
            .sum()
    }

    pub fn service(&self, service: Service) -> ServiceCount {
        let mut sum = ServiceCount::default();
        for (_, counters) in self
            .lists()
            .listeners
            .iter()
            .filter(|(of, _)| *of == service)
        {
            sum.accepted += read(&counters.accepted);
            sum.refused += read(&counters.refused);
            sum.open += read(&counters.open);
            sum.bytes_in += read(&counters.bytes_in);
            sum.bytes_out += read(&counters.bytes_out);
            sum.tls_failures += read(&counters.tls_failures);
            sum.timed_out += read(&counters.timed_out);
        }
        sum
    }

    pub fn received(&self) -> ReceivedCount {
        let mut sum = ReceivedCount::default();
        for counters in &self.lists().receivers {
            sum.accepted += read(&counters.accepted);
            sum.refused += read(&counters.refused);
            sum.deferred += read(&counters.deferred);
            sum.bytes += read(&counters.bytes);
        }
        sum
    }

    fn lists(&self) -> std::sync::MutexGuard<'_, Lists> {
        self.shared.lock().expect("no holder of this lock panics")
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

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

/// The storage thread's figures, taken together.
struct Storage {
    legs: Vec<LegLine>,
    taking: bool,
    volume: volume::Counters,
    store: store::Counters,
    damaged: usize,
    checkpoint_lsn: u64,
    since_checkpoint: store::LogSince,
    segments: [usize; 4],
    mailbox_cache_bytes: usize,
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
        let storage = self.ask(async |mailboxes| storage(&mailboxes)).await;
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
            let count = self.metrics().imap(counter);
            text.sample(&sample_name(name, "counter"), "", count);
        }
    }
}

fn storage(mailboxes: &mailbox::Mailboxes) -> Storage {
    let volume = volume_of(mailboxes);
    let mut segments = [0; 4];
    for segment in volume.segments() {
        segments[segment.state as usize] += 1;
    }
    Storage {
        legs: legs::lines(volume),
        taking: volume.refuses().is_none(),
        volume: volume.counters(),
        store: mailboxes.store().counters(),
        damaged: volume.damage().len(),
        checkpoint_lsn: volume.checkpoint().lsn.0,
        since_checkpoint: mailboxes.store().since_checkpoint(),
        segments,
        mailbox_cache_bytes: mailboxes.cached_bytes(),
    }
}

fn write_storage(text: &mut Text, storage: &Storage) {
    text.family(
        "ringpost_volume_taking",
        "gauge",
        "1: the volume takes mail.",
    );
    text.sample("ringpost_volume_taking", "", u64::from(storage.taking));
    text.family(
        "ringpost_mailbox_cache_bytes",
        "gauge",
        "Memory of loaded mailboxes.",
    );
    let cached = storage.mailbox_cache_bytes as u64;
    text.sample("ringpost_mailbox_cache_bytes", "", cached);
    let volume = &storage.volume;
    let counters = [
        (
            "ringpost_commit_batches",
            "Commit batches made durable.",
            volume.batches,
        ),
        (
            "ringpost_device_writes",
            "Writes to legs.",
            volume.device_writes,
        ),
        (
            "ringpost_device_written_bytes",
            "Bytes written to legs, all together.",
            volume.bytes_written,
        ),
        (
            "ringpost_device_reads",
            "Reads from legs.",
            volume.device_reads,
        ),
        (
            "ringpost_device_read_bytes",
            "Bytes read from legs.",
            volume.bytes_read,
        ),
        (
            "ringpost_repairs",
            "Copies rewritten from a good leg.",
            volume.repairs,
        ),
        (
            "ringpost_legs_ejected",
            "Legs taken out of the mirror.",
            volume.ejected,
        ),
        (
            "ringpost_legs_resynced",
            "Legs brought back in sync.",
            volume.resynced,
        ),
    ];
    for (name, help, value) in counters {
        text.family(name, "counter", help);
        text.sample(&sample_name(name, "counter"), "", value);
    }
    write_store(text, &storage.store);
    text.family(
        "ringpost_damaged_batches",
        "gauge",
        "Batches found bad on every leg.",
    );
    text.sample("ringpost_damaged_batches", "", storage.damaged as u64);
    text.family(
        "ringpost_checkpoint_lsn",
        "gauge",
        "Recovery begins after this batch.",
    );
    text.sample("ringpost_checkpoint_lsn", "", storage.checkpoint_lsn);
    text.family(
        "ringpost_since_checkpoint_bytes",
        "gauge",
        "Log that a restart would replay.",
    );
    text.sample(
        "ringpost_since_checkpoint_bytes",
        "",
        storage.since_checkpoint.bytes,
    );
    text.family("ringpost_segments", "gauge", "Segments by state.");
    for (state, count) in ["free", "open", "sealed", "arena"]
        .iter()
        .zip(storage.segments)
    {
        text.sample(
            "ringpost_segments",
            &format!("state=\"{state}\""),
            count as u64,
        );
    }
    text.family("ringpost_leg", "stateset", "The state of each leg.");
    for leg in &storage.legs {
        for state in [
            "in_sync",
            legs::FAILING,
            "catching_up",
            "rebuilding",
            "bridge",
            "stale",
            "failed",
            "spare",
            "retired",
        ] {
            let labels = format!("leg=\"{}\",ringpost_leg=\"{state}\"", leg.index);
            text.sample("ringpost_leg", &labels, u64::from(leg.state == state));
        }
    }
    type Field = fn(&LegLine) -> u64;
    let by_leg: [(&str, &str, Field); 3] = [
        (
            "ringpost_leg_repairs",
            "Copies rewritten on this leg.",
            |leg| leg.repairs,
        ),
        (
            "ringpost_leg_read_faults",
            "Reads that failed or did not verify.",
            |leg| leg.read_faults,
        ),
        ("ringpost_leg_write_faults", "Writes that failed.", |leg| {
            leg.write_faults
        }),
    ];
    for (name, help, field) in by_leg {
        text.family(name, "counter", help);
        for leg in &storage.legs {
            text.sample(
                &sample_name(name, "counter"),
                &format!("leg=\"{}\"", leg.index),
                field(leg),
            );
        }
    }
}

fn write_store(text: &mut Text, store: &store::Counters) {
    let counters = [
        (
            "ringpost_log_groups",
            "Groups appended to the log.",
            store.groups,
        ),
        (
            "ringpost_log_bytes",
            "Bytes of the log, framing included, per leg.",
            store.batch_bytes,
        ),
        (
            "ringpost_body_bytes",
            "Bytes of message bodies taken in.",
            store.body_raw_bytes,
        ),
        (
            "ringpost_body_stored_bytes",
            "What they took in the log.",
            store.body_stored_bytes,
        ),
        (
            "ringpost_checkpoints",
            "Checkpoints of the index.",
            store.checkpoints,
        ),
        (
            "ringpost_checkpoint_bytes",
            "Bytes of the index written by them, per leg.",
            store.checkpoint_bytes,
        ),
        (
            "ringpost_reclaimed_segments",
            "Segments freed by reclaim.",
            store.reclaimed_segments,
        ),
        (
            "ringpost_reclaim_copied_bytes",
            "Bytes that reclaim had to copy.",
            store.reclaim_copied_bytes,
        ),
    ];
    for (name, help, value) in counters {
        text.family(name, "counter", help);
        text.sample(&sample_name(name, "counter"), "", value);
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
