//! The spool of a real daemon: mail that storage does not take waits in it, and comes into the mailboxes once and in order.
//!
//! Storage is made full by mail to Alice; Bob's letters then go to the spool. Room is made by expunging what Alice has.

use std::fs::{self, OpenOptions};
use std::time::Duration;

use mua::smtp::Reply;
use serde_json::Value;

use crate::connect;
use crate::daemon::{ALICE, BOB, Daemon, Home, PASSWORD, said};
use crate::ledger::Ledger;
use crate::outage::wait_until;

/// Longer than the drain's longest pause: what waits then waits because storage takes nothing.
const DRAIN_PAUSE: Duration = Duration::from_secs(6);

fn small() -> Home {
    Home::with_leg_size("64MiB")
}

fn spool(home: &Home) -> Value {
    let shown = home.ctl_ok(&["--json", "spool", "show"]);
    serde_json::from_str(&shown).expect("one JSON document")
}

fn waiting(home: &Home) -> u64 {
    spool(home)["waiting"].as_u64().expect("a number")
}

/// A message that no compression makes smaller.
fn send_large(home: &Home, to: &str, number: usize) -> Reply {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let mut content = format!("Subject: large {number}\r\n\r\n");
    while content.len() < 1 << 20 {
        content.extend((0..72).map(|_| random.alphanumeric()));
        content.push_str("\r\n");
    }
    let mut smtp = connect::smtp(home.smtp()).expect("the daemon listens");
    smtp.send(&[to], &content).expect("the connection holds")
}

fn send(home: &Home, to: &str, subject: &str) -> Reply {
    let mut smtp = connect::smtp(home.smtp()).expect("the daemon listens");
    let content = format!("Subject: {subject}\r\n\r\nbody of {subject}\r\n");
    smtp.send(&[to], &content).expect("the connection holds")
}

/// Sends to Alice until the volume takes no more: what comes then stays in the spool.
fn fill(home: &Home) {
    for number in 0..200 {
        let reply = send_large(home, ALICE, number);
        assert!(reply.code == 250, "{reply}");
        if waiting(home) >= 2 {
            std::thread::sleep(DRAIN_PAUSE);
            if waiting(home) >= 2 {
                return;
            }
        }
    }
    panic!("the volume is never full");
}

/// Alice reads everything and expunges it.
fn make_room(home: &Home) {
    let mut imap = connect::imap(home.imap(), ALICE, PASSWORD).expect("login on a full volume");
    imap.select("INBOX").expect("INBOX on a full volume");
    imap.command("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
        .expect("a deletion has room");
    imap.command("EXPUNGE").expect("a deletion has room");
}

fn wait_until_empty(home: &Home) {
    wait_until("the spool is empty", || waiting(home) == 0);
}

/// Subjects in Bob's INBOX, in order.
fn inbox(home: &Home) -> Vec<String> {
    let mut imap = connect::imap(home.imap(), BOB, PASSWORD).expect("login");
    imap.select("INBOX").expect("INBOX");
    let messages = imap.messages().expect("FETCH");
    let subject = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (_, rest) = text.split_once("\r\nSubject: ").expect("a subject");
        rest.split("\r\n").next().expect("a line").to_owned()
    };
    messages.iter().map(|each| subject(&each.bytes)).collect()
}

fn letters(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("letter {number}"))
        .collect()
}

fn post(home: &Home, letters: &[String]) {
    for letter in letters {
        let reply = send(home, BOB, letter);
        assert!(reply.code == 250, "{reply}");
    }
}

/// The whole way: full, spooled with a 250, room, handed over once and in order, kept, lost by an accident, and back.
#[test]
fn mail_for_a_full_volume_waits_and_comes_once_and_in_order() {
    let home = small();
    let _daemon = home.start();
    assert_eq!(spool(&home)["state"], "empty");
    // Who Bob is was looked up while storage was well.
    post(&home, &["before".to_owned()]);
    fill(&home);
    let letters = letters(8);
    post(&home, &letters);
    assert!(inbox(&home).len() < 1 + letters.len(), "some of them wait");
    let status = home.ctl_ok(&["status"]);
    assert!(status.contains("spool: holding"), "{status}");
    let listed = home.ctl_ok(&["spool", "list"]);
    assert!(listed.contains("waiting"), "{listed}");

    make_room(&home);
    wait_until_empty(&home);
    let mut wanted = vec!["before".to_owned()];
    wanted.extend(letters.clone());
    assert_eq!(inbox(&home), wanted);
    let trace = home.ctl_ok(&["trace", "--to", BOB]);
    assert!(trace.contains("spooled until storage takes it"), "{trace}");
    assert!(trace.contains("handed over from the spool"), "{trace}");

    // Bob's letters are lost, except the last one.
    assert!(spool(&home)["kept"].as_u64().expect("a number") >= 2);
    let mut imap = connect::imap(home.imap(), BOB, PASSWORD).expect("login");
    imap.select("INBOX").expect("INBOX");
    let all_but_one = format!("STORE 1:{} +FLAGS.SILENT (\\Deleted)", letters.len());
    imap.command(&all_but_one).expect("OK");
    imap.command("EXPUNGE").expect("OK");
    let again = home.ctl_ok(&["spool", "redeliver", "--since", "2h"]);
    assert!(again.contains("copies wait for storage again"), "{again}");
    wait_until_empty(&home);
    let back = inbox(&home);
    let mut once = back.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), back.len(), "nothing is there twice: {back:?}");
    assert!(back.len() > 2, "{back:?}");
    assert_eq!(back[0], letters[7]);
    let returned: Vec<&String> = back[1..].iter().collect();
    assert!(returned.is_sorted(), "in order: {back:?}");
}

/// kill -9 while mail waits, and in the middle of the drain: each letter is there once.
#[test]
fn kills_while_mail_waits_and_during_the_drain_lose_and_double_nothing() {
    let home = small();
    let ledger = Ledger::of(BOB);
    let daemon = home.start();
    ledger.fill(home.smtp(), 1, 500);
    fill(&home);
    ledger.fill(home.smtp(), 60, 20_000);
    let before = waiting(&home);
    assert!(before > 2, "{before}");
    daemon.kill();

    let daemon = home.start();
    assert!(
        daemon.words().contains("messages wait in it"),
        "{}",
        daemon.words()
    );
    assert!(waiting(&home) > 0);
    make_room(&home);
    daemon.kill();
    for pause_ms in [0, 30, 200] {
        let daemon = home.start();
        std::thread::sleep(Duration::from_millis(pause_ms));
        daemon.kill();
    }
    let _daemon = home.start();
    wait_until_empty(&home);
    ledger.check(&home);
}

/// Neither takes more: the sender is to come again, and nothing that was taken is given up.
#[test]
fn a_full_spool_defers_with_452() {
    let home = small();
    let _daemon = home.start();
    post(&home, &["before".to_owned()]);
    fill(&home);
    let refused = (1_000..1_200)
        .map(|number| send_large(&home, ALICE, number))
        .find(|reply| reply.code != 250);
    let refused = refused.expect("the spool is never full");
    let text = refused.to_string();
    assert!(refused.code == 452 && text.contains("4.3.1"), "{text}");
    let full = waiting(&home);
    assert!(full > 2, "{full}");
    make_room(&home);
    wait_until("what waits becomes less", || waiting(&home) < full);
    make_room(&home);
    wait_until("the spool is empty", || {
        make_room(&home);
        waiting(&home) == 0
    });
    assert_eq!(send(&home, BOB, "after").code, 250);
    // Storage may still be making room: then this one takes the way through the spool too.
    wait_until("all of it is there, once and in order", || {
        inbox(&home) == ["before", "after"]
    });
}

#[test]
fn a_clean_stop_and_a_start_keep_what_waits() {
    let home = small();
    let daemon = home.start();
    post(&home, &["before".to_owned()]);
    fill(&home);
    post(&home, &letters(4));
    let before = waiting(&home);
    assert_eq!(daemon.stop().code(), Some(0));
    let _daemon = home.start();
    assert_eq!(waiting(&home), before);
    make_room(&home);
    wait_until_empty(&home);
    assert_eq!(inbox(&home)[1..], letters(4));
}

/// One leg of the spool fails while mail waits; it is brought back, and nothing is lost with the other one.
#[test]
fn a_spool_with_one_leg_goes_on_and_gets_it_back() {
    let home = small();
    let daemon = home.start();
    post(&home, &["before".to_owned()]);
    fill(&home);
    home.ctl_ok(&["spool", "leg", "fail", "1"]);
    post(&home, &letters(3));
    let status = home.ctl_ok(&["status"]);
    assert!(status.contains("legs of the spool"), "{status}");
    daemon.kill();
    let lost = home.state().join("spool-b");
    fs::remove_file(&lost).expect("our own file");
    let _daemon = home.start();
    assert!(waiting(&home) > 2);
    let attached = home.ctl(&["spool", "leg", "attach", &lost.to_string_lossy()]);
    assert!(attached.status.success(), "{}", said(&attached));
    wait_until("both legs are in sync", || {
        home.ctl_ok(&["spool", "leg", "list"])
            .matches("in_sync")
            .count()
            == 2
    });
    home.ctl_ok(&["spool", "scrub"]);
    make_room(&home);
    wait_until_empty(&home);
    assert_eq!(inbox(&home)[1..], letters(3));
}

/// Both legs of the spool go: storage takes mail as ever, and the operator sees what is wrong, also after a start.
#[test]
fn mail_goes_straight_to_storage_when_the_spool_is_broken() {
    let home = Home::with_leg_size("128MiB");
    let daemon = home.start();
    post(&home, &letters(1));
    let legs = ["spool-a", "spool-b"].map(|name| home.state().join(name));
    for leg in &legs {
        let file = OpenOptions::new().write(true).open(leg);
        file.and_then(|file| file.set_len(0)).expect("our own file");
    }
    wait_until("the spool is away", || spool(&home)["state"] == "away");
    let status = home.ctl_ok(&["status"]);
    assert!(
        status.contains("ALARM: the spool takes nothing"),
        "{status}"
    );
    assert_eq!(send(&home, BOB, "letter 1").code, 250);
    assert_eq!(inbox(&home), letters(2));
    daemon.stop();
    let daemon: Daemon = home.start();
    assert!(
        daemon.words().contains("the spool cannot be opened"),
        "{}",
        daemon.words()
    );
    assert_eq!(spool(&home)["state"], "unopened");
    let status = home.ctl_ok(&["status"]);
    assert!(status.contains("ALARM: there is no spool"), "{status}");
    assert_eq!(send(&home, BOB, "letter 2").code, 250);
    assert_eq!(inbox(&home), letters(3));
    assert_eq!(daemon.stop().code(), Some(0));
}
