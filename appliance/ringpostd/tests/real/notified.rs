//! One program that waits without IDLE (NOTIFY, RFC 5465), over TLS and on another core than those who change things: deliveries by SMTP, folders
//! and flags of another session, and rights of another person reach it.

use crate::clients::python;
use crate::daemon::Home;

#[test]
fn a_program_is_told_of_all_mailboxes_while_it_only_waits() {
    let home = Home::new();
    let _daemon = home.start();
    let text = python(
        &home,
        r#"
import imaplib, smtplib, ssl, sys
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

tls = ssl.create_default_context()
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
watcher = imaplib.IMAP4_SSL("127.0.0.1", imaps_port, ssl_context=tls)
watcher.sock.settimeout(60)
check(watcher.login("alice@example.org", "ringpost"))
assert b" NOTIFY" in check(watcher.capability())[0]
alice, bob = session("alice"), session("bob")
check(watcher.select("INBOX"))

def ask(command):
    watcher.send(b"n1 " + command + b"\r\n")
    lines = []
    while True:
        line = watcher.readline()
        assert line, lines
        if line.startswith(b"n1 "):
            return lines, line
        lines.append(line)

def told(wanted):
    # The next line, which no command asked for.
    line = watcher.readline().rstrip()
    assert line.startswith(wanted), (line, wanted)
    return line

lines, done = ask(b"NOTIFY SET (personal (AnnotationChange MessageNew MessageExpunge))")
assert done.startswith(b"n1 NO [BADEVENT (MessageNew "), done
lines, done = ask(b'NOTIFY SET STATUS (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))'
    b' (personal (MessageNew MessageExpunge MailboxName SubscriptionChange))'
    b' (subtree "Other Users/bob@example.org" (MessageNew MessageExpunge MailboxName))')
assert done.startswith(b"n1 OK "), done
assert any(line.startswith(b'* STATUS "Sent" ') for line in lines), lines
assert not any(b"INBOX" in line for line in lines), lines

letter = b"From: carol@example.net\r\nTo: alice@example.org\r\nSubject: news\r\nDate: Mon, 30 Nov 2026 10:00:00 +0000\r\nMessage-ID: <news@example.net>\r\n\r\nhere\r\n"
smtp = smtplib.SMTP("127.0.0.1", smtp_port, local_hostname="client.example.net", timeout=60)
smtp.sendmail("carol@example.net", ["alice@example.org"], letter)
smtp.quit()
told(b"* 1 EXISTS")
told(b"* 1 RECENT")
told(b"* 1 FETCH (UID 1 FLAGS (")

check(alice.create("Lists"))
told(b'* LIST (\\HasNoChildren) "/" "Lists"')
check(alice.append("Lists", None, None, letter))
told(b'* STATUS "Lists" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ')
check(alice.rename("Lists", "Post"))
told(b'* LIST (\\HasNoChildren) "/" "Post" ("OLDNAME" ("Lists"))')
check(alice.select("INBOX"))
check(alice.store("1", "+FLAGS", r"(\Deleted)"))
assert b"\\Deleted" in told(b"* 1 FETCH (UID 1 FLAGS (")
check(alice.expunge())
told(b"* 1 EXPUNGE")

# Bob shares a folder, uses it, and takes it back.
check(bob.create("Plans"))
check(bob.setacl("Plans", "alice@example.org", "lr"))
told(b'* LIST (\\HasNoChildren) "/" "Other Users/bob@example.org/Plans"')
check(bob.append("Plans", None, None, letter))
told(b'* STATUS "Other Users/bob@example.org/Plans" (MESSAGES 1 ')
check(bob.deleteacl("Plans", "alice@example.org"))
told(b'* LIST (\\NonExistent \\HasNoChildren \\NoAccess) "/" "Other Users/bob@example.org/Plans"')
check(bob.append("Plans", None, None, letter))

lines, done = ask(b"NOTIFY NONE")
assert done.startswith(b"n1 OK ") and not lines, (lines, done)
check(alice.delete("Post"))
lines, done = ask(b"CAPABILITY")
assert len(lines) == 1, lines
watcher.logout(); alice.logout(); bob.logout()
print("told of everything")
"#,
    );
    assert!(text.contains("told of everything"), "{text}");
}
