//! Every open file (descriptor), against how many this process may have: connections, and before them what the engine, the
//! witness and the control socket need to go on when every connection is taken.

use serde::{Deserialize, Serialize};

use crate::limits::*;
use crate::load::Misfit;
use crate::machine::Machine;
use crate::plan::parts::{CorePlan, ListenerPlan, Service, StoragePlan};
use crate::settings::Settings;
use crate::spool::SpoolPlan;

/// One line of the sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorLine {
    pub what: String,
    pub count: u64,
    /// The setting that makes it smaller; empty for what is fixed.
    pub lower: String,
}

/// The setting behind a service's connections, and what the operator wrote there.
fn limit(service: Service, settings: &Settings) -> (&'static str, Option<usize>) {
    let limits = &settings.limits;
    match service {
        Service::Smtp => ("limits.smtp_connections", limits.smtp_connections),
        Service::Lmtp => ("limits.lmtp_connections", limits.lmtp_connections),
        Service::Submission | Service::Submissions => (
            "limits.submission_connections",
            limits.submission_connections,
        ),
        Service::Imap | Service::Imaps => ("limits.imap_connections", limits.imap_connections),
        Service::Pop3 | Service::Pop3s => ("limits.pop3_connections", limits.pop3_connections),
        Service::Managesieve => (
            "limits.managesieve_connections",
            limits.managesieve_connections,
        ),
        Service::Http | Service::Https | Service::Policy | Service::Challenge => {
            ("limits.http_connections", limits.http_connections)
        }
        Service::ZoneLmtp | Service::ZoneSmtp | Service::ZoneQmqp | Service::Recipients => {
            ("limits.zone_connections", limits.zone_connections)
        }
        Service::ZoneClient => (
            "limits.zone_client_connections",
            limits.zone_client_connections,
        ),
    }
}

/// Connections to other servers at a time.
pub fn sending_connections(machine: &Machine) -> u64 {
    let share = machine.open_files / SENDING_DESCRIPTORS_SHARE;
    share.clamp(SENDING_CONNECTIONS_MIN, SENDING_CONNECTIONS_MAX)
}

/// What is open without any connection, or may be at any time beside all of them.
pub(crate) fn fixed(
    cores: &[CorePlan],
    listeners: &[ListenerPlan],
    storage: &StoragePlan,
    machine: &Machine,
) -> Vec<DescriptorLine> {
    let line = |what: &str, count: u64| DescriptorLine {
        what: what.to_owned(),
        count,
        lower: String::new(),
    };
    let threads = |service: Service| match service.zone() {
        Some(zone) => cores
            .iter()
            .filter(|core| core.zones.contains(&zone))
            .count() as u64,
        None => 0,
    };
    // The bound socket, and two of each thread that accepts on it.
    let sockets = listeners
        .iter()
        .map(|listener| listener.addresses.len() as u64 * (1 + 2 * threads(listener.service)))
        .sum();
    vec![
        line("program, witness, log", PROCESS_DESCRIPTORS),
        line("threads", cores.len() as u64 * CORE_DESCRIPTORS),
        line("legs", storage.legs.len() as u64 * LEG_DESCRIPTORS),
        line("listeners", sockets),
        line("control socket", CONTROL_DESCRIPTORS),
        line("mail on its way out", sending_connections(machine)),
        line("reserve", RESERVE_DESCRIPTORS),
    ]
}

/// Sockets of those that look names up (`askers`).
pub(crate) fn looking_up(askers: u64) -> DescriptorLine {
    DescriptorLine {
        what: "names looked up".to_owned(),
        count: askers * RESOLVER_DESCRIPTORS,
        lower: String::new(),
    }
}

/// Connections to another directory, those whose names are looked up, and the runtime of their thread.
pub(crate) fn asking() -> DescriptorLine {
    DescriptorLine {
        what: "asking the directory (LDAP)".to_owned(),
        count: LDAP_CONNECTIONS + CORE_DESCRIPTORS,
        lower: String::new(),
    }
}

/// Connections to accounts elsewhere, and what looks their servers' names up.
pub(crate) fn fetching() -> DescriptorLine {
    DescriptorLine {
        what: "fetching from accounts elsewhere".to_owned(),
        count: FETCH_CONNECTIONS,
        lower: String::new(),
    }
}

/// Connections of `threads` threads to storage nodes.
pub(crate) fn handing(threads: u64) -> DescriptorLine {
    DescriptorLine {
        what: "mail on its way to storage nodes".to_owned(),
        count: threads * HANDING_CONNECTIONS + 2 * STORAGE_NODES_MAX as u64,
        lower: String::new(),
    }
}

/// What fetches tables of `nodes` storage nodes and asks what they offer.
pub(crate) fn watching(nodes: usize) -> DescriptorLine {
    DescriptorLine {
        what: "tables of storage nodes".to_owned(),
        count: 2 * nodes as u64,
        lower: String::new(),
    }
}

/// The spool's thread and legs.
pub(crate) fn spool(spool: &SpoolPlan) -> DescriptorLine {
    DescriptorLine {
        what: "spool".to_owned(),
        count: CORE_DESCRIPTORS + spool.storage.legs.len() as u64 * LEG_DESCRIPTORS,
        lower: "spool.legs".to_owned(),
    }
}

/// Connections to scanners.
pub(crate) fn scanning(calls: u64) -> DescriptorLine {
    DescriptorLine {
        what: "mail being scanned".to_owned(),
        count: calls,
        lower: "scan.connections".to_owned(),
    }
}

/// Lowers computed numbers of connections until everything fits `open_files`; numbers that the settings name stand, and are
/// refused where they do not fit.
pub(crate) fn fit(
    settings: &Settings,
    listeners: &mut [ListenerPlan],
    fixed: &[DescriptorLine],
    open_files: u64,
) -> Result<(), Misfit> {
    let fixed: u64 = fixed.iter().map(|line| line.count).sum();
    // A front has a connection with a storage node for each of its own.
    let each = connections_each(settings);
    let (mut written, mut computed, mut least) = (0u64, 0u64, 0u64);
    for listener in listeners.iter() {
        let connections = listener.connections_max as u64;
        match limit(listener.service, settings) {
            (_, Some(_)) => written = written.saturating_add(connections),
            (_, None) => {
                computed += connections;
                least += connections.min(CONNECTIONS_MIN as u64);
            }
        }
    }
    let sessions = written.saturating_add(least).saturating_mul(each);
    let needed = fixed.saturating_add(sessions);
    if needed > open_files {
        let largest = listeners
            .iter()
            .filter(|listener| limit(listener.service, settings).1.is_some())
            .max_by_key(|listener| listener.connections_max);
        let lower = largest.map_or(String::new(), |listener| {
            let (name, _) = limit(listener.service, settings);
            format!(", or lower {name} ({})", listener.connections_max)
        });
        return Err(Misfit::new(format!(
            "the limits add up to {needed} open files, and this process may have {open_files}: raise that with `ulimit -n` or LimitNOFILE={lower}"
        )));
    }
    let room = (open_files - fixed) / each - written;
    if computed <= room {
        return Ok(());
    }
    // Every limit keeps its least; the rest is shared out in the proportions that there were.
    let (share, of) = (room - least, computed - least);
    for listener in listeners {
        if limit(listener.service, settings).1.is_none() {
            let connections = listener.connections_max as u64;
            let kept = connections.min(CONNECTIONS_MIN as u64);
            let more = u128::from(connections - kept) * u128::from(share) / u128::from(of);
            listener.connections_max = (kept + more as u64) as usize;
        }
    }
    Ok(())
}

fn connections_each(settings: &Settings) -> u64 {
    if settings.is_front() { 2 } else { 1 }
}

/// The whole sum.
pub(crate) fn lines(
    settings: &Settings,
    listeners: &[ListenerPlan],
    mut fixed: Vec<DescriptorLine>,
) -> Vec<DescriptorLine> {
    fixed.extend(listeners.iter().map(|listener| DescriptorLine {
        what: format!("{} connections", listener.service.name()),
        count: listener.connections_max as u64 * connections_each(settings),
        lower: limit(listener.service, settings).0.to_owned(),
    }));
    fixed
}
