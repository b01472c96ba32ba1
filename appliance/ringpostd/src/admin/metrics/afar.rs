//! Of a node without storage: the storage nodes that its mail goes to, and the table of recipients.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use inbound::afar::Target;
use runtime::SessionHost;

use super::{Labels, Page};
use crate::admin::shared::Admin;

impl Admin {
    /// Nothing where storage is here.
    pub(super) fn write_afar(&self, page: &mut Page) {
        let Some(afar) = self.afar() else { return };
        let labels = |target: &Target| -> Labels {
            vec![
                ("address", target.address.to_string()),
                ("protocol", target.protocol.name().to_owned()),
                ("name", target.name.to_str().into_owned()),
            ]
        };
        let all = || afar.targets.all().iter();
        page.gauges(
            "ringpost_storage_node_up",
            "Reports whether a storage node works; 1 means that it does, 0 that it failed and is probed.",
            all().map(|target| (labels(target), u64::from(target.state().is_up))),
        );
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let outcomes = all().flat_map(|target| {
            let of = |outcome: &str, count| {
                let mut labels = labels(target);
                labels.push(("outcome", outcome.to_owned()));
                (labels, count)
            };
            [
                of("taken", read(&target.taken)),
                of("failed", read(&target.failed)),
            ]
        });
        page.counters(
            "ringpost_handed_over",
            "Reports the messages handed over to a storage node, by outcome, in messages.",
            outcomes,
        );
        let table = afar.table.state(SessionHost::of_core().now());
        page.gauge(
            "ringpost_recipients_addresses",
            "Reports the addresses in the table of recipients, in addresses.",
            table.addresses as u64,
        );
        page.gauge(
            "ringpost_recipients_fresh",
            "Reports whether the table of recipients is young enough to refuse unknown addresses; 1 means that it is, 0 that they are deferred.",
            u64::from(table.is_fresh),
        );
        page.gauge(
            "ringpost_deliveries_in_doubt",
            "Reports the deliveries whose answer was lost and that the next try of their sender settles, in deliveries.",
            afar.doubts.count() as u64,
        );
    }
}
