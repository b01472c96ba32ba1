//! Messages and scripts that are made to cost more than they look. Time is not measured: what a run does has to be in its steps.

use sieve::Action;

use crate::common::World;

/// Steps of a run that does not fail.
fn steps(script: &str, message: &str) -> u64 {
    let outcome = World::default().run(&[script], message);
    let outcome = outcome.expect("no question is open");
    assert_eq!(outcome.failure, None);
    outcome.steps
}

/// A header of a million bytes had a quarter of a million ids, which were removed one by one from the front of a list.
#[test]
fn a_reply_to_any_number_of_references_has_the_first_and_the_last() {
    let ids: Vec<String> = (0..100_000).map(|id| format!("<{id}>")).collect();
    let message = format!(
        "To: bob@example.org\nMessage-ID: <own>\nReferences: {}\n\n",
        ids.join(" ")
    );
    let outcome = World::default().run(&["require \"vacation\"; vacation \"x\";"], &message);
    let actions = outcome.expect("an outcome").actions;
    let Some(Action::Reply(reply)) = actions.first() else {
        panic!("{actions:?}");
    };
    let references = reply.references.as_deref().expect("references");
    assert!(references.starts_with("<0> <9") && references.ends_with("<99999> <own>"));
    assert!(references.len() <= sieve::limits::REFERENCES_BYTES_MAX);
}

/// A value of many digits is looked at for each key, however short that is.
#[test]
fn a_number_costs_steps_for_all_its_digits() {
    let test = "require \"comparator-i;ascii-numeric\"; if header :comparator \"i;ascii-numeric\" \"x\" \"2\" {}";
    let message = format!("X: {}\n\n", "1".repeat(400_000));
    assert!(steps(test, &message) > 2 * 100_000);
}

/// The number of fields is the same for each of them, and is compared once.
#[test]
fn counting_fields_to_remove_costs_steps_for_every_key() {
    let head = "require [\"relational\", \"editheader\"]; deleteheader :count \"gt\" \"a\"";
    let message = format!("{}\n", "a: b\n".repeat(1_000));
    let one = steps(&format!("{head} \"9999\";"), &message);
    let many = steps(
        &format!("{head} [{}\"9999\"];", "\"9999\",".repeat(999)),
        &message,
    );
    assert!(many - one > 1_000 && many - one < 10_000, "{one} {many}");
}

/// A notification that the loop rule drops has been made up before.
#[test]
fn a_notification_costs_steps_for_the_header() {
    let message = format!(
        "Auto-Submitted: auto-replied\nSubject: {}\n{}\n",
        "x".repeat(100_000),
        "a: b\n".repeat(2_000)
    );
    let one = "require \"enotify\"; notify \"mailto:a@b.c\";";
    assert!(steps(one, &message) > 2 * 2_000);
}

/// Each word is compared with all that are there.
#[test]
fn flags_cost_steps_for_what_they_are_compared_with() {
    let flags = "a ".repeat(10_000);
    let script = format!("require \"imap4flags\"; setflag \"{flags}\";");
    assert!(steps(&script, "\n") > 8 * flags.len() as u64);
}

/// Values stay in memory while a test runs: fields times names.
#[test]
fn each_value_of_a_test_costs_steps() {
    let names = "\"a\",".repeat(99);
    let script = format!("if header [{names}\"a\"] \"x\" {{}}");
    let message = format!("{}\n", "a: b\n".repeat(1_000));
    assert!(steps(&script, &message) > 10 * 100 * 1_000);
    let message = format!("to: {}\n\n", "a@b,".repeat(1_000));
    assert!(steps("if address \"to\" \"x\" {}", &message) > 10 * 1_000);
}

/// The host may have to look each one up, and then the run begins again.
#[test]
fn questions_to_the_host_are_bounded() {
    let names = "\"INBOX\",".repeat(999);
    let script = format!("require \"mailbox\"; if mailboxexists [{names}\"INBOX\"] {{}}");
    let outcome = World::default().run(&[&script], "\n").expect("an outcome");
    let failure = outcome.failure.expect("a failure").to_string();
    assert!(failure.contains("takes too long"), "{failure}");
}
