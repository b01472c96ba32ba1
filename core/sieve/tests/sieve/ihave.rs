//! RFC 5463.

use crate::common::{refusal, says};

const LETTER: &str = "Subject: x\n\n";

#[test]
fn what_is_there_is_enabled_by_asking() {
    says(
        r#"require "ihave"; if ihave ["fileinto", "copy"] { fileinto :copy "a"; }"#,
        LETTER,
        &[r#"fileinto "a""#, "implicit keep"],
    );
}

#[test]
fn what_is_not_there_may_be_written_behind_the_question() {
    says(
        r#"require ["ihave", "fileinto"];
           if ihave "vnd.example.pipe" { pipe :try "program"; if vndtest { stop; } }
           elsif true { fileinto "without"; }"#,
        LETTER,
        &[r#"fileinto "without""#],
    );
    says(
        r#"require "ihave"; if allof (ihave "vnd.x", vndtest :odd 1) { discard; }"#,
        LETTER,
        &["implicit keep"],
    );
}

#[test]
fn it_fails_only_if_a_run_gets_there() {
    says(
        "require \"ihave\";\nif not ihave \"vnd.x\" {\n  vndaction \"a\"; }",
        LETTER,
        &[
            "implicit keep",
            "failed: line 3, column 3: There is no command \"vndaction\"",
        ],
    );
}

#[test]
fn outside_the_question_it_is_refused() {
    let script = r#"require "ihave"; if ihave "vnd.x" { } vndaction;"#;
    assert!(refusal(script).contains("There is no command \"vndaction\""));
}

#[test]
fn an_error_of_the_script_is_a_failure() {
    says(
        r#"require "ihave"; if not ihave "vnd.x" { error "No vnd.x here"; }"#,
        LETTER,
        &[
            "implicit keep",
            "failed: line 1, column 41: The script says \"No vnd.x here\"",
        ],
    );
}
