//! IMAP dialogues that once went wrong, all against one daemon. `a` and `b` are two sessions on one mailbox.
//!
//! Each dialogue has a mailbox of its own and leaves nothing behind that the next one sees. Its first line names the finding.

use crate::daemon::Home;
use crate::sessions::story;

/// `box` makes a mailbox with letters in it and answers sessions that have it selected.
const TOOLS: &str = r#"
def box(name, letters, sessions=2, rev2=False):
    made = Raw()
    made.cmd(f"CREATE {name}")
    for number in range(letters):
        made.append(name, letter(f"{name} {number + 1}"), "(\\Answered) ")
    made.cmd("LOGOUT")
    opened = [Raw() for _ in range(sessions)]
    for session in opened:
        if rev2:
            session.cmd("ENABLE IMAP4rev2")
        session.cmd(f"SELECT {name}")
    return opened
"#;

#[test]
fn dialogues_go_as_the_rfc_says() {
    let home = Home::new();
    let _daemon = home.start();
    for dialogue in [SILENT_STORES] {
        story(&home, &format!("{TOOLS}\n{dialogue}"));
    }
}

/// I1. RFC 9051 §6.4.6: `.SILENT` hides what the client did, not what others did.
const SILENT_STORES: &str = r#"
a, b = box("Silent", 3)
def told_later(command):
    return a.cmd(command)[0] + a.cmd("NOOP")[0]
b.cmd("STORE 1 +FLAGS (\\Flagged)")
told = told_later("STORE 1 +FLAGS.SILENT (\\Seen)")
assert told.count(b"FETCH") == 1 and b"* 1 FETCH (UID 1 FLAGS (\\Answered \\Flagged \\Seen))" in told, told
b.cmd("STORE 2 -FLAGS (\\Answered)")
told = told_later("UID STORE 2 -FLAGS.SILENT (\\Flagged)")
assert b"* 2 FETCH (UID 2 FLAGS ())" in told, told
b.cmd("NOOP")
# What the client made itself of what it knew is not repeated to it.
assert told_later("STORE 1:2 +FLAGS.SILENT (\\Deleted)") == b""
assert told_later("STORE 1:2 -FLAGS.SILENT (\\Deleted)") == b""
assert b"* 1 FETCH (UID 1 FLAGS (\\Answered \\Flagged \\Seen))" in b.cmd("NOOP")[0]
# FLAGS.SILENT names every flag there is.
b.cmd("STORE 3 +FLAGS (\\Draft)")
assert told_later("STORE 3 FLAGS.SILENT (\\Seen)") == b""
# Reading sets \Seen and shows the other session's flag with it.
b.cmd("STORE 2 +FLAGS (\\Draft)")
told = told_later("FETCH 2 BODY[TEXT]")
assert b"FLAGS (\\Seen \\Draft)" in told and told.count(b"FLAGS") == 1, told
# IDLE reports it as well.
b.cmd("STORE 1 -FLAGS (\\Flagged)")
assert a.cmd("STORE 1 +FLAGS.SILENT (\\Draft)")[0].count(b"FETCH") == 1
a.socket.sendall(b"i IDLE\r\n")
assert a.response().startswith(b"+")
b.cmd("STORE 1 +FLAGS.SILENT (\\Flagged)")
assert a.response() == b"* 1 FETCH (UID 1 FLAGS (\\Answered \\Flagged \\Seen \\Draft))\r\n"
a.socket.sendall(b"DONE\r\n")
assert a.response().startswith(b"i OK")
"#;
