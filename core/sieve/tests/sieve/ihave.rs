//! RFC 5463.

use sieve::Script;
use sieve::limits::REGEXES_COUNT_MAX;

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

/// Errors behind a missing extension are kept for the run, but not those of limits: thousands of expressions took half a minute to build.
#[test]
fn limits_hold_behind_a_missing_extension_too() {
    let patterns = "\"a\",".repeat(REGEXES_COUNT_MAX);
    let test = format!("if header :regex \"a\" [{patterns}\"a\"] {{ keep; }}");
    let script =
        format!("require [\"ihave\", \"regex\"]; if ihave \"vnd.x\" {{ {test} }} else {{ keep; }}");
    assert!(refusal(&script).contains("at most 32 regular expressions"));
}

/// What is kept of them is a text for each, and a script says how much memory it takes.
#[test]
fn what_does_not_compile_takes_memory_too() {
    let bytes = |count| {
        let unknown = format!("fileinto \"{}\";", "\\\u{1}".repeat(40)).repeat(count);
        let script =
            format!("require [\"ihave\", \"fileinto\"]; if ihave \"vnd.x\" {{ {unknown} }}");
        Script::compile(script.as_bytes())
            .expect("a script")
            .bytes()
    };
    assert!(bytes(101) - bytes(1) > 100 * 200);
}
