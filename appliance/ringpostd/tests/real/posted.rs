//! A report of TLS that a domain wants by HTTPS: posted to a web server of the test's own, whose certificate is from an authority of `outbound.authorities`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::daemon::{Home, PASSWORD};
use crate::internet::{Internet, WITHIN, configuration, letter, missing, submit};

const HERE: &str = "127.25.25.29";
const THERE: &str = "127.25.25.30";
const WEB: &str = "127.25.25.31";
const WEB_NAME: &str = "reports.there.example";

/// The authority's certificate, and a server's side of TLS with one that it signed.
fn authority_and_server() -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("made");
    let issuer = Issuer::new(params, key);
    let own = CertificateParams::new(vec![WEB_NAME.to_owned()]).expect("a name");
    let own_key = KeyPair::generate().expect("a key");
    let signed = own.signed_by(&own_key, &issuer).expect("made");
    let own_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![signed.der().clone()], own_key);
    (
        authority.pem(),
        Arc::new(config.expect("they belong together")),
    )
}

/// What is posted, head and content; each gets 201.
fn web(listener: TcpListener, config: Arc<ServerConfig>) -> mpsc::Receiver<(String, Vec<u8>)> {
    let (sender, posted) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(WITHIN)).expect("a socket");
            let tls = ServerConnection::new(config.clone()).expect("a configuration");
            let mut tls = StreamOwned::new(tls, stream);
            let (mut all, mut piece) = (Vec::new(), [0; 4_096]);
            let request = loop {
                // until the request is whole, or the peer leaves
                let Ok(bytes @ 1..) = tls.read(&mut piece) else {
                    break None;
                };
                all.extend_from_slice(&piece[..bytes]);
                let text = String::from_utf8_lossy(&all).into_owned();
                let Some((head, _)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let length = head.split_once("Content-Length: ").expect("a length").1;
                let length = length.split("\r\n").next().expect("a line");
                let length: usize = length.parse().expect("a number");
                let content = &all[head.len() + 4..];
                if content.len() >= length {
                    break Some((head.to_owned(), content.to_vec()));
                }
            };
            let Some(request) = request else { continue };
            let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
            if tls.write_all(answer).and_then(|()| tls.flush()).is_ok() {
                let _ = sender.send(request);
            }
        }
    });
    posted
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip");
    let mut input = gzip.stdin.take().expect("it was asked for");
    input.write_all(packed).expect("less than a pipe holds");
    drop(input);
    let output = gzip.wait_with_output().expect("it ends");
    assert!(output.status.success(), "it is not gzip");
    output.stdout
}

#[test]
fn a_report_of_tls_is_posted_to_a_web_server_that_an_authority_vouches_for() {
    let web_socket = TcpListener::bind((WEB, 443)).ok();
    let no_port = web_socket
        .is_none()
        .then_some("the right to listen on port 443");
    if let Some(what) = missing(HERE).or(missing(THERE)).or(no_port) {
        assert!(std::env::var_os("RINGPOST_CI").is_none(), "{what}: missing");
        eprintln!("skipped: {what}: missing");
        return;
    }
    let (authority, config) = authority_and_server();
    let posted = web(web_socket.expect("looked at above"), config);
    let internet = Internet::new();
    let (home, there) = (Home::with_leg_size("128MiB"), Home::with_leg_size("128MiB"));
    let begin = |home: &Home, name: &str, listen: &str, domain: &str, person: &str| {
        let trusted = home.directory.path().join("authority.pem");
        std::fs::write(&trusted, &authority).expect("it is ours");
        let text = configuration(home, &internet, name, &format!("{listen}:25"));
        home.configure_as(&format!("{text}authorities = {trusted:?}\n"));
        let daemon = home.start();
        home.ctl_ok(&["domain", "add", domain]);
        home.ctl_ok(&["account", "add", person, "--password", PASSWORD]);
        daemon
    };
    let _there = begin(
        &there,
        "mx.there.example",
        THERE,
        "there.example",
        "carol@there.example",
    );
    let _home = begin(
        &home,
        "mx.here.example",
        HERE,
        "here.example",
        "alice@here.example",
    );
    let wants = format!("_smtp._tls TXT \"v=TLSRPTv1; rua=https://{WEB_NAME}/tls?for=there\"");
    let _internet = internet.serve(&[
        ("example", false, ""),
        (
            "here.example",
            false,
            &format!("@ MX 10 mx\nmx A {HERE}\n@ TXT \"v=spf1 a:mx.here.example -all\""),
        ),
        (
            "there.example",
            false,
            &format!("@ MX 10 mx\nmx A {THERE}\nreports A {WEB}\n{wants}"),
        ),
    ]);
    submit(&home, "carol@there.example");
    letter(&there, "carol@there.example");

    let begun = std::time::Instant::now();
    let sent = loop {
        // until the connection is counted; bounded by WITHIN
        let words = ["--json", "report", "send", "--domain", "there.example"];
        let sent: Value = serde_json::from_str(&home.ctl_ok(&words)).expect("JSON");
        if sent.as_array().is_some_and(|sent| !sent.is_empty()) {
            break sent;
        }
        assert!(begun.elapsed() < WITHIN, "nothing is counted");
        std::thread::sleep(Duration::from_millis(100));
    };
    let to = format!("https://{WEB_NAME}/tls?for=there");
    assert_eq!(sent[0]["to"][0], to, "{sent}");
    assert_eq!(sent[0]["why"], "", "{sent}");

    let (head, packed) = posted.recv_timeout(WITHIN).expect("it was posted");
    assert!(
        head.starts_with("POST /tls?for=there HTTP/1.1\r\n"),
        "{head}"
    );
    for wanted in [
        format!("Host: {WEB_NAME}\r\n"),
        "Content-Type: application/tlsrpt+gzip\r\n".to_owned(),
    ] {
        assert!(head.contains(&wanted), "{wanted}: {head}");
    }
    // RFC 8460 §4.4.
    let report: Value = serde_json::from_slice(&unpacked(&packed)).expect("JSON");
    let policy = &report["policies"][0];
    assert_eq!(
        policy["policy"]["policy-domain"], "there.example",
        "{report}"
    );
    let summary = &policy["summary"];
    assert_eq!(summary["total-successful-session-count"], 1, "{report}");
    assert_eq!(summary["total-failure-session-count"], 0, "{report}");
    for key in ["organization-name", "contact-info", "report-id"] {
        assert!(report[key].is_string(), "{key}: {report}");
    }
    assert!(posted.try_recv().is_err(), "once");
}
