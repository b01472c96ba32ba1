//! Tokens of a provider that is written here, and those that others make up.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://id.example/realm";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

fn rules() -> Rules {
    Rules {
        issuer: ISSUER.to_owned(),
        audience: vec!["other".to_owned(), "mail".to_owned()],
        scope: String::new(),
        claim: "email".to_owned(),
    }
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "mail", "exp": NOW + 600, "nbf": NOW - 5, "email": "ann@example.org" })
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let (header, claims) = (header.to_string(), claims.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

struct Ec(EcdsaKeyPair);

impl Ec {
    fn new() -> Ec {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Ec(pair.expect("a key"))
    }

    fn jwk(&self, id: &str) -> Value {
        let public = self.0.public_key().as_ref();
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": id, "x": encode(&public[1..33]), "y": encode(&public[33..]) })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signed = self.0.sign(&SystemRandom::new(), message.as_bytes());
        format!("{message}.{}", encode(signed.expect("signed")))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(
            &json!({ "alg": "ES256", "kid": "one", "typ": "at+jwt" }),
            claims,
        )
    }
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a key set")
}

fn check(token: &str, keys: &KeySet) -> Result<Claims, Flaw> {
    Token::parse(token)?.check(keys, &rules(), NOW)
}

#[test]
fn a_good_token_names_its_account() {
    let ec = Ec::new();
    let keys = set(&[ec.jwk("one")]);
    let good = check(&ec.token(&claims()), &keys).expect("it is good");
    assert_eq!(good.name, "ann@example.org");
    assert_eq!(good.expires_s, NOW + 600);
    // Without a name of a key, each of them is tried.
    let other = Ec::new();
    let keys = set(&[other.jwk("two"), ec.jwk("one")]);
    let token = ec.sign(&json!({ "alg": "ES256" }), &claims());
    assert!(check(&token, &keys).is_ok());
}

#[test]
fn rsa_and_ed25519_are_checked_too() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let public = pair.public_key();
    let (n, e) = (
        public.modulus().big_endian_without_leading_zero().to_vec(),
        public.exponent().big_endian_without_leading_zero().to_vec(),
    );
    let rsa = json!({ "kty": "RSA", "kid": "r", "alg": "RS256", "n": encode(&n), "e": encode(e) });
    let ed = Ed25519KeyPair::generate().expect("a key");
    let okp = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "e", "x": encode(ed.public_key()) });
    let keys = set(&[rsa, okp]);
    let message = unsigned(&json!({ "alg": "RS256", "kid": "r" }), &claims());
    let mut signed = vec![0; pair.public_modulus_len()];
    let by = |algorithm: &'static dyn signature::RsaEncoding, message: &str, signed: &mut [u8]| {
        let random = SystemRandom::new();
        pair.sign(algorithm, &random, message.as_bytes(), signed)
            .expect("signed");
    };
    by(&signature::RSA_PKCS1_SHA256, &message, &mut signed);
    let token = format!("{message}.{}", encode(&signed));
    assert!(check(&token, &keys).is_ok());
    // RFC 7517 §4.4: a key that is for one algorithm is for no other one.
    let message = unsigned(&json!({ "alg": "PS256", "kid": "r" }), &claims());
    by(&signature::RSA_PSS_SHA256, &message, &mut signed);
    let token = format!("{message}.{}", encode(&signed));
    assert_eq!(check(&token, &keys), Err(Flaw::Algorithm));
    let message = unsigned(&json!({ "alg": "EdDSA", "kid": "e" }), &claims());
    let token = format!("{message}.{}", encode(ed.sign(message.as_bytes())));
    assert!(check(&token, &keys).is_ok());
}

/// RFC 8725 §2.1: what a token says of its own algorithm.
#[test]
fn none_and_a_public_key_as_a_secret_are_refused() {
    let ec = Ec::new();
    let keys = set(&[ec.jwk("one")]);
    for none in ["none", "None", "NONE", "nOnE", ""] {
        for id in [json!("one"), Value::Null] {
            let header = json!({ "alg": none, "kid": id });
            let token = format!("{}.", unsigned(&header, &claims()));
            assert_eq!(check(&token, &keys), Err(Flaw::Algorithm), "{none}");
        }
    }
    // Signed with HMAC, the public key as the secret.
    let secret =
        aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, ec.0.public_key().as_ref());
    let message = unsigned(&json!({ "alg": "HS256", "kid": "one" }), &claims());
    let tag = aws_lc_rs::hmac::sign(&secret, message.as_bytes());
    let token = format!("{message}.{}", encode(tag));
    assert_eq!(check(&token, &keys), Err(Flaw::Algorithm));
    // Nor is a shared secret taken out of a key set.
    let oct = json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": encode("secret") });
    let document = json!({ "keys": [oct] }).to_string();
    assert!(KeySet::parse(document.as_bytes()).is_err());
}

#[test]
fn what_a_token_says_must_be_for_us_and_for_now() {
    let ec = Ec::new();
    let keys = set(&[ec.jwk("one")]);
    let with = |name: &str, value: Value| {
        let mut changed = claims();
        changed[name] = value;
        check(&ec.token(&changed), &keys).map(|claims| claims.name)
    };
    let without = |name: &str| {
        let mut changed = claims();
        changed.as_object_mut().expect("an object").remove(name);
        check(&ec.token(&changed), &keys).map(|claims| claims.name)
    };
    assert_eq!(with("iss", json!("https://id.example")), Err(Flaw::Issuer));
    assert_eq!(without("iss"), Err(Flaw::Issuer));
    assert_eq!(with("aud", json!("calendar")), Err(Flaw::Audience));
    assert_eq!(with("aud", json!([])), Err(Flaw::Audience));
    assert_eq!(without("aud"), Err(Flaw::Audience));
    assert!(with("aud", json!(["calendar", "mail"])).is_ok());
    assert!(with("exp", json!(NOW - 59)).is_ok(), "clocks differ");
    assert_eq!(with("exp", json!(NOW - 60)), Err(Flaw::Expired));
    assert_eq!(with("exp", json!("tomorrow")), Err(Flaw::Malformed));
    assert_eq!(with("exp", json!(i64::MIN)), Err(Flaw::Expired));
    assert_eq!(without("exp"), Err(Flaw::Malformed));
    assert!(with("nbf", json!(NOW + 60)).is_ok());
    assert_eq!(with("nbf", json!(NOW + 61)), Err(Flaw::NotYet));
    assert!(with("email_verified", json!(true)).is_ok());
    for denied in [json!(false), json!("false"), json!(0)] {
        assert_eq!(with("email_verified", denied), Err(Flaw::Claim));
    }
    assert_eq!(without("email"), Err(Flaw::Claim));
    assert_eq!(with("email", json!("")), Err(Flaw::Claim));
    let scoped = Rules {
        scope: "mail.read mail.send".to_owned(),
        ..rules()
    };
    for (name, value, is_good) in [
        ("scope", json!("x mail.send mail.read"), true),
        ("scp", json!(["mail.read", "mail.send"]), true),
        ("scope", json!("mail.read"), false),
        ("scope", json!("mail.reader mail.send"), false),
    ] {
        let mut changed = claims();
        changed[name] = value;
        let token = ec.token(&changed);
        let checked = Token::parse(&token).unwrap().check(&keys, &scoped, NOW);
        assert_eq!(checked.is_ok(), is_good, "{name}");
        assert!(is_good || checked == Err(Flaw::Scope));
    }
}

#[test]
fn another_key_another_kind_and_a_changed_token_are_refused() {
    let (ec, other) = (Ec::new(), Ec::new());
    let keys = set(&[ec.jwk("one")]);
    assert_eq!(check(&other.token(&claims()), &keys), Err(Flaw::Signature));
    let token = ec.token(&claims());
    let (message, _) = token.rsplit_once('.').unwrap();
    assert_eq!(check(&format!("{message}."), &keys), Err(Flaw::Signature));
    let header = |header: Value| check(&ec.sign(&header, &claims()), &keys);
    let unknown = header(json!({ "alg": "ES256", "kid": "two" }));
    assert_eq!(unknown, Err(Flaw::Key));
    let unnamed = other.sign(&json!({ "alg": "ES256" }), &claims());
    assert_eq!(
        check(&unnamed, &keys),
        Err(Flaw::Key),
        "it may be a new key"
    );
    for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt"] {
        let refused = header(json!({ "alg": "ES256", "kid": "one", "typ": typ }));
        assert_eq!(refused, Err(Flaw::Type));
    }
    let critical = header(json!({ "alg": "ES256", "kid": "one", "crit": ["b64"], "b64": false }));
    assert_eq!(critical, Err(Flaw::Type));
    for malformed in [
        "",
        "a",
        "a.b",
        "a.b.c",
        "...",
        "e30.e30.e30.e30",
        "e30.W10.",
    ] {
        assert_eq!(
            check(malformed, &keys).map(|_| ()),
            Err(Flaw::Malformed),
            "{malformed}"
        );
    }
    let long = format!("{token}{}", "A".repeat(TOKEN_BYTES_MAX));
    assert_eq!(check(&long, &keys).map(|_| ()), Err(Flaw::Malformed));
}

#[test]
fn a_key_set_is_bounded_and_leaves_out_what_it_cannot_use() {
    let ec = Ec::new();
    let mut encrypts = ec.jwk("enc");
    encrypts["use"] = json!("enc");
    let mut signs = ec.jwk("ops");
    signs["key_ops"] = json!(["sign"]);
    let odd = json!({ "kty": "new", "kid": "odd" });
    let huge = json!({ "kty": "RSA", "kid": "huge", "n": encode(vec![0xff; 1_024]), "e": "AQAB" });
    let keys = set(&[encrypts, signs, odd, json!(7), huge, ec.jwk("one")]);
    assert_eq!(keys.len(), 1);
    assert!(keys.has("one") && !keys.has("enc"));
    let many: Vec<Value> = (0..1_000)
        .map(|number| ec.jwk(&number.to_string()))
        .collect();
    assert_eq!(set(&many).len(), KEYS_MAX);
    let filler = " ".repeat(DOCUMENT_BYTES_MAX);
    assert!(KeySet::parse(format!("{{\"keys\":[]}}{filler}").as_bytes()).is_err());
    assert!(KeySet::parse(b"<html>").is_err());
}
