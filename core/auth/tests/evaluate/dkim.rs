//! DKIM: the vectors of RFC 6376 and RFC 8463, and signatures that are not taken.

use super::*;

/// RFC 6376 §A.2 and RFC 8463 §A.2.
fn keys(table: &Table) {
    table.set_texts("brisbane._domainkey.football.example.com", &[ED25519_KEY]);
    table.set_texts("test._domainkey.football.example.com", &[
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
    ]);
    table.set_texts("brisbane._domainkey.example.com", &[
        "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
    ]);
}

fn vector(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

#[test]
fn the_vectors_of_the_standards_pass() {
    let rfc8463 = vector(include_str!("rfc8463.eml"));
    let case = |content: &str| Case {
        content: content.to_owned(),
        ..Case::default()
    };
    let (verdict, field, _) = evaluate(keys, case(&rfc8463));
    assert_eq!(outcomes(&verdict), [Outcome::Pass; 2]);
    assert!(field.contains(
        "dkim=pass\r\n\t header.d=football.example.com\r\n\t header.s=brisbane\r\n\t header.a=ed25519-sha256\r\n\t header.b=/gCrinpc;"
    ), "{field}");
    let rfc6376 = vector(include_str!("rfc6376.eml"));
    let (verdict, ..) = evaluate(keys, case(&rfc6376));
    assert_eq!(outcomes(&verdict), [Outcome::Pass]);
    // One byte of a signed field, of the body, of a signature.
    for (from, to) in [("Is dinner", "is dinner"), ("Are you", "Are You")] {
        for vector in [&rfc8463, &rfc6376] {
            let (verdict, ..) = evaluate(keys, case(&vector.replace(from, to)));
            assert!(
                outcomes(&verdict)
                    .iter()
                    .all(|outcome| *outcome == Outcome::Fail)
            );
        }
    }
    let (verdict, ..) = evaluate(keys, case(&rfc8463.replace("F45dVWDf", "F45dVWDg")));
    assert_eq!(outcomes(&verdict), [Outcome::Pass, Outcome::Fail]);
}

/// Outcome and reason of one signature by Ed25519, `change`d.
fn of(key: &[&str], change: impl Fn(&str) -> String) -> (Outcome, &'static str) {
    let content = signed(ed25519(), "example.net", &message("sender@example.net"));
    let fill = |table: &Table| table.set_texts("s._domainkey.example.net", key);
    let case = Case {
        content: change(&content),
        ..Case::default()
    };
    let (verdict, ..) = evaluate(fill, case);
    let [one] = verdict.signatures.dkim.as_slice() else {
        panic!("one signature");
    };
    (one.found.outcome, one.found.why)
}

#[test]
fn a_signature_that_is_not_taken_says_why() {
    let same = |content: &str| content.to_owned();
    let tag = |from: &'static str, to: &'static str| {
        move |content: &str| {
            assert!(content.contains(from), "{content}");
            content.replacen(from, to, 1)
        }
    };
    assert_eq!(of(&[ED25519_KEY], same), (Outcome::Pass, ""));
    let error = |why| (Outcome::PermError, why);
    assert_eq!(of(&[], same), error("no key"));
    assert_eq!(of(&["v=DKIM1; p="], same), error("the key is revoked"));
    assert_eq!(of(&["v=DKIM1; k=ed25519; p=AAAA"], same).0, Outcome::Fail);
    let sha1 = tag("a=ed25519-sha256", "a=rsa-sha1");
    assert_eq!(of(&[ED25519_KEY], sha1), error("SHA-1"));
    let without = tag("To:From;", "To;");
    assert_eq!(of(&[ED25519_KEY], without), error("From is not signed"));
    let twice = tag("v=1;", "v=1; v=1;");
    assert_eq!(of(&[ED25519_KEY], twice), error("the tags have an error"));
    let unversioned = tag("v=1; ", "");
    assert_eq!(of(&[ED25519_KEY], unversioned), error("no version"));
    let expired = tag("h=Subject", "x=2; h=Subject");
    assert_eq!(
        of(&[ED25519_KEY], expired),
        (Outcome::Fail, "the signature has expired")
    );
    let partly = tag("v=1;", "v=1; l=3;");
    assert_eq!(
        of(&[ED25519_KEY], partly),
        (Outcome::Policy, "a part of the body is signed")
    );
    let unknown = tag("a=ed25519-sha256", "a=dsa-sha256");
    assert_eq!(of(&[ED25519_KEY], unknown).0, Outcome::Neutral);
    let elsewhere = tag("v=1;", "v=1; i=@evil-example.net;");
    assert_eq!(of(&[ED25519_KEY], elsewhere), error("i= is outside of d="));
    let below = tag("v=1;", "v=1; i=@a.example.net;");
    let strict = ED25519_KEY.replace("k=", "t=s; k=");
    assert_eq!(of(&[&strict], below), error("i= is outside of d="));
}

/// The record of a public key whose modulus has `bits`, all of them set.
fn record_of(bits: usize) -> String {
    let length = |bytes: usize| [0x82, (bytes >> 8) as u8, bytes as u8];
    let modulus = [vec![0], vec![0xff; bits / 8]].concat();
    let integers = [
        &[0x02][..],
        &length(modulus.len()),
        &modulus,
        &[0x02, 3, 1, 0, 1],
    ]
    .concat();
    let der = [&[0x30][..], &length(integers.len()), &integers].concat();
    format!("v=DKIM1; k=rsa; p={}", data_encoding::BASE64.encode(&der))
}

#[test]
fn keys_that_are_too_short_never_pass_and_keys_that_are_too_long_are_not_computed() {
    let (key, record) = rsa();
    let content = signed(key, "example.net", &message("sender@example.net"));
    let of = |record: &str| {
        let fill = |table: &Table| table.set_texts("s._domainkey.example.net", &[record]);
        let case = Case {
            content: content.clone(),
            ..Case::default()
        };
        let (verdict, ..) = evaluate(fill, case);
        let found = verdict.signatures.dkim[0].found;
        (found.outcome, found.why)
    };
    assert_eq!(of(&record), (Outcome::Pass, ""));
    for bits in [512, 1_016] {
        assert_eq!(
            of(&record_of(bits)),
            (Outcome::PermError, "the key is too short")
        );
    }
    for bits in [1_024, 4_096] {
        assert_eq!(
            of(&record_of(bits)),
            (Outcome::Fail, "the signature does not match")
        );
    }
    for bits in [4_104, 8_192, 16_384] {
        assert_eq!(
            of(&record_of(bits)),
            (Outcome::Policy, "the key is too long")
        );
    }
    assert_eq!(
        of(ED25519_KEY),
        (Outcome::PermError, "the key is of another kind")
    );
    assert_eq!(
        of("v=DKIM1; p=AAAA"),
        (Outcome::PermError, "the key is too short")
    );
}

#[test]
fn of_two_hundred_signatures_the_first_ten_are_looked_at() {
    let mut content = message("sender@example.net");
    let plain = content.clone();
    for _ in 0..200 {
        let one = signed(ed25519(), "example.net", &plain);
        content.insert_str(0, one.strip_suffix(&plain).expect("it is in front"));
    }
    let fill = |table: &Table| {
        table.set_texts("s._domainkey.example.net", &[ED25519_KEY]);
    };
    let case = Case {
        content,
        ..Case::default()
    };
    let (verdict, field, lookups) = evaluate(fill, case);
    assert_eq!(outcomes(&verdict), [Outcome::Pass; 10]);
    assert_eq!(verdict.signatures.left_out, 190);
    assert!(
        field.contains("dkim=policy (190 more signatures not checked)"),
        "{field}"
    );
    // SPF, one key for all of them, and two steps of DMARC.
    assert_eq!(lookups, 4);
}

#[test]
fn a_header_that_is_too_long_is_not_hashed_and_its_author_is_known() {
    let long = format!("X-Long: {}\r\n", "x".repeat(900)).repeat(300);
    let content = signed(ed25519(), "example.net", &message("sender@example.net"));
    let fill = |table: &Table| {
        table.set_texts("s._domainkey.example.net", &[ED25519_KEY]);
        table.set_texts("_dmarc.example.net", &["v=DMARC1; p=reject"]);
    };
    let case = Case {
        content: format!("{long}{content}"),
        ..Case::default()
    };
    let (verdict, ..) = evaluate(fill, case);
    assert_eq!(outcomes(&verdict), []);
    assert_eq!(verdict.signatures.left_out, 1);
    assert_eq!(verdict.dmarc.domain, "example.net");
    assert_eq!(verdict.dmarc.disposition, auth::Disposition::Reject);
}

#[test]
fn a_key_that_cannot_be_looked_up_is_unknown() {
    let content = signed(ed25519(), "example.net", &message("sender@example.net"));
    let fill = |table: &Table| {
        table.set_texts("s._domainkey.example.net", &[ED25519_KEY]);
        table.set_failing("s._domainkey.example.net", Some("SERVFAIL"));
    };
    let case = Case {
        content,
        ..Case::default()
    };
    assert_eq!(outcomes(&evaluate(fill, case).0), [Outcome::TempError]);
}

#[test]
fn signatures_of_others_do_not_hide_that_of_the_author() {
    let plain = message("sender@a.example.net");
    let own = signed(ed25519(), "example.net", &plain);
    let mut content = own;
    for at in 0..50 {
        let one = signed(ed25519(), &format!("n{at}.test"), &plain);
        content.insert_str(0, one.strip_suffix(&plain).expect("it is in front"));
    }
    let fill = |table: &Table| {
        table.set_texts("s._domainkey.example.net", &[ED25519_KEY]);
        table.set_texts("_dmarc.example.net", &["v=DMARC1; p=reject"]);
    };
    let case = Case {
        content,
        ..Case::default()
    };
    let (verdict, ..) = evaluate(fill, case);
    assert_eq!(verdict.signatures.dkim[0].domain, "example.net");
    assert_eq!(verdict.signatures.left_out, 41);
    assert_eq!(verdict.dmarc.found.outcome, Outcome::Pass);
}

/// The outcome of a signature of RFC 6376's relaxed form, over `content` that is then `change`d.
fn after(content: &str, change: impl Fn(&str) -> String) -> Vec<Outcome> {
    let signer = DkimSigner::from_key(ed25519())
        .domain("example.net")
        .selector("s")
        .headers(["From", "From", "To", "Subject", "Subject"]);
    let signature = signer.sign(content.as_bytes()).expect("it can be signed");
    let content = change(&format!("{}{content}", signature.to_header()));
    let fill = |table: &Table| table.set_texts("s._domainkey.example.net", &[ED25519_KEY]);
    let case = Case {
        content,
        ..Case::default()
    };
    outcomes(&evaluate(fill, case).0)
}

#[test]
fn lines_of_white_space_at_the_end_of_a_body_do_not_count_in_relaxed_form() {
    let content = message("sender@example.net");
    for end in [" \r\n", "\t\r\n \t \r\n", "\r\n \r\n\r\n", "  "] {
        let passes = after(&content, |content| format!("{content}{end}"));
        assert_eq!(passes, [Outcome::Pass], "{end:?}");
    }
    let empty = content.replace("Hello, Alice\r\n", "");
    let passes = after(&empty, |content| format!("{content} \r\n"));
    assert_eq!(passes, [Outcome::Pass]);
    let fails = after(&content, |content| format!("{content} x\r\n"));
    assert_eq!(fails, [Outcome::Fail]);
    let fails = after(&content, |content| {
        content.replace("Hello, Alice\r\n", " \r\n")
    });
    assert_eq!(fails, [Outcome::Fail]);
}

#[test]
fn white_space_before_a_colon_neither_breaks_nor_hides_a_field() {
    let content = message("sender@example.net");
    for (from, to) in [("From:", "From :"), ("Subject:", "Subject\t:")] {
        let passes = after(&content, |content| {
            content.replacen(&format!("\r\n{from}"), &format!("\r\n{to}"), 1)
        });
        assert_eq!(passes, [Outcome::Pass], "{to}");
    }
    // Signed as absent, and added all the same.
    for added in ["Subject : forged\r\n", "From\t: x@example.net\r\n"] {
        let fails = after(&content, |content| format!("{added}{content}"));
        assert_eq!(fails, [Outcome::Fail], "{added}");
    }
}

#[test]
fn a_line_that_is_no_field_does_not_end_the_header_for_a_signature() {
    let content = message("sender@example.net");
    let found = after(&content, |content| {
        content.replacen("\r\n\r\n", "\r\na line that is not a field\r\n", 1)
    });
    assert!(!found.contains(&Outcome::Pass), "{found:?}");
}
