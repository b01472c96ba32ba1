//! Against a provider that is written here: HTTP on the loopback, whose answers a test changes while it runs.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::*;

/// What is answered at a path; without an entry the connection stays open and nothing comes.
type Pages = Arc<Mutex<HashMap<String, (u16, String)>>>;

struct Served {
    issuer: String,
    pages: Pages,
    /// Each request: its path, and its body.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Served {
    fn start() -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let (pages, asked) = (Pages::default(), Arc::<Mutex<Vec<_>>>::default());
        let (answers, requests) = (pages.clone(), asked.clone());
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
                let (mut first, mut length) = (String::new(), 0);
                reader.read_line(&mut first).expect("a request");
                loop {
                    // until the empty line
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("a field");
                    if line.trim().is_empty() {
                        break;
                    }
                    let line = line.to_ascii_lowercase();
                    if let Some(value) = line.strip_prefix("content-length:") {
                        length = value.trim().parse().expect("a number");
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("a body");
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = String::from_utf8(body).expect("a form");
                requests.lock().unwrap().push((path.clone(), body));
                let Some((status, text)) = answers.lock().unwrap().get(&path).cloned() else {
                    silent.push(stream);
                    continue;
                };
                let length = text.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                // The client may stop reading where it is too long.
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(text.as_bytes());
            }
        });
        Served {
            issuer,
            pages,
            asked,
        }
    }

    fn set(&self, path: &str, status: u16, text: impl ToString) {
        let page = (status, text.to_string());
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    fn configure(&self) {
        let keys = format!("{}/keys", self.issuer);
        let text = json!({ "issuer": self.issuer, "jwks_uri": keys });
        self.set("/.well-known/openid-configuration", 200, text);
    }

    fn fetches(&self) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(path, _)| path == "/keys").count()
    }

    fn open(&self, more: &str) -> Arc<Oauth> {
        let issuer = &self.issuer;
        let text = format!(
            "issuer = \"{issuer}\"\naudience = [\"mail\"]\nplain_on_loopback = true\n{more}"
        );
        let settings: plan::oauth::Oauth = plan::oauth::parse(&text).expect("they are read");
        let opened = Oauth::open(&[settings]).expect("it starts");
        opened.expect("a provider")
    }

    fn claims(&self) -> Value {
        json!({ "iss": self.issuer, "aud": "mail", "exp": now_s() + 600, "email": "ann@example.org" })
    }
}

struct Ec(EcdsaKeyPair, &'static str);

impl Ec {
    fn new(id: &'static str) -> Ec {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Ec(pair.expect("a key"), id)
    }

    fn jwk(&self) -> Value {
        let public = self.0.public_key().as_ref();
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "kid": self.1, "x": encode(&public[1..33]), "y": encode(&public[33..]) })
    }

    fn sign(&self, claims: &Value) -> String {
        let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let header = json!({ "alg": "ES256", "kid": self.1 });
        let message = format!("{}.{}", encode(&header), encode(claims));
        let signed = self.0.sign(&SystemRandom::new(), message.as_bytes());
        let signed = BASE64URL_NOPAD.encode(signed.expect("signed").as_ref());
        format!("{message}.{signed}")
    }
}

fn run<F: Future<Output = ()>>(story: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(story);
}

fn ann() -> Checked {
    Ok(Ok("ann@example.org".to_owned()))
}

#[test]
fn a_key_that_was_rotated_in_is_fetched_and_a_flood_of_unknown_ones_is_not() {
    run(async {
        let (served, one, two) = (Served::start(), Ec::new("one"), Ec::new("two"));
        served.configure();
        served.set("/keys", 200, json!({ "keys": [one.jwk()] }));
        let oauth = served.open("");
        // The first fetch may be under way: the login waits for it.
        assert_eq!(oauth.check(one.sign(&served.claims())).await, ann());
        assert_eq!(served.fetches(), 1);
        served.set("/keys", 200, json!({ "keys": [one.jwk(), two.jwk()] }));
        // Less than a minute after the last fetch the provider's word stands.
        for _ in 0..50 {
            let checked = oauth.check(two.sign(&served.claims())).await;
            assert_eq!(checked, Ok(Err(Flaw::Key)));
        }
        assert_eq!(served.fetches(), 1);
        let By::Keys(keys) = &oauth.providers[0].by else {
            panic!("it has keys")
        };
        keys.grow_old(keys::APART);
        assert_eq!(oauth.check(two.sign(&served.claims())).await, ann());
        assert_eq!(served.fetches(), 2);
        assert_eq!(oauth.check(one.sign(&served.claims())).await, ann());
        let line = &oauth.lines()[0];
        assert_eq!((line.keys, line.good, line.refused), (2, 3, 50));
        assert_eq!((&line.error, line.unavailable), (&None, 0));
    });
}

#[test]
fn tokens_that_are_not_good_are_told_apart() {
    run(async {
        let (served, one) = (Served::start(), Ec::new("one"));
        served.configure();
        served.set("/keys", 200, json!({ "keys": [one.jwk()] }));
        let oauth = served.open("");
        for (name, value, flaw) in [
            ("exp", json!(now_s() - 61), Flaw::Expired),
            ("aud", json!("calendar"), Flaw::Audience),
            ("iss", json!("https://other.example"), Flaw::Issuer),
        ] {
            let mut claims = served.claims();
            claims[name] = value;
            assert_eq!(oauth.check(one.sign(&claims)).await, Ok(Err(flaw)));
        }
        let token = one.sign(&served.claims());
        let mut parts = token.split('.');
        let (_, claims) = (parts.next(), parts.next().unwrap());
        let none = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
        let checked = oauth.check(format!("{none}.{claims}.")).await;
        assert_eq!(checked, Ok(Err(Flaw::Algorithm)));
        assert_eq!(oauth.check("opaque".into()).await, Ok(Err(Flaw::Malformed)));
        assert_eq!(served.fetches(), 1);
    });
}

/// Keys from before are used; without them, or for a key that is not among them, nothing can be said.
#[test]
fn a_provider_that_is_away_makes_no_token_wrong() {
    run(async {
        let (served, one, two) = (Served::start(), Ec::new("one"), Ec::new("two"));
        served.set("/.well-known/openid-configuration", 503, "");
        let oauth = served.open("keep_keys = \"1h\"\n");
        let token = one.sign(&served.claims());
        assert_eq!(oauth.check(token.clone()).await, Err(Unavailable));
        let By::Keys(keys) = &oauth.providers[0].by else {
            panic!("it has keys")
        };
        assert!(oauth.lines()[0].error.as_ref().unwrap().contains("503"));
        served.configure();
        served.set("/keys", 200, json!({ "keys": [one.jwk()] }));
        keys.grow_old(keys::APART);
        assert_eq!(oauth.check(token.clone()).await, ann());
        // A key set that is too long is none, and the keys from before stay.
        let filler = " ".repeat(oauth::limits::DOCUMENT_BYTES_MAX);
        served.set(
            "/keys",
            200,
            format!("{}{filler}", json!({ "keys": [two.jwk()] })),
        );
        keys.grow_old(keys::APART);
        let unknown = two.sign(&served.claims());
        assert_eq!(oauth.check(unknown.clone()).await, Err(Unavailable));
        assert_eq!(oauth.check(unknown).await, Err(Unavailable));
        assert_eq!(oauth.check(token.clone()).await, ann());
        keys.grow_old(std::time::Duration::from_secs(3_600));
        assert_eq!(oauth.check(token).await, Err(Unavailable), "too old");
    });
}

#[test]
fn a_provider_that_hangs_costs_a_deadline_and_few_places() {
    run(async {
        let (served, one) = (Served::start(), Ec::new("one"));
        let oauth = served.open("");
        let token = one.sign(&served.claims());
        let checks = (0..keys::WAITING_MAX + 1).map(|_| oauth.check(token.clone()));
        let tasks: Vec<_> = checks.collect();
        let local = tokio::task::LocalSet::new();
        let tasks: Vec<_> = tasks
            .into_iter()
            .map(|one| local.spawn_local(one))
            .collect();
        local
            .run_until(async {
                for task in tasks {
                    assert_eq!(task.await.expect("it ends"), Err(Unavailable));
                }
            })
            .await;
        assert_eq!(oauth.lines()[0].unavailable, keys::WAITING_MAX as u64 + 1);
    });
}

#[test]
fn a_provider_that_is_asked_says_it_itself_and_is_remembered() {
    run(async {
        let served = Served::start();
        let directory = tempfile::tempdir().expect("a directory");
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "s3cret\n").expect("our own file");
        let oauth = served.open(&format!(
            "introspection_url = \"{}/ask\"\nclient_id = \"box\"\nclient_secret = \"{}\"\n",
            served.issuer,
            secret.display()
        ));
        let mut claims = served.claims();
        claims["active"] = json!(true);
        served.set("/ask", 200, &claims);
        for _ in 0..3 {
            assert_eq!(oauth.check("opaque+/=".into()).await, ann());
        }
        let asked = served.asked.lock().unwrap().clone();
        let form = "token=opaque%2B%2F%3D&token_type_hint=access_token".to_owned();
        assert_eq!(asked, [("/ask".to_owned(), form)]);
        served.set("/ask", 200, json!({ "active": false }));
        assert_eq!(oauth.check("other".into()).await, Ok(Err(Flaw::Inactive)));
        served.set("/ask", 401, "");
        assert_eq!(oauth.check("third".into()).await, Err(Unavailable));
        served.set("/ask", 200, "<html>");
        assert_eq!(oauth.check("third".into()).await, Err(Unavailable));
        let line = &oauth.lines()[0];
        assert_eq!((line.good, line.refused, line.unavailable), (3, 1, 2));
        assert!(!line.error.as_ref().unwrap().contains("third"));
    });
}
