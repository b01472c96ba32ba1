//! RFC 5232.

use crate::common::{refusal, says};

const LETTER: &str = "From: boss@example.com\nSubject: x\n\n";

/// RFC 5232 §5: flags of an action replace it and are not added to it.
#[test]
fn the_internal_variable_is_for_actions_without_flags() {
    says(
        r#"require ["imap4flags", "fileinto"];
           setflag "\\Deleted";
           addflag ["\\flagged", "$Work \\DELETED"];
           fileinto "one";
           removeflag "\\Deleted";
           fileinto :flags "\\Seen" "two";
           keep;"#,
        LETTER,
        &[
            r#"fileinto "one" (\Flagged \Deleted $Work)"#,
            r#"fileinto "two" (\Seen)"#,
            r"keep (\Flagged $Work)",
        ],
    );
    says(
        r#"require "imap4flags"; addflag "\\Seen";"#,
        LETTER,
        &[r"implicit keep (\Seen)"],
    );
    says(
        r#"require "imap4flags"; addflag "\\Seen"; keep :flags "";"#,
        LETTER,
        &["keep"],
    );
}

/// They are lists of words there, without doubles, so that a later rule can take one away.
#[test]
fn flags_live_in_variables_too() {
    says(
        r#"require ["imap4flags", "variables", "fileinto"];
           addflag "mine" ["\\Seen", "one"];
           addflag "MINE" "two one";
           removeflag "mine" "\\seen";
           fileinto :flags "${mine}" "x";"#,
        LETTER,
        &[r#"fileinto "x" (one two)"#],
    );
}

/// Case does not count, and one string may hold several flags (RFC 5232 §2).
#[test]
fn hasflag_asks_for_them() {
    for (test, wanted) in [
        (r#"hasflag "\\seen""#, true),
        (r#"hasflag :contains ["work"]"#, true),
        (r#"hasflag :matches "$*k""#, true),
        (r#"hasflag "none \\Seen""#, true),
        (r#"hasflag "none""#, false),
        (r#"hasflag "other" "\\Seen""#, false),
        (r#"hasflag ["other", "mine"] "a""#, true),
        (
            r#"hasflag :count "ge" :comparator "i;ascii-numeric" "2""#,
            true,
        ),
        (
            r#"hasflag :count "ge" :comparator "i;ascii-numeric" "3""#,
            false,
        ),
    ] {
        let script = format!(
            r#"require ["imap4flags", "variables", "relational", "comparator-i;ascii-numeric"];
               setflag "\\Seen $Work"; setflag "mine" "a b";
               if {test} {{ discard; }} else {{ keep :flags ""; }}"#
        );
        says(&script, LETTER, &[if wanted { "discard" } else { "keep" }]);
    }
}

/// One copy is stored, and no rule may lose its flag by that.
#[test]
fn the_same_mailbox_gets_all_flags() {
    says(
        r#"require ["imap4flags", "fileinto"]; fileinto :flags "a" "x"; fileinto :flags "b" "x";"#,
        LETTER,
        &[r#"fileinto "x" (a b)"#],
    );
}

#[test]
fn named_variables_need_their_extension() {
    let script = r#"require "imap4flags"; setflag "mine" "a";"#;
    assert!(refusal(script).contains("\"variables\""));
    assert!(refusal(r#"keep :flags "a";"#).contains("\"imap4flags\""));
}
