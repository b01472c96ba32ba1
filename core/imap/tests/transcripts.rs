//! Plays `transcripts/*.txt` against a session. One behaviour each; the first line names the RFC section.
//!
//! `C:` the client sends this line, `S:` the session answers it, `D:` it asks its owner to do this (commands as the client
//! module writes them; `␀` in a line of the client is NUL), `P:` a policy word before the first line: `tls` (inside of TLS), `open` (passwords without TLS), `scram`, `bound` (SCRAM with
//! channel binding), `sieve` (scripts are stored somewhere).
//! `RECORD_TRANSCRIPTS=1` writes down what really happened; the diff is for the author to judge.
//!
//! The owner knows one password, `ringpost`, and has every mailbox.

use imap::client::put_command;
use sasl::Offer;
use sasl::scram::{Binding, Found, Keys, NONCE_BYTES};

use imap::{Body, Event, Policy, Session, State};

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
        assert_eq!(really, text, "{}", path.display());
        count += 1;
    }
    assert!(count >= 10);
}

/// The transcript as it really went: client lines copied, all others as they came.
fn play(text: &str) -> String {
    let has = |word: &str| text.lines().any(|line| line == format!("P: {word}"));
    let policy = Policy {
        login_without_tls: has("open"),
        append_bytes_max: 100,
        ..Policy::default()
    };
    let mut session = Session::new(policy, has("tls"));
    session.offer(Offer {
        scram: has("scram") || has("bound"),
        binding: has("bound").then_some(Binding([9; 32])),
        tokens: has("tokens"),
        external: has("external"),
    });
    if has("sieve") {
        session.sieve_at(Some("sieve://mx.example.org".into()));
    }
    let mut really = String::new();
    let mut greeted = false;
    for line in text.lines() {
        if line.starts_with(['#', 'P']) {
            really += &format!("{line}\n");
        } else if let Some(sent) = line.strip_prefix("C: ") {
            really += &format!("{line}\n");
            session
                .input()
                .extend_from_slice(format!("{sent}\r\n").replace('␀', "\0").as_bytes());
            answer(&mut session, &mut really);
        } else if !greeted {
            greeted = true;
            let mut out = Vec::new();
            session.greet(&mut out);
            flush(&mut out, &mut really);
        }
    }
    really
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

fn answer(session: &mut Session, really: &mut String) {
    let mut out = Vec::new();
    loop {
        // until the session waits or ends
        let event = session.step(&mut out);
        flush(&mut out, really);
        match event {
            Event::Wait | Event::Close => return,
            Event::Flush => {}
            Event::LogIn {
                tag,
                user,
                password,
            } => {
                *really += &format!(
                    "D: log in {} {}\n",
                    String::from_utf8_lossy(&user),
                    String::from_utf8_lossy(&password)
                );
                if password == b"ringpost" {
                    session.logged_in(&tag, &mut out);
                } else if let Some(Event::Close) = session.login_refused(&tag, &mut out) {
                    flush(&mut out, really);
                    return;
                }
                flush(&mut out, really);
            }
            Event::FindKeys { user, .. } => {
                *really += &format!("D: find keys of {}\n", String::from_utf8_lossy(&user));
                session.keys_found(found(), &mut out);
                flush(&mut out, really);
            }
            Event::Proved { tag, proved } => {
                let is_proved = proved.by.is_some();
                *really += &format!("D: proved {is_proved}\n");
                match is_proved {
                    true => session.logged_in(&tag, &mut out),
                    false => _ = session.login_refused(&tag, &mut out),
                }
                flush(&mut out, really);
            }
            Event::CheckToken { tag, bearer } => {
                let user = bearer.user.as_deref().map(String::from_utf8_lossy);
                *really += &format!("D: token {user:?} {}\n", bearer.token);
                match &bearer.token[..] {
                    "good" => session.logged_in(&tag, &mut out),
                    "later" => {
                        session.login_deferred();
                        out.extend_from_slice(
                            format!("{tag} NO [UNAVAILABLE] later\r\n").as_bytes(),
                        );
                    }
                    _ => session.token_refused(&sasl::fuzzing::failure(), &mut out),
                }
                flush(&mut out, really);
            }
            Event::CheckCertificate { tag, user } => {
                let user = user.as_deref().map(String::from_utf8_lossy);
                *really += &format!("D: certificate {user:?}\n");
                match user.as_deref() {
                    None | Some("ann") => session.logged_in(&tag, &mut out),
                    _ => _ = session.login_refused(&tag, &mut out),
                }
                flush(&mut out, really);
            }
            Event::StartTls => {
                *really += "D: start TLS\n";
                session.tls_started();
            }
            Event::Compress { tag } => {
                *really += "D: compress\n";
                session.compressed(&tag, &mut out);
                flush(&mut out, really);
            }
            Event::Idle => *really += "D: idle\n",
            Event::IdleEnded { tag } => *really += &format!("D: idle ended {tag}\n"),
            Event::Perform { command, bytes } => {
                let message = match &command.body {
                    Body::Append { message, .. } => &bytes[message.0.clone()],
                    Body::AppendMany { letters, .. } => &bytes[letters[0].message.0.clone()],
                    Body::Replace { letter, .. } => &bytes[letter.message.0.clone()],
                    _ => &[],
                };
                let mut written = Vec::new();
                put_command(&mut written, &command, message, session.names());
                *really += &format!(
                    "D: {}\n",
                    String::from_utf8_lossy(&written)
                        .trim_end()
                        .replace("\r\n", "|")
                );
                match command.body {
                    Body::Select { read_only, .. } => session.selected(read_only),
                    Body::Close | Body::Unselect => session.unselected(),
                    _ => {}
                }
            }
        }
        assert_ne!(session.state(), State::Logout);
    }
}

fn flush(out: &mut Vec<u8>, really: &mut String) {
    let text = String::from_utf8_lossy(out).into_owned();
    for line in text.split_inclusive("\r\n") {
        *really += &format!(
            "S: {}\n",
            line.strip_suffix("\r\n")
                .expect("every answer ends its line")
        );
    }
    out.clear();
}
