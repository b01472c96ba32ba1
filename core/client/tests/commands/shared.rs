//! Mailboxes of other accounts: their names (RFC 2342), each command with and without its right (RFC 4314 §4), and changes that reach the others.

use mail::Address;

use crate::rig::{Rig, Session, run};

const INBOX: &str = "\"Other Users/alice@example.org/INBOX\"";

/// Alice's session and Bob's, who has these rights on her INBOX.
async fn both(rig: &Rig, rights: &str) -> (Session, Session) {
    let mut alice = rig.session().await;
    let bob = rig.session_of("bob").await;
    alice
        .ok(&format!("SETACL INBOX bob@example.org \"{rights}\""))
        .await;
    (alice, bob)
}

/// The right that each command needs: without it NOPERM, without `l` as if the mailbox were not there, with it OK.
#[test]
fn each_command_needs_its_right() {
    let append = "APPEND M {17+}\r\nSubject: a\r\n\r\nb\r\n";
    for (needed, before, command) in [
        ("r", "", "SELECT M"),
        ("r", "", "EXAMINE M"),
        ("r", "", "STATUS M (MESSAGES)"),
        ("i", "", append),
        ("i", "SELECT INBOX", "COPY 1 M"),
        ("i", "SELECT INBOX", "MOVE 1 M"),
        ("k", "", "CREATE M/below"),
        ("x", "", "DELETE M"),
        ("a", "", "GETACL M"),
        ("a", "", "SETACL M anyone l"),
        ("a", "", "DELETEACL M anyone"),
        ("a", "", "LISTRIGHTS M anyone"),
        ("r", "", "GETQUOTAROOT M"),
        ("r", "", "GETMETADATA M /shared/comment"),
        ("l", "", "SUBSCRIBE M"),
    ] {
        run(|rig| async move {
            let mut alice = rig.session().await;
            alice.ok("CREATE M").await;
            let mut bob = rig.session_of("bob").await;
            bob.ok("APPEND INBOX {17+}\r\nSubject: a\r\n\r\nb\r\n")
                .await;
            let other = "\"Other Users/alice@example.org/M\"";
            let command = match command.strip_suffix("M/below") {
                Some(word) => format!("{word}\"Other Users/alice@example.org/M/below\""),
                None => command.replacen(" M", &format!(" {other}"), 1),
            };
            let all = "lrswipkxtea";
            let with = |letters: &str| {
                let kept = |letter: &char| letters.contains(*letter);
                all.chars().filter(kept).collect::<String>()
            };
            let without: String = all
                .chars()
                .filter(|letter| !needed.contains(*letter))
                .collect();
            let hidden: String = without.chars().filter(|letter| *letter != 'l').collect();
            for (rights, answer) in [
                ("", "NO [NO"),
                (
                    &hidden[..],
                    if needed == "k" {
                        "NO [NOPERM] "
                    } else {
                        "NO [NONEXISTENT] "
                    },
                ),
                (
                    &without[..],
                    if needed == "l" {
                        "NO [NONEXISTENT] "
                    } else {
                        "NO [NOPERM] "
                    },
                ),
            ] {
                alice
                    .ok(&format!("SETACL M bob@example.org \"{rights}\""))
                    .await;
                if !before.is_empty() {
                    bob.ok(before).await;
                }
                let refused = bob.refused(&command).await;
                assert!(
                    refused.starts_with(answer),
                    "{command} with {rights}: {refused}"
                );
            }
            let rights = with(&format!("{needed}l"));
            alice
                .ok(&format!("SETACL M bob@example.org {rights}"))
                .await;
            bob.ok(&command).await;
        });
    }
}

/// The same for what is done in an open mailbox.
#[test]
fn each_command_in_an_open_mailbox_needs_its_right() {
    for (needed, command) in [
        ("s", "STORE 1 +FLAGS (\\Seen)"),
        ("w", "STORE 1 +FLAGS (\\Flagged)"),
        ("w", "STORE 1 +FLAGS ($Work)"),
        ("w", "STORE 1 -FLAGS ($Work)"),
        ("t", "STORE 1 +FLAGS (\\Deleted)"),
        ("e", "EXPUNGE"),
        ("e", "UID EXPUNGE 1:*"),
        ("te", "MOVE 1 Archive"),
        ("tei", "REPLACE 1 M {17+}\r\nSubject: a\r\n\r\nb\r\n"),
    ] {
        run(|rig| async move {
            rig.deliver_some(2).await;
            // A right that keeps the mailbox open for writing, and is not the one that is asked for.
            let other = if needed == "s" { "w" } else { "s" };
            let (mut alice, mut bob) = both(&rig, &format!("lr{other}")).await;
            let selected = bob.ask(&format!("SELECT {INBOX}")).await;
            let last = selected.last().expect("an answer");
            assert!(last.starts_with("OK [READ-WRITE] "), "{last}");
            let command = command.replace(" M ", &format!(" {INBOX} "));
            let refused = bob.refused(&command).await;
            assert!(refused.starts_with("NO [NOPERM] "), "{command}: {refused}");
            alice
                .ok(&format!("SETACL INBOX bob@example.org +{needed}"))
                .await;
            bob.ok(&command).await;
        });
    }
}

#[test]
fn a_mailbox_without_a_right_to_change_it_is_open_for_reading() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let (mut alice, mut bob) = both(&rig, "lr").await;
        let lines = bob.ask(&format!("SELECT {INBOX}")).await;
        let last = lines.last().expect("an answer");
        assert!(last.starts_with("OK [READ-ONLY] "), "{last}");
        assert!(
            lines
                .iter()
                .any(|line| line.contains("[PERMANENTFLAGS ()]"))
        );
        let refused = bob.refused("STORE 1 +FLAGS (\\Seen)").await;
        assert_eq!(refused, "NO Mailbox is read-only");
        alice.ok("SETACL INBOX bob@example.org lrst").await;
        let lines = bob.ok(&format!("SELECT {INBOX}")).await;
        let flags = "[PERMANENTFLAGS (\\Deleted \\Seen)]";
        assert!(lines.iter().any(|line| line.contains(flags)), "{lines:?}");
        let fetched = bob.ok("FETCH 1 BODY[]").await.join(" ");
        assert!(fetched.contains("\\Seen"), "{fetched}");
    });
}

#[test]
fn a_fetch_without_the_right_to_mark_marks_nothing() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let (mut alice, mut bob) = both(&rig, "lrw").await;
        bob.ok(&format!("SELECT {INBOX}")).await;
        let fetched = bob.ok("FETCH 1 BODY[]").await.join(" ");
        assert!(!fetched.contains("\\Seen"), "{fetched}");
        let lines = alice.ok("STATUS INBOX (UNSEEN)").await;
        assert_eq!(lines, ["* STATUS \"INBOX\" (UNSEEN 1)"]);
    });
}

#[test]
fn flags_without_a_right_are_passed_over_among_others() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let (mut alice, mut bob) = both(&rig, "lrsi").await;
        alice.ok("SELECT INBOX").await;
        alice.ok("STORE 1 FLAGS (\\Flagged $Work)").await;
        bob.ok(&format!("SELECT {INBOX}")).await;
        let lines = bob
            .ok("STORE 1 FLAGS (\\Seen \\Deleted $Home)")
            .await
            .join(" ");
        assert!(lines.contains("(\\Flagged \\Seen $Work)"), "{lines}");
        let raw = "Subject: a\r\n\r\nb\r\n";
        let append = format!("APPEND {INBOX} (\\Seen \\Deleted $Home) {{17+}}\r\n{raw}");
        bob.ok(&append).await;
        let lines = bob.ok("FETCH 2 FLAGS").await.join(" ");
        assert!(lines.contains("FLAGS (\\Seen"), "{lines}");
        let passed_over = !lines.contains("Deleted") && !lines.contains("Home");
        assert!(passed_over, "{lines}");
        alice.ok("STORE 1 +FLAGS (\\Deleted)").await;
        bob.ok("CLOSE").await;
        let lines = alice.ok("STATUS INBOX (MESSAGES)").await;
        let count = lines.last().expect("a line");
        assert_eq!(
            count, "* STATUS \"INBOX\" (MESSAGES 2)",
            "CLOSE expunged nothing"
        );
    });
}

#[test]
fn changes_reach_the_other_sessions_at_once() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let (mut alice, mut bob) = both(&rig, "lrsw").await;
        bob.ok(&format!("SELECT {INBOX}")).await;
        bob.send("t IDLE\r\n").await;
        assert!(bob.line().await.starts_with("+ "));
        rig.deliver_some(1).await;
        assert_eq!(bob.line().await, "* 2 EXISTS");
        assert!(bob.line().await.ends_with(" RECENT"));
        let lines = alice.ok("SELECT INBOX").await;
        assert!(
            lines.contains(&"* 2 RECENT".to_owned()),
            "\\Recent stays for the owner: {lines:?}"
        );
        alice.ok("STORE 1 +FLAGS (\\Flagged)").await;
        let line = bob.line().await;
        assert!(line.contains("\\Flagged"), "{line}");
        bob.send("DONE\r\n").await;
        assert_eq!(bob.answer().await, ["OK Idle completed"]);
        // The other way round, and \Seen is one for all who share the mailbox.
        alice.send("t IDLE\r\n").await;
        assert!(alice.line().await.starts_with("+ "));
        bob.ok("STORE 1 +FLAGS (\\Seen)").await;
        let line = alice.line().await;
        assert!(line.contains("\\Seen"), "{line}");
    });
}

#[test]
fn rights_that_are_taken_back_end_an_open_session() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let (mut alice, mut bob) = both(&rig, "lrs").await;
        bob.ok(&format!("SELECT {INBOX}")).await;
        let mut idle = rig.session_of("bob").await;
        idle.ok(&format!("SELECT {INBOX}")).await;
        idle.send("t IDLE\r\n").await;
        assert!(idle.line().await.starts_with("+ "));
        alice.ok("DELETEACL INBOX bob@example.org").await;
        let bye = "* BYE the mailbox is no longer shared with this account";
        assert_eq!(idle.line().await, bye, "at once in IDLE");
        assert!(idle.is_over().await);
        bob.send("t FETCH 1 FLAGS\r\n").await;
        assert_eq!(bob.line().await, bye, "at the next command");
        assert!(bob.is_over().await);
    });
}

#[test]
fn what_is_not_known_for_certain_is_not_shown() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let (_alice, mut bob) = both(&rig, "lrs").await;
        bob.ok(&format!("SELECT {INBOX}")).await;
        rig.busy.set(true);
        let refused = bob.refused("FETCH 1 FLAGS").await;
        assert!(refused.starts_with("NO [UNAVAILABLE] "), "{refused}");
        rig.busy.set(false);
        bob.ok("FETCH 1 FLAGS").await;
    });
}

#[test]
fn names_of_others_are_listed_and_subscribed() {
    run(|rig| async move {
        let (mut alice, mut bob) = both(&rig, "l").await;
        alice.ok("CREATE Plans/May").await;
        alice.ok("SETACL Plans/May bob@example.org lr").await;
        let lines = bob.ok("NAMESPACE").await;
        let all = "((\"\" \"/\")) ((\"Other Users/\" \"/\")) ((\"Shared/\" \"/\"))";
        assert_eq!(lines, [format!("* NAMESPACE {all}")]);
        let base = "Other Users/alice@example.org";
        let lines = bob.ok("LIST \"\" \"Other Users/*\"").await;
        let expected = [
            format!("* LIST (\\Noselect \\HasChildren) \"/\" \"{base}\""),
            format!("* LIST (\\Noselect \\HasNoChildren) \"/\" \"{base}/INBOX\""),
            format!("* LIST (\\Noselect \\HasChildren) \"/\" \"{base}/Plans\""),
            format!("* LIST (\\HasNoChildren) \"/\" \"{base}/Plans/May\""),
        ];
        assert_eq!(lines, expected);
        let lines = bob.ok("LIST \"\" %").await;
        assert!(
            lines.contains(&"* LIST (\\Noselect \\HasChildren) \"/\" \"Other Users\"".to_owned())
        );
        assert!(
            !alice
                .ok("LIST \"\" *")
                .await
                .join(" ")
                .contains("Other Users")
        );

        bob.ok(&format!("SUBSCRIBE \"{base}/Plans/May\"")).await;
        let lines = bob.ok("LSUB \"\" \"Other Users/*\"").await;
        assert_eq!(lines, [format!("* LSUB () \"/\" \"{base}/Plans/May\"")]);
        let lines = bob.ok("LIST (SUBSCRIBED) \"\" \"Other Users/*\"").await;
        let line = format!("* LIST (\\HasNoChildren \\Subscribed) \"/\" \"{base}/Plans/May\"");
        assert_eq!(lines, [line]);
        let hidden = bob.refused(&format!("SUBSCRIBE \"{base}/Plans\"")).await;
        assert!(hidden.starts_with("NO [NONEXISTENT] "), "{hidden}");
        let lines = bob
            .ok("LIST \"\" \"Other Users/*\" RETURN (STATUS (MESSAGES))")
            .await;
        assert!(lines.contains(&format!("* STATUS \"{base}/Plans/May\" (MESSAGES 0)")));
        // Gone, and still subscribed (RFC 3501 §6.3.9).
        alice.ok("DELETE Plans/May").await;
        let lines = bob.ok("LIST (SUBSCRIBED) \"\" \"Other Users/*\"").await;
        assert!(lines[0].contains("\\NonExistent"), "{lines:?}");
        bob.ok(&format!("UNSUBSCRIBE \"{base}/Plans/May\"")).await;
        assert!(bob.ok("LSUB \"\" \"Other Users/*\"").await.is_empty());
    });
}

#[test]
fn folders_of_a_shared_account_are_in_their_own_namespace() {
    run(|rig| async move {
        let mut info = rig.session_of("info").await;
        let mut bob = rig.session_of("bob").await;
        info.ok("SETACL INBOX anyone lrswite").await;
        let address = Address::from_parts("info", "example.org").expect("an address");
        let account = rig.mailboxes.account(&address).await;
        let account = account.expect("it is read").expect("it is there").id;
        let marked = rig.mailboxes.mark_shared(account, true).await;
        assert_eq!(marked, Ok(false));
        let lines = bob.ok("LIST \"\" Shared/*").await;
        assert_eq!(
            lines[1],
            "* LIST (\\HasNoChildren) \"/\" \"Shared/info@example.org/INBOX\""
        );
        bob.ok("SELECT Shared/info@example.org/INBOX").await;
        let other = bob
            .refused("SELECT \"Other Users/info@example.org/INBOX\"")
            .await;
        assert!(other.starts_with("NO [NONEXISTENT] "), "{other}");
        // What is brought there is the shared account's to pay for.
        bob.ok("APPEND Shared/info@example.org/INBOX {17+}\r\nSubject: a\r\n\r\nb\r\n")
            .await;
        let usage = rig.mailboxes.usage(account).await.expect("it is read");
        assert_eq!(usage.used_bytes, 17);
        let lines = bob.ok("GETQUOTAROOT Shared/info@example.org/INBOX").await;
        let root = "* QUOTAROOT \"Shared/info@example.org/INBOX\" \"info@example.org\"";
        assert_eq!(lines, [root, "* QUOTA \"info@example.org\" ()"]);
    });
}

#[test]
fn a_folder_of_ones_own_keeps_its_name() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        for name in ["Shared", "Shared/x", "\"Other Users\""] {
            let refused = alice.refused(&format!("CREATE {name}")).await;
            assert!(refused.starts_with("NO [CANNOT] "), "{refused}");
        }
        // The same for an account that is there and for one that is not.
        rig.session_of("bob").await;
        for name in ["bob", "erin"] {
            let name = format!("\"Other Users/{name}@example.org/x\"");
            let refused = alice.refused(&format!("CREATE {name}")).await;
            assert!(refused.starts_with("NO [NOPERM] "), "{refused}");
        }
        alice.ok("CREATE Team").await;
        let refused = alice.refused("RENAME Team Shared").await;
        assert!(refused.starts_with("NO [CANNOT] "), "{refused}");
        // As an earlier release let it be made.
        let account = rig.alice();
        let made = rig.mailboxes.create(account, "Shared/a", None).await;
        made.expect("a folder");
        alice.ok("SELECT Shared/a").await;
        alice.ok("CREATE Shared/b").await;
        let lines = alice.ok("NAMESPACE").await;
        let all = "((\"\" \"/\")) ((\"Other Users/\" \"/\")) NIL";
        assert_eq!(lines, [format!("* NAMESPACE {all}")]);
    });
}

#[test]
fn folders_are_made_renamed_and_deleted_by_those_who_may() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let mut bob = rig.session_of("bob").await;
        alice.ok("CREATE Plans").await;
        alice.ok("SETACL Plans bob@example.org lrkx").await;
        let base = "Other Users/alice@example.org";
        bob.ok(&format!("CREATE \"{base}/Plans/May/First\"")).await;
        bob.ok(&format!(
            "RENAME \"{base}/Plans/May\" \"{base}/Plans/June\""
        ))
        .await;
        let lines = alice.ok("LIST \"\" Plans/*").await;
        let expected = [
            "* LIST (\\HasChildren) \"/\" \"Plans/June\"",
            "* LIST (\\HasNoChildren) \"/\" \"Plans/June/First\"",
        ];
        assert_eq!(lines, expected, "the new folders are the owner's");
        for (command, answer) in [
            (format!("CREATE \"{base}/New\""), "NO [NOPERM] "),
            (
                format!("RENAME \"{base}/Plans/June\" \"{base}/New\""),
                "NO [NOPERM] ",
            ),
            (format!("RENAME \"{base}/Plans/June\" Mine"), "NO [CANNOT] "),
            (
                format!("RENAME Archive \"{base}/Plans/Archive\""),
                "NO [CANNOT] ",
            ),
            (
                format!("CREATE \"{base}/Plans/S\" (USE (\\Sent))"),
                "NO [USEATTR] ",
            ),
            (
                format!("RENAME \"{base}/INBOX\" \"{base}/Plans/x\""),
                "NO [NONEXISTENT] ",
            ),
        ] {
            let refused = bob.refused(&command).await;
            assert!(refused.starts_with(answer), "{command}: {refused}");
        }
        bob.ok(&format!("DELETE \"{base}/Plans/June/First\"")).await;
    });
}

#[test]
fn messages_go_from_one_account_to_another() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let (mut alice, mut bob) = both(&rig, "lrite").await;
        bob.ok(&format!("SELECT {INBOX}")).await;
        bob.ok("COPY 1 Archive").await;
        let lines = bob.ok("MOVE 2 Archive").await;
        assert!(lines[0].starts_with("* OK [COPYUID "), "{lines:?}");
        let lines = bob.ok("STATUS Archive (MESSAGES)").await;
        assert_eq!(lines, ["* STATUS \"Archive\" (MESSAGES 2)"]);
        let lines = alice.ok("STATUS INBOX (MESSAGES)").await;
        assert_eq!(lines, ["* STATUS \"INBOX\" (MESSAGES 1)"]);
        let missing = bob
            .refused("COPY 1 \"Other Users/alice@example.org/Nope\"")
            .await;
        assert!(missing.starts_with("NO [NONEXISTENT] "), "{missing}");
        let missing = bob.refused("COPY 1 Nope").await;
        assert!(missing.starts_with("NO [TRYCREATE] "), "{missing}");
        // Bob's own limit is reached: what he brings there is charged to Alice.
        let address = Address::from_parts("bob", "example.org").expect("an address");
        let account = rig.mailboxes.account(&address).await;
        let account = account.expect("it is read").expect("he is there").id;
        rig.mailboxes.set_quota(account, 1).await.expect("a quota");
        let refused = bob.refused("COPY 1 Archive").await;
        assert!(refused.starts_with("NO [OVERQUOTA] "), "{refused}");
        bob.ok("SELECT Archive").await;
        bob.ok(&format!("COPY 1 {INBOX}")).await;
    });
}

/// A session in one's own mailboxes asks the owner's thread no more often than before there were rights.
#[test]
fn ones_own_mailboxes_cost_no_look_at_rights() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let (mut alice, mut bob) = both(&rig, "lrswite").await;
        alice.ok("SELECT INBOX").await;
        bob.ok(&format!("SELECT {INBOX}")).await;
        let cost = async |session: &mut Session, command: &str| {
            let before = rig.asked.get();
            session.ok(command).await;
            rig.asked.get() - before
        };
        assert_eq!(cost(&mut alice, "NOOP").await, 0);
        assert_eq!(
            cost(&mut bob, "NOOP").await,
            2,
            "before the command, and before changes"
        );
        assert_eq!(
            cost(&mut alice, "STORE 1 +FLAGS.SILENT (\\Flagged)").await,
            2,
            "the change, and what the bell was rung for"
        );
        alice.ok("NOOP").await;
        assert_eq!(cost(&mut alice, "STATUS Archive (MESSAGES)").await, 1);
        assert_eq!(cost(&mut alice, "LIST \"\" *").await, 1);
    });
}

/// RFC 4315 §3: they say how much mail there is, and whether it is the mailbox of yesterday.
#[test]
fn who_may_only_file_mail_is_not_told_its_numbers() {
    run(|rig| async move {
        let (mut alice, mut bob) = both(&rig, "li").await;
        let raw = "Subject: a\r\n\r\nb\r\n";
        let one = format!("{{17+}}\r\n{raw}");
        for _ in 0..3 {
            bob.ok(&format!("APPEND INBOX {one}")).await;
        }
        bob.ok("SELECT INBOX").await;
        for (command, answer) in [
            (format!("APPEND {INBOX} {one}"), "OK Append completed"),
            (format!("APPEND {INBOX} {one} {one}"), "OK Append completed"),
            (format!("COPY 1 {INBOX}"), "OK Copy completed"),
            (format!("MOVE 1 {INBOX}"), "OK Move completed"),
            (format!("REPLACE 1 {INBOX} {one}"), "OK Replace completed"),
        ] {
            let lines = bob.ask(&command).await;
            assert_eq!(lines.last().map(String::as_str), Some(answer), "{command}");
            let told = lines.iter().any(|line| line.contains("UID "));
            assert!(!told, "{command}: {lines:?}");
        }
        let lines = alice.ok("STATUS INBOX (MESSAGES)").await;
        assert_eq!(lines, ["* STATUS \"INBOX\" (MESSAGES 6)"]);
        alice.ok("SETACL INBOX bob@example.org +r").await;
        let lines = bob.ask(&format!("COPY 1 {INBOX}")).await;
        let last = lines.last().expect("an answer");
        assert!(last.starts_with("OK [COPYUID "), "{last}");
    });
}

/// A client that reads slowly does not read on when its right is gone.
#[test]
fn rights_that_are_taken_back_end_a_fetch_under_way() {
    const COUNT: usize = 200;
    run(|rig| async move {
        let text = format!("{}\r\n", "x".repeat(70)).repeat(600);
        for number in 0..COUNT {
            rig.deliver(&format!("Subject: {number}\r\n\r\n{text}"))
                .await;
        }
        let (mut alice, mut bob) = both(&rig, "lr").await;
        bob.ok(&format!("SELECT {INBOX}")).await;
        bob.send("t FETCH 1:* (UID BODY.PEEK[])\r\n").await;
        assert!(bob.line().await.starts_with("* 1 FETCH "));
        alice.ok("DELETEACL INBOX bob@example.org").await;
        let mut fetched_count = 1;
        let last = loop {
            let line = bob.line().await;
            fetched_count += usize::from(line.contains(" FETCH ("));
            if line.starts_with("* BYE ") || line.starts_with("t ") {
                break line;
            }
        };
        let bye = "* BYE the mailbox is no longer shared with this account";
        assert!(last.starts_with("t NO [NOPERM] ") || last == bye, "{last}");
        assert!(fetched_count < COUNT, "all of it was sent");
    });
}
