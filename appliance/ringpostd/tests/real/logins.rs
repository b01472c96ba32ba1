//! Logins by programs that we did not write: SCRAM, app passwords, and the audit that tells of each.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use sasl::scram::client::Client;
use serde_json::Value;

use crate::daemon::{ALICE, Home, bounded, files_below, said};

const DORA: &str = "dora@example.org";
const SECRET: &str = "correct horse, battery=staple";

/// `ringpostctl account add`: keys are made with the account.
fn dora(home: &Home) {
    home.ctl_ok(&["account", "add", DORA, "--password", SECRET]);
}

/// msmtp with a mechanism of GNU SASL, inside of TLS.
fn msmtp(home: &Home, mechanism: &str, password: &str) -> std::process::Output {
    let port = home.port(465).to_string();
    let secret = home.directory.path().join("secret");
    fs::write(&secret, password).expect("our own file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("our own file");
    let mut command = Command::new("sh");
    let line = format!(
        "printf 'Subject: hello\\n\\nhello\\n' | msmtp --host=127.0.0.1 --port={port} --tls=on --tls-starttls=off --tls-certcheck=off \
         --auth={mechanism} --user={DORA} --passwordeval='cat {}' --from={DORA} {ALICE}",
        secret.display()
    );
    command.args(["-c", &line]);
    bounded(&mut command)
}

/// IMAP inside of TLS, with the exporter of the connection.
struct Inside {
    stream: BufReader<StreamOwned<ClientConnection, std::net::TcpStream>>,
    exporter: [u8; 32],
}

impl Inside {
    fn open(home: &Home) -> Inside {
        let config = mua::tls::config().expect("a configuration");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut session = ClientConnection::new(Arc::clone(&config), name).expect("a session");
        let mut socket = std::net::TcpStream::connect(home.at(993)).expect("a connection");
        let within = Some(std::time::Duration::from_secs(60));
        socket.set_read_timeout(within).expect("a socket");
        while session.is_handshaking() {
            session.complete_io(&mut socket).expect("a handshake");
        }
        let exporter =
            session.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
        let exporter = exporter.expect("TLS 1.3");
        let stream = BufReader::new(StreamOwned::new(session, socket));
        let mut inside = Inside { stream, exporter };
        assert!(inside.line().contains("AUTH=SCRAM-SHA-256-PLUS"));
        inside
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn send(&mut self, line: &str) {
        let stream = self.stream.get_mut();
        stream
            .write_all(format!("{line}\r\n").as_bytes())
            .expect("sent");
        stream.flush().expect("sent");
    }

    /// The last words of an exchange that is bound to `bound`.
    fn plus(&mut self, password: &str, bound: &[u8]) -> String {
        let client = Client::new(DORA, password, "abcdef", "p=tls-exporter", bound);
        self.send(&format!(
            "t AUTHENTICATE SCRAM-SHA-256-PLUS {}",
            client.first()
        ));
        let challenge = self.line();
        let last = client.last(challenge.strip_prefix("+ ").expect("a challenge"));
        self.send(&last.expect("a challenge"));
        let line = self.line();
        if !line.starts_with("+ ") {
            return line;
        }
        self.send("");
        self.line()
    }
}

fn json(home: &Home, arguments: &[&str]) -> Value {
    let text = home.ctl_ok(&[&["--json"], arguments].concat());
    serde_json::from_str(&text).expect("JSON")
}

/// Nothing that a login must keep to itself is in any file of the state directory but the legs, nor in the log.
fn nothing_leaks(home: &Home, words: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!words.contains(secret), "in the log");
        for path in files_below(&home.state()) {
            let is_small = fs::metadata(&path).is_ok_and(|about| about.len() < 16 << 20);
            if is_small && let Ok(bytes) = fs::read(&path) {
                let found = bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes());
                assert!(!found, "in {}", path.display());
            }
        }
    }
}

#[test]
fn scram_of_gnu_sasl_and_bound_to_tls_logs_in_over_a_restart() {
    let home = Home::new();
    let daemon = home.start();
    dora(&home);
    let sent = msmtp(&home, "scram-sha-256", SECRET);
    assert!(sent.status.success(), "{}", said(&sent));
    let refused = msmtp(&home, "scram-sha-256", "another password");
    assert!(!refused.status.success());
    let mut inside = Inside::open(&home);
    let exporter = inside.exporter;
    assert!(inside.plus(SECRET, &exporter).starts_with("t OK "));
    let mut relayed = Inside::open(&home);
    assert!(
        relayed.plus(SECRET, &exporter).starts_with("t NO "),
        "of another connection"
    );
    daemon.stop();
    let daemon = home.start();
    let mut inside = Inside::open(&home);
    let exporter = inside.exporter;
    assert!(inside.plus(SECRET, &exporter).starts_with("t OK "));
    nothing_leaks(&home, &daemon.words(), &[SECRET, "another password"]);
}

#[test]
fn an_app_password_works_where_it_may_until_it_is_removed() {
    let home = Home::new();
    let daemon = home.start();
    let made = json(
        &home,
        &[
            "app-password",
            "add",
            ALICE,
            "--name",
            "phone",
            "--scope",
            "imap",
        ],
    );
    let password = made["password"].as_str().expect("a password").to_owned();
    let curl = |scheme: &str, port: u16| {
        let url = format!("{scheme}://{}/", home.at(port));
        let login = format!("{ALICE}:{password}");
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--insecure",
            "--user",
            &login,
            &url,
        ]);
        bounded(&mut curl).status.success()
    };
    assert!(curl("imaps", 993));
    assert!(!curl("pop3s", 995), "it is for IMAP alone");
    let listed = loop {
        // until its use is written down, which goes on beside the session; a test that hangs is ended from outside
        let listed = json(&home, &["app-password", "list", ALICE]);
        if !listed[0]["used"].is_null() {
            break listed;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!(listed[0]["name"], "phone");
    assert_eq!(listed[0]["used"]["protocol"], "imap");
    assert_eq!(listed[0]["used"]["peer"], "127.0.0.1");
    let again = home.ctl(&["app-password", "add", ALICE, "--name", "phone"]);
    assert!(!again.status.success(), "the name is taken");
    home.ctl_ok(&["app-password", "remove", ALICE, "--name", "phone"]);
    assert!(!curl("imaps", 993));
    let lines = json(&home, &["audit", "list", "--of", ALICE]);
    let lines = lines.as_array().expect("lines");
    let outcomes: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["outcome"].as_str())
        .collect();
    assert_eq!(
        outcomes,
        [
            "granted",
            "app password is for another protocol",
            "wrong password"
        ]
    );
    assert_eq!(lines[0]["app"], "phone");
    nothing_leaks(&home, &daemon.words(), &[&password]);
}

#[test]
fn an_audit_that_was_changed_is_found_after_a_restart() {
    let home = Home::new();
    let daemon = home.start();
    let login = |password: &str| {
        let url = format!("imaps://{}/", home.at(993));
        let login = format!("{ALICE}:{password}");
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--insecure",
            "--user",
            &login,
            &url,
        ]);
        bounded(&mut curl).status.success()
    };
    assert!(login("ringpost") && !login("wrong") && login("ringpost"));
    daemon.stop();
    let daemon = home.start();
    assert!(login("ringpost"));
    let verdict = loop {
        // until the last line is written, which no login waits for
        let verdict = json(&home, &["audit", "verify"]);
        if verdict["last"] == 4 {
            break verdict;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!(verdict["intact"], true, "{verdict}");
    daemon.stop();
    let files: Vec<_> = files_below(&home.state())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .filter(|path| {
            path.parent()
                .is_some_and(|parent| parent.ends_with("audit"))
        })
        .collect();
    let first = files.iter().min().expect("a file of the audit");
    let text = fs::read_to_string(first).expect("readable");
    fs::write(first, text.replace("wrong password", "granted")).expect("writable");
    let _daemon = home.start();
    let verdict = home.ctl(&["audit", "verify"]);
    assert!(!verdict.status.success(), "{}", said(&verdict));
    assert!(said(&verdict).contains("line 2"), "{}", said(&verdict));
}
