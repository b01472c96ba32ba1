//! Of a front: the storage nodes that people are passed on to.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use client::front::Node;
use client::login::audit::Protocol;

use super::{Labels, Page};
use crate::admin::shared::Admin;

impl Admin {
    /// Nothing on a node that is not a front.
    pub(super) fn write_front(&self, page: &mut Page) {
        let Some(nodes) = self.front() else { return };
        let labels = |node: &Node| -> Labels { vec![("node", node.name.to_str().into_owned())] };
        let all = || nodes.all().iter();
        page.gauges(
            "ringpost_front_node_up",
            "Reports whether a storage node behind this front answers; 1 means that it does, 0 that it does not.",
            all().map(|node| (labels(node), u64::from(node.state().is_up))),
        );
        let by_protocol = |of: fn(&Node, Protocol) -> u64| {
            all().flat_map(move |node| {
                Protocol::ALL.into_iter().map(move |protocol| {
                    let mut labels = labels(node);
                    labels.push(("protocol", protocol.name().to_owned()));
                    (labels, of(node, protocol))
                })
            })
        };
        page.gauges(
            "ringpost_front_sessions_open",
            "Reports the sessions that are passed on to a storage node now, in sessions.",
            by_protocol(Node::open),
        );
        page.counters(
            "ringpost_front_sessions",
            "Reports the sessions passed on to a storage node since the start, in sessions.",
            by_protocol(Node::passed),
        );
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let outcomes = all().flat_map(|node| {
            let of = |outcome: &str, count| {
                let mut labels = labels(node);
                labels.push(("outcome", outcome.to_owned()));
                (labels, count)
            };
            [
                of("refused", read(&node.refused)),
                of("put_off", read(&node.failed)),
                of("broken_off", read(&node.broken)),
            ]
        });
        page.counters(
            "ringpost_front_failures",
            "Reports logins that a storage node refused, logins put off because it did not answer as it should, and sessions that it broke off, since the start.",
            outcomes,
        );
    }
}
