//! Arrivals, with the real mailboxes on simulated legs.

use base::BodyName;
use bytes::Bytes;

use crate::rig;

use super::*;

fn with_mailboxes(story: impl AsyncFnOnce(Mailboxes)) {
    let (world, mailboxes) = rig::mailboxes();
    world.block_on(story(mailboxes));
}

fn address(text: &str) -> Address {
    let (local, domain) = text.split_once('@').expect("an address");
    Address::from_parts(local, domain).expect("an address")
}

async fn add(mailboxes: &Mailboxes, local: &str, quota_bytes: u64) -> AccountId {
    let address = address(&format!("{local}@example.org"));
    let added = mailboxes.add_account(&address, "$argon2id$x", quota_bytes);
    added.await.expect("an account")
}

fn arrival(accounts: Vec<AccountId>) -> Arrival {
    let raw = Bytes::from_static(b"Subject: hello\r\n\r\ntext\r\n");
    Arrival {
        body: BodyIn {
            name: BodyName::of(&raw),
            raw,
            summary: Bytes::from_static(b"summary"),
        },
        internal_date: InternalDate::utc(1_790_000_000),
        accounts,
        junk: Vec::new(),
        posted: Posted::default(),
    }
}

async fn messages_in(mailboxes: &Mailboxes, account: AccountId, mailbox: &str) -> usize {
    let mailbox = mailboxes.find(account, mailbox).await.expect("a mailbox");
    let view = mailboxes.view(mailbox).await.expect("a view");
    view.messages.len()
}

#[test]
fn an_address_is_an_account_or_none_of_ours_or_of_another_domain() {
    with_mailboxes(async |mailboxes| {
        let alice = add(&mailboxes, "alice", 0).await;
        let found = async |text| look_up(&mailboxes, &address(text)).await.found;
        let resident = Found::Account(Resident {
            account: alice,
            left_bytes: None,
        });
        assert_eq!(found("alice@example.org").await, Ok(resident.clone()));
        assert_eq!(found("alice+lists@example.org").await, Ok(resident));
        assert_eq!(found("nobody@example.org").await, Ok(Found::NoMailbox));
        assert_eq!(found("alice@example.net").await, Ok(Found::NotOurs));
    });
}

#[test]
fn an_answer_is_old_once_the_directory_changed() {
    with_mailboxes(async |mailboxes| {
        let looked = look_up(&mailboxes, &address("alice@example.org")).await;
        assert_eq!(looked.generation.load(Ordering::Acquire), looked.at);
        add(&mailboxes, "alice", 0).await;
        assert_ne!(looked.generation.load(Ordering::Acquire), looked.at);
    });
}

#[test]
fn what_is_left_of_a_quota_goes_down_with_what_arrives() {
    with_mailboxes(async |mailboxes| {
        let alice = add(&mailboxes, "alice", 1_000).await;
        let arriving = arrival(vec![alice]);
        let bytes = arriving.body.raw.len() as u64;
        assert_eq!(deliver(&mailboxes, arriving).await, [Ok(())]);
        let found = look_up(&mailboxes, &address("alice@example.org"))
            .await
            .found;
        let left_bytes = Some(1_000 - bytes);
        let resident = Resident {
            account: alice,
            left_bytes,
        };
        assert_eq!(found, Ok(Found::Account(resident)));
    });
}

#[test]
fn a_message_is_placed_in_the_inbox_of_each_account() {
    with_mailboxes(async |mailboxes| {
        let (alice, bob) = (
            add(&mailboxes, "alice", 0).await,
            add(&mailboxes, "bob", 0).await,
        );
        let unknown = AccountId(77);
        let results = deliver(&mailboxes, arrival(vec![alice, unknown, bob])).await;
        assert_eq!(results, [Ok(()), Err(MailboxFault::NoAccount), Ok(())]);
        assert_eq!(messages_in(&mailboxes, alice, "INBOX").await, 1);
        assert_eq!(messages_in(&mailboxes, bob, "INBOX").await, 1);
    });
}

#[test]
fn an_announced_size_must_fit_the_quota() {
    let resident = |left_bytes| Resident {
        account: AccountId(7),
        left_bytes,
    };
    assert!(resident(None).has_room(u64::MAX));
    assert!(resident(Some(10)).has_room(10) && resident(Some(10)).has_room(0));
    assert!(!resident(Some(10)).has_room(11) && !resident(Some(0)).has_room(0));
}

#[test]
fn junk_goes_to_the_folder_for_junk_under_any_name_and_to_inbox_where_there_is_none() {
    with_mailboxes(async |mailboxes| {
        let [alice, bob, carol] = [
            add(&mailboxes, "alice", 0).await,
            add(&mailboxes, "bob", 0).await,
            add(&mailboxes, "carol", 0).await,
        ];
        mailboxes
            .rename(bob, "Junk", "Spam/Old")
            .await
            .expect("renamed");
        mailboxes.delete(carol, "Junk").await.expect("deleted");
        let arrival = Arrival {
            junk: vec![alice, bob, carol],
            ..arrival(vec![alice, bob, carol])
        };
        let results = deliver(&mailboxes, arrival).await;
        assert_eq!(results, [Ok(()), Ok(()), Ok(())]);
        assert_eq!(messages_in(&mailboxes, alice, "Junk").await, 1);
        assert_eq!(messages_in(&mailboxes, alice, "INBOX").await, 0);
        assert_eq!(messages_in(&mailboxes, bob, "Spam/Old").await, 1);
        assert_eq!(messages_in(&mailboxes, carol, "INBOX").await, 1);
        // What is in the folder for junk says so; what had to go to INBOX is for the person to judge.
        for (account, name, wanted) in [
            (alice, "Junk", &["$Junk"][..]),
            (bob, "Spam/Old", &["$Junk"]),
            (carol, "INBOX", &[]),
        ] {
            let mailbox = mailboxes.find(account, name).await.expect("a mailbox");
            let view = mailboxes.view(mailbox).await.expect("a view");
            let keywords = view.messages[0].flags.keywords.iter();
            let keywords: Vec<&str> = keywords.map(|keyword| keyword.as_str()).collect();
            assert_eq!(keywords, wanted, "{name}");
        }
    });
}
