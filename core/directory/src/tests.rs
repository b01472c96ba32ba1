//! The directory alone on its log, on the simulated machine.

mod dkim_keys;
mod fetches;
mod kept_policies;
mod marks;
mod names;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin as Pinned, pin};
use std::rc::Rc;
use std::task::Poll;

use device::DeviceIndex;
use device::sim::SimWorld;
use mail::Address;
use store::{Lsn, Purpose, Store, Tenant};
use tenancy::Settings;
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::account::AccountEntry;
use crate::domain::DomainEntry;
use crate::record::Entry;
use crate::*;

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

struct Rig {
    world: SimWorld,
    legs: [DeviceIndex; 2],
    witness: Rc<Memory>,
}

fn volume_settings() -> volume::Settings {
    volume::Settings {
        segment_bytes: 1 << 20,
        ..volume::Settings::default()
    }
}

impl Rig {
    fn new(seed: u64) -> Rig {
        let world = SimWorld::new(seed);
        let legs = [world.add_disk(40 << 20), world.add_disk(40 << 20)];
        let rig = Rig {
            world,
            legs,
            witness: Rc::default(),
        };
        let (io, settings, witness) = (rig.world.io(), volume_settings(), rig.witness.clone());
        rig.world.block_on(async {
            let created = Volume::create(&io, &rig.legs, &settings, &*witness, seed);
            created.await.expect("a volume");
        });
        rig
    }

    async fn open(&self) -> Directory {
        let io = self.world.io();
        let settings = volume_settings();
        let opened = Volume::open(&io, &self.legs, &settings, self.witness.clone());
        let volume = opened.await.expect("it opens");
        let settings = store::Settings {
            projection_cache_bytes: 1 << 20,
            compression_level: 0,
            lead: store::no_lead,
        };
        let (store, replay) = Store::open(io.clone(), volume, settings)
            .await
            .expect("a store");
        let never = Settings {
            checkpoint_groups: u64::MAX,
            checkpoint_bytes: u64::MAX,
            checkpoint_us: u64::MAX,
        };
        let tenancy = Tenancy::new(io, store, never);
        let directory = Directory::new(&tenancy);
        tenancy
            .open(replay, vec![directory.tenant()])
            .await
            .expect("a directory");
        directory
    }

    /// The power goes, and the directory is opened again.
    fn reopened<T>(&self, look: impl AsyncFnOnce(Directory) -> T) -> T {
        self.world.crash();
        self.world.block_on(async { look(self.open().await).await })
    }
}

fn address(local: &str) -> Address {
    Address::from_parts(local, "example.org").expect("an address")
}

/// As `mailbox` does it, without mailboxes.
async fn add(directory: &Directory, local: &str) -> Result<AccountId, DirectoryFault> {
    let vacancy = directory.vacancy(&address(local)).await?;
    let (account, part) = vacancy.take("$argon2id$", 0)?;
    let committed = directory
        .inner
        .tenancy
        .commit(Purpose::Keep, vec![], vec![part]);
    committed.await?;
    Ok(account)
}

async fn remove(directory: &Directory, account: AccountId) -> Result<(), DirectoryFault> {
    let leaving = directory.leaving(account).await?;
    let (part, _locked) = leaving.part();
    let committed = directory
        .inner
        .tenancy
        .commit(Purpose::Delete, vec![], vec![part]);
    Ok(committed.await.map(drop)?)
}

async fn locals(directory: &Directory) -> Vec<String> {
    let accounts = directory.accounts(None, usize::MAX).await.expect("a list");
    accounts
        .iter()
        .map(|account| account.address.local().to_owned())
        .collect()
}

/// Both at once, from the same turn on.
async fn together<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut done_a, mut done_b) = (None, None);
    poll_fn(|context| {
        fn step<T>(
            future: &mut Pinned<&mut impl Future<Output = T>>,
            done: &mut Option<T>,
            context: &mut std::task::Context<'_>,
        ) {
            if done.is_none()
                && let Poll::Ready(result) = future.as_mut().poll(context)
            {
                *done = Some(result);
            }
        }
        step(&mut a, &mut done_a, context);
        step(&mut b, &mut done_b, context);
        match done_a.is_some() && done_b.is_some() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    (done_a.expect("done"), done_b.expect("done"))
}

#[test]
fn every_record_comes_back_as_it_was_and_every_cut_is_refused() {
    for entry in fuzzing::entries() {
        let record = entry.encode();
        assert!(share().owns(&record), "{entry:?}");
        assert_eq!(Entry::decode(&record).as_ref(), Ok(&entry));
        for end in 0..record.payload.len() {
            let cut = store::Record {
                kind: record.kind,
                payload: record.payload.slice(..end),
            };
            assert!(Entry::decode(&cut).is_err(), "{entry:?} to {end}");
        }
        let shown = salvage::describe(&record).expect("it can be read");
        assert!(!shown.contains('$'), "no secret is shown: {shown}");
    }
}

#[test]
fn accounts_are_there_after_a_crash_with_a_checkpoint_and_without() {
    let rig = Rig::new(1);
    let ada = rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("Example.ORG").await.unwrap();
        let ada = add(&directory, "ada").await.unwrap();
        add(&directory, "bob").await.unwrap();
        directory.inner.tenancy.checkpoint().await.unwrap();
        add(&directory, "eve").await.unwrap();
        directory.set_quota(ada, 77).await.unwrap();
        directory.set_password_hash(ada, "$new").await.unwrap();
        ada
    });
    rig.reopened(async |directory| {
        assert_eq!(directory.domains(), ["example.org"]);
        assert_eq!(locals(&directory).await, ["ada", "bob", "eve"]);
        let found = directory
            .account(&address("ADA+news"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((found.id, found.quota_bytes), (ada, 77));
        assert_eq!(found.password_hash, "$new");
        remove(&directory, ada).await.unwrap();
        directory.inner.tenancy.checkpoint().await.unwrap();
    });
    rig.reopened(async |directory| {
        assert_eq!(locals(&directory).await, ["bob", "eve"]);
        assert_eq!(directory.account(&address("ada")).await, Ok(None));
        let again = add(&directory, "ada").await.unwrap();
        assert!(again.0 > 3, "no number is given twice: {again:?}");
    });
}

#[test]
fn one_address_is_given_once() {
    let rig = Rig::new(2);
    rig.world.block_on(async {
        let directory = rig.open().await;
        let stranger = add(&directory, "ada").await;
        assert!(
            matches!(stranger, Err(DirectoryFault::Refused(_))),
            "{stranger:?}"
        );
        directory.add_domain("example.org").await.unwrap();
        let both = together(add(&directory, "ada"), add(&directory, "Ada")).await;
        assert!(
            matches!(both, (Ok(_), Err(DirectoryFault::Exists))),
            "{both:?}"
        );
        let gone = AccountId(99);
        assert_eq!(
            directory.set_quota(gone, 1).await,
            Err(DirectoryFault::NoAccount)
        );
        assert_eq!(
            remove(&directory, gone).await,
            Err(DirectoryFault::NoAccount)
        );
    });
}

#[test]
fn a_domain_is_not_removed_under_an_account_on_its_way() {
    let rig = Rig::new(3);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        let vacancy = directory.vacancy(&address("ada")).await.unwrap();
        let coming = async {
            let (_, part) = vacancy.take("$", 0)?;
            let committed = directory
                .inner
                .tenancy
                .commit(Purpose::Keep, vec![], vec![part]);
            Ok::<(), DirectoryFault>(committed.await.map(drop)?)
        };
        let both = together(coming, directory.remove_domain("example.org")).await;
        assert_eq!(both.0, Ok(()));
        assert!(
            matches!(both.1, Err(DirectoryFault::Refused(_))),
            "{both:?}"
        );
        directory.add_domain("example.net").await.unwrap();
        let bob = Address::from_parts("bob", "example.net").unwrap();
        let vacancy = directory.vacancy(&bob).await.unwrap();
        // The removal is on its way when the account would be numbered.
        let late = async {
            base::host::sleep_us(&*rig.world.io().host, 1).await;
            vacancy.take("$", 0).map(|(account, _)| account)
        };
        let both = together(directory.remove_domain("example.net"), late).await;
        assert_eq!(both.0, Ok(()));
        assert!(
            matches!(both.1, Err(DirectoryFault::Refused(_))),
            "{both:?}"
        );
    });
}

/// What is visible of a domain is what was durable before the change that is on its way; reclaim must not write that down behind it.
#[test]
fn a_change_of_a_domain_on_its_way_is_not_undone_by_reclaim() {
    let rig = Rig::new(58);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("gone.example").await.unwrap();
        let put = Entry::Domain(DomainEntry::Put {
            domain: "gone.example".to_owned(),
        });
        let carried = directory.inner.carry_forward(vec![(Lsn(1), put.encode())]);
        let both = together(directory.remove_domain("gone.example"), carried).await;
        assert_eq!(both, (Ok(()), Ok(())));
        assert!(!directory.has_domain("gone.example"));
    });
    rig.reopened(async |directory| {
        assert!(!directory.has_domain("gone.example"), "in the log too");
    });
}

/// DESIGN.md A6: the projection may be thrown away, and records that a snapshot covers may be gone.
#[test]
fn what_reclaim_carries_forward_stands_for_what_was_there() {
    let rig = Rig::new(5);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        let ada = add(&directory, "ada").await.unwrap();
        let bob = add(&directory, "bob").await.unwrap();
        directory.set_quota(ada, 5).await.unwrap();
        remove(&directory, bob).await.unwrap();
        let lsn = directory.inner.tenancy.applied();
        let old = |entry: AccountEntry| (lsn, Entry::Account(entry).encode());
        let records = vec![
            old(AccountEntry::Quota {
                account: ada,
                quota_bytes: 5,
            }),
            old(AccountEntry::Remove { account: bob }),
        ];
        let weighed = directory.inner.carried_bytes(&records).await.unwrap();
        assert!(weighed > 500, "{weighed}");
        directory
            .inner
            .carry_forward(records.clone())
            .await
            .unwrap();
        // A snapshot covers it now: nothing is written twice, but for the removal.
        let again = directory.inner.carried_bytes(&records).await.unwrap();
        assert!(again < weighed, "{again} of {weighed}");
        directory
            .inner
            .tenancy
            .store()
            .request_rebuild()
            .await
            .unwrap();
    });
    rig.reopened(async |directory| {
        assert_eq!(locals(&directory).await, ["ada"]);
        let ada = directory.account(&address("ada")).await.unwrap().unwrap();
        assert_eq!(ada.quota_bytes, 5);
        assert_eq!(directory.domains(), ["example.org"]);
        let refused = directory.remove_domain("example.org").await;
        assert!(
            matches!(refused, Err(DirectoryFault::Refused(_))),
            "{refused:?}"
        );
    });
}
