//! Clients that come back (CONDSTORE and QRESYNC, RFC 7162): over a kill, with Python's imaplib, and neomutt with its header cache.

use std::fs;

use crate::clients::python;
use crate::daemon::Home;
use crate::sessions::{RAW, story};

/// What was answered is what the next start reports since.
#[test]
fn a_client_that_was_away_over_a_kill_is_in_step_again() {
    let home = Home::new();
    let daemon = home.start();
    let text = python(
        &home,
        &format!(
            "{RAW}\n{}",
            r#"
a, b = Raw(), Raw()
for number in range(6):
    a.append("INBOX", letter(f"letter {number}"))
a.cmd("ENABLE QRESYNC")
told, _ = a.cmd("SELECT INBOX")
validity, modseq = (int(re.search(word + rb" (\d+)\]", told).group(1)) for word in [b"UIDVALIDITY", b"HIGHESTMODSEQ"])
b.cmd("SELECT INBOX")
b.cmd("UID STORE 2,5 +FLAGS.SILENT (\\Deleted)")
b.cmd("EXPUNGE")
b.cmd("UID STORE 3 +FLAGS (Project)")
b.append("INBOX", letter("late"))
print("kept", validity, modseq)
"#
        ),
    );
    let kept = text.lines().find_map(|line| line.strip_prefix("kept "));
    let kept = kept.expect("it was printed").to_owned();
    daemon.kill();
    let _daemon = home.start();
    story(
        &home,
        &format!(
            "kept = b\"{kept}\"\n{}",
            r#"
a = Raw()
a.cmd("ENABLE QRESYNC")
told, _ = a.cmd(b"SELECT INBOX (QRESYNC (" + kept + b"))")
assert b"* 5 EXISTS\r\n" in told, told
assert b"* VANISHED (EARLIER) 2,5\r\n" in told, told
flags = dict(re.findall(rb"FETCH \(UID (\d+) FLAGS \(([^)]*)\) MODSEQ \(\d+\)\)", told))
assert flags.pop(b"3") == b"Project" and list(flags) == [b"7"], told
highest = int(re.search(rb"HIGHESTMODSEQ (\d+)\]", told).group(1))
assert highest > int(kept.split()[1])
# Nothing more the next time, and what is changed now has a higher number.
told, _ = a.cmd(b"SELECT INBOX (QRESYNC (%s %d))" % (kept.split()[0], highest))
assert b"VANISHED" not in told and b"FETCH" not in told, told
told, _ = a.cmd("STORE 1 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\\Seen)" % highest)
assert int(re.search(rb"MODSEQ \((\d+)\)", told).group(1)) > highest
"#
        ),
    );
}

#[test]
fn imaplib_follows_changes_by_modseq() {
    let home = Home::new();
    let _daemon = home.start();
    let text = python(
        &home,
        r#"
import imaplib, re, sys
def connected():
    imap = imaplib.IMAP4("127.0.0.1", int(sys.argv[3]))
    imap.login("alice@example.org", "ringpost")
    return imap
one, other = connected(), connected()
assert "CONDSTORE" in one.capabilities and "QRESYNC" in one.capabilities or "CONDSTORE" in str(one.capability())
for number in range(5):
    one.append("INBOX", None, None, b"Subject: %d\r\n\r\nx\r\n" % number)
assert one.enable("CONDSTORE")[0] == "OK"
one.select("INBOX")
since = int(re.search(rb"HIGHESTMODSEQ (\d+)", one.status("INBOX", "(HIGHESTMODSEQ)")[1][0]).group(1))
other.select("INBOX")
other.store("2,4", "+FLAGS", r"(\Flagged)")
kind, lines = one.uid("FETCH", "1:*", "(FLAGS)", f"(CHANGEDSINCE {since})")
assert kind == "OK" and len(lines) == 2, lines
assert all(rb"\Flagged" in line and b"MODSEQ" in line for line in lines), lines
kind, lines = one.search(None, "MODSEQ", str(since + 1))
assert lines[0].startswith(b"2 4 (MODSEQ "), lines
kind, lines = one._simple_command("STORE", "1:2", f"(UNCHANGEDSINCE {since})", "+FLAGS.SILENT", r"(\Answered)")
assert kind == "OK" and b"[MODIFIED 2]" in lines[0], lines
print("in step")
"#,
    );
    assert!(text.contains("in step"), "{text}");
}

/// It is in a terminal of the story's, and says in its log what it asked and what it was answered.
#[test]
fn neomutt_comes_back_with_its_header_cache() {
    let home = Home::new();
    let _daemon = home.start();
    let own = home.directory.path().join("neomutt");
    fs::create_dir_all(own.join("cache")).expect("our own directory");
    let program = r#"
import os, pty, select, time
OWN = "@OWN@"
open(OWN + "/rc", "w").write(f'''
set imap_user="alice@example.org"
set imap_pass="ringpost"
set folder="imap://127.0.0.1:{IMAP_PORT}/"
set spoolfile="+INBOX"
set header_cache="{OWN}/cache"
set imap_condstore=yes
set imap_qresync=yes
set ssl_starttls=no
set ssl_force_tls=no
set quit=yes
set mark_old=no
set mail_check_stats=no
set status_format="THERE %m FLAGGED %F END"
''')
def neomutt(turn):
    log = f"{OWN}/log{turn}"
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(HOME=OWN, TERM="xterm", LINES="24", COLUMNS="80")
        os.execvp("neomutt", ["neomutt", "-n", "-F", OWN + "/rc", "-d", "3", "-l", log, "-e", "push <quit>"])
    screen, until = b"", time.monotonic() + 300
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            shown = os.read(terminal, 65536)
        except OSError:
            break
        if not shown:
            break
        screen += shown
    else:
        os.kill(child, 9)
    os.waitpid(child, 0)
    said = b"".join(open(OWN + "/" + name, "rb").read() for name in os.listdir(OWN) if name.startswith(f"log{turn}"))
    return screen, said
a = Raw()
for number in range(6):
    a.append("INBOX", letter(f"letter {number}"))
screen, said = neomutt(1)
assert b"THERE 6 " in screen, (screen, said[-3000:])
a.cmd("SELECT INBOX")
a.cmd("UID STORE 2:3 +FLAGS.SILENT (\\Deleted)")
a.cmd("EXPUNGE")
a.cmd("UID STORE 5 +FLAGS.SILENT (\\Flagged)")
a.append("INBOX", letter("late"))
screen, said = neomutt(2)
# It knows what it had, and asks for what happened since.
assert b"UID FETCH 1:6 (FLAGS) (CHANGEDSINCE " in said and b"Handling VANISHED" in said, said[-3000:]
assert b"THERE 5 FLAGGED 1 " in screen, (screen, said[-3000:])
"#;
    story(&home, &program.replace("@OWN@", &own.display().to_string()));
}
