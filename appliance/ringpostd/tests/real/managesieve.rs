//! ManageSieve as a program speaks it that we did not write the server's side of: Python's sockets and TLS, on the daemon that is shipped; and the same
//! scripts by `ringpostctl sieve`, over a restart.

use std::fs;

use crate::clients::python;
use crate::daemon::{ALICE, Home, said};

/// Where trial mode has it.
const MANAGESIEVE: u16 = 490;

/// A client of the protocol in a few lines: answers are read as the grammar of RFC 5804 §4 has them.
const CLIENT: &str = r#"
import base64, socket, ssl, sys
PORT = int(sys.argv[1])

class Sieve:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=60)
        self.file = self.socket.makefile("rb")
        self.capabilities = self.answer()
    def line(self):
        "One line, its literals put in their places."
        line = self.file.readline()
        assert line.endswith(b"\r\n"), line
        line = line[:-2]
        if line.endswith(b"}"):
            head, _, count = line[:-1].rpartition(b"{")
            return head + self.file.read(int(count)) + self.line()
        return line
    def answer(self):
        lines = []
        while True:
            line = self.line()
            lines.append(line)
            if line.split(b" ")[0] in (b"OK", b"NO", b"BYE"):
                return lines
    def ask(self, command):
        self.socket.sendall(command + b"\r\n")
        return self.answer()
    def ok(self, command):
        lines = self.ask(command)
        assert lines[-1].startswith(b"OK"), (command[:80], lines)
        return lines[:-1]
    def starttls(self):
        assert b'"STARTTLS"' in self.capabilities, self.capabilities
        self.ok(b"STARTTLS")
        context = ssl._create_unverified_context()
        self.socket = context.wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")
        self.capabilities = self.answer()
        assert b'"STARTTLS"' not in self.capabilities
        return self
    def login(self, user, password=b"ringpost"):
        plain = base64.b64encode(b"\0" + user + b"\0" + password)
        return self.ask(b'AUTHENTICATE "PLAIN" "' + plain + b'"')[-1]

def put(name, text):
    return b'PUTSCRIPT "%s" {%d+}\r\n%s' % (name, len(text), text)

LARGE = b'require "fileinto";\r\n' + b"".join(
    b'if header :contains "subject" "list %05d" { fileinto "lists/%05d"; }\r\n' % (n, n) for n in range(1500))
"#;

/// Everything that the protocol has, once.
const FIRST: &str = r#"
sieve = Sieve().starttls()
assert any(line.startswith(b'"SIEVE" "') and b"fileinto" in line for line in sieve.capabilities)
assert b'"VERSION" "1.0"' in sieve.capabilities
assert sieve.login(b"alice@example.org", b"wrong").startswith(b"NO")
assert sieve.login(b"alice@example.org").startswith(b"OK")
assert b'"OWNER" "alice@example.org"' in sieve.ok(b"CAPABILITY")
sieve.ok(b'HAVESPACE "large" %d' % len(LARGE))
sieve.ok(put(b"large", LARGE))
sieve.ok(put(b"main", b"keep;\r\n"))
sieve.ok(b'SETACTIVE "main"')
wrong = sieve.ask(put(b"main", b"if true {\r\n  kep;\r\n}\r\n"))
assert wrong[-1].startswith(b'NO "line 2'), wrong
assert sieve.ask(b'DELETESCRIPT "main"')[-1].startswith(b"NO (ACTIVE)")
assert sieve.ask(b'GETSCRIPT "other"')[-1].startswith(b"NO (NONEXISTENT)")
assert sieve.ask(put(b"huge", b"x" * 300000))[-1].startswith(b"NO (QUOTA/MAXSIZE)")
sieve.ok(b'RENAMESCRIPT "main" "rules"')
assert sieve.ok(b"LISTSCRIPTS") == [b'"large"', b'"rules" ACTIVE']
assert sieve.ask(b'NOOP "sync"') == [b'OK (TAG "sync") "NOOP completed"']
# Pipelined, and a second login on the same connection.
sieve.socket.sendall(b'CHECKSCRIPT "keep;"\r\nUNAUTHENTICATE\r\nLISTSCRIPTS\r\n')
answers = [sieve.answer()[-1] for _ in range(3)]
assert [answer[:2] for answer in answers] == [b"OK", b"OK", b"NO"], answers
assert sieve.login(b"bob@example.org").startswith(b"OK")
assert sieve.ok(b"LISTSCRIPTS") == []
sieve.ok(b"LOGOUT")
assert sieve.file.read() == b""
print("done")
"#;

/// After the restart.
const SECOND: &str = r#"
sieve = Sieve().starttls()
assert sieve.login(b"alice@example.org").startswith(b"OK")
assert sieve.ok(b"LISTSCRIPTS") == [b'"large"', b'"rules"', b'"admin" ACTIVE']
assert sieve.ok(b'GETSCRIPT "large"') == [LARGE]
assert sieve.ok(b'GETSCRIPT "admin"') == [b"stop;\n"]
sieve.ok(b'SETACTIVE ""')
sieve.ok(b'DELETESCRIPT "admin"')
print("done")
"#;

/// A verb about alice's scripts.
fn of<'a>(verb: &[&'a str]) -> Vec<&'a str> {
    [&["sieve"], verb, &["--account", ALICE]].concat()
}

#[test]
fn scripts_are_stored_by_programs_and_by_the_operator_and_outlive_a_restart() {
    let home = Home::new();
    let daemon = home.start();
    let port = home.port(MANAGESIEVE);
    let client = CLIENT.replace("int(sys.argv[1])", &port.to_string());
    assert_eq!(python(&home, &format!("{client}{FIRST}")).trim(), "done");
    let metrics = home.ctl_ok(&["metrics"]);
    for (counter, value) in [
        ("logins", 2),
        ("logins_refused", 1),
        ("stored", 2),
        ("invalid", 1),
    ] {
        let line = format!("_managesieve_{counter}_total {value}\n");
        assert!(metrics.contains(&line), "{line}");
    }

    let file = home.directory.path().join("admin.sieve");
    fs::write(&file, "stop;\n").expect("our own file");
    let path = file.to_str().expect("text");
    home.ctl_ok(&of(&["put", "admin", path, "--activate"]));
    let listed = home.ctl_ok(&[&["--json"], &of(&["list"])[..]].concat());
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let active: Vec<&str> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter(|line| line["active"] == true)
        .filter_map(|line| line["name"].as_str())
        .collect();
    assert_eq!(active, ["admin"]);
    assert_eq!(home.ctl_ok(&of(&["show"])).trim(), "stop;");
    let refused = home.ctl(&of(&["remove", "admin"]));
    assert!(!refused.status.success());
    assert!(said(&refused).contains("deactivate"), "{}", said(&refused));
    for whose in [&["--domain", "example.org"][..], &["--global"]] {
        home.ctl_ok(&[&["sieve", "put", "all", path, "--activate"], whose].concat());
        home.ctl_ok(&[&["sieve", "deactivate"], whose].concat());
        home.ctl_ok(&[&["sieve", "activate", "all"], whose].concat());
    }
    home.ctl_ok(&["sieve", "check", path]);
    fs::write(&file, "kepp;\n").expect("our own file");
    let wrong = home.ctl(&["sieve", "check", path]);
    assert!(
        said(&wrong).contains("line 1, column 1"),
        "{}",
        said(&wrong)
    );

    assert!(daemon.stop().success());
    let _daemon = home.start();
    assert_eq!(python(&home, &format!("{client}{SECOND}")).trim(), "done");
    for whose in [&["--domain", "example.org"][..], &["--global"]] {
        let text = home.ctl_ok(&[&["sieve", "show"], whose].concat());
        assert_eq!(text.trim(), "stop;");
        let other = home.ctl(&[&["sieve", "show", "other"], whose].concat());
        assert!(!other.status.success());
    }
}
