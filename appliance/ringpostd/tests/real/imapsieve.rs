//! A folder's script on the daemon that is shipped: named by Python's imaplib, run by APPEND, COPY, MOVE and STORE, also after a restart; and the
//! operator's for all folders.

use std::fs;

use crate::clients::python;
use crate::daemon::{ALICE, Home};

const SCRIPT: &str = r#"require ["imapsieve", "environment", "variables", "imap4flags", "fileinto", "mailbox"];
if environment :matches "imap.cause" "*" { addflag "cause-${1}"; }
if header :is "subject" "bill" { fileinto :create "Bills"; }
elsif header :is "subject" "nothing" { discard; }
"#;

const COMMON: &str = r#"require ["imapsieve", "environment", "imap4flags"];
if environment :is "imap.mailbox" "Archive" { addflag "$Common"; }
"#;

const USED: &str = r#"
import imaplib, sys, time
imaplib.Commands["SETMETADATA"] = ("AUTH", "SELECTED")
imaplib.Commands["GETMETADATA"] = ("AUTH", "SELECTED")
def check(kind_data):
    kind, data = kind_data
    assert kind == "OK", (kind, data)
    return data
imap = imaplib.IMAP4("127.0.0.1", int(sys.argv[3]))
imap.sock.settimeout(60)
check(imap.login("alice@example.org", "ringpost"))
words = check(imap.capability())[0].split()
assert any(word.startswith(b"IMAPSIEVE=sieve://") for word in words), words
def letter(subject):
    return ("From: you@example.net\r\nSubject: %s\r\n\r\nx\r\n" % subject).encode()
def flags(mailbox):
    check(imap.select('"%s"' % mailbox, readonly=True))
    found = check(imap.uid("SEARCH", None, "ALL"))[0].split()
    lines = [check(imap.uid("FETCH", uid, "(FLAGS)"))[0] for uid in found]
    return [sorted(word.decode() for word in imaplib.ParseFlags(line) if word != rb"\Recent") for line in lines]
def until(wanted, mailbox):
    for _ in range(300):
        if flags(mailbox) == wanted:
            return
        time.sleep(0.1)
    raise AssertionError((mailbox, flags(mailbox), wanted))
if ROUND == 1:
    for mailbox in "Box", "Archive":
        imap.create(mailbox)
    check(imap.xatom("SETMETADATA", "Box", '(/shared/imapsieve/script "moves")'))
    check(imap.append("Box", r"(\Seen)", None, letter("plain")))
    check(imap.append("INBOX", None, None, letter("bill")))
    check(imap.append("INBOX", None, None, letter("nothing")))
    check(imap.select("INBOX"))
    check(imap.uid("COPY", "1", "Box"))
    check(imap.uid("MOVE", "2", "Box"))
    until([["\\Seen", "cause-APPEND"], ["\\Deleted"], ["\\Deleted"]], "Box")
    until([["cause-COPY"]], "Bills")
    check(imap.append("Archive", None, None, letter("x")))
    until([["$Common"]], "Archive")
else:
    check(imap.select("Box"))
    check(imap.uid("STORE", "1", "+FLAGS", r"(\Flagged)"))
    until([["\\Flagged", "\\Seen", "cause-APPEND", "cause-FLAG"], ["\\Deleted"], ["\\Deleted"]], "Box")
    check(imap.append("Archive", None, None, letter("x")))
    until([["$Common"], ["$Common"]], "Archive")
imap.logout()
print("done")
"#;

#[test]
fn a_folders_script_runs_for_what_a_client_does_before_and_after_a_restart() {
    let home = Home::new();
    let daemon = home.start();
    let put = |name: &str, text: &str, whose: &[&str]| {
        let file = home.directory.path().join(format!("{name}.sieve"));
        fs::write(&file, text).expect("our own file");
        let path = file.to_str().expect("text");
        home.ctl_ok(&[&["sieve", "put", name, path][..], whose].concat());
    };
    put("moves", SCRIPT, &["--account", ALICE]);
    put("imapsieve", COMMON, &["--global"]);
    assert_eq!(python(&home, &USED.replace("ROUND", "1")).trim(), "done");
    assert!(daemon.stop().success());
    let _daemon = home.start();
    assert_eq!(python(&home, &USED.replace("ROUND", "2")).trim(), "done");
    let metrics = home.ctl_ok(&["metrics"]);
    // The operator's script runs for the two messages of INBOX too, and for what is filed in Archive.
    assert!(
        metrics.contains("ringpost_imap_events_total 2"),
        "{metrics}"
    );
}
