//! RFC 2971 §3.3: ID may have 30 fields of 30 octets with values of 1,024, before login too. Finding I6.

use imap::{Event, Policy, Session};

/// What the session answers to `command` in its first state, and whether it goes on.
fn answer(command: &str) -> (String, bool) {
    let mut session = Session::new(Policy::default(), true);
    let mut out = Vec::new();
    // In pieces, as a network brings them.
    for piece in command.as_bytes().chunks(1_000) {
        session.input().extend_from_slice(piece);
        if session.step(&mut out) != Event::Wait {
            return (String::from_utf8(out).unwrap(), false);
        }
    }
    (String::from_utf8(out).unwrap(), true)
}

fn id(pairs: impl Iterator<Item = (String, String)>) -> String {
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    format!("a ID ({})\r\n", pairs.join(" "))
}

const ANSWER: &str = "* ID (\"name\" \"Ringpost\" \"version\" \"0.1.0\")\r\na OK ";

#[test]
fn the_largest_id_is_answered_before_login() {
    let quoted = |octet: &str, count| format!("\"{}\"", octet.repeat(count));
    let literal = |count: usize| format!("{{{count}+}}\r\n{}", "x".repeat(count));
    let all = [
        id((0..30).map(|_| (quoted("f", 30), quoted("v", 1_024)))),
        id((0..30).map(|_| (quoted("\\\"", 30), quoted("\\\\", 1_024)))),
        id((0..30).map(|_| (literal(30), literal(1_024)))),
    ];
    for command in &all {
        let (said, goes_on) = answer(command);
        assert!(goes_on && said.starts_with(ANSWER), "{said}");
    }
}

#[test]
fn a_larger_one_is_refused_and_the_connection_goes_on() {
    let value = "v".repeat(1_025);
    for command in [
        id((0..31).map(|_| ("\"f\"".into(), "\"v\"".into()))),
        id([("\"f\"".into(), format!("\"{value}\""))].into_iter()),
        id([(format!("\"{}\"", "f".repeat(31)), "\"v\"".into())].into_iter()),
    ] {
        let (said, goes_on) = answer(&command);
        assert!(goes_on && said.starts_with("a NO [LIMIT] "), "{said}");
    }
}

#[test]
fn nothing_else_may_be_as_long_before_login() {
    let (said, goes_on) = answer(&format!("a LOGIN alice \"{}", "x".repeat(9_000)));
    assert!(!goes_on && said.starts_with("* BYE "), "{said}");
    let (said, goes_on) = answer(&format!("a ID (\"f\" \"{}", "x".repeat(70_000)));
    assert!(!goes_on && said.starts_with("* BYE "), "{said}");
}
