//! UNAUTHENTICATE (RFC 8437).

use crate::rig::run;

#[test]
fn nothing_of_the_login_remains() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.session().await;
        session.ok("ENABLE QRESYNC").await;
        session.ok("SELECT INBOX").await;
        session.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        let last = session
            .ask("UNAUTHENTICATE")
            .await
            .pop()
            .expect("an answer");
        assert!(
            last.starts_with("OK [CAPABILITY ") && last.contains("AUTH=PLAIN"),
            "{last}"
        );
        for command in ["SELECT INBOX", "NOOP\r\nt FETCH 1 UID", "UNAUTHENTICATE"] {
            let mut lines = session.ask(command).await;
            if command.starts_with("NOOP") {
                lines = session.answer().await;
            }
            assert_eq!(lines, ["BAD Log in first"], "{command}");
        }
        session.ok("LOGIN alice secret").await;
        let lines = session.ok("SELECT INBOX").await;
        // RFC 8437 §2: the mailbox was closed without an expunge, and QRESYNC ended.
        assert!(lines.iter().any(|line| line == "* 2 EXISTS"), "{lines:?}");
        let gone = session.ok("EXPUNGE").await;
        assert_eq!(gone, ["* 1 EXPUNGE"]);
    });
}

#[test]
fn a_compressed_connection_keeps_its_account() {
    run(|rig| async move {
        let mut session = rig.session().await;
        session.send("t COMPRESS DEFLATE\r\n").await;
        assert_eq!(session.answer().await, ["OK Compression started"]);
        let packed =
            imap::deflate::Deflater::default().pack(b"t UNAUTHENTICATE\r\nt CAPABILITY\r\n");
        session.send_bytes(&packed).await;
        let mut plain = Vec::new();
        let mut inflater = imap::deflate::Inflater::default();
        while !plain.ends_with(b"t OK Capability completed\r\n") {
            let wire = session.some().await;
            assert!(!wire.is_empty(), "{plain:?}");
            inflater.expand(&wire, 10_000, &mut plain).expect("deflate");
        }
        let text = String::from_utf8_lossy(&plain);
        assert!(
            text.starts_with("t BAD UNAUTHENTICATE is not allowed"),
            "{text}"
        );
        assert!(!text.contains(" UNAUTHENTICATE\r\n"), "{text}");
    });
}
