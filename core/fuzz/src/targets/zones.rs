//! What zones on several machines send each other: requests of QMQP, and tables of recipients.

use ::smtp::ReversePath;
use ::smtp::qmqp::{self, Request};
use base::BodyName;
use base::cursor::Write;
use mail::Address;
use mailbox::AccountId;
use storage::recipients::{Draft, HEAD_BYTES, Recipients, Rest, Sign};

pub const WORDS: &[&[u8]] = &[
    b"0:,",
    b"1:",
    b",",
    b":",
    b"9999999999:",
    b"00:",
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"@",
    b"3:b@c,",
    b"K",
    b"Z",
    b"D",
];

fn address(path: &str) -> Address {
    Address::from_path(path).expect("an address")
}

/// The string of an outer netstring, or an answer: whatever is taken comes back as it was.
pub fn request(bytes: &[u8]) {
    let _ = qmqp::length(bytes);
    let _ = qmqp::parse_answer(bytes);
    let Ok(request) = Request::parse(bytes) else {
        return;
    };
    let sender = match &request.reverse_path {
        ReversePath::Null => None,
        ReversePath::Address(address) => Some(address),
    };
    let wire = qmqp::request(b"", &request.content, sender, &request.recipients);
    let (head, bytes) = qmqp::length(&wire).expect("ours").expect("whole");
    assert_eq!(head + bytes as usize + 1, wire.len());
    let again = Request::parse(&wire[head..wire.len() - 1]);
    assert_eq!(again, Ok(request));
}

pub fn request_seeds() -> Vec<Vec<u8>> {
    let (ann, bob) = (address("ann@example.net"), address("bob@example.org"));
    let content = b"Subject: x\r\n\r\n.\r\ntext\r\n";
    let inner = |wire: Vec<u8>| {
        let (head, _) = qmqp::length(&wire).expect("ours").expect("whole");
        wire[head..wire.len() - 1].to_vec()
    };
    vec![
        inner(qmqp::request(
            b"X: y\r\n",
            content,
            Some(&ann),
            std::slice::from_ref(&bob),
        )),
        inner(qmqp::request(b"", content, None, &[bob.clone(), ann])),
        qmqp::answer(qmqp::Outcome::Later, "later"),
    ]
}

/// The payload of a table: length and checksum are made good first. A table that is taken answers about any address.
/// Length and checksum are made good here because the fuzzer would otherwise spend its runs on tables that are refused at once. What is
/// left to find is what a node of another release, or a bug in ours, could send with a good checksum.
pub fn table(payload: &[u8]) {
    let _ = Recipients::decode(payload.to_vec().into());
    let mut bytes = b"RPRCPT02".to_vec();
    bytes.put_u64(payload.len() as u64);
    bytes.extend_from_slice(&BodyName::of(payload).0);
    bytes.extend_from_slice(payload);
    let Ok(table) = Recipients::decode(bytes.into()) else {
        return;
    };
    for path in [
        "ann@example.org",
        "ann+x@example.org",
        "x@y",
        "srs0=x@example.org",
    ] {
        let _ = table.find(&address(path));
    }
}

pub fn table_seeds() -> Vec<Vec<u8>> {
    let draft = |signs: &[(&str, Sign)]| {
        let draft = Draft {
            domains: vec![
                ("example.org".to_owned(), Rest { leads_on: false }),
                ("y".to_owned(), Rest { leads_on: true }),
            ],
            addresses: signs
                .iter()
                .map(|(key, sign)| ((*key).to_owned(), *sign))
                .collect(),
        };
        draft.encode().expect("it fits")[HEAD_BYTES..].to_vec()
    };
    vec![
        draft(&[]),
        draft(&[
            ("ann@example.org", Sign::Account(AccountId(7))),
            ("bob@example.org", Sign::Full(AccountId(8))),
            ("sales@example.org", Sign::Listed),
        ]),
    ]
}
