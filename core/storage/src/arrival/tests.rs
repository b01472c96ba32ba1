//! Arrivals on the simulated machine: two legs, the real volume, store and mailboxes.

use std::cell::RefCell;
use std::rc::Rc;

use base::BodyName;
use bytes::Bytes;
use device::sim::SimWorld;
use store::Store;
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use super::*;

#[derive(Default)]
struct Memory(RefCell<Option<WitnessRecord>>);

impl Witness for Memory {
    fn read(&self, _volume: VolumeId) -> Result<Option<WitnessRecord>, WitnessFault> {
        Ok(self.0.borrow().clone())
    }

    fn replace(
        &self,
        expected: Option<&WitnessRecord>,
        new: &WitnessRecord,
    ) -> Result<(), WitnessFault> {
        if self.0.borrow().as_ref() != expected {
            return Err(WitnessFault::Lost);
        }
        *self.0.borrow_mut() = Some(new.clone());
        Ok(())
    }
}

/// Runs `story` with the mailboxes of a new volume, which have the domain example.org.
fn with_mailboxes(story: impl AsyncFnOnce(Mailboxes)) {
    let world = SimWorld::new(1);
    let legs = [world.add_disk(96 << 20), world.add_disk(96 << 20)];
    let (io, witness) = (world.io(), Rc::new(Memory::default()));
    let settings = volume::Settings {
        segment_bytes: 2 << 20,
        ..volume::Settings::default()
    };
    world.block_on(async {
        Volume::create(&io, &legs, &settings, &*witness, 1)
            .await
            .expect("blank legs");
        let volume = Volume::open(&io, &legs, &settings, witness)
            .await
            .expect("a new volume");
        let settings = store::Settings {
            projection_cache_bytes: 4 << 20,
            compression_level: 1,
        };
        let (store, replay) = Store::open(io.clone(), volume, settings)
            .await
            .expect("a new store");
        let settings = mailbox::Settings {
            cache_bytes: 16 << 20,
            checkpoint_groups: u64::MAX,
            checkpoint_bytes: u64::MAX,
            checkpoint_us: u64::MAX,
        };
        let mailboxes = Mailboxes::open(io, store, replay, settings)
            .await
            .expect("new mailboxes");
        mailboxes.add_domain("example.org").await.expect("a domain");
        story(mailboxes).await;
    });
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
