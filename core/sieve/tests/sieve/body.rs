//! RFC 5173.

use crate::common::{holds, says};

const LETTER: &str = "\
From: ann@example.net
Content-Type: multipart/mixed; boundary=b

Prologue word
--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe aus dem Text
--b
Content-Type: text/html
Content-Transfer-Encoding: base64

PHA+TWFrZSA8Yj5tb25leTwvYj4gZmFzdDwvcD4=
--b
Content-Type: message/rfc822

Subject: inner subject

Inner text
--b
Content-Type: application/x-thing

thing data
--b--
";

/// Marks of HTML would hide words, and base64 all of them.
#[test]
fn text_is_what_a_person_reads() {
    for (test, wanted) in [
        (r#"body :contains "grüße aus""#, true),
        (r#"body :text :contains "MAKE MONEY""#, true),
        (r#"body :text :contains "<b>""#, false),
        (r#"body :text :contains "Inner text""#, true),
        (r#"body :text :contains "inner subject""#, false),
        (r#"body :text :contains "thing data""#, false),
        (r#"body :text :contains "ann@example.net""#, false),
    ] {
        assert_eq!(holds("body", test, LETTER), wanted, "{test}");
    }
}

/// RFC 5173 §5.2: a malformed type matches nothing, and an empty one everything.
#[test]
fn content_is_picked_by_type() {
    for (test, wanted) in [
        (r#"body :content "text" :contains "<b>money</b>""#, true),
        (r#"body :content "text/html" :contains "Grüße""#, false),
        (r#"body :content "TEXT/Plain" :contains "Grüße""#, true),
        (r#"body :content "" :contains "thing""#, true),
        (r#"body :content "application" :contains "thing""#, true),
        (r#"body :content "application/" :contains "thing""#, false),
        (r#"body :content "/x-thing" :contains "thing""#, false),
        (
            r#"body :content "message/rfc822" :contains "inner subject""#,
            true,
        ),
        (
            r#"body :content "multipart/mixed" :contains "Prologue""#,
            true,
        ),
        (
            r#"body :content ["image", "multipart"] :contains "thing""#,
            false,
        ),
    ] {
        assert_eq!(holds("body", test, LETTER), wanted, "{test}");
    }
}

/// The boundaries are in it: scripts that look for attachments use that.
#[test]
fn raw_is_undecoded() {
    for (test, wanted) in [
        (r#"body :raw :contains "Gr=C3=BC""#, true),
        (r#"body :raw :contains "Grüße""#, false),
        (r#"body :raw :contains "--b--""#, true),
        (r#"body :raw :contains "From: ann""#, false),
        (r#"body :raw :matches "Prologue*""#, true),
    ] {
        assert_eq!(holds("body", test, LETTER), wanted, "{test}");
    }
}

/// §6.
#[test]
fn a_body_leaves_match_variables_alone() {
    says(
        r#"require ["body", "variables", "fileinto"];
           if header :matches "from" "*@*" { }
           if body :raw :matches "Pro*" { fileinto "${1}"; }"#,
        LETTER,
        &[r#"fileinto "ann""#],
    );
}
