//! A person's script at first delivery, on the daemon that is shipped: stored by the operator, run for mail of strangers, also after a restart.

use std::fs;

use crate::clients::python;
use crate::daemon::{ALICE, Home};

const SCRIPT: &str = r#"require ["copy", "fileinto", "imap4flags", "mailbox", "reject", "vacation"];
if header :contains "list-id" "news" { fileinto :create :flags "\\Flagged" "Lists/news"; }
elsif header :is "subject" "for bob" { redirect "bob@example.org"; }
elsif header :is "subject" "for both" { redirect :copy "carol@example.org"; }
elsif header :is "subject" "nothing" { discard; }
elsif header :is "subject" "unwanted" { reject "Alice does not want it"; }
"#;

/// Each mail goes where the script says, once.
const SENT: &str = r#"
import imaplib, smtplib, sys, time
def send(subject, *fields):
    smtp = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=60)
    head = ["From: you@example.net", "To: alice@example.org", "Subject: " + subject, *fields]
    smtp.sendmail("you@example.net", "alice@example.org", "\r\n".join(head) + "\r\n\r\nx\r\n")
    smtp.quit()
def subjects(user, mailbox="INBOX", key="ALL"):
    imap = imaplib.IMAP4("127.0.0.1", int(sys.argv[3]))
    imap.login(user + "@example.org", "ringpost")
    if imap.select('"%s"' % mailbox)[0] != "OK":
        return None
    found = imap.search(None, key)[1][0].split()
    lines = [imap.fetch(number, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1] for number in found]
    imap.logout()
    return sorted(line.decode().strip()[len("Subject: "):] for line in lines)
def until(wanted, *where):
    for _ in range(300):
        if subjects(*where) == wanted:
            return
        time.sleep(0.1)
    raise AssertionError((where, subjects(*where), wanted))
rounds = ROUNDS
send("news", "List-Id: <news.example.net>")
send("for bob")
send("for both")
send("nothing")
send("plain")
try:
    send("unwanted")
    raise AssertionError("it was taken")
except smtplib.SMTPDataError as refused:
    assert refused.smtp_code == 550 and b"Alice does not want it" in refused.smtp_error, refused
until(["news"] * rounds, "alice", "Lists/news", "FLAGGED")
until(["for both"] * rounds + ["plain"] * rounds, "alice")
until(["for bob"] * rounds, "bob")
until(["for both"] * rounds, "carol")
print("done")
"#;

#[test]
fn a_script_of_the_operator_filters_mail_before_and_after_a_restart() {
    let home = Home::new();
    let daemon = home.start();
    let file = home.directory.path().join("rules.sieve");
    fs::write(&file, SCRIPT).expect("our own file");
    let path = file.to_str().expect("text");
    let put = ["sieve", "put", "rules", path];
    home.ctl_ok(&[&put[..], &["--account", ALICE, "--activate"]].concat());
    let first = SENT.replace("ROUNDS", "1");
    assert_eq!(python(&home, &first).trim(), "done");
    assert!(daemon.stop().success());
    let _daemon = home.start();
    let second = SENT.replace("ROUNDS", "2");
    assert_eq!(python(&home, &second).trim(), "done");
    let metrics = home.ctl_ok(&["metrics"]);
    for counter in [
        "ringpost_filter_redirected_total 2",
        "ringpost_filter_discarded_total 1",
    ] {
        assert!(metrics.contains(counter), "{counter} in {metrics}");
    }
}
