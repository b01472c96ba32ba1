# What the jobs of other people's programs share: where the daemon is, imaplib as the witness, and messages with digests.
# Arguments: the base of the daemon's ports, a directory of the job's own, the certificate of trial mode.
import base64, hashlib, imaplib, os, pathlib, re, smtplib, ssl, subprocess, sys

BASE, OWN, CERTIFICATE = int(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
IMAP, IMAPS, POP3S, SIEVE, LMTP = (BASE + port for port in [143, 993, 995, 490, 24])
USER, PASSWORD = "alice@example.org", "ringpost"
# Programs ask for files with passwords that no other user can read.
os.umask(0o077)
# No program finds settings of the person that runs the tests, nor other words than English.
os.environ.update(HOME=str(OWN), XDG_CONFIG_HOME=str(OWN / "config"), LC_ALL="C.UTF-8")

def run(*words, input=None, wanted=0):
    "Runs a program to its end; its words. It must end with the status that is wanted."
    ended = subprocess.run([str(word) for word in words], input=input, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=400)
    said = ended.stdout.decode("utf-8", "replace")
    # A job that is ended from outside shows how far it came.
    print("ran", *words[:4], flush=True)
    assert ended.returncode == wanted, f"{words} ended with {ended.returncode}:\n{said[-4000:]}"
    return said

def ok(answer):
    kind, data = answer
    assert kind == "OK", answer
    return data

def witness(folder=None, user=USER):
    "A second client of the account."
    imap = imaplib.IMAP4("127.0.0.1", IMAP)
    ok(imap.login(user, PASSWORD))
    if folder is not None:
        ok(imap.select(quoted(folder)))
    return imap

def utf7(name):
    "RFC 3501 §5.1.3."
    def shifted(match):
        return "&" + base64.b64encode(match.group().encode("utf-16-be")).rstrip(b"=").decode().replace("/", ",") + "-"
    return re.sub("[^ -~]+", shifted, name.replace("&", "&-"))

def quoted(name):
    return '"' + utf7(name).replace("\\", "\\\\").replace('"', '\\"') + '"'

def letter(subject, lines=3):
    text = "".join(f"line {number} of {subject}, gr\u00fc\u00dfe\r\n" for number in range(lines))
    head = (f"From: Ann <ann@example.net>\r\nTo: {USER}\r\nSubject: {subject}\r\nDate: Tue, 1 Jul 2025 23:52:37 +0200\r\n"
            f"Message-ID: <{hashlib.sha256(subject.encode()).hexdigest()[:24]}@example.net>\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
    return (head + text + ".\r\n..dots\r\n").encode()

def append(imap, folder, message, flags=None):
    ok(imap.append(quoted(folder), flags, None, message))

def fill(folder, letters):
    "Many messages in few APPENDs (RFC 3502), each with its flags."
    imap = witness()
    for at in range(0, len(letters), 32):
        parts = b" ".join(b"(%s) {%d+}\r\n%s" % (flags, len(message), message) for message, flags in letters[at:at + 32])
        imap.send(b"fill APPEND " + quoted(folder).encode() + b" " + parts + b"\r\n")
        while not (line := imap.readline()).startswith(b"fill "):
            assert line.startswith(b"*"), line
        assert line.startswith(b"fill OK"), line
    imap.logout()

def digest(message, without=()):
    "Of a message whatever the ends of its lines, without the fields that a program adds of its own."
    head, _, body = message.replace(b"\r\n", b"\n").partition(b"\n\n")
    fields = re.split(rb"\n(?![ \t])", head)
    kept = [field for field in fields if field.split(b":")[0].lower() not in without]
    return hashlib.sha256(b"\n".join(kept) + b"\n\n" + body).hexdigest()

def messages(folder, without=()):
    "What the server has: by UID the flags and the digest."
    imap = witness(folder)
    found = {}
    for part in ok(imap.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")):
        if isinstance(part, tuple):
            uid = int(re.search(rb"UID (\d+)", part[0]).group(1))
            flags = re.search(rb"FLAGS \(([^)]*)\)", part[0]).group(1).split()
            found[uid] = (set(flags) - {b"\\Recent"}, digest(part[1], without))
    imap.logout()
    return found

def maildir(path, without=()):
    "What a Maildir has: by digest the letters of the flags. Each message is there once."
    found = {}
    for file in [*path.glob("cur/*"), *path.glob("new/*")]:
        known = digest(file.read_bytes(), without)
        assert known not in found, file
        found[known] = set(file.name.partition(":2,")[2])
    return found
