//! Requests performed: each is handed to the file of its noun.

use ::admin::reply::Reply;
use ::admin::request::Request;
use ::admin::update::Request as Ask;
use serde::Serialize;
use serde_json::Value;

use crate::admin::caller::Caller;
use crate::admin::shared::{Admin, Refused, volume_of};
use crate::admin::{
    accounts, appliance, bundle, certificates, damage, domains, fsck, legs, logs, machine, profile,
    queue, settings, status, volume,
};

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
    let refused = matches!(reply, Reply::Refused(_));
    if door == "socket" && console && !refused {
        tracing::debug!(verb, door, "control");
    } else {
        tracing::info!(verb, door, who, refused, "control");
    }
    reply
}

async fn perform(admin: &Admin, request: Request, caller: &Caller) -> Result<Value, Refused> {
    match request {
        Request::Status => document(&status::status(admin).await?),
        Request::Plan => document(admin.plan()),
        Request::AccountAdd {
            address,
            password_hash,
            quota_bytes,
        } => document(&accounts::add(admin, &address, password_hash, quota_bytes).await?),
        Request::AccountList => document(&accounts::list(admin).await?),
        Request::AccountShow { address } => document(&accounts::show(admin, &address).await?),
        Request::AccountRemove { address } => document(&accounts::remove(admin, &address).await?),
        Request::AccountPassword {
            address,
            password_hash,
        } => document(&accounts::set_password(admin, &address, password_hash).await?),
        Request::AccountQuota {
            address,
            quota_bytes,
        } => document(&accounts::set_quota(admin, &address, quota_bytes).await?),
        Request::DomainAdd { domain } => document(&domains::add(admin, domain).await?),
        Request::DomainList => document(&domains::list(admin).await?),
        Request::DomainRemove { domain } => document(&domains::remove(admin, domain).await?),
        Request::QueueList { after, count } => document(&queue::list(admin, after, count).await?),
        Request::QueueShow { id } => document(&queue::show(admin, id).await?),
        Request::QueueRetry { id } => document(&queue::retry(admin, id).await?),
        Request::QueueHold { id } => document(&queue::hold(admin, id, true).await?),
        Request::QueueRelease { id } => document(&queue::hold(admin, id, false).await?),
        Request::QueueDrop { id } => document(&queue::take_out(admin, id).await?),
        Request::VolumeList => {
            let line = admin.ask(async |mailboxes| volume::line(&mailboxes));
            document(&[line.await?])
        }
        Request::VolumeShow => {
            let detail = admin.ask(async |mailboxes| volume::detail(&mailboxes));
            document(&detail.await?)
        }
        Request::VolumeAcceptDamage { yes } => document(&damage::accept(admin, yes).await?),
        Request::VolumeScrub => {
            let report = admin.ask(async |mailboxes| volume_of(&mailboxes).scrub().await);
            document(&volume::scrubbed(&report.await?))
        }
        Request::LegList => document(&legs::list(admin).await?),
        Request::LegAttach { path, fresh } => document(&legs::attach(admin, &path, fresh).await?),
        Request::LegDetach { leg } => {
            let work = async move |mailboxes| legs::detach(volume_of(&mailboxes), &leg).await;
            document(&admin.ask(work).await??)
        }
        Request::LegFail { leg } => {
            let work = async move |mailboxes| legs::fail(volume_of(&mailboxes), &leg).await;
            document(&admin.ask(work).await??)
        }
        Request::LegRetire { leg } => {
            let work = async move |mailboxes| legs::retire(volume_of(&mailboxes), &leg).await;
            document(&admin.ask(work).await??)
        }
        Request::Fsck { full } => document(&fsck::check(admin, full).await?),
        Request::Logs { lines } => document(&logs::last(lines)),
        Request::SupportBundle => {
            let mut answers = Vec::new();
            for (name, request) in bundle::requests() {
                let answer = Box::pin(perform(admin, request, caller)).await;
                answers.push((name, answer));
            }
            Ok(bundle::document(admin, answers).await)
        }
        Request::Metrics => Ok(admin.open_metrics().await.into()),
        Request::Disks => document(&machine::disks(legs::list(admin).await?).await?),
        Request::Network => document(&machine::network().await?),
        Request::Time => Ok(appliance::time()),
        Request::CertificateShow => document(&certificates::list(admin)?),
        Request::CertificateSet { chain, key, yes } => {
            certificates::set(admin, &chain, &key, yes)?;
            document(&certificates::list(admin)?)
        }
        Request::CertificateReload => {
            admin.certificate().reload()?;
            document(&certificates::list(admin)?)
        }
        Request::SettingsShow
        | Request::SettingsHistory
        | Request::SettingsCheck { .. }
        | Request::SettingsApply { .. }
        | Request::SettingsConfirm
        | Request::SettingsRevert { .. } => settings::perform(admin, request, caller).await,
        Request::UpdateStatus => appliance::update(Ask::Status).await,
        Request::UpdateApply { source, tries } => {
            appliance::update(Ask::Apply { source, tries }).await
        }
        Request::UpdateRollback => appliance::update(Ask::Rollback).await,
        Request::UpdateSync => appliance::update(Ask::Sync).await,
        Request::SystemDiskAdd { path } => appliance::update(Ask::AddDisk { path }).await,
        Request::Reboot => appliance::signal("reboot"),
        Request::PowerOff => appliance::signal("poweroff"),
        Request::FactoryReset => appliance::factory_reset(&admin.plan().state),
        Request::ProfileApplied => document(&profile::applied(admin).await?),
    }
}

/// `()` is `null`.
fn document<T: Serialize + ?Sized>(value: &T) -> Result<Value, Refused> {
    serde_json::to_value(value).map_err(|error| format!("cannot write the answer: {error}"))
}
