//! METADATA (RFC 5464) and LIST-METADATA (RFC 9590).

use mail::{Address, Rights, RightsChange};

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

/// What one LIST holds of other accounts' annotations is bounded, however many share.
#[test]
fn a_list_of_too_many_annotations_is_refused() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let names = ["/shared/a", "/shared/b"].map(str::to_owned);
        for number in 0..40 {
            let local = format!("p{number}");
            let address = Address::from_parts(&local, "example.org").expect("an address");
            let account = rig.mailboxes.add_account(&address, "$hash", 0).await;
            let account = account.expect("an account");
            let value = Some(vec![b'x'; 15_000]);
            let notes = names.iter().map(|name| (name.clone(), value.clone()));
            let set = rig
                .mailboxes
                .set_notes(account, Some("INBOX"), notes.collect());
            set.await.expect("notes within the bounds");
            let change = RightsChange::Add(Rights::parse("lr").expect("letters"));
            let set = rig
                .mailboxes
                .change_access(account, "INBOX", "anyone", change);
            set.await.expect("an entry");
        }
        let list = "LIST \"\" \"Other Users/*\" RETURN (METADATA";
        let refused = alice
            .refused(&format!("{list} (/shared/a /shared/b))"))
            .await;
        assert!(refused.starts_with("NO [LIMIT] "), "{refused}");
        // What is not asked for does not count.
        let lines = alice.ok(&format!("{list} (/shared/a))")).await;
        let shown = lines.iter().filter(|line| line.starts_with("* METADATA "));
        assert_eq!(shown.count(), 40);
        alice.ok(&format!("{list} (/shared/none))")).await;
    });
}
