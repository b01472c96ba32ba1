//! Reports to senders: a message that failed, waits for long, or went where no report comes from (RFC 3461, RFC 3464, RFC 6522).
//!
//! Pure: the message is put together from what the queue knows and the beginning of what was sent. Who may be reported to is decided by
//! `wants`: never a report about a report, and nothing that the sender did not want to hear.

use std::fmt::Write as _;

use queue::{Addressee, Entry, Envelope, Recipient, Returned, Terms, UnixSeconds};
use storage::outgoing::lifetimes;

use super::limits::*;
use super::verdict::{is_reply, status};

/// What a report says of one recipient (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Failed,
    Delayed,
    /// It is in a mailbox of ours.
    Delivered,
    /// A server has it that reports nothing about success.
    Relayed,
}

/// One recipient of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case<'e> {
    pub recipient: &'e Recipient,
    pub action: Action,
    /// What was said last, as `Said::text`; and the server that said it.
    pub text: String,
    pub host: String,
}

/// A report, ready to be put into the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub raw: Vec<u8>,
    pub envelope: Envelope,
}

/// Whether the sender of `entry` is to hear this of `recipient` (RFC 3461 §4.1, RFC 5321 §4.5.5).
// The null sender ends every circle of reports: a report has it, so there is never one about it.
pub fn wants(entry: &Entry, recipient: &Recipient, action: Action) -> bool {
    let notify = recipient.to.notify;
    !entry.from.is_empty()
        && match action {
            Action::Failed => notify.of_failure(),
            Action::Delayed => notify.of_delay(),
            Action::Delivered | Action::Relayed => notify.of_success(),
        }
}

/// Whether all of the message goes back with a report of these cases (RFC 3461 §4.3), and not its header alone.
pub fn returns_whole(entry: &Entry, cases: &[Case<'_>]) -> bool {
    // Only with a failure; and never so much that the report itself would be refused.
    let has_failed = cases.iter().any(|case| case.action == Action::Failed);
    let is_small = entry.body.raw_bytes as usize <= RETURNED_WHOLE_BYTES_MAX;
    has_failed && is_small && entry.terms.returned != Returned::Headers
}

/// How many bytes of the message `write` wants to see.
pub fn wanted_bytes(entry: &Entry, cases: &[Case<'_>]) -> usize {
    let max = match returns_whole(entry, cases) {
        true => RETURNED_WHOLE_BYTES_MAX,
        false => RETURNED_HEADER_BYTES_MAX,
    };
    max.min(entry.body.raw_bytes as usize)
}

/// The report about `cases` of `entry`. `beginning`: the first `wanted_bytes` of the message. `mark` makes its Message-ID and its boundary
/// unlike all others.
pub fn write(
    hostname: &str,
    entry: &Entry,
    cases: &[Case<'_>],
    beginning: &[u8],
    now: UnixSeconds,
    mark: u64,
) -> Report {
    let whole = returns_whole(entry, cases);
    let returned = match whole {
        true => beginning,
        false => header_of(beginning),
    };
    let is_utf8 = entry.terms.is_utf8
        || !entry.from.is_ascii()
        || cases.iter().any(|case| !case.recipient.to.path.is_ascii());
    let is_eight_bit = is_utf8 || !returned.is_ascii();
    // It must not be in what goes back, which a sender may have written with our boundary in mind.
    let boundary = boundary_beside(returned, entry.id.0, mark);
    let mut out = String::with_capacity(2_000 + cases.len() * 300);
    put_header(&mut out, hostname, entry, cases, now, mark);
    let encoding = if is_eight_bit { "8bit" } else { "7bit" };
    let _ = write!(
        out,
        "MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n\
         This is a report about mail that you sent.\r\n\r\n--{boundary}\r\n"
    );
    let charset = if is_utf8 { "utf-8" } else { "us-ascii" };
    let _ = write!(
        out,
        "Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    put_words(&mut out, hostname, entry, cases);
    // RFC 6533 §4: status and header may hold UTF-8.
    let kind = if is_utf8 {
        "global-delivery-status"
    } else {
        "delivery-status"
    };
    let _ = write!(
        out,
        "\r\n--{boundary}\r\nContent-Type: message/{kind}\r\n\r\n"
    );
    put_status(&mut out, hostname, entry, cases, now);
    let kind = match (whole, is_utf8) {
        (true, true) => "message/global",
        (true, false) => "message/rfc822",
        (false, true) => "message/global-headers",
        (false, false) => "text/rfc822-headers",
    };
    let _ = write!(
        out,
        "--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    if !is_utf8 {
        // What servers say may be anything.
        let ascii = |each: char| if each.is_ascii() { each } else { '?' };
        out = out.chars().map(ascii).collect();
    }
    let mut raw = out.into_bytes();
    raw.extend_from_slice(returned);
    if !returned.is_empty() && !returned.ends_with(b"\r\n") {
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let (warns, expires) = lifetimes(now, true);
    Report {
        raw,
        envelope: Envelope {
            // RFC 3461 §6.1: a report has the null reverse-path, and NOTIFY=NEVER goes with it.
            from: String::new(),
            recipients: vec![Addressee {
                path: entry.from.clone(),
                notify: queue::Notify::NEVER,
                original: String::new(),
            }],
            arrived: now,
            warns,
            expires,
            terms: Terms {
                is_utf8,
                is_eight_bit,
                ..Terms::default()
            },
        },
    }
}

fn put_header(
    out: &mut String,
    hostname: &str,
    entry: &Entry,
    cases: &[Case<'_>],
    now: UnixSeconds,
    mark: u64,
) {
    let subject = match subject_of(cases) {
        Action::Failed => "Undelivered mail returned to sender",
        Action::Delayed => "Mail is delayed and still being tried",
        Action::Delivered | Action::Relayed => "Mail was delivered",
    };
    let _ = write!(
        out,
        "Date: {}\r\n\
         From: Mail delivery <MAILER-DAEMON@{hostname}>\r\n\
         To: <{}>\r\n\
         Subject: {subject}\r\n\
         Message-ID: <{}.{mark:016x}@{hostname}>\r\n\
         Auto-Submitted: auto-replied\r\n",
        mail::text::date(now.0 as i64),
        one_line(&entry.from),
        entry.id.0,
    );
}

/// The worst of them.
fn subject_of(cases: &[Case<'_>]) -> Action {
    let has = |action| cases.iter().any(|case| case.action == action);
    match () {
        () if has(Action::Failed) => Action::Failed,
        () if has(Action::Delayed) => Action::Delayed,
        () => Action::Relayed,
    }
}

/// The part for people.
fn put_words(out: &mut String, hostname: &str, entry: &Entry, cases: &[Case<'_>]) {
    let _ = write!(out, "This is the mail server {hostname}.\r\n");
    for (action, words) in [
        (
            Action::Failed,
            "Your message could not be delivered to these recipients, and is not tried any more:",
        ),
        (
            Action::Delayed,
            "Your message has not reached these recipients yet. You need not send it again; it is still being tried:",
        ),
        (
            Action::Delivered,
            "Your message was delivered to these recipients:",
        ),
        (
            Action::Relayed,
            "Your message was handed to a server that sends no reports, for these recipients:",
        ),
    ] {
        let mut some = cases.iter().filter(|case| case.action == action).peekable();
        if some.peek().is_none() {
            continue;
        }
        let _ = write!(out, "\r\n{words}\r\n\r\n");
        for case in some {
            let _ = write!(out, "  <{}>\r\n", one_line(&case.recipient.to.path));
            let (text, host) = (one_line(&case.text), one_line(&case.host));
            let _ = match (text.is_empty(), host.is_empty()) {
                (true, _) => Ok(()),
                (false, true) => write!(out, "    {text}\r\n"),
                (false, false) => write!(out, "    {host} said: {text}\r\n"),
            };
        }
    }
    if cases.iter().any(|case| case.action == Action::Delayed) {
        let until = mail::text::date(entry.expires.0 as i64);
        let _ = write!(out, "\r\nIt is tried until {until}.\r\n");
    }
}

/// The part for programs (RFC 3464 §2).
fn put_status(
    out: &mut String,
    hostname: &str,
    entry: &Entry,
    cases: &[Case<'_>],
    now: UnixSeconds,
) {
    let _ = write!(out, "Reporting-MTA: dns; {hostname}\r\n");
    if !entry.terms.envelope_id.is_empty() {
        let id = from_xtext(&entry.terms.envelope_id);
        let _ = write!(out, "Original-Envelope-Id: {}\r\n", one_line(&id));
    }
    let arrived = mail::text::date(entry.arrived.0 as i64);
    let _ = write!(out, "Arrival-Date: {arrived}\r\n\r\n");
    for case in cases {
        let to = &case.recipient.to;
        if let Some((kind, address)) = to.original.split_once(';') {
            let (kind, address) = (one_line(kind), one_line(&from_xtext(address)));
            let _ = write!(out, "Original-Recipient: {kind}; {address}\r\n");
        }
        let kind = if to.path.is_ascii() {
            "rfc822"
        } else {
            "utf-8"
        };
        let _ = write!(out, "Final-Recipient: {kind}; {}\r\n", one_line(&to.path));
        let (action, status) = match case.action {
            Action::Failed => ("failed", failed_status(&case.text)),
            Action::Delayed => ("delayed", delayed_status(&case.text)),
            Action::Delivered => ("delivered", "2.0.0".to_owned()),
            Action::Relayed => ("relayed", "2.0.0".to_owned()),
        };
        let _ = write!(out, "Action: {action}\r\nStatus: {status}\r\n");
        if !case.host.is_empty() {
            let _ = write!(out, "Remote-MTA: dns; {}\r\n", one_line(&case.host));
        }
        if is_reply(&case.text) {
            let _ = write!(out, "Diagnostic-Code: smtp; {}\r\n", one_line(&case.text));
        } else if !case.text.is_empty() {
            let _ = write!(
                out,
                "Diagnostic-Code: x-ringpost; {}\r\n",
                one_line(&case.text)
            );
        }
        let _ = write!(
            out,
            "Last-Attempt-Date: {}\r\n",
            mail::text::date(now.0 as i64)
        );
        if case.action == Action::Delayed {
            let until = mail::text::date(entry.expires.0 as i64);
            let _ = write!(out, "Will-Retry-Until: {until}\r\n");
        }
        out.push_str("\r\n");
    }
}

/// What was put off until its time was over has failed because of that (RFC 3463 §3.5), whatever the last try said.
fn failed_status(text: &str) -> String {
    match status(text) {
        status if status.starts_with('5') => status,
        _ => "5.4.7".to_owned(),
    }
}

fn delayed_status(text: &str) -> String {
    match status(text) {
        status if status.starts_with('4') => status,
        _ => "4.0.0".to_owned(),
    }
}

/// The header of a message that begins so, whole lines of it.
fn header_of(beginning: &[u8]) -> &[u8] {
    let bound = beginning.len().min(RETURNED_HEADER_BYTES_MAX);
    let beginning = &beginning[..bound];
    if beginning.starts_with(b"\r\n") {
        return &[];
    }
    match memchr::memmem::find(beginning, b"\r\n\r\n") {
        Some(at) => &beginning[..at + 2],
        None => match memchr::memmem::rfind(beginning, b"\r\n") {
            Some(at) => &beginning[..at + 2],
            None => &[],
        },
    }
}

/// A boundary that `returned` does not hold (RFC 2046 §5.1.1).
fn boundary_beside(returned: &[u8], id: u64, mark: u64) -> String {
    let mut number = mark;
    loop {
        // until one is not in it: as many as fit into it are tried
        let boundary = format!("=_report.{id}.{number:016x}");
        if memchr::memmem::find(returned, boundary.as_bytes()).is_none() {
            return boundary;
        }
        number = number.wrapping_add(1);
    }
}

/// Nothing in it ends a line.
fn one_line(text: &str) -> String {
    let shown = |each: char| if each.is_control() { ' ' } else { each };
    text.chars().map(shown).collect()
}

/// RFC 3461 §4: `+` and two hexadecimal digits stand for an octet. What is written otherwise stays as it is.
fn from_xtext(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|two| {
            let two = std::str::from_utf8(two).ok()?;
            u8::from_str_radix(two, 16).ok()
        });
        match (bytes[at], digits) {
            (b'+', Some(octet)) => {
                out.push(octet);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests;
