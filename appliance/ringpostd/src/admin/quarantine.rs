//! The quarantine, as administrators see it and decide about it.

use std::time::{SystemTime, UNIX_EPOCH};

use ::admin::acl::Ask as Acl;
use ::admin::addresses::Ask;
use ::admin::fetch::Ask as Fetch;
use ::admin::limits::{QUARANTINE_PAGE_MAX, QUARANTINE_TEXT_BYTES};
use ::admin::logins::Ask as Logins;
use ::admin::quarantine::{QuarantineDetail, QuarantineLine, QuarantinePage};
use ::admin::request::Request;
use ::queue::UnixSeconds;
use ::storage::quarantine::{self, Held, Line};
use base::BodyName;
use bytes::Bytes;
use mail::Summary;
use serde_json::Value;
use store::BodyIn;

use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about the quarantine.
pub(crate) async fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::QuarantineList { after, count } => document(&list(admin, after, count).await?),
        Request::QuarantineShow { number } => document(&show(admin, number).await?),
        Request::QuarantineRelease { number } => document(&release(admin, number).await?),
        Request::QuarantineDrop { number } => document(&take_out(admin, number).await?),
        _ => Err("not about the quarantine".into()),
    }
}

/// Refuses what would make an address of the quarantine's domain, or lead its mail elsewhere. The domain cannot be removed, as its account stays.
pub(crate) fn leave_alone(request: &Request) -> Result<(), Refused> {
    let of = match request {
        Request::AccountAdd { address, .. } => address,
        Request::Logins {
            ask: Logins::AppAdd { account, .. } | Logins::Pass { account, .. },
        } => account,
        Request::Fetch {
            ask: Fetch::Add { account, .. },
        } => account,
        Request::Acl {
            ask: Acl::Set { account, .. } | Acl::Remove { account, .. } | Acl::Share { account, .. },
        } => account,
        Request::DomainAdd { domain }
        | Request::DomainRemove { domain }
        | Request::DkimMake { domain, .. }
        | Request::QueueReroute { domain, .. } => domain,
        Request::Addresses { ask } => match ask {
            Ask::AliasAdd { name, .. } | Ask::GroupMake { name, .. } => name,
            Ask::RouteSet { scope, .. } => scope,
            Ask::Grant { account, .. } | Ask::Allowance { account, .. } => account,
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    let domain = of
        .rsplit_once('@')
        .map_or(of.as_str(), |(_, domain)| domain);
    match quarantine::is_reserved(domain.trim_end_matches('.')) {
        true => Err(format!(
            "{domain} is the domain of the quarantine: see `ringpostctl quarantine`"
        )),
        false => Ok(()),
    }
}

/// Only heads are read. A message in quarantine may be large and hostile; nothing of it is parsed to show a list.
async fn list(admin: &Admin, after: u32, count: Option<usize>) -> Result<QuarantinePage, Refused> {
    let count_max = count
        .unwrap_or(QUARANTINE_PAGE_MAX)
        .min(QUARANTINE_PAGE_MAX);
    let page = admin
        .mailboxes(async move |mailboxes| quarantine::page(&mailboxes, after, count_max).await)
        .await?;
    Ok(QuarantinePage {
        count: page.count,
        messages: page.lines.iter().map(line).collect(),
        more: page.more,
    })
}

async fn show(admin: &Admin, number: u32) -> Result<QuarantineDetail, Refused> {
    let head = admin
        .mailboxes(async move |mailboxes| quarantine::head(&mailboxes, number).await)
        .await?;
    let (found, bytes) = head.ok_or_else(|| missing(number))?;
    // The beginning as text is enough to decide, and an answer to an administrator is bounded.
    let shown = &bytes[..bytes.len().min(QUARANTINE_TEXT_BYTES)];
    let recipients = found.held.iter().flat_map(|held| &held.recipients);
    Ok(QuarantineDetail {
        message: line(&found),
        recipients: recipients.map(|to| to.path.clone()).collect(),
        text: printable(shown),
        is_cut: (shown.len() as u64) < found.bytes,
    })
}

/// The message's bytes are paid for from the memory of messages that are received, and hashed on this thread: the owner's has mail to serve.
async fn release(admin: &Admin, number: u32) -> Result<(), Refused> {
    let bytes = admin
        .mailboxes(async move |mailboxes| quarantine::bytes_of(&mailboxes, number).await)
        .await?;
    let bytes = bytes.ok_or_else(|| missing(number))?;
    let _charge = admin
        .receive_memory()
        .take(bytes as usize)
        .ok_or("there is no memory for the message now: try again")?;
    let raw: Option<Bytes> = admin
        .mailboxes(async move |mailboxes| quarantine::whole(&mailboxes, number).await)
        .await?;
    let raw = raw.ok_or_else(|| missing(number))?;
    let (held, front) = Held::read(&raw).ok_or_else(|| {
        format!("message {number} has no envelope: its recipients are unknown; `quarantine drop` removes it")
    })?;
    // Our envelope in front of it goes: what is delivered is, byte for byte, what was kept apart.
    let raw = raw.slice(front..);
    let body = BodyIn {
        name: BodyName::of(&raw),
        summary: Bytes::from(Summary::of(&raw).encode()),
        raw,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = UnixSeconds(now.map_or(0, |span| span.as_secs()));
    let counters = admin.metrics().quarantine().clone();
    let released = admin
        .outgoing(async move |outgoing| {
            Ok(quarantine::release(&outgoing, number, &held, body, now, &counters).await)
        })
        .await?;
    match released.map_err(|fault| fault.to_string())? {
        true => Ok(()),
        false => Err(format!("message {number} is being released")),
    }
}

async fn take_out(admin: &Admin, number: u32) -> Result<(), Refused> {
    let counters = admin.metrics().quarantine().clone();
    let was_there = admin
        .mailboxes(async move |mailboxes| quarantine::take_out(&mailboxes, number, &counters).await)
        .await?;
    match was_there {
        true => Ok(()),
        false => Err(missing(number)),
    }
}

fn missing(number: u32) -> Refused {
    format!("message {number} is not in quarantine: see `quarantine list`")
}

fn line(of: &Line) -> QuarantineLine {
    let held = of.held.as_ref();
    let text = |of: fn(&Held) -> &str| held.map_or(String::new(), |held| of(held).to_owned());
    let first = held.and_then(|held| held.recipients.first());
    QuarantineLine {
        number: of.number,
        bytes: of.bytes,
        why: held.map_or("unreadable", |held| held.why.word()).to_owned(),
        detail: text(|held| &held.detail),
        arrived_unix_s: held.map_or(0, |held| held.unix_seconds),
        id: text(|held| &held.id),
        from: text(|held| &held.from),
        to: first.map_or(String::new(), |to| to.path.clone()),
        recipients: held.map_or(0, |held| held.recipients.len()),
    }
}

/// Lines of printable ASCII: what a stranger wrote must not steer an administrator's terminal.
fn printable(bytes: &[u8]) -> String {
    let chars = bytes.iter().filter(|byte| **byte != b'\r');
    chars
        .map(|byte| match byte {
            b'\n' | b'\t' | b' '..=b'~' => char::from(*byte),
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_message_steers_a_terminal() {
        let text = printable(b"Subject: \x1b[2J\xc3\xa9\r\n\tx\0\x07\n");
        assert_eq!(text, "Subject: ?[2J??\n\tx??\n");
    }

    #[test]
    fn the_quarantine_s_domain_is_left_alone() {
        let text = |of: &str| of.to_owned();
        let own = "x@Quarantine.invalid";
        for refused in [
            Request::AccountAdd {
                address: text(own),
                password_hash: String::new(),
                keys: None,
                quota_bytes: 0,
            },
            Request::DomainAdd {
                domain: text("quarantine.invalid"),
            },
            Request::DomainRemove {
                domain: text("quarantine.invalid."),
            },
            Request::Logins {
                ask: Logins::Pass {
                    account: text(own),
                    purpose: ::admin::logins::Purpose::Import,
                },
            },
            Request::Acl {
                ask: Acl::Share {
                    account: text(own),
                    shared: true,
                },
            },
            Request::QueueReroute {
                domain: text("quarantine.invalid"),
                host: text("192.0.2.7:25"),
                needs_tls: false,
            },
            Request::Addresses {
                ask: Ask::AliasAdd {
                    name: text("@quarantine.invalid"),
                    targets: Vec::new(),
                },
            },
            Request::Addresses {
                ask: Ask::RouteSet {
                    scope: text(own),
                    host: None,
                    needs_tls: false,
                },
            },
        ] {
            assert!(leave_alone(&refused).is_err(), "{refused:?}");
        }
        for taken in [
            Request::QuarantineDrop { number: 1 },
            Request::DomainAdd {
                domain: text("example.org"),
            },
            Request::AccountShow { address: text(own) },
        ] {
            assert_eq!(leave_alone(&taken), Ok(()), "{taken:?}");
        }
    }
}
