# OfflineIMAP keeps an account of 300 messages in step with Maildirs, both ways.
NESTED = ["Freunde/Zürich", "Freunde/Zürich/Été & Œuvre", "日本語/書類"]
ADDED = {b"x-offlineimap"}
near = OWN / "near"
(OWN / "rc").write_text(f"""
[general]
accounts = alice
metadata = {OWN}/metadata
# Its own files need not outlive a power cut.
fsync = False
[Account alice]
localrepository = near
remoterepository = far
utf8foldernames = yes
[Repository near]
type = Maildir
localfolders = {near}
sep = /
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {IMAPS}
remoteuser = {USER}
remotepass = {PASSWORD}
ssl = yes
sslcacertfile = {CERTIFICATE}
auth_mechanisms = PLAIN
expunge = yes
maxconnections = 2
""")
def sync():
    said = run("offlineimap", "-c", OWN / "rc", "-o", "-u", "basic")
    assert "ERROR" not in said and "Traceback" not in said, said
    return said

def in_step(folder):
    "Both sides have the same messages with the same flags; how many."
    letters = {b"\\Seen": "S", b"\\Answered": "R", b"\\Flagged": "F", b"\\Draft": "D", b"\\Deleted": "T"}
    far = messages(folder, ADDED)
    there = {known: {letters[flag] for flag in flags if flag in letters} for flags, known in far.values()}
    assert len(there) == len(far), "one twice"
    here = maildir(near / folder, ADDED)
    assert here == there, (folder, len(here), len(there), set(here.items()) ^ set(there.items()))
    return len(here)

imap = witness()
for name in NESTED:
    ok(imap.create(quoted(name)))
made = [(letter(f"message {number}", 1 + number % 40), rb"\Seen \Flagged" if number % 7 == 0 else b"") for number in range(300)]
fill("INBOX", made[:240])
for number, name in enumerate(NESTED):
    fill(name, made[240 + number::3])
sync()
assert in_step("INBOX") == 240 and [in_step(name) for name in NESTED] == [20, 20, 20]

# Here: flags, a deletion, a new message, a new folder.
inbox = sorted(near.glob("INBOX/*/*,U=*"))
by_uid = {int(re.search(r",U=(\d+)", file.name).group(1)): file for file in inbox}
flagged = by_uid[2]
flagged.rename(near / "INBOX/cur" / (flagged.name.partition(":2,")[0] + ":2,FRS"))
by_uid[3].unlink()
made = letter("made here")
(near / NESTED[1] / "new" / "1700000000.1_0.here").write_bytes(made.replace(b"\r\n", b"\n"))
for part in ["cur", "new", "tmp"]:
    (near / "Größe" / part).mkdir(parents=True)
(near / "Größe/new/1700000001.1_1.here").write_bytes(letter("in a new folder").replace(b"\r\n", b"\n"))
sync()
far = messages("INBOX", ADDED)
assert far[2][0] == {b"\\Flagged", b"\\Answered", b"\\Seen"} and 3 not in far and len(far) == 239, far[2]
assert digest(made, ADDED) in [known for _, known in messages(NESTED[1], ADDED).values()]
assert [known for _, known in messages("Größe", ADDED).values()] == [digest(letter("in a new folder"), ADDED)]
assert in_step("INBOX") == 239 and in_step(NESTED[1]) == 21

# There: flags, deletions, a move, a new message, a new folder.
ok(imap.select("INBOX"))
ok(imap.uid("STORE", "10:19", "+FLAGS.SILENT", r"(\Answered)"))
ok(imap.uid("STORE", "20:29", "+FLAGS.SILENT", r"(\Deleted)"))
ok(imap.expunge())
ok(imap.uid("MOVE", "30:34", quoted(NESTED[2])))
append(imap, "INBOX", letter("late"), r"(\Draft)")
ok(imap.create(quoted("Später")))
append(imap, "Später", letter("later"))
sync()
assert in_step("INBOX") == 225 and in_step(NESTED[2]) == 25 and in_step("Später") == 1
# What is in step stays as it is.
before = {file for file in near.rglob("*") if file.is_file()}
sync()
assert {file for file in near.rglob("*") if file.is_file()} == before
print("a whole job")
