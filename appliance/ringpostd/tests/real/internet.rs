//! Two Ringposts on an Internet of the test's own: Knot DNS serves the domains, one of them signed, unbound validates, and mail goes over MX
//! records, signed by DKIM, checked by DMARC, and over TLS that DANE proves.
//!
//! One daemon listens on port 25 of another address of loopback, because MX records have no ports. Where that port, Knot or unbound is missing the
//! story says so and ends, unless `RINGPOST_CI` is set.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::daemon::{Home, PASSWORD, bounded, said};
use crate::ports::Ports;
use crate::submission::traced;

/// Where the receiving daemon is on that Internet.
const MX: &str = "127.25.25.25";
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

/// A program that is stopped when the story is over.
pub(crate) struct Program(pub(crate) Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `command` and waits until it says `ready` on its standard error.
pub(crate) fn start(command: &mut Command, ready: &'static str) -> Program {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed");
    let said = child.stderr.take().expect("it is a pipe");
    let (sender, started) = mpsc::channel();
    // Reads on to the end, so that the program never waits for room in the pipe.
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            eprintln!("{line}");
            if line.contains(ready) {
                let _ = sender.send(());
            }
        }
    });
    let program = Program(child);
    started.recv_timeout(WITHIN).expect("it becomes ready");
    program
}

pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// What the story needs of the machine, by name.
pub(crate) fn missing(mx: &str) -> Option<&'static str> {
    for program in ["knotd", "keymgr", "unbound"] {
        if installed(program).is_none() {
            return Some("the packages knot and unbound");
        }
    }
    match TcpListener::bind((mx, 25)) {
        Ok(_) => None,
        Err(_) => Some("the right to listen on port 25"),
    }
}

/// Zones, their name server and the one that validates.
pub(crate) struct Internet {
    folder: tempfile::TempDir,
    authority: Ports,
    validator: Ports,
}

impl Internet {
    pub(crate) fn new() -> Internet {
        Internet {
            folder: tempfile::tempdir().expect("a folder"),
            authority: Ports::one(),
            validator: Ports::one(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The name server to ask.
    pub(crate) fn server(&self) -> SocketAddr {
        self.validator.address()
    }

    /// Serves `zones`, each with its records and whether it is signed.
    pub(crate) fn serve(&self, zones: &[(&str, bool, &str)]) -> [Program; 2] {
        let folder = self.path().display();
        let at = |address: SocketAddr| format!("{}@{}", address.ip(), address.port());
        let mut knot = format!(
            "server:\n    listen: {}\n    rundir: {folder}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
             log:\n  - target: stderr\n    any: info\ndatabase:\n    storage: {folder}\nzone:\n",
            at(self.authority.address())
        );
        let mut unbound = format!(
            "server:\n  interface: {}\n  port: {}\n  directory: {folder}\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  \
             do-daemonize: no\n  do-not-query-localhost: no\n  do-ip6: no\n  num-threads: 1\n  \
             unblock-lan-zones: yes\n  insecure-lan-zones: yes\n  module-config: \"validator iterator\"\n",
            at(self.validator.address()),
            self.validator.address().port()
        );
        let mut stubs = String::from("remote-control:\n  control-enable: no\n");
        for (name, is_signed, records) in zones {
            let text = format!(
                "$ORIGIN {name}.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 120\n@ NS ns\nns A 127.0.0.1\n{records}\n"
            );
            std::fs::write(self.path().join(name), text).expect("it is ours");
            let signing = if *is_signed { "on" } else { "off" };
            knot.push_str(&format!(
                "  - domain: {name}\n    file: {folder}/{name}\n    zonefile-sync: -1\n    dnssec-signing: {signing}\n"
            ));
            let stub = format!(
                "stub-zone:\n  name: {name}\n  stub-addr: {}\n",
                at(self.authority.address())
            );
            stubs.push_str(&stub);
        }
        let settings = self.path().join("knot.conf");
        std::fs::write(&settings, knot).expect("it is ours");
        let mut command = Command::new(installed("knotd").expect("installed"));
        let knot = start(command.arg("-c").arg(&settings), "server started");
        for (name, ..) in zones.iter().filter(|(_, is_signed, _)| *is_signed) {
            let mut command = Command::new(installed("keymgr").expect("installed"));
            let keys = bounded(command.arg("-c").arg(&settings).args([*name, "ds"]));
            let keys = String::from_utf8_lossy(&keys.stdout).into_owned();
            let anchor = keys.lines().next().expect("a key that signs");
            unbound.push_str(&format!("  trust-anchor: \"{anchor}\"\n"));
        }
        let settings = self.path().join("unbound.conf");
        std::fs::write(&settings, unbound + &stubs).expect("it is ours");
        let mut command = Command::new(installed("unbound").expect("installed"));
        let unbound = start(
            command.arg("-d").arg("-c").arg(&settings),
            "start of service",
        );
        [knot, unbound]
    }
}

pub(crate) fn configuration(home: &Home, internet: &Internet, name: &str, listen: &str) -> String {
    let legs = ["leg-a", "leg-b"].map(|leg| home.directory.path().join(leg));
    let validator = internet.validator.address();
    format!(
        "[server]\nname = \"{name}\"\nstate = {:?}\n[volume]\nlegs = {legs:?}\nleg_size = \"128MiB\"\ncreate = true\n\
         [listen]\nsmtp = [\"{listen}\"]\nsubmissions = [\"{}\"]\nimap = [\"{}\"]\n[login]\nplaintext = \"loopback\"\n\
         [dns]\nservers = [\"{validator}\"]\n[outbound]\nvalidators = [\"{validator}\"]\n",
        home.state(),
        home.at(465),
        home.at(143),
    )
}

/// The one message in the INBOX of `user`, once it is there.
pub(crate) fn letter(home: &Home, user: &str) -> String {
    let begin = Instant::now();
    let login = format!("{user}:{PASSWORD}");
    let url = format!("imap://{}/INBOX;MAILINDEX=1", home.imap());
    loop {
        // until it is there; bounded by WITHIN
        let mut curl = Command::new("curl");
        let output = bounded(curl.args(["--silent", "--user", &login, &url]));
        if output.status.success() && !output.stdout.is_empty() {
            return said(&output);
        }
        assert!(begin.elapsed() < WITHIN, "no message arrives for {user}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the daemon at `mx` says to a stranger's message, in the end.
pub(crate) fn forged(mx: &str, from: &str, to: &str) -> String {
    let stream = TcpStream::connect((mx, 25)).expect("it listens");
    stream.set_read_timeout(Some(WITHIN)).expect("a socket");
    let mut lines = BufReader::new(stream);
    let mut last = String::new();
    let mut say = |line: &str| {
        if !line.is_empty() {
            let sent = lines.get_mut().write_all(format!("{line}\r\n").as_bytes());
            sent.expect("the daemon reads");
        }
        loop {
            // until the reply is over
            last.clear();
            let bytes = lines.read_line(&mut last).expect("a reply");
            if bytes == 0 || last.as_bytes().get(3) != Some(&b'-') {
                return last.clone();
            }
        }
    };
    say("");
    say("EHLO forger.example");
    say(&format!("MAIL FROM:<{from}>"));
    say(&format!("RCPT TO:<{to}>"));
    say("DATA");
    say(&format!(
        "From: {from}\r\nTo: {to}\r\nSubject: forged\r\n\r\nhello\r\n."
    ))
}

/// Alice submits a message.
pub(crate) fn submit(home: &Home, to: &str) {
    let server = home.at(465).to_string();
    let from = "alice@here.example";
    let mut swaks = Command::new("swaks");
    swaks.args(["--server", &server, "--tls-on-connect", "--auth", "PLAIN"]);
    swaks.args(["--auth-user", from, "--auth-password", PASSWORD]);
    swaks.args(["--from", from, "--to", to, "--header", "Subject: hello"]);
    let output = bounded(&mut swaks);
    assert!(output.status.success(), "{}", said(&output));
}

/// A record as `domain dns` prints it for a zone.
pub(crate) fn record(home: &Home, domain: &str, kind: &str, of: &str) -> String {
    let text = home.ctl_ok(&["--json", "domain", "dns", domain]);
    let dns: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let records = dns["records"].as_array().expect("records");
    let found = records.iter().find(|record| {
        let name = record["name"].as_str().expect("a name");
        record["kind"] == kind && name.starts_with(of)
    });
    let zone = found.unwrap_or_else(|| panic!("no {kind} of {of}: {text}"))["zone"].as_str();
    zone.expect("a line").to_owned()
}

#[test]
fn mail_goes_over_mx_records_signed_checked_and_over_tls_that_dane_proves() {
    if let Some(what) = missing(MX) {
        assert!(std::env::var_os("RINGPOST_CI").is_none(), "{what}: missing");
        eprintln!("skipped: {what}: missing");
        return;
    }
    let internet = Internet::new();
    let (home, there) = (Home::with_leg_size("128MiB"), Home::with_leg_size("128MiB"));
    let text = configuration(&there, &internet, "mx.there.example", &format!("{MX}:25"));
    std::fs::write(there.directory.path().join("ringpost.toml"), text).expect("it is ours");
    let _there = there.start();
    for domain in ["there.example", "wrong.example"] {
        there.ctl_ok(&["domain", "add", domain]);
    }
    there.ctl_ok(&[
        "account",
        "add",
        "carol@there.example",
        "--password",
        PASSWORD,
    ]);
    let text = configuration(
        &home,
        &internet,
        "mx.here.example",
        &home.at(25).to_string(),
    );
    std::fs::write(home.directory.path().join("ringpost.toml"), text).expect("it is ours");
    let _home = home.start();
    home.ctl_ok(&["domain", "add", "here.example"]);
    home.ctl_ok(&[
        "account",
        "add",
        "alice@here.example",
        "--password",
        PASSWORD,
    ]);
    home.ctl_ok(&["dkim", "make", "here.example", "--selector", "k1"]);
    home.ctl_ok(&["dkim", "activate", "here.example", "k1"]);

    // What each says is to be published, is published.
    let key = record(&home, "here.example", "TXT", "k1._domainkey.");
    let certificate = record(&there, "there.example", "TLSA", "_25._tcp.mx.there.example");
    let other = "00".repeat(32);
    let _internet = internet.serve(&[
        // DMARC's walk ends there.
        ("example", false, ""),
        (
            "here.example",
            false,
            &format!("@ TXT \"v=spf1 -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n{key}"),
        ),
        (
            "there.example",
            true,
            &format!("@ MX 10 mx\nmx A {MX}\n{certificate}"),
        ),
        (
            "wrong.example",
            true,
            &format!("@ MX 10 mx\nmx A {MX}\n_25._tcp.mx TLSA 3 1 1 {other}"),
        ),
    ]);
    submit(&home, "carol@there.example");
    submit(&home, "carol@wrong.example");

    let letter = letter(&there, "carol@there.example");
    for wanted in [
        "Subject: hello",
        "with ESMTPS",
        "\nDKIM-Signature: v=1; a=rsa-sha256",
        "Authentication-Results: mx.there.example",
        "dkim=pass",
        "dmarc=pass",
        "spf=fail",
    ] {
        assert!(letter.contains(wanted), "{wanted} is missing: {letter}");
    }
    let waiting = || home.ctl_ok(&["queue", "list"]);
    let begin = Instant::now();
    while !waiting().contains("DANE") || waiting().contains("there.example") {
        // until one is delivered and the other was tried; bounded by WITHIN
        assert!(begin.elapsed() < WITHIN, "{}", waiting());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!there.ctl_ok(&["queue", "list"]).contains("wrong.example"));
    let ways = traced(&home, &["--to", "carol@there.example"], 1, "delivered");
    let delivered = ways[0].last().expect("an event");
    assert_eq!(delivered["tls"], "DANE", "{delivered}");

    // Whoever writes as alice without her key is refused.
    let refused = forged(MX, "alice@here.example", "carol@there.example");
    assert!(refused.starts_with("550 5.7.1"), "{refused}");
}
