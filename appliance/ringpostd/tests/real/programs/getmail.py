# getmail 6: POP3 inside TLS, mail left on the server and fetched once, then deleted; IMAP inside TLS with a deletion.
ADDED = {b"return-path", b"delivered-to", b"received", b"x-getmail-retrieved-from-mailbox"}
sent = [letter(f"for getmail {number}", 1 + 11 * number) for number in range(8)] + [
    b"Subject: no end\r\n\r\nbody", b"Subject: long\r\n\r\n" + b".0123456789" * 90 + b"\r\n",
    b"Subject: large\r\nX-Folded: one\r\n two\r\n\r\n" + b"..0123456789\r\n" * 50000]
def settings(name, kind, port, options, more=""):
    box = OWN / name
    for part in ["cur", "new", "tmp"]:
        (box / part).mkdir(parents=True)
    (OWN / f"{name}.rc").write_text(f"""
[retriever]
type = {kind}
server = 127.0.0.1
port = {port}
username = {USER}
password = {PASSWORD}
{more}
[destination]
# getmail as root writes no mail itself; the tests may be root.
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat > $(mktemp {box}/new/XXXXXXXXXX)")
allow_root_commands = true
unixfrom = false
[options]
verbose = 2
delivered_to = false
received = false
{options}
""")
    return box
def fetched(name, count):
    said = run("getmail", "--getmaildir", OWN, "--rcfile", f"{name}.rc")
    assert f"{count} messages" in said and "rror" not in said, said
def whole(message):
    "A client writes the end of the last line, if there was none."
    return digest(message if message.endswith(b"\n") else message + b"\r\n", ADDED)
wanted = {whole(message) for message in sent}

for message in sent:
    append(witness(), "INBOX", message)
left = settings("left", "SimplePOP3SSLRetriever", POP3S, "delete = false\nread_all = false")
fetched("left", 11)
assert set(maildir(left, ADDED)) == wanted and len(messages("INBOX")) == 11
fetched("left", 0)
sent.append(letter("one more"))
wanted.add(whole(sent[-1]))
append(witness(), "INBOX", sent[-1])
fetched("left", 1)
assert set(maildir(left, ADDED)) == wanted and len(messages("INBOX")) == 12

# By IMAP: only one folder of two, and what was fetched goes.
imap = witness()
ok(imap.create("Lists"))
append(imap, "Lists", letter("stays"))
ok(imap.select("INBOX"))
ok(imap.uid("COPY", "1:6", "Lists"))
taken = settings("taken", "SimpleIMAPSSLRetriever", IMAPS, "delete = true", 'mailboxes = ("Lists",)')
fetched("taken", 7)
assert set(maildir(taken, ADDED)) == {whole(message) for message in [*sent[:6], letter("stays")]}
assert messages("Lists") == {} and len(messages("INBOX")) == 12

gone = settings("gone", "SimplePOP3SSLRetriever", POP3S, "delete = true")
fetched("gone", 12)
assert set(maildir(gone, ADDED)) == wanted and messages("INBOX") == {}
fetched("gone", 0)
print("a whole job")
