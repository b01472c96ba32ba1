//! A message that waits is looked at and sent another way, from an address and under a name that the operator gives.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::daemon::{ALICE, Home, PASSWORD, bounded, said};
use crate::operator::with_password;

const DORA: &str = "dora@example.com";
const SECRET: &str = "a secret";
const WITHIN: Duration = Duration::from_secs(60);

/// The first message in Alice's INBOX, once it is there.
fn letter(there: &Home) -> String {
    let begin = Instant::now();
    let url = format!("imap://{}/INBOX;MAILINDEX=1", there.imap());
    let login = format!("{ALICE}:{PASSWORD}");
    loop {
        // until it is there; bounded by WITHIN
        let mut curl = Command::new("curl");
        let output = bounded(curl.args(["--silent", "--user", &login, &url]));
        if output.status.success() && !output.stdout.is_empty() {
            return said(&output);
        }
        assert!(begin.elapsed() < WITHIN, "no message arrives");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_waits_for_a_domain_is_sent_to_another_server_from_a_source() {
    let (home, there) = (Home::with_leg_size("128MiB"), Home::with_leg_size("128MiB"));
    let _there = there.start();
    let submission = home.at(587);
    // No name server answers there, so that mail for elsewhere waits.
    home.configure(&format!(
        "submission = [\"{submission}\"]\n[login]\nplaintext = \"loopback\"\n[[domain]]\nname = \"example.com\"\n\
         [dns]\nservers = [\"127.0.0.1:1\"]\n[[outbound.sources]]\nname = \"out.example.com\"\nipv4 = \"127.0.0.9\"\n"
    ));
    let _home = home.start();
    with_password(&home, &["account", "add", DORA], SECRET);
    let mut swaks = Command::new("swaks");
    swaks.args(["--server", &submission.to_string(), "--auth", "PLAIN"]);
    swaks.args(["--auth-user", DORA, "--auth-password", SECRET]);
    let output = bounded(swaks.args(["--from", DORA, "--to", ALICE]));
    assert!(output.status.success(), "{}", said(&output));

    let way = home.ctl_ok(&["queue", "route", ALICE]);
    for words in ["way      mx", "it has no route", "cannot be looked up now"] {
        assert!(way.contains(words), "{words} in {way}");
    }
    let way = home.ctl_ok(&["queue", "route", DORA]);
    assert!(way.contains("it is the account"), "{way}");
    let server = there.smtp().to_string();
    let moved = home.ctl_ok(&["queue", "route", "example.org", "--to", &server]);
    assert!(moved.contains(&format!("goes to {server}")), "{moved}");

    let letter = letter(&there);
    for words in ["from out.example.com", "127.0.0.9"] {
        assert!(letter.contains(words), "{words} in {letter}");
    }
    let way = home.ctl_ok(&["--json", "queue", "route", "example.org"]);
    let ways: serde_json::Value = serde_json::from_str(&way).expect("JSON");
    assert_eq!(ways["ways"][0]["way"], "smart host", "{way}");
    assert_eq!(ways["ways"][0]["servers"][0]["address"], server.as_str());
    let status = home.ctl_ok(&["status"]);
    assert!(status.contains("out.example.com"), "{status}");
    let metrics = home.ctl_ok(&["metrics"]);
    let sample = "ringpost_outbound_source_conversations_total{source=\"out.example.com\"} 1\n";
    assert!(metrics.contains(sample), "{metrics}");
    for wrong in [
        &["queue", "route", "a b"][..],
        &["queue", "route", "*", "--to", &server],
    ] {
        let refused = home.ctl(wrong);
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    }
}
