//! RFC 5231, with the numbers of RFC 4790 §9.1.

use crate::common::{holds, refusal};

const LETTER: &str = "\
From: ann@example.net
To: a@example.org, b@example.org
Cc: c@example.org
X-Score: 15
X-Score: 7
X-Word: pear

";
const NUMERIC: &str = "relational comparator-i;ascii-numeric";

/// Empty texts and texts without digits have their place in the order (RFC 4790 §9.1).
#[test]
fn values_are_compared() {
    for (test, wanted) in [
        (
            r#"header :value "gt" :comparator "i;ascii-numeric" "x-score" "10""#,
            true,
        ),
        (
            r#"header :value "gt" :comparator "i;ascii-numeric" "x-score" "15""#,
            false,
        ),
        (
            r#"header :value "ge" :comparator "i;ascii-numeric" "x-score" "15""#,
            true,
        ),
        (
            r#"header :value "lt" :comparator "i;ascii-numeric" "x-score" "8""#,
            true,
        ),
        (
            r#"header :value "le" :comparator "i;ascii-numeric" "x-score" "6""#,
            false,
        ),
        (
            r#"header :value "eq" :comparator "i;ascii-numeric" "x-score" "007""#,
            true,
        ),
        (
            r#"header :value "ne" :comparator "i;ascii-numeric" "x-absent" "1""#,
            false,
        ),
        (r#"header :value "lt" "x-word" "Plum""#, true),
        (
            r#"header :value "lt" :comparator "i;octet" "x-word" "Plum""#,
            false,
        ),
        // A text without a number is larger than any number.
        (
            r#"header :value "gt" :comparator "i;ascii-numeric" "x-word" "999999999999""#,
            true,
        ),
    ] {
        assert_eq!(holds(NUMERIC, test, LETTER), wanted, "{test}");
    }
}

/// RFC 5231 §4.2: what is counted are values, not fields: a To field has as many as addresses.
#[test]
fn values_are_counted() {
    for (test, wanted) in [
        (
            r#"header :count "eq" :comparator "i;ascii-numeric" "x-score" "2""#,
            true,
        ),
        (
            r#"header :count "eq" :comparator "i;ascii-numeric" "x-absent" "0""#,
            true,
        ),
        (
            r#"address :count "ge" :comparator "i;ascii-numeric" ["to", "cc"] "3""#,
            true,
        ),
        (
            r#"address :count "gt" :comparator "i;ascii-numeric" ["to", "cc"] "3""#,
            false,
        ),
        (
            r#"header :count "lt" :comparator "i;ascii-numeric" ["to", "cc"] ["1", "3"]"#,
            true,
        ),
    ] {
        assert_eq!(holds(NUMERIC, test, LETTER), wanted, "{test}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (script, text) in [
        (r#"if header :value "gt" "a" "b" {}"#, "\"relational\""),
        (
            r#"require "relational"; if header :value "xx" "a" "b" {}"#,
            "A relation is",
        ),
        (
            r#"if header :comparator "i;ascii-numeric" "a" "b" {}"#,
            "comparator-i;ascii-numeric",
        ),
        (
            r#"require "comparator-i;ascii-numeric"; if header :contains :comparator "i;ascii-numeric" "a" "b" {}"#,
            "compares numbers",
        ),
    ] {
        let refusal = refusal(script);
        assert!(refusal.contains(text), "{refusal}");
    }
}
