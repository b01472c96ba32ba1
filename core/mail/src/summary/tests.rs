use super::*;
use proptest::prelude::*;

const NESTED: &[u8] = b"From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?h=C3=A9?=\r\n\
MIME-Version: 1.0\r\nX-Other: x\r\nContent-Type: multipart/mixed; boundary=\"out er\"\r\n\r\npreamble\r\n--out er\r\n\r\n\
one\r\ntwo\r\n--out er  \r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\nContent-Type: text/plain\r\n\r\n\
inner\r\n\r\n--in\r\nContent-Type: text/html; charset=utf-8\r\nContent-ID: <1@x>\r\n\r\n<p>\r\n--in--\r\nepilogue\r\n--out er\r\n\
Content-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"a b.eml\"\r\n\r\nSubject: embedded\r\nX-Y: z\r\n\r\n\
text of it\r\n--out er--\r\nend\r\n";

fn body<'a>(raw: &'a [u8], part: &Part<'_>) -> &'a [u8] {
    &raw[part.body_begin as usize..part.body_end as usize]
}

fn parts<'a, 'b>(part: &'b Part<'a>) -> &'b [Part<'a>] {
    match &part.content {
        Content::Multipart(parts) => parts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tree_of_parts_is_cut_at_its_boundaries() {
    let summary = Summary::of(NESTED);
    let outer = parts(&summary.root);
    assert_eq!(outer.len(), 3);
    assert_eq!(body(NESTED, &outer[0]), b"one\r\ntwo");
    assert_eq!(outer[0].lines, 2);
    let inner = parts(&outer[1]);
    assert_eq!(body(NESTED, &inner[0]), b"inner\r\n");
    assert_eq!(inner[0].lines, 1);
    assert_eq!(body(NESTED, &inner[1]), b"<p>");
    assert_eq!(inner[1].id.as_deref(), Some(&b"<1@x>"[..]));
    assert_eq!(
        inner[1].parameters,
        [(b"charset"[..].into(), b"utf-8"[..].into())]
    );
    let Content::Message(message) = &outer[2].content else {
        panic!()
    };
    assert_eq!(&*message.0, b"Subject: embedded\r\n");
    assert_eq!(body(NESTED, &message.1), b"text of it");
    assert_eq!(
        body(NESTED, &outer[2]),
        b"Subject: embedded\r\nX-Y: z\r\n\r\ntext of it"
    );
    assert_eq!(outer[2].lines, 4);
    assert_eq!(
        &*outer[2].disposition.as_ref().unwrap().parameters[0].1,
        b"a b.eml"
    );
    assert_eq!(summary.root.body_end as usize, NESTED.len());
}

#[test]
fn only_the_fields_of_lists_are_kept() {
    let summary = Summary::of(NESTED);
    let kept = String::from_utf8(summary.header.to_vec()).unwrap();
    assert!(kept.starts_with("From: Ann <ann@example.org>\r\n"));
    assert!(!kept.contains("X-Other"));
    assert!(summary.complete);
    let envelope = summary.envelope();
    assert_eq!(
        envelope.subject.as_deref(),
        Some(&b"=?utf-8?q?h=C3=A9?="[..])
    );
    assert_eq!(envelope.sender, envelope.from);
    assert!(envelope.cc.is_empty());
    assert!(summary.encode().len() < 600, "{}", summary.encode().len());
}

#[test]
fn a_message_without_structure_is_text() {
    let plain = Summary::of(b"Subject: x\r\n\r\nhello\r\nworld");
    assert_eq!(
        (plain.root.body_begin, plain.root.body_end, plain.root.lines),
        (14, 26, 2)
    );
    assert_eq!(&*plain.root.media_subtype, b"plain");
    let empty = Summary::of(b"");
    assert_eq!(
        (empty.root.body_begin, empty.root.body_end, empty.root.lines),
        (0, 0, 0)
    );
    let only_header = Summary::of(b"Subject: x");
    assert_eq!(&*only_header.header, b"Subject: x\r\n");
    assert_eq!(only_header.root.body_begin, 10);
}

#[test]
fn a_multipart_without_boundary_or_without_parts_is_text() {
    let none = Summary::of(b"Content-Type: multipart/mixed\r\n\r\nhello\r\n");
    assert_eq!(
        (&*none.root.media_type, &none.root.content),
        (&b"text"[..], &Content::Leaf)
    );
    let empty = Summary::of(b"Content-Type: multipart/mixed; boundary=b\r\n\r\nhello\r\n");
    assert_eq!(
        (&*empty.root.media_type, &empty.root.content),
        (&b"text"[..], &Content::Leaf)
    );
    assert_eq!(empty.root.lines, 1);
    assert!(crate::text::any_text(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\nhello\r\n",
        crate::text::Scope::Body,
        &mut |_, text| text.contains("hello")
    ));
}

#[test]
fn a_part_that_ends_inside_its_header_is_empty() {
    let raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n--b--\r\n";
    let summary = Summary::of(raw);
    let part = &parts(&summary.root)[0];
    assert_eq!(
        (&*part.media_type, part.body_begin, part.lines),
        (&b"image"[..], part.body_end, 0)
    );
}

/// RFC 2046 §5.1.1: the line end before a delimiter belongs to the delimiter, also when the line before is an inner delimiter (M5).
#[test]
fn a_container_directly_before_a_delimiter_ends_before_its_line_end() {
    let message =
        "Subject: s\r\nContent-Type: multipart/mixed; boundary=j\r\n\r\n--j\r\n\r\ny\r\n--j--";
    let raw = format!(
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n{message}\r\n--o--\r\n"
    );
    let summary = Summary::of(raw.as_bytes());
    let part = &parts(&summary.root)[0];
    assert_eq!(body(raw.as_bytes(), part), message.as_bytes());
    assert_eq!((message.len(), part.lines), (72, 7));
    // The same with a multipart directly inside, with LF alone, and with a part that is nothing but its delimiter.
    let inner = "--j\n\ny\n--j--";
    let raw = format!(
        "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=j\n\n{inner}\n--o--\n"
    );
    let summary = Summary::of(raw.as_bytes());
    assert_eq!(
        body(raw.as_bytes(), &parts(&summary.root)[0]),
        inner.as_bytes()
    );
    let raw = b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=j\r\n\r\n--j\r\n--o--\r\n";
    let summary = Summary::of(raw);
    let inner = &parts(&summary.root)[0];
    assert_eq!(inner.body_end, parts(inner)[0].body_end);
}

#[test]
fn line_ends_that_miss_are_kept_and_cost_nothing_where_none_does() {
    let plain = Summary::of(b"Subject: x\r\n\r\nbody\r\n").encode();
    assert_eq!(Summary::line_ends_missing_in(&plain), Ok(0));
    for (raw, missing) in [
        (&b"Subject: x\r\n\r\nbody"[..], 2),
        (b"Subject: x\n\nbody\n", 3),
        (&b"\n".repeat(70_000), 70_000),
    ] {
        let summary = Summary::of(raw);
        assert_eq!(summary.line_ends_missing, missing);
        let encoded = summary.encode();
        assert_eq!(Summary::decode(&encoded), Ok(summary));
        assert_eq!(Summary::line_ends_missing_in(&encoded), Ok(missing));
        let header = Summary::decode(&encoded).map(|summary| summary.header.into_owned());
        assert_eq!(Summary::header_in(&encoded).map(<[u8]>::to_vec), header);
        assert!(Summary::line_ends_missing_in(&encoded[..encoded.len() - 1]).is_err());
    }
    assert!(Summary::line_ends_missing_in(b"").is_err());
    assert!(Summary::header_in(b"").is_err());
    assert!(Summary::header_in(&plain[..4]).is_err());
}

#[test]
fn nesting_and_part_counts_are_bounded() {
    let mut deep = Vec::new();
    for level in 0..200 {
        deep.extend_from_slice(
            format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n")
                .as_bytes(),
        );
    }
    let summary = Summary::of(&deep);
    assert_eq!(Summary::decode(&summary.encode()), Ok(summary));
    let mut many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
    for _ in 0..5_000 {
        many.extend_from_slice(b"--b\r\nContent-Type: a/bcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh; x=y\r\n\r\n\r\n");
    }
    let summary = Summary::of(&many);
    assert_eq!(
        parts(&summary.root).len(),
        crate::limits::KEPT_PARTS_MAX + 1
    );
    assert!(!summary.complete);
    assert_eq!(Summary::decode(&summary.encode()), Ok(summary));
    let messages = b"Content-Type: message/rfc822\r\n\r\n".repeat(500);
    let summary = Summary::of(&messages);
    assert_eq!(Summary::decode(&summary.encode()), Ok(summary));
}

#[test]
fn a_header_too_long_to_keep_says_so() {
    let raw = format!(
        "Subject: a\r\nTo: {}\r\nFrom: b@c\r\n\r\n",
        "x@example.org, ".repeat(5_000)
    );
    let summary = Summary::of(raw.as_bytes());
    assert!(!summary.complete);
    assert_eq!(&*summary.header, b"Subject: a\r\nFrom: b@c\r\n");
}

/// RFC 2046 §5.1.1, note to implementors (M8): words behind a boundary do not hide it, and an inner boundary that begins with the
/// outer one is still the inner.
#[test]
fn a_delimiter_with_words_behind_it_is_one() {
    let bodies = |raw: &'static [u8]| -> Vec<&'static [u8]> {
        let summary = Summary::of(raw);
        parts(&summary.root)
            .iter()
            .map(|part| body(raw, part))
            .collect()
    };
    assert_eq!(
        bodies(
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b trailing words\r\n\r\none\r\n--b\t;x\r\n\r\ntwo\r\n--b-- end\r\nepilogue\r\n"
        ),
        [&b"one"[..], b"two"]
    );
    // With one boundary open, its appearing is enough.
    assert_eq!(
        bodies(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--bX\r\n\r\none\r\n--b--\r\n"),
        [b"one"]
    );
    // `b1` is open inside `b`: its lines are its own, and after it was closed a stray one is text.
    let raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n\
        --b1 words\r\n\r\ninner\r\n--b12\r\nstill inner\r\n--b1--\r\n--b words\r\n\r\nouter\r\n--b--\r\n";
    let summary = Summary::of(raw);
    let outer = parts(&summary.root);
    assert_eq!(outer.len(), 2);
    assert_eq!(
        body(raw, &parts(&outer[0])[0]),
        b"inner\r\n--b12\r\nstill inner"
    );
    assert_eq!(body(raw, &outer[1]), b"outer");
}

/// Unknown is not absent (M2): past each bound of what is kept the summary says so, and the whole one knows.
#[test]
fn what_is_not_kept_is_read_again() {
    let to = "x@example.org, ".repeat(3_000);
    let raw = format!("Subject: a\r\nTo: {to}\r\n\r\n");
    assert!(!Summary::of(raw.as_bytes()).complete);
    let whole = Summary::whole(raw.as_bytes());
    assert!(whole.complete && Summary::is_complete(&whole.encode()));
    assert_eq!(whole.envelope().to.iter().count(), 3_000);
    // An embedded message's fields come out of the same room.
    let raw = format!("Content-Type: message/rfc822\r\n\r\nTo: {to}\r\n\r\n");
    assert!(!Summary::of(raw.as_bytes()).complete);
    let Content::Message(inner) = Summary::whole(raw.as_bytes()).root.content else {
        panic!()
    };
    assert_eq!(EnvelopeFields::of(&inner.0).to.iter().count(), 3_000);
    // Parameters, by bytes.
    let raw = format!("Content-Type: a/b; x={}\r\n\r\n", "y".repeat(70_000));
    assert!(!Summary::of(raw.as_bytes()).complete);
    assert_eq!(
        Summary::whole(raw.as_bytes()).root.parameters[0].1.len(),
        70_000
    );
    // Parts: all of them, and each with its own type.
    let part = "--b\r\nContent-Type: image/png\r\n\r\nx\r\n";
    let raw = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        part.repeat(1_500)
    );
    let kept = Summary::of(raw.as_bytes());
    assert!(!kept.complete);
    let whole = Summary::whole(raw.as_bytes());
    assert!(whole.complete);
    assert_eq!(parts(&whole.root).len(), 1_500);
    assert_eq!(Summary::decode(&whole.encode()), Ok(whole));
}

/// Even the whole summary ends somewhere; what it says then is true.
#[test]
fn what_is_past_every_bound_is_shown_as_octets_or_named_incomplete() {
    let rest = "--b\r\n\r\nlast\r\n--b\r\n\r\nlast of all";
    let raw = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}{rest}\r\n--b--\r\nepilogue",
        "--b\r\n\r\nx\r\n".repeat(crate::limits::WHOLE_PARTS_MAX)
    );
    let whole = Summary::whole(raw.as_bytes());
    assert!(whole.complete);
    let last = parts(&whole.root).last().unwrap();
    assert_eq!(
        (&*last.media_type, body(raw.as_bytes(), last)),
        (&b"application"[..], &rest.as_bytes()["--b\r\n".len()..])
    );
    let subject = "s".repeat(crate::limits::WHOLE_HEADER_BYTES_MAX);
    assert!(!Summary::whole(format!("Subject: {subject}\r\n\r\n").as_bytes()).complete);
    let many = format!("Content-Type: a/b{}\r\n\r\n", "; x=y".repeat(1_001));
    assert!(!Summary::whole(many.as_bytes()).complete);
    // Depth: the innermost container is octets.
    let mut deep = String::new();
    for _ in 0..crate::limits::DEPTH_MAX + 1 {
        deep += "Content-Type: message/rfc822\r\n\r\n";
    }
    let whole = Summary::whole(deep.as_bytes());
    let mut part = &whole.root;
    while let Content::Message(inner) = &part.content {
        part = &inner.1;
    }
    assert_eq!(
        (&*part.media_type, &part.content),
        (&b"application"[..], &Content::Unread)
    );
}

/// The shape of a message: type and raw size of each part, depth first.
fn our_shape(part: &Part<'_>, out: &mut Vec<String>) {
    out.push(format!(
        "{}/{}",
        String::from_utf8_lossy(&part.media_type),
        String::from_utf8_lossy(&part.media_subtype)
    ));
    if let Content::Multipart(parts) = &part.content {
        parts.iter().for_each(|part| our_shape(part, out));
    } else if part.media_type.eq_ignore_ascii_case(b"text") {
        out.push(format!("{} bytes", part.body_end - part.body_begin));
    }
}

fn peer_shape(message: &mail_parser::Message<'_>, index: u32, out: &mut Vec<String>) {
    use mail_parser::{MimeHeaders, PartType};
    let part = &message.parts[index as usize];
    let name = part.content_type().map_or("text/plain".into(), |t| {
        format!("{}/{}", t.ctype(), t.subtype().unwrap_or(""))
    });
    out.push(name);
    match &part.body {
        PartType::Multipart(children) => children
            .iter()
            .for_each(|&child| peer_shape(message, child, out)),
        PartType::Text(_) | PartType::Html(_) => {
            out.push(format!("{} bytes", part.offset_end - part.offset_body))
        }
        _ => {}
    }
}

#[derive(Debug, Clone)]
enum Tree {
    Text(String),
    Image(String),
    Multi(Vec<Tree>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        "[a-z .\\-]{0,20}(\r\n[a-z.]{0,9}){0,3}".prop_map(Tree::Text),
        "[A-Za-z0-9+/]{0,40}".prop_map(Tree::Image)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop::collection::vec(inner, 1..4).prop_map(Tree::Multi)
    })
}

fn render(tree: &Tree, path: &str, out: &mut String) {
    match tree {
        Tree::Text(text) => {
            *out += &format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{text}")
        }
        Tree::Image(data) => {
            *out += &format!(
                "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n{data}"
            )
        }
        Tree::Multi(children) => {
            *out += &format!("Content-Type: multipart/mixed; boundary=\"b{path}z\"\r\n\r\n");
            for (index, child) in children.iter().enumerate() {
                *out += &format!("--b{path}z\r\n");
                render(child, &format!("{path}.{index}"), out);
                *out += "\r\n";
            }
            *out += &format!("--b{path}z--\r\n");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_have_a_summary_that_survives_its_encoding(raw in prop::collection::vec(any::<u8>(), 0..600)) {
        let summary = Summary::of(&raw);
        let encoded = summary.encode();
        prop_assert_eq!(Summary::decode(&encoded), Ok(summary.clone()));
        prop_assert_eq!(crate::header::bytes(&raw), summary.root.body_begin as usize);
        summary.envelope();
        let _ = Summary::decode(&raw);
    }

    #[test]
    fn mail_like_bytes_have_a_summary_too(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "Content-Type: ", "multipart/mixed; ", "multipart/digest;", "message/rfc822", "boundary=", "b", "\"", "--", "--b", "--b--",
            "\r\n", "\r\n\r\n", "\n", " ", "\t", ":", "From: ", "a@b", "<", ">", "(", ")", ";", ",", "\\", "[", "Content-Transfer-Encoding: base64",
        ]), 0..80)
    ) {
        let raw = pieces.concat();
        let summary = Summary::of(raw.as_bytes());
        let encoded = summary.encode();
        prop_assert_eq!(Summary::decode(&encoded), Ok(summary.clone()));
        prop_assert_eq!(crate::header::bytes(raw.as_bytes()), summary.root.body_begin as usize);
        summary.envelope();
        crate::text::any_text(raw.as_bytes(), crate::text::Scope::Text, &mut |_, _| false);
    }

    #[test]
    fn one_field_alone_is_what_the_envelope_has(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "From: ", "FROM:", "To : ", "Cc:", "bcc:", "Subject: ", "subject:", "X: ", "a@b", "Bob <b@c>", "g: a@b;", "=?utf-8?Q?=C3=BC?=", "\"", "<", ",",
            "\r\n", "\r\n", "\n", "\r\n ", "\r\n\r\n", " ", "\t", "word", ":",
        ]), 0..60)
    ) {
        let raw = pieces.concat();
        let envelope = EnvelopeFields::of(raw.as_bytes());
        for (name, list) in [("From", &envelope.from), ("To", &envelope.to), ("Cc", &envelope.cc), ("Bcc", &envelope.bcc)] {
            prop_assert_eq!(&AddressList::of_field(raw.as_bytes(), name), list);
        }
        prop_assert_eq!(crate::header::value(raw.as_bytes(), "Subject"), envelope.subject);
    }

    #[test]
    fn our_scanner_and_mail_parser_see_the_same_structure(tree in tree()) {
        let mut raw = String::from("Subject: x\r\nMIME-Version: 1.0\r\n");
        render(&tree, "", &mut raw);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        our_shape(&Summary::of(raw.as_bytes()).root, &mut ours);
        let message = mail_parser::MessageParser::default().parse(&raw).unwrap();
        peer_shape(&message, 0, &mut theirs);
        prop_assert_eq!(ours, theirs);
    }
}
