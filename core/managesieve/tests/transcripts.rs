//! Plays `transcripts/*.txt` against a session. One behaviour each; the first line names the RFC section.
//!
//! `C:` the client sends this line, `S:` the session answers it, `D:` it asks its owner to do this; `P:` a policy word before the first line: `tls`
//! (inside of TLS), `open` (passwords without TLS), `scram` (SCRAM is offered), `in` (alice is logged in). Lines of the client that begin with `+` behind `C:` are sent
//! together with the one before.
//! `RECORD_TRANSCRIPTS=1` writes down what really happened; the diff is for the author to judge.
//!
//! The owner knows one password, `ringpost`; it has memory for scripts of up to 100,000 octets, two scripts, `main` (active) and `holiday`, and keeps
//! nothing. A script that has the word `wrong` in it does not compile.

use sasl::Offer;
use sasl::scram::{Found, Keys, NONCE_BYTES};

use managesieve::{Event, Outcome, Policy, Reply, Request, Session, State};

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
    assert!(count >= 18, "{count}");
}

/// The transcript as it really went: client lines copied, all others as they came.
fn play(text: &str) -> String {
    let has = |word: &str| text.lines().any(|line| line == format!("P: {word}"));
    let policy = Policy {
        tls_offered: true,
        login_without_tls: has("open"),
        extensions: "fileinto enotify".into(),
        redirects_max: 4,
    };
    let mut session = Session::new(policy, has("tls"));
    session.offer(Offer {
        scram: has("scram"),
        tokens: has("tokens"),
        external: has("external"),
        binding: None,
    });
    let mut really = String::new();
    let mut out = Vec::new();
    let mut greeted = false;
    if has("in") {
        greeted = true;
        session.logged_in("alice@example.org", &mut out);
        out.clear();
    }
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with(['#', 'P']) {
            really += &format!("{line}\n");
        } else if let Some(sent) = line.strip_prefix("C: ") {
            really += &format!("{line}\n");
            let mut sent = format!("{}\r\n", long(sent.strip_prefix("+ ").unwrap_or(sent)));
            while let Some(line) = lines.next_if(|line| line.starts_with("C: +")) {
                really += &format!("{line}\n");
                let more = line.strip_prefix("C: +").unwrap();
                sent += &format!("{}\r\n", long(more.strip_prefix(' ').unwrap_or(more)));
            }
            session.input().extend_from_slice(sent.as_bytes());
            answer(&mut session, &mut really);
        } else if !greeted {
            greeted = true;
            session.greet(&mut out);
            flush(&mut out, &mut really);
        }
    }
    really
}

/// `…` stands for 20,000 letters, `…………` for 300,000.
fn long(line: &str) -> String {
    line.replace("…………", &"y".repeat(300_000))
        .replace('…', &"x".repeat(20_000))
}

/// What is found of any user.
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

fn answer(session: &mut Session, really: &mut String) {
    let mut out = Vec::new();
    loop {
        // until the session waits or ends
        let event = session.step(&mut out);
        flush(&mut out, really);
        match event {
            Event::Wait => return,
            Event::Close => {
                assert_eq!(session.state(), State::Over);
                *really += "D: close\n";
                return;
            }
            Event::Flush => {}
            Event::LogIn(credentials) => {
                let [user, password] = [credentials.user, credentials.password]
                    .map(|text| text.escape_ascii().to_string());
                *really += &format!("D: log in {user} {password}\n");
                match &password[..] {
                    "ringpost" => session.logged_in("alice@example.org", &mut out),
                    "later" => session.login_deferred(Reply::BUSY, &mut out),
                    _ => session.login_refused(&mut out),
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
                    true => session.logged_in("ann@example.org", &mut out),
                    false => session.login_refused(&mut out),
                }
            }
            Event::CheckToken(bearer) => {
                let user = bearer.user.as_deref().map(String::from_utf8_lossy);
                *really += &format!("D: token {user:?} {}\n", bearer.token);
                match &bearer.token[..] {
                    "good" => session.logged_in("ann@example.org", &mut out),
                    "later" => session.login_deferred(Reply::BUSY, &mut out),
                    _ => session.token_refused(&sasl::fuzzing::failure(), &mut out),
                }
            }
            Event::CheckCertificate(user) => {
                let user = user.as_deref().map(String::from_utf8_lossy);
                *really += &format!("D: certificate {user:?}\n");
                match user.as_deref() {
                    None | Some("ann") => session.logged_in("ann@example.org", &mut out),
                    _ => session.login_refused(&mut out),
                }
            }
            Event::StartTls => {
                *really += "D: start TLS\n";
                session.tls_started(&mut out);
            }
            Event::Reserve(bytes) => {
                *really += &format!("D: reserve {bytes}\n");
                session.reserved(bytes <= 100_000);
                assert!(session.holds_script());
            }
            Event::Forget => {
                assert_eq!(session.state(), State::Unauthenticated);
                *really += "D: forget the account\n";
            }
            Event::Perform(request) => {
                *really += &format!("D: {}\n", short(&request));
                session.done(perform(&request), &mut out);
            }
        }
    }
}

fn short(request: &Request) -> String {
    let text = |text: &[u8]| match text.len() {
        0..200 => format!("{:?}", String::from_utf8_lossy(text)),
        bytes => format!("{bytes} octets"),
    };
    match request {
        Request::HaveSpace { name, bytes } => format!("have space {name:?} {bytes}"),
        Request::Put { name, text: script } => format!("put {name:?} {}", text(script)),
        Request::List => "list".to_owned(),
        Request::SetActive(Some(name)) => format!("activate {name:?}"),
        Request::SetActive(None) => "activate none".to_owned(),
        Request::Get(name) => format!("get {name:?}"),
        Request::Delete(name) => format!("delete {name:?}"),
        Request::Rename { from, to } => format!("rename {from:?} to {to:?}"),
        Request::Check(script) => format!("check {}", text(script)),
    }
}

fn perform(request: &Request) -> Outcome {
    let known = ["main", "holiday"];
    let of = |name: &str| match known.contains(&name) {
        true => Outcome::Done,
        false => Outcome::Refused(Reply::NONEXISTENT),
    };
    let compiled = |text: &[u8]| match text.windows(5).any(|word| word == b"wrong") {
        true => Outcome::Invalid("line 1, column 1: \"wrong\" is not a command".to_owned()),
        false => Outcome::Done,
    };
    match request {
        Request::HaveSpace { bytes, .. } if *bytes > 262_144 => Outcome::Refused(Reply::TOO_LARGE),
        Request::HaveSpace { name, .. } if name == "many" => Outcome::Refused(Reply::TOO_MANY),
        Request::HaveSpace { .. } => Outcome::Done,
        Request::Put { name, .. } if name == "many" => Outcome::Refused(Reply::TOO_MANY),
        Request::Put { text, .. } | Request::Check(text) => compiled(text),
        Request::List => {
            let listed = known.map(|name| (name.to_owned(), name == "main"));
            Outcome::Listed(listed.to_vec())
        }
        Request::SetActive(None) => Outcome::Done,
        Request::SetActive(Some(name)) => of(name),
        Request::Get(name) if name == "main" => Outcome::Text(b"keep;\r\n"[..].into()),
        Request::Get(name) => of(name),
        Request::Delete(name) if name == "main" => Outcome::Refused(Reply::ACTIVE),
        Request::Delete(name) => of(name),
        Request::Rename { to, .. } if known.contains(&&to[..]) => {
            Outcome::Refused(Reply::ALREADY_EXISTS)
        }
        Request::Rename { from, .. } => of(from),
    }
}

fn flush(out: &mut Vec<u8>, really: &mut String) {
    let text = String::from_utf8(std::mem::take(out)).unwrap();
    for line in text.split_inclusive("\r\n") {
        let line = line
            .strip_suffix("\r\n")
            .expect("every answer ends its line");
        *really += &format!("S: {line}\n");
    }
}
