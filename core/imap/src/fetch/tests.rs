use super::*;

const RAW: &[u8] = b"Subject: outer\r\nTo: a@b\r\nX-Odd: 1\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n\
Subject: inner\r\n\r\ninner text\r\n--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n\r\nalt one\r\n--i\r\n\
Content-Type: text/html\r\n\r\n<p>\r\n--i--\r\n--o--\r\n";

fn section(text: &str) -> Section {
    let line = format!("a FETCH 1 BODY[{text}]\r\n");
    let command = crate::parse::command(line.as_bytes(), crate::parse::Names::Utf8).unwrap();
    let crate::command::Body::Fetch { items, .. } = command.body else {
        panic!()
    };
    let [FetchItem::Section { section, .. }] = &items[..] else {
        panic!()
    };
    section.clone()
}

fn shown(raw: &[u8], text: &str) -> Option<String> {
    let summary = Summary::of(raw);
    cut(&section(text), &summary, raw).map(|bytes| String::from_utf8(bytes.into_owned()).unwrap())
}

#[test]
fn sections_are_cut_where_the_rfc_says() {
    let is =
        |name: &str, wanted: &str| assert_eq!(shown(RAW, name).as_deref(), Some(wanted), "{name}");
    is("", std::str::from_utf8(RAW).unwrap());
    is("1", "aGVsbG8=");
    is(
        "1.MIME",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    );
    is("2", "Subject: inner\r\n\r\ninner text");
    is("2.HEADER", "Subject: inner\r\n\r\n");
    is("2.TEXT", "inner text");
    is("2.1", "inner text");
    is("2.HEADER.FIELDS (subject to)", "Subject: inner\r\n\r\n");
    is("3.1", "alt one");
    is("3.2", "<p>");
    is("3.2.MIME", "Content-Type: text/html\r\n\r\n");
    is("HEADER.FIELDS (TO absent)", "To: a@b\r\n\r\n");
    is(
        "HEADER.FIELDS.NOT (Subject Content-Type)",
        "To: a@b\r\nX-Odd: 1\r\n\r\n",
    );
    assert!(shown(RAW, "TEXT").unwrap().starts_with("--o\r\n"));
    assert!(
        shown(RAW, "HEADER")
            .unwrap()
            .ends_with("boundary=o\r\n\r\n")
    );
}

#[test]
fn parts_that_are_not_there_are_nil() {
    for name in [
        "4",
        "1.1",
        "1.HEADER",
        "2.2",
        "2.1.1",
        "3.3",
        "3.1.HEADER",
        "3.HEADER",
    ] {
        assert_eq!(shown(RAW, name), None, "{name}");
    }
}

#[test]
fn a_simple_message_is_its_own_first_part() {
    let raw = b"Subject: x\r\n\r\nhello\r\n";
    assert_eq!(shown(raw, "1").as_deref(), Some("hello\r\n"));
    assert_eq!(shown(raw, "1.MIME").as_deref(), Some("Subject: x\r\n\r\n"));
    assert_eq!(shown(raw, "TEXT").as_deref(), Some("hello\r\n"));
    assert_eq!(shown(raw, "1.1"), None);
    assert_eq!(shown(raw, "2"), None);
}

#[test]
fn a_list_view_never_needs_the_body() {
    let summary = Summary::of(RAW);
    let from_summary = |text: &str| fields_from_summary(&section(text), &summary);
    assert_eq!(
        from_summary("HEADER.FIELDS (Subject FROM)").as_deref(),
        Some(&b"Subject: outer\r\n\r\n"[..])
    );
    assert_eq!(from_summary("HEADER.FIELDS (Subject X-Odd)"), None);
    assert_eq!(from_summary("HEADER.FIELDS.NOT (Subject)"), None);
    assert_eq!(from_summary("HEADER"), None);
    assert!(!FetchItem::Envelope.needs_body(Some(&summary)));
    let cut_short = Summary {
        complete: false,
        ..summary.clone()
    };
    for item in [FetchItem::Envelope, FetchItem::BodyStructure] {
        assert!(item.needs_body(Some(&cut_short)) && item.may_do_without_body());
    }
    assert!(FetchItem::Rfc822Text.needs_body(Some(&summary)));
}

#[test]
fn transfer_encodings_are_undone_for_binary() {
    let summary = Summary::of(RAW);
    let (body, encoding) = binary_part(&[1], &summary, RAW).unwrap();
    assert_eq!(
        transfer_decoded(body, encoding).as_deref(),
        Some(&b"hello"[..])
    );
    assert_eq!(
        transfer_decoded(b"a=20b=\r\nc", b"Quoted-Printable").as_deref(),
        Some(&b"a bc"[..])
    );
    assert_eq!(transfer_decoded(b"x", b"x-uuencode"), None);
}

#[test]
fn partials_end_with_the_bytes() {
    let of = |offset, count| part_of(b"hello", Some(Partial { offset, count }));
    assert_eq!(
        (of(0, 2), of(3, 9), of(5, 1), of(u32::MAX, u32::MAX)),
        (&b"he"[..], &b"lo"[..], &b""[..], &b""[..])
    );
}

#[test]
fn a_summary_of_another_message_cannot_stop_us() {
    let summary = Summary::of(RAW);
    for name in [
        "1",
        "2.HEADER",
        "3.2",
        "TEXT",
        "HEADER.FIELDS (To)",
        "1.MIME",
    ] {
        cut(&section(name), &summary, b"short");
    }
}
