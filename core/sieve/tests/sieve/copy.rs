//! RFC 3894.

use crate::common::{refusal, says};

#[test]
fn a_copy_leaves_the_implicit_keep() {
    says(
        r#"require ["copy", "fileinto"]; fileinto :copy "Lists"; redirect :copy "carol@example.org";"#,
        "Subject: x\n\n",
        &[
            r#"fileinto "Lists""#,
            "redirect carol@example.org",
            "implicit keep",
        ],
    );
    says(
        r#"require "copy"; redirect :copy "carol@example.org"; discard;"#,
        "Subject: x\n\n",
        &["redirect carol@example.org"],
    );
}

#[test]
fn the_tag_must_be_required() {
    assert!(refusal(r#"redirect :copy "a@b.c";"#).contains("extension \"copy\""));
}
