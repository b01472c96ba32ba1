//! POP3: a client that says anything, and a message of any bytes on its way to a client that takes a lone LF for the end of a line.

use ::pop3::wire::Wire;
use ::pop3::{Event, Maildrop, Policy, Reply, Session, State};
use mail::{Uid, UidValidity};

pub const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b" ",
    b"USER u\r\nPASS p\r\n",
    b"USER u\r\nPASS wrong\r\n",
    b"USER u\r\nPASS later\r\n",
    b"AUTH PLAIN AGEAYg==\r\n",
    b"AUTH XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIGFiYwEB\r\n",
    b"AUTH OAUTHBEARER biwsAWF1dGg9QmVhcmVyIGFiY2QBAQ==\r\nAQ==\r\n",
    b"AUTH EXTERNAL =\r\n",
    b"AUTH LOGIN\r\nYQ==\r\nYg==\r\n",
    b"AUTH PLAIN\r\n",
    b"*\r\n",
    b"=",
    b"STAT\r\n",
    b"LIST\r\n",
    b"UIDL\r\n",
    b"UIDL 2\r\n",
    b"RETR 1\r\n",
    b"TOP 3 4294967296\r\n",
    b"DELE 3\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"CAPA\r\n",
    b"STLS\r\n",
    b"UTF8\r\n",
    b"LANG *\r\n",
    b"QUIT\r\n",
    b"\0",
    b"\xff",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let lines: [&[u8]; 4] = [
        b"CAPA\r\nUSER u\r\nPASS p\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nDELE 2\r\nLIST 2\r\nTOP 3 1\r\nQUIT\r\n",
        b"AUTH LOGIN\r\nYQ==\r\nYg==\r\nDELE 1\r\nDELE 3\r\nRSET\r\nSTAT\r\nDELE 2\r\nUIDL 2\r\nQUIT\r\n",
        b"USER u\r\nPASS wrong\r\nAUTH PLAIN AGEAYg==\r\nNOOP\r\nLANG\r\nLANG fr\r\n",
        b"USER u\r\nSTLS\r\nPASS p\r\n",
    ];
    let heads = [[0u8, 1], [0, 7], [3, 90]];
    let with = |line: &&[u8]| heads.map(|head| [&head[..], line].concat());
    lines.iter().flat_map(with).collect()
}

/// What came out does not depend on the cut; nothing is removed without QUIT, and nothing that was not marked.
pub fn session(data: &[u8]) {
    let &[choice, cut, ref bytes @ ..] = data else {
        return;
    };
    let policy = Policy {
        tls_offered: choice & 1 != 0,
        login_without_tls: choice & 2 == 0,
    };
    let whole = converse(policy, bytes, usize::MAX);
    let pieces = converse(policy, bytes, usize::from(cut).max(1));
    assert_eq!(whole, pieces, "the cut changes the outcome");
    assert!(whole.1.ends_with(b"\r\n"));
}

/// The events as text, and the output.
/// The maildrop has UIDs that are not message numbers (5, 10, 15), so that a session which confuses the two removes something that was
/// not marked, and is found.
fn converse(policy: Policy, bytes: &[u8], size: usize) -> (Vec<String>, Vec<u8>) {
    let mut session = Session::new(policy, false);
    session.offer(super::offer());
    let mut out = Vec::new();
    let mut events = Vec::new();
    session.greet(&mut out);
    let mut sent = std::mem::take(&mut out);
    for segment in bytes.chunks(size) {
        session.input().extend_from_slice(segment);
        loop {
            // until input is wanted: every other event used some up
            let event = session.step(&mut out);
            sent.append(&mut out);
            match &event {
                Event::Wait => break,
                // Where that falls depends on the cut.
                Event::Flush => continue,
                Event::LogIn(credentials) => {
                    assert_eq!(session.state(), State::Authorization);
                    match &credentials.password[..] {
                        b"wrong" => session.login_refused(&mut out),
                        b"later" => session.login_deferred(Reply::BUSY, &mut out),
                        _ => {
                            let all = (1..=3).map(|uid| (Uid(5 * uid), 100 * uid));
                            let maildrop = Maildrop::new(UidValidity(9), 3, all);
                            session.opened(maildrop.expect("few"), &mut out);
                        }
                    }
                }
                Event::FindKeys(user) => match &user[..] {
                    b"later" => session.login_deferred(Reply::BUSY, &mut out),
                    _ => session.keys_found(sasl::fuzzing::found(), &mut out),
                },
                Event::CheckToken(_) => {
                    session.token_refused(&sasl::fuzzing::failure(), &mut out);
                }
                Event::CheckCertificate(_) => session.login_refused(&mut out),
                Event::Proved(proved) => {
                    assert_eq!(proved.by, None);
                    session.login_refused(&mut out);
                }
                Event::Send(retrieval) => {
                    assert_eq!(session.state(), State::Transaction);
                    retrieval.put_announced(&mut out);
                    out.extend_from_slice(b".\r\n");
                }
                Event::Remove(uids) => {
                    assert!(!uids.is_empty() && uids.is_sorted());
                    assert!(uids.iter().all(|uid| [5, 10, 15].contains(&uid.0)));
                    session.removed(Ok(()), &mut out);
                }
                Event::StartTls | Event::Close => {
                    events.push(format!("{event:?}"));
                    return (events, sent);
                }
            }
            events.push(format!("{event:?}"));
        }
    }
    assert!(session.state() != State::Over, "an end comes out as Close");
    (events, sent)
}

pub fn message_seeds() -> Vec<Vec<u8>> {
    [
        &b"\x01\xffA: b\r\n\r\n.\r\n..\r\nbody\r\n"[..],
        b"\x03\x02A: b\n\n.\n\r\n.",
        b"\x02\x00\r\r\n\n\r",
    ]
    .map(Vec::from)
    .to_vec()
}

/// A client finds the end of a message where it is, and before it the message in the octets that LIST named.
pub fn message(data: &[u8]) {
    let &[cut, lines, ref raw @ ..] = data else {
        return;
    };
    let put = |mut wire: Wire, size: usize| {
        let mut out = Vec::new();
        for piece in raw.chunks(size) {
            wire.put(piece, &mut out);
        }
        wire.finish(&mut out);
        out
    };
    let size = usize::from(cut).max(1);
    let whole = put(Wire::whole(), usize::MAX);
    assert_eq!(
        put(Wire::whole(), size),
        whole,
        "the cut changes the message"
    );
    let end = whole.len() - 3;
    assert_eq!(&whole[end..], b".\r\n");
    let mut octets = 0;
    for line in whole[..end].split_inclusive(|&byte| byte == b'\n') {
        assert!(line.ends_with(b"\r\n") && line != b".\r\n");
        octets += line.strip_prefix(b".").unwrap_or(line).len();
    }
    assert_eq!(octets, raw.len() + mail::line_ends_missing(raw) as usize);
    let top = put(Wire::top(lines.into()), size);
    assert!(whole.starts_with(top.strip_suffix(b".\r\n").expect("the dot")));
}

/// What a server sends to the client that fetches mail, cut into pieces of the size of the first byte.
pub fn client(bytes: &[u8]) {
    mua::pop3::wire::fuzzing::cut(bytes);
}

pub const CLIENT_WORDS: &[&[u8]] = &[
    b"\r\n.\r\n",
    b"\r\n..",
    b".\n",
    b"\r",
    b"+OK",
    b"-ERR",
    b"1 uid",
];

pub fn client_seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 3] = [
        b"\x05+OK ready\r\n1 abc\r\n2 def\r\n.\r\n",
        b"\x01Subject: x\r\n\r\n..dot\nbare\r\n.\r\n-ERR no\r\n",
        b"\xff1 120\r\n7 x y\r\n.\r\n",
    ];
    texts.iter().map(|text| text.to_vec()).collect()
}
