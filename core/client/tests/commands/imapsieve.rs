//! Scripts that run because of what a client does (RFC 6785).

use base::host::sleep_us;
use bytes::Bytes;
use scripts::Owner;

use crate::rig::{Rig, Session, run};

const NAME: &str = "/shared/imapsieve/script";

/// A script of the owner, not the active one: it does not run for mail that arrives.
async fn put(rig: &Rig, owner: &Owner, name: &str, text: &str) {
    let scripts = rig.outgoing.scripts().expect("the rig has some");
    let text = Bytes::copy_from_slice(text.as_bytes());
    let put = scripts.put(owner, name, text, false).await;
    put.expect("there is room");
}

/// Alice's script, named for one of her mailboxes.
async fn scripted(rig: &Rig, session: &mut Session, mailbox: &str, text: &str) {
    put(rig, &Owner::Account(rig.alice().0), "moves", text).await;
    let set = format!("SETMETADATA {mailbox} ({NAME} \"moves\")");
    session.ok(&set).await;
}

/// Scripts run beside the session, so they are waited for on virtual time.
async fn settle(rig: &Rig) {
    sleep_us(&*rig.host, 1_000_000).await;
}

async fn flags_in(session: &mut Session, mailbox: &str) -> Vec<String> {
    session.ok(&format!("EXAMINE {mailbox}")).await;
    let lines = session.ok("UID FETCH 1:* (FLAGS)").await;
    let flags = lines.iter().filter_map(|line| {
        let (_, rest) = line.split_once("FLAGS (")?;
        let (flags, _) = rest.split_once(')')?;
        let words = flags.split(' ').filter(|word| *word != "\\Recent");
        Some(words.collect::<Vec<_>>().join(" "))
    });
    flags.collect()
}

const ALL: &str = r#"require ["imapsieve", "environment", "imap4flags", "variables"];
if environment :matches "imap.cause" "*" { addflag "cause-${1}"; }
if environment :matches "imap.mailbox" "*" { addflag "in-${1}"; }
if environment :matches "imap.user" "*@*" { addflag "by-${1}"; }
if environment :matches "imap.changedflags" "?*" { addflag "changed"; }"#;

#[test]
fn the_capability_says_where_scripts_are_stored() {
    run(|rig| async move {
        let mut session = rig.session().await;
        let line = session.ok("CAPABILITY").await.remove(0);
        let word = "IMAPSIEVE=sieve://mx.example.org";
        assert!(line.split(' ').any(|one| one == word), "{line}");
    });
}

#[test]
fn append_copy_and_move_run_the_script_of_the_mailbox_that_they_put_into() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut session = rig.selected().await;
        session.ok("CREATE kept").await;
        scripted(&rig, &mut session, "kept", ALL).await;
        session.ok("COPY 1 kept").await;
        session.ok("MOVE 2 kept").await;
        session.ok("APPEND kept (\\Seen) {3+}\r\na\r\n").await;
        session
            .ok("APPEND kept (\\Draft) {3+}\r\nb\r\n (\\Draft) {3+}\r\nc\r\n")
            .await;
        session.ok("REPLACE 2 kept {3+}\r\nd\r\n").await;
        // In a mailbox without the annotation nothing runs.
        session.ok("APPEND INBOX {3+}\r\ne\r\n").await;
        settle(&rig).await;
        let flags = flags_in(&mut session, "kept").await;
        assert_eq!(
            flags,
            [
                "cause-COPY in-kept by-alice",
                "cause-COPY in-kept by-alice",
                "\\Seen cause-APPEND in-kept by-alice",
                "\\Draft cause-APPEND in-kept by-alice",
                "\\Draft cause-APPEND in-kept by-alice",
                "cause-APPEND in-kept by-alice",
            ]
        );
        assert_eq!(flags_in(&mut session, "INBOX").await, ["", ""]);
        assert_eq!(rig.events(), (6, 0));
    });
}

#[test]
fn store_runs_it_for_messages_whose_flags_it_changes() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.selected().await;
        session.ok("STORE 2 +FLAGS (\\Flagged)").await;
        let text = r#"require ["imapsieve", "environment", "imap4flags"];
if anyof (not environment :is "imap.cause" "FLAG", not environment :contains "imap.changedflags" "\\Flagged") { stop; }
if hasflag "\\Flagged" { addflag "set"; } else { addflag "cleared"; }"#;
        scripted(&rig, &mut session, "INBOX", text).await;
        // It changes the first message only.
        session.ok("STORE 1:2 +FLAGS (\\Flagged)").await;
        settle(&rig).await;
        assert_eq!(
            flags_in(&mut session, "INBOX").await,
            ["\\Flagged set", "\\Flagged"]
        );
        session.ok("SELECT INBOX").await;
        session.ok("STORE 2 FLAGS (\\Seen)").await;
        session.ok("STORE 1 +FLAGS (\\Answered)").await;
        settle(&rig).await;
        assert_eq!(
            flags_in(&mut session, "INBOX").await,
            ["\\Answered \\Flagged set", "\\Seen cleared"]
        );
    });
}

/// RFC 6785: what is filed elsewhere or discarded is marked, and stays until it is expunged.
#[test]
fn fileinto_files_a_copy_and_marks_the_message_and_begins_no_other_script() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.selected().await;
        session.ok("CREATE one").await;
        session.ok("CREATE two").await;
        let text = r#"require ["imapsieve", "environment", "fileinto", "imap4flags"];
if environment :is "imap.mailbox" "one" { fileinto :flags "filed" "two"; } else { fileinto "one"; }"#;
        scripted(&rig, &mut session, "one", text).await;
        scripted(&rig, &mut session, "two", text).await;
        session.ok("COPY 1 one").await;
        settle(&rig).await;
        assert_eq!(flags_in(&mut session, "one").await, ["\\Deleted"]);
        assert_eq!(flags_in(&mut session, "two").await, ["filed"], "no circle");
        scripted(&rig, &mut session, "two", "discard;").await;
        session.ok("SELECT INBOX").await;
        session.ok("MOVE 2 two").await;
        settle(&rig).await;
        assert_eq!(flags_in(&mut session, "two").await, ["filed", "\\Deleted"]);
        // The copy has the same bytes.
        let lines = session.ok("FETCH 1 BODY.PEEK[TEXT]").await;
        assert_eq!(lines[1], "body 1");
    });
}

#[test]
fn a_redirect_goes_out_once_and_a_header_is_edited_in_a_new_message() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.selected().await;
        session.ok("CREATE out").await;
        let text = r#"require ["imapsieve", "copy", "editheader"];
redirect :copy "carol@example.net";
addheader "X-Moved" "yes";"#;
        scripted(&rig, &mut session, "out", text).await;
        session.ok("COPY 1 out").await;
        settle(&rig).await;
        let queued = rig.outgoing.list(None, 9);
        assert_eq!(queued.len(), 1);
        assert_eq!(queued[0].recipients[0].to.path, "carol@example.net");
        assert_eq!(flags_in(&mut session, "out").await, ["\\Deleted", ""]);
        let lines = session
            .ok("FETCH 2 BODY.PEEK[HEADER.FIELDS (X-Moved)]")
            .await;
        assert_eq!(lines[1], "X-Moved: yes");
    });
}

/// A refusal makes no sense any more: the run fails, the message stays as it is, and its owner is notified of it once.
#[test]
fn a_script_that_fails_leaves_the_message_as_it_is() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.selected().await;
        session.ok("STORE 1 +FLAGS (\\Seen)").await;
        session.ok("CREATE kept").await;
        let text = r#"require ["imapsieve", "reject"]; reject "no";"#;
        scripted(&rig, &mut session, "kept", text).await;
        session.ok("COPY 1:2 kept").await;
        settle(&rig).await;
        assert_eq!(flags_in(&mut session, "kept").await, ["\\Seen", ""]);
        session.ok("SELECT INBOX").await;
        let lines = session.ok("FETCH 1:* BODY.PEEK[TEXT]").await;
        let text = lines.join("\n");
        assert!(text.contains("Your mail filter \"moves\" failed"), "{text}");
        assert!(text.contains("was kept in kept."), "{text}");
        assert_eq!(
            session.ok("STATUS INBOX (MESSAGES)").await,
            ["* STATUS \"INBOX\" (MESSAGES 3)"]
        );
    });
}

#[test]
fn the_script_of_the_server_runs_where_a_mailbox_names_none() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.selected().await;
        session.ok("CREATE own").await;
        session.ok("CREATE none").await;
        session.ok("CREATE common").await;
        let shown = format!("GETMETADATA \"\" {NAME}");
        let lines = session.ok(&shown).await;
        assert_eq!(lines, [format!("* METADATA \"\" (\"{NAME}\" NIL)")]);
        let mark = |word: &str| format!("require \"imap4flags\"; addflag \"{word}\";");
        put(&rig, &Owner::Box, "imapsieve", &mark("box")).await;
        scripted(&rig, &mut session, "own", &mark("own")).await;
        session.ok(&format!("SETMETADATA none ({NAME} \"\")")).await;
        let lines = session.ok(&shown).await;
        assert_eq!(
            lines,
            [format!("* METADATA \"\" (\"{NAME}\" \"imapsieve\")")]
        );
        for mailbox in ["own", "none", "common"] {
            session.ok(&format!("COPY 1 {mailbox}")).await;
        }
        settle(&rig).await;
        for (mailbox, flags) in [("own", "own"), ("none", ""), ("common", "box")] {
            assert_eq!(flags_in(&mut session, mailbox).await, [flags], "{mailbox}");
        }
        let domain = Owner::Domain("example.org".to_owned());
        put(&rig, &domain, "imapsieve", &mark("domain")).await;
        session.ok("SELECT INBOX").await;
        session.ok("COPY 1 common").await;
        settle(&rig).await;
        assert_eq!(flags_in(&mut session, "common").await, ["box", "domain"]);
    });
}

/// It acts in the owner's name, also for messages that others put there.
#[test]
fn in_a_shared_mailbox_the_owners_script_runs_and_only_its_administrators_name_one() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let mut bob = rig.session_of("bob").await;
        alice.ok("CREATE team").await;
        scripted(&rig, &mut alice, "team", ALL).await;
        alice.ok("SETACL team bob@example.org lrswite").await;
        let team = "\"Other Users/alice@example.org/team\"";
        bob.ok(&format!("APPEND {team} {{3+}}\r\na\r\n")).await;
        settle(&rig).await;
        assert_eq!(
            flags_in(&mut alice, "team").await,
            ["cause-APPEND in-team by-bob"]
        );
        let set = format!("SETMETADATA {team} ({NAME} \"other\")");
        let refused = bob.refused(&set).await;
        assert!(refused.starts_with("NO [NOPERM] "), "{refused}");
        alice.ok("SETACL team bob@example.org lrswitea").await;
        bob.ok(&set).await;
    });
}

/// A command on many messages is answered as ever, and what is too much for scripts is counted.
#[test]
fn of_many_messages_the_newest_run_and_the_rest_is_counted() {
    run(|rig| async move {
        rig.deliver_some(300).await;
        let mut session = rig.selected().await;
        let mark = "require \"imap4flags\"; addflag \"ran\";";
        scripted(&rig, &mut session, "INBOX", mark).await;
        session.ok("STORE 1:* +FLAGS.SILENT (\\Seen)").await;
        for _ in 0..60 {
            settle(&rig).await;
        }
        let flags = flags_in(&mut session, "INBOX").await;
        let ran = |flags: &String| flags.ends_with("ran");
        assert_eq!(flags.iter().filter(|flags| ran(flags)).count(), 256);
        assert!(!ran(&flags[43]) && ran(&flags[44]));
        assert_eq!(rig.events(), (256, 44));
    });
}

/// Of a STORE that changes older messages alone, too.
#[test]
fn what_was_left_out_is_counted_where_nothing_else_runs() {
    run(|rig| async move {
        rig.deliver_some(300).await;
        let mut session = rig.selected().await;
        session.ok("STORE 45:* +FLAGS.SILENT (\\Seen)").await;
        let mark = "require \"imap4flags\"; addflag \"ran\";";
        scripted(&rig, &mut session, "INBOX", mark).await;
        session.ok("STORE 1:* +FLAGS.SILENT (\\Seen)").await;
        settle(&rig).await;
        assert_eq!(rig.events(), (0, 44));
    });
}

/// The owner's thread is busy when the script is to run: the command was answered, and nothing waits for ever.
#[test]
fn what_cannot_run_is_skipped_and_the_command_stands() {
    run(|rig| async move {
        rig.deliver_some(100).await;
        let mut session = rig.selected().await;
        session.ok("CREATE kept").await;
        scripted(&rig, &mut session, "kept", ALL).await;
        session.ok("COPY 1:* kept").await;
        rig.busy.set(true);
        for _ in 0..9 {
            settle(&rig).await;
        }
        rig.busy.set(false);
        let (ran, skipped) = rig.events();
        assert!(skipped > 0, "the answer came before the scripts ended");
        assert_eq!(ran + skipped, 100);
        assert_eq!(flags_in(&mut session, "kept").await.len(), 100);
    });
}
