//! Replies, for people.

use hardware::incident::Incident;
use plan::Size;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::acme;
use crate::dkim::DkimLine;
use crate::reply::*;
use crate::request::Request;
use crate::table::{span, table};

mod acl;
mod addresses;
mod bans;
mod damage;
mod disks;
mod dkim;
mod dns_records;
mod fetch;
mod ldap;
mod logins;
mod network;
mod profile;
mod quarantine;
mod queue;
mod reports;
mod scripts;
mod settings;
mod spam;
mod spool;
mod trace;
pub mod update;
mod ways;

/// The text for one reply.
/// The daemon answers with documents only, and the words are made here, in the caller's program: `--json` and the text then cannot say different
/// things, and an older `ringpostctl` shows what it understands.
pub fn reply(request: &Request, value: &Value) -> Result<String, String> {
    Ok(match request {
        Request::Status => status(&typed(value)?),
        Request::Plan => typed::<plan::Plan>(value)?.to_string(),
        Request::AccountList => accounts(&typed::<Vec<AccountLine>>(value)?),
        Request::AccountShow { .. } => account(&typed(value)?),
        Request::DomainList => typed::<Vec<String>>(value)?.join("\n"),
        Request::Acl { ask } => acl::show(ask, value)?,
        Request::Addresses { ask } => addresses::show(ask, value)?,
        Request::Logins { ask } => logins::show(ask, value)?,
        Request::BanList => bans::show(&typed::<Vec<BanLine>>(value)?),
        Request::Scripts { ask } => scripts::show(ask, value)?,
        Request::SpamShow { .. } => spam::show(&typed(value)?),
        Request::ReportList => reports::list(&typed::<Vec<_>>(value)?),
        Request::ReportShow { .. } => reports::show(&typed(value)?),
        Request::ReportSend { .. } => reports::sent(&typed::<Vec<_>>(value)?),
        Request::Spool { ask } => spool::show(ask, value)?,
        Request::Ldap { ask } => ldap::show(ask, value)?,
        Request::Fetch { ask } => fetch::show(ask, value)?,
        Request::QueueList { .. } => queue::page(&typed(value)?),
        Request::QueueShow { .. } => queue::detail(&typed(value)?),
        Request::QueueRoute { .. } => ways::show(&typed(value)?),
        Request::QueueReroute { .. } => ways::rerouted(&typed(value)?),
        Request::QuarantineList { .. } => quarantine::page(&typed(value)?),
        Request::QuarantineShow { .. } => quarantine::detail(&typed(value)?),
        Request::Trace { .. } => trace::show(&typed(value)?),
        Request::DomainDns { .. } => dns_records::show(&typed(value)?),
        Request::DomainCheck { .. } => dns_records::check(&typed(value)?),
        Request::DkimMake { .. } | Request::DkimShow { .. } => dkim::detail(&typed(value)?),
        Request::DkimList { .. } => dkim::list(&typed::<Vec<DkimLine>>(value)?),
        Request::VolumeList => volumes(&typed::<Vec<VolumeLine>>(value)?),
        Request::VolumeShow => volume(&typed(value)?),
        Request::VolumeAcceptDamage { .. } => damage::show(&typed(value)?, "volume"),
        Request::VolumeScrub => scrubbed(&typed(value)?),
        Request::LegList => legs(&typed::<Vec<LegLine>>(value)?),
        Request::LegAttach { path, .. } => {
            let leg: LegLine = typed(value)?;
            format!(
                "{path} is leg {} now: {}; `leg list` shows how far it is",
                leg.index, leg.state
            )
        }
        Request::Fsck { .. } => verdict(&typed(value)?),
        Request::Logs { .. } => typed::<Vec<String>>(value)?.join("\n"),
        Request::SupportBundle => {
            serde_json::to_string_pretty(value).map_err(|error| error.to_string())?
        }
        // Text already, in the format of the programs that read it.
        Request::Metrics => typed(value)?,
        Request::Disks => disks::show(&typed(value)?),
        Request::Network => network::show(&typed(value)?),
        Request::Time => format!(
            "{}; {}",
            plan::units::date(value["unix_s"].as_u64().unwrap_or(0)),
            match value["synchronized"].as_bool() {
                Some(true) => "synchronised with a time server",
                _ => "not synchronised: no time server has answered since the start",
            }
        ),
        Request::CertificateShow | Request::CertificateSet { .. } | Request::CertificateReload => {
            certificates(&typed::<Vec<CertificateLine>>(value)?)
        }
        Request::CertificateStatus => acme::show(&typed(value)?),
        Request::CertificateRenew => format!(
            "{}\n\nThe order begins; run `ringpostctl certificate status` to see what comes of it.",
            acme::show(&typed(value)?)
        ),
        Request::SettingsShow
        | Request::SettingsHistory
        | Request::SettingsCheck { .. }
        | Request::SettingsApply { .. }
        | Request::SettingsConfirm
        | Request::SettingsRevert { .. } => settings::show(&typed(value)?),
        Request::UpdateStatus | Request::UpdateSync | Request::SystemDiskAdd { .. } => {
            update::show(value)
        }
        Request::ProfileApplied => profile::show(&typed(value)?),
        Request::UpdateApply { .. } | Request::UpdateRollback => format!(
            "{}: {}",
            value["version"].as_str().unwrap_or("?"),
            value["next"].as_str().unwrap_or("done")
        ),
        Request::Reboot | Request::PowerOff | Request::FactoryReset => {
            value["next"].as_str().unwrap_or("done").to_owned()
        }
        Request::AccountAdd { .. }
        | Request::AccountRemove { .. }
        | Request::AccountPassword { .. }
        | Request::AccountQuota { .. }
        | Request::DomainAdd { .. }
        | Request::DomainRemove { .. }
        | Request::BanAdd { .. }
        | Request::BanLift { .. }
        | Request::SpamForget { .. }
        | Request::QueueRetry { .. }
        | Request::QueueHold { .. }
        | Request::QueueRelease { .. }
        | Request::QueueDrop { .. }
        | Request::QuarantineRelease { .. }
        | Request::QuarantineDrop { .. }
        | Request::DkimActivate { .. }
        | Request::DkimRetire { .. }
        | Request::DkimRemove { .. }
        | Request::LegDetach { .. }
        | Request::LegFail { .. }
        // Every request has its arm, so that a new one does not compile until its text was thought of.
        | Request::LegRetire { .. } => "done".into(),
    })
}

pub(crate) fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| {
        format!("ringpostd has another version ({error}): use the ringpostctl of that version, or read its answer with --json")
    })
}

fn certificates(lines: &[CertificateLine]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.subject.clone(),
                line.names.join(" "),
                line.not_after.clone(),
                line.days_left.to_string(),
                line.issuer.clone(),
            ]
        })
        .collect();
    table(&["SUBJECT", "NAMES", "UNTIL", "DAYS", "SIGNED BY"], &rows)
}

fn status(status: &Status) -> String {
    let taking = match (&status.refuses, status.serving) {
        (Some(why), _) => format!("accepts no mail: {why}"),
        (None, true) => "accepts mail".into(),
        (None, false) => "is stopping".into(),
    };
    let mut text = format!(
        "{} runs Ringpost {} for {}; it {taking}\n{} messages accepted, {}\n\n",
        status.server_name,
        status.version,
        span(status.uptime_s),
        status.messages_accepted,
        Size(status.bytes_accepted),
    );
    let rows: Vec<Vec<String>> = status
        .services
        .iter()
        .map(|service| {
            vec![
                service.service.clone(),
                service.open.to_string(),
                service.accepted.to_string(),
                service.refused.to_string(),
                service.addresses.join(", "),
            ]
        })
        .collect();
    text.push_str(&table(
        &["SERVICE", "OPEN", "ACCEPTED", "REFUSED", "ON"],
        &rows,
    ));
    if !status.sources.is_empty() {
        text.push('\n');
        text.push_str(&sources(&status.sources));
    }
    text.push('\n');
    if !status.front.is_empty() {
        text.push_str(&crate::front::lines(&status.front));
    } else if status.storage_nodes.is_empty() {
        text.push_str(&legs(&status.legs));
    } else {
        text.push_str(&storage_nodes(&status.storage_nodes));
    }
    if let Some(recipients) = &status.recipients {
        text.push_str(&recipients_line(recipients));
    }
    if let Some(scrub) = &status.scrub {
        text.push_str(&scrub_line(scrub));
    }
    if let Some(spool) = &status.spool {
        text.push_str(&spool::line(spool));
    }
    for alarm in &status.alarms {
        text.push_str(&format!("ALARM: {alarm}\n"));
    }
    if !status.incidents.is_empty() {
        text.push('\n');
        text.push_str(&incidents(&status.incidents));
    }
    text
}

fn sources(sources: &[SourceLine]) -> String {
    let rows: Vec<Vec<String>> = sources
        .iter()
        .map(|source| {
            vec![
                source.name.clone(),
                source.conversations.to_string(),
                source.refused.to_string(),
                source.unavailable.to_string(),
                source.resting.to_string(),
            ]
        })
        .collect();
    let head = [
        "SOURCE",
        "CONVERSATIONS",
        "REFUSED",
        "UNAVAILABLE",
        "LEFT OUT FOR",
    ];
    table(&head, &rows)
}

fn storage_nodes(nodes: &[StorageNodeLine]) -> String {
    let row = |node: &StorageNodeLine| {
        let state = match node.up {
            true => "works".to_owned(),
            false => format!("failed {} times: {}", node.failures, node.why),
        };
        vec![
            node.address.clone(),
            node.protocol.clone(),
            node.name.clone(),
            node.messages_taken.to_string(),
            node.messages_failed.to_string(),
            state,
        ]
    };
    let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    table(
        &["STORAGE NODE", "BY", "NAME", "TAKEN", "FAILED", "STATE"],
        &rows,
    )
}

fn recipients_line(known: &RecipientsLine) -> String {
    let age = match known.age_s {
        Some(age_s) => format!("confirmed {} ago", span(age_s)),
        None => "not confirmed since the start".to_owned(),
    };
    let unknown = match known.fresh {
        true => "refused",
        false => "deferred, because the table is too old to refuse by it",
    };
    let trouble = match &known.trouble[..] {
        "" => String::new(),
        why => format!("; it cannot be fetched: {why}"),
    };
    format!(
        "table of recipients: {} addresses of {} domains, {age}; unknown addresses are {unknown}{trouble}\ndeliveries whose answer was lost: {}\n",
        known.addresses, known.domains, known.in_doubt,
    )
}

/// When every byte was last read, and how far the scrub is that runs.
fn scrub_line(scrub: &ScrubLine) -> String {
    let date = |at: i64| plan::units::date(u64::try_from(at).unwrap_or(0));
    let last = match scrub.ended_unix_s {
        0 => "never".to_owned(),
        at => date(at),
    };
    let present = match (scrub.began_unix_s, scrub.all_bytes) {
        (0, _) => String::new(),
        (at, 0) => format!("; one that began {} continues soon", date(at)),
        (at, all) => format!(
            "; the current one began {} and has read {} of {}",
            date(at),
            Size(scrub.done_bytes),
            Size(all)
        ),
    };
    format!("last complete scrub: {last}{present}\n")
}

fn incidents(incidents: &[Incident]) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let rows: Vec<Vec<String>> = incidents
        .iter()
        .map(|incident| {
            vec![
                format!("{} ago", span(now.saturating_sub(incident.at))),
                incident.times.to_string(),
                incident.what.clone(),
            ]
        })
        .collect();
    table(&["INCIDENT", "TIMES", ""], &rows)
}

fn legs(legs: &[LegLine]) -> String {
    let rows: Vec<Vec<String>> = legs
        .iter()
        .map(|leg| {
            let progress = match leg.progress {
                Some((done, all)) if all > 0 => {
                    format!("{} % of {}", done.min(all) * 100 / all, Size(all))
                }
                _ => "-".into(),
            };
            vec![
                leg.index.to_string(),
                leg.state.clone(),
                progress,
                leg.repairs.to_string(),
                leg.id.chars().take(8).collect(),
                leg.path.clone().unwrap_or_else(|| "-".into()),
                leg.why.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(
        &["LEG", "STATE", "PROGRESS", "REPAIRS", "ID", "PATH", ""],
        &rows,
    )
}

fn accounts(accounts: &[AccountLine]) -> String {
    let rows: Vec<Vec<String>> = accounts
        .iter()
        .map(|account| {
            vec![
                account.address.clone(),
                Size(account.used_bytes).to_string(),
                quota(account),
            ]
        })
        .collect();
    table(&["ACCOUNT", "USED", "QUOTA"], &rows)
}

fn quota(account: &AccountLine) -> String {
    if account.quota_bytes == 0 {
        "-".into()
    } else {
        Size(account.quota_bytes).to_string()
    }
}

fn account(detail: &AccountDetail) -> String {
    let account = &detail.account;
    let rows: Vec<Vec<String>> = detail
        .mailboxes
        .iter()
        .map(|mailbox| {
            vec![
                mailbox.name.clone(),
                mailbox.messages.to_string(),
                mailbox.unseen.to_string(),
                Size(mailbox.bytes).to_string(),
            ]
        })
        .collect();
    let used = Size(account.used_bytes);
    format!(
        "{}: {used} used, quota {}\n\n{}",
        account.address,
        quota(account),
        table(&["MAILBOX", "MESSAGES", "UNSEEN", "SIZE"], &rows)
    )
}

fn volumes(volumes: &[VolumeLine]) -> String {
    let rows: Vec<Vec<String>> = volumes.iter().map(volume_row).collect();
    table(
        &["VOLUME", "STATE", "LEGS IN SYNC", "SEGMENTS", "FREE"],
        &rows,
    )
}

fn volume_row(volume: &VolumeLine) -> Vec<String> {
    vec![
        volume.id.clone(),
        volume.state.clone(),
        format!("{} of {}", volume.legs_in_sync, volume.legs),
        volume.segments.to_string(),
        volume.segments_free.to_string(),
    ]
}

fn volume(detail: &VolumeDetail) -> String {
    let mut text = volumes(std::slice::from_ref(&detail.volume));
    text.push_str(&format!(
        "\n{} of log in {} open and {} sealed segments, {} segments for the index\n\
         recovery begins after batch {}; {} of log since then\n\
         since start: {} batches, {} device writes, {} written; {} batches damaged on every leg\n\n",
        Size(detail.used_bytes),
        detail.segments_open,
        detail.segments_sealed,
        detail.segments_arena,
        detail.checkpoint_lsn,
        Size(detail.since_checkpoint_bytes),
        detail.batches,
        detail.device_writes,
        Size(detail.bytes_written),
        detail.damaged_batches,
    ));
    text.push_str(&legs(&detail.legs));
    text
}

fn scrubbed(scrub: &Scrubbed) -> String {
    format!(
        "{} read and verified, {} copies repaired, {} batches damaged on every leg",
        Size(scrub.bytes_read),
        scrub.repaired,
        scrub.damaged_batches
    )
}

fn verdict(verdict: &Verdict) -> String {
    let mut text = leg_verdicts(&verdict.legs);
    if let Some(scrub) = &verdict.scrub {
        text.push_str(&format!("legs: {}\n", scrubbed(scrub)));
        text.push_str(&format!(
            "mail: {} accounts, {} mailboxes, {} messages; {} bodies proved\n",
            verdict.accounts, verdict.mailboxes, verdict.messages, verdict.bodies_proved
        ));
    }
    text + &found(&verdict.findings, verdict.clean)
}

fn leg_verdicts(legs: &[LegVerdict]) -> String {
    let line = |leg: &LegVerdict| {
        let path = leg.leg.path.as_deref().unwrap_or("-");
        format!("leg {} ({path}): {}\n", leg.leg.index, leg.verdict)
    };
    legs.iter().map(line).collect()
}

fn found(findings: &[String], is_clean: bool) -> String {
    let lines = findings.iter();
    let mut text: String = lines.map(|one| format!("found: {one}\n")).collect();
    text.push_str(match is_clean {
        true => "no errors found\n",
        false => "errors found\n",
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_another_version_is_told_apart() {
        let told = reply(&Request::LegList, &serde_json::json!([{ "surprise": 1 }]))
            .expect_err("not a leg");
        assert!(told.contains("another version"), "{told}");
    }

    #[test]
    fn status_names_what_went_wrong() {
        let incident = Incident {
            at: 0,
            kind: hardware::incident::Kind::WatchdogReset,
            what: "the box hung".into(),
            times: 2,
        };
        let text = incidents(&[incident]);
        let row = text.lines().nth(1).unwrap_or_default();
        assert!(
            row.contains("days ago") && row.ends_with("2      the box hung"),
            "{text}"
        );
    }
}
