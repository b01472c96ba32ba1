//! COPY (RFC 9051 §6.4.7).

use crate::rig::run;

#[test]
fn copies_have_flags_and_are_told_by_uid() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut session = rig.selected().await;
        session.ok("CREATE kept").await;
        session.ok("STORE 3 +FLAGS.SILENT (\\Flagged)").await;
        let last = session.ask("COPY 1,3 kept").await.pop().expect("an answer");
        assert!(
            last.starts_with("OK [COPYUID ") && last.contains(" 1,3 1:2] "),
            "{last}"
        );
        session.ok("SELECT kept").await;
        let lines = session
            .ok("FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            .await;
        let text = lines.join("\n");
        assert!(
            text.contains("Subject: 1") && text.contains("Subject: 3"),
            "{text}"
        );
        assert!(
            text.contains("* 2 FETCH (FLAGS (\\Flagged \\Recent)"),
            "{text}"
        );
    });
}

#[test]
fn nothing_is_copied_to_a_mailbox_that_is_not_there() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.selected().await;
        assert!(
            session
                .refused("COPY 1 none")
                .await
                .starts_with("NO [TRYCREATE] ")
        );
        assert!(session.refused("COPY 2 INBOX").await.starts_with("BAD "));
    });
}
