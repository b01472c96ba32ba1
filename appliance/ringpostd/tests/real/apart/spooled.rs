//! A spool of its own in front of storage nodes: mail is taken while they are away, and comes once and in order when one is back.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::*;
use crate::connect;

/// `[[inbound.storage]]` and `[spool]` of a node.
fn with_spool(front: &Home, node: &str) -> String {
    let legs = ["spool-a", "spool-b"].map(|name| front.directory.path().join(name));
    format!("{node}[spool]\nlegs = {legs:?}\nleg_size = \"64MiB\"\ncreate = true\n")
}

fn front_with_spool(peers: &str, node: &str) -> (Home, Daemon) {
    let home = Home::new();
    let nodes = with_spool(&home, node);
    configure(&home, peers, &nodes);
    let daemon = home.start();
    (home, daemon)
}

fn waiting(front: &Home) -> u64 {
    let shown = front.ctl_ok(&["--json", "spool", "show"]);
    let shown: Value = serde_json::from_str(&shown).expect("one JSON document");
    shown["waiting"].as_u64().expect("a number")
}

fn until_empty(front: &Home) {
    until(
        "the spool is empty",
        || waiting(front).to_string(),
        |count| count == "0",
    );
}

/// Subjects in dora's INBOX, in order.
fn inbox(storage: &Home) -> Vec<String> {
    let mut imap = connect::imap(storage.imap(), DORA, "a secret").expect("login");
    imap.select("INBOX").expect("INBOX");
    let messages = imap.messages().expect("FETCH");
    let subject = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (_, rest) = text.split_once("\r\nSubject: ").expect("a subject");
        rest.split("\r\n").next().expect("a line").to_owned()
    };
    messages.iter().map(|each| subject(&each.bytes)).collect()
}

#[test]
fn mail_is_taken_while_storage_is_away_and_comes_once_and_in_order() {
    let authority = Authority::new();
    let (storage, daemon) = storage(&authority, "");
    add(&storage, ANNA);
    let words = ["alias", "add", "both@example.com", ANNA, DORA];
    storage.ctl_ok(&words);
    storage.ctl_ok(&["group", "make", "team@example.com", "--owner", DORA]);
    let node = node("lmtp", storage.at(LMTP), storage.at(TABLE));
    let peers = authority.peers(INBOUND);
    let (front, running) = front_with_spool(&peers, &node);
    let mut sender = knows_dora(&front);
    let mut letters = vec!["before".to_owned()];
    let answer = sender.message(DORA, "Subject: before\r\n\r\nx");
    assert!(answer.starts_with("250 "), "{answer}");
    assert_eq!((inbox(&storage), waiting(&front)), (letters.clone(), 0));

    daemon.kill();
    for number in 0..6 {
        let subject = format!("letter {number}");
        let answer = sender.message(DORA, &format!("Subject: {subject}\r\n\r\nx"));
        assert!(answer.starts_with("250 "), "{answer}");
        letters.push(subject);
    }
    let answer = sender.message("both@example.com", "Subject: to both\r\n\r\nx");
    assert!(answer.starts_with("250 "), "an alias: {answer}");
    letters.push("to both".to_owned());
    // Who may post only the storage node knows.
    let answer = sender.message("team@example.com", "Subject: to the group\r\n\r\nx");
    assert!(answer.starts_with("451 "), "a group: {answer}");
    assert_eq!(waiting(&front), 7);
    let status = front.ctl_ok(&["status"]);
    assert!(status.contains("spool: holding"), "{status}");
    assert!(status.contains("no storage node works"), "{status}");
    let listed = front.ctl_ok(&["spool", "list"]);
    assert!(listed.contains("waiting"), "{listed}");
    let legs = front.ctl_ok(&["spool", "leg", "list"]);
    assert_eq!(legs.matches("in_sync").count(), 2, "{legs}");

    running.kill();
    let running = front.start();
    assert_eq!(waiting(&front), 7, "a kill -9 loses none of them");
    let mut sender = Sender::to(front.smtp());
    let answer = sender.message(DORA, "Subject: after\r\n\r\nx");
    assert!(
        answer.starts_with("250 "),
        "by the table of the last run: {answer}"
    );
    letters.push("after".to_owned());

    let _daemon = storage.start();
    until_empty(&front);
    // What an alias leads to comes out of the storage node's queue.
    let came = until(
        "the alias",
        || inbox(&storage).len().to_string(),
        |count| count == letters.len().to_string(),
    );
    assert_eq!(came, letters.len().to_string());
    let straight = |all: &[String]| {
        let all = all.iter().filter(|subject| *subject != "to both");
        all.cloned().collect::<Vec<String>>()
    };
    assert_eq!(straight(&inbox(&storage)), straight(&letters));
    until(
        "anna has hers",
        || messages(&storage, ANNA).to_string(),
        |count| count == "1",
    );
    let shown = front.ctl_ok(&["--json", "spool", "show"]);
    let shown: Value = serde_json::from_str(&shown).expect("one JSON document");
    assert_eq!(shown["kept"], 8, "copies are kept behind the hand-over");
    // One is lost; a redelivery brings it back, and doubles nothing.
    let mut imap = connect::imap(storage.imap(), DORA, "a secret").expect("login");
    imap.select("INBOX").expect("INBOX");
    let lost = straight(&inbox(&storage))[3].clone();
    let at = inbox(&storage).iter().position(|subject| *subject == lost);
    let at = at.expect("it is there") + 1;
    imap.command(&format!("STORE {at} +FLAGS.SILENT (\\Deleted)"))
        .expect("OK");
    imap.command("EXPUNGE").expect("OK");
    front.ctl_ok(&["spool", "redeliver"]);
    until_empty(&front);
    let back = inbox(&storage);
    let is_lost = |subject: &&String| **subject == lost;
    assert_eq!(back.iter().filter(is_lost).count(), 1, "{back:?}");
    assert_eq!(straight(&back).len(), straight(&letters).len(), "{back:?}");
    assert_eq!(running.stop().code(), Some(0));
}

/// Accounts that are gone at the hand-over: the storage node's queue reports, and nothing stays behind.
#[test]
fn what_waited_for_an_account_that_is_gone_becomes_a_report() {
    let authority = Authority::new();
    for (protocol, port) in [("lmtp", LMTP), ("smtp", SMTP), ("qmqp", QMQP)] {
        let (storage, daemon) = storage(&authority, "");
        add(&storage, ANNA);
        let relay = Relay::to(storage.at(port));
        let node = node(protocol, relay.address(), storage.at(TABLE));
        let (front, _front) = front_with_spool(&authority.peers(INBOUND), &node);
        let mut sender = knows_dora(&front);
        daemon.kill();
        relay.silence_after(0);
        let answer = sender.recipient(ANNA);
        assert!(answer.starts_with("250 "), "{protocol}: {answer}");
        let answer = sender.say(&format!("RCPT TO:<{DORA}>"));
        assert!(answer.starts_with("250 "), "{protocol}: {answer}");
        sender.begin("Subject: to two\r\n\r\nx");
        let answer = sender.reply();
        assert!(answer.starts_with("250 "), "{protocol}: {answer}");
        let _daemon = storage.start();
        storage.ctl_ok(&["account", "remove", ANNA]);
        relay.pass();
        until_empty(&front);
        assert_eq!(inbox(&storage), ["to two"], "{protocol}");
        until(
            "a report to the sender",
            || said(&storage.ctl(&["trace", "--to", ANNA])),
            |trace| trace.contains("reported to the sender"),
        );
    }
}

#[test]
fn a_full_spool_defers_and_what_it_took_comes_once() {
    let authority = Authority::new();
    let (storage, daemon) = storage(&authority, "");
    let node = node("smtp", storage.at(SMTP), storage.at(TABLE));
    let (front, _front) = front_with_spool(&authority.peers(INBOUND), &node);
    let mut sender = knows_dora(&front);
    daemon.kill();
    let mut taken = 0;
    let refused = loop {
        // until it is full, far below this bound
        assert!(taken < 200, "the spool is never full");
        let mut random = fastrand::Rng::with_seed(taken);
        let mut content = format!("Subject: {taken}\r\n\r\n");
        while content.len() < 1 << 20 {
            content.extend((0..72).map(|_| random.alphanumeric()));
            content.push_str("\r\n");
        }
        let answer = sender.message(DORA, &content);
        if !answer.starts_with("250 ") {
            break answer;
        }
        taken += 1;
    };
    assert!(refused.starts_with("45"), "{refused}");
    assert!(refused.contains("4.3.1"), "{refused}");
    assert_eq!(waiting(&front), taken);
    let _daemon = storage.start();
    until_empty(&front);
    assert_eq!(messages(&storage, DORA), taken);
    let answer = sender.message(DORA, "Subject: x\r\n\r\nx");
    assert!(answer.starts_with("250 "), "{answer}");
    assert_eq!(messages(&storage, DORA), taken + 1);
}

/// The storage node has the message, its answer is late, and the node in front ends: the sender hears 250 all the same.
#[test]
fn a_stop_waits_for_the_answer_that_a_sender_is_owed() {
    let authority = Authority::new();
    let (storage, _storage) = storage(&authority, "");
    let relay = Relay::to(storage.at(LMTP));
    let node = node("lmtp", relay.address(), storage.at(TABLE));
    let (front, running) = inbound(&authority.peers(INBOUND), &node);
    let mut sender = knows_dora(&front);
    relay.hold_after(150_000);
    assert!(sender.recipient(DORA).starts_with("250 "));
    sender.begin(&large());
    until(
        "the message is placed",
        || messages(&storage, DORA).to_string(),
        |count| count == "1",
    );
    let pid = Pid::from_raw(running.pid().cast_signed());
    kill(pid, Signal::SIGTERM).expect("our own child");
    until(
        "the stop has begun",
        || TcpStream::connect(front.smtp()).is_ok().to_string(),
        |listens| listens == "false",
    );
    relay.pass();
    let answer = sender.reply();
    assert!(answer.starts_with("250 "), "{answer}");
    assert_eq!(running.stop().code(), Some(0));
    assert_eq!(messages(&storage, DORA), 1);
}

/// An answer that never comes, a stop meanwhile: the spool has the message under the id of its direct try, and the next start makes no second copy.
#[test]
fn a_doubt_that_the_spool_took_survives_a_restart() {
    let authority = Authority::new();
    for (protocol, port, is_killed) in [
        ("lmtp", LMTP, false),
        ("smtp", SMTP, true),
        ("qmqp", QMQP, true),
    ] {
        let (storage, _storage) = storage(&authority, "");
        let relay = Relay::to(storage.at(port));
        let node = node(protocol, relay.address(), storage.at(TABLE));
        let (front, running) = front_with_spool(&authority.peers(INBOUND), &node);
        let mut sender = knows_dora(&front);
        relay.silence_after(150_000);
        assert!(sender.recipient(DORA).starts_with("250 "));
        sender.begin(&large());
        until(
            "the message is placed",
            || messages(&storage, DORA).to_string(),
            |count| count == "1",
        );
        let answer = sender.reply();
        assert!(answer.starts_with("250 "), "{protocol}: {answer}");
        if is_killed {
            running.kill();
        } else {
            assert_eq!(running.stop().code(), Some(0), "{protocol}");
        }
        relay.cut();
        relay.pass();
        let _running = front.start();
        until_empty(&front);
        assert_eq!(messages(&storage, DORA), 1, "{protocol}: once");
        let mut sender = knows_dora(&front);
        let answer = sender.message(DORA, &large());
        assert!(answer.starts_with("250 "), "{protocol}: {answer}");
        assert_eq!(messages(&storage, DORA), 2, "{protocol}: another message");
    }
}

/// A batch of the spool is bad on both of its legs: `spool fsck` says so, what it had is named and given up, and the rest comes.
#[test]
fn damage_on_both_legs_of_the_spool_is_found_named_and_given_up() {
    let authority = Authority::new();
    let (storage, daemon) = storage(&authority, "");
    let node = node("lmtp", storage.at(LMTP), storage.at(TABLE));
    let (front, running) = front_with_spool(&authority.peers(INBOUND), &node);
    let mut sender = knows_dora(&front);
    daemon.kill();
    for number in 1..=3 {
        let content = format!("Subject: letter-{number}\r\n\r\nx");
        let answer = sender.message(DORA, &content);
        assert!(answer.starts_with("250 "), "{answer}");
    }
    let clean = front.ctl_ok(&["spool", "fsck", "full"]);
    assert!(clean.contains("3 messages proved"), "{clean}");
    assert!(clean.contains("no errors found"), "{clean}");

    running.kill();
    for leg in ["spool-a", "spool-b"] {
        let leg = front.directory.path().join(leg);
        let content = fs::read(&leg).expect("our own file");
        let wanted = b"Subject: letter-2";
        let mut parts = content.windows(wanted.len());
        let at = parts.position(|part| part == wanted);
        let mut file = OpenOptions::new().write(true).open(&leg).expect("ours");
        let at = at.expect("stored as it came") as u64;
        let sought = file.seek(SeekFrom::Start(at));
        sought
            .and_then(|_| file.write_all(b"X"))
            .expect("our own file");
    }
    let _running = front.start();
    let quick = front.ctl(&["spool", "fsck"]);
    assert_eq!(quick.status.code(), Some(1), "{}", said(&quick));
    assert!(said(&quick).contains("takes no mail"), "{}", said(&quick));
    let status = front.ctl_ok(&["status"]);
    assert!(status.contains("the spool takes nothing"), "{status}");
    let shown = front.ctl(&["spool", "accept-damage"]);
    assert_eq!(shown.status.code(), Some(1), "{}", said(&shown));
    assert!(said(&shown).contains("ann@example.net"), "{}", said(&shown));
    assert!(
        said(&shown).contains("spool accept-damage --yes"),
        "{}",
        said(&shown)
    );
    let given_up = front.ctl_ok(&["spool", "accept-damage", "--yes"]);
    assert!(
        given_up.contains("the spool accepts mail again"),
        "{given_up}"
    );
    let full = said(&front.ctl(&["spool", "fsck", "full"]));
    assert!(full.contains("2 messages proved"), "{full}");

    let _daemon = storage.start();
    until_empty(&front);
    assert_eq!(inbox(&storage), ["letter-1", "letter-3"]);
    let nothing = front.ctl(&["spool", "accept-damage"]);
    assert!(said(&nothing).contains("nothing to give up"));
}

/// The node in front counts the hops that others wrote, and puts its own field in front. It may not be one too many behind it: the message would wait for ever,
/// and later mail for its recipient behind it.
#[test]
fn a_message_after_a_hundred_hops_does_not_stay_between_nodes() {
    let authority = Authority::new();
    let (storage, _daemon) = storage(&authority, "");
    for (protocol, port) in [("lmtp", LMTP), ("qmqp", QMQP)] {
        let node = node(protocol, storage.at(port), storage.at(TABLE));
        let (front, running) = front_with_spool(&authority.peers(INBOUND), &node);
        let hops = "Received: from a by b; now\r\n".repeat(100);
        let content = format!("{hops}Subject: by {protocol}\r\n\r\nx");
        let answer = knows_dora(&front).message(DORA, &content);
        assert!(answer.starts_with("250 "), "{protocol}: {answer}");
        assert_eq!(waiting(&front), 0, "{protocol}");
        running.kill();
    }
    assert_eq!(inbox(&storage), ["by lmtp", "by qmqp"]);
}
