//! Mail that people send: submitted by clients that we did not write, kept over kill -9, and delivered to another daemon.

use std::process::Command;
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
}
