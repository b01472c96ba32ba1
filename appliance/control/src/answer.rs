//! Requests performed. What concerns mail or legs is asked of the volume's owner.

use std::path::Path;

use hardware::incident;
use mail::{Address, spelling};
use mailbox::{Account, MailboxFault, Mailboxes};
use plan::Service;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;
use serde_json::Value;
use storage::owner::Busy;
use update::request::Request as Ask;
use volume::{SegmentState, Volume};

use crate::admin::{Admin, Caller};
use crate::credentials::certificates;
use crate::limits::{ACCOUNTS_PAGE, INCIDENTS_SHOWN};
use crate::words::*;
use crate::{appliance, applied, damage, fsck, legs, logs, machine, settings, validity};

/// Why not, in one sentence for the operator.
pub type Refused = String;

impl Admin {
    pub(crate) async fn answer(&self, request: Request, caller: &Caller) -> Reply {
        match self.perform(request, caller).await {
            Ok(value) => Reply::Done(value),
            Err(refused) => Reply::Refused(refused),
        }
    }

    pub(crate) async fn perform(
        &self,
        request: Request,
        caller: &Caller,
    ) -> Result<Value, Refused> {
        match request {
            Request::Status => document(&self.status().await?),
            Request::Plan => document(self.plan()),
            Request::AccountAdd {
                address,
                password_hash,
                quota_bytes,
            } => {
                let address = parse_address(&address)?;
                self.mailboxes(async move |mailboxes| {
                    mailboxes
                        .add_account(&address, &password_hash, quota_bytes)
                        .await
                        .map(|_| ())
                })
                .await?;
                Ok(Value::Null)
            }
            Request::AccountList => document(&self.accounts().await?),
            Request::AccountShow { address } => {
                let address = parse_address(&address)?;
                document(
                    &self
                        .mailboxes(async move |mailboxes| detail(&mailboxes, &address).await)
                        .await?,
                )
            }
            Request::AccountRemove { address } => {
                self.on_account(&address, async |mailboxes, account| {
                    mailboxes.remove_account(account.id).await
                })
                .await
            }
            Request::AccountPassword {
                address,
                password_hash,
            } => {
                self.on_account(&address, async move |mailboxes, account| {
                    mailboxes
                        .set_password_hash(account.id, &password_hash)
                        .await
                })
                .await
            }
            Request::AccountQuota {
                address,
                quota_bytes,
            } => {
                self.on_account(&address, async move |mailboxes, account| {
                    mailboxes.set_quota(account.id, quota_bytes).await
                })
                .await
            }
            Request::DomainAdd { domain } => {
                self.mailboxes(async move |mailboxes| mailboxes.add_domain(&domain).await)
                    .await?;
                Ok(Value::Null)
            }
            Request::DomainList => document(
                &self
                    .mailboxes(async |mailboxes| Ok(mailboxes.domains()))
                    .await?,
            ),
            Request::DomainRemove { domain } => {
                self.mailboxes(async move |mailboxes| mailboxes.remove_domain(&domain).await)
                    .await?;
                Ok(Value::Null)
            }
            Request::VolumeList => {
                document(&[self.ask(async |mailboxes| volume_line(&mailboxes)).await?])
            }
            Request::VolumeShow => document(
                &self
                    .ask(async |mailboxes| volume_detail(&mailboxes))
                    .await?,
            ),
            Request::VolumeAcceptDamage { yes } => document(&damage::accept(self, yes).await?),
            Request::VolumeScrub => {
                let report = self
                    .ask(async |mailboxes| mailboxes.store().volume().scrub().await)
                    .await?;
                document(&fsck::scrubbed(&report))
            }
            Request::LegList => document(
                &self
                    .ask(async |mailboxes| legs::lines(volume_of(&mailboxes)))
                    .await?,
            ),
            Request::LegAttach { path, fresh } => {
                document(&legs::attach(self, &path, fresh).await?)
            }
            Request::LegDetach { leg } => {
                self.ask(async move |mailboxes| legs::detach(volume_of(&mailboxes), &leg).await)
                    .await??;
                Ok(Value::Null)
            }
            Request::LegFail { leg } => {
                self.ask(async move |mailboxes| legs::fail(volume_of(&mailboxes), &leg).await)
                    .await??;
                Ok(Value::Null)
            }
            Request::LegRetire { leg } => {
                self.ask(async move |mailboxes| legs::retire(volume_of(&mailboxes), &leg).await)
                    .await??;
                Ok(Value::Null)
            }
            Request::Fsck { full } => document(&fsck::check(self, full).await?),
            Request::Logs { lines } => document(&logs::last(lines)),
            Request::SupportBundle => appliance::bundle(self, caller).await,
            Request::Metrics => Ok(self.open_metrics().await.into()),
            Request::Disks => {
                let legs = self
                    .ask(async |mailboxes| legs::lines(volume_of(&mailboxes)))
                    .await?;
                document(&machine::disks(legs).await?)
            }
            Request::Network => document(&machine::network().await?),
            Request::Time => Ok(appliance::time()),
            Request::CertificateShow => document(&certificates(self)?),
            Request::CertificateSet { chain, key, yes } => {
                if !yes && let Some(why) = refused_pem(&chain) {
                    return Err(format!(
                        "{why}: clients will refuse it, and nothing was changed; with --yes it is shown all the same"
                    ));
                }
                self.certificate().replace(&chain, &key)?;
                document(&certificates(self)?)
            }
            Request::CertificateReload => {
                self.certificate().reload()?;
                document(&certificates(self)?)
            }
            Request::SettingsShow
            | Request::SettingsHistory
            | Request::SettingsCheck { .. }
            | Request::SettingsApply { .. }
            | Request::SettingsConfirm
            | Request::SettingsRevert { .. } => settings::perform(self, request, caller).await,
            Request::UpdateStatus => appliance::update(Ask::Status).await,
            Request::UpdateApply { source, tries } => {
                appliance::update(Ask::Apply { source, tries }).await
            }
            Request::UpdateRollback => appliance::update(Ask::Rollback).await,
            Request::UpdateSync => appliance::update(Ask::Sync).await,
            Request::SystemDiskAdd { path } => appliance::update(Ask::AddDisk { path }).await,
            Request::Reboot => appliance::signal("reboot"),
            Request::PowerOff => appliance::signal("poweroff"),
            Request::FactoryReset => appliance::factory_reset(&self.plan().state),
            Request::ProfileApplied => document(&applied::applied(self).await?),
        }
    }

    /// Runs `work` on the owner's thread.
    pub(crate) async fn ask<T, W>(&self, work: W) -> Result<T, Refused>
    where
        T: Send + 'static,
        W: AsyncFnOnce(Mailboxes) -> T + Send + 'static,
    {
        let done = self
            .owner()
            .ask(move |mailboxes| async move { work(mailboxes).await })
            .await;
        done.map_err(|Busy| "storage is busy or stopping: try again".to_owned())
    }

    /// As `ask`, for what the mailboxes may refuse.
    pub(crate) async fn mailboxes<T, W>(&self, work: W) -> Result<T, Refused>
    where
        T: Send + 'static,
        W: AsyncFnOnce(Mailboxes) -> Result<T, MailboxFault> + Send + 'static,
    {
        self.ask(work).await?.map_err(|fault| fault.to_string())
    }

    /// Why mail is not taken or not read: what the volume says now, or what the last probe saw.
    pub(crate) async fn trouble(&self) -> Result<Option<String>, Refused> {
        let refuses = self
            .ask(async |mailboxes| volume_of(&mailboxes).refuses())
            .await?;
        Ok(refuses.or_else(|| self.owner().gauges().health().trouble()))
    }

    async fn on_account<W>(&self, address: &str, work: W) -> Result<Value, Refused>
    where
        W: AsyncFnOnce(&Mailboxes, Account) -> Result<(), MailboxFault> + Send + 'static,
    {
        let address = parse_address(address)?;
        self.mailboxes(async move |mailboxes| {
            let account = exactly(&mailboxes, &address).await?;
            work(&mailboxes, account).await
        })
        .await?;
        Ok(Value::Null)
    }

    async fn status(&self) -> Result<Status, Refused> {
        let refuses = self.trouble().await?;
        let (legs, scrub) = self
            .ask(async |mailboxes| {
                let volume = volume_of(&mailboxes);
                (legs::lines(volume), scrub_line(volume))
            })
            .await?;
        let received = self.metrics().received();
        let services = Service::ALL.iter().filter_map(|service| {
            let planned = self.plan().listener(*service)?;
            let counted = self.metrics().service(*service);
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
            server_name: self.plan().server_name.clone(),
            serving: refuses.is_none() && !self.is_stopping(),
            refuses,
            uptime_s: self.uptime().as_secs(),
            services: services.collect(),
            legs,
            scrub: Some(scrub),
            messages_accepted: received.accepted,
            bytes_accepted: received.bytes,
            receive_memory_bytes: self.receive_memory().used_bytes() as u64,
            owner_waiting: self.owner().waiting() as u64,
            owner_under_way: self
                .owner()
                .gauges()
                .under_way
                .load(std::sync::atomic::Ordering::Relaxed) as u64,
            alarms: {
                let mut alarms = machine::alarms().await;
                alarms.extend(probation_alarm);
                alarms.extend(validity::alarm(
                    &self.certificate().chain(),
                    validity::now_s(),
                ));
                alarms
            },
            probation,
            incidents: {
                let mut all = incident::list(&self.plan().state);
                all.split_off(all.len().saturating_sub(INCIDENTS_SHOWN))
            },
        })
    }

    /// Every account, fetched page by page so that mail goes on between.
    pub(crate) async fn accounts(&self) -> Result<Vec<AccountLine>, Refused> {
        let mut lines: Vec<AccountLine> = Vec::new();
        loop {
            // until a page is not full
            let after = lines.last().map(|line| line.address.clone());
            let page = self
                .mailboxes(async move |mailboxes| {
                    mailboxes.accounts(after.as_deref(), ACCOUNTS_PAGE).await
                })
                .await?;
            let full = page.len() == ACCOUNTS_PAGE;
            lines.extend(page.iter().map(account_line));
            if !full {
                return Ok(lines);
            }
        }
    }
}

/// Why clients refuse this chain of PEM certificates, by its dates. What is wrong with it otherwise is said where it is kept.
fn refused_pem(chain: &str) -> Option<String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let chain: Vec<Vec<u8>> = parsed.ok()?.iter().map(|one| one.to_vec()).collect();
    validity::refused_by_clients(&chain, validity::now_s())
}

fn document<T: Serialize + ?Sized>(value: &T) -> Result<Value, Refused> {
    serde_json::to_value(value).map_err(|error| format!("cannot write the answer: {error}"))
}

pub(crate) fn volume_of(mailboxes: &Mailboxes) -> &Volume {
    mailboxes.store().volume()
}

pub(crate) fn parse_address(text: &str) -> Result<Address, Refused> {
    let (local, domain) = text.rsplit_once('@').unwrap_or((text, ""));
    Address::from_parts(local, domain)
        .ok_or_else(|| format!("`{text}` is not an address: write it like alice@example.org"))
}

/// The account of exactly this address: administration does not follow `+detail`.
async fn exactly(mailboxes: &Mailboxes, address: &Address) -> Result<Account, MailboxFault> {
    let found = mailboxes.account(address).await?;
    found
        .filter(|account| spelling::keys(address).contains(&account.address.key()))
        .ok_or(MailboxFault::NoAccount)
}

fn account_line(account: &Account) -> AccountLine {
    AccountLine {
        address: account.address.key(),
        quota_bytes: account.quota_bytes,
        used_bytes: account.used_bytes,
    }
}

async fn detail(mailboxes: &Mailboxes, address: &Address) -> Result<AccountDetail, MailboxFault> {
    let account = exactly(mailboxes, address).await?;
    let mut lines = Vec::new();
    for mailbox in mailboxes.list(account.id).await? {
        if !mailbox.selectable {
            continue;
        }
        let status = mailboxes.status(mailbox.id).await?;
        lines.push(MailboxLine {
            name: mailbox.name,
            messages: status.messages,
            unseen: status.unseen,
            bytes: status.size_bytes,
        });
    }
    Ok(AccountDetail {
        account: account_line(&account),
        mailboxes: lines,
    })
}

pub(crate) fn scrub_line(volume: &Volume) -> ScrubLine {
    let state = volume.scrub_state();
    ScrubLine {
        ended_unix_s: state.ended,
        began_unix_s: state.began,
        done_bytes: state.done_bytes,
        all_bytes: state.all_bytes,
    }
}

fn volume_line(mailboxes: &Mailboxes) -> VolumeLine {
    let volume = volume_of(mailboxes);
    let lines = legs::lines(volume);
    let in_sync = lines.iter().filter(|leg| leg.state == "in_sync").count();
    let segments = volume.segments();
    let free = segments
        .iter()
        .filter(|segment| segment.state == SegmentState::Free)
        .count();
    let state = match (volume.refuses(), in_sync == lines.len()) {
        (Some(why), _) => format!("refuses ({why})"),
        (None, true) => "in_sync".into(),
        (None, false) => "degraded".into(),
    };
    VolumeLine {
        id: volume.id().to_string(),
        state,
        legs: lines.len(),
        legs_in_sync: in_sync,
        segments: segments.len(),
        segments_free: free,
    }
}

fn volume_detail(mailboxes: &Mailboxes) -> VolumeDetail {
    let volume = volume_of(mailboxes);
    let segments = volume.segments();
    let count = |state| {
        segments
            .iter()
            .filter(|segment| segment.state == state)
            .count()
    };
    let counters = volume.counters();
    VolumeDetail {
        volume: volume_line(mailboxes),
        legs: legs::lines(volume),
        segments_open: count(SegmentState::Open),
        segments_sealed: count(SegmentState::Sealed),
        segments_arena: count(SegmentState::Arena),
        used_bytes: segments.iter().map(|segment| segment.used_bytes).sum(),
        checkpoint_lsn: volume.checkpoint().lsn.0,
        since_checkpoint_bytes: mailboxes.store().since_checkpoint().bytes,
        batches: counters.batches,
        device_writes: counters.device_writes,
        bytes_written: counters.bytes_written,
        damaged_batches: volume.damage().len(),
    }
}
