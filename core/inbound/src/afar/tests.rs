//! The keeper of a node without storage, over storage nodes that follow a script, in memory and on virtual time.

mod alone;
mod faults;
mod node;
mod spooled;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::BodyName;
use bytes::Bytes;
use device::sim::SimWorld;
use mail::{Address, InternalDate};
use mailbox::{AccountId, MailboxFault};
use queue::{Addressee, Envelope, Notify, Terms, UnixSeconds};
use runtime::dial::memory::Manner;
use runtime::{MemoryDial, SessionHost, Stop};
use rustls::pki_types::ServerName;
use storage::arrival::{Arrival, Found};
use storage::outgoing::Submission;
use storage::recipients::{Draft, Recipients, Rest, Sign};
use store::BodyIn;

use super::*;
use crate::receive::Keeper;
use node::{Node, Script, Stage};

const AGE: Duration = Duration::from_secs(60);

struct World {
    sim: SimWorld,
    dial: MemoryDial,
    stop: Stop,
}

impl World {
    fn new() -> World {
        let sim = SimWorld::new(7);
        let (host, stop) = (sim.io().host, Stop::new());
        World {
            dial: MemoryDial::new(&host, &stop, 16_384, 64),
            sim,
            stop,
        }
    }

    fn host(&self) -> SessionHost {
        SessionHost::on(self.sim.io().host)
    }

    fn caller(&self) -> Caller<MemoryDial> {
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        Caller {
            host: self.host(),
            dial: self.dial.clone(),
            hostname: "mx.example.org".to_owned(),
            tls: Arc::new(tls),
        }
    }

    fn node(&self, index: u8, script: Script) -> Node {
        Node::start(
            &self.sim.io().host,
            self.dial.listen(address(index)),
            script,
        )
    }

    fn keeper(&self, protocols: &[Protocol]) -> (Afar<MemoryDial>, Settings) {
        self.keeper_for(protocols, |index| format!("storage{index}.example.org"))
    }

    /// Of another process, which knows the node 1 alone.
    fn other_keeper(&self, protocol: Protocol) -> Afar<MemoryDial> {
        let name = ServerName::try_from("storage1.example.org").expect("a name");
        let settings = Settings {
            targets: Targets::new(vec![Target::new(address(1), protocol, name, 1, 1, None)]),
            table: Table::new(AGE),
            doubts: Doubts::default(),
        };
        Afar::new(self.caller(), settings)
    }

    fn keeper_for(
        &self,
        protocols: &[Protocol],
        name: impl Fn(u8) -> String,
    ) -> (Afar<MemoryDial>, Settings) {
        let target = |(index, protocol): (u8, &Protocol)| {
            let name = ServerName::try_from(name(index)).expect("a name");
            let priority = u16::from(index);
            Target::new(address(index), *protocol, name, priority, 1, None)
        };
        let settings = Settings {
            targets: Targets::new((0..).zip(protocols).map(target).collect()),
            table: Table::new(AGE),
            doubts: Doubts::default(),
        };
        (Afar::new(self.caller(), settings.clone()), settings)
    }
}

fn address(index: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, index], 2424))
}

/// A message as the try `number` brings it: our trace fields are others each time.
fn body(number: u32) -> BodyIn {
    let raw = format!(
        "Return-Path: <ann@example.net>\r\nReceived: from a ([192.0.2.9])\r\n\tby mx with ESMTP id {number}\r\nX-Ringpost-Door: {number}\r\nSubject: x\r\n\r\n.text\r\n"
    );
    let raw = Bytes::from(raw);
    BodyIn {
        name: BodyName::of(&raw),
        raw,
        summary: Bytes::new(),
    }
}

fn envelope(accounts: &[AccountId]) -> Envelope {
    let to = |account: &AccountId| Addressee {
        path: format!("a{}@example.org", account.0),
        notify: Notify::UNSAID,
        original: String::new(),
    };
    Envelope {
        from: "ann@example.net".to_owned(),
        recipients: accounts.iter().map(to).collect(),
        arrived: UnixSeconds(1),
        warns: UnixSeconds(2),
        expires: UnixSeconds(3),
        terms: Terms::default(),
    }
}

async fn deliver(
    keeper: &Afar<MemoryDial>,
    number: u32,
    accounts: &[u32],
    junk: &[u32],
) -> Vec<Result<(), MailboxFault>> {
    let accounts: Vec<AccountId> = accounts.iter().map(|account| AccountId(*account)).collect();
    let junk: Vec<AccountId> = junk.iter().map(|account| AccountId(*account)).collect();
    let arrival = Arrival {
        body: body(number),
        internal_date: InternalDate::utc(1),
        accounts,
        junk: junk.clone(),
        posted: Default::default(),
    };
    let on_behalf = |accounts: &[AccountId]| {
        let mut envelope = envelope(accounts);
        envelope.terms.is_junk = accounts.iter().all(|account| junk.contains(account));
        envelope
    };
    let span = tracing::Span::none();
    let delivered = keeper.deliver(arrival, &on_behalf, &span);
    delivered.await.expect("there is room")
}

fn is_deferred(result: &Result<(), MailboxFault>) -> bool {
    matches!(result, Err(MailboxFault::Unavailable(_)))
}

#[test]
fn each_recipient_has_its_own_answer() {
    let world = World::new();
    let node = world.node(
        0,
        Script::new(Protocol::Lmtp)
            .answering("RCPT TO:<a2@example.org>", "550 5.1.1 no such user here")
            .ending(&["250 2.0.0 ok", "452 4.2.2 mailbox full"]),
    );
    let (keeper, settings) = world.keeper(&[Protocol::Lmtp]);
    let results = world.sim.block_on(deliver(&keeper, 1, &[1, 2, 3], &[]));
    let wanted = [
        Ok(()),
        Err(MailboxFault::NoAccount),
        Err(MailboxFault::OverQuota),
    ];
    assert_eq!(results, wanted);
    let got = node.got();
    assert_eq!(got.len(), 1);
    assert!(got[0].content.ends_with("\r\n\r\n..text\r\n"), "{got:?}");
    assert_eq!(settings.doubts.count(), 0, "all was answered for good");
}

#[test]
fn one_answer_stands_for_all_by_smtp_and_qmqp() {
    for protocol in [Protocol::Smtp, Protocol::Qmqp] {
        let world = World::new();
        let node = world.node(0, Script::new(protocol));
        let (keeper, _) = world.keeper(&[protocol]);
        let results = world.sim.block_on(deliver(&keeper, 1, &[1, 2], &[]));
        assert_eq!(results, [Ok(()), Ok(())], "{protocol:?}");
        assert_eq!(node.got().len(), 1);
    }
}

#[test]
fn a_node_that_hangs_before_the_end_of_data_is_left_for_the_next() {
    for stage in [
        Stage::Connect,
        Stage::Handshake,
        Stage::Greeting,
        Stage::Mail,
        Stage::Data,
    ] {
        let world = World::new();
        let hung = world.node(0, Script::new(Protocol::Lmtp).hanging(stage));
        if stage == Stage::Connect {
            world.dial.set(address(0), Manner::Hangs);
        }
        let works = world.node(1, Script::new(Protocol::Lmtp));
        let (keeper, settings) = world.keeper(&[Protocol::Lmtp, Protocol::Lmtp]);
        let results = world.sim.block_on(deliver(&keeper, 1, &[1], &[]));
        assert_eq!(results, [Ok(())], "{stage:?}");
        assert_eq!((hung.got().len(), works.got().len()), (0, 1), "{stage:?}");
        let up = settings
            .targets
            .all()
            .iter()
            .map(|target| target.state().is_up);
        assert_eq!(up.collect::<Vec<_>>(), [false, true], "{stage:?}");
    }
}

#[test]
fn an_answer_that_is_lost_asks_no_other_node_and_keeps_its_id() {
    for protocol in [Protocol::Lmtp, Protocol::Smtp, Protocol::Qmqp] {
        let world = World::new();
        let hung = world.node(0, Script::new(protocol).hanging(Stage::End));
        let other = world.node(1, Script::new(protocol));
        let (keeper, settings) = world.keeper(&[protocol, protocol]);
        world.sim.block_on(async {
            let results = deliver(&keeper, 1, &[1, 2], &[]).await;
            assert!(results.iter().all(is_deferred), "{results:?}");
            assert_eq!((hung.got().len(), other.got().len()), (1, 0));
            assert_eq!(settings.doubts.count(), 1);
            // Other recipients are another delivery.
            assert_eq!(deliver(&keeper, 2, &[1], &[]).await, [Ok(())]);
            // The node that may have it does not work: no other is asked at the next try either, until much later.
            let results = deliver(&keeper, 3, &[1, 2], &[]).await;
            assert!(results.iter().all(is_deferred), "{results:?}");
            assert_eq!((hung.got().len(), other.got().len()), (1, 1));
        });
        for _ in 0..limits::DOUBT_HOLDS_FOR.as_secs() / 50 {
            world.sim.run_for_us(50_000_000).expect("a world at rest");
        }
        let results = world.sim.block_on(deliver(&keeper, 4, &[1, 2], &[]));
        assert_eq!(results, [Ok(()), Ok(())]);
        let (first, then) = (hung.got(), other.got());
        assert_ne!(first[0].mark, then[0].mark, "{protocol:?}");
        assert_eq!(first[0].mark, then[1].mark, "{protocol:?}: the next try");
        assert_eq!(settings.doubts.count(), 0);
    }
}

#[test]
fn a_delivery_that_is_given_up_by_its_caller_is_in_doubt() {
    let world = World::new();
    let _hung = world.node(0, Script::new(Protocol::Lmtp).hanging(Stage::End));
    let (keeper, settings) = world.keeper(&[Protocol::Lmtp]);
    world.sim.block_on(async {
        let host = world.host();
        let given_up = host.within(Duration::from_secs(5), deliver(&keeper, 1, &[1], &[]));
        assert_eq!(given_up.await, None, "as a spool in front does");
        assert_eq!(settings.doubts.count(), 1);
    });
}

#[test]
fn a_stop_waits_for_an_answer_that_is_owed() {
    for protocol in [Protocol::Lmtp, Protocol::Smtp, Protocol::Qmqp] {
        let world = World::new();
        let script = Script::new(protocol).pausing(Duration::from_secs(5));
        let _node = world.node(0, script);
        let (keeper, settings) = world.keeper(&[protocol]);
        world.sim.block_on(async {
            let (host, stop) = (world.host(), world.stop.clone());
            world.sim.io().host.spawn(Box::pin(async move {
                host.sleep(Duration::from_secs(1)).await;
                stop.request();
            }));
            let results = deliver(&keeper, 1, &[1], &[]).await;
            assert_eq!(results, [Ok(())], "{protocol:?}");
            assert!(world.stop.is_requested());
        });
        assert_eq!(settings.doubts.count(), 0);
    }
}

#[test]
fn a_line_of_64_kib_is_not_a_reply() {
    let world = World::new();
    let long = format!("250 {}", "x".repeat(64 * 1_024));
    let wrong = world.node(0, Script::new(Protocol::Lmtp).answering("MAIL", &long));
    let works = world.node(1, Script::new(Protocol::Lmtp));
    let (keeper, _) = world.keeper(&[Protocol::Lmtp, Protocol::Lmtp]);
    assert_eq!(world.sim.block_on(deliver(&keeper, 1, &[1], &[])), [Ok(())]);
    assert_eq!((wrong.got().len(), works.got().len()), (0, 1));
}

#[test]
fn a_server_that_does_not_offer_the_id_gets_no_mail() {
    let world = World::new();
    let other = world.node(0, Script::new(Protocol::Lmtp).without_ids());
    let (keeper, settings) = world.keeper(&[Protocol::Lmtp]);
    let results = world.sim.block_on(deliver(&keeper, 1, &[1], &[]));
    assert!(is_deferred(&results[0]), "{results:?}");
    assert_eq!(other.got().len(), 0);
    let why = settings.targets.all()[0].state().why;
    assert!(why.contains("XDELIVERY"), "{why}");
}

#[test]
fn a_connection_carries_one_message_after_the_other_and_an_ended_one_is_replaced() {
    let world = World::new();
    let node = world.node(0, Script::new(Protocol::Lmtp).closing_after(2));
    let (keeper, settings) = world.keeper(&[Protocol::Lmtp]);
    world.sim.block_on(async {
        for number in 0..4 {
            assert_eq!(deliver(&keeper, number, &[1], &[]).await, [Ok(())]);
        }
    });
    assert_eq!((node.got().len(), node.connections()), (4, 2));
    assert_eq!(settings.targets.all()[0].state().failures, 0);
}

#[test]
fn junk_for_some_goes_out_apart_from_the_rest() {
    let world = World::new();
    let node = world.node(0, Script::new(Protocol::Lmtp));
    let (keeper, _) = world.keeper(&[Protocol::Lmtp]);
    let results = world.sim.block_on(deliver(&keeper, 1, &[1, 2, 3], &[2]));
    assert_eq!(results, [Ok(()), Ok(()), Ok(())]);
    let got = node.got();
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].recipients, ["a1@example.org", "a3@example.org"]);
    assert!(!got[0].mark.ends_with(";junk") && got[1].mark.ends_with(";junk"));
    assert_ne!(got[0].mark[..32], got[1].mark[..32], "two deliveries");
}

#[test]
fn what_is_for_all_or_none_is_not_sent_when_one_is_refused() {
    let world = World::new();
    let refusal = "550 5.7.2 not permitted to post to this list";
    let node = world.node(
        0,
        Script::new(Protocol::Lmtp).answering("RCPT TO:<a2@example.org>", refusal),
    );
    let (keeper, _) = world.keeper(&[Protocol::Lmtp]);
    let submission = Submission {
        body: body(1),
        internal_date: InternalDate::utc(1),
        here: Vec::new(),
        junk: Vec::new(),
        elsewhere: envelope(&[AccountId(1), AccountId(2)]),
    };
    let result = world.sim.block_on(async {
        let span = tracing::Span::none();
        keeper.submit(submission, &span).await
    });
    assert_eq!(result, Ok(Err(MailboxFault::NotPermitted)));
    assert_eq!(node.got().len(), 0);
}

#[test]
fn a_probe_brings_a_node_back() {
    let world = World::new();
    let (keeper, settings) = world.keeper(&[Protocol::Lmtp]);
    world.sim.block_on(async {
        let results = deliver(&keeper, 1, &[1], &[]).await;
        assert!(is_deferred(&results[0]) && keeper.refuses());
        let _node = world.node(0, Script::new(Protocol::Lmtp));
        let probe = pull::probe(
            world.caller(),
            settings.targets.clone(),
            0,
            world.stop.clone(),
        );
        world.sim.io().host.spawn(Box::pin(probe));
        world.host().sleep(Duration::from_secs(40)).await;
        assert!(!keeper.refuses());
        assert_eq!(deliver(&keeper, 2, &[1], &[]).await, [Ok(())]);
    });
}

fn table(local: &str) -> Recipients {
    let draft = Draft {
        domains: vec![("example.org".to_owned(), Rest::default())],
        addresses: vec![(format!("{local}@example.org"), Sign::Listed)],
    };
    let bytes = draft.encode().expect("it fits");
    Recipients::decode(bytes.into()).expect("well-formed")
}

#[test]
fn only_a_young_table_says_that_an_address_is_unknown() {
    let world = World::new();
    let (keeper, settings) = world.keeper(&[Protocol::Lmtp]);
    world.sim.block_on(async {
        let host = world.host();
        let ask = async |local: &str| {
            let wanted = Address::from_parts(local, "example.org").expect("an address");
            keeper.look_up(&wanted).await.expect("not busy").found
        };
        let is_unknown = |found: &Result<Found, MailboxFault>| {
            matches!(found, Err(MailboxFault::Unavailable(_)))
        };
        assert!(is_unknown(&ask("ann").await), "there is none");
        settings.table.remember(table("ann"));
        assert_eq!(ask("ann").await, Ok(Found::Listed));
        assert!(is_unknown(&ask("bob").await), "it is of another run");
        settings.table.confirm(host.now());
        assert_eq!(ask("bob").await, Ok(Found::NoMailbox));
        host.sleep(AGE + Duration::from_secs(1)).await;
        assert!(is_unknown(&ask("bob").await), "it is old");
        assert_eq!(ask("ann").await, Ok(Found::Listed));
        settings.table.replace(table("bob"), 0, host.now());
        assert_eq!(ask("ann").await, Ok(Found::NoMailbox));
    });
}

#[test]
fn a_table_is_fetched_once_and_confirmed_by_a_line() {
    let world = World::new();
    let listener = world.dial.listen(address(9));
    let name = ServerName::try_from("storage.example.org").expect("a name");
    let target = Target::new(address(0), Protocol::Lmtp, name, 1, 1, Some(address(9)));
    let (targets, kept) = (Targets::new(vec![target]), Table::new(AGE));
    let sent = table("ann");
    let (bytes, version) = (sent.bytes().clone(), sent.version().to_owned());
    let lines: Rc<std::cell::RefCell<Vec<String>>> = Rc::default();
    let seen = lines.clone();
    world.sim.block_on(async {
        world.sim.io().host.spawn(Box::pin(async move {
            // The first connection sends a damaged table, the second one the right one.
            for is_good in [false, true] {
                let peer = listener.accept().await;
                peer.start_tls();
                let mut input = Vec::new();
                while peer.receive(&mut input, 1_024).await > 0 {
                    let line = String::from_utf8_lossy(&input).into_owned();
                    input.clear();
                    seen.borrow_mut().push(line.trim_end().to_owned());
                    let ours = format!("HAVE {version}\r\n");
                    let answer = match (line == ours, is_good) {
                        (true, _) => b"SAME\r\n".to_vec(),
                        (false, good) => {
                            let mut table = bytes.to_vec();
                            table[60] ^= u8::from(!good);
                            [format!("TABLE {}\r\n", table.len()).as_bytes(), &table].concat()
                        }
                    };
                    if peer.send(&answer).await.is_err() {
                        break;
                    }
                }
            }
        }));
        let written: Rc<std::cell::Cell<u32>> = Rc::default();
        let count = written.clone();
        let keep: pull::Keep = Rc::new(move |_| count.set(count.get() + 1));
        let every = Duration::from_secs(5);
        let fetch = pull::fetch(
            world.caller(),
            targets,
            kept.clone(),
            every,
            keep,
            world.stop.clone(),
        );
        world.sim.io().host.spawn(Box::pin(fetch));
        let host = world.host();
        host.sleep(Duration::from_secs(1)).await;
        let state = kept.state(host.now());
        assert!(
            state.trouble.contains("checksum") && state.addresses == 0,
            "{state:?}"
        );
        host.sleep(Duration::from_secs(21)).await;
        let state = kept.state(host.now());
        assert!(state.is_fresh && state.trouble.is_empty(), "{state:?}");
        assert_eq!((state.addresses, written.get()), (1, 1));
        world.stop.request();
    });
    let lines = lines.borrow();
    assert_eq!(lines[..2], ["HAVE -", "HAVE -"]);
    assert!(
        lines.len() >= 4 && lines[2..].iter().all(|line| line.len() == 37),
        "{lines:?}"
    );
}
