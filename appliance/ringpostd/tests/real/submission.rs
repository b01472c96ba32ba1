//! Mail that people send: submitted by clients that we did not write, kept over kill -9, and delivered to another daemon.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::{ALICE, Home, PASSWORD, bounded, said};

const CAROL: &str = "carol@example.net";
/// Far beyond what any delivery between two daemons takes.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);

fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = bounded(Command::new(program).args(arguments));
    (output.status.success(), said(&output))
}

/// Alice writes `subject` to `to` by swaks, on `port`.
fn submit(home: &Home, port: u16, more: &[&str], to: &str, subject: &str) -> (bool, String) {
    let server = home.at(port).to_string();
    let header = format!("Subject: {subject}");
    let mut arguments = vec![
        "--server",
        &server,
        "--auth",
        "PLAIN",
        "--auth-user",
        ALICE,
        "--auth-password",
        PASSWORD,
        "--from",
        ALICE,
        "--to",
        to,
        "--header",
        &header,
    ];
    arguments.extend_from_slice(more);
    run("swaks", &arguments)
}

/// The messages in the INBOX of `user`, once there are `count`.
fn inbox(home: &Home, user: &str, count: usize) -> Vec<String> {
    let begin = Instant::now();
    let login = format!("{user}:{PASSWORD}");
    loop {
        // until they are there; bounded by ARRIVES_WITHIN
        let url = format!("imap://{}/INBOX;MAILINDEX={count}", home.imap());
        let (found, _) = run(
            "curl",
            &["--silent", "--show-error", "--user", &login, &url],
        );
        if found {
            break;
        }
        assert!(
            begin.elapsed() < ARRIVES_WITHIN,
            "{count} messages did not arrive for {user}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let one = |index: usize| {
        let url = format!("imap://{}/INBOX;MAILINDEX={index}", home.imap());
        run("curl", &["--silent", "--user", &login, &url]).1
    };
    (1..=count).map(one).collect()
}

#[test]
fn a_message_waits_over_kill_9_and_reaches_a_mailbox_of_another_daemon() {
    let there = Home::with_leg_size("128MiB");
    let _there = there.start();
    there.ctl_ok(&["domain", "add", "example.net"]);
    there.ctl_ok(&["account", "add", CAROL, "--password", PASSWORD]);

    // Without a way out: trial mode sends nothing by itself.
    let mut home = Home::with_leg_size("128MiB");
    let daemon = home.start();
    let make = [
        "--json",
        "dkim",
        "make",
        "example.org",
        "--selector",
        "e1",
        "--algorithm",
        "ed25519",
    ];
    let made: serde_json::Value = serde_json::from_str(&home.ctl_ok(&make)).expect("JSON");
    assert_eq!(made["record_name"], "e1._domainkey.example.org");
    let records = home.ctl_ok(&["domain", "dns", "example.org"]);
    let record = made["record_zone"].as_str().expect("a line of a zone file");
    assert!(records.contains(record), "{records}");
    home.ctl_ok(&["dkim", "activate", "example.org", "e1"]);
    assert_eq!(
        home.ctl(&["dkim", "remove", "example.org", "e1"])
            .status
            .code(),
        Some(1)
    );
    let (sent, words) = submit(&home, 587, &["--tls"], CAROL, "by STARTTLS");
    assert!(sent && words.contains("250 2.0.0 ok"), "{words}");
    let (sent, words) = submit(&home, 465, &["--tls-on-connect"], CAROL, "by TLS");
    assert!(sent, "{words}");
    let waiting = home.ctl_ok(&["queue", "list"]);
    assert_eq!(waiting.matches(CAROL).count(), 2, "{waiting}");
    // The trace gathers its lines for some milliseconds: a kill may cost those, and here they are looked at.
    traced(&home, &["--to", CAROL], 2, "submitted");
    daemon.kill();

    home.more = vec!["--outbound-to".into(), there.smtp().to_string()];
    let _daemon = home.start();
    let (sent, words) = submit(&home, 587, &[], &format!("{CAROL},{ALICE}"), "in clear");
    assert!(sent, "{words}");
    let letters = inbox(&there, CAROL, 3);
    for subject in ["by STARTTLS", "by TLS", "in clear"] {
        let letter = letters
            .iter()
            .find(|letter| letter.contains(&format!("Subject: {subject}")));
        let letter = letter.unwrap_or_else(|| panic!("{subject}: {letters:?}"));
        assert_eq!(
            letter.matches("Return-Path: <alice@example.org>").count(),
            1
        );
        assert_eq!(letter.matches("\nReceived: ").count(), 2, "{letter}");
        // The last one was signed after the kill: the key was in the log.
        assert_eq!(
            letter.matches("\nDKIM-Signature: v=1; a=ed25519-").count(),
            1,
            "{letter}"
        );
        assert!(letter.contains("\nMessage-ID: ") || letter.contains("\nMessage-Id: "));
    }
    assert!(letters.iter().any(|letter| letter.contains("with ESMTPSA")));
    assert!(inbox(&home, ALICE, 1)[0].contains("Subject: in clear"));
    let begin = Instant::now();
    while home.ctl_ok(&["queue", "list"]).contains(CAROL) {
        // until what was delivered is out of the queue
        assert!(begin.elapsed() < ARRIVES_WITHIN);
        std::thread::sleep(Duration::from_millis(100));
    }
    // Two of them were submitted before the kill.
    let ways = traced(&home, &["--to", CAROL], 3, "delivered");
    for way in &ways {
        assert_eq!(way[0]["what"], "submitted", "{ways:?}");
        assert_eq!(way[0]["from"], "<alice@example.org>");
        // TLS, and its certificate was not judged.
        assert_eq!(way[way.len() - 1]["tls"], "opportunistic", "{ways:?}");
    }
    let id = ways[0][0]["message_id"].as_str().expect("a Message-ID");
    assert_eq!(traced(&home, &[id], 1, "delivered")[0], ways[0]);
}

/// What `ringpostctl trace` knows, once it is `count` messages that each end in `last`.
pub fn traced(
    home: &Home,
    about: &[&str],
    count: usize,
    last: &str,
) -> Vec<Vec<serde_json::Value>> {
    let begin = Instant::now();
    loop {
        // until all of it is written
        let told = home.ctl_ok(&[&["--json", "trace"], about].concat());
        let page: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        let messages = page["messages"].as_array().expect("messages").iter();
        let ways: Vec<Vec<serde_json::Value>> = messages
            .map(|way| way.as_array().expect("events").clone())
            .collect();
        let ends = |way: &Vec<serde_json::Value>| way.last().is_some_and(|end| end["what"] == last);
        if ways.len() == count && ways.iter().all(ends) {
            return ways;
        }
        assert!(begin.elapsed() < ARRIVES_WITHIN, "{told}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_refusal_comes_back_as_a_report_and_strangers_do_not_relay() {
    let there = Home::with_leg_size("128MiB");
    let _there = there.start();
    let mut home = Home::with_leg_size("128MiB");
    home.more = vec!["--outbound-to".into(), there.smtp().to_string()];
    let _daemon = home.start();
    // The other daemon has no such domain.
    let (sent, words) = submit(&home, 587, &[], "nobody@example.com", "for no one");
    assert!(sent, "{words}");
    let report = inbox(&home, ALICE, 1).remove(0);
    assert!(report.contains("report-type=delivery-status"), "{report}");
    assert!(
        report.contains("Action: failed") && report.contains("relaying denied"),
        "{report}"
    );

    for refused in [
        // No login; another's address; a wrong password; and the port for other servers is no way out.
        &[
            "--server",
            &home.at(587).to_string(),
            "--from",
            ALICE,
            "--to",
            CAROL,
        ][..],
        &[
            "--server",
            &home.at(25).to_string(),
            "--from",
            ALICE,
            "--to",
            CAROL,
        ],
        &[
            "--server",
            &home.at(587).to_string(),
            "--auth",
            "PLAIN",
            "--auth-user",
            ALICE,
            "--auth-password",
            "wrong",
            "--from",
            ALICE,
            "--to",
            CAROL,
        ],
        &[
            "--server",
            &home.at(587).to_string(),
            "--auth",
            "LOGIN",
            "--auth-user",
            ALICE,
            "--auth-password",
            PASSWORD,
            "--from",
            "bob@example.org",
            "--to",
            CAROL,
        ],
    ] {
        let (sent, words) = run("swaks", refused);
        assert!(!sent, "{words}");
    }
    assert!(!home.ctl_ok(&["queue", "list"]).contains(CAROL));
    // From the message to its report.
    let ways = traced(&home, &["--to", "nobody@example.com"], 1, "delivered here");
    let what: Vec<_> = ways[0].iter().map(|event| event["what"].as_str()).collect();
    let whole = [
        "submitted",
        "given up",
        "reported to the sender",
        "delivered here",
    ];
    assert_eq!(what, whole.map(Some), "{ways:?}");
    // What was refused by the port for other servers.
    let ways = traced(
        &home,
        &["--to", CAROL, "--from", ALICE],
        1,
        "recipient refused",
    );
    assert_eq!(
        ways[0][0]["refusal"], "550 5.7.1 relaying denied",
        "{ways:?}"
    );
}

/// A message of Alice's to Bob by msmtp, as a script on a server sends it: from standard input, by settings that are arguments.
fn by_msmtp(home: &Home, port: u16, starttls: &str, password: &str, subject: &str) -> Output {
    let certificate = home.state().join("certificate.pem");
    let letter = format!("From: {ALICE}\nTo: bob@example.org\nSubject: {subject}\n\n.\nhello\n");
    let mut child = Command::new("msmtp")
        .args(["--host=localhost", "--auth=plain", "--tls=on"])
        .args([
            format!("--port={}", home.port(port)),
            format!("--tls-starttls={starttls}"),
        ])
        // The server's own certificate is the one authority: it is checked, name included.
        .arg(format!("--tls-trust-file={}", certificate.display()))
        .args([
            format!("--user={ALICE}"),
            format!("--passwordeval=echo {password}"),
        ])
        .args([format!("--from={ALICE}"), "bob@example.org".to_owned()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`cargo xtask setup` installs msmtp");
    let mut stdin = child.stdin.take().expect("asked for");
    // A client that gives up early does not read it.
    let _ = stdin.write_all(letter.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("our own child")
}

#[test]
fn msmtp_submits_by_both_kinds_of_tls_and_a_wrong_password_sends_nothing() {
    let home = Home::with_leg_size("128MiB");
    let _daemon = home.start();
    for (port, starttls) in [(587, "on"), (465, "off")] {
        let subject = format!("on {port}");
        let output = by_msmtp(&home, port, starttls, PASSWORD, &subject);
        assert!(output.status.success(), "{}", said(&output));
        let refused = by_msmtp(&home, port, starttls, "wrong", "refused");
        assert!(!refused.status.success());
        assert!(said(&refused).contains("535"), "{}", said(&refused));
    }
    let letters = inbox(&home, "bob@example.org", 2);
    for subject in ["on 587", "on 465"] {
        let letter = letters
            .iter()
            .find(|letter| letter.contains(&format!("Subject: {subject}")));
        let letter = letter.unwrap_or_else(|| panic!("{subject}: {letters:?}"));
        assert!(letter.contains("with ESMTPSA"), "{letter}");
        assert!(letter.ends_with("\r\n\r\n.\r\nhello\r\n"), "{letter}");
    }
}

/// What `ringpostctl` makes works at once, and over kill -9.
#[test]
fn aliases_groups_and_routes_are_made_by_the_operator() {
    let home = Home::with_leg_size("128MiB");
    let daemon = home.start();
    home.ctl_ok(&[
        "alias",
        "add",
        "sales@example.org",
        ALICE,
        "bob@example.org",
    ]);
    let shown = home.ctl_ok(&["alias", "show", "sales@example.org"]);
    assert!(
        shown.contains("here       alice@example.org\n           bob@example.org"),
        "{shown}"
    );
    let send = |to: &str| {
        let smtp = crate::connect::smtp(home.smtp());
        let sent = smtp.and_then(|mut smtp| smtp.send(&[to], "Subject: hello\r\n\r\nhello\r\n"));
        sent.expect("it listens").code
    };
    assert_eq!(send("sales@example.org"), 250);
    let got = inbox(&home, "bob@example.org", 1).remove(0);
    assert!(got.contains("Delivered-To: sales@example.org\r\n"), "{got}");

    home.ctl_ok(&[
        "group",
        "make",
        "all@example.org",
        "--owner",
        ALICE,
        "--posters",
        "anyone",
        "--title",
        "All of us",
    ]);
    assert_eq!(
        home.ctl_ok(&["group", "add", "all@example.org", "carol@example.org"])
            .trim(),
        "1 added"
    );
    home.ctl_ok(&["alias", "grant", "all@example.org", "carol@example.org"]);
    home.ctl_ok(&["account", "allowance", ALICE, "10"]);
    home.ctl_ok(&["route", "set", "example.com", "smart.example:587", "--tls"]);
    let refused = home.ctl(&["alias", "add", ALICE, "bob@example.org"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let (sent, words) = submit(
        &home,
        587,
        &["--tls", "--h-From", "boss@example.net"],
        "all@example.org",
        "not mine",
    );
    assert!(!sent && words.contains("<boss@example.net>"), "{words}");

    daemon.kill();
    let daemon = home.start();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let shown = home.ctl_ok(&[&["--json"], arguments].concat());
        serde_json::from_str(&shown).expect("one JSON document")
    };
    assert_eq!(json(&["route", "list"])[0]["host"], "smart.example:587");
    let group = json(&["group", "show", "all@example.org"]);
    assert_eq!(
        (&group["members"][0], &group["granted"][0]),
        (&"carol@example.org".into(), &"carol@example.org".into())
    );
    assert_eq!(send("all@example.org"), 250);
    let got = inbox(&home, "carol@example.org", 1).remove(0);
    assert!(
        got.contains("List-Id: \"All of us\" <all.example.org>\r\n"),
        "{got}"
    );
    home.ctl_ok(&["alias", "remove", "sales@example.org"]);
    assert_eq!(send("sales@example.org"), 550);
    assert!(daemon.stop().success());
}
