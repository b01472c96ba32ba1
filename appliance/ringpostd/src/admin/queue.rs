//! The queue, as administrators see it and change it. All of it works while the queue and the volume are full.

use std::time::{SystemTime, UNIX_EPOCH};

use ::admin::limits::QUEUE_PAGE_MAX;
use ::admin::reply::{QueueDetail, QueueLine, QueuePage, QueueRecipient};
use ::admin::request::Request;
use ::queue::{Entry, QueueFault, QueueId, RecipientState, UnixSeconds};
use ::storage::outgoing::Outgoing;
use serde_json::Value;

use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about the queue.
pub(crate) async fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::QueueList { after, count } => document(&list(admin, after, count).await?),
        Request::QueueShow { id } => document(&show(admin, id).await?),
        Request::QueueRetry { id } => document(&retry(admin, id).await?),
        Request::QueueHold { id } => document(&hold(admin, id, true).await?),
        Request::QueueRelease { id } => document(&hold(admin, id, false).await?),
        Request::QueueDrop { id } => document(&take_out(admin, id).await?),
        _ => Err("not about the queue".into()),
    }
}

/// One page, in the order of the queue. It asks for one entry more than it shows: that is how `more` is known without counting the queue, which
/// may hold a million messages.
async fn list(admin: &Admin, after: u64, count: Option<usize>) -> Result<QueuePage, Refused> {
    let count_max = count.unwrap_or(QUEUE_PAGE_MAX).min(QUEUE_PAGE_MAX);
    let after = (after > 0).then_some(QueueId(after));
    let page = async move |outgoing: Outgoing| {
        let mut entries = outgoing.list(after, count_max + 1);
        let more = entries.len() > count_max;
        entries.truncate(count_max);
        Ok(QueuePage {
            count: outgoing.queue().count(),
            messages: entries.iter().map(|entry| line(&outgoing, entry)).collect(),
            more,
        })
    };
    admin.outgoing(page).await
}

/// One message with every recipient. A recipient that waits in a message on hold has no next try: its time is kept, and
/// counts again after the release.
async fn show(admin: &Admin, id: u64) -> Result<QueueDetail, Refused> {
    let detail = async move |outgoing: Outgoing| {
        let entry = outgoing.queue().entry(QueueId(id));
        let entry = entry.ok_or(QueueFault::NoEntry)?;
        let recipients = entry.recipients.iter().map(|each| QueueRecipient {
            to: each.to.path.clone(),
            state: match each.state {
                RecipientState::Waiting(_) => "waiting",
                RecipientState::Delivered => "delivered",
                RecipientState::Failed => "failed",
            }
            .to_owned(),
            tries: each.tries,
            next_try_unix_s: match each.state {
                RecipientState::Waiting(at) if !entry.held => Some(at.0),
                _ => None,
            },
            tried_unix_s: each.tried.0,
            host: each.host.clone(),
            reply: each.reply.clone(),
        });
        Ok(QueueDetail {
            message: line(&outgoing, &entry),
            warned: entry.warned,
            envelope_id: entry.terms.envelope_id.clone(),
            recipients: recipients.collect(),
        })
    };
    admin.outgoing(detail).await
}

/// Makes every waiting recipient due now, durably. `Outgoing` also rouses the sender, so that a destination which is not tried for a while does
/// not make the operator wait for the end of that while.
async fn retry(admin: &Admin, id: u64) -> Result<(), Refused> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = UnixSeconds(now.map_or(0, |span| span.as_secs()));
    admin
        .outgoing(async move |outgoing| outgoing.retry(QueueId(id), now).await)
        .await
}

/// Durable before it is answered, so that a message which was put on hold stays there after a restart. A try that is under way is not called
/// back: what the other server has accepted cannot be undone.
async fn hold(admin: &Admin, id: u64, held: bool) -> Result<(), Refused> {
    admin
        .outgoing(async move |outgoing| outgoing.hold(QueueId(id), held).await)
        .await
}

/// Removes a message without a report to its sender: the operator has decided, and a report would be mail about mail that was dropped on purpose.
async fn take_out(admin: &Admin, id: u64) -> Result<(), Refused> {
    admin
        .outgoing(async move |outgoing| outgoing.queue().remove(QueueId(id)).await)
        .await
}

/// `to` and `reply` are of the first recipient that waits: the one that an operator who looks at a full queue wants to see. `sending` is known
/// to this process alone and is not durable, because after a crash nothing is being sent.
fn line(outgoing: &Outgoing, entry: &Entry) -> QueueLine {
    let is_waiting = |state: &RecipientState| matches!(state, RecipientState::Waiting(_));
    let waiting = entry
        .recipients
        .iter()
        .filter(|each| is_waiting(&each.state));
    let first = waiting.clone().next();
    let state = match (entry.held, outgoing.is_under_way(entry.id)) {
        (true, _) => "held",
        (false, true) => "sending",
        (false, false) => "waiting",
    };
    QueueLine {
        id: entry.id.0,
        state: state.to_owned(),
        from: entry.from.clone(),
        bytes: u64::from(entry.body.raw_bytes),
        arrived_unix_s: entry.arrived.0,
        expires_unix_s: entry.expires.0,
        next_try_unix_s: entry.next_try().map(|at| at.0),
        waiting: waiting.count(),
        recipients: entry.recipients.len(),
        to: first.map_or(String::new(), |each| each.to.path.clone()),
        reply: first.map_or(String::new(), |each| each.reply.clone()),
    }
}
