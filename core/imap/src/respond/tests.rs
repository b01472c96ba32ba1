use super::*;
use crate::client::strict;
use mail::Summary;

fn structure(raw: &str) -> String {
    let mut out = Vec::new();
    let summary = Summary::of(raw.as_bytes());
    strict::verify(raw.as_bytes(), &summary);
    put_body_structure(&mut out, &summary.root, true, false);
    String::from_utf8(out).unwrap()
}

fn envelope(raw: &str) -> String {
    let mut out = Vec::new();
    let summary = Summary::of(raw.as_bytes());
    strict::verify(raw.as_bytes(), &summary);
    put_envelope(&mut out, &summary.envelope());
    String::from_utf8(out).unwrap()
}

#[test]
fn structures_of_sample_messages() {
    let samples = [
        (
            "Subject: x\r\n\r\nhello\r\n",
            r#"("TEXT" "PLAIN" NIL NIL NIL "7BIT" 7 1 NIL NIL NIL NIL)"#,
        ),
        (
            "",
            r#"("TEXT" "PLAIN" NIL NIL NIL "7BIT" 0 0 NIL NIL NIL NIL)"#,
        ),
        (
            "Content-Type: text/html; charset=\"utf-8\"; Format=Flowed\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>\r\n\r\n",
            r#"("TEXT" "HTML" ("CHARSET" "utf-8" "FORMAT" "Flowed") NIL NIL "QUOTED-PRINTABLE" 7 2 NIL NIL NIL NIL)"#,
        ),
        (
            "Content-Type: image/png; name=\"a \\\"b\\\".png\"\r\nContent-ID: <i@x>\r\nContent-Description: a picture\r\n\
             Content-Transfer-Encoding: base64\r\nContent-MD5: Q2hlY2s=\r\nContent-Disposition: inline; filename=x.png\r\n\
             Content-Language: en (English), de\r\nContent-Location: http://x/y\r\n\r\nAAAA\r\n",
            r#"("IMAGE" "PNG" ("NAME" "a \"b\".png") "<i@x>" "a picture" "BASE64" 6 "Q2hlY2s=" ("INLINE" ("FILENAME" "x.png")) ("en" "de") "http://x/y")"#,
        ),
        (
            "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\n",
            r#"(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 3 1 NIL NIL NIL NIL)("TEXT" "HTML" NIL NIL NIL "7BIT" 3 1 NIL NIL NIL NIL) "ALTERNATIVE" ("BOUNDARY" "b") NIL NIL NIL)"#,
        ),
        (
            "Content-Type: message/rfc822\r\n\r\nSubject: in\r\nFrom: a@b\r\n\r\ntext\r\n",
            r#"("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 32 (NIL "in" ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) NIL NIL NIL NIL NIL) ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 6 1 NIL NIL NIL NIL) 4 NIL NIL NIL NIL)"#,
        ),
        (
            "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: one\r\n\r\nx\r\n--b--\r\n",
            r#"(("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 17 (NIL "one" NIL NIL NIL NIL NIL NIL NIL NIL) ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL) "DIGEST" ("BOUNDARY" "b") NIL NIL NIL)"#,
        ),
        (
            "Content-Type: multipart/mixed\r\n\r\nno boundary\r\n",
            r#"("TEXT" "PLAIN" NIL NIL NIL "7BIT" 13 1 NIL NIL NIL NIL)"#,
        ),
        (
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDo=\r\n",
            r#"("APPLICATION" "OCTET-STREAM" NIL NIL NIL "base64" 14 NIL NIL NIL NIL)"#,
        ),
        (
            "Content-Type: application/pdf; name*0*=utf-8''%e2%82%ac; name*1=b\r\nContent-Disposition: attachment\r\n\r\nx",
            r#"("APPLICATION" "PDF" ("NAME*0*" "utf-8''%e2%82%ac" "NAME*1" "b") NIL NIL "7BIT" 1 NIL ("ATTACHMENT" NIL) NIL NIL)"#,
        ),
    ];
    for (raw, wanted) in samples {
        assert_eq!(
            structure(raw),
            wanted.replace("\"base64\"", "\"BASE64\""),
            "{raw}"
        );
    }
}

/// A delimiter inside a part's header ends the part: what it says of itself must still fit the grammar (RFC 9051 §9).
#[test]
fn a_header_cut_short_by_a_delimiter_leaves_a_whole_structure() {
    let digest =
        structure("Content-Type: multipart/digest; boundary=o\r\n\r\n--o\r\nX-Y: z\r\n--o--\r\n");
    let nils = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";
    let message = format!(
        r#"("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 0 {nils} ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 0 0 NIL NIL NIL NIL) 0 NIL NIL NIL NIL)"#
    );
    assert_eq!(
        digest,
        format!(r#"({message} "DIGEST" ("BOUNDARY" "o") NIL NIL NIL)"#)
    );
    let multipart = structure(
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n--o--\r\n",
    );
    assert!(!multipart.contains("\"MULTIPART\""), "{multipart}");
    // The inner multipart has the boundary of the outer one, and an embedded message is cut in its own header.
    let same = structure(
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=o\r\n--o\r\n\r\nx\r\n--o--\r\n",
    );
    assert!(!same.contains("\"MULTIPART\""), "{same}");
    let embedded = structure(
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n--o--\r\n",
    );
    assert!(embedded.contains(r#"(NIL "in" NIL"#), "{embedded}");
}

/// Siblings that the strict reader found: a NUL behind a backslash came out in a literal, and message/global is an embedded message
/// in IMAP4rev2 only.
#[test]
fn no_nul_and_no_basic_message_global_leave_us() {
    assert_eq!(
        envelope("From: \"a\\\0b\" <a@b>\r\nSubject: x\0y\r\n\r\n")
            .matches('\0')
            .count(),
        0
    );
    let raw = b"Content-Type: message/global\r\n\r\nSubject: \xc3\xa4\r\n\r\nx\r\n";
    let summary = Summary::of(raw);
    strict::verify(raw, &summary);
    let mut out = Vec::new();
    put_body_structure(&mut out, &summary.root, false, true);
    let strict::Structure::Single {
        message: Some(message),
        lines: Some(3),
        ..
    } = strict::body(&out, false, true).unwrap()
    else {
        panic!("{}", out.escape_ascii())
    };
    assert_eq!(message.0.subject.as_deref(), Some("ä".as_bytes()));
}

/// RFC 2045 §6.1: no encoding named is 7bit (M6). Siblings: only a comment, and a second field that does name one.
#[test]
fn an_encoding_that_is_not_named_is_7bit() {
    for field in ["", " ", " (none)", " ;x=y"] {
        assert_eq!(
            structure(&format!("Content-Transfer-Encoding:{field}\r\n\r\nx")),
            r#"("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1 NIL NIL NIL NIL)"#,
            "{field}"
        );
    }
    assert!(
        structure("Content-Transfer-Encoding:\r\nContent-Transfer-Encoding: 8bit\r\n\r\nx")
            .contains("\"8BIT\"")
    );
}

#[test]
fn the_envelope_of_the_rfc_example() {
    // RFC 9051 §8
    let raw = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n\
        Subject: IMAP4rev2 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n\
        cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\nMessage-Id: <B27397-0100000@cac.washington.ed>\r\n\r\n";
    let gray = r#"(("Terry Gray" NIL "gray" "cac.washington.edu"))"#;
    let wanted = format!(
        r#"("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" {gray} {gray} {gray} ((NIL NIL "imap" "cac.washington.edu")) ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL "<B27397-0100000@cac.washington.ed>")"#
    );
    assert_eq!(envelope(raw), wanted);
}

#[test]
fn groups_and_missing_fields_are_nil_in_their_places() {
    assert_eq!(
        envelope("To: Undisclosed:;\r\nSubject:\r\n\r\n"),
        r#"(NIL "" NIL NIL NIL ((NIL NIL "Undisclosed" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL)"#
    );
}

#[test]
fn no_string_can_end_a_line() {
    let shown = |bytes: &[u8]| {
        let mut out = Vec::new();
        put_string(&mut out, bytes);
        String::from_utf8_lossy(&out).into_owned()
    };
    assert_eq!(shown(b"a \"b\" \\"), r#""a \"b\" \\""#);
    assert_eq!(shown(b"x\r\n* BYE"), "{8}\r\nx\r\n* BYE");
    assert_eq!(shown("é".as_bytes()), "{2}\r\né");
    assert_eq!(
        shown(&[b'a'; 600]),
        format!("{{600}}\r\n{}", "a".repeat(600))
    );
    let mut out = Vec::new();
    put_mailbox(&mut out, "a\r\nb\"ü", Names::Utf8);
    assert_eq!(String::from_utf8(out).unwrap(), "\"ab\\\"ü\"");
    let mut out = Vec::new();
    put_mailbox(&mut out, "Entwürfe", Names::ModifiedUtf7);
    assert_eq!(out, b"\"Entw&APw-rfe\"");
}

#[test]
fn section_names_are_repeated_without_peek() {
    let mut out = Vec::new();
    let names = vec!["To".into(), "X(Y".into()];
    let section = Section {
        part: vec![1, 2],
        text: SectionText::HeaderFields { not: true, names },
    };
    put_section_name(
        &mut out,
        &section,
        Some(Partial {
            offset: 5,
            count: 9,
        }),
    );
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "BODY[1.2.HEADER.FIELDS.NOT (To \"X(Y\")]<5>"
    );
}

#[test]
fn numbers_are_decimal() {
    let mut out = Vec::new();
    put_number(&mut out, 0u32);
    put_number(&mut out, u64::MAX);
    assert_eq!(out, b"018446744073709551615");
}

/// Finding I2: what is in the store from before.
#[test]
fn no_literal_holds_nul() {
    let mut out = Vec::new();
    put_string(&mut out, b"a\0b");
    assert_eq!(out, b"{3}\r\na\x80b");
    assert!(matches!(without_nul(b"\x01\x80\xff"), Cow::Borrowed(_)));
    assert_eq!(without_nul(b"\0\0"), &b"\x80\x80"[..]);
    let raw = b"Content-Type: text/plain; name=\"a\0b\"\r\nSubject: a\0b\r\n\r\nx";
    let summary = Summary::of(raw);
    let mut out = Vec::new();
    put_body_structure(&mut out, &summary.root, true, true);
    put_envelope(&mut out, &summary.envelope());
    assert!(!out.is_empty() && !out.contains(&0));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whatever the message, what we say of it keeps to the grammar and to the message.
    #[test]
    fn every_structure_keeps_to_the_grammar(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "Content-Type: ", "multipart/mixed; boundary=b\r\n\r\n", "multipart/digest; boundary=c\r\n", "message/rfc822\r\n\r\n", "boundary=", "b", "\"", "--",
            "--b\r\n", "--b--\r\n", "\r\n--c\r\n", "--c--\r\n", "\r\n", "\r\n\r\n", "\n", " ", "\t", ":", "From: ", "To: g: a@b;", "a@b", "<", ">", "(", ")", ";", ",",
            "\\", "[", "\0", "\u{e4}", "Content-Transfer-Encoding:", " base64", "Content-Disposition: x; y=z\r\n", "Content-Language: de, en\r\n", "Subject: s\r\n",
            "message/global\r\n", "text/html", "Content-ID: <1>\r\n", "x/y\r\n",
        ]), 0..60)
    ) {
        let raw = pieces.concat();
        strict::verify(raw.as_bytes(), &Summary::of(raw.as_bytes()));
    }
}
