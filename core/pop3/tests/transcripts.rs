//! Plays `transcripts/*.txt` against a session. One behaviour each; the first line names the RFC section.
//!
//! `C:` the client sends this line, `S:` the session answers it, `D:` it asks its owner to do this; `M:` octets of one message of the
//! maildrop, `P:` a policy word before the first line: `tls` (inside of TLS), `open` (passwords without TLS), `many` (a thousand messages),
//! `scram`.
//! Lines of the client that begin with `+` behind `C:` are sent together with the one before.
//! `RECORD_TRANSCRIPTS=1` writes down what really happened; the diff is for the author to judge.
//!
//! The owner knows one password, `ringpost`; messages have the UIDs 3, 6, 9 and so on, and UIDVALIDITY is 1.

use mail::{Uid, UidValidity};
use sasl::Offer;
use sasl::scram::{Found, Keys, NONCE_BYTES};

use pop3::{Event, Maildrop, Policy, Session, State};

#[test]
fn sessions_keep_to_their_transcripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("# RFC "),
            "{}: the first line names the RFC section",
            path.display()
        );
        let really = play(&text);
        if std::env::var_os("RECORD_TRANSCRIPTS").is_some() {
            std::fs::write(&path, &really).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(really, text, "{}", path.display());
        count += 1;
    }
    assert!(count >= 15);
}

/// The transcript as it really went: client lines copied, all others as they came.
fn play(text: &str) -> String {
    let has = |word: &str| text.lines().any(|line| line == format!("P: {word}"));
    let policy = Policy {
        tls_offered: true,
        login_without_tls: has("open"),
    };
    let octets = text.lines().filter_map(|line| line.strip_prefix("M: "));
    let mut octets: Vec<u32> = octets.map(|octets| octets.parse().unwrap()).collect();
    if has("many") {
        octets = (1..=1_000).collect();
    }
    let mut session = Session::new(policy, has("tls"));
    session.offer(Offer {
        scram: has("scram"),
        tokens: has("tokens"),
        external: has("external"),
        binding: None,
    });
    let mut really = String::new();
    let mut greeted = false;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with(['#', 'P', 'M']) {
            really += &format!("{line}\n");
        } else if let Some(sent) = line.strip_prefix("C: ") {
            really += &format!("{line}\n");
            let mut sent = format!("{}\r\n", long(sent.strip_prefix("+ ").unwrap_or(sent)));
            while let Some(line) = lines.next_if(|line| line.starts_with("C: + ")) {
                really += &format!("{line}\n");
                sent += &format!("{}\r\n", line.strip_prefix("C: + ").unwrap());
            }
            session.input().extend_from_slice(sent.as_bytes());
            answer(&mut session, &octets, &mut really);
        } else if !greeted {
            greeted = true;
            let mut out = Vec::new();
            session.greet(&mut out);
            flush(&mut out, &mut really);
        }
    }
    really
}

/// `…` stands for very many letters.
fn long(line: &str) -> String {
    line.replace('…', &"x".repeat(20_000))
}

/// Of the one password.
fn found() -> Found {
    let salt = b"0123456789abcdef".to_vec();
    Found {
        keys: vec![Keys::derive("ringpost", &salt, 4_096)],
        salt,
        iterations: 4_096,
        nonce: [7; NONCE_BYTES],
        fate: Default::default(),
    }
}

fn answer(session: &mut Session, octets: &[u32], really: &mut String) {
    let mut out = Vec::new();
    loop {
        // until the session waits or ends
        let event = session.step(&mut out);
        flush(&mut out, really);
        match event {
            Event::Wait => return,
            Event::Close => {
                *really += "D: close\n";
                return;
            }
            Event::Flush => {}
            Event::LogIn(credentials) => {
                let [user, password] = [credentials.user, credentials.password]
                    .map(|text| text.escape_ascii().to_string());
                *really += &format!("D: log in {user} {password}\n");
                if password == "ringpost" {
                    let uids = (1..).map(|index| Uid(3 * index));
                    let all = std::iter::zip(uids, octets.iter().copied());
                    let maildrop = Maildrop::new(UidValidity(1), octets.len(), all);
                    session.opened(maildrop.unwrap(), &mut out);
                } else if password == "later" {
                    session.login_deferred(pop3::Reply::BUSY, &mut out);
                } else {
                    session.login_refused(&mut out);
                }
            }
            Event::FindKeys(user) => {
                *really += &format!("D: find keys of {}\n", user.escape_ascii());
                session.keys_found(found(), &mut out);
            }
            Event::Proved(proved) => {
                let is_proved = proved.by.is_some();
                *really += &format!("D: proved {is_proved}\n");
                match is_proved {
                    true => {
                        let maildrop = Maildrop::new(UidValidity(1), 0, std::iter::empty());
                        session.opened(maildrop.unwrap(), &mut out);
                    }
                    false => session.login_refused(&mut out),
                }
            }
            Event::CheckToken(bearer) => {
                let user = bearer.user.as_deref().map(String::from_utf8_lossy);
                *really += &format!("D: token {user:?} {}\n", bearer.token);
                match &bearer.token[..] {
                    "good" => {
                        let maildrop = Maildrop::new(UidValidity(1), 0, std::iter::empty());
                        session.opened(maildrop.unwrap(), &mut out);
                    }
                    "later" => session.login_deferred(pop3::Reply::BUSY, &mut out),
                    _ => session.token_refused(&sasl::fuzzing::failure(), &mut out),
                }
            }
            Event::CheckCertificate(user) => {
                let user = user.as_deref().map(String::from_utf8_lossy);
                *really += &format!("D: certificate {user:?}\n");
                match user.as_deref() {
                    None | Some("ann") => {
                        let maildrop = Maildrop::new(UidValidity(1), 0, std::iter::empty());
                        session.opened(maildrop.unwrap(), &mut out);
                    }
                    _ => session.login_refused(&mut out),
                }
            }
            Event::StartTls => {
                *really += "D: start TLS\n";
                session.tls_started();
            }
            Event::Send(retrieval) => {
                *really += &format!("D: send {} {:?}\n", retrieval.uid.0, retrieval.lines);
                retrieval.put_announced(&mut out);
                out.extend_from_slice(b".\r\n");
            }
            Event::Remove(uids) => {
                let uids: Vec<u32> = uids.iter().map(|uid| uid.0).collect();
                *really += &format!("D: remove {uids:?}\n");
                let outcome = match uids.contains(&9) {
                    true => Err(pop3::Reply::NOT_DELETED),
                    false => Ok(()),
                };
                session.removed(outcome, &mut out);
                assert_eq!(session.state(), State::Over);
            }
        }
    }
}

fn flush(out: &mut Vec<u8>, really: &mut String) {
    let text = String::from_utf8(std::mem::take(out)).unwrap();
    let lines: Vec<&str> = text.split_inclusive("\r\n").collect();
    let end = lines.len();
    for (index, line) in lines.into_iter().enumerate() {
        let line = line
            .strip_suffix("\r\n")
            .expect("every answer ends its line");
        // Of long lists the ends will do.
        if index < 40 || index + 3 >= end {
            *really += &format!("S: {line}\n");
        }
    }
}
