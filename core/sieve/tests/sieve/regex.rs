//! The draft of `regex`, by the engine of the crate of that name.

use crate::common::{holds, refusal, says};

const LETTER: &str = "Subject: Ticket 4711 is open\nFrom: ann@example.net\n\n";

#[test]
fn patterns_match_anywhere_and_without_case() {
    for (test, wanted) in [
        (r#"header :regex "subject" "ticket [0-9]+""#, true),
        (r#"header :regex "subject" "^ticket$""#, false),
        (
            r#"header :regex :comparator "i;octet" "subject" "ticket""#,
            false,
        ),
        (r#"address :regex :localpart "from" "^(ann|bob)$""#, true),
        (r#"header :regex "subject" ["x", "[[:digit:]]{4}"]"#, true),
    ] {
        assert_eq!(holds("regex", test, LETTER), wanted, "{test}");
    }
}

#[test]
fn groups_fill_the_match_variables() {
    says(
        r#"require ["regex", "variables", "fileinto"];
           if header :regex "subject" "ticket ([0-9]+) is (new|open)(x)?" { fileinto "${1}-${2}-${3}"; }
           set "p" "t(ick)et";
           if header :regex "subject" "${p}" { fileinto "${1}"; }"#,
        LETTER,
        &[r#"fileinto "4711-open-""#, r#"fileinto "ick""#],
    );
    says(
        r#"require ["regex", "variables", "fileinto"];
           set :quoteregex "p" "4.11"; if header :regex "subject" "${p}" { discard; }"#,
        LETTER,
        &["implicit keep"],
    );
}

#[test]
fn a_pattern_that_is_wrong_or_too_large_is_refused() {
    for (pattern, text) in [
        ("(", "unclosed group"),
        ("a{1000}{1000}", "takes too much memory"),
        (&"a".repeat(2_000), "at most 1024 bytes"),
    ] {
        let script = format!("require \"regex\";\nif header :regex \"a\" \"{pattern}\" {{}}");
        let refusal = refusal(&script);
        assert!(
            refusal.starts_with("line 2, column 22: ") && refusal.contains(text),
            "{refusal}"
        );
        assert!(!refusal.contains('\n'));
    }
    says(
        r#"require ["regex", "variables"]; set "p" "("; if header :regex "subject" "${p}" { discard; }"#,
        LETTER,
        &[
            "implicit keep",
            "failed: line 1, column 73: The regular expression \"(\" is wrong: unclosed group",
        ],
    );
    assert!(refusal(r#"if header :regex "a" "b" {}"#).contains("\"regex\""));
}

/// Patterns at which other engines take years.
#[test]
fn a_pattern_that_blows_up_elsewhere_is_linear_here() {
    let letter = format!("Subject: {}\n\n", "a".repeat(5_000));
    assert!(!holds(
        "regex",
        r#"header :regex "subject" "^(a+)+$b""#,
        &letter
    ));
    assert!(!holds(
        "regex",
        r#"header :regex "subject" "(a|aa)*b""#,
        &letter
    ));
}

/// Other implementations have these, and scripts that come from them use them.
#[test]
fn classes_and_word_boundaries_have_their_short_names() {
    for (pattern, matches) in [
        (r"\\bcr\\w+\\b", true),
        (r"\\bunch\\b", false),
        (r"^\\d{3}\\s", false),
        (r"\\W", true),
    ] {
        let test = format!("header :regex \"subject\" \"{pattern}\"");
        assert_eq!(
            holds("regex", &test, "Subject: the crunch\n\n"),
            matches,
            "{pattern}"
        );
    }
}
