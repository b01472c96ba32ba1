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
    made.cmd(f"SELECT {name}")  # it gets \\Recent
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
    for dialogue in [
        SILENT_STORES,
        NUL,
        SAVED_RESULT,
        NEW_KEYWORDS,
        RECENT,
        EXPUNGED_BESIDE,
        NUMBERS,
        INBOX_RENAMED,
        FOLDERS,
        MANY_KEYWORDS,
        SEEN,
    ] {
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

/// I2. RFC 9051 §9 CHAR8: no ordinary literal holds NUL.
const NUL: &str = r#"
a, = box("Nul", 0, sessions=1)
with_nul = b"Subject: x\r\n\r\na\0b\r\n"
a.cmd(b"APPEND Nul {%d+}\r\n%s" % (len(with_nul), with_nul), b"BAD")
a.cmd(b"APPEND Nul ~{%d+}\r\n%s" % (len(with_nul), with_nul), b"NO [UNKNOWN-CTE]")
a.cmd(b"APPEND Nul ~{7+}\r\nabc\r\n\r\n")
assert b"{7}\r\nabc\r\n\r\n" in a.cmd("FETCH 1 BODY.PEEK[]")[0]
# What is binary in a transfer encoding is lawful, and comes back as a literal8 when it is decoded.
a.append("Nul", b"Content-Transfer-Encoding: base64\r\n\r\nYQBi\r\n")
assert b"BINARY[1] ~{3}\r\na\0b" in a.cmd("FETCH 2 BINARY.PEEK[1]")[0]
"#;

/// I3. RFC 9051 §6.4.4.1 to §6.4.4.4: SAVE and `$`.
const SAVED_RESULT: &str = r#"
a, b = box("Saved", 5)
assert a.cmd("FETCH $ (UID)")[0] == b"", "empty at first, and no error"
assert a.cmd("SEARCH RETURN (SAVE) 2:4")[0] == b""
assert a.cmd("FETCH $ (UID)")[0] == b"* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\n* 4 FETCH (UID 4)\r\n"
assert a.cmd("UID STORE $ +FLAGS.SILENT (\\Flagged)")[0] == b""
assert b" UID COUNT 2\r\n" in a.cmd("UID SEARCH RETURN (SAVE COUNT) $ NOT UID 3")[0]
assert b"ALL 2,4\r\n" in a.cmd("SEARCH RETURN (ALL) UID $ FLAGGED")[0]
# Messages that go leave `$` as well, and numbers move up.
b.cmd("STORE 2 +FLAGS (\\Deleted)")
b.cmd("EXPUNGE")
assert b"* 2 EXPUNGE" in a.cmd("NOOP")[0]
assert a.cmd("FETCH $ (UID)")[0] == b"* 3 FETCH (UID 4)\r\n"
assert re.search(rb"COPYUID \d+ 4 6\]", a.cmd("COPY $ Saved")[1])
# NO empties it, BAD does not.
assert a.cmd("SEARCH RETURN (SAVE) UID 3:5")[0] == b""
a.cmd("SEARCH RETURN (SAVE) NONSENSE", b"BAD")
assert a.cmd("FETCH $ (UID)")[0].count(b"FETCH") == 3
a.cmd("SEARCH RETURN (SAVE) CHARSET X-NONE TEXT x", b"NO [BADCHARSET")
assert a.cmd("FETCH $ (UID)")[0] == b""
# MIN and MAX save what they answer.
assert b"MIN 1 MAX 5" in a.cmd("SEARCH RETURN (MIN MAX SAVE) ALL")[0]
assert a.cmd("FETCH $ (UID)")[0] == b"* 1 FETCH (UID 1)\r\n* 5 FETCH (UID 6)\r\n"
# Pipelined, and in every command that takes a set.
a.socket.sendall(b"x1 SEARCH RETURN (SAVE) UID 5\r\nx2 STORE $ +FLAGS.SILENT (\\Deleted)\r\nx3 UID EXPUNGE $\r\n")
assert a.response().startswith(b"x1 OK") and a.response().startswith(b"x2 OK")
assert a.response() == b"* 4 EXPUNGE\r\n" and a.response().startswith(b"x3 OK")
assert a.cmd("SEARCH RETURN (SAVE) UID 6")[0] == b""
assert b"COPYUID" in a.cmd("MOVE $ INBOX")[0]
assert a.cmd("SEARCH RETURN (SAVE) ALL")[0] == b""
a.cmd("SELECT Saved")
assert a.cmd("FETCH $ (UID)")[0] == b"", "SELECT empties it"
"#;

/// I5. RFC 9051 §7.3.5: a keyword is shown in FLAGS before it is used in FETCH.
const NEW_KEYWORDS: &str = r#"
a, b = box("Words", 2)
def first_lines(told):
    return told.split(b"\r\n")[:3]
for session, command in [(b, "STORE 1 +FLAGS (New1)"), (a, "NOOP")]:
    flags, permanent, fetch = first_lines(session.cmd(command)[0])
    assert flags.startswith(b"* FLAGS (") and b"New1" in flags, flags
    assert permanent.startswith(b"* OK [PERMANENTFLAGS (") and b"New1 \\*)]" in permanent, permanent
    assert b"FETCH" in fetch and b"New1" in fetch, fetch
assert b"* FLAGS" not in b.cmd("STORE 2 +FLAGS (new1)")[0], "shown once, in whatever case"
# What arrives with a keyword is shown when it is fetched, by FLAGS and by what sets \Seen.
b.append("Words", letter("x"), "(New2) ")
told = a.cmd("NOOP")[0]
assert b"* 3 EXISTS" in told and b"New2" not in told, told
flags, _, fetch = first_lines(a.cmd("FETCH 3 (FLAGS)")[0])
assert flags.startswith(b"* FLAGS (") and b"New2" in flags and b"New2" in fetch
flags, _, fetch = [line for line in b.cmd("FETCH 3 BODY[TEXT]")[0].split(b"\r\n") if b"FLAGS" in line]
assert flags.startswith(b"* FLAGS (") and b"New2" in flags and b"FETCH" in fetch and b"New2" in fetch
a.cmd("NOOP")
told = a.cmd("STORE 1 +FLAGS.SILENT (New3)")[0]
assert told.startswith(b"* FLAGS (") and b"FETCH" not in told, told
# Read-only: nothing can be kept.
c = Raw()
c.cmd("EXAMINE Words")
b.cmd("STORE 1 +FLAGS (New4)")
flags, permanent, fetch = first_lines(c.cmd("NOOP")[0])
assert b"New4" in flags and b"[PERMANENTFLAGS ()]" in permanent and b"New4" in fetch
"#;

/// I10. RFC 3501 §2.3.2: the first session that is notified of a message has it as \Recent.
const RECENT: &str = r#"
a, b = box("Recent", 2)
c = Raw()
def recent(told):
    return [line for line in told.split(b"\r\n") if line.endswith(b" RECENT")]
def found(session, key):
    return [line for line in session.cmd(f"SEARCH {key}")[0].split(b"\r\n") if b"SEARCH" in line][0]
assert b"RECENT 0" in c.cmd("STATUS Recent (RECENT)")[0]
c.append("Recent", letter("three"))
c.append("Recent", letter("four"), "(\\Seen) ")
assert b"RECENT 2" in c.cmd("STATUS Recent (RECENT)")[0]
# EXAMINE looks and takes nothing.
d = Raw()
assert recent(d.cmd("EXAMINE Recent")[0]) == [b"* 2 RECENT"]
assert b"RECENT 2" in c.cmd("STATUS Recent (RECENT)")[0]
assert recent(a.cmd("NOOP")[0]) == [b"* 2 RECENT"]
assert b"RECENT 0" in c.cmd("LIST \"\" Recent RETURN (STATUS (RECENT))")[0]
assert recent(b.cmd("NOOP")[0]) == [b"* 0 RECENT"]
assert found(a, "RECENT") == b"* SEARCH 3 4" and found(a, "NEW") == b"* SEARCH 3" and found(a, "OLD") == b"* SEARCH 1 2"
assert found(b, "RECENT") == b"* SEARCH" and found(b, "OLD") == b"* SEARCH 1 2 3 4"
assert b"4 (FLAGS (\\Seen \\Recent))" in a.cmd("FETCH 4 (FLAGS)")[0].replace(b"FETCH ", b"")
assert b"FLAGS (\\Flagged \\Recent)" in a.cmd("STORE 3 +FLAGS (\\Flagged)")[0]
assert b"FLAGS (\\Flagged))" in b.cmd("NOOP")[0]
a.cmd("STORE 3 -FLAGS (\\Recent)")  # which no client can do
assert found(a, "RECENT") == b"* SEARCH 3 4"
# IMAP4rev2 has no \Recent, in no answer.
c.append("Recent", letter("five"))
e = Raw()
e.cmd("ENABLE IMAP4rev2")
told = e.cmd("SELECT Recent")[0] + e.cmd("FETCH 1:* (FLAGS)")[0] + e.cmd("SEARCH RETURN (ALL COUNT) RECENT")[0]
assert b"ecent)" not in told and b"RECENT" not in told and b" COUNT 0" in told, told
# A copy is recent where it arrives; opening the mailbox again finds nothing recent.
a.cmd("CREATE Recent2")
a.cmd("COPY 1:2 Recent2")
assert recent(a.cmd("SELECT Recent2")[0]) == [b"* 2 RECENT"]
assert recent(a.cmd("SELECT Recent2")[0]) == [b"* 0 RECENT"]
"#;

/// I7. RFC 2180 §4: what is gone is passed over, the rest is done, and the answer is OK.
const EXPUNGED_BESIDE: &str = r#"
a, b = box("Beside", 6)
def goes(number):
    b.cmd("NOOP")
    b.cmd(f"STORE {number} +FLAGS.SILENT (\\Deleted)")
    b.cmd("EXPUNGE")
goes(2)
told, _ = a.cmd("STORE 1:3 +FLAGS.SILENT (\\Flagged)", b"OK [EXPUNGEISSUED]")
assert told == b"", told
told, _ = a.cmd("FETCH 1:4 (UID)", b"OK [EXPUNGEISSUED]")
assert [b"UID %d" % uid in told for uid in [1, 2, 3, 4]] == [True, False, True, True], told
assert b"EXPUNGE" not in told
told, _ = a.cmd("STORE 2 +FLAGS (\\Flagged)", b"OK [EXPUNGEISSUED]")
assert told == b"", "there is nothing left to answer with"
assert a.cmd("NOOP")[0] == b"* 2 EXPUNGE\r\n"
assert [b"\\Flagged" in line for line in a.cmd("FETCH 1:* (FLAGS)")[0].splitlines()] == [True, True, False, False, False]
goes(1)
assert b"COPYUID" in a.cmd("COPY 1:2 INBOX")[1], "UID 3 was there to be copied"
goes(1)
told, reply = a.cmd("MOVE 1:2 INBOX")
assert re.search(rb"COPYUID \d+ 4 \d+\]", told), told
goes(1)
a.cmd("UID FETCH 1:* (FLAGS)", b"OK Fetch completed")
a.cmd("UID STORE 1:5 +FLAGS (\\Seen)", b"OK Store completed")
"#;

/// I8. RFC 9051 §9 seq-number: a number that is too large is BAD, `*` in an empty mailbox too.
const NUMBERS: &str = r#"
a, = box("Empty", 0, sessions=1)
a.cmd("CREATE Empty2")
for command in ["FETCH * FLAGS", "FETCH 1:* FLAGS", "STORE * +FLAGS (\\Seen)", "COPY 1:* Empty2", "MOVE 1 Empty2", "FETCH *:* FLAGS"]:
    a.cmd(command, b"BAD")
for command in ["UID FETCH * FLAGS", "UID FETCH 1:* FLAGS", "UID STORE 1:* +FLAGS (\\Seen)", "UID COPY 1 Empty2", "UID MOVE 1:* Empty2",
                "SEARCH 1:*", "SEARCH ALL", "FETCH $ FLAGS", "EXPUNGE"]:
    a.cmd(command)
a.append("Empty", letter("one"))
a.cmd("FETCH 1:* FLAGS")
for command in ["FETCH 2 FLAGS", "FETCH 1:2 FLAGS", "STORE 2:* +FLAGS (\\Seen)", "COPY 9 Empty2"]:
    a.cmd(command, b"BAD")
a.cmd("UID FETCH 2 FLAGS")
"#;

/// I9. RFC 9051 §6.3.6: RENAME of INBOX leaves it empty; sessions in it go on.
const INBOX_RENAMED: &str = r#"
def bob():
    session = Raw("bob@example.org")
    session.cmd("SELECT INBOX")
    return session
a, b, c = bob(), bob(), bob()
for number in range(3):
    a.append("INBOX", letter(f"letter {number}"))
for session in [a, b, c]:
    session.cmd("NOOP")
a.cmd("STORE 1 +FLAGS.SILENT (\\Deleted)")
before = re.search(rb"UIDVALIDITY (\d+)", a.cmd("STATUS INBOX (UIDVALIDITY)")[0]).group(1)
gone = 3 * b"* 1 EXPUNGE\r\n" + b"* 0 EXISTS\r\n"
told = a.cmd("RENAME INBOX old")[0]
assert told.startswith(gone), told
after = re.search(rb"\* OK \[UIDVALIDITY (\d+)\]", told).group(1)
assert int(after) > int(before)
assert a.cmd("NOOP")[0] == b""
# By number, numbers stay until the command is over; the next one reports them gone.
assert b"EXPUNGE" not in b.cmd("FETCH 1:3 (UID)")[0]
assert b.cmd("NOOP")[0].startswith(gone)
b.cmd("FETCH 1 FLAGS", b"BAD")
# A session that does not know yet must not expunge from what is now another mailbox.
assert c.cmd("EXPUNGE")[0].startswith(gone)
assert b"MESSAGES 3" in a.cmd("STATUS old (MESSAGES)")[0]
# New mail comes into the new INBOX, in IDLE too.
b.socket.sendall(b"i IDLE\r\n")
while not b.response().startswith(b"+"):
    pass
a.append("INBOX", letter("new"))
while b.response() != b"* 1 EXISTS\r\n":
    pass
b.socket.sendall(b"DONE\r\n")
while not b.response().startswith(b"i OK"):
    pass
assert b"Subject: new" in b.cmd("FETCH 1 BODY.PEEK[HEADER]")[0]
# While it idles.
a.socket.sendall(b"i IDLE\r\n")
while not a.response().startswith(b"+"):
    pass
b.cmd("RENAME INBOX older")
while not a.response().startswith(b"* 0 EXISTS"):
    pass
a.socket.sendall(b"DONE\r\n")
while not a.response().startswith(b"i OK"):
    pass
a.cmd("LOGOUT")
"#;

/// I11. RFC 9051 §6.3.7, §6.3.9.
const FOLDERS: &str = r#"
a, = box("Folders", 0, sessions=1)
assert a.cmd("LIST \"\" a&b")[0] == b""
assert a.cmd("LIST a&b *")[0] == b""
assert a.cmd("LSUB \"\" a&b")[0] == b""
a.cmd("SELECT a&b", b"NO [CANNOT]")
a.cmd("SUBSCRIBE Foldres", b"NO [NONEXISTENT]")
assert b"Foldres" not in a.cmd("LSUB \"\" *")[0]
# What clients do: make it, then subscribe to it. A deleted name stays subscribed until it is taken out.
a.cmd("CREATE Trash2/New")
a.cmd("CREATE Parent/Child/")
a.cmd("DELETE Parent")
assert b"\\Noselect" in a.cmd("LIST \"\" Parent")[0]
for name in ["Trash2", "Trash2/New", "inbox", "Parent", "Parent/Child/"]:
    a.cmd(f"SUBSCRIBE {name}")
a.cmd("DELETE Trash2/New")
assert b"Trash2/New" in a.cmd("LIST (SUBSCRIBED) \"\" *")[0]
a.cmd("UNSUBSCRIBE Trash2/New")
a.cmd("UNSUBSCRIBE Foldres")
assert b"Trash2/New" not in a.cmd("LIST (SUBSCRIBED) \"\" *")[0]
"#;

/// O10. No keyword is lost with OK.
const MANY_KEYWORDS: &str = r#"
a, b = box("Many", 2)
words = lambda first, last: " ".join(f"k{number}" for number in range(first, last))
a.cmd(f"STORE 1 +FLAGS ({words(0, 33)})")
assert b"k32" in a.cmd("FETCH 1 (FLAGS)")[0]
a.cmd(f"STORE 1 +FLAGS.SILENT ({words(33, 64)})")
a.cmd("STORE 1:2 +FLAGS (k64)", b"NO [LIMIT]")
assert b"k64" not in a.cmd("FETCH 1:2 (FLAGS)")[0]
a.cmd(f"STORE 2 FLAGS ({words(0, 65)})", b"NO [LIMIT]")
a.cmd(b"APPEND Many (%s) {3+}\r\nabc" % words(0, 65).encode(), b"NO [LIMIT]")
a.cmd(b"APPEND Many (%s) {3+}\r\nabc" % words(0, 64).encode())
a.cmd("COPY 1 Many")
told = a.cmd("FETCH 3:4 (FLAGS)")[0]
assert told.count(b" k63") == 2, told
assert b"\\*)]" in b.cmd("SELECT Many")[0], "a new keyword can be kept, on another message"
"#;

/// RFC 9051 §6.4.5: what was sent is \Seen, told after it; what could not be sent is not.
const SEEN: &str = r#"
a, b = box("Seen", 3)
told = a.cmd("FETCH 1:2 (FLAGS BODY[TEXT])")[0]
assert told.rindex(b"BODY[TEXT]") < told.index(b"\\Seen"), told
assert told.count(b"FLAGS (\\Answered \\Seen))") == 2, told
assert b.cmd("NOOP")[0].count(b"FLAGS (\\Answered \\Seen))") == 2
assert b"FETCH" not in a.cmd("NOOP")[0], "told once"
assert b"\\Seen" not in a.cmd("FETCH 1 BODY[TEXT]")[0], "only what changes"
a.append("Seen", b"X: y\r\n" * 11_000 + b"\r\nbody\r\n")
a.cmd("NOOP")
# More than is worked out for one line.
fields = " ".join(["BODY[HEADER.FIELDS (N)]"] * 128)
told = a.cmd(f"FETCH 3:4 ({fields})", b"NO [LIMIT]")[0]
assert b"* 3 FETCH (UID 3 FLAGS (\\Answered \\Seen))" in told and b"* 4 FETCH" not in told, told
assert b"* SEARCH 4\r\n" in a.cmd("SEARCH UNSEEN")[0]
"#;
