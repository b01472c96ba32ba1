//! Logins by tokens of a provider and by certificates, of programs that we did not write: imaplib, smtplib, poplib, curl, openssl.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::daemon::{ALICE, Daemon, Home, bounded, files_below, said};

/// A provider on the loopback: its configuration and its keys.
struct Provider {
    issuer: String,
    pages: Arc<Mutex<HashMap<String, String>>>,
}

impl Provider {
    fn start(keys: &[&Ec]) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let pages = Arc::<Mutex<HashMap<String, String>>>::default();
        let answers = pages.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
                let mut first = String::new();
                let mut line = String::new();
                reader.read_line(&mut first).expect("a request");
                while reader.read_line(&mut line).expect("a field") > 2 {
                    line.clear();
                }
                let path = first.split(' ').nth(1).unwrap_or_default();
                let text = answers.lock().unwrap().get(path).cloned();
                let (status, text) = text.map_or((503, String::new()), |text| (200, text));
                let length = text.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(format!("{head}{text}").as_bytes());
            }
        });
        let provider = Provider { issuer, pages };
        let keys_url = format!("{}/keys", provider.issuer);
        let text = json!({ "issuer": provider.issuer, "jwks_uri": keys_url });
        provider.set("/.well-known/openid-configuration", text);
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        provider.set("/keys", json!({ "keys": keys }));
        provider
    }

    fn set(&self, path: &str, text: Value) {
        let mut pages = self.pages.lock().unwrap();
        pages.insert(path.to_owned(), text.to_string());
    }

    fn claims(&self) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
        json!({ "iss": self.issuer, "aud": "mail", "exp": now.as_secs() + 600, "email": ALICE, "email_verified": true })
    }
}

struct Ec(EcdsaKeyPair);

impl Ec {
    fn new() -> Ec {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Ec(pair.expect("a key"))
    }

    fn jwk(&self) -> Value {
        let public = self.0.public_key().as_ref();
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "kid": "one", "x": encode(&public[1..33]), "y": encode(&public[33..]) })
    }

    fn sign(&self, claims: &Value) -> String {
        let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let header = json!({ "alg": "ES256", "kid": "one", "typ": "at+jwt" });
        let message = format!("{}.{}", encode(&header), encode(claims));
        let signed = self.0.sign(&SystemRandom::new(), message.as_bytes());
        let signed = BASE64URL_NOPAD.encode(signed.expect("signed").as_ref());
        format!("{message}.{signed}")
    }
}

/// An appliance with alice on it and every listener of people's programs inside of TLS.
fn start(home: &Home, more: &str) -> Daemon {
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdC4uLg$bm9ib2R5J3MgaGFzaCwgMzIgYnl0ZXMgb2YgaXQuLi4";
    home.configure(&format!(
        "submissions = [\"{}\"]\npop3s = [\"{}\"]\nmanagesieve = [\"{}\"]\n[[domain]]\nname = \"example.org\"\n\
         [[account]]\naddress = \"{ALICE}\"\npassword_hash = \"{hash}\"\n{more}",
        home.at(465),
        home.at(995),
        home.at(4190),
    ));
    home.start()
}

fn with_provider(provider: &Provider) -> String {
    let issuer = &provider.issuer;
    format!("[[oauth]]\nissuer = \"{issuer}\"\naudience = [\"mail\"]\nplain_on_loopback = true\n")
}

fn json_of(home: &Home, arguments: &[&str]) -> Value {
    let text = home.ctl_ok(&[&["--json"], arguments].concat());
    serde_json::from_str(&text).expect("JSON")
}

fn python(home: &Home, token: &str, program: &str) -> Output {
    let ports = [993, 995, 465].map(|port| home.port(port).to_string());
    let mut command = Command::new("python3");
    bounded(command.args(["-c", program, token]).args(ports))
}

fn curl(home: &Home, scheme: &str, port: u16, token: &str) -> Output {
    let url = match scheme {
        "smtps" => format!("smtps://{}/client.example", home.at(port)),
        _ => format!("{scheme}://{}/", home.at(port)),
    };
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--insecure", "--verbose"]);
    curl.args(["--user", ALICE, "--oauth2-bearer", token]);
    if scheme == "smtps" {
        curl.args(["--request", "NOOP"]);
    }
    bounded(curl.arg(&url))
}

#[test]
fn tokens_log_in_python_and_curl_and_are_in_no_file() {
    let (key, forger) = (Ec::new(), Ec::new());
    let provider = Provider::start(&[&key]);
    let home = Home::new();
    let daemon = start(&home, &with_provider(&provider));
    let good = key.sign(&provider.claims());
    let forged = forger.sign(&provider.claims());
    let mut old = provider.claims();
    old["exp"] = json!(1_700_000_000);
    let old = key.sign(&old);
    let program = r#"
import imaplib, poplib, smtplib, ssl, sys, base64
token, imaps, pop3s, submissions = sys.argv[1], *map(int, sys.argv[2:5])
anyone = ssl._create_unverified_context()
user = "alice@example.org"
forms = {
    "OAUTHBEARER": f"n,a={user},\x01host=h\x01port=1\x01auth=Bearer {token}\x01\x01",
    "XOAUTH2": f"user={user}\x01auth=Bearer {token}\x01\x01",
}
for mechanism, form in forms.items():
    imap = imaplib.IMAP4_SSL("127.0.0.1", imaps, ssl_context=anyone)
    assert "AUTH=" + mechanism in imap.capabilities, imap.capabilities
    said = []
    def answer(challenge):
        said.append(challenge)
        return form.encode() if len(said) == 1 else b"\x01"
    try:
        imap.authenticate(mechanism, answer)
        imap.select("INBOX")
        print("imap", mechanism, "in")
    except imaplib.IMAP4.error as error:
        print("imap", mechanism, error, said[1].decode())
    encoded = base64.b64encode(form.encode()).decode()
    pop = poplib.POP3_SSL("127.0.0.1", pop3s, context=anyone)
    try:
        answer = pop._shortcmd("AUTH " + mechanism + " " + encoded).decode()
        print("pop3", mechanism, answer)
        if answer.startswith("+ "):
            pop._shortcmd("AQ==")
    except poplib.error_proto as error:
        print("pop3", mechanism, error)
    with smtplib.SMTP_SSL("127.0.0.1", submissions, context=anyone) as smtp:
        smtp.ehlo()
        code, text = smtp.docmd("AUTH", mechanism + " " + encoded)
        print("smtp", mechanism, code, text)
        if code == 334:
            print("smtp", *smtp.docmd("AQ=="))
"#;
    let in_ = said(&python(&home, &good, program));
    for line in [
        "imap OAUTHBEARER in",
        "imap XOAUTH2 in",
        "pop3 XOAUTH2 +OK",
        "smtp OAUTHBEARER 235",
        "smtp XOAUTH2 235",
    ] {
        assert!(in_.contains(line), "{line}: {in_}");
    }
    for refused in [&forged, &old] {
        let out = said(&python(&home, refused, program));
        for line in [
            "imap OAUTHBEARER ",
            "smtp XOAUTH2 334",
            "invalid_token",
            "AUTHENTICATIONFAILED",
        ] {
            assert!(out.contains(line), "{line}: {out}");
        }
        assert!(!out.contains(" in\n") && !out.contains(" 235"), "{out}");
    }
    // curl does OAUTHBEARER where it is offered.
    for (scheme, port) in [("imaps", 993), ("pop3s", 995), ("smtps", 465)] {
        let output = curl(&home, scheme, port, &good);
        assert!(output.status.success(), "{scheme}: {}", said(&output));
        assert!(said(&output).contains("OAUTHBEARER"), "{scheme}");
        let output = curl(&home, scheme, port, &forged);
        assert!(!output.status.success(), "{scheme}: {}", said(&output));
    }
    let status = json_of(&home, &["oauth", "status"]);
    assert_eq!(status[0]["by"], "keys");
    assert_eq!(status[0]["keys"], 1);
    assert!(
        status[0]["good"].as_u64().expect("a count") >= 9,
        "{status}"
    );
    let shown = home.ctl_ok(&["oauth", "status"]);
    assert!(shown.contains(&provider.issuer), "{shown}");
    let listed = loop {
        // until all of them are written, which no login waits for; a test that hangs is ended from outside
        let listed = json_of(&home, &["audit", "list"]);
        let lines = listed.as_array().expect("lines").len();
        if lines >= 9 + 12 + 3 {
            break listed.to_string();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    for word in [
        "XOAUTH2",
        "granted",
        "wrong signature of the token",
        "expired token",
    ] {
        assert!(listed.contains(word), "{word}: {listed}");
    }
    let words = daemon.words();
    for token in [&good, &forged, &old] {
        let signature = token.rsplit('.').next().expect("a signature");
        assert!(!words.contains(signature), "in the log");
        for path in files_below(&home.state()) {
            let is_small = fs::metadata(&path).is_ok_and(|about| about.len() < 16 << 20);
            if is_small && let Ok(bytes) = fs::read(&path) {
                let found = bytes
                    .windows(signature.len())
                    .any(|window| window == signature.as_bytes());
                assert!(!found, "in {}", path.display());
            }
        }
    }
}

#[test]
fn a_provider_that_is_away_is_a_temporary_failure() {
    let key = Ec::new();
    let provider = Provider::start(&[&key]);
    provider.pages.lock().unwrap().clear();
    let home = Home::new();
    let _daemon = start(&home, &with_provider(&provider));
    let token = key.sign(&provider.claims());
    let output = said(&curl(&home, "imaps", 993, &token));
    assert!(output.contains("NO [UNAVAILABLE]"), "{output}");
    let output = said(&curl(&home, "smtps", 465, &token));
    assert!(output.contains("454 4.7.0"), "{output}");
    let status = json_of(&home, &["oauth", "status"]);
    assert_eq!(status[0]["answered_s"], Value::Null);
    assert!(
        status[0]["error"].as_str().expect("why").contains("503"),
        "{status}"
    );
    assert_eq!(status[0]["refused"], 0);
}

fn openssl(directory: &std::path::Path, line: &str) {
    let mut command = Command::new("sh");
    command.current_dir(directory).args(["-c", line]);
    let output = bounded(&mut command);
    assert!(output.status.success(), "{line}: {}", said(&output));
}

/// `ca`, `other-ca`, and certificates by them: `alice`, `bob` (no account), `old` (over), `stranger` (of the other authority).
fn certificates(directory: &std::path::Path) {
    for ca in ["ca", "other-ca"] {
        openssl(
            directory,
            &format!(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {ca}.key -out {ca}.pem -days 30 -subj /CN={ca}"
            ),
        );
    }
    for (name, address, ca) in [
        ("alice", ALICE, "ca"),
        ("bob", "bob@example.org", "ca"),
        ("old", ALICE, "ca"),
        ("stranger", ALICE, "other-ca"),
    ] {
        openssl(
            directory,
            &format!(
                "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ),
        );
        fs::write(
            directory.join("ext"),
            format!("subjectAltName=email:{address}\nextendedKeyUsage=clientAuth\n"),
        )
        .expect("our own file");
        match name {
            // `x509` of this release has no dates in the past: `ca` has.
            "old" => openssl(
                directory,
                &format!(
                    "mkdir -p db && : > db/index && echo 01 > db/serial && printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=db/index\\nserial=db/serial\\nnew_certs_dir=db\\ndefault_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' > db/conf && \
                 openssl ca -batch -config db/conf -cert {ca}.pem -keyfile {ca}.key -in {name}.csr -out {name}.pem -startdate 20200101000000Z -enddate 20200201000000Z -extfile ext -notext"
                ),
            ),
            _ => openssl(
                directory,
                &format!(
                    "openssl x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -out {name}.pem -extfile ext -days 20"
                ),
            ),
        }
    }
}

#[test]
fn a_certificate_logs_in_whom_it_names_and_programs_without_one_go_on() {
    let home = Home::new();
    let directory = home.directory.path().join("certificates");
    fs::create_dir(&directory).expect("our own");
    certificates(&directory);
    let ca = directory.join("ca.pem");
    let _daemon = start(&home, &format!("[client]\ncertificates_from = {ca:?}\n"));
    let program = r#"
import imaplib, poplib, smtplib, ssl, sys, base64
folder, imaps, pop3s, submissions = sys.argv[1], *map(int, sys.argv[2:5])
def context(name):
    one = ssl._create_unverified_context()
    if name:
        one.load_cert_chain(f"{folder}/{name}.pem", f"{folder}/{name}.key")
    return one
for name, user in [("alice", ""), ("alice", "alice@example.org"), ("alice", "bob@example.org"), ("bob", ""), ("bob", "alice@example.org"), ("old", ""), ("stranger", ""), (None, "")]:
    try:
        imap = imaplib.IMAP4_SSL("127.0.0.1", imaps, ssl_context=context(name))
        offered = "AUTH=EXTERNAL" in imap.capabilities
        imap.authenticate("EXTERNAL", lambda challenge: user.encode())
        imap.select("INBOX")
        print(name, user, offered, "in")
    except imaplib.IMAP4.error as error:
        print(name, user, offered, "refused", error)
    except (ssl.SSLError, ConnectionError, OSError, EOFError) as error:
        print(name, user, "no TLS")
with smtplib.SMTP_SSL("127.0.0.1", submissions, context=context("alice")) as smtp:
    print("smtp", "EXTERNAL" in smtp.ehlo()[1].decode(), *smtp.docmd("AUTH", "EXTERNAL ="))
pop = poplib.POP3_SSL("127.0.0.1", pop3s, context=context("alice"))
print("pop3", pop._shortcmd("AUTH EXTERNAL " + base64.b64encode(b"alice@example.org").decode()).decode())
"#;
    let output = said(&python(&home, &directory.display().to_string(), program));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 10, "{output}");
    assert_eq!(lines[0], "alice  True in", "{output}");
    assert_eq!(lines[1], "alice alice@example.org True in", "{output}");
    for refused in &lines[2..5] {
        assert!(refused.contains("True refused"), "{output}");
    }
    assert_eq!(lines[5], "old  no TLS", "{output}");
    assert_eq!(lines[6], "stranger  no TLS", "{output}");
    assert!(lines[7].starts_with("None  False refused"), "{output}");
    assert!(lines[8].starts_with("smtp True 235"), "{output}");
    assert!(lines[9].starts_with("pop3 +OK"), "{output}");
}
