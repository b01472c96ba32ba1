//! RFC 5260.

use crate::common::{World, holds, refusal};

const LETTER: &str = "\
Received: from a.example by b.example; Sun, 29 Nov 2026 23:30:00 -0200
Received: from c.example by a.example; Sat, 28 Nov 2026 12:00:00 +0000
Date: Fri, 27 Nov 2026 08:09:10 +0100
X-Word: one
X-Word: two
X-Word: three
To: a@example.org
To: b@example.org

";

/// Each part has a fixed form, so that texts compare as times do (RFC 5260 §4.2).
#[test]
fn parts_of_a_date_are_compared() {
    for (test, wanted) in [
        (r#"date "date" "date" "2026-11-27""#, true),
        (r#"date "date" "hour" "07""#, true),
        (r#"date :originalzone "date" "hour" "08""#, true),
        (r#"date :zone "-0500" "date" "time" "02:09:10""#, true),
        (
            r#"date :zone "+0530" "date" "iso8601" "2026-11-27T12:39:10+05:30""#,
            true,
        ),
        (
            r#"date :originalzone "date" "std11" "Fri, 27 Nov 2026 08:09:10 +0100""#,
            true,
        ),
        (r#"date "date" "weekday" "5""#, true),
        (r#"date "received" "date" "2026-11-30""#, true),
        (r#"date "x-word" "year" "2026""#, false),
        (r#"date "x-absent" "year" "2026""#, false),
        (r#"date :value "ge" "date" "hour" "07""#, true),
        (
            r#"date :count "eq" :comparator "i;ascii-numeric" "x-word" "date" "0""#,
            true,
        ),
    ] {
        let require = "date relational comparator-i;ascii-numeric";
        assert_eq!(holds(require, test, LETTER), wanted, "{test}");
    }
}

/// There is no clock here: the same run again must come to the same.
#[test]
fn the_current_date_is_the_environments() {
    let world = World {
        zone_minutes: -11 * 60,
        ..World::default()
    };
    for (test, wanted) in [
        (r#"currentdate "date" "2026-11-29""#, true),
        (r#"currentdate "zone" "-1100""#, true),
        (r#"currentdate :zone "+0000" "hour" "10""#, true),
        (r#"currentdate :matches "month" "1*""#, true),
        (
            r#"allof(currentdate :value "ge" "date" "2026-11-01", currentdate :value "le" "date" "2026-11-29")"#,
            true,
        ),
    ] {
        assert_eq!(
            world.holds("date relational", test, LETTER),
            wanted,
            "{test}"
        );
    }
}

/// Each relay adds a Received field in front; the last one is the sender's.
#[test]
fn an_index_picks_one_field() {
    for (test, wanted) in [
        (r#"header :index 2 "x-word" "two""#, true),
        (r#"header :index 1 "x-word" "two""#, false),
        (r#"header :index 1 :last "x-word" "three""#, true),
        (r#"header :last :index 3 "x-word" "one""#, true),
        (r#"header :index 4 "x-word" ["one", "two", "three"]"#, false),
        (r#"header :index 9223372036854775807 "x-word" "one""#, false),
        (r#"address :index 1 :last "to" "b@example.org""#, true),
        (r#"date :index 2 "received" "date" "2026-11-28""#, true),
    ] {
        assert_eq!(holds("index date", test, LETTER), wanted, "{test}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (script, text) in [
        (r#"if currentdate "year" "2026" {}"#, "\"date\""),
        (
            r#"require "date"; if currentdate "era" "x" {}"#,
            "no part \"era\"",
        ),
        (
            r#"require "date"; if currentdate :originalzone "year" "x" {}"#,
            "no tag \":originalzone\"",
        ),
        (
            r#"require "date"; if date :zone "CET" "date" "year" "x" {}"#,
            "A time zone is written like",
        ),
        (
            r#"require "date"; if date :zone "+2400" "date" "year" "x" {}"#,
            "A time zone is written like",
        ),
        (
            r#"require "date"; if date :zone "+0100" :originalzone "date" "year" "x" {}"#,
            "one time zone",
        ),
        (
            r#"require "index"; if header :index 0 "a" "b" {}"#,
            "first field has the number 1",
        ),
        (
            r#"require "index"; if header :last "a" "b" {}"#,
            "\":last\" needs \":index\"",
        ),
        (r#"if header :index 1 "a" "b" {}"#, "\"index\""),
    ] {
        let refusal = refusal(script);
        assert!(refusal.contains(text), "{refusal}");
    }
}
