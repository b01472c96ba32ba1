//! APPEND (RFC 9051 §6.3.12).

use crate::rig::run;

const RAW: &str = "Subject: a\r\n\r\nhello\r\n";

#[test]
fn a_message_is_placed_with_its_flags_and_date() {
    run(|rig| async move {
        let mut session = rig.selected().await;
        session
            .send(&format!(
                "t APPEND INBOX (\\Seen $Work) \"05-Jan-2024 10:00:00 +0100\" {{{}}}\r\n",
                RAW.len()
            ))
            .await;
        assert!(session.line().await.starts_with("+ "));
        session.send(&format!("{RAW}\r\n")).await;
        let lines = session.answer().await;
        assert!(lines.contains(&"* 1 EXISTS".to_owned()), "{lines:?}");
        let last = lines.last().expect("an answer");
        assert!(
            last.starts_with("OK [APPENDUID ") && last.contains(" 1] "),
            "{last}"
        );
        let lines = session
            .ok("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
            .await;
        let text = lines.join("\r\n");
        assert!(text.contains("\\Seen") && text.contains("$Work"), "{text}");
        assert!(text.contains("\" 5-Jan-2024 10:00:00 +0100\""), "{text}");
        assert!(
            text.contains(&format!("BODY[] {{{}}}\r\n{RAW}", RAW.len())),
            "{text}"
        );
    });
}

#[test]
fn a_missing_mailbox_is_to_be_created_and_nothing_is_placed_elsewhere() {
    run(|rig| async move {
        let mut session = rig.session().await;
        let command = format!("APPEND none {{{}+}}\r\n{RAW}", RAW.len());
        assert!(
            session
                .refused(&command)
                .await
                .starts_with("NO [TRYCREATE] ")
        );
        let status = session.ok("STATUS INBOX (MESSAGES)").await;
        assert!(status[0].contains("MESSAGES 0"), "{status:?}");
    });
}

#[test]
fn what_is_too_large_is_refused_before_it_is_sent() {
    run(|rig| async move {
        let mut session = rig.session().await;
        let last = session.refused("APPEND INBOX {100001}").await;
        assert!(last.starts_with("NO ["), "{last}");
        session.ok("NOOP").await;
    });
}
