//! What a sender, or two scripts that do not agree, could have done without an end.

use super::*;

/// The fields by which a loop is found are no script's to remove.
#[test]
fn two_who_send_on_to_each_other_and_hide_it_come_to_an_end() {
    let house = house();
    house.world.block_on(async {
        let hiding = |to: &str| {
            format!("require \"editheader\"; deleteheader \"Delivered-To\"; redirect \"{to}\";")
        };
        house.script(house.ann, &hiding("bob@example.org")).await;
        house.script(house.bob, &hiding("ann@example.org")).await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        for _hop in 0..9 {
            let queued = house.queued().await;
            let Some((entry, raw)) = queued.first() else {
                break;
            };
            let outgoing = &house.outgoing;
            let placed = outgoing.deliver_here(entry.id, UnixSeconds(5), body(raw), 0);
            assert_eq!(placed.await, Ok(Placing::Placed));
        }
        assert_eq!(house.queued().await.len(), 0);
        assert_eq!(house.count_in(house.ann, "INBOX").await, 1);
    });
}

/// A sender who chooses the mailbox by a field chooses no number of notices.
#[test]
fn mailboxes_that_a_sender_makes_up_are_told_a_few_times() {
    let house = house();
    house.world.block_on(async {
        let text = "require [\"fileinto\", \"variables\"]; if header :matches \"Subject\" \"*\" { fileinto \"${1}\"; }";
        house.script(house.ann, text).await;
        for number in 0..60 {
            let letter = LETTER.replace("hello", &format!("box {number}"));
            assert_eq!(house.to_ann(&letter).await, Ok(()));
        }
        let texts = house.texts_in(house.ann, "INBOX").await;
        let is_notice = |text: &&String| text.contains("there is no such mailbox");
        let told = texts.iter().filter(is_notice).count();
        assert_eq!(texts.len(), 60 + told);
        assert!((1..=8).contains(&told), "{told}");
    });
}

/// More than is looked up for one delivery is a failure, and the message is in INBOX: deferred, it would come again until its sender gives up.
#[test]
fn scripts_that_include_more_than_is_looked_up_keep_the_message() {
    let house = house();
    house.world.block_on(async {
        let including = |whose: &str| {
            let mut text = "require \"include\";\r\n".to_owned();
            for number in 0..60 {
                text += &format!("include :global :optional \"{whose}{number}\";\r\n");
            }
            text
        };
        house.put(Owner::Box, &including("a")).await;
        house.script(house.ann, &including("b")).await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        let texts = house.texts_in(house.ann, "INBOX").await;
        assert!(texts.iter().any(|text| text == LETTER));
        assert_eq!(house.counters().failures.load(Relaxed), 1);
    });
}

/// RFC 9042: a mailbox that has another name by now is found by what IMAP names as its MAILBOXID.
#[test]
fn a_mailbox_is_found_by_its_id() {
    let house = house();
    house.world.block_on(async {
        let mailboxes = house.outgoing.mailboxes();
        let id = mailboxes.create(house.ann, "Renamed", None).await;
        let id = id.expect("made").0;
        let text = format!(
            "require [\"fileinto\", \"mailboxid\"];\r\nif mailboxidexists \"F{id}\" {{ fileinto :mailboxid \"F{id}\" \"Before\"; }}"
        );
        house.script(house.ann, &text).await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        assert_eq!(house.count_in(house.ann, "Renamed").await, 1);
        assert_eq!(house.count_in(house.ann, "INBOX").await, 0);
    });
}

/// One script for all, whose flags alone are more than a group takes.
#[test]
fn long_flags_of_all_recipients_are_more_than_one_group_takes() {
    let house = house();
    house.world.block_on(async {
        let mut text = "require \"imap4flags\";\r\n".to_owned();
        for number in 0..60 {
            text += &format!("addflag \"{}{number}\";\r\n", "k".repeat(60));
        }
        house.put(Owner::Box, &text).await;
        let mailboxes = house.outgoing.mailboxes();
        let mut all = Vec::new();
        for number in 0..260 {
            let path = format!("p{number}@example.org");
            let address = Address::from_path(&path).expect("an address");
            let account = mailboxes.add_account(&address, "$argon2id$x", 0).await;
            all.push((account.expect("made"), path));
        }
        let mut left: Vec<(AccountId, &str)> = all
            .iter()
            .map(|(account, path)| (*account, &path[..]))
            .collect();
        let mut tries = 0;
        while !left.is_empty() {
            let arrival = house.arrival(LETTER, &left, Refusing::Each);
            let results = house.outgoing.deliver(arrival).await;
            let before = left.len();
            let mut results = results.into_iter();
            left.retain(|_| results.next().expect("one for each").is_err());
            assert!(left.len() < before, "each try serves some");
            tries += 1;
        }
        assert!(tries > 1, "it was too much for one");
    });
}
