//! Whose storage node it is, and what becomes of the login.

use std::sync::atomic::Ordering::Relaxed;

use runtime::dial::memory::Manner;
use sasl::base64;

use super::*;

const PUT_OFF: &str = "a NO [UNAVAILABLE] Storage is busy, try again later";
const REFUSED: &str = "a NO [AUTHENTICATIONFAILED] Authentication failed";

#[test]
fn each_person_comes_to_the_node_that_holds_the_mailbox() {
    for (user, index) in [(ALICE, 0), (BOB, 1), ("Alice", 0)] {
        let world = World::new();
        world.run(Protocol::Imap, async |mut client| {
            client.greeted().await;
            client.say(&format!("a LOGIN {user} secret")).await;
            let mut node = world.called(index).await;
            node.say("* OK ready").await;
            let login = node.line().await;
            let said = base64::encode(format!("\0{user}\0secret").as_bytes());
            assert_eq!(login, format!("a AUTHENTICATE PLAIN {said}"));
            node.say("* CAPABILITY IMAP4rev1").await;
            node.say("a OK Logged in").await;
            assert_eq!(client.line().await, "* CAPABILITY IMAP4rev1");
            assert_eq!(client.line().await, "a OK Logged in");
            // What follows goes both ways as it is.
            client.say("b NOOP").await;
            assert_eq!(node.line().await, "b NOOP");
            node.say("b OK done").await;
            assert_eq!(client.line().await, "b OK done");
            assert_eq!(world.nodes.all()[index].open(Protocol::Imap), 1);
        });
        assert_eq!(world.nodes.all()[index].open(Protocol::Imap), 0);
        assert_eq!(world.nodes.all()[index].passed(Protocol::Imap), 1);
    }
}

#[test]
fn commands_behind_the_login_and_the_client_s_name_reach_the_node() {
    let world = World::new();
    world.run(Protocol::Imap, async |mut client| {
        client.greeted().await;
        client.say("i ID (\"name\" \"Mail\")").await;
        assert!(client.line().await.starts_with("* ID ("));
        assert_eq!(client.line().await, "i OK ID completed");
        let lines = format!("a LOGIN {ALICE} secret\r\nb NOOP\r\nc NOOP");
        client.say(&lines).await;
        let mut node = world.called(0).await;
        node.say("* OK ready").await;
        assert_eq!(node.line().await, "front ID (\"name\" \"mail\")");
        node.say("* ID NIL\r\nfront OK ID completed").await;
        assert!(node.line().await.starts_with("a AUTHENTICATE PLAIN "));
        node.say("a OK Logged in").await;
        assert_eq!(client.line().await, "a OK Logged in");
        assert_eq!(node.line().await, "b NOOP");
        assert_eq!(node.line().await, "c NOOP");
    });
}

/// The name is looked at by a storage node, which refuses it as it refuses a wrong password.
#[test]
fn an_unknown_name_and_a_wrong_password_sound_the_same() {
    for user in [ALICE, "nobody@example.org", "nobody@example.net", "\"\""] {
        let world = World::new();
        world.run(Protocol::Imap, async |mut client| {
            client.greeted().await;
            for _ in 0..2 {
                client.say(&format!("a LOGIN {user} wrong")).await;
                let mut node = world.called(0).await;
                node.say("* OK ready").await;
                node.line().await;
                node.say("a NO [AUTHENTICATIONFAILED] no").await;
                assert_eq!(client.line().await, REFUSED);
            }
        });
        assert_eq!(world.nodes.all()[0].refused.load(Relaxed), 2);
        assert_eq!(world.nodes.all()[0].failed.load(Relaxed), 0);
    }
}

#[test]
fn where_a_table_is_old_an_unknown_name_is_put_off_and_a_known_one_is_passed_on() {
    let world = World::new();
    world.run(Protocol::Imap, async |mut client| {
        client.greeted().await;
        SessionHost::on(world.host()).sleep(AGE / 2).await;
        world.knows(0, &[ALICE]);
        SessionHost::on(world.host()).sleep(AGE * 3 / 4).await;
        assert_eq!(client.line().await, "* BYE Logged out for inactivity");
    });
    // The table of bob's node is too old by now.
    world.run(Protocol::Imap, async |mut client| {
        client.greeted().await;
        assert_eq!(client.ask("a LOGIN nobody@example.org x").await, PUT_OFF);
        client.say(&format!("a LOGIN {BOB} secret")).await;
        granted(&world, 1).await;
        assert!(client.line().await.starts_with("a OK "));
    });
}

#[test]
fn a_mailbox_that_moved_is_found_where_it_is() {
    let world = World::new();
    for index in [0, 1] {
        world.knows(index, &[ALICE]);
        world.knows(1 - index, &[]);
        world.run(Protocol::Imap, async |mut client| {
            client.greeted().await;
            client.say(&format!("a LOGIN {ALICE} secret")).await;
            granted(&world, index).await;
            assert!(client.line().await.starts_with("a OK "));
        });
    }
}

/// Where a password is guessed it answers late, and later with each failure (`login::attempts`): it does not hang.
#[test]
fn a_verdict_that_comes_late_is_waited_for() {
    let wait = crate::login::attempts::SOURCE_WAIT_MAX;
    for (verdict, answer) in [
        ("NO [AUTHENTICATIONFAILED] no", REFUSED),
        ("OK in", "a OK in"),
    ] {
        let world = World::new();
        world.run(Protocol::Imap, async |mut client| {
            client.greeted().await;
            client.say(&format!("a LOGIN {ALICE} secret")).await;
            let mut node = world.called(0).await;
            node.say("* OK ready").await;
            node.line().await;
            SessionHost::on(world.host()).sleep(2 * wait).await;
            node.say(&format!("a {verdict}")).await;
            assert_eq!(client.line().await, answer);
        });
        assert!(world.nodes.all()[0].state().is_up);
        assert_eq!(world.nodes.all()[0].failed.load(Relaxed), 0);
    }
}

/// A route stands before an account in the table, and the account still logs in at its node.
#[test]
fn a_name_that_is_more_than_an_account_is_asked_of_the_node_that_has_it() {
    let world = World::new();
    world.has(1, vec![("carol@example.org".to_owned(), Sign::Listed)]);
    world.run(Protocol::Imap, async |mut client| {
        client.greeted().await;
        client.say("a LOGIN carol@example.org secret").await;
        granted(&world, 1).await;
        assert!(client.line().await.starts_with("a OK "));
    });
    // Where another node has the account, that one is asked.
    world.has(0, vec![(BOB.to_owned(), Sign::Listed)]);
    world.knows(1, &[BOB]);
    world.run(Protocol::Imap, async |mut client| {
        client.greeted().await;
        client.say(&format!("a LOGIN {BOB} secret")).await;
        granted(&world, 1).await;
        assert!(client.line().await.starts_with("a OK "));
    });
}

/// Every node offers SCRAM.
fn offers_scram(world: &World) {
    for node in world.nodes.all() {
        node.offers(preface::Offered {
            scram: true,
            message_bytes_max: 1,
            sieve: Vec::new(),
        });
    }
}

/// Node 0 as far as its challenge of SCRAM.
async fn challenged(world: &World, client: &mut Client) -> Lines {
    let first = base64::encode(format!("n,,n={ALICE},r=nonce").as_bytes());
    client
        .say(&format!("a AUTHENTICATE SCRAM-SHA-256 {first}"))
        .await;
    let mut node = world.called(0).await;
    node.say("* OK ready").await;
    node.line().await;
    node.say("+ Y2hhbGxlbmdl").await;
    assert_eq!(client.line().await, "+ Y2hhbGxlbmdl");
    node
}

/// If the node closed first, it would count as one that fails, by the doing of a client.
#[test]
fn a_client_that_dribbles_its_response_is_sent_away_before_the_node_closes() {
    let world = World::new();
    offers_scram(&world);
    world.run(Protocol::Imap, async |mut client| {
        client.line().await;
        let node = challenged(&world, &mut client).await;
        let began = world.host().now();
        let host = SessionHost::on(world.host());
        let dribble = async {
            while client.0.peer.send(b"A").await.is_ok() {
                host.sleep(Duration::from_secs(20)).await;
            }
        };
        host.within(4 * RESPONSE_MAX, dribble).await;
        let words = client.0.rest().await;
        assert_eq!(words, "* BYE Logged out for inactivity\r\n");
        drop(node);
        let waited = world.host().now().since_us(began);
        assert!(
            waited <= 5 * RESPONSE_MAX.as_micros() as u64,
            "it ended: {waited}"
        );
    });
    assert!(world.nodes.all()[0].state().is_up);
    assert_eq!(world.nodes.all()[0].failed.load(Relaxed), 0);
}

#[test]
fn a_client_that_gives_up_again_and_again_is_sent_away() {
    let world = World::new();
    offers_scram(&world);
    world.run(Protocol::Imap, async |mut client| {
        client.line().await;
        for _ in 0..LOGINS_MAX {
            let node = challenged(&world, &mut client).await;
            client.say("*").await;
            node.say("a BAD cancelled").await;
            assert_eq!(client.line().await, "a BAD cancelled");
        }
        client.say("a LOGIN x y").await;
        assert_eq!(client.0.rest().await, "* BYE Too many failed logins\r\n");
    });
    assert_eq!(world.nodes.all()[0].refused.load(Relaxed), 0);
}

/// Where a storage node that is asked about a login goes silent or ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Point {
    Handshake,
    Preface,
    Greeting,
    Verdict,
}

const POINTS: [Point; 4] = [
    Point::Handshake,
    Point::Preface,
    Point::Greeting,
    Point::Verdict,
];

/// A node's side of a login up to `point`.
async fn up_to(world: &World, point: Point) -> Lines {
    let peer = world.listeners[0].accept().await;
    let mut node = Lines {
        peer,
        input: Vec::new(),
    };
    if point == Point::Handshake {
        return node;
    }
    node.peer.start_tls();
    node.line().await;
    if point == Point::Preface {
        return node;
    }
    node.say("READY").await;
    if point == Point::Greeting {
        return node;
    }
    node.say("* OK ready").await;
    node.line().await;
    node
}

#[test]
fn a_node_that_breaks_off_or_hangs_is_never_a_wrong_password() {
    for point in POINTS {
        for hangs in [false, true] {
            let world = World::new();
            world.run(Protocol::Imap, async |mut client| {
                client.greeted().await;
                client.say(&format!("a LOGIN {ALICE} secret")).await;
                let node = up_to(&world, point).await;
                if !hangs {
                    node.peer.reset();
                }
                assert_eq!(client.line().await, PUT_OFF, "{point:?} {hangs}");
                assert!(!world.nodes.all()[0].state().is_up, "{point:?} {hangs}");
                drop(node);
                // The session goes on, and so does the node when it is back.
                client.say(&format!("a LOGIN {ALICE} secret")).await;
                granted(&world, 0).await;
                assert!(client.line().await.starts_with("a OK "));
                assert!(world.nodes.all()[0].state().is_up);
            });
            assert_eq!(world.nodes.all()[0].failed.load(Relaxed), 1);
            assert_eq!(world.nodes.all()[0].refused.load(Relaxed), 0);
        }
    }
}

#[test]
fn a_node_that_cannot_be_reached_puts_off_its_own_people_alone() {
    for manner in [
        Manner::Refuses,
        Manner::Hangs,
        Manner::Unreachable,
        Manner::Busy,
    ] {
        let world = World::new();
        world.dial.set(address(0), manner);
        world.run(Protocol::Imap, async |mut client| {
            client.greeted().await;
            let answer = client.ask(&format!("a LOGIN {ALICE} secret")).await;
            assert_eq!(answer, PUT_OFF, "{manner:?}");
            client.say(&format!("a LOGIN {BOB} secret")).await;
            granted(&world, 1).await;
            assert!(client.line().await.starts_with("a OK "));
        });
    }
}

#[test]
fn what_a_node_puts_off_is_put_off_in_each_protocol() {
    let speaks: [(Protocol, &[&str], &[&str], &str); 4] = [
        (
            Protocol::Imap,
            &["* BYE going"],
            &["a LOGIN alice@example.org secret"],
            PUT_OFF,
        ),
        (
            Protocol::Pop3,
            &["+OK ready", "-ERR [SYS/TEMP] busy"],
            &["USER alice@example.org", "PASS secret"],
            "-ERR [SYS/TEMP] Storage is busy, try again later",
        ),
        (
            Protocol::Sieve,
            &["\"SIEVE\" \"\"\r\nOK", "NO (TRYLATER) \"busy\""],
            &["AUTHENTICATE \"PLAIN\" \"AGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA==\""],
            "NO (TRYLATER) \"Storage is busy, try again later\"",
        ),
        (
            Protocol::Submission,
            &["220 ready", "250-there\r\n250 AUTH PLAIN", "454 4.7.0 busy"],
            &["EHLO c", "AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA=="],
            "454 4.7.0 temporary authentication failure",
        ),
    ];
    for (protocol, node_says, client_says, answer) in speaks {
        let world = World::new();
        world.run(protocol, async |mut client| {
            for line in client_says {
                client.say(line).await;
            }
            let mut node = world.accept(0).await;
            let preface = node.line().await;
            assert_eq!(
                preface,
                format!("FRONT {} 127.0.0.1:4711 none", protocol.name())
            );
            node.say("READY").await;
            for (index, line) in node_says.iter().enumerate() {
                if index > 0 {
                    node.line().await;
                }
                node.say(line).await;
            }
            loop {
                let line = client.line().await;
                assert!(!line.is_empty(), "{protocol:?}");
                if line == answer {
                    break;
                }
            }
        });
        assert_eq!(world.nodes.all()[0].refused.load(Relaxed), 0);
    }
}

#[test]
fn an_address_that_the_node_banned_is_sent_away() {
    let world = World::new();
    world.run(Protocol::Imap, async |mut client| {
        client.greeted().await;
        client.say(&format!("a LOGIN {ALICE} secret")).await;
        let mut node = world.accept(0).await;
        node.line().await;
        node.say("BANNED").await;
        let words = client.0.rest().await;
        assert_eq!(
            words,
            "* BYE Too many failures from your address, try again later\r\n"
        );
    });
}

/// RFC 5802 §6: it could bind, and sees that the front cannot. That is true, and passed on as it is.
#[test]
fn scram_goes_step_by_step_and_is_no_downgrade() {
    let first = base64::encode(format!("y,,n={ALICE},r=nonce").as_bytes());
    let world = World::new();
    for index in [0, 1] {
        let offered = preface::Offered {
            scram: true,
            message_bytes_max: 1,
            sieve: Vec::new(),
        };
        world.nodes.all()[index].offers(offered);
    }
    world.run(Protocol::Imap, async |mut client| {
        let greeting = client.line().await;
        assert!(greeting.contains("AUTH=SCRAM-SHA-256"), "{greeting}");
        assert!(!greeting.contains("PLUS"), "{greeting}");
        let steps = async |client: &mut Client, last: &str| {
            client
                .say(&format!("a AUTHENTICATE SCRAM-SHA-256 {first}"))
                .await;
            let mut node = world.called(0).await;
            node.say("* OK ready").await;
            let said = node.line().await;
            assert_eq!(said, format!("a AUTHENTICATE SCRAM-SHA-256 {first}"));
            node.say("+ Y2hhbGxlbmdl").await;
            assert_eq!(client.line().await, "+ Y2hhbGxlbmdl");
            client.say(last).await;
            assert_eq!(node.line().await, last.lines().next().unwrap_or(""));
            node
        };
        let node = steps(&mut client, "cHJvb2Y=").await;
        node.say("a NO [AUTHENTICATIONFAILED] no").await;
        assert_eq!(client.line().await, REFUSED);
        // The client gives it up: its reply is the node's, and it counts for nothing.
        let node = steps(&mut client, "*").await;
        node.say("a BAD cancelled").await;
        assert_eq!(client.line().await, "a BAD cancelled");
        let mut node = steps(&mut client, "cHJvb2Y=\r\nb NOOP").await;
        node.say("+ dj0=").await;
        assert_eq!(client.line().await, "+ dj0=");
        // The command that came too early is the client's next response.
        assert_eq!(node.line().await, "b NOOP");
        node.say("a BAD malformed").await;
        assert_eq!(client.line().await, REFUSED);
        let mut node = steps(&mut client, "cHJvb2Y=").await;
        node.say("+ dj0=").await;
        client.line().await;
        client.say("\r\nc NOOP").await;
        assert_eq!(node.line().await, "");
        node.say("a OK Logged in").await;
        assert_eq!(client.line().await, "a OK Logged in");
        assert_eq!(node.line().await, "c NOOP");
    });
    assert_eq!(world.nodes.all()[0].refused.load(Relaxed), 2);
}

#[test]
fn nothing_is_offered_that_not_every_node_offers() {
    let world = World::new();
    let greeting = |protocol| {
        world.run(protocol, async |client: Client| {
            client.0.peer.end();
            let Client(mut lines) = client;
            lines.rest().await
        })
    };
    assert!(
        !greeting(Protocol::Imap).contains("SCRAM"),
        "no node has answered"
    );
    assert!(greeting(Protocol::Sieve).contains("\"SIEVE\"\r\n"));
    let offers = |index: usize, scram, sieve: &[&str]| {
        let offered = preface::Offered {
            scram,
            message_bytes_max: 1,
            sieve: sieve.iter().map(|name| (*name).to_owned()).collect(),
        };
        world.nodes.all()[index].offers(offered);
    };
    offers(0, true, &["fileinto", "reject"]);
    assert!(greeting(Protocol::Imap).contains("SCRAM-SHA-256"));
    assert!(greeting(Protocol::Sieve).contains("\"SIEVE\" \"fileinto reject\""));
    offers(1, false, &["reject"]);
    assert!(!greeting(Protocol::Imap).contains("SCRAM"));
    assert!(greeting(Protocol::Sieve).contains("\"SIEVE\" \"reject\""));
}
