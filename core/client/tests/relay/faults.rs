//! Servers and names that fail, each in its own way: every one of them has an outcome, and none holds up another.

use std::net::SocketAddr;
use std::time::Duration;

use runtime::dial::memory::Manner;

use crate::rig::{Disks, MX, Rig, run};
use crate::server::{Answer, Script, say};

fn close(text: &str) -> Option<Answer> {
    Some(Answer::SayAndClose(text.to_owned()))
}

fn long() -> Option<Answer> {
    Some(Answer::Say("2".repeat(64 * 1_024)))
}

const SILENCE: Option<Answer> = Some(Answer::Silence);

/// What each server does wrong, and what its message's state says: `gone` is a failure, of which alice hears.
fn servers() -> Vec<(&'static str, Script, &'static str)> {
    vec![
        ("no-greeting", Script::at("", SILENCE), "4.4.2"),
        (
            "greets-554",
            Script::at("", say("554 5.3.2 no service")),
            "gone",
        ),
        ("greets-421", Script::at("", say("421 4.3.2 busy")), "421"),
        (
            "greets-450",
            Script::at("", say("450 4.7.1 come again")),
            "450",
        ),
        ("closes-at-once", Script::at("", close("")), "4.4.2"),
        ("ehlo-silent", Script::at("EHLO", SILENCE), "4.4.2"),
        (
            "ehlo-closes",
            Script::at("EHLO", close("250-mx\r\n")),
            "4.4.2",
        ),
        (
            "mail-451",
            Script::at("MAIL", say("451 4.3.0 later")),
            "451",
        ),
        (
            "mail-550",
            Script::at("MAIL", say("550 5.7.1 not you")),
            "gone",
        ),
        ("mail-silent", Script::at("MAIL", SILENCE), "4.4.2"),
        (
            "rcpt-450",
            Script::at("RCPT", say("450 4.2.1 greylisted")),
            "450",
        ),
        (
            "rcpt-550",
            Script::at("RCPT", say("550 5.1.1 no such user")),
            "gone",
        ),
        ("rcpt-354", Script::at("RCPT", say("354 what")), "354"),
        (
            "data-451",
            Script::at("DATA", say("451 4.3.0 later")),
            "451",
        ),
        (
            "data-250",
            Script::at("DATA", say("250 taken, they say")),
            "250",
        ),
        ("data-silent", Script::at("DATA", SILENCE), "4.4.2"),
        ("content-silent", Script::at(".", SILENCE), "4.4.2"),
        ("content-closes", Script::at(".", close("250 2.0")), "4.4.2"),
        ("content-452", Script::at(".", say("452 4.3.1 full")), "452"),
        (
            "content-552",
            Script::at(".", say("552 5.3.4 too large")),
            "gone",
        ),
        (
            "content-421",
            Script::at(".", say("421 4.3.2 going down")),
            "421",
        ),
        ("content-long", Script::at(".", long()), "4.5.0"),
        (
            "mixed-codes",
            Script::at(".", say("250-ok\r\n550 or not")),
            "4.5.0",
        ),
        (
            "no-smtp",
            Script::at("MAIL", say("HTTP/1.1 400 Bad Request")),
            "4.5.0",
        ),
        ("binary", Script::at("", say("\u{0}\u{1}\u{2}")), "4.5.0"),
        ("small", Script::usual().offering(&["SIZE 10"]), "gone"),
        ("closes-rcpt", Script::at("RCPT", close("250 2.1")), "4.4.2"),
    ]
}

async fn all_fail(rig: &Rig, live: &crate::server::Server) {
    let alice = rig.alice().await;
    let mut put = Vec::new();
    for (index, (name, script, wanted)) in servers().into_iter().enumerate() {
        let domain = format!("{name}.example");
        rig.server(&domain, 10 + index as u8, script);
        put.push((rig.put(name, &[&format!("x@{domain}")]).await, name, wanted));
    }
    // Names that fail, and addresses where nothing is.
    let at = |last: u8| SocketAddr::from(([192, 0, 2, last], 25));
    for (name, last, manner, wanted) in [
        ("refuses", 200, Manner::Refuses, "4.4.1"),
        ("unreachable", 201, Manner::Unreachable, "4.4.1"),
        ("hangs", 202, Manner::Hangs, "4.4.1"),
    ] {
        let domain = format!("{name}.example");
        rig.server(&domain, last, Script::usual());
        rig.dial.set(at(last), manner);
        put.push((rig.put(name, &[&format!("x@{domain}")]).await, name, wanted));
    }
    rig.names.set_exchangers("null.example", &[(0, ".")]);
    rig.names.set_failing("servfail.example", Some("SERVFAIL"));
    rig.names
        .set_slow("slow.example", Duration::from_secs(3_600));
    rig.names
        .set_exchangers("loop.example", &[(10, "mx.example.org")]);
    for (name, wanted) in [
        ("null", "gone"),
        ("absent", "gone"),
        ("servfail", "4.4.3"),
        ("slow", "4.4.3"),
        ("loop", "gone"),
    ] {
        put.push((
            rig.put(name, &[&format!("x@{name}.example")]).await,
            name,
            wanted,
        ));
    }
    // None of them holds up who answers.
    rig.put("live", &["x@live.example"]).await;
    rig.until(5, "the live one arrives", || live.count() == 1)
        .await;
    // The longest step is the greeting with what follows it, ten minutes, or the end of the content.
    rig.sleep(1_500).await;
    for (id, name, wanted) in &put {
        let reply = rig.reply(*id);
        assert!(reply.starts_with(wanted), "{name}: {reply}");
        if let Some(entry) = rig.entry(*id) {
            let next = entry.next_try().expect("it waits");
            assert!(
                next.0 < rig.now().0 + 3_600,
                "{name} is tried again within the hour"
            );
        }
    }
    let failed = put.iter().filter(|(_, _, wanted)| *wanted == "gone");
    let reports = rig.inbox(alice).await;
    for (_, name, _) in failed.clone() {
        let of_it = |text: &&String| text.contains(&format!("Subject: {name}\r\n"));
        assert_eq!(reports.iter().filter(of_it).count(), 1, "{name}");
    }
    assert_eq!(reports.len(), failed.count());
}

#[test]
fn every_fault_has_its_outcome_and_holds_up_nobody_else() {
    run(|rig| async move {
        let live = rig.server("live.example", 1, Script::usual());
        let running = rig.send(MX);
        all_fail(&rig, &live).await;
        // Whatever they did: no memory is held for it.
        rig.until(700, "memory comes back", || {
            running.memory.used_bytes() == 0
        })
        .await;
    });
}

/// Greylisting: the second try, some minutes later, is taken.
#[test]
fn a_server_that_wants_to_be_asked_twice_is_asked_twice() {
    run(|rig| async move {
        let asked = std::cell::Cell::new(false);
        let script = Script::with(move |line| match line.starts_with("RCPT") {
            true if !asked.replace(true) => say("450 4.2.0 greylisted"),
            _ => None,
        });
        let server = rig.server("a.example", 1, script);
        let running = rig.send(MX);
        let id = rig.put("hello", &["x@a.example"]).await;
        rig.until(400, "it arrives", || server.count() == 1).await;
        rig.until(5, "it is noted", || rig.entry(id).is_none())
            .await;
        rig.at_rest(&running).await;
    });
}

/// A content that needs what the server does not offer comes back at once, and is not changed.
#[test]
fn what_a_server_cannot_take_comes_back() {
    run(|rig| async move {
        let alice = rig.alice().await;
        let server = rig.server("old.example", 1, Script::usual().offering(&["PIPELINING"]));
        let _running = rig.send(MX);
        for (mark, text) in [("5.6.3", "eight"), ("5.6.7", "utf8"), ("5.7.30", "tls")] {
            let mut envelope = rig.envelope("alice@example.org", &["x@old.example"]);
            envelope.terms.is_eight_bit = text == "eight";
            envelope.terms.is_utf8 = text == "utf8";
            envelope.terms.needs_tls = text == "tls";
            let id = rig.submit(text, envelope).await;
            rig.until(5, text, || rig.entry(id).is_none()).await;
            rig.sleep(5).await;
            let reports = rig.inbox(alice).await;
            assert!(reports.last().expect("one").contains(mark), "{mark}");
        }
        assert_eq!(server.count(), 0);
    });
}

/// What is given up after five days was tried to the end, and its sender heard of it on the way and in the end.
#[test]
fn a_dead_server_is_tried_for_days_with_a_warning_in_between() {
    let disks = Disks::new(1);
    let rig = disks.world.block_on(disks.open());
    rig.server("dead.example", 1, Script::usual());
    rig.dial
        .set(SocketAddr::from(([192, 0, 2, 1], 25)), Manner::Hangs);
    let (alice, id, running) = disks.world.block_on(async {
        let (alice, running) = (rig.alice().await, rig.send(MX));
        (alice, rig.put("hello", &["x@dead.example"]).await, running)
    });
    disks.pass(5);
    let reports = disks.world.block_on(rig.inbox(alice));
    assert_eq!(reports.len(), 1);
    assert!(reports[0].contains("Action: delayed\r\n") && reports[0].contains("4.4.1"));
    assert!(rig.entry(id).expect("it waits").warned);
    disks.pass(5 * 24);
    let reports = disks.world.block_on(rig.inbox(alice));
    assert_eq!(reports.len(), 2, "one warning, one failure");
    assert!(reports[1].contains("Action: failed\r\n") && reports[1].contains("Status: 5.4.7"));
    let dialled = rig.dial.dialled();
    assert!((20..80).contains(&dialled), "{dialled} tries");
    disks.world.block_on(rig.at_rest(&running));
}
