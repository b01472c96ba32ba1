//! Reports as their readers see them.

use base::BodyName;
use queue::{Notify, QueueId, RecipientState};
use store::{BodyRef, Codec, Lsn};
use volume::{Generation, RecordAddress, SegmentIndex};

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_795_305_599);
const RAW: &[u8] = b"From: alice@example.org\r\nSubject: hello\r\n\r\nText\r\n";

fn body(raw_bytes: u32) -> BodyRef {
    let place = RecordAddress {
        segment: SegmentIndex(1),
        generation: Generation(1),
        batch_block: 1,
        at: 0,
        bytes: 1,
        check: 0,
    };
    BodyRef {
        name: BodyName([0; 32]),
        raw_bytes,
        summary: place,
        body: place,
        codec: Codec::Zstd,
    }
}

fn recipient(path: &str, notify: Notify) -> Recipient {
    Recipient {
        to: Addressee {
            path: path.to_owned(),
            notify,
            original: String::new(),
        },
        state: RecipientState::Failed,
        tries: 1,
        reply: String::new(),
        host: String::new(),
        tried: UnixSeconds(0),
    }
}

fn entry(recipients: Vec<Recipient>) -> Entry {
    Entry {
        id: QueueId(7),
        body: body(RAW.len() as u32),
        from: "alice@example.org".to_owned(),
        recipients,
        arrived: UnixSeconds(1_795_300_000),
        warns: UnixSeconds(0),
        expires: UnixSeconds(1_795_732_000),
        terms: Terms::default(),
        warned: false,
        held: false,
        snapshot: Lsn(0),
    }
}

fn case(recipient: &Recipient, action: Action) -> Case<'_> {
    Case {
        recipient,
        action,
        text: "550 5.1.1 no such user".to_owned(),
        host: "mx.example.net".to_owned(),
    }
}

fn text(entry: &Entry, cases: &[Case<'_>], raw: &[u8]) -> String {
    let beginning = &raw[..wanted_bytes(entry, cases).min(raw.len())];
    let report = write("mx.example.org", entry, cases, beginning, NOW, 9);
    String::from_utf8(report.raw).expect("text")
}

#[test]
fn a_failure_is_told_to_people_and_to_programs_and_the_message_goes_back() {
    let mut bob = recipient("bob@example.net", Notify::UNSAID);
    bob.to.original = "rfc822;Bob+2BX@example.net".to_owned();
    let mut entry = entry(vec![bob]);
    entry.terms.envelope_id = "QQ+3D1".to_owned();
    let cases = [case(&entry.recipients[0], Action::Failed)];
    let text = text(&entry, &cases, RAW);
    for line in [
        "From: Mail delivery <MAILER-DAEMON@mx.example.org>",
        "To: <alice@example.org>",
        "Auto-Submitted: auto-replied",
        "Content-Type: multipart/report; report-type=delivery-status;",
        "  <bob@example.net>",
        "    mx.example.net said: 550 5.1.1 no such user",
        "Content-Type: message/delivery-status",
        "Reporting-MTA: dns; mx.example.org",
        "Original-Envelope-Id: QQ=1",
        "Arrival-Date: Sat, 21 Nov 2026 22:26:40 +0000",
        "Original-Recipient: rfc822; Bob+X@example.net",
        "Final-Recipient: rfc822; bob@example.net",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx.example.net",
        "Diagnostic-Code: smtp; 550 5.1.1 no such user",
        "Content-Type: message/rfc822",
        "Subject: hello",
        "Text",
    ] {
        assert!(text.split("\r\n").any(|is| is == line), "{line} in\n{text}");
    }
    assert!(
        text.split("\r\n")
            .all(|line| line.len() <= 998 && !line.contains('\n'))
    );
    assert!(text.is_ascii() && text.ends_with("--\r\n"));
    // Three parts, and the end.
    let boundary = text
        .split("boundary=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let boundary = format!("\r\n--{}", boundary.expect("it has one"));
    assert_eq!(text.matches(&boundary).count(), 4);
}

#[test]
fn a_report_is_never_reported_about() {
    let bob = recipient("bob@example.net", Notify::UNSAID);
    let entry = entry(vec![bob]);
    let cases = [case(&entry.recipients[0], Action::Failed)];
    let report = write("mx.example.org", &entry, &cases, RAW, NOW, 9);
    assert_eq!(report.envelope.from, "");
    assert_eq!(report.envelope.recipients[0].path, "alice@example.org");
    assert_eq!(report.envelope.recipients[0].notify, Notify::NEVER);
    assert_eq!(report.envelope.warns, UnixSeconds(0));
    let about_it = Entry {
        from: report.envelope.from,
        ..entry
    };
    for action in [
        Action::Failed,
        Action::Delayed,
        Action::Delivered,
        Action::Relayed,
    ] {
        let notify = Notify::SUCCESS.and(Notify::FAILURE).and(Notify::DELAY);
        assert!(!wants(
            &about_it,
            &recipient("x@example.net", notify),
            action
        ));
    }
}

#[test]
fn a_sender_hears_what_it_wants_to() {
    let entry = entry(vec![]);
    for (notify, failed, delayed, relayed) in [
        (Notify::UNSAID, true, true, false),
        (Notify::NEVER, false, false, false),
        (Notify::FAILURE, true, false, false),
        (Notify::DELAY, false, true, false),
        (Notify::SUCCESS.and(Notify::FAILURE), true, false, true),
    ] {
        let recipient = recipient("x@example.net", notify);
        assert_eq!(wants(&entry, &recipient, Action::Failed), failed);
        assert_eq!(wants(&entry, &recipient, Action::Delayed), delayed);
        assert_eq!(wants(&entry, &recipient, Action::Relayed), relayed);
        assert_eq!(wants(&entry, &recipient, Action::Delivered), relayed);
    }
}

#[test]
fn the_header_alone_goes_back_where_that_is_asked_for_or_the_message_is_large() {
    let make = |returned, raw_bytes, action| {
        let mut entry = entry(vec![recipient("bob@example.net", Notify::UNSAID)]);
        entry.terms.returned = returned;
        entry.body.raw_bytes = raw_bytes;
        let cases = [case(&entry.recipients[0], action)];
        text(&entry, &cases, RAW)
    };
    let small = RAW.len() as u32;
    let large = RETURNED_WHOLE_BYTES_MAX as u32 + 1;
    for (returned, raw_bytes, action, whole) in [
        (Returned::Unsaid, small, Action::Failed, true),
        (Returned::Full, small, Action::Failed, true),
        (Returned::Headers, small, Action::Failed, false),
        (Returned::Full, large, Action::Failed, false),
        (Returned::Full, small, Action::Delayed, false),
        (Returned::Full, small, Action::Relayed, false),
    ] {
        let text = make(returned, raw_bytes, action);
        assert_eq!(text.contains("Content-Type: message/rfc822"), whole);
        assert_eq!(text.contains("Content-Type: text/rfc822-headers"), !whole);
        assert_eq!(text.contains("\r\nText\r\n"), whole);
        assert!(text.contains("Subject: hello"));
    }
    assert!(make(Returned::Full, small, Action::Delayed).contains("Will-Retry-Until: "));
}

#[test]
fn nothing_that_others_wrote_leaves_its_line() {
    let mut bob = recipient("bob\r\nX-Evil: 1@example.net", Notify::UNSAID);
    bob.to.original = "rfc822;a+0D+0AX-Evil:+201".to_owned();
    let mut entry = entry(vec![bob]);
    entry.from = "alice\r\nX-Evil: 1@example.org".to_owned();
    entry.terms.envelope_id = "a+0d+0aX-Evil:+201".to_owned();
    let mut case = case(&entry.recipients[0], Action::Failed);
    case.text = "550 a\r\nX-Evil: 1 \u{e9}".to_owned();
    case.host = "mx\nX-Evil: 1".to_owned();
    let text = text(&entry, &[case], RAW);
    assert!(!text.contains("\nX-Evil"), "{text}");
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn addresses_in_utf_8_make_a_report_in_utf_8() {
    let mut entry = entry(vec![recipient("b\u{f6}b@example.net", Notify::UNSAID)]);
    entry.terms.is_utf8 = true;
    let cases = [case(&entry.recipients[0], Action::Failed)];
    let report = write("mx.example.org", &entry, &cases, RAW, NOW, 9);
    assert!(report.envelope.terms.is_utf8);
    let text = String::from_utf8(report.raw).expect("UTF-8");
    assert!(text.contains("Final-Recipient: utf-8; b\u{f6}b@example.net\r\n"));
    assert!(text.contains("Content-Type: message/global-delivery-status\r\n"));
}

#[test]
fn a_boundary_is_in_no_message() {
    let one = boundary_beside(b"", 7, 9);
    let other = boundary_beside(format!("--{one}\r\n").as_bytes(), 7, 9);
    assert_ne!(one, other);
}

#[test]
fn a_header_is_cut_at_a_line() {
    let long = format!(
        "Subject: a\r\nX: {}\r\n\r\n",
        "b".repeat(RETURNED_HEADER_BYTES_MAX)
    );
    assert_eq!(header_of(long.as_bytes()), b"Subject: a\r\n");
    assert_eq!(header_of(b"\r\ntext"), b"");
    assert_eq!(header_of(b"no line end"), b"");
    assert_eq!(header_of(b"A: b\r\n\r\nc"), b"A: b\r\n");
    let plain = failed_status("450 4.2.1 later");
    assert_eq!(
        (plain.as_str(), delayed_status("550 x").as_str()),
        ("5.4.7", "4.0.0")
    );
}
