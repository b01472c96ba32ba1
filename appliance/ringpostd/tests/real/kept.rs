//! Mail that a POP3 client deletes, on the daemon that is shipped: a rule of the settings keeps it in a folder, over a kill too.

use crate::clients::python;
use crate::daemon::Home;
use crate::operator::with_password;

const RULES: &str = "[pop3]\nkeep_days = 30\nkeep_in = \"Kept\"\n\n[[pop3.keep]]\naccount = \"bob@example.com\"\ndays = 0\n";

/// Both people delete one message; Alice's is in the folder.
const DELETED: &str = r#"
import imaplib, poplib, ssl, sys
context = ssl._create_unverified_context()
def check(kind_data):
    kind, data = kind_data
    assert kind == "OK", (kind, data)
    return data
for who in "alice", "bob":
    imap = imaplib.IMAP4_SSL("127.0.0.1", int(sys.argv[4]), ssl_context=context)
    imap.login(who + "@example.com", "a secret")
    check(imap.append("INBOX", None, None, b"Subject: one\r\n\r\nfirst\r\n"))
    pop3 = poplib.POP3_SSL("127.0.0.1", PORT, timeout=60, context=context)
    assert "EXPIRE" in pop3.capa() and pop3.capa()["EXPIRE"] == ["NEVER"], pop3.capa()
    pop3.user(who + "@example.com")
    pop3.pass_("a secret")
    pop3.dele(1)
    assert pop3.quit().startswith(b"+OK")
    assert check(imap.select("INBOX")) == [b"0"]
    assert (imap.select("Kept")[0] == "OK") == (who == "alice")
    imap.logout()
print("done")
"#;

const THERE: &str = r#"
import imaplib, ssl, sys
context = ssl._create_unverified_context()
imap = imaplib.IMAP4_SSL("127.0.0.1", int(sys.argv[4]), ssl_context=context)
imap.login("alice@example.com", "a secret")
assert imap.select("INBOX")[1] == [b"0"]
assert imap.select("Kept")[1] == [b"1"]
kind, data = imap.fetch("1", "(FLAGS BODY.PEEK[])")
assert b"$Pop3Deleted" in data[0][0] + data[1] and b"first" in data[0][1], data
print("there")
"#;

#[test]
fn a_rule_keeps_what_pop3_deletes_and_a_kill_loses_none_of_it() {
    let home = Home::new();
    let port = home.port(995).to_string();
    home.configure(&format!("pop3s = [\"{}\"]\n{RULES}", home.at(995)));
    let daemon = home.start();
    home.ctl_ok(&["domain", "add", "example.com"]);
    for person in ["alice@example.com", "bob@example.com"] {
        with_password(&home, &["account", "add", person], "a secret");
    }
    let script = DELETED.replace("PORT", &port);
    assert_eq!(python(&home, &script).trim(), "done");
    daemon.kill();
    let _daemon = home.start();
    assert_eq!(python(&home, THERE).trim(), "there");
    assert!(
        home.ctl_ok(&["metrics"])
            .contains("ringpost_pop3_kept_total")
    );
}
