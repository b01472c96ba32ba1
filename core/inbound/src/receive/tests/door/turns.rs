//! Commands in groups, and commands before their turn.

use super::*;

/// A sender that pipelines (RFC 2920 §3.1) has sent RCPT and DATA before it sees what became of MAIL and of its recipients.
#[test]
fn what_a_sender_pipelined_behind_a_refusal_is_not_held_against_it() {
    let policy = Policy {
        ban_points: 2,
        tarpit_points: 1,
        greylisting: Some(Greylisting {
            delay: Duration::from_secs(60),
        }),
        ..Policy::default()
    };
    story(policy, |rig| async move {
        let mut peer = rig.connect("192.0.2.1");
        peer.reply().await;
        peer.say(HELLO).await;
        let deferred = format!("{MAIL}\r\n{ALICE}\r\nDATA\r\nRSET");
        let large = format!("{MAIL} SIZE=999999999999\r\n{ALICE}\r\nDATA\r\nRSET");
        let chunk = format!("{MAIL}\r\n{ALICE}\r\nBDAT 3 LAST\r\nx\r\nRSET");
        for (group, replies) in [
            (&deferred, ["250 2.1.0", "450 4.7.1", "554 5.5.1", "250 "]),
            (&large, ["552 5.3.4", "503 5.5.1", "503 5.5.1", "250 "]),
            (&chunk, ["250 2.1.0", "450 4.7.1", "554 5.5.1", "250 "]),
        ] {
            for _ in 0..2 {
                peer.line
                    .send(format!("{group}\r\n").as_bytes())
                    .await
                    .expect("it is served");
                for expected in replies {
                    let reply = peer.reply().await;
                    assert!(reply.starts_with(expected), "{expected}: {reply}");
                }
            }
        }
        let now = rig.host.now();
        assert_eq!(rig.door.bans().points(at("192.0.2.1"), now), 0);
        assert_eq!(rig.count(Event::Delayed), 0);
    });
}

#[test]
fn a_peer_that_does_not_wait_for_its_turn_is_refused_or_marked() {
    let patient = |early| Policy {
        early,
        greeting_delay: Duration::from_secs(2),
        ..strict()
    };
    let group = format!("{HELLO}\r\n{MAIL}\r\n{ALICE}");
    let sent = group.clone();
    story(patient(Response::Refuse), |rig| async move {
        let mut early = rig.connect("192.0.2.1");
        assert!(early.say(HELLO).await.starts_with("554 5.5.1"));
        let mut waits = rig.connect("192.0.2.2");
        assert!(waits.reply().await.starts_with("220 "));
        assert!(
            waits.say(&sent).await.starts_with("554 5.5.1"),
            "in a group"
        );
        assert_eq!(rig.count(Event::EarlyRefused), 2);
        let in_turn = rig.converse("192.0.2.3", &[HELLO, MAIL, ALICE]).await;
        assert_eq!(in_turn[3], OK);
    });
    story(patient(Response::Mark), |rig| async move {
        let mut early = rig.connect("192.0.2.1");
        let data = "DATA\r\nSubject: x\r\n\r\nx\r\n.";
        assert!(
            early
                .say(&format!("{group}\r\n{data}"))
                .await
                .starts_with("220 ")
        );
        for expected in ["250 ENHANCED", "250 2.1.0", OK, "354 ", "250 2.0.0"] {
            let reply = early.reply().await;
            assert!(reply.starts_with(expected), "{reply}");
        }
        let raw = rig.content();
        assert!(
            raw.contains("X-Ringpost-Door: early-talker;\r\n\tearly-pipelining\r\n"),
            "{raw}"
        );
    });
}
