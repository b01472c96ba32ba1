//! Mail is looked into by scanners that we did not write: rspamd, clamd and opendkim as a milter, on loopback, in a folder of this test's own.
//!
//! Needs the packages rspamd, clamav-daemon and opendkim; `cargo xtask test --only real` installs them.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::daemon::{Home, bounded, said};
use crate::operator::with_password;
use crate::ports::Ports;

/// Far beyond what any of them takes to listen: clamd and opendkim half a second, rspamd two.
const LISTENS_WITHIN: Duration = Duration::from_secs(120);
const DORA: &str = "dora@example.com";
const SECRET: &str = "a secret";
/// RFC 8463 Appendix A: signed with RSA by football.example.com, and the key that goes with it.
const SIGNED: &str = include_str!("../../../../core/auth/tests/evaluate/rfc8463.eml");
const KEY: &str = "test._domainkey.football.example.com v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\n";

/// A server of somebody else's that listens. Dropping it ends it.
struct Server {
    child: Child,
    address: SocketAddr,
    _ports: Ports,
}

impl Drop for Server {
    fn drop(&mut self) {
        // rspamd has children; they are in a group of their own.
        let _ = killpg(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGKILL,
        );
        let _ = self.child.wait();
    }
}

/// A program of the Debian package `package`.
fn program(path: &str, package: &str) -> Command {
    assert!(
        Path::new(path).is_file(),
        "the package {package} is missing: apt-get install {package}"
    );
    Command::new(path)
}

/// Starts `command`; what it says goes to `log`.
fn begin(mut command: Command, ports: Ports, log: &Path) -> Server {
    let words = fs::File::create(log).expect("it is ours");
    let child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(words.try_clone().expect("a file"))
        .stderr(words)
        .spawn();
    Server {
        child: child.expect("it can be started"),
        address: ports.address(),
        _ports: ports,
    }
}

/// Waits until it listens.
fn wait(server: &mut Server, log: &Path) {
    let begin = Instant::now();
    while TcpStream::connect(server.address).is_err() {
        // until it listens; bounded by LISTENS_WITHIN
        let ended = server.child.try_wait().expect("our own child");
        assert!(
            ended.is_none() && begin.elapsed() < LISTENS_WITHIN,
            "it does not listen: {}",
            fs::read_to_string(log).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One signature of our own, and no other.
fn clamd(folder: &Path) -> Server {
    let ports = Ports::one();
    let address = ports.address();
    let database = folder.join("signatures");
    fs::create_dir(&database).expect("it is ours");
    let hex: String = VIRUS.bytes().map(|byte| format!("{byte:02x}")).collect();
    fs::write(database.join("ours.ndb"), format!("Ours.Test:0:*:{hex}\n")).expect("it is ours");
    let settings = format!(
        "DatabaseDirectory {}\nTCPSocket {}\nTCPAddr 127.0.0.1\nForeground yes\nUser {}\n",
        database.display(),
        address.port(),
        user(),
    );
    let path = folder.join("clamd.conf");
    fs::write(&path, settings).expect("it is ours");
    let mut command = program("/usr/sbin/clamd", "clamav-daemon");
    command.arg("--config-file").arg(path);
    begin(command, ports, &folder.join("clamd.log"))
}

const VIRUS: &str = "ringpost-virus-sample";
const JUNK: &str = "ringpost-junk-sample";
const SPAM: &str = "ringpost-spam-sample";

/// Two rules of our own; no list of domains, which takes half a minute to read.
fn rspamd(folder: &Path) -> Server {
    let ports = Ports::one();
    let address = ports.address();
    let at = |name: &str| folder.join(name).display().to_string();
    fs::write(at("domains"), "com\norg\n").expect("it is ours");
    let rule = |name: &str, sample: &str, score: u32| {
        format!(
            "rspamd_config:register_symbol({{ name = '{name}', score = {score}.0, group = 'ours', callback = function(task)\n\
             return tostring(task:get_content()):find('{sample}', 1, true) ~= nil end }})\n"
        )
    };
    let rules = rule("OURS_JUNK", JUNK, 7) + &rule("OURS_SPAM", SPAM, 20);
    fs::write(at("rules.lua"), rules).expect("it is ours");
    let settings = format!(
        "options {{ pidfile = \"{}\"; tempdir = \"{}\"; control_socket = \"{}\"; url_tld = \"{}\"; filters = \"\"; hs_cache_dir = \"{}\";\n\
         dns {{ nameserver = [\"127.0.0.1:9\"]; }} }}\nlua = \"{}\";\nlogging {{ type = \"console\"; level = \"warning\"; }}\n\
         actions {{ reject = 15; add_header = 6; }}\nworker \"normal\" {{ bind_socket = \"{address}\"; count = 1; }}\n",
        at("rspamd.pid"),
        at(""),
        at("control"),
        at("domains"),
        at(""),
        at("rules.lua"),
    );
    fs::write(at("rspamd.conf"), settings).expect("it is ours");
    let mut command = program("/usr/bin/rspamd", "rspamd");
    command.args(["--no-fork", "--insecure", "--config", &at("rspamd.conf")]);
    command.args(["--user", &user(), "--group", &group()]);
    begin(command, ports, &folder.join("rspamd.log"))
}

/// It checks signatures, and writes what it found in front.
fn opendkim(folder: &Path) -> Server {
    let ports = Ports::one();
    let address = ports.address();
    let at = |name: &str| folder.join(name).display().to_string();
    fs::write(at("keys"), KEY).expect("it is ours");
    let settings = format!(
        "Mode v\nAlwaysAddARHeader yes\nAuthservID filter.test\nTestDNSData {}\nBackground no\nUserID {}\n",
        at("keys"),
        user(),
    );
    fs::write(at("opendkim.conf"), settings).expect("it is ours");
    let socket = format!("inet:{}@127.0.0.1", address.port());
    let mut command = program("/usr/sbin/opendkim", "opendkim");
    command.args(["-f", "-x", &at("opendkim.conf"), "-p", &socket]);
    begin(command, ports, &folder.join("opendkim.log"))
}

/// Who we are: they need not become anybody else.
fn user() -> String {
    said(&bounded(Command::new("id").arg("-un")))
        .trim()
        .to_owned()
}

fn group() -> String {
    said(&bounded(Command::new("id").arg("-gn")))
        .trim()
        .to_owned()
}

/// What swaks says when it sends `message`, a file, with these further arguments.
fn send(to: SocketAddr, message: &Path, more: &[&str]) -> String {
    let mut command = Command::new("swaks");
    command.args([
        "--server",
        &to.to_string(),
        "--from",
        "joe@football.example.com",
    ]);
    command.args(["--to", DORA, "--data"]);
    command.arg(format!("@{}", message.display())).args(more);
    said(&bounded(&mut command))
}

/// The message with this number in Dora's INBOX.
fn fetch(home: &Home, folder: &str, number: u32) -> String {
    let url = format!("imaps://{}/{folder};MAILINDEX={number}", home.at(993));
    let login = format!("{DORA}:{SECRET}");
    let arguments = ["--silent", "--insecure", "--user", &login, &url];
    said(&bounded(Command::new("curl").args(arguments)))
}

#[test]
fn rspamd_clamd_and_a_milter_look_into_mail_and_what_is_without_a_verdict_waits_or_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let mut rspamd = rspamd(folder.path());
    let mut clamd = clamd(folder.path());
    let mut opendkim = opendkim(folder.path());
    let home = Home::with_leg_size("128MiB");
    let submission = home.at(587);
    home.configure(&format!(
        "submission = [\"{submission}\"]\n[login]\nplaintext = \"loopback\"\n[[domain]]\nname = \"example.com\"\n\
         [scan]\nrspamd = [\"{}\"]\nclamd = [\"{}\"]\n[[scan.milter]]\nname = \"opendkim\"\nservers = [\"{}\"]\n",
        rspamd.address, clamd.address, opendkim.address
    ));
    let _daemon = home.start();
    with_password(&home, &["account", "add", DORA], SECRET);
    wait(&mut clamd, &at("clamd.log"));
    wait(&mut opendkim, &at("opendkim.log"));
    wait(&mut rspamd, &at("rspamd.log"));
    let message = |name: &str, text: String| {
        fs::write(at(name), text).expect("it is ours");
        at(name)
    };

    let signed = message("signed", SIGNED.to_owned());
    let words = send(home.smtp(), &signed, &[]);
    assert!(words.contains("250 2.0.0 ok"), "{words}");
    let letter = fetch(&home, "INBOX", 1);
    let unfolded = letter.replace("\r\n", "\n").replace("\n\t", " ");
    let field = "X-Ringpost-Scan: clamd=clean; rspamd=clean (0.00 of 15.00); opendkim=clean\n";
    assert!(unfolded.starts_with(field), "{letter}");
    assert!(
        unfolded.contains("Authentication-Results: filter.test;"),
        "{letter}"
    );
    assert!(letter.contains("dkim=pass"), "{letter}");

    let of = |sample: &str| {
        format!("From: Joe <joe@football.example.com>\nSubject: x\n\nHello {sample}\n")
    };
    let junk = message("junk", of(JUNK));
    let words = send(home.smtp(), &junk, &[]);
    assert!(words.contains("250 2.0.0 ok"), "{words}");
    let letter = fetch(&home, "Junk", 1);
    assert!(
        letter.contains("rspamd=junk (7.00 of 15.00, OURS_JUNK 7.00)"),
        "{letter}"
    );
    let words = send(home.smtp(), &message("spam", of(SPAM)), &[]);
    assert!(
        words.contains("550 5.7.1 message refused as spam"),
        "{words}"
    );

    // A MIME part in base64: clamd takes the message apart.
    let attached = format!(
        "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\n--b\n\
         Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n{}\n--b--\n",
        "cmluZ3Bvc3QtdmlydXMtc2FtcGxl"
    );
    let attached = message("attached", attached);
    let refusal = "550 5.7.1 message contains a virus Ours.Test.UNOFFICIAL";
    let words = send(home.smtp(), &attached, &[]);
    assert!(words.contains(refusal), "{words}");
    let login = [
        "--auth",
        "PLAIN",
        "--auth-user",
        DORA,
        "--auth-password",
        SECRET,
        "--from",
        DORA,
    ];
    let words = send(submission, &attached, &login);
    assert!(words.contains(refusal), "{words}");

    drop(rspamd);
    let words = send(home.smtp(), &signed, &[]);
    assert!(words.contains("250 2.0.0 ok"), "{words}");
    let letter = fetch(&home, "INBOX", 2);
    assert!(
        letter.contains("rspamd=unscanned (the connection was refused)"),
        "{letter}"
    );
    drop(clamd);
    let words = send(home.smtp(), &signed, &[]);
    assert!(
        words.contains("451 4.7.1 message cannot be scanned now"),
        "{words}"
    );

    let metrics = home.ctl_ok(&["metrics"]);
    for sample in [
        "ringpost_scan_total{scanner=\"clamd\",outcome=\"refused\"} 2\n",
        "ringpost_scan_total{scanner=\"clamd\",outcome=\"unscanned\"} 1\n",
        "ringpost_scan_total{scanner=\"rspamd\",outcome=\"junk\"} 1\n",
        "ringpost_scan_total{scanner=\"milter\",outcome=\"unscanned\"} 0\n",
    ] {
        assert!(metrics.contains(sample), "{sample}: {metrics}");
    }
}
