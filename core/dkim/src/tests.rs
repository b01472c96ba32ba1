//! Signatures, verified as the other side does it (`mail-auth`), and the vectors of the RFCs.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use data_encoding::BASE64;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
};

use crate::limits::{FIELDS_SIGNED_MAX, SIGNATURE_BYTES_MAX};
use crate::sign::input;
use crate::*;

/// The keys that DNS would show, by name; it learns nothing.
struct Published(HashMap<Box<str>, Txt>);

impl ResolverCache<Box<str>, Txt> for Published {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(name).cloned()
    }

    fn remove<Q>(&self, _name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _key: Box<str>, _value: Txt, _valid_until: Instant) {}
}

/// What each signature of `message` comes to, first to last, where `keys` are published: name and text of the record.
fn verified(message: &[u8], keys: &[(&str, String)]) -> Vec<bool> {
    let key = |text: &str| DomainKey::parse(text.as_bytes()).expect("a record");
    let each = keys.iter().map(|(name, text)| {
        let name = format!("{name}.").into_boxed_str();
        (name, Txt::DomainKey(Arc::new(key(text))))
    });
    let published = Published(each.collect());
    // Its name servers are never asked: what is not published makes the future wait, which fails the test.
    let authenticator = MessageAuthenticator::new_cloudflare().expect("a resolver");
    let message = AuthenticatedMessage::parse(message).expect("a message");
    let parameters = Parameters::new(&message).with_txt_cache(&published);
    let mut verifying = pin!(authenticator.verify_dkim(parameters));
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(results) = verifying.as_mut().poll(&mut context) else {
        panic!("a key was asked for that is not published");
    };
    let passed = |result: &DkimResult| matches!(result, DkimResult::Pass);
    results.iter().map(|each| passed(each.result())).collect()
}

/// One RSA key for all tests: making one takes long without optimisation.
fn rsa() -> Arc<SigningKey> {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    let made = KEY.get_or_init(|| SigningKey::generate(Algorithm::RsaSha256).expect("a key"));
    Arc::new(SigningKey::parse(Algorithm::RsaSha256, made).expect("it was just made"))
}

fn ed25519() -> Arc<SigningKey> {
    let made = SigningKey::generate(Algorithm::Ed25519Sha256).expect("a key");
    Arc::new(SigningKey::parse(Algorithm::Ed25519Sha256, &made).expect("it was just made"))
}

/// `message` signed by both algorithms, with what DNS shows of the keys.
fn signed(message: &[u8]) -> (Vec<u8>, Vec<(&'static str, String)>) {
    let (rsa, ed25519) = (rsa(), ed25519());
    let keys = vec![
        ("r._domainkey.example.org", rsa.record().unwrap()),
        ("e._domainkey.example.org", ed25519.record().unwrap()),
    ];
    let signers = [
        Signer::new("example.org", "r", rsa),
        Signer::new("example.org", "e", ed25519),
    ];
    let fields = sign(message, &signers, 1_800_000_000).expect("it signs");
    let fields = fields.expect("it can be signed");
    ([&fields, message].concat(), keys)
}

const BOTH: [bool; 2] = [true, true];

#[test]
fn each_signature_is_good_whatever_the_message_looks_like() {
    for (case, message) in [
        (
            "plain",
            "From: a@example.org\r\nTo: b@example.net\r\n\r\nHello\r\n",
        ),
        ("empty body", "From: a@example.org\r\n\r\n"),
        ("no body", "From: a@example.org\r\n"),
        ("empty lines alone", "From: a@example.org\r\n\r\n\r\n\r\n"),
        (
            "trailing blanks and lines",
            "From: a@example.org\r\n\r\nx \t\r\n\r\n y  z\t\r\n\r\n\r\n",
        ),
        ("no line end", "From: a@example.org\r\n\r\nx"),
        (
            "trailing blank without line end",
            "From: a@example.org\r\n\r\nx\r\n\r\ny ",
        ),
        (
            "folded",
            "From: A\r\n <a@example.org>\r\nSubject:\r\n\tone\r\n  two \r\nTo:\tb@example.net\t\r\n\r\nx\r\n",
        ),
        (
            "empty field",
            "From: a@example.org\r\nSubject:\r\nCc: \r\n\r\nx\r\n",
        ),
        (
            "field twice",
            "To: one@x\r\nFrom: a@example.org\r\nTo: two@x\r\nSubject: 1\r\nSubject: 2\r\n\r\nx\r\n",
        ),
        (
            "8-bit",
            "From: Zo\u{eb} <a@example.org>\r\nSubject: \u{fc}ber\r\n\r\nGr\u{fc}\u{df}e\r\n",
        ),
        (
            "list",
            "From: a@example.org\r\nSender: b@example.org\r\nList-Id: <l.example.org>\r\nList-Unsubscribe: <https://x/>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\nx\r\n",
        ),
    ] {
        let (whole, keys) = signed(message.as_bytes());
        assert_eq!(
            verified(&whole, &keys),
            BOTH,
            "{case}: {}",
            String::from_utf8_lossy(&whole)
        );
    }
    // Latin-1, not UTF-8.
    let (whole, keys) =
        signed(b"From: a@example.org\r\nSubject: \xfcber\r\n\r\n\xe4\x00\xff  \r\n");
    assert_eq!(verified(&whole, &keys), BOTH);
    let long = "wide \t words\r\n".repeat(5_000);
    let (whole, keys) = signed(format!("From: a@example.org\r\n\r\n{long}").as_bytes());
    assert_eq!(verified(&whole, &keys), BOTH);
}

/// The relaxed form lets relays fold and blank; it lets none change, add or take away.
#[test]
fn what_changes_on_the_way_is_noticed_and_what_relays_do_is_not() {
    let message = "From: a@example.org\r\nSubject: one  two\r\nTo: b@x\r\n\r\nHello  there\r\n";
    let (whole, keys) = signed(message.as_bytes());
    let whole = String::from_utf8(whole).unwrap();
    let with = |from: &str, to: &str| verified(whole.replace(from, to).as_bytes(), &keys);
    for (from, to) in [
        ("Subject: one  two", "SUBJECT:one\r\n two "),
        ("Hello  there\r\n", "Hello there \r\n\r\n\r\n"),
        (
            "DKIM-Signature: v=1",
            "Received: by x\r\nDKIM-Signature: v=1",
        ),
    ] {
        assert_eq!(with(from, to), BOTH, "{to}");
    }
    let first = &whole[..whole.find("From: ").unwrap()];
    for (from, to) in [
        ("one  two", "one  too"),
        ("Hello", " Hello"),
        ("there\r\n", "there\r\nmore\r\n"),
        ("From: a@", "From: c@"),
        ("Subject: one  two\r\n", ""),
    ] {
        assert_eq!(with(from, to), [false, false], "{to}");
    }
    // Oversigned: nobody can put a second one before or behind it, or the first of a field that is not there.
    for added in [
        "From: eve@example.net",
        "Subject: other",
        "Date: Thu, 1 Jan 1970 00:00:00 +0000",
        "Reply-To: eve@example.net",
        "Content-Type: text/html",
    ] {
        let before = whole.replacen(first, &format!("{first}{added}\r\n"), 1);
        assert_eq!(
            verified(before.as_bytes(), &keys),
            [false, false],
            "{added}"
        );
        let behind = whole.replacen("\r\n\r\n", &format!("\r\n{added}\r\n\r\n"), 1);
        assert_eq!(
            verified(behind.as_bytes(), &keys),
            [false, false],
            "{added}"
        );
    }
}

#[test]
fn the_field_says_what_it_should() {
    let (whole, _) = signed(b"From: a@example.org\r\nTo: b@x\r\nTo: c@x\r\n\r\nx\r\n");
    let text = String::from_utf8(whole).unwrap();
    assert!(text.lines().all(|line| line.len() <= 78), "{text}");
    let unfolded = text.replace("\r\n\t", "");
    let mut lines = unfolded.lines();
    let first = lines.next().unwrap();
    let begin = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;d=example.org; s=r;t=1800000000; h=From:From:To:To:To:Cc:Subject:Date:Message-ID:Reply-To:In-Reply-To:References:MIME-Version:Content-Type:Content-Transfer-Encoding;bh=";
    assert!(first.starts_with(begin), "{first}");
    assert!(!first.contains(" l=") && !first.contains(";l="), "{first}");
    let second = lines.next().unwrap();
    assert!(
        second.contains("a=ed25519-sha256;") && second.contains(" s=e;"),
        "{second}"
    );
}

#[test]
fn signatures_are_the_same_at_every_try() {
    let signers = [
        Signer::new("example.org", "r", rsa()),
        Signer::new("example.org", "e", ed25519()),
    ];
    let message = b"From: a@example.org\r\n\r\nx\r\n";
    let once = sign(message, &signers, 7).unwrap();
    assert_eq!(sign(message, &signers, 7).unwrap(), once);
    assert_ne!(sign(message, &signers, 8).unwrap(), once);
}

#[test]
fn what_cannot_be_signed_is_left_as_it_is() {
    let signers = [Signer::new("example.org", "r", rsa())];
    for message in [&b"Subject: x\r\n\r\nx\r\n"[..], b"", b"text alone\r\n"] {
        assert_eq!(sign(message, &signers, 7), Ok(None));
    }
    let many = "To: x\r\n".repeat(FIELDS_SIGNED_MAX);
    let many = format!("From: a@example.org\r\n{many}\r\nx\r\n");
    assert_eq!(sign(many.as_bytes(), &signers, 7), Ok(None));
    // As many and as long as a signature can name.
    let most = "Content-Transfer-Encoding: x\r\n".repeat(FIELDS_SIGNED_MAX - 13);
    let most = format!("From: a@example.org\r\n{most}\r\nx\r\n");
    let domain = format!("{}.example", ["a"; 90].join("."));
    let longest = [Signer::new(&domain, &"s".repeat(63), rsa())];
    let fields = sign(most.as_bytes(), &longest, u64::MAX).unwrap().unwrap();
    assert!(
        fields.len() > 3_000 && fields.len() <= SIGNATURE_BYTES_MAX,
        "{}",
        fields.len()
    );
    assert_eq!(
        SigningKey::parse(Algorithm::Ed25519Sha256, b"nonsense").err(),
        Some(KeyFault::Unreadable)
    );
    let made = SigningKey::generate(Algorithm::Ed25519Sha256).unwrap();
    let other = SigningKey::parse(Algorithm::RsaSha256, &made);
    assert_eq!(other.err(), Some(KeyFault::Unreadable));
}

/// RFC 8616 §2: `d=` is written in A-labels.
#[test]
fn a_domain_in_letters_is_signed_for_in_ascii() {
    let key = ed25519();
    let keys = [("e._domainkey.xn--bcher-kva.example", key.record().unwrap())];
    let signers = [Signer::new("B\u{fc}cher.example", "e", key)];
    let message = "From: a@b\u{fc}cher.example\r\n\r\nx\r\n".as_bytes();
    let fields = sign(message, &signers, 7).unwrap().unwrap();
    assert_eq!(verified(&[&fields, message].concat(), &keys), [true]);
}

#[test]
fn the_author_is_one_domain_or_none() {
    let of = |fields: &str| author_domain(format!("{fields}\r\n\r\nFrom: x@y\r\n").as_bytes());
    let found = |domain: &str| Some(domain.to_owned());
    assert_eq!(of("from: A <a@Example.ORG>"), found("example.org"));
    assert_eq!(
        of("X: y\r\nFrom:\r\n a@example.org (why)"),
        found("example.org")
    );
    assert_eq!(
        of("From: a@b\u{fc}cher.example"),
        found("xn--bcher-kva.example")
    );
    assert_eq!(
        of("From: a@example.org, b@EXAMPLE.org"),
        found("example.org")
    );
    assert_eq!(
        of("From: \"ceo@bank.example\" <a@example.org>"),
        found("example.org")
    );
    assert_eq!(
        of("From: team: a@example.org, b@example.org;"),
        found("example.org")
    );
    for unclear in [
        "Subject: x",
        "From:",
        "From: a",
        "From: undisclosed:;",
        "From: a@example.org, b@example.net",
        "From: ceo@bank.example, <a@example.org>",
        "From: a@example.org\r\nFrom: a@example.org",
    ] {
        assert_eq!(of(unclear), None, "{unclear}");
    }
}

/// RFC 6376 §3.4.5, the relaxed example. It has a blank before a colon, which `mail-auth` 0.13.3 does not take for the same name.
#[test]
fn the_example_of_canonicalisation_comes_out() {
    let message = b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n";
    let mut header = Vec::new();
    for field in mail::header::fields(message) {
        canonical::field(&field, &mut header);
        header.extend_from_slice(b"\r\n");
    }
    assert_eq!(header, b"a:X\r\nb:Y Z\r\n");
    let body_of = |text: &[u8]| {
        let mut body = Vec::new();
        canonical::body(text, |piece| body.extend_from_slice(piece));
        body
    };
    assert_eq!(body_of(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
    assert_eq!(body_of(b""), b"");
    assert_eq!(body_of(b"\r\n"), b"");
    // Lines of blanks are empty once their blanks are gone, and empty lines at the end go (§3.4.4, in this order). `mail-auth` 0.13.3 keeps
    // them, so it cannot judge these.
    assert_eq!(body_of(b" \t \r\n\r\n"), b"");
    assert_eq!(body_of(b"x\r\n \r\n\t\r\n\r\n"), b"x\r\n");
    assert_eq!(body_of(b"x\r\n \r\ny\r\n"), b"x\r\n\r\ny\r\n");
    // What is not CRLF does not end a line.
    assert_eq!(body_of(b"a \n b\rc"), b"a \n b\rc\r\n");
}

const VECTOR: &str = "From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nMessage-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\nHi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";

/// RFC 8463 appendix A: key, message and signature. Ed25519 has one signature for one input, so that all of it is compared.
#[test]
fn the_vector_of_ed25519_comes_out() {
    let seed = BASE64.decode(b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=");
    // RFC 8410 §7: PKCS#8 around the 32 octets.
    let prefix = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    let pkcs8 = [&prefix[..], &seed.unwrap()].concat();
    let key = SigningKey::parse(Algorithm::Ed25519Sha256, &pkcs8).expect("a key");
    let record = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    assert_eq!(key.record().unwrap(), record);
    let own = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=";
    let names = "from to subject date message-id from subject date".split(' ');
    let fields: Vec<_> = mail::header::fields(VECTOR.as_bytes()).collect();
    let input = input(&fields, names.map(str::as_bytes), own.as_bytes());
    let hashed = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input);
    let signature = BASE64.encode(&key.sign(&input, hashed.as_ref()).unwrap());
    let expected =
        "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";
    assert_eq!(signature, expected);
    let whole = format!("{own}{signature}\r\n{VECTOR}");
    let keys = [(
        "brisbane._domainkey.football.example.com",
        record.to_owned(),
    )];
    assert_eq!(verified(whole.as_bytes(), &keys), [true]);
}

#[test]
fn a_record_is_cut_into_strings_that_dns_can_hold() {
    let record = rsa().record().unwrap();
    assert!(
        record.starts_with("v=DKIM1; k=rsa; p=MII") && record.len() > 400,
        "{record}"
    );
    let shown = strings(&record);
    let each: Vec<&str> = shown.trim_matches('"').split("\" \"").collect();
    assert_eq!(each.len(), 2);
    assert!(each.iter().all(|string| string.len() <= 255));
    assert_eq!(each.concat(), record);
    assert_eq!(strings("a\"b\\"), "\"a\\\"b\\\\\"");
}

#[test]
fn a_key_shows_nothing_of_itself() {
    assert_eq!(format!("{:?}", ed25519()), "SigningKey(Ed25519Sha256, …)");
    let signer = format!("{:?}", Signer::new("example.org", "e", ed25519()));
    assert!(signer.contains("SigningKey(Ed25519Sha256, …)"), "{signer}");
}
