# mutt 2.2 with a header cache: flags, a copy, a move, a deletion; what another client did meanwhile, and QRESYNC where it came back.
(OWN / "cache").mkdir()
(OWN / "rc").write_text(f"""
set imap_user="{USER}" imap_pass="{PASSWORD}"
set folder="imaps://localhost:{IMAPS}/" spoolfile="+INBOX" record="" postponed="+Drafts" mbox="+INBOX"
set header_cache="{OWN}/cache" message_cachedir="{OWN}/bodies"
set certificate_file="{CERTIFICATE}"
set imap_authenticators="scram-sha-256"
set imap_condstore=yes imap_qresync=yes
set confirmappend=no confirmcreate=no delete=yes quit=yes move=no mark_old=no sort=mailbox-order wait_key=no
set status_format="HAS %m FLAGGED %F END"
""")
(OWN / "bodies").mkdir()
def mutt(keys, folder="INBOX"):
    "Opens the folder, presses the keys, and leaves; what was shown, and what was sent and received."
    shown = on_a_terminal("mutt", "-n", "-F", OWN / "rc", "-d", "3", "-f", f"+{folder}", "-e", f"push '{keys}<quit>'")
    # mutt writes its trace there, and puts the last one aside.
    return shown, (OWN / ".muttdebug0").read_bytes()
def flagged(folder):
    return {uid: flags for uid, (flags, _) in messages(folder).items() if flags}

sent = [letter(f"letter {number}", 1 + number) for number in range(1, 41)]
fill("INBOX", [(message, b"") for message in sent])
imap = witness()
ok(imap.create(quoted("Ablage/Größe")))

# Flags and a deletion.
shown, trace = mutt("<jump>2<enter><flag-message><jump>4<enter><set-flag>r<jump>5<enter><delete-message>")
assert b"HAS 40 " in shown and b"FETCH 1:40 (UID FLAGS INTERNALDATE RFC822.SIZE" in trace, (shown, trace[-3000:])
assert b"AUTHENTICATE SCRAM-SHA-256 " in trace, trace[:3000]
assert flagged("INBOX") == {2: {b"\\Flagged"}, 4: {b"\\Answered", b"\\Seen"}} and 5 not in messages("INBOX")

# One that is read, a copy of ten, and one that is moved. Nothing is fetched that the cache has.
save = "<kill-line>=Ablage/Größe<enter>"
shown, trace = mutt("<jump>7<enter><display-message><exit><tag-pattern>~m 10-19<enter><tag-prefix><copy-message>" + save
                    + "<untag-pattern>.<enter><jump>30<enter><save-message>" + save)
assert b"UID FETCH 1:40 (FLAGS) (CHANGEDSINCE " in trace and b" VANISHED)" in trace, trace[-6000:]
assert b"BODY.PEEK[HEADER" not in trace, trace[-6000:]
there = messages("Ablage/Größe")
assert [known for _, known in there.values()] == [digest(message) for message in sent[10:20] + [sent[30]]]
now = messages("INBOX")
assert len(now) == 38 and 31 not in now and now[8][0] == {b"\\Seen"}, now[8]

# What another client did meanwhile is there, by what vanished and what has changed; the new one alone is fetched.
ok(imap.select("INBOX"))
ok(imap.uid("STORE", "20:22", "+FLAGS.SILENT", r"(\Deleted)"))
ok(imap.expunge())
ok(imap.uid("STORE", "25:26", "+FLAGS.SILENT", r"(\Flagged)"))
append(imap, "INBOX", letter("late"))
shown, trace = mutt("")
assert b"VANISHED (EARLIER) " in trace and b"20:22" in trace, trace[-6000:]
assert re.findall(rb"a\d+ FETCH ([0-9:,]+) \(UID FLAGS INTERNALDATE", trace) in ([b"36"], [b"36:36"]), trace[-6000:]
assert b"HAS 36 FLAGGED 3 " in shown, (shown, trace[-3000:])

# The folder with the other name, whole, with a deletion of all.
shown, trace = mutt("<delete-pattern>~A<enter>", "Ablage/Größe")
assert b"HAS 11 " in shown and messages("Ablage/Größe") == {}, (shown, trace[-3000:])
print("a whole job")
