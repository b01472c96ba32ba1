//! RFC 5293.

use crate::common::{World, refusal, shown};

const LETTER: &str = "\
Received: from a by b
X-Hello: one
X-Hello: two
X-Hello: three
Subject: sea

body
";

/// What is kept, as edited headers with `|` for line ends.
fn edited(script: &str) -> (Vec<String>, Vec<String>) {
    let script =
        format!("require [\"editheader\", \"fileinto\", \"index\", \"variables\"]; {script}");
    let outcome = World::default()
        .run(&[&script], LETTER)
        .expect("an outcome");
    let editions = outcome.editions.iter().map(|header| {
        let text = String::from_utf8(header.clone()).expect("text");
        text.trim_end().replace("\r\n", "|")
    });
    (shown(&outcome), editions.collect())
}

/// In front is where trace fields stand, and where a new one is found first.
#[test]
fn fields_are_added_in_front_or_behind() {
    let (lines, editions) =
        edited(r#"addheader "X-New" "a  b "; addheader :last "X-Last" "Grüße"; keep;"#);
    assert_eq!(lines, ["keep, edition 1"]);
    assert_eq!(
        editions,
        [
            "X-New: a  b|Received: from a by b|X-Hello: one|X-Hello: two|X-Hello: three|Subject: sea|X-Last: =?utf-8?B?R3LDvMOfZQ==?="
        ]
    );
}

/// RFC 5293 §5: numbers are those before anything goes.
#[test]
fn fields_are_deleted_by_place_and_value() {
    for (script, left) in [
        (r#"deleteheader "x-hello";"#, ""),
        (r#"deleteheader "x-hello" "two";"#, "one three"),
        (r#"deleteheader :contains "x-hello" ["o"];"#, "three"),
        (r#"deleteheader :index 1 "x-hello";"#, "two three"),
        (r#"deleteheader :index 1 :last "x-hello";"#, "one two"),
        (
            r#"deleteheader :index 2 :matches "x-hello" "o*";"#,
            "one two three",
        ),
        (r#"deleteheader :index 9 "x-hello";"#, "one two three"),
    ] {
        let (_, editions) = edited(script);
        let fields = match editions.first() {
            Some(header) => header.clone(),
            None => LETTER.replace('\n', "|"),
        };
        let values: Vec<&str> = fields
            .split('|')
            .filter_map(|field| field.strip_prefix("X-Hello: "))
            .collect();
        assert_eq!(values.join(" "), left, "{script}");
    }
}

/// A copy that was filed before an edit does not show it.
#[test]
fn each_action_gets_the_header_of_its_moment() {
    let (lines, editions) = edited(
        r#"fileinto "plain"; addheader "X-A" "1"; fileinto "a"; redirect "c@d.e"; deleteheader "Subject"; fileinto "b";"#,
    );
    assert_eq!(
        lines,
        [
            r#"fileinto "plain""#,
            r#"fileinto "a", edition 1"#,
            "redirect c@d.e, edition 1",
            r#"fileinto "b", edition 2"#
        ]
    );
    assert!(editions[0].contains("Subject") && !editions[1].contains("Subject"));
    let (lines, editions) = edited(r#"addheader "X-A" "1"; discard;"#);
    assert_eq!((lines, editions), (vec!["discard".to_owned()], vec![]));
}

/// RFC 5293 §4: a later rule may depend on a mark that an earlier one set.
#[test]
fn tests_see_what_was_edited() {
    let (lines, _) = edited(
        r#"addheader "X-A" "1"; deleteheader "subject";
           if allof (header "x-a" "1", not exists "subject") { fileinto "seen"; }"#,
    );
    assert_eq!(lines, [r#"fileinto "seen", edition 1"#]);
}

/// RFC 5293 §6: mail that goes in circles is recognised by them.
#[test]
fn trace_fields_stay() {
    let (lines, _) = edited(r#"deleteheader "Received"; deleteheader "auto-submitted";"#);
    assert_eq!(lines, ["implicit keep"]);
}

/// Values come out of messages, and line ends out of encoded words.
#[test]
fn a_value_cannot_begin_another_field() {
    let (_, editions) = edited("addheader \"X-A\" \"1\r\nX-Evil: 2\";");
    assert!(
        editions[0].starts_with("X-A: 1  X-Evil: 2|"),
        "{editions:?}"
    );
    assert!(refusal(r#"require "editheader"; addheader "X A" "1";"#).contains("\"X A\" is not"));
    assert!(refusal(r#"require "editheader"; addheader "X-A:" "1";"#).contains("is not the name"));
    let (lines, _) = edited(r#"set "n" "a b"; addheader "${n}" "1";"#);
    assert!(lines[1].contains("\"a b\" is not the name of a header field"));
}

/// Each edited header is stored with its copy.
#[test]
fn editing_is_bounded() {
    let much = r#"addheader "X-A" "1"; fileinto "a"; addheader "X-A" "1"; fileinto "b"; addheader "X-A" "1"; fileinto "c";
        addheader "X-A" "1"; fileinto "d"; addheader "X-A" "1"; fileinto "e";"#;
    let (lines, editions) = edited(much);
    assert!(lines[1].contains("edited between too many actions") && editions.is_empty());
}
