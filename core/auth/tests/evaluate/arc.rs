//! ARC: chains that relays sealed (RFC 8617).

use mail_auth::arc::{ArcSealer, Set};
use mail_auth::common::headers::Header;
use mail_auth::{ArcOutput, AuthenticatedMessage, AuthenticationResults, DkimResult};

use super::*;

/// `content` with one more set, of `relay`, in front.
fn sealed(relay: &str, content: &str) -> String {
    let message = AuthenticatedMessage::parse(content.as_bytes()).expect("a message");
    let mut before = ArcOutput::default();
    for at in 0..message.as_headers.len() {
        let (seal, signature) = (&message.as_headers[at], &message.ams_headers[at]);
        let results = &message.aar_headers[at];
        before = before.with_result(DkimResult::Pass).with_set(Set {
            signature: Header::new(signature.name, signature.value, &signature.header),
            seal: Header::new(seal.name, seal.value, &seal.header),
            results: Header::new(results.name, results.value, &results.header),
        });
    }
    let results = AuthenticationResults::new(relay);
    let set = ArcSealer::from_key(ed25519())
        .domain(relay)
        .selector("s")
        .headers(["From", "To", "Subject"])
        .seal(&message, &results, &before)
        .expect("it can be sealed");
    format!("{}{content}", set.to_header())
}

fn of(content: &str) -> auth::Arc {
    let fill = |table: &Table| {
        for relay in ["one.test", "two.test", "three.test"] {
            table.set_texts(&format!("s._domainkey.{relay}"), &[ED25519_KEY]);
        }
        table.set_texts("s._domainkey.failing.test", &[ED25519_KEY]);
        table.set_failing("s._domainkey.failing.test", Some("SERVFAIL"));
    };
    let case = Case {
        content: content.to_owned(),
        ..Case::default()
    };
    let (verdict, field, _) = evaluate(fill, case);
    let arc = verdict.signatures.arc;
    let word = format!("\tarc={}", arc.found.outcome.word());
    assert_eq!(
        field.contains(&word),
        arc.found.outcome != Outcome::None,
        "{field}"
    );
    arc
}

#[test]
fn a_chain_passes_as_long_as_nobody_changed_what_was_sealed() {
    let plain = message("sender@example.net");
    assert_eq!(of(&plain).found.outcome, Outcome::None);
    let one = sealed("one.test", &plain);
    let three = sealed("three.test", &sealed("two.test", &one));
    for content in [&one, &three] {
        let arc = of(content);
        assert_eq!(
            (arc.found.outcome, arc.found.why),
            (Outcome::Pass, ""),
            "{content}"
        );
    }
    assert_eq!(of(&three).sealer, "three.test");
    for (from, to, why) in [
        ("Hello, Alice", "hello, Alice", "the body was changed"),
        (
            "Subject: hello",
            "Subject: Hello",
            "the signature does not match",
        ),
        (
            "i=1; one.test",
            "i=1; two.test",
            "the signature does not match",
        ),
        ("cv=none", "cv=fail", "a relay found the chain broken"),
        ("ARC-Seal: i=2", "X-Seal: i=2", "a set is not complete"),
        ("i=2;", "i=3;", "sets are missing or doubled"),
        ("i=2;", "i=51;", "a set has an error"),
    ] {
        assert!(three.contains(from), "{from}: {three}");
        let found = of(&three.replace(from, to)).found;
        assert_eq!((found.outcome, found.why), (Outcome::Fail, why), "{to}");
    }
}

#[test]
fn a_seal_whose_key_is_missing_fails_and_one_whose_key_is_unknown_does_not() {
    let plain = message("sender@example.net");
    let found = of(&sealed("absent.test", &plain)).found;
    assert_eq!((found.outcome, found.why), (Outcome::Fail, "no key"));
    let found = of(&sealed("failing.test", &sealed("one.test", &plain))).found;
    assert_eq!(found.outcome, Outcome::TempError);
}

#[test]
fn a_chain_of_fifty_sets_is_not_computed() {
    let mut content = message("sender@example.net");
    for _ in 0..auth::limits::ARC_SETS_MAX {
        content = sealed("one.test", &content);
    }
    assert_eq!(of(&content).found.outcome, Outcome::Pass);
    content = sealed("one.test", &content);
    let found = of(&content).found;
    assert_eq!(
        (found.outcome, found.why),
        (Outcome::Policy, "too many sets")
    );
}
