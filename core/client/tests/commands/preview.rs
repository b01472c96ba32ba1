//! PREVIEW (RFC 8970).

use crate::rig::run;

const HTML: &str =
    "Subject: a\r\nContent-Type: text/html\r\n\r\n<style>p{}</style><p>Hello <b>Alice</b></p>\r\n";

#[test]
fn the_first_words_come_without_setting_seen() {
    run(|rig| async move {
        rig.deliver("Subject: b\r\n\r\nThe quick\r\nbrown  fox\r\n")
            .await;
        rig.deliver(HTML).await;
        rig.deliver("Subject: c\r\n\r\n").await;
        let mut session = rig.selected().await;
        let expected = [
            "* 1 FETCH (PREVIEW \"The quick brown fox\")",
            "* 2 FETCH (PREVIEW \"Hello Alice\")",
            "* 3 FETCH (PREVIEW \"\")",
        ];
        assert_eq!(session.ok("FETCH 1:3 PREVIEW").await, expected);
        assert_eq!(session.ok("FETCH 1:3 (PREVIEW (LAZY))").await, expected);
        let flags = session.ok("FETCH 1 FLAGS").await;
        assert!(!flags[0].contains("Seen"), "{flags:?}");
        let last = session.refused("FETCH 1 (PREVIEW (EAGER))").await;
        assert!(last.starts_with("BAD "), "{last}");
    });
}

/// Of a large message its first piece is read, and nothing of it where the client asks for what costs little.
#[test]
fn a_large_message_shows_its_first_words_unless_the_client_is_lazy() {
    run(|rig| async move {
        let raw = format!(
            "Subject: b\r\n\r\nThe beginning\r\n{}",
            "more and more\r\n".repeat(60_000)
        );
        rig.deliver(&raw).await;
        let mut session = rig.selected().await;
        let lines = session.ok("FETCH 1 (UID PREVIEW)").await;
        assert!(
            lines[0].starts_with("* 1 FETCH (UID 1 PREVIEW \"The beginning more and"),
            "{lines:?}"
        );
        let lines = session.ok("FETCH 1 (UID PREVIEW (LAZY))").await;
        assert_eq!(lines, ["* 1 FETCH (UID 1 PREVIEW NIL)"]);
    });
}
