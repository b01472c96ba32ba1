//! An authority in memory that has ARI (RFC 9773), which Debian's Pebble does not have yet.

use std::sync::{Arc, Mutex};

use data_encoding::BASE64URL_NOPAD;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::{Method, Response};
use plan::Settings;
use plan::settings::Tls;
use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair};

use super::super::web;
use super::*;
use crate::certificate::Shown;
use crate::state::State;

const DIRECTORY: &str = "https://ca.example/dir";

/// `[acme]` with an account and a certificate that another authority key signed; both are kept.
fn kept(folder: &std::path::Path) -> Arc<Acme> {
    let text = format!(
        "[server]\nname = \"mail.example.org\"\n[volume]\nlegs = [\"a\", \"b\"]\n[listen]\nchallenge = [\"127.0.0.1:80\"]\n\
         [acme]\ndirectory = \"{DIRECTORY}\"\nterms_agreed = true\n"
    );
    let settings = Settings::parse("x.toml", &text).expect("right");
    let state = State::open(folder).expect("free");
    let mut signer = CertificateParams::new(Vec::new()).expect("no names");
    signer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(signer, KeyPair::generate().expect("a key"));
    let mut params = CertificateParams::new(vec!["mail.example.org".to_owned()]).expect("a name");
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().expect("a key");
    let pair = Pair {
        chain: params.signed_by(&key, &issuer).expect("signed").pem(),
        key: key.serialize_pem(),
    };
    write_pair(
        &state.join("acme-certificate.pem"),
        &state.join("acme-key.pem"),
        &pair,
    )
    .expect("written");
    let account = serde_json::json!({
        "id": "https://ca.example/account/1",
        "key_pkcs8": BASE64URL_NOPAD.encode(&KeyPair::generate().expect("a key").serialize_der()),
        "directory": DIRECTORY,
    });
    let account = account.to_string();
    files::replace(
        &state.join("acme-account.json"),
        account.as_bytes(),
        Mode::Private,
    )
    .expect("written");
    let shown = Shown::open(&Tls::default(), &state, "mail.example.org").expect("shown");
    let acme = Acme::open(&settings, &state, &shown).expect("right");
    acme.expect("a directory is set")
}

/// What was asked: method, path, and the body's payload.
type Log = Arc<Mutex<Vec<(Method, String, String)>>>;

/// Runs `work` with a client whose requests are answered with status, headers and body by `answer`.
fn with_authority<T>(
    answer: impl Fn(&str, &str) -> (u16, Vec<(&'static str, &'static str)>, String) + 'static,
    work: impl AsyncFnOnce(Web) -> T,
) -> (T, Vec<(Method, String, String)>) {
    let log = Log::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let local = tokio::task::LocalSet::new();
    let (client, mut asked) = web::web();
    let written = log.clone();
    let done = runtime.expect("a runtime").block_on(local.run_until(async {
        tokio::task::spawn_local(async move {
            while let Some((request, reply)) = asked.recv().await {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.expect("in memory").to_bytes();
                let jws: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
                let payload = jws["payload"].as_str().unwrap_or_default();
                let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).expect("base64");
                let payload = String::from_utf8(payload).expect("JSON");
                let path = parts.uri.path().to_owned();
                let (status, headers, text) = answer(&path, &payload);
                written
                    .lock()
                    .expect("ours")
                    .push((parts.method, path, payload));
                let mut response = Response::builder()
                    .status(status)
                    .header("Replay-Nonce", "n");
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                let _ = reply.send(Ok(response.body(Bytes::from(text)).expect("right")));
            }
        });
        work(client).await
    }));
    let log = log.lock().expect("ours").clone();
    (done, log)
}

fn directory() -> String {
    let at = |name: &str| format!("https://ca.example/{name}");
    serde_json::json!({"newNonce": at("nonce"), "newAccount": at("new"), "newOrder": at("order"), "renewalInfo": at("ari")}).to_string()
}

#[test]
fn the_authority_is_asked_when_to_renew_by_the_certificate_s_own_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let acme = kept(folder.path());
    let answer = |path: &str, _: &str| match path {
        "/dir" => (200, vec![], directory()),
        path if path.starts_with("/ari/") => {
            let window = r#"{"suggestedWindow":{"start":"2027-01-02T00:00:00Z","end":"2027-01-03T00:00:00Z"}}"#;
            (200, vec![("Retry-After", "21600")], window.to_owned())
        }
        other => panic!("{other} was not to be asked"),
    };
    let (found, log) = with_authority(answer, async |web| window(&acme, web).await);
    let (ends, again) = found.expect("an answer").expect("a window");
    assert_eq!(ends, (1_798_848_000, 1_798_934_400));
    // Retry-After becomes a moment, and from then on time goes.
    assert!((21_500..=21_600).contains(&again.as_secs()), "{again:?}");
    let name = log[1].1.strip_prefix("/ari/").expect("the second request");
    let (key, serial) = name.split_once('.').expect("two parts");
    assert_eq!(
        BASE64URL_NOPAD
            .decode(key.as_bytes())
            .expect("base64")
            .len(),
        20
    );
    assert!(BASE64URL_NOPAD.decode(serial.as_bytes()).is_ok(), "{name}");
}

#[test]
fn an_authority_that_does_not_say_when_is_no_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let acme = kept(folder.path());
    let answer = |_: &str, _: &str| (200, vec![], directory().replace("renewalInfo", "other"));
    let (found, log) = with_authority(answer, async |web| window(&acme, web).await);
    assert!(found.expect("no failure").is_none());
    assert_eq!(log.len(), 1, "{log:?}");
}

/// RFC 9773 §5: an order names what it replaces; where the authority does not take that, it is an order as any other.
#[test]
fn a_renewal_says_what_it_replaces_and_is_made_without_that_where_it_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let acme = kept(folder.path());
    acme.change(|tries| tries.set_window(now_s(), (0, 1), 3_600, 0.5));
    let answer = |path: &str, payload: &str| match path {
        "/dir" => (200, vec![], directory()),
        "/nonce" => (200, vec![], String::new()),
        "/order" if payload.contains("replaces") => {
            let problem = r#"{"type":"urn:ietf:params:acme:error:alreadyReplaced","status":409}"#;
            (409, vec![], problem.to_owned())
        }
        "/order" => {
            let order =
                r#"{"status":"pending","authorizations":[],"finalize":"https://ca.example/f"}"#;
            (
                201,
                vec![("Location", "https://ca.example/order/1")],
                order.to_owned(),
            )
        }
        other => panic!("{other} was not to be asked"),
    };
    let (begun, log) = with_authority(answer, async |web| {
        let account = account(&acme, web).await?;
        let names = [Identifier::Dns("mail.example.org".to_owned())];
        begin(&acme, &account, &names)
            .await
            .map(|order| order.url().to_owned())
    });
    assert_eq!(begun.as_deref(), Ok("https://ca.example/order/1"));
    let orders: Vec<&str> = log
        .iter()
        .filter(|one| one.1 == "/order")
        .map(|one| one.2.as_str())
        .collect();
    assert_eq!(orders.len(), 2, "{log:?}");
    assert!(orders[0].contains("replaces") && !orders[1].contains("replaces"));
}

/// A limit is not gone around by an order of another form.
#[test]
fn a_rate_limit_ends_the_try() {
    let folder = tempfile::tempdir().expect("a folder");
    let acme = kept(folder.path());
    acme.change(|tries| tries.set_window(now_s(), (0, 1), 3_600, 0.5));
    let answer = |path: &str, _: &str| match path {
        "/dir" => (200, vec![], directory()),
        "/nonce" => (200, vec![], String::new()),
        _ => {
            let problem = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","status":429}"#;
            (429, vec![("Retry-After", "3600")], problem.to_owned())
        }
    };
    let (ordered, log) = with_authority(answer, async |web| order(&acme, web).await.map(drop));
    let why = ordered.expect_err("limited");
    assert!(why.contains("too many"), "{why}");
    assert_eq!(log.iter().filter(|one| one.1 == "/order").count(), 1);
}
