//! The spool, as administrators see it and change it. It has a thread of its own, so all of this works while storage is full or stands still.

use ::admin::limits::QUEUE_PAGE_MAX;
use ::admin::reply::{LegLine, Redelivery, SpoolDetail, SpoolLine, SpoolPage};
use ::admin::request::Request;
use ::admin::spool::Ask;
use ::queue::{Entry, UnixSeconds};
use ::spool::Spool;
use serde_json::Value;

use crate::admin::shared::{Admin, Refused, document};
use crate::admin::{damage, fsck, legs, volume};
use crate::engine::Whose;

/// Performs a request about the spool.
pub(crate) async fn perform(admin: &Admin, ask: Ask) -> Result<Value, Refused> {
    // Requests about legs are those of the volume with another volume named: one code for both, so that a leg of the spool is attached
    // with the same precautions as one of the mailboxes.
    let request = match ask {
        Ask::Show => return document(&detail(admin).await),
        Ask::List { count } => return document(&list(admin, count).await?),
        Ask::Redeliver { since_unix_s } => {
            let since = UnixSeconds(since_unix_s.unwrap_or(0));
            return document(&redeliver(admin, since).await?);
        }
        Ask::Scrub => {
            let work = async |volume: ::volume::Volume| volume.scrub().await;
            let report = admin.on_volume(Whose::Spool, work).await?;
            return document(&volume::scrubbed(&report));
        }
        Ask::Fsck { full } => return document(&fsck::check_spool(admin, full).await?),
        Ask::AcceptDamage { yes } => return document(&damage::accept_of_spool(admin, yes).await?),
        Ask::LegList => Request::LegList,
        Ask::LegAttach { path, fresh } => Request::LegAttach { path, fresh },
        Ask::LegDetach { leg } => Request::LegDetach { leg },
        Ask::LegFail { leg } => Request::LegFail { leg },
        Ask::LegRetire { leg } => Request::LegRetire { leg },
    };
    legs::perform(admin, Whose::Spool, request).await
}

/// Everything about the spool; what its thread does not answer is missing.
pub(crate) async fn detail(admin: &Admin) -> SpoolDetail {
    let lane = match admin.spool() {
        Ok(lane) => lane,
        Err(why) => return absent(admin.plan().spool.is_some(), why),
    };
    let (gauges, trouble) = (lane.gauges(), lane.trouble());
    let look = async |volume: ::volume::Volume| {
        (
            volume::line_of(&volume),
            legs::lines(&volume),
            volume::scrub_line(&volume),
        )
    };
    // Counters are atomics and are shown even if the spool's thread is stuck in a device: that is when an operator asks.
    let seen = admin.on_volume(Whose::Spool, look).await.ok();
    let (volume, legs, scrub) = match seen {
        Some((volume, legs, scrub)) => (Some(volume), legs, Some(scrub)),
        None => (None, Vec::new(), None),
    };
    let state = match &trouble {
        Some(_) => "away",
        None if gauges.is_full() => "full",
        None if gauges.waiting() > 0 => "holding",
        None => "empty",
    };
    let (waiting_max, waiting_bytes_max) = gauges.max();
    let plan = admin.plan().spool.as_ref();
    SpoolDetail {
        state: state.to_owned(),
        why: trouble,
        waiting: gauges.waiting(),
        waiting_bytes: gauges.bytes(),
        waiting_max,
        waiting_bytes_max,
        oldest_unix_s: gauges.oldest().map(|oldest| oldest.0),
        stuck: gauges.stuck(),
        kept: gauges.kept(),
        kept_bytes: gauges.kept_bytes(),
        keep_s: plan.map_or(0, |plan| plan.keep_s),
        taken: gauges.taken(),
        handed: gauges.handed(),
        volume,
        legs,
        scrub,
    }
}

/// No spool is open. One that was to be and is not may hold mail.
fn absent(is_planned: bool, why: &str) -> SpoolDetail {
    let state = if is_planned { "unopened" } else { "none" };
    SpoolDetail {
        state: state.to_owned(),
        why: Some(why.to_owned()),
        ..SpoolDetail::default()
    }
}

/// What an operator should look at.
pub(crate) fn alarms(detail: &SpoolDetail) -> Vec<String> {
    let mut alarms = Vec::new();
    if let Some(why) = detail.why.as_ref().filter(|_| detail.state == "away") {
        alarms.push(format!(
            "the spool takes nothing ({why}): mail goes straight to storage, and what waits in the spool waits on; `ringpostctl spool leg list` shows its legs"
        ));
    }
    if let Some(why) = detail.why.as_ref().filter(|_| detail.state == "unopened") {
        alarms.push(format!(
            "there is no spool ({why}): mail that storage does not take is deferred, and what waits in the spool waits for a start that can open it; put its legs right and restart ringpostd"
        ));
    }
    // A spool that is away has said so above; its legs' states are then a consequence and not a second alarm.
    let is_out = |leg: &&LegLine| leg.state != "in_sync";
    let out = detail.legs.iter().filter(is_out).count();
    if out > 0 && detail.state != "away" {
        alarms.push(format!(
            "{out} of {} legs of the spool are not in sync; `ringpostctl spool leg list` shows them",
            detail.legs.len()
        ));
    }
    if detail.stuck > 0 {
        alarms.push(format!(
            "{} messages in the spool cannot be handed over; `ringpostctl logs` says why",
            detail.stuck
        ));
    }
    if detail.state == "full" {
        alarms.push(
            "the spool is full: mail that storage does not take is deferred; make room in the volume, and the spool empties by itself"
                .to_owned(),
        );
    }
    alarms
}

/// What waits comes first and copies behind it: with a limit of one page, what is not safe in storage yet is what matters.
async fn list(admin: &Admin, count: Option<usize>) -> Result<SpoolPage, Refused> {
    let count_max = count.unwrap_or(QUEUE_PAGE_MAX).min(QUEUE_PAGE_MAX);
    let page = async move |spool: Spool| {
        let mut entries = spool.entries(None, count_max + 1);
        if entries.len() <= count_max {
            entries.extend(spool.kept(None, count_max + 1 - entries.len()));
        }
        let more = entries.len() > count_max;
        entries.truncate(count_max);
        let gauges = spool.gauges();
        SpoolPage {
            waiting: gauges.waiting(),
            kept: gauges.kept(),
            messages: entries.iter().map(line).collect(),
            more,
        }
    };
    admin.ask_spool(page).await
}

fn line(entry: &Entry) -> SpoolLine {
    let first = entry.recipients.first();
    let times = ::spool::round(entry);
    SpoolLine {
        id: entry.id.0,
        state: if entry.held { "kept" } else { "waiting" }.to_owned(),
        from: entry.from.clone(),
        to: first.map_or(String::new(), |each| each.to.path.clone()),
        recipients: entry.recipients.len(),
        bytes: u64::from(entry.body.raw_bytes),
        arrived_unix_s: entry.arrived.0,
        handed_unix_s: (times > 0).then(|| ::spool::since(entry).0),
        times,
    }
}

/// Each hand-over has a delivery id of its own (`spool::round`), so that storage does not take the copy for one that it has placed. A mailbox
/// that still has the message gets no second one all the same. A fault in the middle leaves the rest as it was.
async fn redeliver(admin: &Admin, since: UnixSeconds) -> Result<Redelivery, Refused> {
    let again = async move |spool: Spool| spool.redeliver(since).await;
    let messages = admin.ask_spool(again).await?;
    let messages = messages.map_err(|fault| format!("not all of it: {fault}; try again"))?;
    tracing::info!(
        messages,
        since = since.0,
        "copies in the spool are handed over again"
    );
    Ok(Redelivery { messages })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mail may wait in it: that is more than a line at a start.
    #[test]
    fn a_spool_that_cannot_be_opened_is_an_alarm_and_a_box_without_one_is_none() {
        let why = "it could not be opened: no leg answers";
        let alarms_of = |is_planned| alarms(&absent(is_planned, why));
        assert_eq!(alarms_of(false), Vec::<String>::new());
        let told = alarms_of(true);
        assert!(
            told.len() == 1 && told[0].contains("no leg answers"),
            "{told:?}"
        );
    }
}
