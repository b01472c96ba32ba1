//! OBJECTID (RFC 8474).

use crate::rig::{Session, run};

/// What stands in parentheses behind `word` in some line.
fn id_after(lines: &[String], word: &str) -> String {
    let found = lines.iter().find_map(|line| {
        let (_, rest) = line.split_once(&format!("{word} ("))?;
        rest.split_once(')').map(|(id, _)| id.to_owned())
    });
    found.unwrap_or_else(|| panic!("{word}: {lines:?}"))
}

async fn of_mailbox(session: &mut Session, name: &str) -> String {
    let lines = session.ok(&format!("STATUS {name} (MAILBOXID)")).await;
    id_after(&lines, "MAILBOXID")
}

async fn of_first(session: &mut Session) -> String {
    let lines = session.ok("FETCH 1 (EMAILID THREADID)").await;
    assert!(lines[0].ends_with(" THREADID NIL)"), "{lines:?}");
    id_after(&lines, "EMAILID")
}

#[test]
fn a_mailbox_keeps_its_id_over_a_rename_and_no_two_have_one() {
    run(|rig| async move {
        let mut session = rig.session().await;
        let created = session.ask("CREATE one").await;
        let id = id_after(&created, "OK [MAILBOXID");
        assert_eq!(of_mailbox(&mut session, "one").await, id);
        let selected = session.ok("SELECT one").await;
        assert_eq!(id_after(&selected, "* OK [MAILBOXID"), id);
        session.ok("UNSELECT").await;
        session.ok("RENAME one two").await;
        assert_eq!(of_mailbox(&mut session, "two").await, id);
        session.ok("CREATE one").await;
        assert_ne!(of_mailbox(&mut session, "one").await, id);
        assert_ne!(of_mailbox(&mut session, "INBOX").await, id);
    });
}

#[test]
fn a_message_keeps_its_id_over_copy_and_move() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.selected().await;
        let id = of_first(&mut session).await;
        session.ok("COPY 1 Archive").await;
        session.ok("MOVE 1 Trash").await;
        assert_ne!(of_first(&mut session).await, id);
        for name in ["Archive", "Trash"] {
            session.ok(&format!("SELECT {name}")).await;
            assert_eq!(of_first(&mut session).await, id, "{name}");
            let found = session.ok(&format!("SEARCH EMAILID {id}")).await;
            assert_eq!(found, ["* SEARCH 1"]);
        }
        let none = session
            .ok(&format!("SEARCH OR EMAILID {id}0 THREADID T1"))
            .await;
        assert_eq!(none, ["* SEARCH"]);
    });
}

/// RFC 3501 §2.3.1.1: the internal date of a message does not change either.
#[test]
fn equal_bytes_of_another_date_are_another_message() {
    run(|rig| async move {
        let mut session = rig.session().await;
        for day in ["01", "02"] {
            let command = format!("APPEND INBOX \"{day}-Jan-2024 10:00:00 +0000\" {{4+}}\r\nabcd");
            session.ok(&command).await;
        }
        session.ok("SELECT INBOX").await;
        let lines = session.ok("FETCH 1:2 EMAILID").await;
        assert_ne!(
            id_after(&lines[..1], "EMAILID"),
            id_after(&lines[1..], "EMAILID")
        );
    });
}
