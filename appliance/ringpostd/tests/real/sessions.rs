//! IMAP sessions beside each other: what one does is reported to the other, when IMAP allows it. And the clients that
//! keep whole mailboxes in step: mutt and mbsync.

use std::fs;
use std::process::Command;

use crate::clients::python;
use crate::connect;
use crate::daemon::{ALICE, Home, PASSWORD, bounded, said};

/// A raw client in Python: `cmd` answers the untagged lines and the tagged one, literals in place.
pub const RAW: &str = r#"
import re, socket, sys
IMAP_PORT = int(sys.argv[3])
class Raw:
    def __init__(self, user="alice@example.org"):
        self.socket = socket.create_connection(("127.0.0.1", IMAP_PORT), timeout=60)
        self.file = self.socket.makefile("rb")
        self.count = 0
        assert self.file.readline().startswith(b"* OK [CAPABILITY ")
        self.cmd(f"LOGIN {user} ringpost")
    def response(self):
        out = b""
        while True:
            line = self.file.readline()
            if not line:
                raise EOFError(out)
            out += line
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if not literal:
                return out
            out += self.file.read(int(literal.group(1)))
    def cmd(self, text, wanted=b"OK"):
        self.count += 1
        tag = b"t%d " % self.count
        self.socket.sendall(tag + (text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        told = []
        while True:
            response = self.response()
            if response.startswith(tag):
                assert response[len(tag):].startswith(wanted), (text, response, told)
                return b"".join(told), response
            told.append(response)
    def append(self, mailbox, message, more=""):
        return self.cmd(f"APPEND {mailbox} {more}{{{len(message)}+}}\r\n".encode() + message)
def letter(subject):
    return (f"From: Ann <ann@example.net>\r\nTo: alice@example.org\r\nSubject: {subject}\r\n"
            f"Date: Tue, 1 Jul 2003 23:52:37 -0900\r\n\r\nbody of {subject}\r\n").encode()
"#;

pub fn story(home: &Home, program: &str) {
    let text = python(home, &format!("{RAW}\n{program}\nprint('as it should be')"));
    assert!(text.contains("as it should be"), "{text}");
}

#[test]
fn two_sessions_see_each_other() {
    let home = Home::new();
    let _daemon = home.start();
    story(
        &home,
        r#"
a, b = Raw(), Raw()
a.cmd("SELECT INBOX")
for number in range(5):
    told, reply = a.append("INBOX", letter(f"letter {number}"), f"(\\Seen kw{number}) \"01-Jan-2020 00:00:00 +0100\" ")
    assert b"APPENDUID" in reply and b"* %d EXISTS" % (number + 1) in told, (told, reply)
b.cmd("SELECT INBOX")
told, _ = a.cmd("STORE 2 +FLAGS (\\Flagged)")
assert told.endswith(b"* 2 FETCH (UID 2 FLAGS (\\Flagged \\Seen kw1 \\Recent))\r\n"), told
assert a.cmd("NOOP")[0] == b"", "its own changes are not reported to it again"
assert b"* 2 FETCH (UID 2 FLAGS (\\Flagged \\Seen kw1))" in b.cmd("NOOP")[0]

# IDLE tells at once: arrival, flags, expunge.
b.socket.sendall(b"i IDLE\r\n")
assert b.response().startswith(b"+")
a.append("INBOX", letter("letter 5"))
assert b.response() == b"* 6 EXISTS\r\n"
assert re.match(rb"\* [01] RECENT\r\n$", b.response()), "one of the two has it"
a.cmd("STORE 1 +FLAGS.SILENT (\\Deleted)")
assert b"\\Deleted" in b.response()
assert a.cmd("EXPUNGE")[0] == b"* 1 EXPUNGE\r\n"
assert b.response() == b"* 1 EXPUNGE\r\n"
b.socket.sendall(b"DONE\r\n")
assert b.response().startswith(b"i OK")

# RFC 9051 §7.5.1: no EXPUNGE while a command by number runs.
a.cmd("STORE 1 +FLAGS.SILENT (\\Deleted)")
a.cmd("UID EXPUNGE 1:*")
told, _ = b.cmd("FETCH 1:2 (UID)", b"OK [EXPUNGEISSUED]")
assert b"* 2 FETCH (UID 3)" in told and b"EXPUNGE" not in told, told
assert b"* 1 EXPUNGE\r\n" in b.cmd("NOOP")[0]

# UIDPLUS and MOVE.
a.cmd("CREATE Work")
assert re.search(rb"COPYUID \d+ 3:4 1:2", a.cmd("COPY 1:2 Work")[1])
told, _ = a.cmd("MOVE 1 Work")
assert re.match(rb"\* OK \[COPYUID \d+ 3 3\] Messages moved\r\n\* 1 EXPUNGE\r\n$", told), told
a.cmd("COPY 1 Nowhere", b"NO [TRYCREATE]")
a.cmd(b"APPEND Nowhere {3+}\r\nabc", b"NO [TRYCREATE]")

# A mailbox that is deleted ends the sessions in it, with a word.
c = Raw()
c.cmd("SELECT Work")
a.cmd("DELETE Work")
try:
    c.cmd("NOOP")
    c.cmd("NOOP")
    raise SystemExit("the session in a deleted mailbox goes on")
except (EOFError, ConnectionError):
    pass
"#,
    );
}

/// Thunderbird, seen on 2026-11-22: of three messages in a burst it showed the first, and the others when it next polled.
#[test]
fn what_is_told_beside_a_fetch_is_told_again_by_idle() {
    let home = Home::new();
    let _daemon = home.start();
    story(
        &home,
        r#"
a, b = Raw(), Raw()
a.cmd("SELECT INBOX")
b.append("INBOX", letter("one"))
assert b"* 1 EXISTS" in a.cmd("NOOP")[0]
b.append("INBOX", letter("two"))
assert b"* 2 EXISTS" in a.cmd("UID FETCH 1:* (FLAGS)")[0]

def idle(told):
    a.socket.sendall(b"i IDLE\r\n")
    assert a.response().startswith(b"+")
    for line in told:
        assert a.response() == line
    a.socket.sendall(b"DONE\r\n")
    response = a.response()
    assert response.startswith(b"i OK"), response

idle([b"* 2 EXISTS\r\n"])
idle([])  # once is enough
b.append("INBOX", letter("three"))
assert b"* 3 EXISTS" in a.cmd("NOOP")[0]
idle([])  # NOOP is asking
b.append("INBOX", letter("four"))
idle([b"* 4 EXISTS\r\n", b"* 4 RECENT\r\n"])
idle([])  # and so is IDLE

# What went is reported again in the same way: by how many are left.
b.cmd("SELECT INBOX")
b.cmd("STORE 1 +FLAGS.SILENT (\\Deleted)")
b.cmd("EXPUNGE")
assert b"* 1 EXPUNGE" in a.cmd("UID FETCH 2:* (FLAGS)")[0]
idle([b"* 3 EXISTS\r\n"])
idle([])
"#,
    );
}

#[test]
fn fetch_and_search_answer_every_form() {
    let home = Home::new();
    let _daemon = home.start();
    story(
        &home,
        r#"
a = Raw()
a.cmd("SELECT INBOX")
for number in range(4):
    a.append("INBOX", letter(f"letter {number}"))
told, _ = a.cmd("FETCH 2 (ENVELOPE BODYSTRUCTURE RFC822.SIZE)")
assert b'"letter 1" (("Ann" NIL "ann" "example.net"))' in told and b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 18 1 NIL NIL NIL NIL)' in told, told
told, _ = a.cmd("UID FETCH 4:* (BODY.PEEK[HEADER.FIELDS (SUBJECT X-NONE)] BODY.PEEK[TEXT]<0.6> BINARY.PEEK[1] BINARY.SIZE[1])")
assert b"{21}\r\nSubject: letter 3\r\n\r\n" in told and b"BODY[TEXT]<0> {6}\r\nbody o" in told and b"BINARY.SIZE[1] 18" in told, told
assert b"FLAGS (\\Seen \\Recent)" in a.cmd("FETCH 1 BODY[]")[0], "reading sets \\Seen, and says so"
assert b"\\Seen" not in a.cmd("FETCH 2 (FLAGS BODY.PEEK[])")[0]
def found(query):
    return [line for line in a.cmd(query)[0].split(b"\r\n") if b"SEARCH" in line][0]
assert found("SEARCH TEXT \"of letter 2\"") == b"* SEARCH 3"
assert found("SEARCH UNSEEN SUBJECT LETTER NOT 4") == b"* SEARCH 2 3"
assert found("SEARCH OR BODY 0 SENTON 1-Jul-2003") == b"* SEARCH 1 2 3 4"
assert b"MIN 2 MAX 4 COUNT 3" in found("UID SEARCH RETURN (MIN MAX COUNT) UNSEEN")
a.cmd("FETCH 9 FLAGS", b"BAD")
a.cmd("SEARCH CHARSET X-KLINGON TEXT x", b"NO [BADCHARSET (UTF-8 ")

big = letter("big") + (b"y" * 76 + b"\r\n") * 40000
a.append("INBOX", big)
assert big in a.cmd("FETCH * BODY.PEEK[]")[0], "three megabytes come back as they went in"

# IMAP4rev2: ESEARCH, no RECENT, names in UTF-8.
b = Raw()
b.cmd("CREATE Entw&APw-rfe")
b.cmd("ENABLE IMAP4rev2")
assert "\"Entwürfe\"".encode() in b.cmd("LIST \"\" *")[0]
assert b"RECENT" not in b.cmd("SELECT INBOX")[0]
assert b"* ESEARCH (TAG \"t6\") ALL 1:5" in b.cmd("SEARCH ALL")[0]
assert b"\\Noselect" in b.cmd("LIST \"\" \"\"")[0]
b.cmd("DELETE INBOX", b"NO")
b.cmd("EXAMINE INBOX")
b.cmd("STORE 1 FLAGS ()", b"NO")

# What the kept summary has no room for is read from the message; what cannot be told whole is refused, and the rest is sent.
w = Raw()
w.cmd("CREATE wide")
people = b",\r\n ".join(b"person%d@example.net" % number for number in range(3000))
w.append("wide", b"Subject: wide\r\nTo: " + people + b"\r\n\r\nx\r\n")
w.append("wide", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\nContent-Type: image/png\r\n\r\nx\r\n" * 1200 + b"--b--\r\n")
w.append("wide", b"Subject: s\r\nTo: " + b"x" * 1100000 + b"@example.net\r\n\r\nx\r\n")
w.append("wide", letter("plain"))
w.cmd("SELECT wide")
for items in ["ENVELOPE", "(ENVELOPE BODY.PEEK[])", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)] ENVELOPE)"]:
    assert w.cmd(f"FETCH 1 {items}")[0].count(b'(NIL NIL "person') == 3000, items
assert w.cmd("FETCH 2 BODYSTRUCTURE")[0].count(b'("IMAGE" "PNG"') == 1200
told, _ = w.cmd("FETCH 1:* (UID ENVELOPE)", b"NO [LIMIT]")
assert told.count(b" FETCH (UID ") == 3 and b'"plain"' in told, told[-300:]
assert b"Subject: s" in w.cmd("FETCH 3 BODY.PEEK[HEADER.FIELDS (SUBJECT)]")[0]

# Everything at once, and a message that would end a stack.
p = Raw()
p.append("INBOX", b"Content-Type: message/rfc822\r\n\r\n" * 20000)
p.socket.sendall(b"x1 SELECT INBOX\r\nx2 FETCH * (BODYSTRUCTURE)\r\nx3 SEARCH TEXT absent\r\nx4 LOGOUT\r\n")
rest = p.file.read()
for word in [b"x1 OK", b"x2 OK", b"x3 OK", b"* BYE", b"x4 OK"]:
    assert word in rest, rest[-500:]
"#,
    );
}

#[test]
fn mbsync_keeps_a_maildir_in_step() {
    let home = Home::new();
    let _daemon = home.start();
    let mut imap = connect::imap(home.imap(), ALICE, PASSWORD).expect("login");
    for _ in 0..3 {
        imap.command("APPEND INBOX {14+}\r\nSubject: x\r\n\r\n")
            .expect("APPEND");
    }
    let near = home.directory.path().join("near");
    fs::create_dir(&near).expect("our own directory");
    let settings = home.directory.path().join("mbsyncrc");
    let port = home.port(143);
    let shown = near.display();
    let text = format!(
        "IMAPStore far\nHost 127.0.0.1\nPort {port}\nUser {ALICE}\nPass {PASSWORD}\nSSLType None\nAuthMechs LOGIN\n\n\
         MaildirStore near\nPath {shown}/\nInbox {shown}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
    );
    fs::write(&settings, text).expect("our own file");
    let sync = || {
        let output = bounded(Command::new("mbsync").arg("-c").arg(&settings).arg("-a"));
        assert!(output.status.success(), "mbsync: {}", said(&output));
    };
    sync();
    let inbox = near.join("INBOX/cur");
    let new = near.join("INBOX/new");
    let mut letters: Vec<_> = [&inbox, &new]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("mbsync made it"))
        .map(|entry| entry.expect("readable").path())
        .collect();
    assert_eq!(letters.len(), 3);
    fs::remove_file(letters.pop().expect("three")).expect("ours");
    fs::write(
        near.join("Drafts/new/1.local"),
        "Subject: made here\n\nbody\n",
    )
    .expect("ours");
    sync();
    imap.select("INBOX").expect("INBOX");
    assert_eq!(imap.messages().expect("FETCH").len(), 2);
    imap.select("Drafts").expect("Drafts");
    let drafts = imap.messages().expect("FETCH");
    assert_eq!(drafts.len(), 1);
    assert!(drafts[0].bytes.starts_with(b"Subject: made here\r\n"));
}
