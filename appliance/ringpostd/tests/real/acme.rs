//! Certificates from Pebble, an authority for tests (the package `pebble`), by each kind of proof. Knot has the zone that Pebble looks names up in;
//! for `dns-01` the daemon puts its records there, signed with a key.
//!
//! Pebble refuses one of twenty nonces on purpose. Where it or Knot is missing the story says so and ends, unless `RINGPOST_CI` is set.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;

use crate::daemon::{Daemon, Home, bounded};
use crate::internet::{Program, WITHIN, installed, start};
use crate::ports::Ports;

const NAME: &str = "mail.example.org";
/// 32 bytes that are no secret.
const SECRET: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

struct Authority {
    folder: tempfile::TempDir,
    port: Ports,
    manage: Ports,
    zone: Ports,
    _zone: Program,
    pebble: Option<Program>,
}

/// `None`: something is missing, and that was said.
fn authority(home: &Home) -> Option<Authority> {
    for program in ["pebble", "knotd"] {
        if installed(program).is_none() {
            let ci = std::env::var_os("RINGPOST_CI").is_none();
            assert!(ci, "the packages pebble and knot: missing");
            eprintln!("skipped: the packages pebble and knot: missing");
            return None;
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (port, manage, zone) = (Ports::one(), Ports::one(), Ports::one());
    let served = serve_zone(&folder, zone.address());
    let mut authority = Authority {
        folder,
        port,
        manage,
        zone,
        _zone: served,
        pebble: None,
    };
    authority.make_files(home);
    authority.begin();
    Some(authority)
}

fn serve_zone(folder: &tempfile::TempDir, at: SocketAddr) -> Program {
    let place = folder.path().display();
    let records = "$ORIGIN example.org.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nmail A 127.0.0.1\nmta-sts A 127.0.0.1\n";
    std::fs::write(folder.path().join("zone"), records).expect("it is ours");
    let settings = format!(
        "server:\n    listen: {}@{}\n    rundir: {place}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
         log:\n  - target: stderr\n    any: info\ndatabase:\n    storage: {place}\n\
         key:\n  - id: acme\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
         acl:\n  - id: acme\n    key: acme\n    action: update\n\
         zone:\n  - domain: example.org\n    file: {place}/zone\n    zonefile-sync: -1\n    acl: acme\n",
        at.ip(),
        at.port()
    );
    let path = folder.path().join("knot.conf");
    std::fs::write(&path, settings).expect("it is ours");
    let mut command = Command::new(installed("knotd").expect("installed"));
    start(command.arg("-c").arg(&path), "server started")
}

impl Authority {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Pebble's own certificate, who signed it, and its settings: it looks for names at the ports of the daemon.
    fn make_files(&self, home: &Home) {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().expect("a key");
        let signer = params.self_signed(&key).expect("made");
        let issuer = Issuer::new(params, key);
        let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let own_key = KeyPair::generate().expect("a key");
        let signed = own.signed_by(&own_key, &issuer).expect("made");
        let settings = serde_json::json!({"pebble": {
            "listenAddress": self.port.address().to_string(),
            "managementListenAddress": self.manage.address().to_string(),
            "certificate": self.path("own.pem"),
            "privateKey": self.path("own.key"),
            "httpPort": home.port(80),
            "tlsPort": home.port(443),
        }});
        for (name, text) in [
            ("signer.pem", signer.pem()),
            ("own.pem", signed.pem()),
            ("own.key", own_key.serialize_pem()),
            ("pebble.json", settings.to_string()),
        ] {
            std::fs::write(self.path(name), text).expect("it is ours");
        }
    }

    fn begin(&mut self) {
        let mut command = Command::new(installed("pebble").expect("installed"));
        command
            .arg("-config")
            .arg(self.path("pebble.json"))
            .arg("-dnsserver")
            .arg(self.zone.address().to_string())
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.pebble = Some(Program(command.spawn().expect("it is installed")));
        let begun = Instant::now();
        while TcpStream::connect(self.port.address()).is_err() {
            // until it listens; bounded by WITHIN
            assert!(begun.elapsed() < WITHIN, "pebble does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn end(&mut self) {
        self.pebble = None;
    }

    /// Settings of a daemon that orders from here. `more`: of `[acme]`.
    fn configure(&self, home: &Home, listen: &str, more: &str) -> Daemon {
        let legs = ["leg-a", "leg-b"].map(|leg| home.directory.path().join(leg));
        home.configure_as(&format!(
            "[server]\nname = \"{NAME}\"\nstate = {:?}\n[volume]\nlegs = {legs:?}\nleg_size = \"128MiB\"\ncreate = true\n\
             [inbound]\nauthentication = \"off\"\n[spam]\nenabled = false\n[listen]\nimaps = [\"{}\"]\n{listen}\n\
             [acme]\ndirectory = \"https://{}/dir\"\nterms_agreed = true\ncontact = [\"mailto:admin@example.org\"]\nauthorities = {:?}\n{more}",
            home.state(),
            home.at(993),
            self.port.address(),
            self.path("signer.pem"),
        ));
        home.start()
    }
}

fn status(home: &Home) -> Value {
    let text = home.ctl_ok(&["--json", "certificate", "status"]);
    serde_json::from_str(&text).expect("JSON")
}

/// The status as soon as `is_so` is true of it.
fn wait(home: &Home, is_so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        // until it is so; bounded by WITHIN
        let status = status(home);
        if is_so(&status) {
            return status;
        }
        assert!(begun.elapsed() < WITHIN, "{status}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn is_given(status: &Value) -> bool {
    status["certificates"][0]["source"] == "acme" && status["acme"]["under_way"] == false
}

/// Issuer and serial number of what IMAPS shows to a client that asks for `name`.
fn shown(home: &Home, name: &str) -> String {
    let at = home.at(993).to_string();
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &at, "-servername", name]);
    let chain = bounded(client.stdin(Stdio::null()));
    let file = home.directory.path().join("shown.pem");
    std::fs::write(&file, chain.stdout).expect("it is ours");
    let mut reader = Command::new("openssl");
    reader.args(["x509", "-noout", "-issuer", "-serial", "-in"]);
    let read = bounded(reader.arg(&file));
    String::from_utf8_lossy(&read.stdout).into_owned()
}

#[test]
fn a_certificate_by_http_is_ordered_shown_renewed_and_survives_an_authority_that_is_away() {
    let home = Home::with_leg_size("128MiB");
    let Some(mut authority) = authority(&home) else {
        return;
    };
    let listen = format!("challenge = [\"{}\"]", home.at(80));
    let daemon = authority.configure(&home, &listen, "");
    let given = wait(&home, is_given);
    assert_eq!(given["certificates"][0]["names"][0], NAME, "{given}");
    assert_eq!(given["acme"]["failures"], 0, "{given}");
    let first = shown(&home, NAME);
    assert!(first.contains("Pebble"), "{first}");
    let key = || std::fs::read(home.state().join("acme-key.pem")).expect("kept");
    let first_key = key();

    // A restart shows what is kept, and orders nothing.
    assert!(daemon.stop().success());
    let _daemon = home.start();
    assert_eq!(shown(&home, NAME), first);
    let next_s = status(&home)["acme"]["next_s"].as_u64().expect("a time");
    assert!(next_s > given["certificates"][0]["ends_s"].as_u64().expect("a time") / 2);

    home.ctl_ok(&["certificate", "renew"]);
    let begun = Instant::now();
    let second = loop {
        // until it is another one; bounded by WITHIN
        let second = shown(&home, NAME);
        if second != first {
            break second;
        }
        assert!(begun.elapsed() < WITHIN, "{}", status(&home));
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(second.contains("Pebble"), "{second}");
    wait(&home, is_given);
    assert_eq!(key(), first_key, "the key stays");

    authority.end();
    home.ctl_ok(&["certificate", "renew"]);
    let failed = wait(&home, |status| {
        status["acme"]["failures"] == 1 && status["acme"]["under_way"] == false
    });
    assert_eq!(shown(&home, NAME), second, "the old one goes on");
    let now_s = std::time::SystemTime::now();
    let now_s = now_s
        .duration_since(std::time::UNIX_EPOCH)
        .expect("later")
        .as_secs();
    assert!(failed["acme"]["error"].is_string(), "{failed}");
    let metrics = home.ctl_ok(&["metrics"]);
    assert!(
        metrics.contains("ringpost_certificate_left_seconds{certificate=\"acme\"}"),
        "{metrics}"
    );
    let tries = std::fs::read_to_string(home.state().join("acme-tries.json")).expect("kept");
    let tries: Value = serde_json::from_str(&tries).expect("JSON");
    assert!(tries["next_s"].as_u64().expect("a time") > now_s, "{tries}");
    for secret in ["acme-key.pem", "acme-account.json", "acme-tries.json"] {
        use std::os::unix::fs::PermissionsExt;
        let meta = std::fs::metadata(home.state().join(secret)).expect("kept");
        assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{secret}");
    }
    // Beside the answers to the authority nothing is served.
    for path in [
        "/",
        "/metrics",
        "/.well-known/acme-challenge/abc",
        "/.well-known/acme-challenge/../",
    ] {
        let url = format!("http://{}{path}", home.at(80));
        let mut curl = Command::new("curl");
        let said = bounded(curl.args([
            "--silent",
            "--path-as-is",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &url,
        ]));
        assert_eq!(String::from_utf8_lossy(&said.stdout), "404", "{path}");
    }
}

#[test]
fn a_certificate_by_tls_is_for_several_names_and_https_goes_on_beside_it() {
    let home = Home::with_leg_size("128MiB");
    let Some(authority) = authority(&home) else {
        return;
    };
    let listen = format!("policy = [\"{}\"]", home.at(443));
    let more =
        "challenge = \"tls-alpn-01\"\nnames = [\"mail.example.org\", \"mta-sts.example.org\"]\n";
    let _daemon = authority.configure(&home, &listen, more);
    let given = wait(&home, is_given);
    let names = given["certificates"][0]["names"].as_array().expect("names");
    assert_eq!(names.len(), 2, "{given}");
    let shown = shown(&home, "mta-sts.example.org");
    assert!(shown.contains("Pebble"), "{shown}");
    let url = format!("https://{}/.well-known/mta-sts.txt", home.at(443));
    let mut curl = Command::new("curl");
    let said = bounded(curl.args([
        "--silent",
        "--insecure",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &url,
    ]));
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        "404",
        "no policy, and HTTP"
    );
}

#[test]
fn a_certificate_by_a_record_is_for_a_wildcard_too_and_the_record_goes_away() {
    let home = Home::with_leg_size("128MiB");
    let Some(authority) = authority(&home) else {
        return;
    };
    let secret = home.directory.path().join("key");
    std::fs::write(&secret, SECRET).expect("it is ours");
    let mut chmod = Command::new("chmod");
    assert!(bounded(chmod.arg("600").arg(&secret)).status.success());
    let more = format!(
        "challenge = \"dns-01\"\nnames = [\"example.org\", \"*.example.org\"]\n\
         [acme.dns]\nserver = \"{}\"\nzone = \"example.org\"\nkey = \"acme\"\nsecret = {secret:?}\nwait = \"0s\"\n",
        authority.zone.address()
    );
    let _daemon = authority.configure(&home, "", &more);
    wait(&home, is_given);
    let shown = shown(&home, "any.example.org");
    assert!(shown.contains("Pebble"), "{shown}");
    let server = authority.zone.address();
    let question = TextQuestion::of("_acme-challenge.example.org");
    assert_eq!(question.answers(server), 0, "the records are gone");
}

/// A question for TXT records, by TCP.
struct TextQuestion(Vec<u8>);

impl TextQuestion {
    fn of(name: &str) -> TextQuestion {
        let mut wire = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            wire.push(u8::try_from(label.len()).expect("short"));
            wire.extend_from_slice(label.as_bytes());
        }
        wire.extend([0, 0, 16, 0, 1]);
        TextQuestion(wire)
    }

    fn answers(&self, server: SocketAddr) -> u16 {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(server).expect("it listens");
        stream.set_read_timeout(Some(WITHIN)).expect("a socket");
        let length = u16::try_from(self.0.len()).expect("short");
        let framed = [&length.to_be_bytes()[..], &self.0].concat();
        stream.write_all(&framed).expect("sent");
        let mut head = [0; 14];
        stream.read_exact(&mut head).expect("an answer");
        u16::from_be_bytes([head[8], head[9]])
    }
}
