//! Mail is fetched from accounts elsewhere: from a second Ringpost by POP3S and IMAPS, with `kill -9` in the middle, and with a password that is wrong.

use std::collections::BTreeMap;
use std::fs;

use mail::{Flags, InternalDate};
use serde_json::Value;

use crate::daemon::{ALICE, BOB, Home, PASSWORD, said};
use crate::transfer::{mail_of, session};

/// Trial mode that fetches.
pub fn fetching(leg_size: &'static str) -> Home {
    let mut home = Home::with_leg_size(leg_size);
    home.more = vec!["--fetch".into()];
    home
}

fn letter(number: usize) -> Vec<u8> {
    format!("From: ann@example.net\r\nSubject: letter {number}\r\n\r\n.{number}\r\n").into_bytes()
}

/// Letters with these numbers in Alice's INBOX.
fn fill(home: &Home, numbers: std::ops::Range<usize>) {
    let mut mover = session(home.imap(), ALICE, PASSWORD);
    for number in numbers {
        let date = InternalDate::utc(1_700_000_000 + number as i64);
        let stored = mover.append("INBOX", &Flags::default(), date, &letter(number));
        stored.expect("stored");
    }
}

fn secret(home: &Home, password: &str) -> String {
    let path = home.directory.path().join("secret");
    fs::write(&path, format!("{password}\n")).expect("ours");
    path.display().to_string()
}

fn json(home: &Home, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = home.ctl(&[&["--json"][..], arguments].concat());
    let value = serde_json::from_slice(&output.stdout);
    let value = value.unwrap_or_else(|_| panic!("{arguments:?}: {}", said(&output)));
    (output.status.code(), value)
}

/// A conversation now, also if one is under way.
fn run(home: &Home, number: &str) -> (Option<i32>, Value) {
    loop {
        // until it is this one's turn
        let (status, told) = json(home, &["fetch", "run", BOB, number]);
        let waits = told["refused"].as_str();
        if !waits.is_some_and(|why| why.contains("under way")) {
            return (status, told);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// How often each letter is there.
fn letters(home: &Home, user: &str) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for (_, _, _, text) in mail_of(home.imap(), user, PASSWORD) {
        let text = String::from_utf8(text).expect("text");
        let subject = text
            .lines()
            .find_map(|line| line.strip_prefix("Subject: letter "));
        if let Some(number) = subject.and_then(|number| number.parse().ok()) {
            assert!(text.ends_with(&format!("\r\n\r\n.{number}\r\n")), "{text}");
            *counts.entry(number).or_insert(0) += 1;
        }
    }
    counts
}

fn once(numbers: std::ops::Range<usize>) -> BTreeMap<usize, usize> {
    numbers.map(|number| (number, 1)).collect()
}

#[test]
fn mail_of_a_second_ringpost_comes_once_by_pop3s_and_by_imaps() {
    let (there, here) = (Home::with_leg_size("128MiB"), Home::with_leg_size("128MiB"));
    let _old = there.start();
    fill(&there, 0..5);
    let ca = there.state().join("certificate.pem");
    let more = |fetch: &str| {
        let imap = here.imap();
        format!(
            "imap = [\"{imap}\"]\n[login]\nplaintext = \"loopback\"\n[fetch]\nenabled = true\n{fetch}"
        )
    };
    here.configure(&more(""));
    let new = here.start();
    here.ctl_ok(&["domain", "add", "example.org"]);
    here.ctl_ok(&["account", "add", BOB, "--password", PASSWORD]);
    let secret = secret(&here, PASSWORD);
    let way = ["--user", ALICE, "--password-file", &secret];
    for (url, more) in [
        (
            format!("pop3s://127.0.0.1:{}", there.port(995)),
            ["--delete-after", "9"],
        ),
        (
            format!("imaps://127.0.0.1:{}", there.port(993)),
            ["--every", "2min"],
        ),
    ] {
        let add = [&["fetch", "add", BOB, &url][..], &way, &more].concat();
        here.ctl_ok(&add);
    }
    // This machine is not asked, unless an administrator says so; and its certificate is of an authority that nothing here trusts.
    let (status, told) = run(&here, "1");
    assert_eq!(status, Some(1), "{told}");
    assert!(
        told["last"]["error"]
            .to_string()
            .contains("--allow-private"),
        "{told}"
    );
    here.ctl_ok(&["fetch", "change", BOB, "1", "--allow-private"]);
    here.ctl_ok(&["fetch", "change", BOB, "2", "--allow-private"]);
    let (status, told) = run(&here, "1");
    assert_eq!(status, Some(1), "{told}");
    assert!(
        told["last"]["error"].to_string().contains("certificate"),
        "{told}"
    );
    assert!(new.stop().success());
    here.configure(&more(&format!("authorities = {ca:?}\n")));
    let _new = here.start();
    let (status, told) = run(&here, "1");
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(letters(&here, BOB), once(0..5));
    let (status, told) = run(&here, "2");
    assert_eq!(status, Some(0), "{told}");
    let twice: BTreeMap<usize, usize> = (0..5).map(|number| (number, 2)).collect();
    assert_eq!(
        letters(&here, BOB),
        twice,
        "each account elsewhere by itself"
    );
    fill(&there, 5..7);
    for number in ["1", "2", "1", "2"] {
        assert_eq!(run(&here, number).0, Some(0));
    }
    let twice: BTreeMap<usize, usize> = (0..7).map(|number| (number, 2)).collect();
    assert_eq!(letters(&here, BOB), twice);
    assert_eq!(letters(&there, ALICE), once(0..7), "they stay there");
    let (_, listed) = json(&here, &["fetch", "list"]);
    assert_eq!(listed[0]["remembered"], 7, "{listed}");
    assert_eq!(listed[1]["remembered"], 0, "{listed}");
    assert!(!listed.to_string().contains("\"password\""), "{listed}");
    let page = here.ctl_ok(&["metrics"]);
    assert!(
        page.contains("ringpost_fetch_accounts{state=\"well\"} 2\n"),
        "{page}"
    );
    let audit = here.ctl_ok(&["audit", "list"]);
    assert!(audit.contains("is fetched now"), "{audit}");
    let (_, _) = json(&here, &["fetch", "remove", BOB, "1"]);
    let (_, listed) = json(&here, &["fetch", "list", BOB]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
}

#[test]
fn kill_9_in_the_middle_makes_no_doubles_and_loses_nothing() {
    let (there, here) = (Home::with_leg_size("256MiB"), fetching("256MiB"));
    let _old = there.start();
    const COUNT: usize = 400;
    fill(&there, 0..COUNT);
    let mut new = here.start();
    let secret = secret(&here, PASSWORD);
    let url = format!("pop3://{}", there.at(110));
    here.ctl_ok(&[
        "fetch",
        "add",
        BOB,
        &url,
        "--user",
        ALICE,
        "--password-file",
        &secret,
        "--allow-plaintext",
        "--allow-private",
        "--delete",
    ]);
    let mut cuts = 0;
    for least in [1, 60, 150, 250] {
        // As soon as so many are here, in the middle of a conversation; or when it is over.
        while letters(&here, BOB).len() < least.min(COUNT) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        new.kill();
        cuts += 1;
        new = here.start();
    }
    assert_eq!(cuts, 4);
    let (status, told) = run(&here, "1");
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(letters(&here, BOB), once(0..COUNT));
    // What is here was deleted there, by this conversation or by one before.
    assert_eq!(letters(&there, ALICE).len(), 0);
    assert_eq!(run(&here, "1").0, Some(0));
    assert_eq!(letters(&here, BOB), once(0..COUNT));
}

#[test]
fn a_wrong_password_stops_after_five_times_and_the_person_is_told_once() {
    let (there, here) = (Home::with_leg_size("128MiB"), fetching("128MiB"));
    let _old = there.start();
    fill(&there, 0..2);
    let new = here.start();
    let wrong = "wrong-password-of-elsewhere";
    let file = secret(&here, wrong);
    let url = format!("imap://{}", there.imap());
    let way = [
        "--user",
        ALICE,
        "--password-file",
        &file,
        "--allow-plaintext",
        "--allow-private",
    ];
    here.ctl_ok(&[&["fetch", "add", BOB, &url][..], &way].concat());
    let stopped = |home: &Home| {
        let (_, line) = json(home, &["fetch", "show", BOB, "1"]);
        line["stopped"].as_str().map(str::to_owned)
    };
    for _ in 0..9 {
        if stopped(&here).is_some() {
            break;
        }
        let (status, told) = run(&here, "1");
        assert_eq!(status, Some(1), "{told}");
    }
    let why = stopped(&here).expect("it is stopped");
    assert!(why.contains("refuses the password"), "{why}");
    // A restart changes nothing of that, and brings no second notice.
    assert!(new.stop().success());
    let new = here.start();
    assert_eq!(stopped(&here), Some(why));
    assert_eq!(run(&here, "1").0, Some(1));
    let mail = mail_of(here.imap(), BOB, PASSWORD);
    let notices = mail.iter().filter(|seen| {
        String::from_utf8_lossy(&seen.3)
            .contains("Subject: Mail is no longer fetched from 127.0.0.1")
    });
    assert_eq!(notices.count(), 1);
    let status = here.ctl_ok(&["status"]);
    assert!(status.contains("not fetched any more"), "{status}");
    // The right one starts it again; a host that is another one needs it again.
    let elsewhere = here.ctl(&[
        "fetch",
        "change",
        BOB,
        "1",
        "--url",
        "imap://localhost:1",
        "--allow-plaintext",
    ]);
    assert!(
        said(&elsewhere).contains("needs the password again"),
        "{}",
        said(&elsewhere)
    );
    let right = secret(&here, PASSWORD);
    here.ctl_ok(&["fetch", "change", BOB, "1", "--password-file", &right]);
    assert_eq!(run(&here, "1").0, Some(0));
    assert_eq!(letters(&here, BOB), once(0..2));
    // Neither password is in clear in a leg, in a file of the state directory, or in what the daemon said.
    let words = new.words();
    assert!(new.stop().success());
    assert!(!words.contains(wrong), "{words}");
    for path in crate::daemon::files_below(&here.state()) {
        let bytes = fs::read(&path).expect("ours");
        let found = memchr_find(&bytes, wrong.as_bytes());
        assert!(!found, "{} has the password", path.display());
    }
    // Without the key it must be entered again, and nothing else is lost.
    fs::remove_file(here.state().join("fetch.key")).expect("it was made");
    let _new = here.start();
    let (status, told) = run(&here, "1");
    assert_eq!(status, Some(1), "{told}");
    assert!(
        told["last"]["error"].to_string().contains("entered again"),
        "{told}"
    );
    here.ctl_ok(&["fetch", "change", BOB, "1", "--password-file", &right]);
    assert_eq!(run(&here, "1").0, Some(0));
    assert_eq!(letters(&here, BOB), once(0..2));
}

fn memchr_find(bytes: &[u8], wanted: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == wanted[0]) {
        if rest[at..].starts_with(wanted) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}
