//! The settings about scanners, as a core's inspectors want them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use inbound::receive::inspect::{Inspect, Inspector, Policy};
use plan::scan::{OnSpam, Scan, WhenUnavailable};
use runtime::{Core, Counters as Connections, SessionHost, TcpDial};
use scan::{Counters, Filter, Pool, Scanners};

/// Of mail from strangers: all scanners. `keeps_viruses`: they go to quarantine.
pub fn of_strangers(
    core: &Core,
    settings: &Scan,
    keeps_viruses: bool,
    counters: &Arc<Counters>,
) -> Rc<dyn Inspect> {
    let filters = settings.milters.iter().map(|milter| Filter {
        name: milter.name.clone(),
        defers: milter.when_unavailable == WhenUnavailable::Defer,
        pool: pool(core, settings, &milter.servers, counters),
    });
    let scanners = Scanners {
        rspamd: some(core, settings, &settings.rspamd, counters),
        clamd: some(core, settings, &settings.clamd, counters),
        filters: filters.collect(),
        counters: counters.clone(),
    };
    Rc::new(Inspector {
        scanners,
        policy: Policy {
            keeps_viruses,
            ..policy(settings)
        },
    })
}

/// Of mail that people submit: viruses alone. `None`: it is not looked into.
pub fn of_people(
    core: &Core,
    settings: &Scan,
    counters: &Arc<Counters>,
) -> Option<Rc<dyn Inspect>> {
    if !settings.submission {
        return None;
    }
    let mut scanners = Scanners::none(counters.clone());
    // Our own people are not judged for junk: a wrong verdict would keep a person from writing. A virus is no question of judgement.
    scanners.clamd = some(core, settings, &settings.clamd, counters);
    Some(Rc::new(Inspector {
        scanners,
        policy: policy(settings),
    }))
}

fn policy(settings: &Scan) -> Policy {
    Policy {
        bytes_max: settings.message.0 as usize,
        refuses_spam: settings.spam == OnSpam::Refuse,
        defers: settings.when_unavailable == WhenUnavailable::Defer,
        // By default; `of_strangers` sets it. What a person submits is refused, so that the person learns of it.
        keeps_viruses: false,
    }
}

fn some(
    core: &Core,
    settings: &Scan,
    servers: &[SocketAddr],
    counters: &Arc<Counters>,
) -> Option<Pool<TcpDial>> {
    (!servers.is_empty()).then(|| pool(core, settings, servers, counters))
}

fn pool(
    core: &Core,
    settings: &Scan,
    servers: &[SocketAddr],
    counters: &Arc<Counters>,
) -> Pool<TcpDial> {
    // These are not shown: what scanners cost is counted by `counters`.
    let connections = Arc::new(Connections::default());
    let dial = TcpDial::new(core, settings.connections, connections);
    Pool::new(
        SessionHost::of_core(),
        dial,
        servers,
        settings.connections,
        settings.deadline.0,
        counters.clone(),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn whatever_the_settings_may_name_there_is_room_for() {
        use plan::limits::*;
        use scan::limits::*;
        assert_eq!(
            (SCAN_SERVERS_MAX, SCAN_MILTERS_MAX),
            (SERVERS_MAX, FILTERS_MAX)
        );
        assert_eq!(SCAN_CALL_BYTES, CALL_BYTES as u64);
        assert_eq!(SCAN_JSON_BYTES, JSON_BYTES as u64);
    }
}
