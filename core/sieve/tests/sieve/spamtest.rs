//! RFC 5235.

use crate::common::{World, refusal};

const LETTER: &str = "Subject: x\n\n";
const ALL: &str = "spamtestplus virustest relational comparator-i;ascii-numeric";

fn holds(spam_percent: Option<u8>, virus: Option<u8>, test: &str) -> bool {
    let world = World {
        spam_percent,
        virus,
        ..World::default()
    };
    world.holds(ALL, test, LETTER)
}

/// RFC 5235: 0 is "not tested", so that a judged message begins with 1.
#[test]
fn the_likelihood_of_junk_is_a_number() {
    let spam = |percent, test: &str| holds(percent, None, test);
    for (percent, value) in [
        (None, "0"),
        (Some(0), "1"),
        (Some(50), "5"),
        (Some(99), "10"),
        (Some(100), "10"),
    ] {
        assert!(
            spam(percent, &format!("spamtest \"{value}\"")),
            "{percent:?}"
        );
    }
    let over = r#"spamtest :value "ge" :comparator "i;ascii-numeric" "6""#;
    assert!(spam(Some(60), over) && !spam(Some(20), over) && !spam(None, over));
    let percent = r#"spamtest :percent :value "gt" :comparator "i;ascii-numeric" "37""#;
    assert!(spam(Some(38), percent) && !spam(Some(37), percent) && !spam(None, percent));
}

/// A rule for "was tested" asks by count.
#[test]
fn what_was_not_tested_does_not_count() {
    let untested = r#"spamtest :percent :count "eq" :comparator "i;ascii-numeric" "0""#;
    assert!(holds(None, None, untested) && !holds(Some(0), None, untested));
}

#[test]
fn a_virus_is_a_number_too() {
    let found = r#"virustest :value "eq" :comparator "i;ascii-numeric" "5""#;
    assert!(holds(None, Some(5), found) && !holds(None, Some(1), found));
    assert!(holds(None, None, r#"virustest "0""#));
}

/// A script for 0 to 10 would else be read as percent, and file all mail as junk.
#[test]
fn percent_needs_its_extension() {
    let script = r#"require "spamtest"; if spamtest :percent "1" {}"#;
    assert!(refusal(script).contains("\"spamtestplus\""));
    assert!(refusal(r#"if virustest "1" {}"#).contains("\"virustest\""));
}
