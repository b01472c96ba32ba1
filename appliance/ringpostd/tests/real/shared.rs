//! Two people and one folder: Python's imaplib gives and uses rights, `ringpostctl acl` shows and takes them, and the audit has each change.

use serde_json::Value;

use crate::clients::python;
use crate::daemon::{ALICE, Home};

fn json(home: &Home, words: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(words);
    serde_json::from_str(&home.ctl_ok(&all)).expect("JSON")
}

#[test]
fn two_people_share_a_folder_and_one_takes_it_back() {
    let home = Home::new();
    let _daemon = home.start();
    let text = python(
        &home,
        r#"
import imaplib, sys
smtp_port, lmtp_port, imap_port, imaps_port = map(int, sys.argv[1:5])

def check(kind_data):
    kind, data = kind_data
    assert kind == "OK", (kind, data)
    return data

def session(who):
    imap = imaplib.IMAP4("127.0.0.1", imap_port)
    imap.sock.settimeout(60)
    check(imap.login(who + "@example.org", "ringpost"))
    return imap

letter = b"From: alice@example.org\r\nSubject: plans\r\n\r\nfor May\r\n"
plans = '"Other Users/alice@example.org/Plans"'
alice, bob = session("alice"), session("bob")
assert "ACL" in alice.capabilities or b"ACL" in check(alice.capability())[0]
check(alice.create("Plans"))
check(alice.append("Plans", None, None, letter))
assert bob.select(plans)[0] == "NO"
check(alice.setacl("Plans", "bob@example.org", "lrsi"))
assert b"bob@example.org" in check(alice.getacl("Plans"))[0]
assert check(bob.myrights(plans))[0].endswith(b" lrsi")
assert b"Other Users" in check(bob.namespace())[0]
assert any(b"Plans" in line for line in check(bob.list('""', '"Other Users/*"')))
assert check(bob.select(plans)) == [b"1"]
assert b"for May" in check(bob.fetch("1", "(RFC822)"))[0][1]
assert bob.store("1", "+FLAGS", r"(\Deleted)")[0] == "NO"
assert bob.expunge()[0] == "NO"
check(bob.append(plans, r"(\Seen \Flagged)", None, letter))
check(bob.noop())

# Bob waits for mail; Alice files a message, and then takes the folder back.
bob.send(b"w1 IDLE\r\n")
assert bob.readline().startswith(b"+")
check(alice.append("Plans", None, None, letter))
lines = []
while not any(line.startswith(b"* 3 EXISTS") for line in lines):
    lines.append(bob.readline())
    assert lines[-1], lines
check(alice.deleteacl("Plans", "bob@example.org"))
while not lines[-1].startswith(b"* BYE"):
    lines.append(bob.readline())
    assert lines[-1], lines
bob = session("bob")
assert bob.select(plans)[0] == "NO"
check(alice.select("Plans"))
flags = check(alice.fetch("2", "(FLAGS)"))[0]
assert b"\\Seen" in flags and b"\\Flagged" not in flags, flags
alice.logout(); bob.logout()
print("shared and taken back")
"#,
    );
    assert!(text.contains("shared and taken back"), "{text}");

    let bob = "bob@example.org";
    let changed = json(&home, &["acl", "set", ALICE, "Plans", bob, "+lr"]);
    assert_eq!(
        (&changed["before"], &changed["after"]),
        (&"".into(), &"lr".into())
    );
    home.ctl_ok(&["acl", "set", ALICE, "Plans", "-anyone", "t"]);
    let listed = json(&home, &["acl", "list", ALICE]);
    assert_eq!(listed["shared"], false);
    let entries = &listed["folders"][0]["entries"];
    assert_eq!(entries[0]["identifier"], bob);
    assert_eq!(entries[1]["identifier"], "-anyone");
    let refused = home.ctl(&["acl", "set", ALICE, "Plans", bob, "lrq"]);
    assert!(!refused.status.success(), "q is not a right");
    let refused = home.ctl(&["acl", "list", ALICE, "Nowhere"]);
    assert!(!refused.status.success(), "there is no such folder");
    home.ctl_ok(&["acl", "remove", ALICE, "Plans", bob]);
    home.ctl_ok(&["acl", "share", ALICE]);
    assert_eq!(json(&home, &["acl", "list", ALICE])["shared"], true);
    let text = home.ctl_ok(&["acl", "list", ALICE]);
    assert!(text.contains("namespace of shared accounts") && text.contains("-anyone"));

    let sales = "sales@example.org";
    home.ctl_ok(&["alias", "add", sales, ALICE, bob]);
    home.ctl_ok(&["alias", "grant", sales, bob]);
    home.ctl_ok(&["alias", "revoke", sales, bob]);

    let of = |who: &str, change: &str| format!("rights of {who} on Plans of {ALICE}: {change}");
    let expected = [
        of(bob, "none before, lrsi now"),
        of(bob, "lrsi before, none now"),
        of(bob, "none before, lr now"),
        of("-anyone", "none before, t now"),
        of(bob, "lr before, none now"),
        format!("the folders of {ALICE}: shared now"),
        format!("{bob} may send as {sales}: granted"),
        format!("{bob} may send as {sales}: revoked"),
    ];
    let missing = |lines: &Value| -> Vec<String> {
        let lines = lines.as_array().expect("lines");
        let is_there = |what: &&String| lines.iter().any(|line| line["what"] == what.as_str());
        let missing = expected.iter().filter(|what| !is_there(what));
        missing.cloned().collect()
    };
    while !missing(&json(&home, &["audit", "list", "--count", "100"])).is_empty() {
        // until the writer has gathered them; a test that hangs is ended from outside
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(
        json(&home, &["audit", "verify"])["intact"]
            .as_bool()
            .expect("a verdict")
    );
}
