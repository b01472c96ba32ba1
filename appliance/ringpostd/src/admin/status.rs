//! `status`: what runs, whether it takes mail, and what should be looked at.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use ::admin::certificate;
use ::admin::front::{FrontNodeLine, FrontSessions};
use ::admin::limits::INCIDENTS_SHOWN;
use ::admin::reply::{RecipientsLine, ServiceLine, Status, StorageNodeLine};
use client::front::{Node, Nodes};
use client::login::audit::Protocol;
use hardware::incident;
use inbound::afar;
use plan::{Service, Zone};
use runtime::SessionHost;

use crate::acme::Acme;
use crate::admin::shared::{Admin, Refused, volume_of};
use crate::admin::{legs, machine, spool, volume};

/// Everything that `status` reports.
pub(crate) async fn status(admin: &Admin) -> Result<Status, Refused> {
    let refuses = admin.trouble().await?;
    let has_storage = admin.plan().runs(Zone::Storage);
    let (legs, scrub) = match has_storage {
        false => (Vec::new(), None),
        true => {
            let look = admin.ask(async |mailboxes| {
                let volume = volume_of(&mailboxes);
                (legs::lines(volume), Some(volume::scrub_line(volume)))
            });
            look.await?
        }
    };
    let spool = match (has_storage, admin.spool(), &admin.plan().spool) {
        // A node without storage and without [spool] says nothing of one.
        (false, Err(_), None) => None,
        _ => Some(spool::detail(admin).await),
    };
    let received = admin.metrics().received();
    let services = Service::ALL.iter().filter_map(|service| {
        let planned = admin.plan().listener(*service)?;
        let counted = admin.metrics().service(*service);
        Some(ServiceLine {
            service: service.name().into(),
            addresses: planned.addresses.iter().map(ToString::to_string).collect(),
            open: counted.open,
            accepted: counted.accepted,
            refused: counted.refused,
        })
    });
    let (probation, probation_alarm) = match boot::probation::told(Path::new("/")) {
        Ok(told) => (told.clone(), told.map(|told| told.sentence())),
        Err(misfit) => (None, Some(misfit.to_string())),
    };
    Ok(Status {
        version: hardware::image_version(std::path::Path::new("/"))
            .unwrap_or_else(|| env!("CARGO_PKG_VERSION").into()),
        server_name: admin.plan().server_name.clone(),
        // The same two conditions as `/readyz`: a balancer and a person must not read different answers.
        serving: refuses.is_none() && !admin.is_stopping(),
        refuses,
        uptime_s: admin.uptime().as_secs(),
        services: services.collect(),
        legs,
        scrub,
        storage_nodes: admin.afar().map_or_else(Vec::new, storage_nodes),
        recipients: admin.afar().map(recipients),
        front: admin.front().map_or_else(Vec::new, front_nodes),
        messages_accepted: received.accepted,
        bytes_accepted: received.bytes,
        receive_memory_bytes: admin.receive_memory().used_bytes() as u64,
        owner_waiting: admin.owner().waiting() as u64,
        owner_under_way: admin
            .owner()
            .gauges()
            .under_way
            .load(std::sync::atomic::Ordering::Relaxed) as u64,
        alarms: {
            // In the order in which an operator should act: the machine, then mail that waits, then settings and certificates that run out.
            let mut alarms = machine::alarms().await;
            alarms.extend(spool.iter().flat_map(spool::alarms));
            alarms.extend(admin.afar().and_then(alarm_of_nodes));
            alarms.extend(admin.front().into_iter().flat_map(alarms_of_front));
            alarms.extend(probation_alarm);
            let sources = admin.certificate().sources();
            alarms.extend(
                sources
                    .iter()
                    .filter_map(|one| one.alarm(certificate::now_s())),
            );
            alarms.extend(admin.acme().and_then(Acme::alarm));
            alarms.extend(admin.fetcher().and_then(|fetcher| fetcher.alarm()));
            alarms.extend(admin.ldap().into_iter().flat_map(|ldap| ldap.alarms()));
            let of_node = admin.own().map(|own| own.chain());
            alarms.extend(
                of_node.and_then(|chain| certificate::alarm_of_node(&chain, certificate::now_s())),
            );
            alarms
        },
        sources: admin.metrics().sources(),
        spool,
        probation,
        incidents: {
            let mut all = incident::list(&admin.plan().state);
            all.split_off(all.len().saturating_sub(INCIDENTS_SHOWN))
        },
    })
}

fn storage_nodes(afar: &afar::Settings) -> Vec<StorageNodeLine> {
    let read = |counter: &AtomicU64| counter.load(Relaxed);
    let line = |target: &afar::Target| {
        let state = target.state();
        StorageNodeLine {
            address: target.address.to_string(),
            protocol: target.protocol.name().to_owned(),
            name: target.name.to_str().into_owned(),
            up: state.is_up,
            failures: state.failures,
            why: state.why,
            messages_taken: read(&target.taken),
            messages_failed: read(&target.failed),
        }
    };
    afar.targets.all().iter().map(line).collect()
}

fn front_nodes(nodes: &Nodes) -> Vec<FrontNodeLine> {
    let read = |counter: &AtomicU64| counter.load(Relaxed);
    let line = |node: &Node| {
        let (state, table) = (node.state(), node.table.state(SessionHost::of_core().now()));
        let sessions = |protocol: Protocol| FrontSessions {
            protocol: protocol.name().to_owned(),
            open: node.open(protocol),
            passed: node.passed(protocol),
        };
        FrontNodeLine {
            address: node.address.to_string(),
            name: node.name.to_str().into_owned(),
            up: state.is_up,
            why: state.trouble,
            sessions: Protocol::ALL.map(sessions).into(),
            refused: read(&node.refused),
            failed: read(&node.failed),
            broken: read(&node.broken),
            addresses: table.addresses as u64,
            age_s: table.age_s,
            fresh: table.is_fresh,
            trouble: table.trouble,
        }
    };
    nodes.all().iter().map(line).collect()
}

fn alarms_of_front(nodes: &Nodes) -> Vec<String> {
    let away = |node: &Node| {
        let state = node.state();
        (!state.is_up).then(|| {
            format!(
                "storage node {} does not work, and its people cannot log in: {}; look at that node, or change [[front.storage]]",
                node.label(),
                state.trouble
            )
        })
    };
    nodes.all().iter().filter_map(away).collect()
}

/// Senders notice nothing of it for as long as a spool takes their mail.
/// One node that is down is the nodes' business and is shown in its line; all of them is an alarm here.
fn alarm_of_nodes(afar: &afar::Settings) -> Option<String> {
    let mut all = afar.targets.all().iter();
    all.all(|target| !target.state().is_up).then(|| {
        "no storage node works: mail waits in the spool, or is deferred where there is none; the lines of the storage nodes say why"
            .to_owned()
    })
}

/// The age of the table is measured by the same clock that decides about its freshness, so that `fresh` and `age_s` cannot contradict each other.
fn recipients(afar: &afar::Settings) -> RecipientsLine {
    let state = afar.table.state(SessionHost::of_core().now());
    RecipientsLine {
        version: state.version,
        addresses: state.addresses as u64,
        domains: state.domains as u64,
        age_s: state.age_s,
        fresh: state.is_fresh,
        trouble: state.trouble,
        in_doubt: afar.doubts.count() as u64,
    }
}
