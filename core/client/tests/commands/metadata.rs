//! METADATA (RFC 5464) and LIST-METADATA (RFC 9590).

use crate::rig::run;

const INBOX: &str = "\"Other Users/alice@example.org/INBOX\"";

#[test]
fn annotations_are_set_shown_and_taken_out() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        alice
            .ok("SETMETADATA INBOX (/private/comment \"mine\" /Shared/Color \"red\")")
            .await;
        alice.ok("SETMETADATA \"\" (/private/a/b \"12345\")").await;
        let lines = alice
            .ok("GETMETADATA INBOX (/private/comment /shared/color /shared/none)")
            .await;
        let all = "(\"/private/comment\" \"mine\" \"/shared/color\" \"red\" \"/shared/none\" NIL)";
        assert_eq!(lines, [format!("* METADATA \"INBOX\" {all}")]);
        let lines = alice.ok("GETMETADATA (DEPTH infinity) \"\" /private").await;
        assert_eq!(lines, ["* METADATA \"\" (\"/private/a/b\" \"12345\")"]);
        assert!(
            alice
                .ok("GETMETADATA (DEPTH 1) \"\" /private")
                .await
                .is_empty()
        );
        alice
            .send("t GETMETADATA (MAXSIZE 4) \"\" /private/a/b\r\n")
            .await;
        let answer = alice.answer().await;
        assert_eq!(
            answer,
            ["OK [METADATA LONGENTRIES 5] Getmetadata completed"]
        );
        alice.ok("SETMETADATA INBOX (/private/comment NIL)").await;
        let lines = alice.ok("GETMETADATA INBOX /private/comment").await;
        assert_eq!(lines, ["* METADATA \"INBOX\" (\"/private/comment\" NIL)"]);
    });
}

#[test]
fn what_is_too_large_or_not_ours_is_refused() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let long = "x".repeat(16_385);
        let set = format!("SETMETADATA INBOX (/private/a {{16385+}}\r\n{long})");
        for (command, answer) in [
            (&set[..], "NO [METADATA MAXSIZE 16384] "),
            ("SETMETADATA \"\" (/shared/comment \"x\")", "NO [NOPERM] "),
            ("SETMETADATA INBOX (/other/comment \"x\")", "NO [CANNOT] "),
            (
                "SETMETADATA Nope (/private/comment \"x\")",
                "NO [NONEXISTENT] ",
            ),
            ("GETMETADATA Nope /private/comment", "NO [NONEXISTENT] "),
        ] {
            let refused = alice.refused(command).await;
            assert!(refused.starts_with(answer), "{refused}");
        }
        let fits = format!("{{16000+}}\r\n{}", &long[..16_000]);
        alice
            .ok(&format!("SETMETADATA INBOX (/private/a {fits})"))
            .await;
        alice
            .ok(&format!("SETMETADATA INBOX (/private/b {fits})"))
            .await;
        let refused = alice
            .refused(&format!("SETMETADATA INBOX (/private/c {fits})"))
            .await;
        assert!(refused.starts_with("NO [METADATA TOOMANY] "), "{refused}");
    });
}

#[test]
fn shared_annotations_follow_the_rights_and_private_ones_are_the_owners() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let mut bob = rig.session_of("bob").await;
        alice
            .ok("SETMETADATA INBOX (/private/a \"1\" /shared/a \"2\")")
            .await;
        let none = bob.refused(&format!("GETMETADATA {INBOX} /shared/a")).await;
        assert!(none.starts_with("NO [NONEXISTENT] "), "{none}");
        alice.ok("SETACL INBOX bob@example.org lr").await;
        let lines = bob
            .ok(&format!("GETMETADATA {INBOX} (/private/a /shared/a)"))
            .await;
        let all = "(\"/private/a\" NIL \"/shared/a\" \"2\")";
        assert_eq!(lines, [format!("* METADATA {INBOX} {all}")]);
        let refused = bob
            .refused(&format!("SETMETADATA {INBOX} (/shared/a \"3\")"))
            .await;
        assert!(refused.starts_with("NO [NOPERM] "), "{refused}");
        alice.ok("SETACL INBOX bob@example.org lrw").await;
        bob.ok(&format!("SETMETADATA {INBOX} (/shared/a \"3\")"))
            .await;
        let refused = bob
            .refused(&format!("SETMETADATA {INBOX} (/private/a \"3\")"))
            .await;
        assert!(refused.starts_with("NO [METADATA NOPRIVATE] "), "{refused}");
        let lines = alice
            .ok("LIST \"\" INBOX RETURN (METADATA (/shared/a /private/a))")
            .await;
        let all = "(\"/shared/a\" \"3\" \"/private/a\" \"1\")";
        assert_eq!(lines[1], format!("* METADATA \"INBOX\" {all}"));
        let lines = bob
            .ok(&format!(
                "LIST \"\" ({INBOX}) RETURN (METADATA (/private/a))"
            ))
            .await;
        assert_eq!(lines[1], format!("* METADATA {INBOX} (\"/private/a\" NIL)"));
    });
}
