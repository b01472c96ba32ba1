# sieve-connect brings a script, makes it the active one, and takes it back; mail is filed by it meanwhile.
SCRIPT = 'require ["fileinto", "mailbox"];\r\nif header :contains "subject" "Größe" { fileinto :create "Größen"; stop; }\r\n'
OTHER = "keep;\r\n"
(OWN / "main.sieve").write_bytes(SCRIPT.encode())
(OWN / "other.sieve").write_bytes(OTHER.encode())
(OWN / "wrong.sieve").write_bytes(b"if true {\r\n  kepp;\r\n}\r\n")
def sieve(*words, wanted=0):
    return run("sieve-connect", "--server", "localhost", "--port", SIEVE, "--user", USER, "--passwordfd", "0", "--tlscafile", CERTIFICATE,
               *words, input=PASSWORD.encode() + b"\n", wanted=wanted)
def listed():
    return sieve("--list")
def deliver(subject):
    with smtplib.LMTP("127.0.0.1", LMTP) as lmtp:
        lmtp.sendmail("ann@example.net", [USER], letter(subject))

sieve("--upload", "--localsieve", OWN / "main.sieve", "--remotesieve", "main")
sieve("--upload", "--localsieve", OWN / "other.sieve", "--remotesieve", "other")
assert "ACTIVE" not in listed() and '"main"' in listed() and '"other"' in listed(), listed()
refused = sieve("--upload", "--localsieve", OWN / "wrong.sieve", "--remotesieve", "wrong", wanted=1)
assert "line 2" in refused and "wrong" not in listed(), refused
sieve("--checkscript", "--localsieve", OWN / "other.sieve")
deliver("Die Größe vorher")
sieve("--activate", "--remotesieve", "main")
assert re.search(r'"main"\s.*ACTIVE', listed()), listed()
deliver("Die Größe nachher")
deliver("anderes")
assert messages("Größen").keys() == {1} and messages("INBOX").keys() == {1, 2}
# What is active is not deleted.
sieve("--delete", "--remotesieve", "main", wanted=1)
sieve("--download", "--remotesieve", "main", "--localsieve", OWN / "back.sieve")
assert (OWN / "back.sieve").read_bytes().replace(b"\r\n", b"\n") == SCRIPT.encode().replace(b"\r\n", b"\n")
sieve("--deactivate")
sieve("--delete", "--remotesieve", "main")
assert "main" not in listed() and '"other"' in listed(), listed()
deliver("Die Größe am Ende")
assert messages("Größen").keys() == {1} and messages("INBOX").keys() == {1, 2, 3}
print("a whole job")
