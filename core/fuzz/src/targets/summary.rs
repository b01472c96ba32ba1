//! Messages as the world writes them, and their digests as a damaged store might give them back.

use mail::header;
use mail::summary::{Content, EnvelopeFields, Part, Summary};

pub const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"--b\r\n",
    b"--b--\r\n",
    b"--",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Type: text/plain; charset=\"x\"\r\n",
    b"Content-Disposition: attachment; filename*0=\"a\"; filename*1=b\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"From: a <a@b>, g: c@d;, \"q\\\"\" <e@f>\r\n",
    b"Subject: =?utf-8?q?=C3=A9?=\r\n",
    b"To: ",
    b"Date: Sat, 21 Nov 2026 00:00:00 +0000\r\n",
    b"(",
    b")",
    b"\"",
    b"\\",
    b"<",
    b">",
    b";",
    b":",
    b",",
    b"=",
    b"\0",
    b"\xff",
    b" ",
    b"\t",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 4] = [
        b"From: A <a@b.c>\r\nTo: \"B, C\" <b@c.d>, undisclosed: ;\r\nSubject: x\r\n folded\r\nDate: Sat, 21 Nov 2026 00:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n",
        b"Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\npreamble\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>\r\n--b\r\nContent-Type: application/pdf; name=\"a b.pdf\"\r\nContent-Disposition: attachment; filename=\"a b.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--b--\r\nepilogue\r\n",
        b"Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nFrom: q@r\r\n\r\ninner\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\n\r\n1\r\n--y--\r\n--x--\r\n",
        b"no header at all",
    ];
    texts.map(<[u8]>::to_vec).to_vec()
}

/// The digest survives its own encoding, and every offset in it is within the message.
pub fn summary(data: &[u8]) {
    let summary = Summary::of(data);
    let whole = Summary::whole(data);
    for summary in [&summary, &whole] {
        let encoded = summary.encode();
        let decoded = Summary::decode(&encoded).expect("what was written is readable");
        assert_eq!(&decoded, summary);
        assert_eq!(Summary::is_complete(&encoded), summary.complete);
        check_part(&summary.root, 0, data.len() as u32);
    }
    assert!(
        !summary.complete || summary == whole,
        "complete is complete"
    );
    summary.envelope();

    EnvelopeFields::of(data);
    for field in header::fields(data) {
        header::addresses(field.value).count();
        header::Parameterised::parse(field.value);
        header::unfold(field.value);
    }
    mail::text::decoded_value(data);
    mail::text::date_days(data);
    mail::text::any_text(data, mail::text::Scope::Text, &mut |_, _| false);
}

fn check_part(part: &Part, begin: u32, end: u32) {
    assert!(
        begin <= part.header_begin && part.header_begin <= part.body_begin,
        "{part:?}"
    );
    assert!(
        part.body_begin <= part.body_end && part.body_end <= end,
        "{part:?}"
    );
    match &part.content {
        Content::Leaf | Content::Unread => {}
        Content::Multipart(parts) => parts
            .iter()
            .for_each(|inner| check_part(inner, part.body_begin, part.body_end)),
        Content::Message(inner) => check_part(&inner.1, part.body_begin, part.body_end),
    }
}

pub fn digest_seeds() -> Vec<Vec<u8>> {
    seeds()
        .iter()
        .map(|seed| Summary::of(seed).encode())
        .collect()
}

/// Any bytes may stand where a digest should.
pub fn digest(data: &[u8]) {
    if let Ok(summary) = Summary::decode(data) {
        summary.envelope();
        let again = summary.encode();
        assert_eq!(Summary::decode(&again).as_ref(), Ok(&summary));
    }
}
