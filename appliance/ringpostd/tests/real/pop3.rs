//! POP3 clients that we did not write, each with a whole job: fetch and delete; leave on the server and fetch again over a restart, without doubles.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::connect;
use crate::daemon::{ALICE, BOB, Home, PASSWORD, bounded, files_below, said};
use crate::ledger::Ledger;

const POP3: u16 = 110;
const POP3S: u16 = 995;

/// curl as `user`, against `url` without its scheme.
fn curl(user: &str, more: &[&str]) -> Output {
    let login = format!("{user}:{PASSWORD}");
    let mut arguments = vec!["--silent", "--show-error", "--insecure", "--user", &login];
    arguments.extend(more);
    bounded(Command::new("curl").args(arguments))
}

fn curl_ok(user: &str, more: &[&str]) -> String {
    let output = curl(user, more);
    assert!(output.status.success(), "curl {more:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// A file that only we can read, as clients ask for files with passwords.
fn settings(home: &Home, name: &str, text: &str) -> PathBuf {
    let path = home.directory.path().join(name);
    fs::write(&path, text).expect("our own file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
    path
}

/// A Maildir that is there, and empty.
fn maildir(home: &Home, name: &str) -> PathBuf {
    let path = home.directory.path().join(name);
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(folder)).expect("our own folder");
    }
    path
}

/// The messages below a folder, with the line ends of the network: clients write those of the system.
fn letters(folder: &Path) -> Vec<Vec<u8>> {
    let files = files_below(folder).into_iter();
    files
        .map(|path| network(&fs::read_to_string(path).expect("text")).into_bytes())
        .collect()
}

fn network(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

/// How many messages INBOX has.
fn count(home: &Home, user: &str) -> usize {
    let mut imap = connect::imap(home.imap(), user, PASSWORD).expect("login");
    imap.select("INBOX").expect("INBOX");
    imap.messages().expect("FETCH").len()
}

#[test]
fn curl_lists_reads_and_deletes_with_and_without_tls() {
    let home = Home::new();
    let _daemon = home.start();
    let ledger = Ledger::of(ALICE);
    ledger.fill(home.smtp(), 3, 2_000);
    let (plain, inside) = (
        format!("pop3://{}", home.at(POP3)),
        format!("pop3s://{}", home.at(POP3S)),
    );
    let mut read = Vec::new();
    for (number, options) in [
        (1, &["--login-options", "AUTH=PLAIN"][..]),
        (2, &["--login-options", "AUTH=LOGIN", "--ssl-reqd"]),
        (3, &[]),
    ] {
        let url = match number {
            3 => format!("{inside}/{number}"),
            _ => format!("{plain}/{number}"),
        };
        let mut arguments = options.to_vec();
        arguments.push(&url);
        read.push(curl_ok(ALICE, &arguments).into_bytes());
    }
    ledger.check_files(&read);
    let listed = curl_ok(ALICE, &[&format!("{inside}/")]);
    let sizes: Vec<String> = std::iter::zip(1.., &read)
        .map(|(number, letter)| format!("{number} {}", letter.len()))
        .collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), sizes);
    let delete = ["--list-only", "--request", "DELE", &format!("{plain}/2")];
    curl_ok(ALICE, &delete);
    let ids = curl_ok(ALICE, &["--request", "UIDL", &format!("{plain}/")]);
    assert_eq!((ids.lines().count(), count(&home, ALICE)), (2, 2));
    let wrong = bounded(Command::new("curl").args([
        "--silent",
        "--show-error",
        "--user",
        "alice@example.org:wrong",
        &format!("{plain}/"),
    ]));
    // CURLE_LOGIN_DENIED.
    assert_eq!(wrong.status.code(), Some(67), "{}", said(&wrong));
}

/// What Python's library can ask, on both ports; what it is told of sizes is what it gets.
const POPLIB: &str = r#"
import imaplib, poplib, ssl, sys
POP3, POP3S, IMAP = map(int, sys.argv[1:4])
context = ssl._create_unverified_context()
imap = imaplib.IMAP4("127.0.0.1", IMAP)
imap.login("bob@example.org", "ringpost")
raw = [b"Subject: one\r\n\r\n.\r\n..dots\r\n", b"Subject: no end\r\n\r\nbody", b"Subject: lone\n\nline\n.\nfeeds\n",
       "Subject: gr\u00fc\u00dfe\r\n\r\n\u00fc\r\n".encode(), b"Subject: large\r\n\r\n" + b".0123456789\r\n" * 100000]
for one in raw:
    literal = b"t APPEND INBOX {%d+}\r\n" % len(one)
    imap.send(literal + one + b"\r\n")
    while not imap.readline().startswith(b"t OK"):
        pass

def login(kind):
    if kind == "pop3s":
        pop = poplib.POP3_SSL("127.0.0.1", POP3S, context=context, timeout=60)
    else:
        pop = poplib.POP3("127.0.0.1", POP3, timeout=60)
        if kind == "stls":
            assert "STLS" in pop.capa()
            pop.stls(context=context)
            assert "STLS" not in pop.capa()
    assert pop.utf8().startswith(b"+OK")
    pop.user("bob@example.org")
    pop.pass_("ringpost")
    return pop

ids = None
for kind in ["pop3", "stls", "pop3s"]:
    pop = login(kind)
    capabilities = pop.capa()
    assert capabilities["EXPIRE"] == ["NEVER"], capabilities
    bound = [] if kind == "pop3" else ["SCRAM-SHA-256-PLUS"]
    assert capabilities["SASL"] == ["PLAIN", "LOGIN", "SCRAM-SHA-256"] + bound, capabilities
    messages, octets = pop.stat()
    assert messages == 5
    sizes = [int(line.split()[1]) for line in pop.list()[1]]
    assert sum(sizes) == octets
    told = [line.split()[1] for line in pop.uidl()[1]]
    assert len(set(told)) == 5 and told == (ids or told)
    ids = told
    for number, one in enumerate(raw, 1):
        lines = pop.retr(number)[1]
        got = b"".join(line + b"\r\n" for line in lines)
        assert len(got) == sizes[number - 1] == int(pop.list(number).split()[2]), (kind, number)
        assert got == (one if one.endswith(b"\n") else one + b"\n").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        assert pop.top(number, 0)[1] == lines[:2] and pop.top(number, 1)[1] == lines[:3]
        assert pop.uidl(number).split()[2] == ids[number - 1]
    pop.dele(1)
    for refused in [lambda: pop.retr(1), lambda: pop.dele(1), lambda: pop.retr(6), lambda: pop.apop("bob", "x")]:
        try:
            refused()
        except poplib.error_proto:
            continue
        raise AssertionError(kind)
    assert pop.stat()[0] == 4
    pop.rset()
    assert pop.stat()[0] == 5
    pop.quit()
pop = login("pop3")
pop.dele(2)
pop.close()
pop = login("pop3s")
assert pop.stat()[0] == 5, "no QUIT, no deletion"
for number in [1, 3, 5]:
    pop.dele(number)
pop.quit()
pop = login("stls")
assert [line.split()[1] for line in pop.uidl()[1]] == [ids[1], ids[3]]
pop.quit()
"#;

#[test]
fn pythons_poplib_gets_what_it_is_told_on_every_port() {
    let home = Home::new();
    let _daemon = home.start();
    let ports = [POP3, POP3S, 143].map(|port| home.port(port).to_string());
    let output = bounded(Command::new("python3").args(["-c", POPLIB]).args(ports));
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(count(&home, BOB), 2);
}

#[test]
fn mpop_leaves_mail_on_the_server_and_fetches_it_once_over_restarts() {
    let home = Home::new();
    let daemon = home.start();
    let ledger = Ledger::of(ALICE);
    ledger.fill(home.smtp(), 5, 3_000);
    let near = maildir(&home, "near");
    let rc = |name: &str, tls: &str, keep: &str| {
        let text = format!(
            "account default\nhost 127.0.0.1\n{tls}\ntls_certcheck off\nuser {ALICE}\npassword {PASSWORD}\n\
             delivery maildir {}\nuidls_file {}\nreceived_header off\nkeep {keep}\n",
            near.display(),
            home.directory.path().join("uidls").display(),
        );
        settings(&home, name, &text)
    };
    let fetch = |rc: &Path| {
        let output = bounded(Command::new("mpop").arg("--file").arg(rc));
        assert!(output.status.success(), "mpop: {}", said(&output));
    };
    let inside = format!(
        "port {}\ntls on\ntls_starttls off\nauth plain",
        home.port(POP3S)
    );
    let stls = format!(
        "port {}\ntls on\ntls_starttls on\nauth login",
        home.port(POP3)
    );
    let keeps = rc("keeps", &inside, "on");
    fetch(&keeps);
    ledger.check_files(&letters(&near));
    daemon.kill();
    let daemon = home.start();
    fetch(&keeps);
    ledger.fill(home.smtp(), 2, 1_000);
    fetch(&rc("stls", &stls, "on"));
    // Each of the seven once.
    ledger.check_files(&letters(&near));
    assert_eq!((letters(&near).len(), count(&home, ALICE)), (7, 7));
    fetch(&rc("takes", &stls, "off"));
    assert_eq!((letters(&near).len(), count(&home, ALICE)), (7, 0));
    // QUIT was answered +OK, so they are gone for good.
    daemon.kill();
    let _daemon = home.start();
    assert_eq!(count(&home, ALICE), 0);
}

#[test]
fn fetchmail_fetches_new_mail_only_and_then_takes_all_away() {
    let home = Home::new();
    let daemon = home.start();
    let ledger = Ledger::of(ALICE);
    ledger.fill(home.smtp(), 3, 2_000);
    let near = home.directory.path().join("fetched");
    fs::create_dir(&near).expect("our own folder");
    let own = home.directory.path().join("fetchmail");
    fs::create_dir(&own).expect("our own folder");
    let fetch = |keep: &str, tls: &str, port: u16, new: bool| {
        let text = format!(
            "set no bouncemail\nset no syslog\nset idfile {own}/ids\n\
             poll 127.0.0.1 service {port} protocol pop3 uidl:\n\
             user \"{ALICE}\" password \"{PASSWORD}\" {tls} {keep} no rewrite mda \"cat > $(mktemp -p {near})\"\n",
            own = own.display(),
            near = near.display(),
            port = home.port(port),
        );
        let rc = settings(&home, "fetchmailrc", &text);
        let mut command = Command::new("fetchmail");
        command.env("FETCHMAILHOME", &own).env("HOME", &own);
        command
            .args(["--nodetach", "--invisible", "--fetchmailrc"])
            .arg(rc);
        let output = bounded(&mut command);
        // 1: there was no new mail.
        let expected = if new { 0 } else { 1 };
        assert_eq!(output.status.code(), Some(expected), "{}", said(&output));
    };
    let stls = "sslproto 'TLS1.2+' no sslcertck";
    fetch("keep", "ssl no sslcertck", POP3S, true);
    ledger.check_files(&letters(&near));
    assert!(daemon.stop().success());
    let _daemon = home.start();
    fetch("keep", stls, POP3, false);
    ledger.fill(home.smtp(), 2, 700);
    fetch("keep", stls, POP3, true);
    ledger.check_files(&letters(&near));
    assert_eq!((letters(&near).len(), count(&home, ALICE)), (5, 5));
    fetch("fetchall no keep", "ssl no sslcertck", POP3S, true);
    assert_eq!(count(&home, ALICE), 0);
}

/// Trial mode lets passwords pass on the loopback; with settings a box does not.
#[test]
fn passwords_wait_for_tls_outside_of_trial_mode() {
    let home = Home::new();
    // Of `ringpost`.
    let hash = "$argon2id$v=19$m=8192,t=2,p=1$cmluZ3Bvc3RkZW1vc2FsdA$z1P81KpazftwCpNwX6vD7KVLomh5Sfp1dnSCjWMRNFU";
    home.configure(&format!(
        "pop3 = [\"{}\"]\n[[domain]]\nname = \"example.org\"\n[[account]]\naddress = \"{ALICE}\"\npassword_hash = \"{hash}\"\n",
        home.at(POP3),
    ));
    let _daemon = home.start();
    let ledger = Ledger::of(ALICE);
    ledger.fill(home.smtp(), 1, 500);
    let stream = TcpStream::connect(home.at(POP3)).expect("it listens");
    let mut lines = BufReader::new(&stream).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "+OK Ringpost ready");
    for command in ["USER alice@example.org", "AUTH PLAIN AAA="] {
        (&stream)
            .write_all(format!("{command}\r\n").as_bytes())
            .expect("it reads");
        let refused = "-ERR Plaintext authentication is allowed only inside TLS";
        assert_eq!(next(), refused);
    }
    let url = format!("pop3://{}/1", home.at(POP3));
    let read = curl_ok(ALICE, &["--ssl-reqd", &url]);
    ledger.check_files(&[read.into_bytes()]);
}
