//! RFC 7352.

use sieve::Key;

use crate::common::{World, refusal, shown};

const LETTER: &str = "Message-ID: <1@example.net>\nX-Event: 7\n\n";

fn run(world: &World, script: &str) -> (Vec<String>, Vec<(Key, u64)>) {
    let script = format!("require [\"duplicate\", \"variables\"]; {script}");
    let outcome = world.run(&[&script], LETTER).expect("an outcome");
    let remember = outcome.remember.iter().map(|one| (one.key, one.kept_s));
    (shown(&outcome), remember.collect())
}

/// A run remembers nothing itself: a delivery that fails is made again and must not see its own trace.
#[test]
fn the_second_delivery_is_the_duplicate() {
    let world = World::default();
    let script = "if duplicate { discard; }";
    let (lines, remember) = run(&world, script);
    assert_eq!(lines, ["implicit keep"]);
    assert_eq!(remember.len(), 1);
    assert_eq!(remember[0].1, 7 * 86_400);
    // Asked twice in one run it is the same answer, and one entry.
    let (lines, twice) = run(
        &world,
        "if duplicate { discard; } if duplicate { discard; }",
    );
    assert_eq!(
        (lines, twice),
        (vec!["implicit keep".to_owned()], remember.clone())
    );
    world.remembered.borrow_mut().push(remember[0].0);
    let (lines, again) = run(&world, script);
    assert_eq!((lines, again), (vec!["discard".to_owned()], vec![]));
    // `:last` counts from the last one.
    let (lines, again) = run(&world, "if duplicate :last :seconds 60 { discard; }");
    assert_eq!(
        (lines, again),
        (vec!["discard".to_owned()], vec![(remember[0].0, 60)])
    );
}

/// RFC 7352 §3.1: one space of ids for both ways to name one.
#[test]
fn the_key_is_what_the_script_chooses() {
    let key = |script: &str| {
        let (_, remember) = run(&World::default(), script);
        remember.first().map(|one| one.0)
    };
    let by_id = key("if duplicate {}");
    assert_eq!(by_id, key(r#"if duplicate :header "message-id" {}"#));
    assert_eq!(by_id, key(r#"if duplicate :uniqueid "<1@example.net>" {}"#));
    assert_ne!(by_id, key(r#"if duplicate :handle "a" {}"#));
    assert_ne!(by_id, key(r#"if duplicate :header "x-event" {}"#));
    // Without the field there is nothing to remember.
    assert_eq!(key(r#"if duplicate :header "x-absent" {}"#), None);
}

/// Each is an entry that the account keeps.
#[test]
fn time_and_number_are_bounded() {
    let (_, remember) = run(&World::default(), "if duplicate :seconds 99999999999 {}");
    assert_eq!(remember[0].1, 90 * 86_400);
    let many: String = (0..9)
        .map(|index| format!("if duplicate :handle \"{index}\" {{}}\n"))
        .collect();
    let (lines, _) = run(&World::default(), &many);
    assert!(lines[1].contains("More than 8 duplicates"), "{lines:?}");
    let both = r#"require "duplicate"; if duplicate :header "a" :uniqueid "b" {}"#;
    assert!(refusal(both).contains("cannot stand together"));
}
