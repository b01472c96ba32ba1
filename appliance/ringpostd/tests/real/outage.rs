//! More than one leg in trouble: what cannot be had is said by every door, the rest is served, and mail goes on.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use crate::connect;
use crate::daemon::{ALICE, Home, said};

/// Far away; what is waited for comes within seconds.
const BOUND: Duration = Duration::from_secs(120);

/// The code of the reply.
fn send(home: &Home, subject: &str) -> u16 {
    let mut smtp = connect::smtp(home.smtp()).expect("the daemon listens");
    let content = format!("Subject: {subject}\r\n\r\nbody of {subject}\r\n");
    let reply = smtp.send(&[ALICE], &content);
    reply.expect("the connection holds").code
}

pub fn ready(home: &Home) -> (bool, String) {
    let url = format!("http://{}/readyz", home.at(80));
    let output = std::process::Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "20",
            "--write-out",
            "%{http_code}",
        ])
        .arg(url)
        .output()
        .expect("curl is there");
    let text = said(&output);
    (text.contains("200"), text)
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < BOUND, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn messages(home: &Home) -> usize {
    let mut imap = connect::imap(home.imap(), ALICE, "ringpost").expect("login");
    imap.select("INBOX").expect("INBOX");
    imap.messages().expect("FETCH").len()
}

/// Nothing is written while both legs go: only a probe can know it.
#[test]
fn both_legs_gone_is_not_ready_and_not_in_sync() {
    let home = Home::new();
    let daemon = home.start();
    assert!(send(&home, "kept") == 250);
    assert!(ready(&home).0);
    for leg in home.legs() {
        let file = OpenOptions::new().write(true).open(&leg);
        file.and_then(|file| file.set_len(0)).expect("our own file");
    }
    wait_until("not ready", || !ready(&home).0);
    wait_until("no leg is called in sync", || {
        !said(&home.ctl(&["leg", "list"])).contains("in_sync")
    });
    let status = home.ctl_ok(&["status"]);
    assert!(status.contains("accepts no mail"), "{status}");
    // Who Alice is is known from before, and the spool has legs of its own.
    assert!(send(&home, "spooled") == 250);
    let spool = home.ctl_ok(&["spool", "show"]);
    assert!(spool.contains("holding"), "{spool}");
    // It ends by a signal all the same.
    daemon.stop();
}

/// One acknowledged batch is bad on both legs: the start serves the rest, the operator sees what is gone and gives it up.
#[test]
fn damage_on_both_legs_is_served_around_named_and_given_up() {
    let home = Home::new();
    let daemon = home.start();
    for number in 1..=5 {
        assert!(send(&home, &format!("letter-{number}")) == 250);
    }
    let legs = home.legs();
    daemon.kill();
    for leg in &legs {
        let content = fs::read(leg).expect("our own file");
        let wanted = b"Subject: letter-3";
        let at = content
            .windows(wanted.len())
            .position(|part| part == wanted);
        let mut file = OpenOptions::new()
            .write(true)
            .open(leg)
            .expect("our own file");
        file.seek(SeekFrom::Start(at.expect("stored as it came") as u64))
            .and_then(|_| file.write_all(b"X"))
            .expect("our own file");
    }
    let daemon = home.start();
    assert_eq!(messages(&home), 4);
    let (is_ready, why) = ready(&home);
    assert!(!is_ready && why.contains("accept-damage"), "{why}");
    assert!(send(&home, "spooled meanwhile") == 250);
    let mut imap = connect::imap(home.imap(), ALICE, "ringpost").expect("login");
    imap.select("INBOX").expect("INBOX");
    let refused = imap.command("STORE 1 +FLAGS (\\Seen)").expect_err("NO");
    assert!(
        refused.to_string().contains("NO [UNAVAILABLE]"),
        "{refused}"
    );

    let shown = home.ctl(&["volume", "accept-damage"]);
    assert!(!shown.status.success());
    let text = said(&shown);
    assert!(text.contains("UID 3 in INBOX"), "{text}");
    home.ctl_ok(&["volume", "accept-damage", "--yes"]);
    wait_until("ready", || ready(&home).0);
    assert!(send(&home, "goes on") == 250);
    imap.command("STORE 1 +FLAGS (\\Seen)").expect("OK");
    daemon.kill();
    let _daemon = home.start();
    wait_until("what was spooled is there", || messages(&home) == 6);
    assert!(ready(&home).0);
}
