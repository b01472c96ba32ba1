//! What RFC 6409 §8 lets a submission server put right: a missing Date and a missing Message-ID are added, and fields that must not
//! travel (Bcc, RFC 5322 §3.6.3; Return-Path, RFC 5321 §4.4) are taken out, and those that only we write. Nothing else of a message is
//! changed.

use mail::header;

/// What new fields are made of.
pub(super) struct Facts<'a> {
    /// Unique, a dot-atom.
    pub id: &'a str,
    pub hostname: &'a str,
    pub unix_seconds: i64,
}

/// Changes `raw`, whose own fields begin behind `trace_bytes` of ours. Answers by how many bytes it holds more than before in memory.
pub(super) fn apply(raw: &mut Vec<u8>, trace_bytes: usize, facts: &Facts<'_>) -> usize {
    let held = raw.capacity();
    let (mut has_date, mut has_id) = (false, false);
    let mut hidden = Vec::new();
    let mut at = trace_bytes;
    for field in header::fields(&raw[trace_bytes..]) {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        has_date |= is("Date");
        has_id |= is("Message-ID");
        // What we say of mail from elsewhere (X-Ringpost-Scan, …) is not said of this message.
        let is_ours = scan::change::is_ours(field.name);
        if is_ours || is("Bcc") || is("Resent-Bcc") || is("Return-Path") {
            hidden.push(at..at + field.raw.len());
        }
        at += field.raw.len();
    }
    // From the last one back: what stands before is not moved.
    for range in hidden.into_iter().rev() {
        raw.drain(range);
    }
    let mut added = String::new();
    if !has_date {
        added += &format!("Date: {}\r\n", mail::text::date(facts.unix_seconds));
    }
    if !has_id {
        added += &format!("Message-ID: <{}@{}>\r\n", facts.id, facts.hostname);
    }
    if !added.is_empty() && is_header(&raw[trace_bytes..]) {
        raw.reserve_exact(added.len());
        raw.splice(trace_bytes..trace_bytes, added.into_bytes());
    }
    raw.capacity().saturating_sub(held)
}

/// Whether fields can stand in front: content that begins with text has no header, and would get it in the middle of ours.
fn is_header(content: &[u8]) -> bool {
    match header::fields(content).next() {
        Some(first) => !first.name.is_empty(),
        None => content.is_empty() || content.starts_with(b"\r\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "Received: by us\r\n";

    fn amended(content: &str) -> String {
        let mut raw = [TRACE, content].concat().into_bytes();
        let facts = Facts {
            id: "1.2.3",
            hostname: "mx.example.org",
            unix_seconds: 0,
        };
        let before = raw.capacity();
        let more = apply(&mut raw, TRACE.len(), &facts);
        assert_eq!(more, raw.capacity().saturating_sub(before));
        let text = String::from_utf8(raw).unwrap();
        text.strip_prefix(TRACE)
            .expect("our fields stand first")
            .to_owned()
    }

    const DATE: &str = "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n";
    const ID: &str = "Message-ID: <1.2.3@mx.example.org>\r\n";

    #[test]
    fn what_only_we_write_is_taken_out() {
        let rest = "Subject: x\r\nX-Ringpos: y\r\nX-Other-Ringpost-Scan: z\r\n\r\nX-Ringpost-Scan: text\r\n";
        for forged in [
            "X-Ringpost-Scan: clamd=clean\r\n",
            "x-RINGPOST-door : lists=-5;\r\n\thello=our-name\r\n",
            "X-Ringpost-Quarantine: no\r\n",
        ] {
            let content = [forged, rest].concat();
            assert_eq!(amended(&content), [DATE, ID, rest].concat(), "{forged}");
        }
    }

    #[test]
    fn what_is_missing_is_added_in_front() {
        let rest = "Subject: x\r\n\r\nDate: in the text\r\n";
        assert_eq!(amended(rest), [DATE, ID, rest].concat());
        let dated = "date : Fri, 2 Jan 1970 00:00:00 +0000\r\n\r\nx\r\n";
        assert_eq!(amended(dated), [ID, dated].concat());
        let whole = "MESSAGE-ID: <a@b>\r\nDATE: Fri, 2 Jan 1970 00:00:00 +0000\r\n\r\nx\r\n";
        assert_eq!(amended(whole), whole);
    }

    #[test]
    fn a_message_of_text_alone_is_left_as_it_is() {
        assert_eq!(amended("no header here\r\n"), "no header here\r\n");
        assert_eq!(amended("\r\ntext\r\n"), [DATE, ID, "\r\ntext\r\n"].concat());
        assert_eq!(amended(""), [DATE, ID].concat());
    }

    #[test]
    fn blind_copies_stay_blind() {
        let with = "Bcc: eve@example.net,\r\n mallory@example.net\r\nDate: x\r\nbcc:\r\nMessage-ID: <a@b>\r\nReturn-Path: <x@y>\r\n\r\nBcc: text\r\n";
        let without = "Date: x\r\nMessage-ID: <a@b>\r\n\r\nBcc: text\r\n";
        assert_eq!(amended(with), without);
        assert_eq!(amended("Bcc: a@b\r\n\r\n"), [DATE, ID, "\r\n"].concat());
    }
}
