//! The door, on virtual time and with a table in place of the domain name system.

mod turns;

use ::door::{Answers, Door, Event, Greylisting, List, Policy, Rates, Response};
use base::Host;
use base::host::sleep_us;
use device::sim::SimWorld;
use dns::Table;
use runtime::Stop;
use runtime::memory::{MemoryPeer, connect};

use super::*;

struct Rig {
    host: Rc<dyn Host>,
    receiver: Rc<Receiver<Script>>,
    settings: Rc<Settings>,
    script: Script,
    door: Door,
    table: Table,
}

/// Tells `story` on virtual time.
fn story<F: Future<Output = ()>>(policy: Policy, story: impl FnOnce(Rig) -> F) {
    let world = SimWorld::new(1);
    let host = world.io().host;
    let (script, door, table) = (Script::default(), Door::new(policy), Table::new(&host, 1));
    let sessions = SessionHost::on(host.clone());
    let receiver = Receiver::on(
        sessions.clone(),
        Ids::of(1, 1),
        script.clone(),
        Budget::with_shares(1 << 20, 1 << 20),
        Placed::default(),
    );
    let settings = Settings {
        smtp: Arc::new(smtp::Config {
            role: Role::Smtp,
            service: smtp::Service::Exchange,
            hostname: "mx.example.org".into(),
            limits: smtp::Limits::default(),
            tls_available: false,
            tls_required: false,
        }),
        tls: None,
        postmaster: Address::from_parts("bob", "example.org"),
        door: Some(Doorway::new(door.clone(), sessions, table.clone())),
    };
    world.block_on(story(Rig {
        host,
        receiver: Rc::new(receiver),
        settings: Rc::new(settings),
        script,
        door,
        table,
    }));
}

struct Peer {
    line: MemoryPeer,
    arrived: Vec<u8>,
}

impl Rig {
    fn connect(&self, from: &str) -> Peer {
        let address = SocketAddr::new(from.parse().expect("an address"), 4711);
        let (connection, line) = connect(&self.host, &Stop::new(), address, 1 << 16);
        let (receiver, settings) = (self.receiver.clone(), self.settings.clone());
        self.host.spawn(Box::pin(async move {
            receiver.serve(&settings, connection).await;
        }));
        Peer {
            line,
            arrived: Vec::new(),
        }
    }

    /// Connects, and says these lines one after the other. The replies, of EHLO the last line.
    async fn converse(&self, from: &str, lines: &[&str]) -> Vec<String> {
        let mut peer = self.connect(from);
        let mut replies = vec![peer.reply().await];
        for line in lines {
            replies.push(peer.say(line).await);
        }
        replies
    }

    async fn pass(&self, span: Duration) {
        sleep_us(&*self.host, span.as_micros() as u64).await;
    }

    fn content(&self) -> String {
        let handed = std::mem::take(&mut *self.script.handed.lock().unwrap());
        let raw = handed.into_iter().next().expect("a message was taken").0;
        String::from_utf8(raw).expect("ASCII")
    }

    fn count(&self, event: Event) -> u64 {
        self.door.counters().read(event)
    }
}

impl Peer {
    async fn say(&mut self, line: &str) -> String {
        let sent = self.line.send(format!("{line}\r\n").as_bytes()).await;
        match sent {
            Ok(()) => self.reply().await,
            Err(_) => "closed".to_owned(),
        }
    }

    /// The last line of the next reply.
    async fn reply(&mut self) -> String {
        loop {
            // until a whole reply is there
            let text = String::from_utf8_lossy(&self.arrived).into_owned();
            let mut used = 0;
            for line in text.split_inclusive("\r\n") {
                used += line.len();
                if line.ends_with("\r\n") && line.as_bytes().get(3) == Some(&b' ') {
                    self.arrived.drain(..used);
                    return line.trim_end().to_owned();
                }
            }
            if self.line.receive(&mut self.arrived, 1 << 10).await == 0 {
                return "closed".to_owned();
            }
        }
    }
}

const HELLO: &str = "EHLO client.example";
const MAIL: &str = "MAIL FROM:<a@example.net>";
const ALICE: &str = "RCPT TO:<alice@example.org>";
const OK: &str = "250 2.1.5 recipient ok";

fn strict() -> Policy {
    Policy {
        ban_points: 0,
        tarpit_points: 0,
        hello: Response::Refuse,
        early: Response::Refuse,
        ..Policy::default()
    }
}

fn listed(zones: &[(&str, i32)]) -> Policy {
    let list = |(zone, weight): &(&str, i32)| List {
        zone: (*zone).to_owned(),
        weight: *weight,
        answers: Answers::ANY,
    };
    Policy {
        lists: zones.iter().map(list).collect(),
        refuse_at: 5,
        ..Policy::default()
    }
}

fn at(text: &str) -> std::net::IpAddr {
    text.parse().expect("an address")
}

#[test]
fn recipients_guessed_ban_an_address_and_no_other() {
    let policy = Policy {
        ban_points: 1,
        tarpit_points: 0,
        ..Policy::default()
    };
    story(policy, |rig| async move {
        let guess = "RCPT TO:<guess@example.org>";
        let mut peer = rig.connect("192.0.2.1");
        peer.reply().await;
        peer.say(HELLO).await;
        peer.say(MAIL).await;
        for _ in 0..5 {
            let reply = peer.say(guess).await;
            assert!(reply.starts_with("550 5.1.1"), "{reply}");
        }
        let reply = peer.reply().await;
        assert!(reply.starts_with("421 4.7.0 too many failures"), "{reply}");
        assert_eq!(peer.reply().await, "closed");
        let banned = rig.converse("192.0.2.1", &[]).await;
        assert_eq!(banned, [smtp::Refusal::Banned.line().trim_end()]);
        let other = rig.converse("192.0.2.2", &[HELLO, MAIL, ALICE]).await;
        assert_eq!(other[3], OK);
        rig.pass(::door::limits::BAN_FIRST).await;
        let again = rig.converse("192.0.2.1", &[HELLO, MAIL, ALICE]).await;
        assert_eq!(again[3], OK);
    });
}

#[test]
fn faults_of_the_protocol_are_delayed_and_then_banned() {
    let policy = Policy {
        ban_points: 3,
        tarpit_points: 1,
        ..Policy::default()
    };
    story(policy, |rig| async move {
        let mut peer = rig.connect("192.0.2.1");
        peer.reply().await;
        assert!(peer.say("HLO x").await.starts_with("500"));
        assert_eq!(rig.host.now().0, 0, "the first is free");
        assert!(peer.say("HLO x").await.starts_with("500"));
        assert_eq!(
            rig.host.now().0,
            ::door::limits::DELAY_STEP.as_micros() as u64
        );
        for _ in 0..5 {
            peer.say("HLO x").await;
        }
        assert!(
            peer.reply()
                .await
                .starts_with("421 4.7.0 too many failures")
        );
        assert!(rig.count(Event::Delayed) >= 2);
    });
}

#[test]
fn connections_of_one_address_and_messages_of_one_domain_are_bounded() {
    let policy = Policy {
        rates: Rates {
            address_open: 1,
            sender_hour: 2,
            ..Rates::NONE
        },
        ..Policy::default()
    };
    story(policy, |rig| async move {
        let mut first = rig.connect("192.0.2.1");
        assert!(first.reply().await.starts_with("220 "));
        let second = rig.converse("192.0.2.1", &[]).await;
        assert_eq!(second, [smtp::Refusal::Crowded.line().trim_end()]);
        assert!(first.say("QUIT").await.starts_with("221 "));
        first.line.end();
        rig.pass(Duration::from_secs(5)).await;
        // Two recipients are one message.
        let bob = "RCPT TO:<bob@example.org>";
        let lines = [
            HELLO, MAIL, ALICE, bob, "RSET", MAIL, bob, "RSET", MAIL, bob,
        ];
        let said = rig.converse("192.0.2.1", &lines).await;
        assert_eq!(
            (said[3].as_str(), said[4].as_str(), said[7].as_str()),
            (OK, OK, OK)
        );
        assert!(
            said[10].starts_with("450 4.7.1 too many messages"),
            "{said:?}"
        );
    });
}

#[test]
fn a_list_refuses_with_its_reason_and_a_postmaster_is_spared() {
    story(listed(&[("bad.example", 5)]), |rig| async move {
        let name = "1.2.0.192.bad.example";
        rig.table.set_addresses(name, &[at("127.0.0.4")]);
        rig.table
            .set_texts(name, &["see https://bad.example/192.0.2.1"]);
        let postmaster = "RCPT TO:<Postmaster>";
        let said = rig
            .converse("192.0.2.1", &[HELLO, MAIL, ALICE, postmaster])
            .await;
        assert_eq!(
            said[3],
            "554 5.7.1 your address is on a block list (see https://bad.example/192.0.2.1)"
        );
        assert_eq!(said[4], OK);
        let other = rig.converse("192.0.2.2", &[HELLO, MAIL, ALICE]).await;
        assert_eq!(other[3], OK);
        assert_eq!(rig.count(Event::ListsRefused), 1);
    });
}

#[test]
fn a_score_below_the_bound_is_a_mark_and_a_good_list_takes_it_back() {
    let lists = [
        ("bad.example", 3),
        ("worse.example", 4),
        ("good.example", -4),
    ];
    story(listed(&lists), |rig| async move {
        for list in ["bad.example", "worse.example", "good.example"] {
            rig.table
                .set_addresses(&format!("1.2.0.192.{list}"), &[at("127.0.0.2")]);
        }
        let lines = [HELLO, MAIL, ALICE, "DATA", "Subject: x\r\n\r\nx\r\n."];
        let said = rig.converse("192.0.2.1", &lines).await;
        assert!(said[5].starts_with("250 2.0.0"), "{said:?}");
        let raw = rig.content();
        let field = "X-Ringpost-Door: lists=3 (bad.example,\r\n\tworse.example,\r\n\tgood.example)\r\nSubject: x\r\n";
        assert!(raw.contains(field), "{raw}");
        rig.converse("192.0.2.9", &lines).await;
        assert!(
            !rig.content().contains("X-Ringpost-Door"),
            "nothing was seen"
        );
    });
}

#[test]
fn a_list_that_fails_is_slow_or_lists_everything_refuses_no_mail() {
    story(listed(&[("bad.example", 5)]), |rig| async move {
        let names = |peer: u8| format!("{peer}.2.0.192.bad.example");
        for peer in 1..=3 {
            rig.table.set_addresses(&names(peer), &[at("127.0.0.2")]);
        }
        // The list is tested first: while it lists 127.0.0.1 it is off.
        rig.table
            .set_addresses("1.0.0.127.bad.example", &[at("127.0.0.2")]);
        let said = rig.converse("192.0.2.1", &[HELLO, MAIL, ALICE]).await;
        assert_eq!(said[3], OK, "it lists everything");
        rig.table.remove("1.0.0.127.bad.example");
        rig.pass(::door::limits::LIST_TESTED_EVERY).await;
        let said = rig.converse("192.0.2.1", &[HELLO, MAIL, ALICE]).await;
        assert!(said[3].starts_with("554 5.7.1"), "it was mended: {said:?}");
        rig.table.set_failing(&names(2), Some("SERVFAIL"));
        let said = rig.converse("192.0.2.2", &[HELLO, MAIL, ALICE]).await;
        assert_eq!(said[3], OK, "it fails");
        rig.table.set_slow(&names(3), Duration::from_secs(15));
        let began = rig.host.now();
        let said = rig.converse("192.0.2.3", &[HELLO, MAIL, ALICE]).await;
        assert_eq!(said[3], OK, "it is slow");
        let waited = Duration::from_micros(rig.host.now().since_us(began));
        assert_eq!(waited, rig.door.policy().lookup_deadline);
        assert_eq!(rig.count(Event::ListsUnanswered), 3);
        rig.table
            .set_addresses("4.2.0.192.bad.example", &[at("198.51.100.1")]);
        let said = rig.converse("192.0.2.4", &[HELLO, MAIL, ALICE]).await;
        assert_eq!(said[3], OK, "an address outside of 127/8 says nothing");
    });
}

#[test]
fn a_reverse_name_that_does_not_point_back_is_marked_and_one_that_fails_is_not() {
    let policy = Policy {
        reverse_name: true,
        ..Policy::default()
    };
    story(policy, |rig| async move {
        rig.table
            .set_names_of(at("192.0.2.1"), &["mail.example.net"]);
        rig.table
            .set_addresses("mail.example.net", &[at("192.0.2.1")]);
        rig.table
            .set_names_of(at("192.0.2.2"), &["mail.example.net"]);
        rig.table
            .set_names_of(at("192.0.2.3"), &["sick.example.net"]);
        rig.table.set_failing("sick.example.net", Some("SERVFAIL"));
        let lines = [HELLO, MAIL, ALICE, "DATA", "Subject: x\r\n\r\nx\r\n."];
        for (peer, marked) in [
            ("192.0.2.1", false),
            ("192.0.2.2", true),
            ("192.0.2.3", false),
            ("192.0.2.4", true),
        ] {
            let said = rig.converse(peer, &lines).await;
            assert!(said[5].starts_with("250 2.0.0"), "{peer}: {said:?}");
            let field = "X-Ringpost-Door: no-reverse-name\r\n";
            assert_eq!(rig.content().contains(field), marked, "{peer}");
        }
    });
}

#[test]
fn a_name_that_is_ours_is_refused_and_one_that_does_not_exist_is_not() {
    story(strict(), |rig| async move {
        let ours = [
            "EHLO mx.example.org",
            MAIL,
            ALICE,
            "RCPT TO:<postmaster@example.org>",
        ];
        let said = rig.converse("192.0.2.1", &ours).await;
        assert!(said[3].starts_with("550 5.7.1 the name given"), "{said:?}");
        assert_eq!(said[4], OK, "the postmaster is spared");
        for bad in ["HELO 192.0.2.1", "EHLO [192.0.2.7]", "EHLO [127.0.0.1]"] {
            let said = rig.converse("192.0.2.1", &[bad, MAIL, ALICE]).await;
            assert!(said[3].starts_with("550 5.7.1"), "{bad}: {said:?}");
        }
        for good in [
            "EHLO no-such-name.invalid",
            "EHLO [192.0.2.1]",
            "HELO desktop",
        ] {
            let said = rig.converse("192.0.2.1", &[good, MAIL, ALICE]).await;
            assert_eq!(said[3], OK, "{good}");
        }
    });
}

#[test]
fn a_stranger_is_greylisted_once() {
    let policy = Policy {
        greylisting: Some(Greylisting {
            delay: Duration::from_secs(60),
        }),
        ..Policy::default()
    };
    story(policy, |rig| async move {
        let lines = [HELLO, MAIL, ALICE];
        let said = rig.converse("192.0.2.1", &lines).await;
        assert!(said[3].starts_with("450 4.7.1 greylisted"), "{said:?}");
        let unknown = [HELLO, MAIL, "RCPT TO:<guess@example.org>"];
        let said = rig.converse("192.0.2.1", &unknown).await;
        assert!(
            said[3].starts_with("550 5.1.1"),
            "for good, at once: {said:?}"
        );
        rig.pass(Duration::from_secs(60)).await;
        assert_eq!(rig.converse("192.0.2.1", &lines).await[3], OK);
        let other = [HELLO, "MAIL FROM:<>", "RCPT TO:<bob@example.org>"];
        assert_eq!(
            rig.converse("192.0.2.1", &other).await[3],
            OK,
            "it is known"
        );
    });
}

#[test]
fn marks_that_a_stranger_wrote_itself_are_removed() {
    assert_eq!(
        ::door::marks::FIELD.to_ascii_lowercase(),
        auth::header::DOOR
    );
    story(Policy::default(), |rig| async move {
        let content = "Subject: x\r\nX-Ringpost-Door: lists=-5\r\n (good.example)\r\nTo: y\r\n\r\nX-Ringpost-Door: z\r\n.";
        let lines = ["EHLO client", MAIL, ALICE, "DATA", content];
        let said = rig.converse("192.0.2.1", &lines).await;
        assert!(said[5].starts_with("250 2.0.0"), "{said:?}");
        let raw = rig.content();
        let left = "X-Ringpost-Door: hello=not-qualified\r\nSubject: x\r\nTo: y\r\n\r\nX-Ringpost-Door: z\r\n";
        assert!(raw.ends_with(left), "{raw}");
    });
}

#[test]
fn a_list_whose_test_was_cut_off_is_tested_again_by_the_next_peer() {
    story(listed(&[("bad.example", 5)]), |rig| async move {
        rig.table
            .set_addresses("1.2.0.192.bad.example", &[at("127.0.0.2")]);
        let test = ::door::lists::test_question("bad.example");
        rig.table.set_slow(&test, Duration::from_secs(3_600));
        let lines = [HELLO, MAIL, ALICE];
        assert_eq!(rig.converse("192.0.2.1", &lines).await[3], OK);
        rig.table.set_slow(&test, Duration::ZERO);
        let said = rig.converse("192.0.2.1", &lines).await;
        assert!(said[3].starts_with("554 5.7.1"), "{said:?}");
    });
}

#[test]
fn a_trusted_proxy_speaks_for_its_clients_and_each_is_judged_by_itself() {
    let policy = Policy {
        xclient: vec!["198.51.100.0/24".parse().expect("a network")],
        ..listed(&[("bad.example", 5)])
    };
    story(policy, |rig| async move {
        rig.table
            .set_addresses("66.2.0.192.bad.example", &[at("127.0.0.2")]);
        let banned = base::Network::around(at("192.0.2.99"), 32);
        let now = rig.host.now();
        let hour = Duration::from_secs(3_600);
        rig.door.bans().add(banned, hour, now).expect("room");
        let mut proxy = rig.connect("198.51.100.1");
        proxy.reply().await;
        let greeting = "220 mx.example.org ESMTP ringpost";
        assert_eq!(proxy.say("XCLIENT ADDR=192.0.2.66").await, greeting);
        proxy.say(HELLO).await;
        proxy.say(MAIL).await;
        assert!(proxy.say(ALICE).await.starts_with("554 5.7.1"));
        proxy.say("RSET").await;
        let good = "XCLIENT ADDR=192.0.2.7 PORT=99 HELO=real.example.net";
        assert_eq!(proxy.say(good).await, greeting);
        for (line, expected) in [
            (HELLO, "250 "),
            (MAIL, "250 "),
            (ALICE, OK),
            ("DATA", "354 "),
            ("Subject: x\r\n\r\nx\r\n.", "250 2.0.0"),
        ] {
            let reply = proxy.say(line).await;
            assert!(reply.starts_with(expected), "{line}: {reply}");
        }
        let raw = rig.content();
        assert!(
            raw.contains("Received: from real.example.net ([192.0.2.7])"),
            "{raw}"
        );
        let reply = proxy.say("XCLIENT ADDR=192.0.2.99").await;
        assert!(reply.starts_with("421 4.7.0 too many failures"), "{reply}");
        let stranger = rig
            .converse("203.0.113.1", &["XCLIENT ADDR=192.0.2.7"])
            .await;
        assert!(stranger[1].starts_with("500 5.5.1"), "{stranger:?}");
    });
}

#[test]
fn the_machine_itself_meets_no_question() {
    let policy = Policy {
        ban_points: 1,
        tarpit_points: 1,
        reverse_name: true,
        greeting_delay: Duration::from_secs(2),
        greylisting: Some(Greylisting {
            delay: Duration::from_secs(60),
        }),
        hello: Response::Refuse,
        early: Response::Refuse,
        rates: Rates {
            address_open: 1,
            address_minute: 1,
            network_open: 1,
            network_minute: 1,
            sender_hour: 1,
        },
        ..listed(&[("bad.example", 5)])
    };
    story(policy, |rig| async move {
        let mut held = Vec::new();
        for _ in 0..20 {
            let mut peer = rig.connect("127.0.0.1");
            peer.reply().await;
            let group = format!("HELO 1.2.3.4\r\n{MAIL}\r\nRCPT TO:<guess@example.org>\r\n{ALICE}");
            assert!(peer.say(&group).await.starts_with("250 mx"));
            for expected in ["250 2.1.0", "550 5.1.1", OK] {
                let reply = peer.reply().await;
                assert!(reply.starts_with(expected), "{reply}");
            }
            held.push(peer);
        }
        assert_eq!((rig.host.now().0, rig.table.lookups()), (0, 0));
    });
}
