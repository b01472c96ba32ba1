//! Power cuts, and what is too much for one step, one account or one thread.

use super::*;

/// Flags of a script are in the records of its copies: those of many recipients are more than one group takes.
#[test]
fn long_flags_of_some_refuse_no_mail_of_others() {
    let house = house();
    house.world.block_on(async {
        let mut text = "require [\"fileinto\", \"mailbox\", \"imap4flags\"];\r\n".to_owned();
        for number in 0..60 {
            text += &format!("addflag \"{}{number}\";\r\n", "k".repeat(60));
        }
        for number in 0..30 {
            text += &format!("fileinto :create \"F{number}\";\r\n");
        }
        let mailboxes = house.outgoing.mailboxes();
        let mut all = vec![(house.ann, "ann@example.org".to_owned())];
        for number in 0..6 {
            let path = format!("p{number}@example.org");
            let address = Address::from_path(&path).expect("an address");
            let account = mailboxes.add_account(&address, "$argon2id$x", 0).await;
            let account = account.expect("made");
            house.script(account, &text).await;
            all.push((account, path));
        }
        let to: Vec<(AccountId, &str)> = all
            .iter()
            .map(|(account, path)| (*account, &path[..]))
            .collect();
        let results = house
            .outgoing
            .deliver(house.arrival(LETTER, &to, Refusing::Each))
            .await;
        assert_eq!(results[0], Ok(()));
        let deferred = |result: &&Result<(), MailboxFault>| {
            matches!(result, Err(MailboxFault::Unavailable(_)))
        };
        let count = results.iter().filter(deferred).count();
        assert!((1..6).contains(&count), "{results:?}");
        let placed = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(placed + count, 7, "{results:?}");
    });
}

#[test]
fn an_account_without_room_gets_nothing_of_its_share_and_others_get_theirs() {
    let house = house();
    house.world.block_on(async {
        let mailboxes = house.outgoing.mailboxes();
        let bytes = LETTER.len() as u64;
        mailboxes.set_quota(house.ann, bytes + bytes / 2).await.expect("an account");
        // Two copies do not fit where one would.
        house.script(house.ann, "require [\"fileinto\", \"mailbox\", \"copy\"]; fileinto :copy :create \"Own\"; redirect :copy \"x@away.example\";").await;
        let both = [(house.ann, "ann@example.org"), (house.bob, "bob@example.org")];
        let arrival = house.arrival(LETTER, &both, Refusing::Each);
        let delivered = house.outgoing.deliver(arrival).await;
        assert_eq!(delivered, [Err(MailboxFault::OverQuota), Ok(())]);
        assert_eq!(house.count_in(house.ann, "Own").await, 0);
        assert_eq!(house.count_in(house.ann, "INBOX").await, 0);
        assert_eq!(house.queued().await.len(), 0);
    });
}

/// Twenty scripts with four different headers each want more bodies than one group takes: who is left comes with the next try.
#[test]
fn what_is_more_than_one_group_takes_comes_with_the_next_try() {
    let house = house();
    house.world.block_on(async {
        let text = "require [\"editheader\", \"fileinto\", \"mailbox\"];\r\naddheader \"X-A\" \"1\"; fileinto :create \"A\";\r\naddheader \"X-B\" \"1\"; fileinto :create \"B\";\r\naddheader \"X-C\" \"1\"; fileinto :create \"C\";\r\naddheader \"X-D\" \"1\"; fileinto :create \"D\";";
        house.put(Owner::Box, text).await;
        let mailboxes = house.outgoing.mailboxes();
        let mut all = Vec::new();
        for number in 0..20 {
            let path = format!("p{number}@example.org");
            let address = Address::from_path(&path).expect("an address");
            let account = mailboxes.add_account(&address, "$argon2id$x", 0).await.expect("made");
            all.push((account, path));
        }
        let mut left: Vec<(AccountId, &str)> = all.iter().map(|(account, path)| (*account, &path[..])).collect();
        let mut tries = 0;
        while !left.is_empty() {
            let results = house.outgoing.deliver(house.arrival(LETTER, &left, Refusing::Each)).await;
            let mut results = results.into_iter();
            left.retain(|_| results.next().expect("one for each").is_err());
            tries += 1;
            assert!(tries < 9);
        }
        assert!(tries > 1, "it was too much for one");
        for (account, _) in &all {
            for name in ["A", "B", "C", "D"] {
                assert_eq!(house.count_in(*account, name).await, 1);
            }
        }
    });
}

/// A run that is too long for the owner's thread is made elsewhere, and says the same.
#[test]
fn a_long_run_is_made_elsewhere_and_asks_what_it_needs() {
    let house = house();
    house.world.block_on(async {
        let mut text =
            "require [\"variables\", \"fileinto\", \"mailbox\"];\r\nset \"a\" \"x\";\r\n"
                .to_owned();
        for _ in 0..9 {
            text += "set \"a\" \"${a}${a}${a}\";\r\n";
        }
        for _ in 0..400 {
            text += "if string :contains \"${a}\" \"y\" { discard; }\r\n";
        }
        text += "if mailboxexists \"Trash\" { fileinto \"Trash\"; }\r\n";
        house.script(house.ann, &text).await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        assert_eq!(house.counters().failures.load(Relaxed), 0);
        assert_eq!(house.count_in(house.ann, "Trash").await, 1);
        assert!(house.counters().away.load(Relaxed) > 0);
    });
}

/// The power goes at each boundary of a delivery that files, redirects and replies: all of it is there, or none; and all of it where it was answered.
/// A second delivery after that, as a sender makes one without an answer, files again and replies no second time.
#[test]
fn a_delivery_is_whole_or_not_there_whenever_the_power_goes() {
    let script = "require [\"fileinto\", \"mailbox\", \"copy\", \"vacation\", \"editheader\"];\r\nvacation \"away\";\r\nredirect :copy \"x@away.example\";\r\naddheader \"X-Seen\" \"yes\";\r\nfileinto :create \"Own\";\r\nfileinto \"Trash\";";
    let mut seen = [0; 2];
    for cut in 0..60 {
        let rig = rig::Rig::new(cut);
        let open = async || filtered(&rig.world, rig.open().await);
        let world = &rig.world;
        let (outgoing, ann, bob) = world.block_on(async {
            let outgoing = open().await;
            let address = Address::from_parts("ann", "example.org").expect("plain words");
            let ann = outgoing.mailboxes().add_account(&address, "$argon2id$x", 0);
            let ann = ann.await.expect("an account");
            (outgoing, ann, AccountId(0))
        });
        let house = |outgoing: Outgoing| House {
            world: rig.world.clone(),
            outgoing,
            ann,
            bob,
        };
        let first = house(outgoing);
        // What the first delivery makes is there before, so that every boundary is one of the group.
        world.block_on(async {
            first.script(ann, script).await;
            let own = first.outgoing.mailboxes().create(ann, "Own", None);
            own.await.expect("made");
        });
        world.crash_at(world.boundaries() + 1 + cut);
        let answer = world.run(first.to_ann(LETTER));
        drop(first);
        world.crash();
        let again = house(world.block_on(open()));
        world.block_on(async {
            let count = async |house: &House| {
                let (own, trash) = (
                    house.count_in(ann, "Own").await,
                    house.count_in(ann, "Trash").await,
                );
                let queued = house.queued().await;
                let replies = queued.iter().filter(|(entry, _)| entry.from.is_empty());
                (own, trash, queued.len(), replies.count())
            };
            let found = count(&again).await;
            assert!(
                [(0, 0, 0, 0), (1, 1, 2, 1)].contains(&found),
                "cut {cut}: {found:?}"
            );
            let is_there = found.0 == 1;
            assert!(is_there || !matches!(answer, Ok(Ok(()))), "cut {cut}");
            seen[usize::from(is_there)] += 1;
            assert_eq!(again.to_ann(LETTER).await, Ok(()));
            let twice = 1 + usize::from(is_there);
            assert_eq!(
                count(&again).await,
                (twice, twice, twice + 1, 1),
                "cut {cut}"
            );
        });
    }
    assert!(
        seen.iter().all(|count| *count > 3),
        "both were seen: {seen:?}"
    );
}
