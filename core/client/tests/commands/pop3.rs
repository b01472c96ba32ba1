//! POP3 over INBOX (RFC 1939 §5, §6): what is listed is what is sent, and what is deleted goes at QUIT.

use std::time::Duration;

use client::pop3::limits::{
    LISTED_FREE_MAX, LOGIN_FAILURE_DELAY, SILENCE_BEFORE_LOGIN_MAX, SILENCE_MAX,
};

use crate::rig::{Session, run};

/// Octets of lines as a client counts them, without doubled dots.
fn octets(lines: &[String]) -> usize {
    let bare = |line: &String| line.strip_prefix('.').unwrap_or(line).len() + 2;
    lines.iter().map(bare).sum()
}

/// What LIST says of message `number`.
async fn listed(session: &mut Session, number: usize) -> usize {
    let answer = session.pop(&format!("LIST {number}")).await;
    let size = answer.rsplit(' ').next().expect("a number");
    size.parse().expect("a number")
}

#[test]
fn sizes_are_the_octets_that_are_sent() {
    run(|rig| async move {
        rig.deliver("Subject: plain\r\n\r\nbody\r\n").await;
        rig.deliver("Subject: dots\r\n\r\n.\r\n..two\r\n").await;
        // As APPEND takes them in.
        rig.deliver("Subject: no end\r\n\r\nbody").await;
        rig.deliver("Subject: lone\n\nfeeds\n.\nhere\n").await;
        rig.deliver("").await;
        for _again in 0..2 {
            let mut session = rig.maildrop().await;
            let mut sum = 0;
            for number in 1..=5 {
                let size = listed(&mut session, number).await;
                let lines = session.pop_lines(&format!("RETR {number}")).await;
                assert_eq!(octets(&lines), size, "{lines:?}");
                sum += size;
            }
            assert_eq!(session.pop("STAT").await, format!("+OK 5 {sum}"));
            let dots = session.pop_lines("RETR 2").await;
            assert_eq!(dots, ["Subject: dots", "", "..", "...two"]);
            assert_eq!(
                session.pop_lines("TOP 4 1").await,
                ["Subject: lone", "", "feeds"]
            );
        }
    });
}

#[test]
fn a_large_message_is_sent_in_pieces_and_comes_whole() {
    run(|rig| async move {
        let lines: Vec<String> = (0..60_000).map(|line| format!(".{line:020}")).collect();
        let raw = format!("Subject: large\r\n\r\n{}\r\n", lines.join("\r\n"));
        rig.deliver(&raw).await;
        let mut session = rig.maildrop().await;
        assert_eq!(listed(&mut session, 1).await, raw.len());
        let sent = session.pop_lines("RETR 1").await;
        let bare = sent
            .iter()
            .map(|line| line.strip_prefix('.').unwrap_or(line));
        assert_eq!(bare.collect::<Vec<_>>().join("\r\n") + "\r\n", raw);
        assert_eq!(session.pop_lines("TOP 1 3").await, sent[..5]);
        assert_eq!(session.pop("NOOP").await, "+OK NOOP completed");
    });
}

#[test]
fn what_was_deleted_goes_at_quit_and_other_sessions_of_imap_are_told() {
    run(|rig| async move {
        rig.deliver_some(4).await;
        let mut imap = rig.selected().await;
        let mut session = rig.maildrop().await;
        for number in [2, 4] {
            session.pop(&format!("DELE {number}")).await;
        }
        assert!(
            !imap
                .ok("NOOP")
                .await
                .iter()
                .any(|line| line.ends_with("EXPUNGE"))
        );
        assert_eq!(session.pop("QUIT").await, "+OK Logging out");
        assert!(session.is_over().await);
        let told = imap.ok("NOOP").await;
        let expunged = told.iter().filter(|line| line.ends_with(" EXPUNGE"));
        assert_eq!(expunged.count(), 2, "{told:?}");
        assert_eq!(imap.ok("UID SEARCH ALL").await, ["* SEARCH 1 3"]);
        let mut session = rig.maildrop().await;
        assert!(session.pop("STAT").await.starts_with("+OK 2 "));
    });
}

#[test]
fn a_session_that_ends_without_quit_deletes_nothing() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.maildrop().await;
        session.pop("DELE 1").await;
        drop(session);
        let mut silent = rig.maildrop().await;
        silent.pop("DELE 2").await;
        let began = rig.host.now();
        // RFC 1939 §3: without a word.
        assert!(silent.is_over().await);
        let waited = Duration::from_micros(rig.host.now().since_us(began));
        assert!(waited >= SILENCE_MAX);
        let mut session = rig.maildrop().await;
        assert!(session.pop("STAT").await.starts_with("+OK 2 "));
    });
}

#[test]
fn numbers_and_unique_ids_stay_when_others_come_and_go() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let (mut one, mut other) = (rig.maildrop().await, rig.maildrop().await);
        let before = one.pop_lines("UIDL").await;
        assert_eq!(before.len(), 3);
        other.pop("DELE 1").await;
        assert_eq!(other.pop("QUIT").await, "+OK Logging out");
        rig.deliver_some(1).await;
        assert_eq!(one.pop_lines("UIDL").await, before);
        let gone = one.pop("RETR 1").await;
        assert_eq!(gone, "-ERR Message was deleted by another session");
        assert_eq!(one.pop_lines("RETR 3").await[0], "Subject: 3");
        // What is gone already is no reason to keep the rest.
        one.pop("DELE 1").await;
        one.pop("DELE 2").await;
        assert_eq!(one.pop("QUIT").await, "+OK Logging out");
        let mut session = rig.maildrop().await;
        let after = session.pop_lines("UIDL").await;
        let unique_id = |line: &String| line.split(' ').nth(1).expect("an id").to_owned();
        assert_eq!(after.len(), 2);
        assert_eq!(unique_id(&after[0]), unique_id(&before[2]));
        assert!(
            !before
                .iter()
                .any(|line| unique_id(line) == unique_id(&after[1]))
        );
    });
}

/// RFC 9051 §6.3.6: RENAME of INBOX takes its messages to the new name; they are not the session's any more.
#[test]
fn what_was_renamed_away_is_not_deleted() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.maildrop().await;
        session.pop("DELE 1").await;
        let mut imap = rig.session().await;
        imap.ok("RENAME INBOX Old").await;
        let answer = session.pop("QUIT").await;
        assert_eq!(answer, "-ERR [SYS/TEMP] Some deleted messages not removed");
        let lines = imap.ok("STATUS Old (MESSAGES)").await;
        assert_eq!(lines, ["* STATUS \"Old\" (MESSAGES 2)"]);
    });
}

#[test]
fn a_busy_storage_is_not_a_wrong_password_and_keeps_what_was_marked() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.maildrop().await;
        session.pop("DELE 1").await;
        rig.busy.set(true);
        let mut late = rig.pop3().await;
        late.pop("USER alice").await;
        let answer = late.pop("PASS secret").await;
        assert_eq!(answer, "-ERR [SYS/TEMP] Storage is busy, try again later");
        let answer = session.pop("QUIT").await;
        assert_eq!(answer, "-ERR [SYS/TEMP] Some deleted messages not removed");
        rig.busy.set(false);
        late.pop("USER alice").await;
        assert_eq!(late.pop("PASS secret").await, "+OK Logged in");
        assert!(late.pop("STAT").await.starts_with("+OK 1 "));
    });
}

#[test]
fn a_wrong_password_is_answered_late_and_reported() {
    run(|rig| async move {
        let mut session = rig.pop3().await;
        for user in ["alice", "nobody"] {
            let began = rig.host.now();
            session.pop(&format!("USER {user}")).await;
            let answer = session.pop("PASS wrong").await;
            assert_eq!(answer, "-ERR [AUTH] Authentication failed");
            let waited = rig.host.now().since_us(began);
            assert!(u128::from(waited) >= LOGIN_FAILURE_DELAY.as_micros());
        }
        assert_eq!(rig.failed.lock().expect("no holder panics").len(), 2);
        session.pop("USER alice").await;
        assert_eq!(session.pop("PASS secret").await, "+OK Logged in");
    });
}

#[test]
fn a_stranger_who_says_nothing_is_left() {
    run(|rig| async move {
        let mut session = rig.pop3().await;
        let began = rig.host.now();
        assert!(session.is_over().await);
        let waited = Duration::from_micros(rig.host.now().since_us(began));
        assert!(waited >= SILENCE_BEFORE_LOGIN_MAX && waited < SILENCE_MAX);
    });
}

/// No command waits for the answer to the one before.
#[test]
fn a_whole_session_may_be_sent_at_once() {
    run(|rig| async move {
        rig.deliver_some(50).await;
        let mut session = rig.pop3().await;
        let mut lines = String::from("USER alice\r\nPASS secret\r\n");
        for number in 1..=50 {
            lines += &format!("RETR {number}\r\nDELE {number}\r\n");
        }
        session.send(&(lines + "QUIT\r\n")).await;
        for answer in ["+OK Send the password", "+OK Logged in"] {
            assert_eq!(session.line().await, answer);
        }
        for number in 1..=50 {
            assert!(session.line().await.ends_with(" octets"));
            assert_eq!(session.line().await, format!("Subject: {number}"));
            while session.line().await != "." {}
            assert_eq!(session.line().await, "+OK Message marked for deletion");
        }
        assert_eq!(session.line().await, "+OK Logging out");
        let mut session = rig.maildrop().await;
        assert_eq!(session.pop("STAT").await, "+OK 0 0");
    });
}

/// Without room in the account's share a message goes in small pieces of the connection's own, and the list of a large maildrop has to wait.
#[test]
fn an_account_without_memory_is_served_slowly_and_its_large_maildrop_is_refused_for_now() {
    run(|rig| async move {
        let raw = format!("Subject: large\r\n\r\n{}", ".0123456789\r\n".repeat(30_000));
        rig.deliver(&raw).await;
        let mut session = rig.scarce_pop3().await;
        session.pop("USER alice").await;
        assert_eq!(session.pop("PASS secret").await, "+OK Logged in");
        let sent = session.pop_lines("RETR 1").await;
        assert_eq!((sent.len(), octets(&sent)), (30_002, raw.len()));
        rig.deliver_some(LISTED_FREE_MAX).await;
        let mut late = rig.scarce_pop3().await;
        late.pop("USER alice").await;
        let answer = late.pop("PASS secret").await;
        let refused = "-ERR [SYS/TEMP] Too many large mailboxes are open, close other connections";
        assert_eq!(answer, refused);
        let mut other = rig.maildrop().await;
        let listed = other.pop_lines("UIDL").await;
        assert_eq!(listed.len(), LISTED_FREE_MAX + 1);
    });
}

/// What was announced cannot be taken back: the connection ends. After that the message is refused by itself.
#[test]
fn a_damaged_message_breaks_off_once_and_is_refused_from_then_on() {
    run(|rig| async move {
        let mut random = fastrand::Rng::with_seed(7);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(b' '..))
            .take(1_500_000)
            .collect();
        let raw = [&b"Subject: noise\r\n\r\n"[..], &noise, b"\r\n"].concat();
        rig.deliver_bytes(&raw).await;
        rig.deliver_some(1).await;
        let place = &noise[noise.len() - 1_000..];
        rig.spoil(&place[..64]);
        let mut session = rig.maildrop().await;
        session.send("RETR 1\r\n").await;
        assert_eq!(session.line().await, format!("+OK {} octets", raw.len()));
        assert!(session.end().await > 500_000, "most of it came");
        let mut session = rig.maildrop().await;
        for _again in 0..2 {
            let answer = session.pop("RETR 1").await;
            assert_eq!(
                answer,
                "-ERR [SYS/PERM] Every stored copy of the message is damaged"
            );
        }
        assert_eq!(session.pop_lines("RETR 2").await[0], "Subject: 1");
        // Its beginning is good, and more is not asked for: but nothing of it is announced any more.
        assert!(session.pop("TOP 1 0").await.starts_with("-ERR [SYS/PERM] "));
        session.pop("DELE 1").await;
        assert_eq!(session.pop("QUIT").await, "+OK Logging out");
    });
}

/// The connection is not given up for what TOP does not send.
#[test]
fn top_of_a_message_that_is_damaged_further_on_is_sent() {
    run(|rig| async move {
        let mut random = fastrand::Rng::with_seed(8);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(b' '..))
            .take(1_500_000)
            .collect();
        let raw = [&b"Subject: noise\r\n\r\n"[..], &noise, b"\r\n"].concat();
        rig.deliver_bytes(&raw).await;
        // Of the second piece, which is read ahead.
        rig.spoil(&noise[700_000..700_064]);
        let mut session = rig.maildrop().await;
        for _again in 0..2 {
            assert_eq!(session.pop_lines("TOP 1 0").await, ["Subject: noise", ""]);
        }
        assert_eq!(session.pop("NOOP").await, "+OK NOOP completed");
    });
}

/// A digest of another version, or a damaged one, is not one that says 0.
#[test]
fn a_size_is_exact_where_no_digest_says_it() {
    run(|rig| async move {
        let large = format!("Subject: large\n\n{}", "0123456789\n".repeat(100_000));
        for raw in [
            "Subject: lone\n\nfeeds\n",
            "Subject: plain\r\n\r\nbody\r\n",
            &large,
        ] {
            rig.deliver_with(raw.as_bytes(), b"\xff".to_vec()).await;
        }
        rig.deliver("Subject: no end\r\n\r\nbody").await;
        for _again in 0..2 {
            let mut session = rig.maildrop().await;
            for number in 1..=4 {
                let size = listed(&mut session, number).await;
                let lines = session.pop_lines(&format!("RETR {number}")).await;
                assert_eq!(octets(&lines), size, "{number}");
            }
        }
    });
}
