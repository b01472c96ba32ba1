//! What one account holds and another gets meanwhile (appliance/plan/LIMITS.md): a reader who does not read.

use crate::daemon::{ALICE, BOB, Home, PASSWORD};
use crate::operator::with_password;
use crate::sessions::story;

/// Alice FETCHes a large message on more connections than her share pays for and takes nothing. Bob reads, searches and appends as ever, and
/// so does Alice on one connection more. When she reads at last, every byte is as it was.
#[test]
fn a_reader_who_does_not_read_takes_nothing_from_others() {
    let home = Home::new();
    home.configure(&format!(
        "imap = [\"{}\"]\n[login]\nplaintext = \"loopback\"\n[memory]\nread = \"66MiB\"\nsend = \"18MiB\"\n\
         [[domain]]\nname = \"example.org\"\n",
        home.imap()
    ));
    let _daemon = home.start();
    for account in [ALICE, BOB] {
        with_password(&home, &["account", "add", account], PASSWORD);
    }
    story(
        &home,
        r#"
import base64, random
random.seed(7)
def large(size, subject="large"):
    lines = (base64.b64encode(random.randbytes(57)) for _ in range(size // 78))
    return letter(subject) + b"\r\n".join(lines) + b"\r\n"
whole = large(12_000_000)
part = base64.b64encode(random.randbytes(3_000_000))
coded = b"\r\n".join(part[at:at + 76] for at in range(0, len(part), 76)) + b"\r\n"
mixed = (b"Subject: mixed\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
         b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + coded + b"\r\n--b--\r\n")
class Slow(Raw):
    def __init__(self):
        super().__init__()
        self.cmd("SELECT INBOX")
    def begin(self, text):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
        self.text = text
        self.socket.sendall(b"slow " + text.encode() + b"\r\n")
        # It is under way, and stands still from here on.
        self.first = self.file.readline()
    def end(self):
        size = int(re.search(rb"\{(\d+)\}\r\n$", self.first).group(1))
        content = self.file.read(size)
        assert self.file.readline().startswith(b")")
        assert self.response().startswith(b"slow OK"), self.text
        return content
a = Raw()
a.append("INBOX", whole)
a.append("INBOX", mixed)
a.append("INBOX", letter("small"))
forms = ["FETCH 1 BODY.PEEK[]"] * 4 + ["FETCH 1 BODY.PEEK[TEXT]", "FETCH 1 BODY.PEEK[]<1000.9000000>",
    "FETCH 2 BINARY.PEEK[2]", "FETCH 2 BODY.PEEK[2]"]
slow = []
for form in forms:
    reader = Slow()
    reader.begin(form)
    slow.append(reader)

b = Raw("bob@example.org")
b.cmd("SELECT INBOX")
middling, big = large(100_000), large(5_000_000)
for message in [middling, big, letter("needle")]:
    b.append("INBOX", message)
assert middling in b.cmd("FETCH 1 BODY.PEEK[]")[0]
assert big in b.cmd("FETCH 2 BODY.PEEK[]")[0]
assert b"* SEARCH 3" in b.cmd("SEARCH BODY \"of needle\"")[0]
assert b"Subject: needle" in b.cmd("FETCH 1:* BODY.PEEK[HEADER]")[0]

# Her own share is spent, and she still gets everything.
a.cmd("SELECT INBOX")
assert letter("small") in a.cmd("FETCH 3 BODY.PEEK[]")[0]
assert whole in a.cmd("FETCH 1 BODY.PEEK[]")[0]
assert b"* SEARCH 3" in a.cmd("SEARCH BODY \"of small\"")[0]

text = whole[whole.index(b"\r\n\r\n") + 4:]
wanted = [whole] * 4 + [text, whole[1000:9001000], base64.b64decode(part), coded[:-2]]
for form, reader, content in zip(forms, slow, wanted):
    got = reader.end()
    assert got == content or got == content + b"\r\n", (form, len(got), len(content))
"#,
    );
}
