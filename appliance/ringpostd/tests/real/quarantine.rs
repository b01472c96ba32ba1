//! A message that is kept apart is looked at by an administrator, and released to its recipients.

use std::process::Command;

use scan::known::samples;

use crate::daemon::{Home, bounded, said};
use crate::operator::with_password;

const DORA: &str = "dora@example.com";
const ERIK: &str = "erik@example.com";
const SECRET: &str = "a secret";

fn send(home: &Home, to: &str, body: &str) -> String {
    let server = home.smtp().to_string();
    let arguments = ["--server", &server, "--from", "you@example.net", "--to", to];
    let mut command = Command::new("swaks");
    command.args(arguments).args(["--body", body]);
    said(&bounded(&mut command))
}

fn inbox(home: &Home, of: &str) -> String {
    let url = format!("imaps://{}/INBOX;MAILINDEX=1", home.at(993));
    let login = format!("{of}:{SECRET}");
    let arguments = ["--silent", "--insecure", "--user", &login, &url];
    said(&bounded(Command::new("curl").args(arguments)))
}

#[test]
fn a_virus_is_kept_shown_and_released_once_to_all_its_recipients() {
    let home = Home::with_leg_size("128MiB");
    home.configure("[quarantine]\nverdicts = [\"virus\"]\nsize = \"128MiB\"\n");
    let daemon = home.start();
    home.ctl_ok(&["domain", "add", "example.com"]);
    for person in [DORA, ERIK] {
        with_password(&home, &["account", "add", person], SECRET);
    }
    let [(_, eicar), _] = samples();
    for _ in 0..2 {
        let words = send(&home, &format!("{DORA},{ERIK}"), &eicar);
        assert!(words.contains("250 2.0.0 ok"), "{words}");
    }
    // No stranger may write into it.
    let words = send(&home, "quarantine@quarantine.invalid", "hello");
    assert!(words.contains("550 5.7.1"), "{words}");
    let list = home.ctl_ok(&["quarantine", "list"]);
    assert!(
        list.contains("EICAR test file") && list.contains("2 of 2 messages"),
        "{list}"
    );
    let show = home.ctl_ok(&["quarantine", "show", "1"]);
    for words in [DORA, ERIK, "<you@example.net>", &eicar, "Received: "] {
        assert!(show.contains(words), "{words} in {show}");
    }
    assert!(!inbox(&home, DORA).contains(&eicar), "nothing came yet");
    home.ctl_ok(&["quarantine", "drop", "2"]);
    // It is the mail of a volume: a restart changes nothing.
    assert!(daemon.stop().success());
    let _daemon = home.start();
    home.ctl_ok(&["quarantine", "release", "1"]);
    let again = home.ctl(&["quarantine", "release", "1"]);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    for person in [DORA, ERIK] {
        let letter = inbox(&home, person);
        assert!(letter.contains(&eicar), "{letter}");
        assert!(!letter.contains("X-Ringpost-Held"), "{letter}");
    }
    let json = home.ctl_ok(&["--json", "quarantine", "list"]);
    let list: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(list["count"], 0, "{json}");
    let trace = home.ctl_ok(&["trace", "--to", ERIK]);
    for words in [
        "quarantined",
        "released from quarantine",
        "dropped from quarantine",
    ] {
        assert!(trace.contains(words), "{words} in {trace}");
    }
    let metrics = home.ctl_ok(&["metrics"]);
    for sample in [
        "ringpost_quarantine_left_total{how=\"released\"} 1\n",
        "ringpost_quarantine_messages 0\n",
    ] {
        assert!(metrics.contains(sample), "{sample} in {metrics}");
    }
    for arguments in [
        ["account", "remove", "quarantine@quarantine.invalid"],
        ["domain", "remove", "quarantine.invalid"],
    ] {
        let refused = home.ctl(&arguments);
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    }
}
