//! Messages that a script causes, as bytes: a vacation reply (RFC 5230 §5, RFC 3834 §3) and a notification (RFC 5436 §2).

use data_encoding::BASE64;

use crate::encode::{ascii, field};
use crate::outcome::{Notification, Reply};

impl Reply {
    /// The whole message. `date` is as `mail::text::date` writes it; `message_id` is new, with its brackets.
    pub fn message(&self, date: &str, message_id: &str) -> Vec<u8> {
        let mut out = head(
            date,
            message_id,
            &self.from,
            &self.to.to_path(),
            &self.subject,
        );
        if let Some(id) = &self.in_reply_to {
            out.push_str(&field("In-Reply-To", id));
        }
        if let Some(references) = &self.references {
            out.push_str(&field("References", references));
        }
        out.push_str("Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
        match self.mime {
            // It begins with MIME fields of its own (RFC 5230 §4.4). What else it has there is dropped: it is a reply, whatever it says.
            true => mime_entity(&mut out, &self.reason),
            false => text_entity(&mut out, &self.reason),
        }
        out.into_bytes()
    }
}

impl Notification {
    /// As `Reply::message`. `owner` is the address whose script it is (RFC 5436 §2.7.1).
    pub fn message(&self, date: &str, message_id: &str, owner: &str) -> Vec<u8> {
        let to: Vec<String> = self.to.iter().map(mail::Address::to_path).collect();
        let mut out = head(date, message_id, &self.from, &to.join(", "), &self.subject);
        let automatic = format!("auto-notified; owner-email=\"{owner}\"");
        out.push_str(&field("Auto-Submitted", &automatic));
        match self.importance {
            1 => out.push_str("Importance: high\r\nX-Priority: 1\r\n"),
            3 => out.push_str("Importance: low\r\nX-Priority: 5\r\n"),
            _ => {}
        }
        out.push_str("MIME-Version: 1.0\r\n");
        text_entity(&mut out, &self.text);
        out.into_bytes()
    }
}

/// What every message has. All values are of one line: `field` folds, and `ascii` has no line ends.
fn head(date: &str, message_id: &str, from: &str, to: &str, subject: &str) -> String {
    let mut out = String::with_capacity(1_024);
    for (name, value) in [
        ("Date", date),
        ("Message-ID", message_id),
        ("From", from),
        ("To", to),
        ("Subject", &ascii(subject)),
    ] {
        out.push_str(&field(name, value));
    }
    out
}

/// Plain text as it stands if SMTP takes it so, else in base64: senders and relays of any age take that.
fn text_entity(out: &mut String, text: &str) {
    let is_plain = text.is_ascii() && text.lines().all(|line| line.len() <= 78);
    // `lines` takes the CR of a line end away; another CR is as odd as any control character, since some take it for a line end.
    let has_odd = text
        .lines()
        .any(|line| line.bytes().any(|byte| byte < b' ' && byte != b'\t'));
    let mut body = text.lines().collect::<Vec<&str>>().join("\r\n");
    body.push_str("\r\n");
    out.push_str("Content-Type: text/plain; charset=utf-8\r\n");
    if is_plain && !has_odd {
        out.push_str("Content-Transfer-Encoding: 7bit\r\n\r\n");
        out.push_str(&body);
        return;
    }
    out.push_str("Content-Transfer-Encoding: base64\r\n\r\n");
    for line in body.as_bytes().chunks(57) {
        out.push_str(&BASE64.encode(line));
        out.push_str("\r\n");
    }
}

/// Only fields that describe content are taken over: the reason cannot add a recipient or take `Auto-Submitted` away.
fn mime_entity(out: &mut String, entity: &str) {
    // A CR alone or a NUL, which variables may bring, is in no message.
    let entity = entity.replace("\r\n", "\n").replace(['\r', '\0'], " ");
    let (header, body) = match entity.strip_prefix('\n') {
        Some(body) => ("", body),
        None => entity.split_once("\n\n").unwrap_or((&entity, "")),
    };
    let header = format!("{header}\n");
    for one in mail::header::fields(header.as_bytes()) {
        let name = String::from_utf8_lossy(one.name);
        if name.to_ascii_lowercase().starts_with("content-") {
            let raw = String::from_utf8_lossy(one.raw);
            out.push_str(&raw.replace('\n', "\r\n"));
        }
    }
    out.push_str("\r\n");
    out.push_str(&body.replace('\n', "\r\n"));
    if !out.ends_with("\r\n") {
        out.push_str("\r\n");
    }
}
