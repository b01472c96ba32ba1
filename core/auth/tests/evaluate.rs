//! Whole messages against names in memory: what each standard says of them, and what bad input comes to.

#[path = "evaluate/arc.rs"]
mod arc;
#[path = "evaluate/dkim.rs"]
mod dkim;
#[path = "evaluate/dmarc.rs"]
mod dmarc;
#[path = "evaluate/spf.rs"]
mod spf;

use std::net::IpAddr;

use auth::{Ask, Envelope, Outcome, Verdict};
use device::sim::SimWorld;
use dns::Table;
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256, SigningKey};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;

const NOW: u64 = 1_780_000_000;
const CLIENT: &str = "192.0.2.25";

/// What is asked for, and of what.
struct Case<'a> {
    client: &'a str,
    helo: &'a str,
    mail_from: &'a str,
    content: String,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Case {
            client: CLIENT,
            helo: "mail.example.net",
            mail_from: "sender@example.net",
            content: message("sender@example.net"),
        }
    }
}

fn message(from: &str) -> String {
    format!(
        "From: Sender <{from}>\r\nTo: alice@example.org\r\nSubject: hello\r\n\r\nHello, Alice\r\n"
    )
}

/// The verdict, the field about it, and how many look-ups it took.
fn evaluate(fill: impl FnOnce(&Table), case: Case) -> (Verdict, String, u32) {
    let world = SimWorld::new(1);
    let host = world.io().host;
    world.block_on(async move {
        let table = Table::new(&host, 1);
        fill(&table);
        let now = || host.now().0;
        let ask = Ask::new(&table, &now);
        let envelope = Envelope {
            client: address(case.client),
            helo: case.helo,
            mail_from: case.mail_from,
        };
        let verdict = auth::verdict(&ask, &envelope, case.content.as_bytes(), NOW).await;
        let field = verdict.field("mx.example.org", &envelope);
        assert!(field.ends_with("\r\n") && field.lines().all(|line| line.len() < 998));
        (verdict, field, ask.lookups())
    })
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

const ED25519_KEY: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// The key of RFC 8463 §A.2, whose other half is `ED25519_KEY`.
fn ed25519() -> Ed25519Key {
    let decode = |text: &str| {
        data_encoding::BASE64
            .decode(text.as_bytes())
            .expect("base64")
    };
    let seed = decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=");
    let public = decode("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    Ed25519Key::from_seed_and_public_key(&seed, &public).expect("a key")
}

/// A new RSA key of 2,048 bits, and the record for it.
fn rsa() -> (RsaKey<Sha256>, String) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pair.serialize_der());
    let key = RsaKey::from_key_der(der.into()).expect("it can be read");
    let record = data_encoding::BASE64.encode(&key.public_key());
    (key, format!("v=DKIM1; k=rsa; p={record}"))
}

/// `content` with a signature of `domain` in front, its key at the selector `s`.
fn signed(key: impl SigningKey, domain: &str, content: &str) -> String {
    let signer = DkimSigner::from_key(key)
        .domain(domain)
        .selector("s")
        .headers(["From", "To", "Subject"]);
    let signature = signer.sign(content.as_bytes()).expect("it can be signed");
    format!("{}{content}", signature.to_header())
}

fn outcomes(verdict: &Verdict) -> Vec<Outcome> {
    let signatures = verdict.signatures.dkim.iter();
    signatures.map(|one| one.found.outcome).collect()
}
