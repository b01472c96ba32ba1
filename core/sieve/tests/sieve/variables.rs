//! RFC 5229.

use crate::common::{holds, refusal, says};

const LETTER: &str = "\
From: ann@example.net
To: bob@example.org
Subject: [acme-users] Fwd: version 1.0 is out
List-Id: Dave's friends <friends.example.net>

";

/// RFC 5229 §3.2: the shortest text from the left, so that two implementations file alike.
#[test]
fn wildcards_fill_the_match_variables() {
    says(
        r#"require ["variables", "fileinto"];
           if header :matches "Subject" "[*] *" { fileinto "${1}/${2}/${3}"; }"#,
        LETTER,
        &[r#"fileinto "acme-users/Fwd: version 1.0 is out/""#],
    );
    says(
        r#"require ["variables", "fileinto"];
           if header :matches "List-ID" "*<*@*" { fileinto "at"; }
           elsif header :matches "List-ID" "*<*.*" { fileinto "INBOX/lists/${2}"; }"#,
        LETTER,
        &[r#"fileinto "INBOX/lists/friends""#],
    );
}

/// A test that is false leaves them, since the script may use them in its next branch.
#[test]
fn match_variables_stay_until_the_next_match() {
    says(
        r#"require ["variables", "fileinto"];
           if header :matches "Subject" "[*]*" { }
           if header :matches "Subject" "nothing*" { }
           if header :contains "Subject" "acme" { fileinto "${1}"; }
           if address :matches "from" "*@*" { fileinto "${0} ${2}"; }"#,
        LETTER,
        &[
            r#"fileinto "acme-users""#,
            r#"fileinto "ann@example.net example.net""#,
        ],
    );
}

/// RFC 5229 §4.1: modifiers have an order of their own, whatever the order they are written in.
#[test]
fn set_keeps_a_value() {
    for (set, value) in [
        (r#"set "a" "x";"#, "x"),
        (
            r#"set "A" "x"; set "b" "y"; set "a" "${a}${b}${A}";"#,
            "xyx",
        ),
        (r#"set "a" "${undefined}";"#, ""),
        (r#"set "a" "${a";"#, "${a"),
        (r#"set :lower "a" "ÄBc";"#, "äbc"),
        (r#"set :upper "a" "äBc";"#, "ÄBC"),
        (r#"set :lowerfirst "a" "ABC";"#, "aBC"),
        (r#"set :upperfirst "a" "abc";"#, "Abc"),
        (r#"set :upperfirst :lower "a" "aBC";"#, "Abc"),
        (r#"set :length "a" "äöü";"#, "3"),
        (r#"set :length "a" "";"#, "0"),
        (r#"set :quotewildcard "a" "Rock*?\\";"#, r"Rock\*\?\\"),
        (r#"set :quotewildcard :length "a" "*";"#, "2"),
    ] {
        let script = format!(
            "require [\"variables\", \"fileinto\"]; {set} if string :is \"${{a}}\" \"\" {{ stop; }} fileinto \"${{a}}\";"
        );
        match value {
            "" => says(&script, LETTER, &["implicit keep"]),
            _ => says(&script, LETTER, &[&format!("fileinto \"{value}\"")]),
        }
    }
}

/// A sender who writes wildcards into a subject must not match more than that subject.
#[test]
fn a_quoted_value_matches_itself_alone() {
    let script = |value: &str| {
        format!(
            "require [\"variables\"]; set :quotewildcard \"q\" \"{value}\"; if string :matches \"a*b\" \"${{q}}\" {{ discard; }}"
        )
    };
    says(&script("a*b"), LETTER, &["discard"]);
    says(&script("a*"), LETTER, &["implicit keep"]);
}

#[test]
fn string_compares_any_texts() {
    assert!(holds(
        "variables",
        r#"string :matches "one two" "one *""#,
        LETTER
    ));
    assert!(holds(
        "variables",
        r#"string :is ["a", "b"] ["c", "b"]"#,
        LETTER
    ));
    // §5: empty strings do not count.
    let count = r#"string :count "eq" :comparator "i;ascii-numeric" ["a", "", "b"] "2""#;
    assert!(holds(
        "variables relational comparator-i;ascii-numeric",
        count,
        LETTER
    ));
}

/// While the script is stored: a run would only find an empty string.
#[test]
fn what_is_not_a_variable_is_refused() {
    for (script, text) in [
        (r#"set "a" "b";"#, "\"variables\""),
        (
            r#"require "variables"; set "a b" "b";"#,
            "\"a b\" is not the name of a variable",
        ),
        (
            r#"require "variables"; set "1" "b";"#,
            "\"1\" is not the name of a variable",
        ),
        (
            r#"require "variables"; set "a" "${22}";"#,
            "Match variables go from ${0} to ${9}",
        ),
        (
            r#"require "variables"; set "a" "${x.y}";"#,
            "There are no variables \"x.y\"",
        ),
        (
            r#"require "variables"; set "a" "${global.y}";"#,
            "extension \"include\"",
        ),
        (
            r#"require "variables"; set :lower :upper "a" "b";"#,
            "cannot stand beside",
        ),
        (
            r#"require "variables"; set :quoteregex "a" "b";"#,
            "\"regex\"",
        ),
    ] {
        let refusal = refusal(script);
        assert!(refusal.contains(text), "{refusal}");
    }
    // Without the extension the letters mean themselves.
    says(
        r#"require "fileinto"; fileinto "${1}";"#,
        LETTER,
        &[r#"fileinto "${1}""#],
    );
}
