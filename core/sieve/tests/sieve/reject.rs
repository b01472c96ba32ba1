//! RFC 5429.

use crate::common::{refusal, says};

const LETTER: &str = "From: ann@example.net\nTo: bob@example.org\nSubject: x\n\n";
const TOGETHER: &str = "A message that is rejected cannot be filed, sent or answered too";

#[test]
fn a_rejected_message_is_not_kept() {
    says(
        r#"require "reject"; reject "No, thank you.";"#,
        LETTER,
        &["reject No, thank you."],
    );
    says(
        r#"require "ereject"; ereject "Nein, grüß Gott.";"#,
        LETTER,
        &["ereject Nein, grüß Gott."],
    );
}

#[test]
fn nothing_else_happens_to_it() {
    for rest in [
        "keep;",
        "discard;",
        "fileinto \"a\";",
        "redirect \"a@b.c\";",
        "vacation \"x\";",
        "reject \"no\";",
    ] {
        let head = r#"require ["reject", "fileinto", "vacation"]; "#;
        let behind = format!("{head}reject \"no\"; {rest}");
        let column = head.len() + 14;
        let failed = format!("failed: line 1, column {column}: {TOGETHER}");
        says(&behind, LETTER, &["implicit keep", &failed]);
        let before = format!("{head}{rest} reject \"no\";");
        let column = head.len() + rest.len() + 2;
        let failed = format!("failed: line 1, column {column}: {TOGETHER}");
        says(&before, LETTER, &["implicit keep", &failed]);
    }
}

#[test]
fn each_of_the_two_is_required_by_its_name() {
    assert!(refusal(r#"require "reject"; ereject "x";"#).contains("\"ereject\""));
    assert!(refusal(r#"require "ereject"; reject "x";"#).contains("\"reject\""));
}
