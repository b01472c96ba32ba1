//! Requests performed: each is handed to the file of its noun, which takes it apart.

use ::admin::reply::Reply;
use ::admin::request::Request;
use serde_json::Value;

use crate::admin::caller::Caller;
use crate::admin::shared::{Admin, Refused, document};
use crate::admin::{
    accounts, acl, addresses, appliance, bans, bundle, certificates, dkim, domains, fetch, fsck,
    ldap, legs, logins, logs, machine, profile, quarantine, queue, reports, scripts, settings,
    spam, spool, status, traces, volume, ways,
};
use crate::engine::Whose;

/// Performs a request, and leaves a line of it in the log.
pub(crate) async fn answer_logged(admin: &Admin, request: Request, caller: &Caller) -> Reply {
    let (door, who) = (caller.door, caller.who.as_str());
    // A request may hold a password's hash or a private key: its verb alone is logged.
    let verb = format!("{request:?}");
    let verb = verb.split([' ', '{']).next().unwrap_or("").to_owned();
    // The console looks every second: that would leave nothing else in the log.
    let console = matches!(
        request,
        Request::Status | Request::Plan | Request::VolumeList
    );
    let reply = match perform(admin, request, caller).await {
        Ok(value) => Reply::Done(value),
        Err(refused) => Reply::Refused(refused),
    };
    // What was refused is logged as well, with its caller, and never at the level of the console's looks.
    let refused = matches!(reply, Reply::Refused(_));
    if door == "socket" && console && !refused {
        tracing::debug!(verb, door, "control");
    } else {
        tracing::info!(verb, door, who, refused, "control");
    }
    reply
}

async fn perform(admin: &Admin, request: Request, caller: &Caller) -> Result<Value, Refused> {
    // Before the request is taken apart, so that no noun can forget it.
    quarantine::leave_alone(&request)?;
    match request {
        Request::Status => document(&status::status(admin).await?),
        Request::Plan => document(admin.plan()),
        Request::AccountAdd { .. }
        | Request::AccountList
        | Request::AccountShow { .. }
        | Request::AccountRemove { .. }
        | Request::AccountPassword { .. }
        | Request::AccountQuota { .. } => accounts::perform(admin, request).await,
        Request::DomainAdd { .. }
        | Request::DomainList
        | Request::DomainRemove { .. }
        | Request::DomainDns { .. }
        | Request::DomainCheck { .. } => domains::perform(admin, request).await,
        Request::Fetch { ask } => fetch::perform(admin, ask, caller).await,
        Request::Ldap { ask } => ldap::perform(admin, ask).await,
        Request::Logins { ask } => logins::perform(admin, ask, caller).await,
        Request::Acl { ask } => acl::perform(admin, ask, caller).await,
        Request::Addresses { ask } => {
            let noted = acl::of_grant(&ask);
            let done = addresses::perform(admin, ask).await?;
            noted.iter().for_each(|what| acl::note(caller, what));
            Ok(done)
        }
        Request::BanList | Request::BanAdd { .. } | Request::BanLift { .. } => {
            bans::perform(admin, request)
        }
        Request::Scripts { ask } => scripts::perform(admin, ask).await,
        Request::SpamShow { .. } | Request::SpamForget { .. } => {
            spam::perform(admin, request).await
        }
        Request::ReportList | Request::ReportShow { .. } | Request::ReportSend { .. } => {
            reports::perform(admin, request).await
        }
        Request::QueueList { .. }
        | Request::QueueShow { .. }
        | Request::QueueRetry { .. }
        | Request::QueueHold { .. }
        | Request::QueueRelease { .. }
        | Request::QueueDrop { .. } => queue::perform(admin, request).await,
        Request::QueueRoute { .. } | Request::QueueReroute { .. } => {
            ways::perform(admin, request).await
        }
        Request::QuarantineList { .. }
        | Request::QuarantineShow { .. }
        | Request::QuarantineRelease { .. }
        | Request::QuarantineDrop { .. } => quarantine::perform(admin, request).await,
        Request::DkimMake { .. }
        | Request::DkimList { .. }
        | Request::DkimShow { .. }
        | Request::DkimActivate { .. }
        | Request::DkimRetire { .. }
        | Request::DkimRemove { .. } => dkim::perform(admin, request).await,
        Request::VolumeList
        | Request::VolumeShow
        | Request::VolumeAcceptDamage { .. }
        | Request::VolumeScrub => volume::perform(admin, request).await,
        Request::LegList
        | Request::LegAttach { .. }
        | Request::LegDetach { .. }
        | Request::LegFail { .. }
        | Request::LegRetire { .. } => legs::perform(admin, Whose::Mail, request).await,
        Request::Spool { ask } => spool::perform(admin, ask).await,
        Request::Fsck { full } => document(&fsck::check(admin, full).await?),
        Request::Trace { wanted } => traces::perform(admin, wanted).await,
        Request::Logs { lines } => document(&logs::last(lines)),
        // The bundle asks the same questions as an operator would, through this very function: what is hidden there is hidden here.
        Request::SupportBundle => {
            let mut answers = Vec::new();
            for (name, request) in bundle::requests() {
                let answer = Box::pin(perform(admin, request, caller)).await;
                answers.push((name, answer));
            }
            Ok(bundle::document(admin, answers).await)
        }
        Request::Metrics => Ok(admin.open_metrics().await.into()),
        Request::Disks | Request::Network => machine::perform(admin, request).await,
        Request::CertificateShow
        | Request::CertificateSet { .. }
        | Request::CertificateReload
        | Request::CertificateStatus
        | Request::CertificateRenew => certificates::perform(admin, request),
        Request::SettingsShow
        | Request::SettingsHistory
        | Request::SettingsCheck { .. }
        | Request::SettingsApply { .. }
        | Request::SettingsConfirm
        | Request::SettingsRevert { .. } => settings::perform(admin, request, caller).await,
        Request::Time
        | Request::UpdateStatus
        | Request::UpdateApply { .. }
        | Request::UpdateRollback
        | Request::UpdateSync
        | Request::SystemDiskAdd { .. }
        | Request::Reboot
        | Request::PowerOff
        | Request::FactoryReset => appliance::perform(admin, request).await,
        Request::ProfileApplied => document(&profile::applied(admin).await?),
    }
}
