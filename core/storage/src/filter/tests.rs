//! What scripts do with mail that arrives, on real mailboxes and a real queue of a simulated machine.

mod again;
mod bounds;
mod fetched;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ::scripts::Owner;
use base::BodyName;
use bytes::Bytes;
use device::sim::SimWorld;
use mail::{Address, InternalDate, Summary};
use mailbox::{AccountId, MailboxFault};
use queue::{Addressee, Envelope, Terms, UnixSeconds};
use runtime::SessionHost;
use store::BodyIn;

use crate::arrival::{Arrival, Posted, Refusing};
use crate::filter::{Counters, Filter};
use crate::outgoing::{HandedOver, Outgoing, Placing};
use crate::rig;

struct House {
    world: SimWorld,
    outgoing: Outgoing,
    ann: AccountId,
    bob: AccountId,
}

fn filtered(world: &SimWorld, outgoing: Outgoing) -> Outgoing {
    let scripts = outgoing.scripts().expect("the rig has some").clone();
    let host = SessionHost::on(world.io().host.clone());
    let name = "mx.example.org".to_owned();
    let filter = Filter::new(scripts, host, name, Arc::default());
    outgoing.with_filter(filter)
}

fn house() -> House {
    let (world, outgoing) = rig::outgoing();
    let outgoing = filtered(&world, outgoing);
    let [ann, bob] = world.block_on(async {
        let mailboxes = outgoing.mailboxes();
        let add = async |local: &str, quota| {
            let address = Address::from_parts(local, "example.org").expect("plain words");
            let added = mailboxes.add_account(&address, "$argon2id$x", quota);
            added.await.expect("an account")
        };
        [add("ann", 0).await, add("bob", 0).await]
    });
    House {
        world,
        outgoing,
        ann,
        bob,
    }
}

const LETTER: &str = "Return-Path: <eve@else.example>\r\nReceived: from x\r\nFrom: eve@else.example\r\nTo: ann@example.org\r\nSubject: hello\r\nMessage-ID: <1@else.example>\r\n\r\ntext\r\n";

fn body(text: &str) -> BodyIn {
    let raw = Bytes::copy_from_slice(text.as_bytes());
    BodyIn {
        name: BodyName::of(&raw),
        summary: Bytes::from(Summary::of(&raw).encode()),
        raw,
    }
}

impl House {
    async fn put(&self, owner: Owner, text: &str) {
        let scripts = self.outgoing.scripts().expect("the rig has some");
        let text = Bytes::copy_from_slice(text.as_bytes());
        let put = scripts.put(&owner, "main", text, true).await;
        put.expect("there is room");
    }

    async fn script(&self, account: AccountId, text: &str) {
        self.put(Owner::Account(account.0), text).await;
    }

    fn arrival(&self, text: &str, to: &[(AccountId, &str)], refusing: Refusing) -> Arrival {
        Arrival {
            body: body(text),
            internal_date: InternalDate::utc(1_790_000_000),
            accounts: to.iter().map(|(account, _)| *account).collect(),
            junk: Vec::new(),
            posted: Posted {
                from: "eve@else.example".to_owned(),
                to: to.iter().map(|(_, path)| Addressee::new(*path)).collect(),
                terms: Terms::default(),
                refusing,
            },
        }
    }

    /// To Ann, from the outside.
    async fn to_ann(&self, text: &str) -> Result<(), MailboxFault> {
        let arrival = self.arrival(text, &[(self.ann, "ann@example.org")], Refusing::Report);
        self.outgoing.deliver(arrival).await.remove(0)
    }

    async fn texts_in(&self, account: AccountId, name: &str) -> Vec<String> {
        let mailboxes = self.outgoing.mailboxes();
        let id = match mailboxes.find(account, name).await {
            Ok(id) => id,
            Err(MailboxFault::NoMailbox) => return Vec::new(),
            Err(fault) => panic!("{fault}"),
        };
        let view = mailboxes.view(id).await.expect("it is open");
        let mut texts = Vec::new();
        for message in view.messages.iter() {
            let read = mailboxes.bodies(std::slice::from_ref(&message.body)).await;
            let raw = read.into_iter().next().expect("one").expect("it is whole");
            texts.push(String::from_utf8(raw.to_vec()).expect("ASCII"));
        }
        texts
    }

    async fn count_in(&self, account: AccountId, name: &str) -> usize {
        self.texts_in(account, name).await.len()
    }

    async fn queued(&self) -> Vec<(queue::Entry, String)> {
        let mut found = Vec::new();
        for entry in self.outgoing.list(None, 99) {
            let read = self.outgoing.body(entry.id, 0).await;
            let raw = read.expect("it is there").expect("it is whole");
            found.push((entry, String::from_utf8(raw.to_vec()).expect("ASCII")));
        }
        found
    }

    fn counters(&self) -> &Counters {
        self.outgoing.filter().expect("there is one").counters()
    }
}

fn envelope(to: &[&str]) -> Envelope {
    Envelope {
        from: "eve@else.example".to_owned(),
        recipients: to.iter().map(|path| Addressee::new(*path)).collect(),
        arrived: UnixSeconds(1_000),
        warns: UnixSeconds(15_400),
        expires: UnixSeconds(433_000),
        terms: Terms::default(),
    }
}

#[test]
fn without_a_script_nothing_is_run() {
    let house = house();
    house.world.block_on(async {
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        assert_eq!(house.count_in(house.ann, "INBOX").await, 1);
        house.script(house.bob, "discard;").await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        assert_eq!(house.count_in(house.ann, "INBOX").await, 2);
        assert_eq!(house.counters().runs.load(Relaxed), 0);
    });
}

#[test]
fn a_message_is_filed_with_flags_and_its_mailbox_is_made() {
    let house = house();
    house.world.block_on(async {
        house.script(
            house.ann,
            "require [\"fileinto\", \"mailbox\", \"imap4flags\"];\r\nfileinto :create :flags \"\\\\Flagged\" \"Work/Bills\";",
        ).await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        assert_eq!(house.count_in(house.ann, "INBOX").await, 0);
        let mailboxes = house.outgoing.mailboxes();
        let id = mailboxes.find(house.ann, "Work/Bills").await.expect("made");
        let view = mailboxes.view(id).await.expect("it is open");
        assert_eq!(view.messages.len(), 2);
        let flagged = mail::SystemFlags::FLAGGED;
        assert!(view.messages.iter().all(|each| each.flags.system.contains(flagged)));
        assert_eq!(house.counters().filed.load(Relaxed), 2);
    });
}

#[test]
fn a_target_that_is_missing_falls_to_inbox_and_is_told_once() {
    let house = house();
    house.world.block_on(async {
        house
            .script(house.ann, "require \"fileinto\"; fileinto \"Nowhere\";")
            .await;
        for _ in 0..3 {
            assert_eq!(house.to_ann(LETTER).await, Ok(()));
        }
        let texts = house.texts_in(house.ann, "INBOX").await;
        let told = texts
            .iter()
            .filter(|text| text.contains("\"Nowhere\""))
            .count();
        assert_eq!((texts.len(), told), (4, 1));
    });
}

#[test]
fn a_script_that_fails_keeps_the_message_and_tells_its_owner_once_for_each_version() {
    let house = house();
    house.world.block_on(async {
        let failing =
            "require [\"ihave\", \"envelope\"];\r\nif true {\r\n  error \"on purpose\";\r\n}\r\n";
        house.script(house.ann, failing).await;
        for _ in 0..3 {
            assert_eq!(house.to_ann(LETTER).await, Ok(()));
        }
        let texts = house.texts_in(house.ann, "INBOX").await;
        let told: Vec<&String> = texts
            .iter()
            .filter(|text| text.contains("on purpose"))
            .collect();
        assert_eq!((texts.len(), told.len()), (4, 1));
        assert!(told[0].contains("line 3"), "the place: {}", told[0]);
        assert!(told[0].contains("From: Mail filter <postmaster@example.org>"));
        house
            .script(house.ann, &format!("# another version\r\n{failing}"))
            .await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        assert_eq!(house.count_in(house.ann, "INBOX").await, 6);
        assert_eq!(house.counters().failures.load(Relaxed), 4);
    });
}

#[test]
fn a_script_of_an_administrator_runs_first_and_a_persons_decides_again_about_what_it_kept() {
    let house = house();
    house.world.block_on(async {
        house.put(
            Owner::Box,
            "require [\"fileinto\", \"mailbox\"]; if header :is \"Subject\" \"bad\" { discard; }",
        ).await;
        let domain = Owner::Domain("example.org".to_owned());
        house
            .put(domain, "require \"imap4flags\"; addflag \"$seen_here\";")
            .await;
        house
            .script(
                house.ann,
                "require [\"fileinto\", \"mailbox\"]; fileinto :create \"Own\";",
            )
            .await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        assert_eq!(house.to_ann(&LETTER.replace("hello", "bad")).await, Ok(()));
        assert_eq!(house.count_in(house.ann, "Own").await, 1);
        assert_eq!(house.count_in(house.ann, "INBOX").await, 0);
        assert_eq!(house.counters().discarded.load(Relaxed), 1);
    });
}

#[test]
fn a_redirect_goes_on_with_a_sealed_sender_and_comes_to_an_end_when_it_returns() {
    let house = house();
    house.world.block_on(async {
        house
            .script(house.ann, "redirect \"ann@away.example\";")
            .await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        assert_eq!(house.count_in(house.ann, "INBOX").await, 0);
        let queued = house.queued().await;
        let [(entry, raw)] = &queued[..] else {
            panic!("one message leaves: {}", queued.len());
        };
        assert_eq!(entry.recipients[0].to.path, "ann@away.example");
        assert!(
            entry.from.ends_with("@example.org"),
            "sealed: {}",
            entry.from
        );
        assert!(!entry.terms.is_unsigned, "its author signed it");
        assert!(
            raw.starts_with("Delivered-To: ann@example.org\r\nReceived: from x\r\n"),
            "{raw}"
        );
        // The other server sends it back.
        let back = format!("Return-Path: <{}>\r\nReceived: back\r\n{raw}", entry.from);
        assert_eq!(house.to_ann(&back).await, Ok(()));
        assert_eq!(house.count_in(house.ann, "INBOX").await, 1, "kept");
        assert_eq!(house.queued().await.len(), 1, "and not sent again");
        assert_eq!(house.counters().loops.load(Relaxed), 1);
    });
}

#[test]
fn an_edited_header_goes_where_the_action_behind_it_says() {
    let house = house();
    house.world.block_on(async {
        house.script(
            house.ann,
            "require [\"editheader\", \"copy\", \"fileinto\", \"mailbox\"];\r\nkeep;\r\naddheader \"X-Seen\" \"yes\";\r\nfileinto :copy :create \"Seen\";\r\nredirect :copy \"a@away.example\";",
        ).await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        assert_eq!(house.texts_in(house.ann, "INBOX").await, [LETTER]);
        let seen = house.texts_in(house.ann, "Seen").await;
        assert!(seen[0].starts_with("X-Seen: yes\r\n") && seen[0].ends_with("\r\n\r\ntext\r\n"));
        // RFC 5321 §4.4: final delivery put it there, and it does not travel.
        let queued = house.queued().await;
        assert!(!queued[0].1.contains("Return-Path:"), "{}", queued[0].1);
        let queued = house.queued().await;
        assert!(queued[0].1.contains("X-Seen: yes\r\n"));
    });
}

#[test]
fn two_messages_that_come_together_get_one_vacation_reply() {
    let house = house();
    house.world.block_on(async {
        house
            .script(
                house.ann,
                "require \"vacation\"; vacation :days 7 :subject \"Away\" \"back on Monday\";",
            )
            .await;
        let other = LETTER.replace("<1@", "<2@");
        let (one, two) = tokio::join!(house.to_ann(LETTER), house.to_ann(&other));
        assert_eq!((one, two), (Ok(()), Ok(())));
        assert_eq!(house.to_ann(&LETTER.replace("<1@", "<3@")).await, Ok(()));
        assert_eq!(house.count_in(house.ann, "INBOX").await, 3);
        let queued = house.queued().await;
        let [(entry, raw)] = &queued[..] else {
            panic!("one reply: {}", queued.len());
        };
        assert_eq!(
            (&entry.from[..], &entry.recipients[0].to.path[..]),
            ("", "eve@else.example")
        );
        assert!(entry.terms.is_unsigned, "the relay signs it");
        assert!(raw.contains("From: ann@example.org\r\n") && raw.contains("back on Monday"));
        assert!(
            raw.contains("Auto-Submitted: auto-replied")
                && raw.contains("In-Reply-To: <1@") | raw.contains("In-Reply-To: <2@")
        );
        assert_eq!(house.counters().replies.load(Relaxed), 1);
    });
}

#[test]
fn a_reply_has_an_author_that_the_account_may_send_as() {
    let house = house();
    house.world.block_on(async {
        house
            .script(
                house.ann,
                "require \"vacation\"; vacation :from \"Boss <boss@other.example>\" \"away\";",
            )
            .await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        let queued = house.queued().await;
        assert!(
            queued[0].1.contains("From: ann@example.org\r\n"),
            "{}",
            queued[0].1
        );
    });
}

#[test]
fn what_looks_like_junk_goes_where_junk_goes_unless_the_script_files_it() {
    let house = house();
    house.world.block_on(async {
        let junk = |text: &str| {
            let to = [(house.ann, "ann@example.org")];
            Arrival {
                junk: vec![house.ann],
                ..house.arrival(text, &to, Refusing::Report)
            }
        };
        house.script(
            house.ann,
            "require [\"fileinto\", \"mailbox\", \"spamtestplus\", \"relational\", \"comparator-i;ascii-numeric\"];\r\nif header :is \"Subject\" \"file\" { fileinto :create \"Mine\"; }\r\nelsif allof(header :is \"Subject\" \"keep\", spamtest :percent :value \"ge\" :comparator \"i;ascii-numeric\" \"75\") { keep; }",
        ).await;
        for text in [LETTER.to_owned(), LETTER.replace("hello", "file"), LETTER.replace("hello", "keep")] {
            assert_eq!(house.outgoing.deliver(junk(&text)).await, [Ok(())]);
        }
        for (name, count) in [("Junk", 1), ("Mine", 1), ("INBOX", 1)] {
            assert_eq!(house.count_in(house.ann, name).await, count, "{name}");
        }
    });
}

/// What waited in a spool runs the same scripts, and is still placed once.
#[test]
fn a_hand_over_runs_scripts_once() {
    let house = house();
    house.world.block_on(async {
        house.script(house.ann, "require [\"fileinto\", \"mailbox\", \"copy\"]; redirect :copy \"x@away.example\"; fileinto :create \"Own\";").await;
        house.script(house.bob, "require \"reject\"; reject \"no\";").await;
        let to = ["ann@example.org", "bob@example.org"];
        let hand_over = || house.outgoing.hand_over(body(LETTER), envelope(&to), 0);
        assert_eq!(hand_over().await, Ok(HandedOver::Now));
        assert_eq!(hand_over().await, Ok(HandedOver::Before));
        let direct = house.arrival(LETTER, &[(house.ann, "ann@example.org")], Refusing::Each);
        assert_eq!(house.outgoing.deliver_once(direct).await, [Ok(())]);
        assert_eq!(house.count_in(house.ann, "Own").await, 1);
        let queued = house.queued().await;
        let mut paths: Vec<&str> = queued.iter().map(|(entry, _)| &entry.recipients[0].to.path[..]).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["bob@example.org", "x@away.example"]);
    });
}

#[test]
fn a_discard_is_served_and_comes_no_second_time() {
    let house = house();
    house.world.block_on(async {
        house.script(house.ann, "discard;").await;
        let direct = || house.arrival(LETTER, &[(house.ann, "ann@example.org")], Refusing::Each);
        assert_eq!(house.outgoing.deliver_once(direct()).await, [Ok(())]);
        house.script(house.ann, "keep;").await;
        assert_eq!(house.outgoing.deliver_once(direct()).await, [Ok(())]);
        assert_eq!(house.count_in(house.ann, "INBOX").await, 0);
    });
}
