//! What a front does beside its sessions, for each storage node: it fetches the table of recipients, and asks what clients may be offered.

use std::time::Duration;

use inbound::afar::pull::{self, Keep};
use inbound::afar::{Caller, Protocol, Target, Targets};
use runtime::{Dial, Stop};

use super::call::{NoCall, offered};
use super::limits::OFFER_EVERY;
use super::nodes::Nodes;

/// Keeps the table of the storage node of this index fresh, until `stop`.
pub async fn tables<D: Dial>(
    caller: Caller<D>,
    nodes: Nodes,
    index: usize,
    every: Duration,
    keep: Keep,
    stop: Stop,
) {
    let node = &nodes.all()[index];
    // The protocol of a target is for mail, of which a front hands none over.
    let target = Target::new(
        node.address,
        Protocol::Lmtp,
        node.name.clone(),
        1,
        1,
        Some(node.recipients),
    );
    let (targets, table) = (Targets::new(vec![target]), node.table.clone());
    pull::fetch(caller, targets, table, every, keep, stop).await;
}

/// Asks the storage node of this index again and again what it offers, until `stop`: whether it works is known before a person notices.
pub async fn offers<D: Dial>(caller: Caller<D>, nodes: Nodes, index: usize, stop: Stop) {
    let node = &nodes.all()[index];
    loop {
        // until the stop
        let turn = async {
            match offered(&caller, node).await {
                Ok(offered) => {
                    node.offers(offered);
                    node.works();
                }
                Err(NoCall::Fails(why)) => node.fails(&why),
                Err(no) => tracing::debug!(?no, "no offer now"),
            }
            caller.host.sleep(OFFER_EVERY).await;
        };
        tokio::select! {
            biased;
            () = stop.requested() => return,
            () = turn => {}
        }
    }
}
