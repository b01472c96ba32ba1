//! `status`: what runs, whether it takes mail, and what should be looked at.

use std::path::Path;

use ::admin::certificate;
use ::admin::limits::INCIDENTS_SHOWN;
use ::admin::reply::{ServiceLine, Status};
use hardware::incident;
use plan::Service;

use crate::admin::shared::{Admin, Refused, volume_of};
use crate::admin::{legs, machine, spool, volume};

/// Everything that `status` reports.
pub(crate) async fn status(admin: &Admin) -> Result<Status, Refused> {
    let refuses = admin.trouble().await?;
    let (legs, scrub) = admin
        .ask(async |mailboxes| {
            let volume = volume_of(&mailboxes);
            (legs::lines(volume), volume::scrub_line(volume))
        })
        .await?;
    let spool = spool::detail(admin).await;
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
        serving: refuses.is_none() && !admin.is_stopping(),
        refuses,
        uptime_s: admin.uptime().as_secs(),
        services: services.collect(),
        legs,
        scrub: Some(scrub),
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
            let mut alarms = machine::alarms().await;
            alarms.extend(spool::alarms(&spool));
            alarms.extend(probation_alarm);
            alarms.extend(certificate::alarm(
                &admin.certificate().chain(),
                certificate::now_s(),
            ));
            alarms
        },
        spool: Some(spool),
        probation,
        incidents: {
            let mut all = incident::list(&admin.plan().state);
            all.split_off(all.len().saturating_sub(INCIDENTS_SHOWN))
        },
    })
}
