//! LOGIN and AUTHENTICATE PLAIN (RFC 9051 §6.2.2, §6.2.3).

use client::imap::limits::LOGIN_FAILURE_DELAY;

use crate::rig::run;

#[test]
fn the_local_part_will_do_where_there_is_one_domain() {
    run(|rig| async move {
        for user in ["alice", "alice@example.org"] {
            let mut session = rig.connect().await;
            assert!(session.refused("SELECT INBOX").await.starts_with("BAD "));
            session.ok(&format!("LOGIN {user} secret")).await;
            session.ok("SELECT INBOX").await;
        }
    });
}

#[test]
fn a_wrong_password_is_answered_late_and_as_an_unknown_user_is() {
    run(|rig| async move {
        let mut session = rig.connect().await;
        let mut answers = Vec::new();
        for user in ["alice", "nobody"] {
            let began = rig.host.now();
            answers.push(session.refused(&format!("LOGIN {user} wrong")).await);
            let waited = rig.host.now().since_us(began);
            assert!(u128::from(waited) >= LOGIN_FAILURE_DELAY.as_micros());
        }
        assert_eq!(answers[0], answers[1]);
        assert!(
            answers[0].starts_with("NO [AUTHENTICATIONFAILED] "),
            "{answers:?}"
        );
        session.ok("LOGIN alice secret").await;
    });
}

#[test]
fn plain_is_taken_with_and_without_an_initial_response() {
    run(|rig| async move {
        // NUL alice NUL secret
        let response = "AGFsaWNlAHNlY3JldA==";
        let mut session = rig.connect().await;
        session.ok(&format!("AUTHENTICATE PLAIN {response}")).await;
        let mut session = rig.connect().await;
        session.send("t AUTHENTICATE PLAIN\r\n").await;
        assert!(session.line().await.starts_with('+'));
        session.send(&format!("{response}\r\n")).await;
        let last = session.answer().await.pop().expect("an answer");
        assert!(last.starts_with("OK "), "{last}");
    });
}

#[test]
fn each_login_that_fails_is_reported_with_its_address_and_no_other() {
    run(|rig| async move {
        let failed = || rig.failed.lock().expect("no holder panics").len();
        let mut session = rig.connect().await;
        session.refused("LOGIN alice wrong").await;
        assert_eq!(failed(), 1);
        session.ok("LOGIN alice secret").await;
        let mut session = rig.submission().await;
        // NUL alice NUL wrong, then NUL alice NUL secret
        let lines =
            "EHLO c.example\r\nAUTH PLAIN AGFsaWNlAHdyb25n\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";
        let answers = session.smtp(lines, 3).await;
        assert!(answers[1].starts_with("535 ") && answers[2].starts_with("235 "));
        assert_eq!(failed(), 2);
        let addresses = rig.failed.lock().expect("no holder panics").clone();
        assert!(addresses.iter().all(|address| address.is_loopback()));
    });
}
