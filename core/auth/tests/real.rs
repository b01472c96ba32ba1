//! opendkim (package `opendkim`) as a judge: for the same bytes and the same key it and we come to the same result.
//!
//! Where it is not installed the story says so and ends, unless `RINGPOST_CI` is set. `cargo xtask test --only real` installs it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use auth::{Ask, Envelope, Outcome};
use device::sim::SimWorld;
use dns::Table;
use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::{Canonicalization, DkimSigner};
use rcgen::PublicKeyData;

const KEY: &str = "s._domainkey.example.net";

fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Whether opendkim finds a signature that passes in `content`, with `record` as the key.
fn judge(program: &Path, folder: &Path, record: &str, content: &str) -> bool {
    let at = |name: &str| folder.join(name);
    std::fs::write(at("keys"), format!("{KEY} {record}\n")).expect("it is ours");
    let settings = format!("Mode v\nTestDNSData {}\n", at("keys").display());
    std::fs::write(at("settings"), settings).expect("it is ours");
    std::fs::write(at("message"), content).expect("it is ours");
    let output = Command::new(program)
        .arg("-x")
        .arg(at("settings"))
        .arg("-t")
        .arg(at("message"))
        .arg("-v")
        .arg("-v")
        .output()
        .expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    said.contains("dkim=pass")
}

fn ours(record: &str, content: &str) -> bool {
    let world = SimWorld::new(1);
    let host = world.io().host;
    world.block_on(async move {
        let table = Table::new(&host, 1);
        table.set_texts(KEY, &[record]);
        let ask = Ask::new(&table, &|| 0);
        let envelope = Envelope {
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: "mail.example.net",
            mail_from: "a@example.net",
        };
        let verdict = auth::verdict(&ask, &envelope, content.as_bytes(), 1_780_000_000).await;
        let mut signatures = verdict.signatures.dkim.iter();
        signatures.any(|one| one.found.outcome == Outcome::Pass)
    })
}

#[test]
fn opendkim_and_we_agree_on_every_change() {
    let Some(program) = installed("opendkim") else {
        assert!(
            std::env::var_os("RINGPOST_CI").is_none(),
            "the package opendkim is missing: apt-get install opendkim"
        );
        eprintln!("skipped: the package opendkim is not installed");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let key = || {
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pair.serialize_der());
        RsaKey::<Sha256>::from_key_der(der.into()).expect("it can be read")
    };
    let public = data_encoding::BASE64.encode(&pair.subject_public_key_info());
    let record = format!("v=DKIM1; k=rsa; p={public}");
    let plain = "From: Sender <a@example.net>\r\nTo: b@example.org\r\nSubject: one  two\r\n three\r\n\
        Date: Sun, 29 Nov 2026 00:00:00 +0000\r\n\r\nFirst  line \r\n\r\nSecond\tline\r\n\r\n\r\n";
    let changes: [(&str, &str); 11] = [
        ("", ""),
        (
            "Subject: one  two\r\n three",
            "Subject:  one two\r\n\tthree ",
        ),
        ("Subject:", "SUBJECT:"),
        ("Subject: one", "Subject: One"),
        ("First  line \r\n", "First line\r\n"),
        ("First", "first"),
        ("line\r\n\r\n\r\n", "line\r\n\r\n\r\n\r\n"),
        ("line\r\n\r\n\r\n", "line\r\n"),
        ("From: Sender", "Received: from x by y; z\r\nFrom: Sender"),
        ("Date:", "Subject: another\r\nDate:"),
        ("To: b@", "To: c@"),
    ];
    let (mut passed, mut failed) = (0, 0);
    for form in [Canonicalization::Relaxed, Canonicalization::Simple] {
        let signer = DkimSigner::from_key(key())
            .domain("example.net")
            .selector("s")
            .headers(["From", "To", "Subject", "Date"])
            .header_canonicalization(form)
            .body_canonicalization(form);
        let signature = signer.sign(plain.as_bytes()).expect("it can be signed");
        let signed = format!("{}{plain}", signature.to_header());
        for (from, to) in changes {
            let changed = signed.replacen(from, to, 1);
            assert!(from.is_empty() || changed != signed, "{from:?}");
            let found = ours(&record, &changed);
            let judged = judge(&program, folder.path(), &record, &changed);
            assert_eq!(found, judged, "{form:?}: {from:?} became {to:?}");
            passed += usize::from(found);
            failed += usize::from(!found);
        }
    }
    assert!(
        passed >= 6 && failed >= 6,
        "{passed} passed, {failed} failed"
    );
}
