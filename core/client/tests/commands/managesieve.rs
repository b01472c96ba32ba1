//! ManageSieve (RFC 5804): what is answered OK is stored, and what does not compile is not.

use std::time::Duration;

use client::managesieve::limits::{
    LOGIN_FAILURE_DELAY, SILENCE_BEFORE_LOGIN_MAX, SILENCE_IN_SCRIPT_MAX, SILENCE_MAX,
};
use scripts::{Owner, Version};

use crate::rig::{Rig, Session, run};

/// alice and her password.
const LOGIN: &str = "AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHNlY3JldA==\"";

async fn logged_in(rig: &Rig) -> Session {
    let mut session = rig.managesieve().await;
    assert_eq!(session.sieve(LOGIN).await, ["OK \"Logged in\""]);
    session
}

fn put(name: &str, text: &str) -> String {
    format!("PUTSCRIPT \"{name}\" {{{}+}}\r\n{text}", text.len())
}

async fn last(session: &mut Session, command: &str) -> String {
    let mut lines = session.sieve(command).await;
    lines.pop().expect("an answer")
}

fn owner(rig: &Rig) -> Owner {
    Owner::Account(rig.alice().0)
}

#[test]
fn a_script_that_is_answered_ok_is_stored_and_one_that_does_not_compile_is_not() {
    run(|rig| async move {
        let mut session = logged_in(&rig).await;
        let text = "require \"fileinto\";\r\nfileinto \"x\";\r\n";
        assert_eq!(
            last(&mut session, &put("main", text)).await,
            "OK \"Script stored\""
        );
        let wrong = last(&mut session, &put("main", "keep;\r\nkeeep;\r\n")).await;
        assert!(wrong.starts_with("NO \"line 2, column 1: "), "{wrong}");
        let checked = last(&mut session, "CHECKSCRIPT \"fileinto\"").await;
        assert!(checked.starts_with("NO \"line 1"), "{checked}");
        assert_eq!(
            last(&mut session, "CHECKSCRIPT \"keep;\"").await,
            "OK \"Script is valid\""
        );
        let listed = session.sieve("LISTSCRIPTS").await;
        assert_eq!(listed, ["\"main\"", "OK \"List completed\""]);
        let scripts = rig.outgoing.scripts().expect("the rig has some");
        assert_eq!(scripts.active_version(&owner(&rig)), None);
        session.sieve("SETACTIVE \"main\"").await;
        let active = scripts.active(&owner(&rig)).await.expect("it is read");
        assert_eq!(
            active,
            Some((Version::of(text.as_bytes()), text.as_bytes().into()))
        );
        let got = session.sieve("GETSCRIPT \"main\"").await;
        assert_eq!(
            got,
            [
                &format!("{{{}}}", text.len())[..],
                "require \"fileinto\";",
                "fileinto \"x\";",
                "",
                "OK \"Script sent\""
            ]
        );
        // Another session sees it, and changes it.
        let mut other = logged_in(&rig).await;
        assert_eq!(other.sieve("LISTSCRIPTS").await[0], "\"main\" ACTIVE");
        assert_eq!(
            last(&mut other, "DELETESCRIPT \"main\"").await,
            "NO (ACTIVE) \"The active script cannot be deleted\""
        );
        other.sieve("RENAMESCRIPT \"main\" \"rules\"").await;
        assert_eq!(session.sieve("LISTSCRIPTS").await[0], "\"rules\" ACTIVE");
        session.sieve("SETACTIVE \"\"").await;
        assert_eq!(
            last(&mut other, "DELETESCRIPT \"rules\"").await,
            "OK \"Script deleted\""
        );
        assert_eq!(
            session.sieve("LISTSCRIPTS").await,
            ["OK \"List completed\""]
        );
    });
}

#[test]
fn a_large_script_comes_whole_and_takes_its_share_of_memory_only_meanwhile() {
    run(|rig| async move {
        let mut session = logged_in(&rig).await;
        let large = format!("#{}\r\nkeep;\r\n", "x".repeat(200_000));
        // The share of one account has room for ten of them: each gives its memory back.
        for count in 0..30 {
            let name = format!("large{}", count % 4);
            assert_eq!(
                last(&mut session, &put(&name, &large)).await,
                "OK \"Script stored\""
            );
        }
        let got = session.sieve("GETSCRIPT \"large1\"").await;
        assert_eq!(got[1..3].join("\r\n") + "\r\n", large);
        let fifth = put("large5", &large);
        assert_eq!(last(&mut session, &fifth).await, "OK \"Script stored\"");
        let sixth = put("large6", &large);
        assert_eq!(
            last(&mut session, &sixth).await,
            "NO (QUOTA) \"All scripts together have at most 1 MiB\""
        );
        let space = last(&mut session, "HAVESPACE \"more\" 262144").await;
        assert!(space.starts_with("NO (QUOTA)"), "{space}");
        let most = put("most", &"#".repeat(262_145));
        assert_eq!(
            last(&mut session, &most).await,
            "NO (QUOTA/MAXSIZE) \"A script has at most 256 KiB\""
        );
        assert_eq!(last(&mut session, "NOOP").await, "OK \"NOOP completed\"");
    });
}

#[test]
fn more_scripts_than_there_may_be_are_refused() {
    run(|rig| async move {
        let mut session = logged_in(&rig).await;
        for count in 0..64 {
            let stored = last(&mut session, &put(&count.to_string(), "keep;")).await;
            assert_eq!(stored, "OK \"Script stored\"");
        }
        let refused = "NO (QUOTA/MAXSCRIPTS) \"There are at most 64 scripts\"";
        assert_eq!(last(&mut session, &put("more", "keep;")).await, refused);
        assert_eq!(last(&mut session, "HAVESPACE \"more\" 5").await, refused);
        let replaced = last(&mut session, "HAVESPACE \"63\" 5").await;
        assert_eq!(replaced, "OK \"There is room for the script\"");
    });
}

/// A script with many expressions is compiled beside the core, and comes to the same.
#[test]
fn expressions_compile_and_are_refused_by_what_they_cost() {
    run(|rig| async move {
        let mut session = logged_in(&rig).await;
        let of = |pattern: &str| {
            put(
                "main",
                &format!(
                    "require \"regex\"; if header :regex \"subject\" \"{pattern}\" {{ discard; }}"
                ),
            )
        };
        assert_eq!(
            last(&mut session, &of("^a+b")).await,
            "OK \"Script stored\""
        );
        let large = last(&mut session, &of("((a{100}){100}){100}")).await;
        assert!(large.starts_with("NO \"line 1"), "{large}");
    });
}

#[test]
fn wrong_passwords_are_slow_counted_and_reported() {
    run(|rig| async move {
        let mut session = rig.managesieve().await;
        let wrong = "AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHdyb25n\"";
        let before = rig.host.now();
        assert_eq!(session.sieve(wrong).await, ["NO \"Authentication failed\""]);
        assert!(rig.host.now().since_us(before) >= LOGIN_FAILURE_DELAY.as_micros() as u64);
        session.sieve(wrong).await;
        let third = session.sieve(wrong).await;
        assert_eq!(third, ["BYE \"Too many failed logins\""]);
        assert_eq!(rig.failed.lock().expect("no holder panics").len(), 3);
    });
}

/// RFC 5804 §1.2: the client gets BYE. Half a script is not waited for as long as its next command is.
#[test]
fn a_silent_client_gets_a_word_and_is_left() {
    run(|rig| async move {
        let waited = async |session: &mut Session| {
            let began = rig.host.now();
            let bye = session.sieve_lines().await;
            assert_eq!(bye, ["BYE \"Closing an idle connection\""]);
            Duration::from_micros(rig.host.now().since_us(began))
        };
        let mut session = rig.managesieve().await;
        let before_login = waited(&mut session).await;
        assert!(before_login >= SILENCE_BEFORE_LOGIN_MAX && before_login < SILENCE_MAX);
        let mut session = logged_in(&rig).await;
        assert!(waited(&mut session).await >= SILENCE_MAX);
        let mut session = logged_in(&rig).await;
        session.send("PUTSCRIPT \"a\" {20000+}\r\nkeep;").await;
        let in_script = waited(&mut session).await;
        assert!(in_script >= SILENCE_IN_SCRIPT_MAX && in_script < SILENCE_MAX);
    });
}

#[test]
fn busy_storage_and_a_removed_account_are_refused_for_now() {
    run(|rig| async move {
        let mut session = rig.managesieve().await;
        rig.busy.set(true);
        let busy = "NO (TRYLATER) \"Storage is busy, try again later\"";
        assert_eq!(session.sieve(LOGIN).await, [busy]);
        rig.busy.set(false);
        assert_eq!(session.sieve(LOGIN).await, ["OK \"Logged in\""]);
        rig.mailboxes
            .remove_account(rig.alice())
            .await
            .expect("it goes");
        let later = "NO (TRYLATER) \"Storage is unavailable, try again later\"";
        assert_eq!(last(&mut session, &put("a", "keep;")).await, later);
        let scripts = rig.outgoing.scripts().expect("the rig has some");
        assert!(scripts.owners().is_empty());
    });
}
