//! Addresses and networks that are not served, as administrators see and change them.

use std::time::Duration;

use ::admin::reply::BanLine;
use ::admin::request::Request;
use base::Network;
use runtime::SessionHost;
use serde_json::Value;

use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about bans.
pub(crate) fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    let bans = admin.door().bans();
    // The clock that all cores share.
    let now = SessionHost::of_core().now();
    match request {
        Request::BanList => {
            let lines = bans.list(now).into_iter().map(|ban| BanLine {
                network: ban.network.to_string(),
                left_s: ban.left.as_secs(),
                times: ban.times,
            });
            document(&lines.collect::<Vec<_>>())
        }
        Request::BanAdd { network, seconds } => {
            let span = Duration::from_secs(seconds);
            bans.add(parse(&network)?, span, now).map_err(|_| {
                "there are too many bans by hand: lift some, or ban a larger network".to_owned()
            })?;
            document(&())
        }
        Request::BanLift { network } => match bans.lift(parse(&network)?, now) {
            0 => Err(format!("{network} is not banned: see `ban list`")),
            _ => document(&()),
        },
        _ => Err("not about bans".into()),
    }
}

fn parse(network: &str) -> Result<Network, Refused> {
    network
        .parse()
        .map_err(|fix| format!("\"{network}\" is not a network: {fix}"))
}
