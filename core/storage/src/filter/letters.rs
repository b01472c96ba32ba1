//! Messages that a plan needs beside the one that came: one with an edited header, one on its way to another address, a reply, a notice to the
//! owner of a script. Each is a body of the same group.

use base::BodyName;
use bytes::Bytes;
use mail::Summary;
use mailbox::MailboxFault;
use queue::{Addressee, Envelope, Terms, UnixSeconds};
use store::BodyIn;
use tokio::sync::OwnedSemaphorePermit;

use super::Filter;
use crate::outgoing::lifetimes;

/// Of messages that scripts made, from their making until their group has an outcome. Past it deliveries that need one are deferred. The plan counts
/// them (`plan::limits::FILTER_BYTES`).
pub const MADE_BYTES_MAX: usize = 32 << 20;
/// What one message may make for one account. A script that wants more has failed, and the message is kept as it came: one that edits the header of a
/// message of 30 MiB and sends it on as well.
pub(super) const MADE_EACH_BYTES_MAX: usize = MADE_BYTES_MAX - (1 << 20);
/// Bytes are counted in units, since a semaphore counts to 2^32.
pub(super) const MADE_UNIT_BYTES: usize = 4 * 1_024;

/// Something for the queue.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub envelope: Envelope,
    /// 0: the message as it came; `n`: `Plan::made[n - 1]`.
    pub body: usize,
    /// It may go only if the account remembers that it went.
    pub is_remembered: bool,
    /// For the trace.
    pub what: &'static str,
}

/// A body out of some pieces, with its share of the memory.
pub(super) struct Made {
    pub body: BodyIn,
    pub is_ascii: bool,
    pub charge: OwnedSemaphorePermit,
}

/// Why a body was not made.
pub(super) enum NotMade {
    /// It never fits.
    TooLarge,
    Later(MailboxFault),
}

impl Filter {
    /// `made_bytes`: what the plan made before.
    pub(super) async fn make(
        &self,
        front: Vec<u8>,
        rest: Bytes,
        made_bytes: &mut usize,
    ) -> Result<Made, NotMade> {
        let bytes = front.len() + rest.len();
        *made_bytes += bytes;
        if *made_bytes > MADE_EACH_BYTES_MAX || bytes > store::limits::BODY_BYTES_MAX {
            return Err(NotMade::TooLarge);
        }
        let units = bytes.div_ceil(MADE_UNIT_BYTES).max(1) as u32;
        // Not waited for: a delivery that waits may hold what the other one waits for.
        let charge = self.inner.made.clone().try_acquire_many_owned(units);
        let Ok(charge) = charge else {
            let why = "too many messages that scripts made are under way";
            return Err(NotMade::Later(MailboxFault::Unavailable(why.to_owned())));
        };
        let work = move || {
            let mut raw = front;
            raw.reserve_exact(rest.len());
            raw.extend_from_slice(&rest);
            let raw = Bytes::from(raw);
            let is_ascii = raw.is_ascii();
            let body = BodyIn {
                name: BodyName::of(&raw),
                summary: Bytes::from(Summary::of(&raw).encode()),
                raw,
            };
            (body, is_ascii)
        };
        let (body, is_ascii) = self.inner.host.work(bytes, work).await;
        Ok(Made {
            body,
            is_ascii,
            charge,
        })
    }

    /// A new id: the same message, account and purpose have the same one.
    pub(super) fn message_id(&self, body: &BodyName, words: &str) -> String {
        let mut bytes = body.0.to_vec();
        bytes.extend_from_slice(words.as_bytes());
        let name = BodyName::of(&bytes);
        let mut id = String::with_capacity(64);
        for byte in &name.0[..16] {
            id += &format!("{byte:02x}");
        }
        format!("<{id}.filter@{}>", self.inner.name)
    }
}

/// The envelope of a message that a program of ours wrote: it has no sender, so that nothing answers it, and no report comes back.
pub(super) fn automatic(paths: Vec<String>, is_ascii: bool, now: u64) -> Envelope {
    let now = UnixSeconds(now);
    let (warns, expires) = lifetimes(now, true);
    let is_utf8 = paths.iter().any(|path| !path.is_ascii());
    Envelope {
        from: String::new(),
        recipients: paths.into_iter().map(Addressee::new).collect(),
        arrived: now,
        warns,
        expires,
        terms: Terms {
            is_utf8,
            is_eight_bit: !is_ascii,
            is_unsigned: true,
            ..Terms::default()
        },
    }
}

/// A message to the owner of a script, for INBOX.
pub(super) fn notice(
    to: &str,
    domain: &str,
    (date, message_id): (&str, &str),
    text: &str,
) -> Vec<u8> {
    format!(
        "Return-Path: <>\r\nDate: {date}\r\nMessage-ID: {message_id}\r\nFrom: Mail filter <postmaster@{domain}>\r\nTo: <{to}>\r\nSubject: Your mail filter needs your attention\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
    )
    .into_bytes()
}

/// Where the message begins behind the field that final delivery put in front (RFC 5321 §4.4).
pub(super) fn travels_from(raw: &[u8]) -> usize {
    if !raw.starts_with(b"Return-Path: <") {
        return 0;
    }
    memchr::memchr(b'\n', raw).map_or(0, |end| end + 1)
}

/// The same of a header that a script edited: what it added stands in front of that field, which is left out of both parts.
pub(super) fn without_return_path(header: &[u8]) -> (&[u8], &[u8]) {
    let at = match header.starts_with(b"Return-Path: <") {
        true => Some(0),
        false => memchr::memmem::find(header, b"\r\nReturn-Path: <").map(|at| at + 2),
    };
    let at = at.unwrap_or(header.len());
    let end = memchr::memchr(b'\n', &header[at..]).map_or(header.len(), |end| at + end + 1);
    (&header[..at], &header[end..])
}

/// RFC 9228: whether the message has been at this address before, or at `HOPS_MAX` others.
pub(super) fn was_at(raw: &[u8], path: &str) -> bool {
    let mut hops = 0;
    mail::header::fields(front(raw)).any(|field| {
        let is_hop = field.name.eq_ignore_ascii_case(b"Delivered-To");
        hops += usize::from(is_hop);
        let value = field.value.trim_ascii();
        is_hop && (value.eq_ignore_ascii_case(path.as_bytes()) || hops >= HOPS_MAX)
    })
}

/// Addresses that a message passes before no script sends it on any more. People who each send on to four others make a message of many: of
/// one at most 4^5.
const HOPS_MAX: usize = 5;

/// What is looked at of a header on the owner's thread. The fields that we put in front are there, behind those of some hops.
fn front(raw: &[u8]) -> &[u8] {
    &raw[..raw.len().min(FRONT_BYTES_MAX)]
}

const FRONT_BYTES_MAX: usize = 256 * 1_024;

/// Whether our check of the sender failed: by the results that stand before the second Received, of which the first is ours. A forged field there can
/// only keep a report from being sent.
pub(super) fn is_forged(raw: &[u8]) -> bool {
    let mut hops = 0;
    let ours = mail::header::fields(front(raw)).take_while(|field| {
        hops += usize::from(field.name.eq_ignore_ascii_case(b"Received"));
        hops < 2
    });
    let mut results =
        ours.filter(|field| field.name.eq_ignore_ascii_case(b"Authentication-Results"));
    results.any(|field| {
        let has = |word: &str| memchr::memmem::find(field.value, word.as_bytes()).is_some();
        has("spf=fail") || has("dmarc=fail")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_was_there_before_says_so() {
        let raw = b"Return-Path: <a@b.example>\r\nDelivered-To: Ann@Example.org\r\n\r\nDelivered-To: bob@example.org\r\n";
        assert!(was_at(raw, "ann@example.org"));
        assert!(!was_at(raw, "bob@example.org"));
        let hops = |count: usize| "Delivered-To: x@y.example\r\n".repeat(count);
        assert!(!was_at(hops(4).as_bytes(), "ann@example.org"));
        assert!(was_at(hops(5).as_bytes(), "ann@example.org"), "far enough");
        assert_eq!(travels_from(raw), 28);
        assert_eq!(travels_from(b"Received: x\r\n"), 0);
    }

    #[test]
    fn a_sender_that_a_check_refused_is_forged() {
        let results = |text: &str| format!("Authentication-Results: mx; {text}\r\n\r\n");
        assert!(is_forged(results("spf=fail smtp.mailfrom=a").as_bytes()));
        assert!(is_forged(results("spf=none; dmarc=fail").as_bytes()));
        assert!(!is_forged(results("spf=pass; dmarc=pass").as_bytes()));
        let of_another = format!(
            "Received: ours\r\nReceived: theirs\r\n{}",
            results("spf=fail")
        );
        assert!(
            !is_forged(of_another.as_bytes()),
            "a list in front checked another sender"
        );
    }
}
