//! A spool in front of storage nodes, and its drain.

use runtime::Budget;
use spool::Spool;
use spool::rig::Disks;

use super::*;
use crate::spool::{Drain, Round, Spooled, credits};

type Front = Spooled<Afar<MemoryDial>, Spool>;

struct Place {
    world: World,
    spool: Spool,
    budget: Budget,
}

impl Place {
    fn new() -> Place {
        Place::of(100)
    }

    /// With room for so many messages.
    fn of(messages_max: usize) -> Place {
        let world = World::new();
        let disks = Disks::new(&world.sim, 1);
        let spool = disks.open(&world.sim, 1 << 20, messages_max);
        let spool = world.sim.block_on(spool);
        Place {
            world,
            spool,
            budget: credits(1 << 20, 64 << 10),
        }
    }

    fn front(&self, afar: &Afar<MemoryDial>) -> Front {
        let (afar, spool) = (afar.clone(), self.spool.clone());
        Spooled::new(self.world.host(), afar, spool, self.budget.clone())
    }

    fn drain(&self, afar: &Afar<MemoryDial>) -> Drain<Afar<MemoryDial>> {
        Drain::new(self.world.host(), self.spool.clone(), afar.clone())
    }

    fn waiting(&self) -> usize {
        self.spool.gauges().waiting()
    }

    fn wait_s(&self, seconds: u64) {
        let world = &self.world.sim;
        world
            .run_for_us(seconds * 1_000_000)
            .expect("a world at rest");
    }
}

async fn deliver_to(front: &Front, number: u32, accounts: &[u32], junk: &[u32]) -> Vec<bool> {
    let numbers = |all: &[u32]| all.iter().map(|account| AccountId(*account)).collect();
    let (accounts, junk): (Vec<AccountId>, Vec<AccountId>) = (numbers(accounts), numbers(junk));
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
    let delivered = front.deliver(arrival, &on_behalf, &span).await;
    let delivered = delivered.expect("there are credits");
    delivered.iter().map(Result::is_ok).collect()
}

#[test]
fn what_finds_no_node_waits_and_goes_over_in_order() {
    let here = Place::new();
    let (afar, settings) = here.world.keeper(&[Protocol::Lmtp]);
    let front = here.front(&afar);
    here.world.sim.block_on(async {
        for number in 0..3 {
            assert_eq!(deliver_to(&front, number, &[1, 2], &[]).await, [true; 2]);
        }
    });
    assert_eq!(here.waiting(), 3);
    let mut drain = here.drain(&afar);
    assert_eq!(here.world.sim.block_on(drain.round()), Round::Later);

    let node = here.world.node(0, Script::new(Protocol::Lmtp));
    let (targets, stop) = (settings.targets.clone(), here.world.stop.clone());
    let probe = pull::probe(here.world.caller(), targets, 0, stop);
    here.world.sim.io().host.spawn(Box::pin(probe));
    here.wait_s(60);
    for _ in 0..3 {
        // One for each: they are for the same addresses.
        assert_eq!(here.world.sim.block_on(drain.round()), Round::Moved);
    }
    let got = node.got();
    let order: Vec<usize> = (0..3)
        .map(|number| {
            let id = format!("with ESMTP id {number}\r\n");
            let at = got.iter().position(|got| got.content.contains(&id));
            at.expect("it came")
        })
        .collect();
    assert_eq!(order, [0, 1, 2]);
    for got in &got {
        assert!(got.mark.ends_with(";spooled"), "{}", got.mark);
        assert_eq!(got.recipients, ["a1@example.org", "a2@example.org"]);
    }
    assert_eq!(here.waiting(), 0);
}

/// Each part of a message has one id on both ways, also where some of its recipients see it as junk; and no memory but the spool's is needed for that.
#[test]
fn a_direct_try_without_an_answer_and_its_hand_over_have_one_id() {
    for protocol in [Protocol::Lmtp, Protocol::Smtp, Protocol::Qmqp] {
        let here = Place::new();
        let hung = here
            .world
            .node(0, Script::new(protocol).hanging(Stage::End));
        let (afar, settings) = here.world.keeper(&[protocol]);
        let front = here.front(&afar);
        let delivered = deliver_to(&front, 1, &[1, 2], &[2]);
        assert_eq!(here.world.sim.block_on(delivered), [true; 2]);
        assert_eq!(here.waiting(), 2, "a part each");
        assert!(settings.doubts.count() > 0);
        drop((front, afar, settings));

        // Another process: what was in memory is gone.
        let node = here.world.node(1, Script::new(protocol));
        let afar = here.world.other_keeper(protocol);
        let mut drain = here.drain(&afar);
        while here.waiting() > 0 {
            assert_eq!(here.world.sim.block_on(drain.round()), Round::Moved);
        }
        let (direct, spooled) = (hung.got(), node.got());
        let with_word = format!("{};spooled", direct[0].mark);
        let for_whom = |is_junk: bool| {
            let mut parts = spooled.iter();
            let part = parts.find(|got| got.mark.contains(";junk") == is_junk);
            part.expect("it came").clone()
        };
        assert_eq!(for_whom(false).mark, with_word, "{protocol:?}");
        assert_eq!(for_whom(false).recipients, ["a1@example.org"]);
        assert_eq!(for_whom(true).recipients, ["a2@example.org"]);
        assert_eq!(spooled.len(), 2);
    }
}

/// The spool was full at a sender's first try, whose answer was lost, and takes the second one: the hand-over has the id of the first.
#[test]
fn a_doubt_of_an_earlier_try_goes_with_the_message_into_the_spool() {
    let here = Place::new();
    let hung = here
        .world
        .node(0, Script::new(Protocol::Lmtp).hanging(Stage::End));
    let (afar, settings) = here.world.keeper(&[Protocol::Lmtp]);
    let front = here.front(&afar);
    here.world.sim.block_on(async {
        let host = here.world.host();
        // Without the spool.
        let given_up = host.within(Duration::from_secs(2), deliver(&afar, 1, &[1], &[]));
        assert_eq!(given_up.await, None);
        assert_eq!(settings.doubts.count(), 1);
        // Its next try finds the node silent as well; then the spool has it.
        assert_eq!(deliver_to(&front, 2, &[1], &[]).await, [true]);
    });
    assert_eq!((hung.got().len(), here.waiting()), (2, 1));
    assert_eq!(hung.got()[0].mark, hung.got()[1].mark);
    // A third one is spooled without any direct try, since one waits.
    let third = deliver_to(&front, 3, &[1], &[]);
    assert_eq!(here.world.sim.block_on(third), [true]);
    assert_eq!((hung.got().len(), here.waiting()), (2, 2));

    // Only the node that may have it is asked, and it does not answer yet.
    let mut drain = here.drain(&afar);
    assert_eq!(here.world.sim.block_on(drain.round()), Round::Later);
    let with_word = format!("{};spooled", hung.got()[0].mark);
    assert_eq!(hung.got()[2].mark, with_word);
    assert_eq!(here.waiting(), 2);
}

#[test]
fn a_group_does_not_wait_for_who_may_post_is_not_known() {
    let here = Place::new();
    let (afar, settings) = here.world.keeper(&[Protocol::Lmtp]);
    let draft = Draft {
        domains: vec![("example.org".to_owned(), Rest::default())],
        addresses: vec![
            ("a1@example.org".to_owned(), Sign::Listed),
            ("a2@example.org".to_owned(), Sign::Group),
        ],
    };
    let bytes = draft.encode().expect("it fits");
    let table = Recipients::decode(bytes.into()).expect("well-formed");
    settings.table.remember(table);
    let front = here.front(&afar);
    let submission = |number: u32, accounts: &[AccountId]| Submission {
        body: body(number),
        internal_date: InternalDate::utc(1),
        here: Vec::new(),
        junk: Vec::new(),
        elsewhere: envelope(accounts),
    };
    here.world.sim.block_on(async {
        let span = tracing::Span::none();
        let alias = front.submit(submission(1, &[AccountId(1)]), &span).await;
        assert_eq!((alias, here.waiting()), (Ok(Ok(())), 1));
        let both = submission(2, &[AccountId(1), AccountId(2)]);
        let group = front.submit(both, &span).await;
        let is_deferred = matches!(group, Ok(Err(MailboxFault::Unavailable(_))));
        assert!(is_deferred, "{group:?}");
        assert_eq!(here.waiting(), 1);
    });
}

/// Whatever it is that the node says of it.
#[test]
fn what_a_node_refuses_for_good_stays_and_holds_up_nothing() {
    let (to, lmtp, qmqp) = ("RCPT TO:<a1@example.org>", Protocol::Lmtp, Protocol::Qmqp);
    for (protocol, script, refusal) in [
        (lmtp, to, "550 5.7.1 relaying denied"),
        (lmtp, to, "554 5.4.6 too many hops"),
        (qmqp, "a1@example.org", "554 5.4.6 too many hops"),
    ] {
        let here = Place::new();
        let (afar, settings) = here.world.keeper(&[protocol]);
        let front = here.front(&afar);
        here.world.sim.block_on(async {
            assert_eq!(deliver_to(&front, 1, &[1], &[]).await, [true]);
            assert_eq!(deliver_to(&front, 2, &[2], &[]).await, [true]);
        });
        drop((front, settings));
        let script = Script::new(protocol).answering(script, refusal);
        let node = here.world.node(1, script);
        let afar = here.world.other_keeper(protocol);
        let mut drain = here.drain(&afar);
        assert_eq!(here.world.sim.block_on(drain.round()), Round::Moved);
        let gauges = here.spool.gauges();
        let counts = (gauges.waiting(), gauges.stuck());
        assert_eq!(counts, (1, 1), "{refusal}");
        let got = node.got();
        let other = got
            .iter()
            .filter(|got| got.recipients == ["a2@example.org"]);
        assert_eq!(other.count(), 1, "the other one");
        assert!(!gauges.waits(), "new mail goes straight to storage");
    }
}

#[test]
fn a_doubt_stays_with_the_sender_where_the_spool_is_full() {
    let here = Place::of(1);
    let hung = here
        .world
        .node(0, Script::new(Protocol::Lmtp).hanging(Stage::End));
    let (afar, settings) = here.world.keeper(&[Protocol::Lmtp]);
    let front = here.front(&afar);
    here.world.sim.block_on(async {
        let host = here.world.host();
        let given_up = host.within(Duration::from_secs(2), deliver(&afar, 1, &[1], &[]));
        assert_eq!(given_up.await, None);
        // Another message fills the spool.
        assert_eq!(deliver_to(&front, 2, &[2], &[]).await, [true]);
        assert_eq!(settings.doubts.count(), 2);
        assert_eq!(deliver_to(&front, 3, &[1], &[]).await, [false]);
        let given_up = host.within(Duration::from_secs(2), deliver(&afar, 4, &[1], &[]));
        assert_eq!(given_up.await, None);
    });
    let got = hung.got();
    assert_eq!(got.len(), 3, "the first, the other one, and the last");
    assert_eq!(got[0].mark, got[2].mark);
    assert_ne!(got[0].mark, got[1].mark);
}

/// What a node deferred at RCPT it does not have, and what it took under the same id does not answer for that one: storage would say that all of it is there.
#[test]
fn one_that_is_deferred_beside_others_that_were_taken_has_a_hand_over_of_its_own() {
    for protocol in [Protocol::Lmtp, Protocol::Smtp] {
        for stage in [None, Some(Stage::End)] {
            let here = Place::new();
            let busy = "451 4.3.2 busy";
            let script = Script::new(protocol).answering("RCPT TO:<a2@example.org>", busy);
            let script = stage.map_or(script.clone(), |stage| script.hanging(stage));
            let node = here.world.node(0, script);
            let (afar, settings) = here.world.keeper(&[protocol]);
            let front = here.front(&afar);
            let delivered = deliver_to(&front, 1, &[1, 2], &[]);
            assert_eq!(here.world.sim.block_on(delivered), [true; 2]);
            assert_eq!(here.waiting(), 1);
            drop((front, settings));

            let other = here.world.node(1, Script::new(protocol));
            let later = here.world.other_keeper(protocol);
            let mut drain = here.drain(&later);
            assert_eq!(here.world.sim.block_on(drain.round()), Round::Moved);
            let (direct, spooled) = (node.got(), other.got());
            assert_eq!((direct.len(), spooled.len()), (1, 1));
            assert_eq!(direct[0].recipients, ["a1@example.org"]);
            // Without an answer it is for both, and one of them may have two copies.
            let waited = match stage {
                None => &["a2@example.org"][..],
                Some(_) => &["a1@example.org", "a2@example.org"],
            };
            assert_eq!(spooled[0].recipients, waited);
            let with_word = format!("{};spooled", direct[0].mark);
            assert_ne!(spooled[0].mark, with_word, "{protocol:?} {stage:?}");
        }
    }
}

/// Another storage node may be asked first at the next start, and does not know the id.
#[test]
fn a_stop_waits_for_the_answer_to_what_is_handed_over() {
    let here = Place::new();
    let (afar, settings) = here.world.keeper(&[Protocol::Lmtp]);
    let front = here.front(&afar);
    here.world.sim.block_on(async {
        assert_eq!(deliver_to(&front, 1, &[1], &[]).await, [true]);
    });
    drop((front, settings));
    let script = Script::new(Protocol::Lmtp).pausing(Duration::from_secs(3));
    let node = here.world.node(1, script);
    let (afar, stop) = (here.world.other_keeper(Protocol::Lmtp), Stop::new());
    let (host, spool) = (here.world.host(), here.spool.clone());
    let drained = crate::spool::drain(host, spool, afar, stop.clone());
    here.world.sim.io().host.spawn(Box::pin(drained));
    here.wait_s(1);
    assert_eq!((node.got().len(), here.waiting()), (1, 1));
    stop.request();
    here.wait_s(9);
    assert_eq!((node.got().len(), here.waiting()), (1, 0));
}
