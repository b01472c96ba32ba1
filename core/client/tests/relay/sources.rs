//! Conversations come from the addresses and under the names that the operator gives.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use client::relay::Source;

use crate::rig::{MX, run};
use crate::server::{Answer, Script};

fn source(last: u8) -> Source {
    Source {
        name: format!("out{last}.example.org"),
        ipv4: Some(ip(last)),
        ..Source::default()
    }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([198, 51, 100, last])
}

/// Keeps every EHLO, and refuses in its place where `refuses` says so.
fn script(refuses: &'static str, answer: &'static str) -> (Script, Rc<RefCell<Vec<String>>>) {
    let said: Rc<RefCell<Vec<String>>> = Rc::default();
    let kept = said.clone();
    let script = Script::with(move |line| {
        let name = line.strip_prefix("EHLO ").or(line.strip_prefix("HELO "))?;
        kept.borrow_mut().push(name.to_owned());
        let refused = name == refuses;
        refused.then(|| Answer::Say(answer.to_owned()))
    });
    (script, said)
}

#[test]
fn a_message_leaves_from_the_pool_of_its_sender_also_when_a_connection_is_open() {
    run(|rig| async move {
        let (script, said) = script("", "");
        let server = rig.server("a.example", 1, script);
        let news = Source {
            senders: vec!["news@example.org".to_owned()],
            ..source(2)
        };
        let running = rig.send_from(MX, vec![source(1), news]);
        for (from, count) in [("alice", 1), ("alice", 2), ("news", 3), ("alice", 4)] {
            let envelope = rig.envelope(&format!("{from}@example.org"), &["bob@a.example"]);
            rig.submit("hello", envelope).await;
            rig.until(5, "it arrives", || server.count() == count).await;
        }
        let (one, two) = ("out1.example.org", "out2.example.org");
        assert_eq!(*said.borrow(), [one, two, one]);
        assert_eq!(rig.dial.sources(), [Some(ip(1)), Some(ip(2)), Some(ip(1))]);
        let counted = &running.counters.sources;
        let begun: Vec<u64> = counted
            .iter()
            .map(|one| one.conversations.load(Relaxed))
            .collect();
        assert_eq!(begun, [2, 1]);
        rig.at_rest(&running).await;
    });
}

#[test]
fn a_source_that_a_site_refuses_gives_way_to_the_next_one_and_comes_last() {
    run(|rig| async move {
        let (script, said) = script("out1.example.org", "554 5.7.1 you are on a list");
        let server = rig.server("a.example", 1, script);
        let running = rig.send_from(MX, vec![source(1), source(2)]);
        for count in 1..=3 {
            rig.put("hello", &["bob@a.example"]).await;
            rig.until(5, "it arrives", || server.count() == count).await;
            // The connection ends, so that each message needs one.
            rig.sleep(20).await;
        }
        let refused = said
            .borrow()
            .iter()
            .filter(|name| *name == "out1.example.org")
            .count();
        assert!(refused <= 2, "EHLO and HELO of one conversation: {said:?}");
        let one = &running.counters.sources[0];
        let counts = (one.refused.load(Relaxed), one.resting.load(Relaxed));
        assert_eq!(counts, (1, 1));
        rig.at_rest(&running).await;
    });
}

#[test]
fn an_address_that_is_not_here_is_left_out_and_without_any_the_message_waits() {
    run(|rig| async move {
        let (script, said) = script("", "");
        let server = rig.server("a.example", 1, script);
        rig.dial.set_absent(ip(1), true);
        let running = rig.send_from(MX, vec![source(1), source(2)]);
        for count in 1..=3 {
            rig.put("hello", &["bob@a.example"]).await;
            rig.until(5, "it arrives", || server.count() == count).await;
            rig.sleep(20).await;
        }
        assert!(said.borrow().iter().all(|name| name == "out2.example.org"));
        assert_eq!(running.counters.sources[0].unavailable.load(Relaxed), 1);
        rig.dial.set_absent(ip(2), true);
        let id = rig.put("hello", &["bob@a.example"]).await;
        rig.until(5, "it was tried", || rig.reply(id).contains("4.3.0"))
            .await;
        assert_eq!(server.count(), 3);
        rig.dial.set_absent(ip(2), false);
        rig.until(7_200, "it arrives", || server.count() == 4).await;
        rig.at_rest(&running).await;
    });
}

/// Where a site refuses every source for good, the sender gets a report, as without sources.
#[test]
fn a_refusal_of_every_source_is_the_answer() {
    run(|rig| async move {
        let script = Script::at("", Some(Answer::Say("554 5.7.1 go away".to_owned())));
        let _server = rig.server("a.example", 1, script);
        let running = rig.send_from(MX, vec![source(1), source(2)]);
        rig.alice().await;
        rig.put("hello", &["bob@a.example"]).await;
        rig.until(30, "it fails", || {
            running.counters.failed.load(Relaxed) == 1
        })
        .await;
        let refused = running.counters.sources.iter();
        let refused: Vec<u64> = refused.map(|one| one.refused.load(Relaxed)).collect();
        assert_eq!(refused, [1, 1]);
    });
}

/// Two sources, and the site says to one of them that it may come again: that may pass, whatever it says to the other one.
#[test]
fn a_refusal_for_good_of_one_source_is_no_answer_where_another_may_come_again() {
    run(|rig| async move {
        let script = Script::with(|line| {
            let name = line.strip_prefix("EHLO ").or(line.strip_prefix("HELO "))?;
            Some(Answer::Say(match name {
                "out1.example.org" => "450 4.7.1 come again".to_owned(),
                _ => "554 5.7.1 you are on a list".to_owned(),
            }))
        });
        let _server = rig.server("a.example", 1, script);
        let running = rig.send_from(MX, vec![source(1), source(2)]);
        rig.alice().await;
        let id = rig.put("hello", &["bob@a.example"]).await;
        let both = || {
            let all = running.counters.sources.iter();
            all.filter(|one| one.refused.load(Relaxed) > 0).count() == 2
        };
        rig.until(30, "both were tried", both).await;
        rig.until(30, "it is noted", || rig.reply(id).contains("come again"))
            .await;
        assert_eq!(running.counters.failed.load(Relaxed), 0);
    });
}

/// The source of one sender is on a site's list. The mail of the others leaves from another one, and none of it fails or waits.
#[test]
fn what_a_site_says_to_one_pool_is_not_the_answer_to_another_one() {
    for answer in ["554 5.7.1 you are on a list", "450 4.7.1 come again"] {
        run(|rig| async move {
            let (script, _) = script("out2.example.org", answer);
            let server = rig.server("a.example", 1, script);
            // With the first one the site answers, so that all others are given to it at once; the news come first of them.
            let senders = ["alice", "news"].into_iter().chain(["alice"; 20]);
            for from in senders {
                let envelope = rig.envelope(&format!("{from}@example.org"), &["bob@a.example"]);
                rig.submit("hello", envelope).await;
            }
            let news = Source {
                senders: vec!["news@example.org".to_owned()],
                ..source(2)
            };
            let running = rig.send_from(MX, vec![source(1), news]);
            rig.until(30, "the others' mail arrives", || server.count() == 21)
                .await;
            assert!(running.counters.sources[1].refused.load(Relaxed) > 0);
            // The news, and the report about them: their sender has no mailbox here.
            let failed = running.counters.failed.load(Relaxed);
            assert!(failed <= 2, "{failed} failed");
        });
    }
}
