//! What people taught about junk, as an administrator sees it and forgets it.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::daemon::{ALICE, BOB, Home, PASSWORD, bounded, said};

const WITHIN: Duration = Duration::from_secs(60);

fn store(home: &Home, flags: &str) {
    let url = format!("imap://{}/INBOX", home.imap());
    let login = format!("{ALICE}:{PASSWORD}");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--user", &login, &url]);
    curl.args(["--request", &format!("STORE 1 +FLAGS ({flags})")]);
    let output = bounded(&mut curl);
    assert!(output.status.success(), "{}", said(&output));
}

/// What was taught, once it is so: a lesson goes on beside the session.
fn taught(home: &Home, of: &str, wanted: (u64, u64)) {
    let begin = Instant::now();
    loop {
        // until it is so; bounded by WITHIN
        let text = home.ctl_ok(&["--json", "spam", "show", of]);
        let lessons: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let found = (lessons["junk"].as_u64(), lessons["good"].as_u64());
        if found == (Some(wanted.0), Some(wanted.1)) {
            return;
        }
        assert!(begin.elapsed() < WITHIN, "{of}: {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_keyword_teaches_a_person_and_the_domain_and_each_is_forgotten_alone() {
    let home = Home::with_leg_size("128MiB");
    let daemon = home.start();
    let server = home.smtp().to_string();
    let mut swaks = Command::new("swaks");
    swaks.args([
        "--server",
        &server,
        "--from",
        "you@example.net",
        "--to",
        ALICE,
    ]);
    swaks.args(["--body", "claim your lottery prize today"]);
    let output = bounded(&mut swaks);
    assert!(output.status.success(), "{}", said(&output));
    store(&home, "$Junk");
    for of in [ALICE, "example.org"] {
        taught(&home, of, (1, 0));
    }
    taught(&home, BOB, (0, 0));
    let text = home.ctl_ok(&["spam", "show", ALICE]);
    assert!(text.contains("messages of junk: 1"), "{text}");
    assert!(text.contains("too little"), "{text}");
    // Lessons are on the volume.
    assert!(daemon.stop().success());
    let _daemon = home.start();
    taught(&home, ALICE, (1, 0));
    home.ctl_ok(&["spam", "forget", ALICE]);
    taught(&home, ALICE, (0, 0));
    taught(&home, "example.org", (1, 0));
    home.ctl_ok(&["spam", "forget", "example.org"]);
    taught(&home, "example.org", (0, 0));
    for wrong in ["example.net", "someone@example.org"] {
        let refused = home.ctl(&["spam", "show", wrong]);
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    }
}
