//! The operator's day: domains, accounts, quotas and legs by `ringpostctl`, and what its exit status says.

use std::io::Write;
use std::process::{Command, Stdio};

use hardware::health::Holds;

use crate::connect;
use crate::daemon::{ALICE, Home, said};
use crate::ledger::Ledger;
use crate::outage::{ready, wait_until};

const DORA: &str = "dora@example.com";
const LETTER: &str = "Subject: for dora\r\n\r\nhello\r\n";

/// `ringpostctl account …` with a password on standard input.
pub fn with_password(home: &Home, arguments: &[&str], password: &str) {
    let program =
        std::path::Path::new(env!("CARGO_BIN_EXE_ringpostd")).with_file_name("ringpostctl");
    let mut child = Command::new(program)
        .arg("--state")
        .arg(home.state())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("ringpostctl is built");
    let mut stdin = child.stdin.take().expect("asked for");
    writeln!(stdin, "{password}").expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("our own child").success());
}

#[test]
fn accounts_come_are_used_bounded_and_go() {
    let home = Home::new();
    let daemon = home.start();
    for leg in home.legs() {
        // `hardware` knows a leg without the engine: here is one that the engine made.
        assert_eq!(hardware::content::look(&leg), Holds::Leg, "{leg:?}");
    }
    let refused = home.ctl(&["account", "add", DORA, "--password", "a secret"]);
    assert_eq!(
        refused.status.code(),
        Some(1),
        "her domain is not ours yet: {}",
        said(&refused)
    );
    home.ctl_ok(&["domain", "add", "example.com"]);
    with_password(&home, &["account", "add", DORA], "a secret");
    assert!(home.ctl_ok(&["account", "list"]).contains(DORA));

    let reply = connect::smtp(home.smtp())
        .and_then(|mut smtp| smtp.send(&[DORA], LETTER))
        .expect("it listens");
    assert!(reply.code == 250, "{reply}");
    assert!(connect::imap(home.imap(), DORA, "a secret").is_ok());
    with_password(&home, &["account", "password", DORA], "another secret");
    assert!(connect::imap(home.imap(), DORA, "a secret").is_err());
    assert!(connect::imap(home.imap(), DORA, "another secret").is_ok());

    home.ctl_ok(&["account", "quota", DORA, "1KiB"]);
    let large = format!("Subject: too much\r\n\r\n{}\r\n", "x".repeat(900));
    let reply = connect::smtp(home.smtp())
        .and_then(|mut smtp| smtp.send(&[DORA], &large))
        .expect("it listens");
    assert!(reply.code != 250, "past the quota: {reply}");

    // All of it is in the log: a crash forgets nothing.
    daemon.kill();
    let daemon = home.start();
    let shown = home.ctl_ok(&["--json", "account", "show", DORA]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("one JSON document");
    assert_eq!(shown["account"]["quota_bytes"], 1024);
    home.ctl_ok(&["account", "remove", DORA]);
    let gone = home.ctl(&["account", "show", DORA]);
    assert_eq!(gone.status.code(), Some(1), "{}", said(&gone));
    assert!(daemon.stop().success());
}

#[test]
fn the_exit_status_tells_done_refused_and_misused_apart() {
    let home = Home::new();
    assert_eq!(
        home.ctl(&["status"]).status.code(),
        Some(1),
        "no daemon answers yet"
    );
    let daemon = home.start();
    for verb in [
        ["status"].as_slice(),
        &["plan"],
        &["leg", "list"],
        &["volume", "list"],
        &["volume", "show"],
        &["queue", "list"],
        &["ban", "list"],
        &["fsck"],
    ] {
        assert_eq!(home.ctl(verb).status.code(), Some(0), "{verb:?}");
        let output = home.ctl(&[&["--json"], verb].concat());
        let document: Result<serde_json::Value, _> = serde_json::from_slice(&output.stdout);
        assert!(document.is_ok(), "{verb:?} --json: {}", said(&output));
    }
    assert_eq!(home.ctl(&["leg", "fail", "7"]).status.code(), Some(1));
    for verb in ["show", "retry", "hold", "release", "drop"] {
        let refused = home.ctl(&["queue", verb, "7"]);
        assert_eq!(refused.status.code(), Some(1), "queue {verb}");
        assert!(said(&refused).contains("no such message"), "{verb}");
    }
    home.ctl_ok(&["ban", "add", "192.0.2.0/24", "--for", "12h"]);
    assert!(home.ctl_ok(&["ban", "list"]).contains("192.0.2.0/24"));
    home.ctl_ok(&["ban", "lift", "192.0.2.0/24"]);
    for (verb, network) in [("lift", "192.0.2.0/24"), ("add", "192.0.2.1/24")] {
        let refused = home.ctl(&["ban", verb, network]);
        assert_eq!(refused.status.code(), Some(1), "ban {verb} {network}");
    }
    assert_eq!(home.ctl(&["leg", "explode"]).status.code(), Some(2));
    // A leg that a daemon uses is nobody else's.
    let leg = home.legs().remove(0);
    let used = home.ctl(&["log", "dump", &leg.to_string_lossy()]);
    assert_eq!(used.status.code(), Some(1), "{}", said(&used));
    assert!(daemon.stop().success());
    let dumped = home.ctl_ok(&["log", "dump", &leg.to_string_lossy()]);
    assert!(
        dumped.contains(ALICE) && !dumped.contains("argon2"),
        "{dumped}"
    );
}

#[test]
fn a_leg_is_detached_and_comes_back_while_mail_goes_on() {
    let home = Home::new();
    let daemon = home.start();
    let ledger = Ledger::of(ALICE);
    let leg = home.legs().remove(1);
    ledger.fill(home.smtp(), 5, 2_000);
    home.ctl_ok(&["leg", "detach", &leg.to_string_lossy()]);
    assert_eq!(
        home.ctl(&["fsck"]).status.code(),
        Some(1),
        "a mirror with one leg is not well"
    );
    ledger.fill(home.smtp(), 5, 2_000);
    home.ctl_ok(&["leg", "attach", &leg.to_string_lossy()]);
    home.wait_until_in_sync();
    ledger.fill(home.smtp(), 5, 2_000);
    home.ctl_ok(&["fsck", "full"]);
    ledger.check(&home);
    // The last leg that counts is never given away.
    home.ctl_ok(&["leg", "fail", "0"]);
    assert_eq!(home.ctl(&["leg", "fail", "1"]).status.code(), Some(1));
    ledger.fill(home.smtp(), 5, 2_000);
    assert!(daemon.stop().success());
}

/// A journal that stands still fills the pipe; the threads that take mail do not wait for it, and nothing of its lines is lost once it
/// reads on.
#[test]
fn a_reader_of_the_log_that_stands_still_stops_no_mail() {
    let home = Home::new();
    let daemon = home.start_unheard();
    let ledger = Ledger::of(ALICE);
    ledger.fill(home.smtp(), 1_000, 300);
    assert_eq!(ledger.acknowledged(), 1_000);
    let log = daemon.stop();
    let accepted = log.lines().filter(|line| line.contains("accepted")).count();
    assert_eq!(accepted, 1_000, "{}", &log[..log.len().min(2_000)]);
}

/// The state partition is full or broken: the operator learns what is waited for, and it is made good by itself.
#[test]
fn a_leg_that_is_failed_while_the_witness_cannot_be_written_is_said_so() {
    let home = Home::with_leg_size("128MiB");
    let ledger = Ledger::of(ALICE);
    let _daemon = home.start();
    ledger.fill(home.smtp(), 3, 1_000);
    let witness = std::fs::read_dir(home.state())
        .expect("readable")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("witness-"))
        .expect("a volume is known");
    // A directory where the new record would be written: not even root can.
    let in_the_way = witness.with_extension("new");
    std::fs::create_dir(&in_the_way).expect("our own");
    let refused = home.ctl(&["leg", "fail", "1"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let words = said(&refused);
    assert!(
        words.contains("cannot be recorded yet") && words.contains("witness"),
        "{words}"
    );
    let legs = home.ctl_ok(&["leg", "list"]);
    assert!(legs.contains("failing"), "{legs}");
    std::fs::remove_dir(&in_the_way).expect("our own");
    // Sent once more: by then the record is there, or this waits for it.
    home.ctl(&["leg", "fail", "1"]);
    let legs = home.ctl_ok(&["leg", "list"]);
    assert!(
        legs.contains("stale") && !legs.contains("failing"),
        "{legs}"
    );
    // Until the next probe sees it, a sender is told to come again.
    wait_until("ready", || ready(&home).0);
    ledger.fill(home.smtp(), 3, 1_000);
    ledger.check(&home);
}
