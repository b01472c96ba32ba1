//! LIST (RFC 9051 §6.3.9) and LSUB (RFC 3501 §6.3.9).

use crate::rig::run;

fn names(lines: &[String]) -> Vec<&str> {
    let last = |line: &'_ String| line.rfind(' ').map_or(0, |at| at + 1);
    lines
        .iter()
        .map(|line| line[last(line)..].trim_matches('"'))
        .collect()
}

#[test]
fn a_percent_stops_at_a_level_and_a_star_does_not() {
    run(|rig| async move {
        let mut session = rig.session().await;
        session.ok("CREATE a/b").await;
        assert_eq!(names(&session.ok("LIST \"\" a%").await), ["a"]);
        assert_eq!(names(&session.ok("LIST \"\" a*").await), ["a", "a/b"]);
        assert_eq!(names(&session.ok("LIST a/ %").await), ["a/b"]);
        let separator = session.ok("LIST \"\" \"\"").await;
        assert_eq!(separator, ["* LIST (\\Noselect) \"/\" \"\""]);
    });
}

#[test]
fn counts_come_with_the_names_when_they_are_asked_for() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.session().await;
        let lines = session
            .ok("LIST \"\" INBOX RETURN (STATUS (MESSAGES))")
            .await;
        assert!(
            lines[1].starts_with("* STATUS ") && lines[1].ends_with("(MESSAGES 2)"),
            "{lines:?}"
        );
    });
}

#[test]
fn lsub_names_what_is_subscribed_and_what_is_above_it() {
    run(|rig| async move {
        let mut session = rig.session().await;
        session.ok("CREATE a/b").await;
        session.ok("SUBSCRIBE a/b").await;
        assert_eq!(names(&session.ok("LSUB \"\" a*").await), ["a/b"]);
        let above = session.ok("LSUB \"\" a%").await;
        assert_eq!(names(&above), ["a"]);
        assert!(above[0].starts_with("* LSUB (\\Noselect) "), "{above:?}");
    });
}
