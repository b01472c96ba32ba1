//! ManageSieve: a client that says anything.

use std::sync::Arc;

use ::managesieve::limits::SCRIPT_BYTES_MAX;
use ::managesieve::{Event, Outcome, Policy, Reply, Request, Session, State};

pub const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b" ",
    b"\"",
    b"\\",
    b"{5+}\r\nkeep;",
    b"{0+}\r\n",
    b"{17000+}\r\n",
    b"{300000+}\r\n",
    b"{99999999999+}\r\n",
    b"{5}\r\n",
    b"AUTHENTICATE \"PLAIN\" \"AGEAYg==\"\r\n",
    b"AUTHENTICATE \"XOAUTH2\" \"dXNlcj1hAWF1dGg9QmVhcmVyIGFiYwEB\"\r\n",
    b"AUTHENTICATE \"OAUTHBEARER\" \"biwsAWF1dGg9QmVhcmVyIGFiY2QBAQ==\"\r\n\"AQ==\"\r\n",
    b"AUTHENTICATE \"PLAIN\" \"AGEAd3Jvbmc=\"\r\n",
    b"AUTHENTICATE \"LOGIN\"\r\n",
    b"\"YQ==\"\r\n",
    b"\"*\"\r\n",
    b"STARTTLS\r\n",
    b"LOGOUT\r\n",
    b"CAPABILITY\r\n",
    b"HAVESPACE \"a\" 12\r\n",
    b"PUTSCRIPT \"a\" \"keep;\"\r\n",
    b"LISTSCRIPTS\r\n",
    b"SETACTIVE \"\"\r\n",
    b"GETSCRIPT \"a\"\r\n",
    b"DELETESCRIPT \"a\"\r\n",
    b"RENAMESCRIPT \"a\" \"b\"\r\n",
    b"CHECKSCRIPT \"stop;\"\r\n",
    b"NOOP \"tag\"\r\n",
    b"UNAUTHENTICATE\r\n",
    "\"u\u{308}\"".as_bytes(),
    b"\0",
    b"\xff",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let large = [
        &b"AUTHENTICATE \"PLAIN\" \"AGEAYg==\"\r\nPUTSCRIPT \"a\" {17000+}\r\n"[..],
        &[b'#'; 17_000],
        b"\r\nNOOP {3+}\r\na\"b\r\n",
    ]
    .concat();
    let lines: [&[u8]; 4] = [
        b"CAPABILITY\r\nAUTHENTICATE \"LOGIN\"\r\n\"YQ==\"\r\n{4+}\r\nYg==\r\nLISTSCRIPTS\r\nPUTSCRIPT \"a\" {5+}\r\nkeep;\r\nSETACTIVE \"a\"\r\nGETSCRIPT \"a\"\r\nLOGOUT\r\n",
        b"AUTHENTICATE \"PLAIN\" \"AGEAYg==\"\r\nHAVESPACE \"a\" 7\r\nRENAMESCRIPT \"a\" \"b\"\r\nDELETESCRIPT \"b\"\r\nUNAUTHENTICATE\r\nNOOP \"x\"\r\n",
        b"AUTHENTICATE \"PLAIN\"\r\n\"*\"\r\nAUTHENTICATE \"PLAIN\" \"AGEAd3Jvbmc=\"\r\nSTARTTLS\r\n",
        &large,
    ];
    let heads = [[0u8, 1], [0, 7], [3, 90]];
    let with = |line: &&[u8]| heads.map(|head| [&head[..], line].concat());
    lines.iter().flat_map(with).collect()
}

/// What came out does not depend on the cut; nothing is asked of scripts before the login; names are names, and scripts no larger than they may be.
pub fn session(data: &[u8]) {
    let &[choice, cut, ref bytes @ ..] = data else {
        return;
    };
    let policy = Policy {
        tls_offered: choice & 1 != 0,
        login_without_tls: choice & 2 == 0,
        extensions: "fileinto".into(),
        redirects_max: 4,
    };
    let whole = converse(policy.clone(), bytes, usize::MAX);
    let pieces = converse(policy, bytes, usize::from(cut).max(1));
    assert_eq!(whole, pieces, "the cut changes the outcome");
    assert!(whole.1.ends_with(b"\r\n"));
}

/// The events as text, and the output.
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
                    assert_eq!(session.state(), State::Unauthenticated);
                    match &credentials.password[..] {
                        b"wrong" => session.login_refused(&mut out),
                        b"later" => session.login_deferred(Reply::BUSY, &mut out),
                        _ => session.logged_in("a@example.org", &mut out),
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
                Event::Reserve(bytes) => {
                    assert_eq!(session.state(), State::Authenticated);
                    assert!(*bytes <= SCRIPT_BYTES_MAX);
                    session.reserved(bytes % 2 == 0);
                }
                Event::Perform(request) => {
                    assert_eq!(session.state(), State::Authenticated);
                    session.done(perform(request), &mut out);
                }
                Event::Forget => assert_eq!(session.state(), State::Unauthenticated),
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

/// Answers for the scripts' side. Each kind of answer is given once, the awkward ones among them: a text with quotes in the name, a fault of
/// two lines. The session has to quote or fold these, so that the output stays a sequence of whole lines.
fn perform(request: &Request) -> Outcome {
    let checked = |name: &str| {
        let again = ::managesieve::script_name(name);
        assert_eq!(again.as_deref(), Ok(name), "a name has one spelling");
    };
    match request {
        Request::HaveSpace { name, .. } | Request::Get(name) => checked(name),
        Request::Put { name, text } => {
            checked(name);
            assert!(text.len() <= SCRIPT_BYTES_MAX);
        }
        Request::SetActive(Some(name)) | Request::Delete(name) => checked(name),
        Request::Rename { from, to } => [from, to].map(|name| checked(name)).into_iter().collect(),
        Request::Check(text) => assert!(text.len() <= SCRIPT_BYTES_MAX),
        Request::List | Request::SetActive(None) => {}
    }
    match request {
        Request::Get(_) => Outcome::Text(Arc::from(&b"keep;"[..])),
        Request::List => Outcome::Listed(vec![("a\"b".to_owned(), true)]),
        Request::Check(_) => Outcome::Invalid("line 1:\r\nwrong".to_owned()),
        Request::Delete(_) => Outcome::Refused(Reply::ACTIVE),
        _ => Outcome::Done,
    }
}
