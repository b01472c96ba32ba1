//! Moving mail into the folder for junk and out of it teaches what junk is.

use base::host::sleep_us;
use lessons::{Model, Whom};

use crate::rig::{Rig, run};

/// Messages of junk and of good mail that the person and the domain were taught, once they are `wanted`; what a move begins goes on
/// beside the session, so it is waited for on virtual time.
async fn taught(rig: &Rig, wanted: (u8, u8)) -> [Option<(u8, u8)>; 2] {
    let lessons = rig.outgoing.lessons().expect("the rig has some");
    let account = lessons
        .owners()
        .into_iter()
        .find(|whom| matches!(whom, Whom::Account(_)));
    let account = account.unwrap_or(Whom::Account(0));
    let domain = Whom::Domain("example.org".to_owned());
    let mut totals = [None, None];
    for _ in 0..100 {
        totals = [&account, &domain].map(|whom| lessons.with(whom, Model::totals));
        if totals == [Some(wanted); 2] {
            break;
        }
        sleep_us(&*rig.host, 10_000).await;
    }
    totals
}

#[test]
fn a_move_to_junk_teaches_and_the_move_back_takes_it_back() {
    run(|rig| async move {
        rig.deliver(
            "From: a@example.net\r\nSubject: prize\r\n\r\nclaim your lottery prize today\r\n",
        )
        .await;
        rig.deliver(
            "From: b@example.net\r\nSubject: lunch\r\n\r\nshall we have lunch on monday\r\n",
        )
        .await;
        let mut session = rig.selected().await;
        session.ok("MOVE 1 Junk").await;
        // The account is known by its model once there is one.
        for _ in 0..100 {
            if rig.outgoing.lessons().expect("some").count().0 == 2 {
                break;
            }
            sleep_us(&*rig.host, 10_000).await;
        }
        assert_eq!(taught(&rig, (1, 0)).await, [Some((1, 0)); 2]);
        // Again, as a copy: it is known. And another one.
        session.ok("COPY 1 Junk").await;
        assert_eq!(taught(&rig, (2, 0)).await, [Some((2, 0)); 2]);
        session.ok("COPY 1 Junk").await;
        session.ok("SELECT Junk").await;
        session.ok("MOVE 1 INBOX").await;
        assert_eq!(taught(&rig, (1, 1)).await, [Some((1, 1)); 2]);
        // What is deleted is not good.
        session.ok("MOVE 1 Trash").await;
        session.ok("SELECT INBOX").await;
        session.ok("COPY 1:* Archive").await;
        sleep_us(&*rig.host, 1_000_000).await;
        assert_eq!(taught(&rig, (1, 1)).await, [Some((1, 1)); 2]);
    });
}

/// A sender of junk cannot train by repetition, and a move of many is one lesson.
#[test]
fn the_same_content_teaches_once_however_often_it_came() {
    run(|rig| async move {
        for _ in 0..40 {
            rig.deliver("Subject: prize\r\n\r\nclaim your lottery prize today\r\n")
                .await;
        }
        let mut session = rig.selected().await;
        session.ok("MOVE 1:* Junk").await;
        // The same content forty times is one message to the lessons.
        let lessons = rig.outgoing.lessons().expect("the rig has some");
        for _ in 0..100 {
            sleep_us(&*rig.host, 10_000).await;
            if lessons.count().0 == 2 {
                break;
            }
        }
        assert_eq!(taught(&rig, (1, 0)).await, [Some((1, 0)); 2]);
    });
}

/// Clients with a button for junk set a keyword, and some move nothing.
#[test]
fn a_keyword_teaches_and_the_other_one_takes_it_back() {
    run(|rig| async move {
        rig.deliver("Subject: prize\r\n\r\nclaim your lottery prize today\r\n")
            .await;
        let mut session = rig.selected().await;
        session.ok("STORE 1 +FLAGS ($Junk)").await;
        for _ in 0..100 {
            if rig.outgoing.lessons().expect("some").count().0 == 2 {
                break;
            }
            sleep_us(&*rig.host, 10_000).await;
        }
        assert_eq!(taught(&rig, (1, 0)).await, [Some((1, 0)); 2]);
        // Both say nothing; the other one alone takes the first one back.
        session.ok("STORE 1 FLAGS ($Junk $NotJunk)").await;
        session.ok("STORE 1 -FLAGS ($Junk)").await;
        sleep_us(&*rig.host, 1_000_000).await;
        assert_eq!(taught(&rig, (1, 0)).await, [Some((1, 0)); 2]);
        session.ok("STORE 1 FLAGS ()").await;
        session.ok("STORE 1 FLAGS ($NotJunk)").await;
        assert_eq!(taught(&rig, (0, 1)).await, [Some((0, 1)); 2]);
    });
}

/// The box marks what it files in Junk by itself. A program that stores all flags of such a message again teaches nothing: the judge would
/// learn from itself.
#[test]
fn a_keyword_that_is_there_teaches_nothing_when_it_is_stored_again() {
    run(|rig| async move {
        rig.deliver("Subject: prize\r\n\r\nclaim your lottery prize today\r\n")
            .await;
        let mut session = rig.selected().await;
        // Marked, without a lesson: both words together say nothing.
        session.ok("STORE 1 FLAGS ($Junk $NotJunk)").await;
        session.ok("STORE 1 -FLAGS ($NotJunk)").await;
        session.ok("STORE 1 FLAGS ($Junk \\Seen)").await;
        session.ok("STORE 1 +FLAGS ($Junk)").await;
        sleep_us(&*rig.host, 1_000_000).await;
        assert_eq!(rig.outgoing.lessons().expect("some").count().0, 0);
        session.ok("STORE 1 FLAGS ($NotJunk \\Seen)").await;
        for _ in 0..100 {
            if rig.outgoing.lessons().expect("some").count().0 == 2 {
                break;
            }
            sleep_us(&*rig.host, 10_000).await;
        }
        assert_eq!(taught(&rig, (0, 1)).await, [Some((0, 1)); 2]);
    });
}
