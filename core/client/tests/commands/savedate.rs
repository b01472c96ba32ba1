//! SAVEDATE (RFC 8514).

use crate::rig::run;

#[test]
fn a_message_has_the_date_of_its_placement() {
    run(|rig| async move {
        let mut session = rig.session().await;
        session
            .ok("APPEND INBOX \" 5-Jan-2020 10:00:00 +0000\" {4+}\r\nabcd")
            .await;
        session.ok("SELECT INBOX").await;
        let before = session.ok("FETCH 1 SAVEDATE").await;
        assert!(
            before[0].starts_with("* 1 FETCH (SAVEDATE \"") && !before[0].contains("2020"),
            "{before:?}"
        );
        let minute = 60 * 1_000_000;
        rig.host
            .sleep_until(base::Time(rig.host.now().0 + 20 * minute))
            .await;
        let mut session = rig.selected().await;
        session.ok("COPY 1 Archive").await;
        assert_eq!(session.ok("FETCH 1 SAVEDATE").await, before);
        session.ok("SELECT Archive").await;
        let copied = session.ok("FETCH 1 SAVEDATE").await;
        assert_ne!(copied, before);
        let (_, date) = before[0].split_once('"').expect("a date");
        let date = date[..11].trim();
        for (key, lines) in [
            (format!("SAVEDON {date}"), "* SEARCH 1"),
            (format!("SAVEDBEFORE {date}"), "* SEARCH"),
            (format!("SAVEDSINCE {date}"), "* SEARCH 1"),
            ("SAVEDATESUPPORTED".to_owned(), "* SEARCH 1"),
            ("BEFORE 6-Jan-2020".to_owned(), "* SEARCH 1"),
        ] {
            assert_eq!(session.ok(&format!("SEARCH {key}")).await, [lines], "{key}");
        }
    });
}
