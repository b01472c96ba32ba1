//! Messages in quarantine: listed, released once, dropped, expired.

use base::BodyName;
use bytes::Bytes;
use mail::{Address, InternalDate, Summary};
use mailbox::names::Route;
use mailbox::{Delivery, Recipient};
use queue::{Addressee, Terms};

use super::*;
use crate::addresses::{self, Refused};
use crate::arrival::{self, Found};
use crate::outgoing::Placing;
use crate::rig;

const NOW: UnixSeconds = UnixSeconds(1_000_000);

fn body(text: String) -> BodyIn {
    let raw = Bytes::from(text);
    BodyIn {
        name: BodyName::of(&raw),
        summary: Bytes::from(Summary::of(&raw).encode()),
        raw,
    }
}

fn held(to: &[&str]) -> Held {
    Held {
        why: Why::Virus,
        detail: "Win.Bad".to_owned(),
        unix_seconds: NOW.0,
        id: "64.0.1".to_owned(),
        from: "you@example.net".to_owned(),
        recipients: to.iter().map(|path| Addressee::new(*path)).collect(),
        terms: Terms::default(),
    }
}

fn letter(text: &str) -> String {
    format!("Received: by mx id {text}\r\nSubject: {text}\r\n\r\n{text}\r\n")
}

/// As `inbound` does.
async fn put(outgoing: &Outgoing, held: &Held, text: &str, at: i64) -> Result<(), MailboxFault> {
    let mailboxes = outgoing.mailboxes();
    let account = settle(mailboxes, 100_000).await.expect("an account");
    let placed = mailboxes.deliver(Delivery {
        body: body(held.write() + &letter(text)),
        internal_date: InternalDate::utc(at),
        recipients: vec![Recipient {
            account,
            mailbox: INBOX.to_owned(),
            flags: Flags::default(),
        }],
    });
    placed.await.remove(0).map(drop)
}

async fn inbox_of(outgoing: &Outgoing, account: AccountId) -> Vec<Bytes> {
    let mailboxes = outgoing.mailboxes();
    let inbox = mailboxes.find(account, INBOX).await.expect("an INBOX");
    let view = mailboxes.view(inbox).await.expect("readable");
    let bodies: Vec<_> = view.messages.iter().map(|one| one.body.clone()).collect();
    let read = mailboxes.bodies(&bodies).await.into_iter();
    read.map(|one| one.expect("readable")).collect()
}

async fn person(outgoing: &Outgoing, local: &str) -> AccountId {
    let address = Address::from_parts(local, "example.org").expect("plain words");
    let made = outgoing.mailboxes().add_account(&address, "$hash", 0);
    made.await.expect("a new account")
}

/// The message and its number, as administration reads it.
async fn first(outgoing: &Outgoing) -> (u32, Held, BodyIn) {
    let mailboxes = outgoing.mailboxes();
    let page = page(mailboxes, 0, 1).await.expect("readable");
    let number = page.lines[0].number;
    let raw = whole(mailboxes, number).await.expect("readable");
    let raw = raw.expect("it is there");
    let (held, front) = Held::read(&raw).expect("an envelope");
    let rest = String::from_utf8(raw[front..].to_vec()).expect("UTF-8");
    (number, held, body(rest))
}

#[test]
fn released_mail_is_delivered_once_as_it_came_even_if_the_release_is_cut_off_and_repeated() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let (alice, bob) = (
            person(&outgoing, "alice").await,
            person(&outgoing, "bob").await,
        );
        let to = held(&["alice@example.org", "bob@example.org"]);
        put(&outgoing, &to, "one", 7).await.expect("room");
        let counters = Counters::default();
        let (number, read, one) = first(&outgoing).await;
        assert_eq!(read, to);
        // The hand-over is durable, and the process ends before the copy goes.
        let envelope = Envelope {
            from: read.from.clone(),
            recipients: read.recipients.clone(),
            arrived: NOW,
            warns: NOW,
            expires: NOW,
            terms: Terms::default(),
        };
        let handed = outgoing.hand_over(one.clone(), envelope, 0).await;
        assert_eq!(handed, Ok(HandedOver::Now));
        for _ in 0..2 {
            let released = release(&outgoing, number, &read, one.clone(), NOW, &counters);
            assert_eq!(released.await, Ok(true));
        }
        for account in [alice, bob] {
            assert_eq!(inbox_of(&outgoing, account).await, [letter("one")]);
        }
        let left = contents(outgoing.mailboxes()).await.expect("readable");
        assert_eq!((left.messages, left.bytes, left.bytes_max), (0, 0, 100_000));
    });
}

#[test]
fn pages_go_by_number_and_what_is_dropped_is_in_none() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let mailboxes = outgoing.mailboxes();
        assert_eq!(page(mailboxes, 0, 9).await.expect("none").count, 0);
        for text in ["one", "two", "three"] {
            let to = held(&["alice@example.org"]);
            put(&outgoing, &to, text, 7).await.expect("room");
        }
        let counters = Counters::default();
        let two = page(mailboxes, 0, 2).await.expect("readable");
        assert_eq!((two.count, two.lines.len(), two.more), (3, 2, true));
        assert_eq!(two.lines[0].bytes, letter("one").len() as u64);
        let number = two.lines[1].number;
        assert_eq!(take_out(mailboxes, number, &counters).await, Ok(true));
        assert_eq!(take_out(mailboxes, number, &counters).await, Ok(false));
        let rest = page(mailboxes, two.lines[0].number, 9).await;
        let rest = rest.expect("readable");
        assert_eq!((rest.count, rest.lines.len(), rest.more), (2, 1, false));
        assert_eq!(counters.dropped.load(Relaxed), 1);
        let (line, text) = head(mailboxes, rest.lines[0].number)
            .await
            .expect("readable")
            .expect("it is there");
        assert_eq!(line.held, Some(held(&["alice@example.org"])));
        assert_eq!(text, letter("three"));
        assert_eq!(head(mailboxes, number).await, Ok(None));
    });
}

#[test]
fn what_is_old_expires_and_a_full_quarantine_takes_nothing() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let (mailboxes, counters) = (outgoing.mailboxes(), Counters::default());
        let to = held(&["alice@example.org"]);
        for (text, at) in [("old", 99), ("young", 100)] {
            put(&outgoing, &to, text, at).await.expect("room");
        }
        let swept = expire(mailboxes, UnixSeconds(100), &counters).await;
        assert_eq!(swept, Ok(false), "nothing is left to sweep");
        assert_eq!(counters.expired.load(Relaxed), 1);
        let (number, ..) = first(&outgoing).await;
        let (_, text) = head(mailboxes, number)
            .await
            .expect("readable")
            .expect("it");
        assert_eq!(text, letter("young"));
        let large = put(&outgoing, &to, &"x".repeat(60_000), 101).await;
        assert_eq!(large, Err(MailboxFault::OverQuota));
        assert_eq!(contents(mailboxes).await.expect("readable").messages, 1);
    });
}

#[test]
fn the_account_is_made_once_and_no_mail_from_outside_finds_it() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let mailboxes = outgoing.mailboxes();
        let made = settle(mailboxes, 100).await.expect("room");
        assert_eq!(settle(mailboxes, 200).await, Ok(made));
        let account = mailboxes.account(&address()).await.expect("readable");
        assert_eq!(account.map(|account| account.quota_bytes), Some(200));
        // The last one in letters of full width, which IDNA reads as those of ASCII.
        let wide = "\u{ff51}uarantine.invalid";
        for spelling in ["quarantine.invalid", "Quarantine.INVALID", wide] {
            let address = Address::from_parts("quarantine", spelling).expect("plain words");
            let looked = arrival::look_up(mailboxes, &address).await;
            assert_eq!(looked.found, Ok(Found::NotOurs));
        }
    });
}

fn envelope(from: &str) -> Envelope {
    Envelope {
        from: from.to_owned(),
        recipients: vec![Addressee::new(address().to_path())],
        arrived: NOW,
        warns: NOW,
        expires: UnixSeconds(NOW.0 + 1_000),
        terms: Terms::default(),
    }
}

/// A person may send to any address, an operator may write an alias or a route for it.
#[test]
fn only_what_is_kept_apart_comes_in_and_no_route_leads_it_elsewhere() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let mailboxes = outgoing.mailboxes();
        settle(mailboxes, 100_000).await.expect("room");
        let away = Route::Host {
            host: "192.0.2.7".to_owned(),
            port: 25,
            needs_tls: false,
        };
        let routed = mailboxes.directory().put_route(DOMAIN, away);
        routed.await.expect("a route");
        let alias = Address::from_parts("sales", "example.org").expect("plain words");
        let targets = |_| Ok(vec![address()]);
        let made = mailboxes
            .directory()
            .alter_alias("sales@example.org", targets);
        made.await.expect("an alias");
        let admitted = addresses::admit(mailboxes, &alias, None, NOW.0).await;
        assert_eq!(admitted, Ok(Err(Refused::Unknown)));
        // From the queue, and from a spool.
        let letter = body(letter("one"));
        let handed = outgoing.hand_over(letter.clone(), envelope("bob@example.org"), 0);
        assert_eq!(handed.await, Ok(HandedOver::Now));
        let waits = outgoing.list(None, 9);
        let placed = outgoing.deliver_here(waits[0].id, NOW, letter, 0).await;
        assert_eq!(placed, Ok(Placing::NoMailbox));
        assert_eq!(contents(mailboxes).await.expect("readable").messages, 0);
        let apart = body(held(&["alice@example.org"]).write() + "Received: by mx\r\n\r\n");
        let handed = outgoing.hand_over(apart, envelope(""), 0).await;
        assert_eq!(handed, Ok(HandedOver::Now));
        assert_eq!(contents(mailboxes).await.expect("readable").messages, 1);
    });
}

/// A spool took it, the quarantine is full when it is handed over, and the queue delivers it once there is room.
#[test]
fn what_had_to_wait_for_room_can_still_be_released() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let mailboxes = outgoing.mailboxes();
        let alice = person(&outgoing, "alice").await;
        let to = held(&["alice@example.org"]);
        let large = "x".repeat(20_000);
        put(&outgoing, &to, &large, 7).await.expect("room");
        let raw = to.write() + &letter(&large);
        let handed = outgoing.hand_over(body(raw.clone()), envelope(""), 0);
        assert_eq!(handed.await, Ok(HandedOver::Now));
        let waits = outgoing.list(None, 9);
        assert_eq!(waits.len(), 1, "there is no room");
        let (counters, (number, ..)) = (Counters::default(), first(&outgoing).await);
        assert_eq!(take_out(mailboxes, number, &counters).await, Ok(true));
        // As `client` makes it.
        let waited = body(format!("Return-Path: <>\r\n{raw}"));
        let placed = outgoing.deliver_here(waits[0].id, NOW, waited, 0).await;
        assert_eq!(placed, Ok(Placing::Placed));
        let page = page(mailboxes, 0, 1).await.expect("readable");
        assert_eq!(page.lines[0].held, Some(to));
        let (number, read, rest) = first(&outgoing).await;
        let released = release(&outgoing, number, &read, rest, NOW, &counters);
        assert_eq!(released.await, Ok(true));
        let inbox = inbox_of(&outgoing, alice).await;
        assert_eq!(inbox, [letter(&large)]);
    });
}

#[test]
fn an_account_that_was_there_before_has_no_password_afterwards() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let mailboxes = outgoing.mailboxes();
        mailboxes.add_domain(DOMAIN).await.expect("a domain");
        let made = mailboxes.add_account(&address(), "$hash", 0).await;
        assert_eq!(settle(mailboxes, 100).await, made);
        let account = mailboxes.account(&address()).await.expect("readable");
        assert_eq!(account.expect("it is there").password_hash, NO_PASSWORD);
    });
}
