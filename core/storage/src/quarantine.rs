//! The quarantine: mail that was accepted and is kept apart until an administrator releases or drops it.
//!
//! It is the INBOX of an account of its own, `ADDRESS`, whose domain no other server can reach (RFC 2606 §2) and which no password opens. An
//! account that the operator names was the other way. Then the operator makes it before the first message comes, a person may log in to it, and
//! a stranger may write to it; this one is there when it is needed, and `arrival::look_up` and `held::meaning` keep mail out of it that was not put
//! there by `inbound`. Bounds, durability and reclaim are those of any account: its quota is the quarantine's size.
//!
//! A message has its envelope in front (`crate::held`). What must hold:
//!
//! - Released mail is delivered to its recipients once: the hand-over notes its id in the group that places it (`outgoing::once`), and the copy
//!   in quarantine goes afterwards. A release that was cut off between the two is repeated, and finds the id.
//! - What is older than the operator wants goes; what does not fit is deferred at the door, so a flood pushes nothing out.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use mail::{Flags, SystemFlags, Uid};
use mailbox::{Account, AccountId, FlagChange, MailboxFault, MailboxId, Mailboxes, Message};
use queue::{Envelope, UnixSeconds};
use runtime::events::MESSAGE;
use store::BodyIn;

use crate::junk::INBOX;
use crate::outgoing::{HandedOver, Outgoing, lifetimes};
use crate::reserved::DOMAIN;

pub use crate::held::{DETAIL_BYTES_MAX, Held, Why};
pub use crate::reserved::{address, is_reserved};

/// No password has this hash: it is not of the form of one.
const NO_PASSWORD: &str = "!";
/// Messages that one sweep takes out at once, so that mail goes on between.
const SWEPT_AT_ONCE: usize = 256;

/// What left the quarantine since start. Any thread may read them.
#[derive(Debug, Default)]
pub struct Counters {
    pub released: AtomicU64,
    pub dropped: AtomicU64,
    /// Older than the operator wants.
    pub expired: AtomicU64,
}

/// What is in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    pub messages: u32,
    pub bytes: u64,
    /// What it may hold.
    pub bytes_max: u64,
}

/// A message in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// It is never used again.
    pub number: u32,
    /// Of the message as it came, with our fields.
    pub bytes: u64,
    /// `None`: it cannot be read now.
    pub held: Option<Held>,
}

/// Some of the messages, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub count: usize,
    pub lines: Vec<Line>,
    /// There are more behind the last one.
    pub more: bool,
}

/// The account, made where it is not there yet, with room for `bytes_max`.
pub async fn settle(mailboxes: &Mailboxes, bytes_max: u64) -> Result<AccountId, MailboxFault> {
    if let Some(account) = mailboxes.account(&address()).await? {
        if account.quota_bytes != bytes_max {
            mailboxes.set_quota(account.id, bytes_max).await?;
        }
        // It was made before there was a quarantine.
        if account.password_hash != NO_PASSWORD {
            mailboxes.set_password_hash(account.id, NO_PASSWORD).await?;
        }
        return Ok(account.id);
    }
    if !mailboxes.has_domain(DOMAIN) {
        mailboxes.add_domain(DOMAIN).await?;
    }
    mailboxes
        .add_account(&address(), NO_PASSWORD, bytes_max)
        .await
}

/// `None`: there was never a quarantine.
async fn place(mailboxes: &Mailboxes) -> Result<Option<(Account, MailboxId)>, MailboxFault> {
    let Some(account) = mailboxes.account(&address()).await? else {
        return Ok(None);
    };
    let inbox = mailboxes.find(account.id, INBOX).await?;
    Ok(Some((account, inbox)))
}

pub async fn contents(mailboxes: &Mailboxes) -> Result<Contents, MailboxFault> {
    let Some((account, inbox)) = place(mailboxes).await? else {
        return Ok(Contents::default());
    };
    let status = mailboxes.status(inbox).await?;
    Ok(Contents {
        messages: status.messages - status.deleted,
        bytes: account.used_bytes,
        bytes_max: account.quota_bytes,
    })
}

/// At most `count_max` messages after `after`, the oldest first.
pub async fn page(
    mailboxes: &Mailboxes,
    after: u32,
    count_max: usize,
) -> Result<Page, MailboxFault> {
    let mut page = Page {
        count: 0,
        lines: Vec::new(),
        more: false,
    };
    let Some((_, inbox)) = place(mailboxes).await? else {
        return Ok(page);
    };
    let messages = mailboxes.view(inbox).await?.messages;
    let kept = messages.iter().filter(|message| !is_gone(message));
    page.count = kept.clone().count();
    let mut later = kept.filter(|message| message.uid.0 > after);
    for message in later.by_ref().take(count_max) {
        page.lines.push(line(mailboxes, inbox, message).await);
    }
    page.more = later.next().is_some();
    Ok(page)
}

async fn line(mailboxes: &Mailboxes, inbox: MailboxId, message: &Message) -> Line {
    let read = mailboxes
        .piece(inbox, message.uid, &message.body, None, 0)
        .await;
    let held = read.ok().and_then(|(bytes, _)| Held::read(&bytes));
    let front = held.as_ref().map_or(0, |(_, bytes)| *bytes as u64);
    Line {
        number: message.uid.0,
        bytes: u64::from(message.size_bytes).saturating_sub(front),
        held: held.map(|(held, _)| held),
    }
}

/// What a message with this number takes in memory; `None`: there is none.
pub async fn bytes_of(mailboxes: &Mailboxes, number: u32) -> Result<Option<u32>, MailboxFault> {
    let found = find(mailboxes, number).await?;
    Ok(found.map(|(_, message)| message.size_bytes))
}

/// The first bytes of a message, at least its envelope. `None`: there is none with this number.
pub async fn head(
    mailboxes: &Mailboxes,
    number: u32,
) -> Result<Option<(Line, Bytes)>, MailboxFault> {
    let Some((inbox, message)) = find(mailboxes, number).await? else {
        return Ok(None);
    };
    let line = line(mailboxes, inbox, &message).await;
    let (bytes, _) = mailboxes
        .piece(inbox, message.uid, &message.body, None, 0)
        .await?;
    let front = Held::read(&bytes).map_or(0, |(_, front)| front);
    Ok(Some((line, bytes.slice(front..))))
}

/// The whole message with its envelope in front, whose bytes the caller has paid for (`bytes_of`).
pub async fn whole(mailboxes: &Mailboxes, number: u32) -> Result<Option<Bytes>, MailboxFault> {
    let Some((_, message)) = find(mailboxes, number).await? else {
        return Ok(None);
    };
    let bodies = mailboxes.bodies(&[message.body]).await;
    bodies.into_iter().next().transpose()
}

async fn find(
    mailboxes: &Mailboxes,
    number: u32,
) -> Result<Option<(MailboxId, Message)>, MailboxFault> {
    let Some((_, inbox)) = place(mailboxes).await? else {
        return Ok(None);
    };
    let found = mailboxes.messages(inbox, &[Uid(number)]).await?.pop();
    let found = found.filter(|message| !is_gone(message));
    Ok(found.map(|message| (inbox, message)))
}

/// It was released or dropped, and the step that removes it was cut off.
fn is_gone(message: &Message) -> bool {
    message.flags.system.contains(SystemFlags::DELETED)
}

/// Delivers `body`, which is the message behind its envelope `held`, to its recipients, and takes it out. `false`: it is being released.
pub async fn release(
    outgoing: &Outgoing,
    number: u32,
    held: &Held,
    body: BodyIn,
    now: UnixSeconds,
    counters: &Counters,
) -> Result<bool, MailboxFault> {
    let (warns, expires) = lifetimes(now, held.from.is_empty());
    let envelope = Envelope {
        from: held.from.clone(),
        recipients: held.recipients.clone(),
        arrived: now,
        warns,
        expires,
        terms: held.terms.clone(),
    };
    let handed = outgoing.hand_over(body, envelope, 0).await?;
    if handed == HandedOver::UnderWay {
        return Ok(false);
    }
    if handed == HandedOver::Now {
        counters.released.fetch_add(1, Relaxed);
        note(held, "released from quarantine");
    }
    remove(outgoing.mailboxes(), &[Uid(number)]).await?;
    Ok(true)
}

/// Removes a message for ever. `false`: there is none with this number.
pub async fn take_out(
    mailboxes: &Mailboxes,
    number: u32,
    counters: &Counters,
) -> Result<bool, MailboxFault> {
    let Some((inbox, message)) = find(mailboxes, number).await? else {
        return Ok(false);
    };
    let line = line(mailboxes, inbox, &message).await;
    remove(mailboxes, &[message.uid]).await?;
    counters.dropped.fetch_add(1, Relaxed);
    if let Some(held) = &line.held {
        note(held, "dropped from quarantine");
    }
    Ok(true)
}

/// Removes what came before `before`, and what a step that was cut off left: at most `SWEPT_AT_ONCE`. `true`: there may be more.
pub async fn expire(
    mailboxes: &Mailboxes,
    before: UnixSeconds,
    counters: &Counters,
) -> Result<bool, MailboxFault> {
    let Some((_, inbox)) = place(mailboxes).await? else {
        return Ok(false);
    };
    let messages = mailboxes.view(inbox).await?.messages;
    let is_old = |message: &&Message| {
        let came = u64::try_from(message.internal_date.unix_seconds).unwrap_or(0);
        came < before.0
    };
    let old = messages
        .iter()
        .filter(|message| is_gone(message) || is_old(message));
    let old: Vec<&Message> = old.take(SWEPT_AT_ONCE).collect();
    let expired = old.iter().filter(|message| !is_gone(message)).count();
    if old.is_empty() {
        return Ok(false);
    }
    for message in old.iter().filter(|message| !is_gone(message)) {
        if let Some(held) = line(mailboxes, inbox, message).await.held {
            note(&held, "expired in quarantine");
        }
    }
    let uids: Vec<Uid> = old.iter().map(|message| message.uid).collect();
    remove(mailboxes, &uids).await?;
    counters.expired.fetch_add(expired as u64, Relaxed);
    Ok(uids.len() == SWEPT_AT_ONCE)
}

async fn remove(mailboxes: &Mailboxes, uids: &[Uid]) -> Result<(), MailboxFault> {
    let Some((_, inbox)) = place(mailboxes).await? else {
        return Ok(());
    };
    let deleted = Flags::system(SystemFlags::DELETED);
    mailboxes
        .flag(inbox, uids, FlagChange::Add, &deleted)
        .await?;
    mailboxes.expunge(inbox, uids).await.map(drop)
}

/// For `ringpostctl trace`.
fn note(held: &Held, what: &'static str) {
    let span = tracing::info_span!("message", id = held.id);
    let to = held.recipients.iter().map(|to| format!("<{}>", to.path));
    let to = to.take(NOTED_MAX).collect::<Vec<String>>().join(",");
    tracing::info!(target: MESSAGE, parent: &span, from = %format_args!("<{}>", held.from), %to, "{what}");
}

/// Recipients in one line of the trace.
const NOTED_MAX: usize = 50;

#[cfg(test)]
mod tests;
