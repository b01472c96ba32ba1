//! COMPRESS=DEFLATE over TLS with Python's imaplib and zlib: a whole job, with every way to flush and every cut.

use crate::clients::python;
use crate::daemon::Home;

/// imaplib under which zlib is put, as programs do that have COMPRESS.
const COMPRESSED: &str = r#"
import imaplib, ssl, sys, zlib, io, re, threading
class Packed:
    def __init__(self, sock, flush):
        self.sock, self.flush_kind = sock, flush
        self.packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        self.unpacker = zlib.decompressobj(-15)
        self.buffer = b""
    def sendall(self, data, each=0):
        wire = self.packer.compress(data) + self.packer.flush(self.flush_kind)
        for at in range(0, len(wire), each or len(wire)):
            self.sock.sendall(wire[at:at + (each or len(wire))])
    send = sendall
    def more(self):
        wire = self.sock.recv(65536)
        assert wire, "the connection ended"
        self.buffer += self.unpacker.decompress(wire)
    def readline(self):
        while b"\n" not in self.buffer: self.more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"
    def read(self, size):
        while len(self.buffer) < size: self.more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def compressed(flush):
    imap = imaplib.IMAP4_SSL("127.0.0.1", int(sys.argv[4]), ssl_context=context)
    imap.login("alice@example.org", "ringpost")
    assert "COMPRESS=DEFLATE" in str(imap.capability()), imap.capability()
    imaplib.Commands.setdefault("COMPRESS", ("AUTH", "SELECTED"))
    kind, told = imap._simple_command("COMPRESS", "DEFLATE")
    assert kind == "OK", told
    packed = Packed(imap.sock, flush)
    imap.send, imap.read, imap.readline = packed.sendall, packed.read, packed.readline
    return imap, packed
"#;

fn story(home: &Home, program: &str) {
    python(home, &format!("{COMPRESSED}\n{program}"));
}

#[test]
fn a_whole_job_goes_through_compression_inside_tls() {
    let home = Home::new();
    let _daemon = home.start();
    story(
        &home,
        r#"
for flush in [zlib.Z_SYNC_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_FULL_FLUSH]:
    imap, packed = compressed(flush)
    assert imap.select("INBOX")[0] == "OK"
    import random
    noise = random.Random(7)
    lines = "".join("%064x and the same again\r\n" % noise.getrandbits(256) for _ in range(59000))
    large = ("Subject: five megabytes %d\r\n\r\n" % flush + lines).encode()
    assert len(large) > 5_000_000
    assert imap.append("INBOX", None, None, large)[0] == "OK"
    assert imap.append("INBOX", None, None, b"Subject: small %d\r\n\r\nfind me\r\n" % flush)[0] == "OK"
    kind, found = imap.search(None, "SUBJECT", '"five megabytes %d"' % flush)
    number = found[0].split()[-1].decode()
    kind, told = imap.fetch(number, "(BODY.PEEK[])")
    assert told[0][1] == large, "the message is not what it was"
    # IDLE is notified of a message that another session brings.
    packed.sendall(b"i IDLE\r\n")
    assert packed.readline().startswith(b"+ ")
    other = imaplib.IMAP4_SSL("127.0.0.1", int(sys.argv[4]), ssl_context=context)
    other.login("alice@example.org", "ringpost")
    assert other.append("INBOX", None, None, b"Subject: idle\r\n\r\nx\r\n")[0] == "OK"
    assert b" EXISTS" in packed.readline()
    other.logout()
    packed.sendall(b"DONE\r\n")
    while not packed.readline().startswith(b"i OK"): pass
    assert imap.logout()[0] == "BYE"
"#,
    );
}

/// A server whose inflate waits for more than the flush hangs here.
#[test]
fn commands_are_heard_whatever_the_flush_and_the_cut() {
    let home = Home::new();
    let _daemon = home.start();
    story(
        &home,
        r#"
for flush in [zlib.Z_SYNC_FLUSH, zlib.Z_PARTIAL_FLUSH]:
    imap, packed = compressed(flush)
    for each in range(1, 24):
        for text in [b"SELECT INBOX", b"NOOP", b"STATUS INBOX (MESSAGES UIDNEXT)", b'LIST "" *', b"NOOP"]:
            packed.sendall(b"c " + text + b"\r\n", each)
            while True:
                line = packed.readline()
                if line.startswith(b"c "): break
            assert line.startswith(b"c OK"), (text, line)
"#,
    );
}

#[test]
fn a_bomb_ends_one_connection_and_no_other() {
    let home = Home::new();
    let _daemon = home.start();
    story(
        &home,
        r#"
imap, packed = compressed(zlib.Z_SYNC_FLUSH)
beside, _ = compressed(zlib.Z_SYNC_FLUSH)
command = b"c NOOP" + b" " * 65000 + b"\r\n"
for _ in range(1000):
    packed.sendall(command)
    line = packed.readline()
    if line.startswith(b"* BYE"): break
assert b"expands" in line, line
assert beside.noop()[0] == "OK"
"#,
    );
}
