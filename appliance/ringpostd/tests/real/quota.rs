//! Quotas as clients see them (RFC 9208): curl, and Python's imaplib, before and after the operator sets one.

use std::process::Command;

use crate::clients::python;
use crate::daemon::{ALICE, Home, PASSWORD, bounded, said};

fn curl(home: &Home, request: &str) -> String {
    let url = format!("imap://{}/", home.imap());
    let user = format!("{ALICE}:{PASSWORD}");
    let arguments = [
        "--silent",
        "--show-error",
        "--user",
        &user,
        &url,
        "--request",
        request,
    ];
    let output = bounded(Command::new("curl").args(arguments));
    assert!(output.status.success(), "{request}: {}", said(&output));
    said(&output)
}

#[test]
fn curl_and_imaplib_see_the_quota_that_the_operator_sets() {
    let home = Home::new();
    let _daemon = home.start();
    let none = curl(&home, "GETQUOTAROOT INBOX");
    assert!(
        none.contains("* QUOTAROOT \"INBOX\" \"\"") && none.contains("* QUOTA \"\" ()"),
        "{none}"
    );
    home.ctl_ok(&["account", "quota", ALICE, "64KiB"]);
    python(
        &home,
        r#"
import imaplib, sys
imap = imaplib.IMAP4("127.0.0.1", int(sys.argv[3]))
imap.login("alice@example.org", "ringpost")
raw = b"Subject: x\r\n\r\n" + b"x" * 40000
assert imap.append("INBOX", None, None, raw)[0] == "OK"
kind, told = imap.append("INBOX", None, None, raw)
assert kind == "NO" and b"OVERQUOTA" in told[0], told
kind, (roots, quotas) = imap.getquotaroot("INBOX")
assert kind == "OK" and quotas == [b'"" (STORAGE 40 64)'], (roots, quotas)
kind, told = imap.getquota('""')
assert kind == "OK" and told == [b'"" (STORAGE 40 64)'], told
try:
    kind, told = imap.setquota('""', "(STORAGE 500)")
    assert kind == "NO" and b"NOPERM" in told[0], told
except imaplib.IMAP4.error as refused:
    assert "NOPERM" in str(refused), refused
"#,
    );
    let some = curl(&home, "GETQUOTAROOT INBOX");
    assert!(some.contains("* QUOTA \"\" (STORAGE 40 64)"), "{some}");
}
