//! What is kept about logins alone on its log, on the simulated machine.

use std::collections::BTreeMap;

use device::DeviceIndex;
use device::sim::{Halt, SimWorld};
use store::Store;
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::fuzzing::{app, changes, main_of};
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

    async fn open(&self) -> Keyring {
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
        let never = tenancy::Settings {
            checkpoint_groups: u64::MAX,
            checkpoint_bytes: u64::MAX,
            checkpoint_us: u64::MAX,
        };
        let tenancy = Tenancy::new(io, store, never);
        let keyring = Keyring::new(&tenancy);
        let tenants = vec![keyring.tenant()];
        tenancy.open(replay, tenants).await.expect("logins");
        keyring.inner.state.borrow().check();
        keyring
    }

    /// The power goes, and the log is opened again.
    fn reopened<T>(&self, look: impl AsyncFnOnce(Keyring) -> T) -> T {
        self.world.crash();
        self.world.block_on(async { look(self.open().await).await })
    }
}

/// One group with this part.
async fn commit(keyring: &Keyring, part: Part) -> Result<Committed, StoreFault> {
    let tenancy = &keyring.inner.tenancy;
    tenancy.commit(Purpose::Keep, Vec::new(), vec![part]).await
}

async fn put(keyring: &Keyring, account: u32, row: Row) {
    let changing = keyring.changing(account).await.expect("room");
    changing.put(row).await.expect("it is written");
}

fn row_of(apps: &[u32]) -> Row {
    Row {
        main: Some(main_of(1)),
        apps: apps.iter().map(|number| app(*number)).collect(),
        app_next: 9,
    }
}

#[test]
fn every_record_comes_back_as_it_was_and_every_cut_is_refused() {
    for change in changes() {
        let record = change.encode();
        assert!(share().owns(&record), "{change:?}");
        assert_eq!(Change::decode(&record).as_ref(), Ok(&change));
        for end in 0..record.payload.len() {
            let cut = Record {
                kind: record.kind,
                payload: record.payload[..end].to_vec().into(),
            };
            assert_eq!(Change::decode(&cut), Err(Broken), "{change:?} {end}");
        }
    }
}

#[test]
fn nothing_secret_is_printed() {
    for change in changes() {
        let printed = format!("{change:?} {}", change.describe());
        assert!(
            !printed.contains("5, 5") && !printed.contains("3, 3"),
            "{printed}"
        );
    }
    let printed = format!("{:?}", row_of(&[1]));
    assert!(
        !printed.contains("254"),
        "a byte of a server key: {printed}"
    );
}

/// Any changes, a power cut at any of them, against a map: what was answered is there, and nothing else is.
#[test]
fn rows_are_those_of_a_map_whenever_the_power_goes() {
    for seed in 0..25 {
        let rig = Rig::new(seed);
        let mut model: BTreeMap<u32, Row> = BTreeMap::new();
        for _ in 0..4 {
            // What was asked for when the power went may be there or not.
            let open: RefCell<Option<(u32, Option<Row>)>> = RefCell::default();
            let kept = RefCell::new(std::mem::take(&mut model));
            let ended: Result<(), Halt> = rig.world.run(async {
                let keyring = rig.open().await;
                rig.world
                    .crash_at(rig.world.boundaries() + rig.world.draw(4..60));
                for step in 0..24u32 {
                    let account = rig.world.draw(1..6) as u32;
                    let next = match rig.world.draw(0..5) {
                        0 => None,
                        1 => Some(Row::default()),
                        _ => Some(row_of(&[step])),
                    };
                    if rig.world.draw(0..6) == 0 {
                        keyring.inner.tenancy.checkpoint().await.unwrap();
                    }
                    *open.borrow_mut() = Some((account, next.clone()));
                    let changing = keyring.changing(account).await.unwrap();
                    match &next {
                        Some(row) => changing.put(row.clone()).await.unwrap(),
                        None => {
                            if let Some(part) = changing.removed() {
                                commit(&keyring, part).await.unwrap();
                            }
                        }
                    }
                    match next {
                        Some(row) => _ = kept.borrow_mut().insert(account, row),
                        None => _ = kept.borrow_mut().remove(&account),
                    }
                    *open.borrow_mut() = None;
                }
            });
            model = kept.into_inner();
            let open = open.into_inner();
            assert!(ended.is_err() || open.is_none(), "seed {seed}");
            model = rig.reopened(async |keyring| {
                let mut found = BTreeMap::new();
                for account in 1..6 {
                    if let Some(kept) = keyring.inner.kept(account).await.unwrap() {
                        found.insert(account, kept.row);
                    }
                }
                let mut with_open = model.clone();
                if let Some((account, next)) = open {
                    with_open.remove(&account);
                    with_open.extend(next.map(|row| (account, row)));
                }
                assert!(found == model || found == with_open, "seed {seed}");
                found
            });
        }
    }
}

#[test]
fn the_secret_is_made_once_and_stays() {
    let rig = Rig::new(1);
    rig.world.block_on(async {
        let keyring = rig.open().await;
        let both = (keyring.secret([1; 32]), keyring.secret([2; 32]));
        let (one, two) = (both.0.await, both.1.await);
        assert_eq!((one, two), (Ok([1; 32]), Ok([1; 32])));
    });
    rig.reopened(async |keyring| {
        assert_eq!(keyring.secret([3; 32]).await, Ok([1; 32]));
        keyring.inner.tenancy.checkpoint().await.unwrap();
    });
    rig.reopened(async |keyring| assert_eq!(keyring.secret([4; 32]).await, Ok([1; 32])));
}

#[test]
fn the_head_of_the_audit_only_goes_forward() {
    let rig = Rig::new(2);
    let head = |line| Head {
        line,
        hash: [line as u8; 32],
        unix_seconds: 5,
    };
    rig.world.block_on(async {
        let keyring = rig.open().await;
        assert_eq!(keyring.head(), None);
        keyring.set_head(head(7)).await.unwrap();
        keyring.set_head(head(3)).await.unwrap();
        assert_eq!(keyring.head(), Some(head(7)));
        keyring.inner.tenancy.checkpoint().await.unwrap();
    });
    rig.reopened(async |keyring| assert_eq!(keyring.head(), Some(head(7))));
}

/// Many changes of few accounts: reclaim empties their segments, the projection is thrown away, and a rebuild from what is left of the log gives
/// the same rows, the same secret and head, and none of the accounts that are gone.
#[test]
fn reclaim_carries_what_nothing_else_says() {
    let rig = Rig::new(3);
    let full: Vec<u32> = (1..=limits::APPS_MAX as u32).collect();
    rig.world.block_on(async {
        let keyring = rig.open().await;
        keyring.secret([8; 32]).await.unwrap();
        let head = Head {
            line: 4,
            hash: [4; 32],
            unix_seconds: 4,
        };
        keyring.set_head(head).await.unwrap();
        for account in 0..6 {
            put(&keyring, account, row_of(&[account])).await;
        }
        let changing = keyring.changing(5).await.unwrap();
        let part = changing.removed().expect("it has a row");
        commit(&keyring, part).await.unwrap();
        drop(changing);
        for _ in 0..2_500 {
            put(&keyring, 100, row_of(&full)).await;
        }
        let mut freed = 0;
        for _ in 0..14 {
            keyring.inner.tenancy.checkpoint().await.unwrap();
            freed += keyring.inner.tenancy.reclaim().await;
        }
        assert!(freed > 0, "{freed} segments were freed");
        let store = keyring.inner.tenancy.store();
        store.request_rebuild().await.unwrap();
    });
    rig.reopened(async |keyring| {
        assert!(keyring.inner.tenancy.store().open_report().rebuilt);
        for account in 0..5 {
            assert_eq!(keyring.row(account).await, Ok(row_of(&[account])));
        }
        assert_eq!(keyring.row(5).await, Ok(Row::default()), "it is gone");
        assert_eq!(keyring.row(100).await, Ok(row_of(&full)));
        assert_eq!(keyring.secret([9; 32]).await, Ok([8; 32]));
        assert_eq!(keyring.head().map(|head| head.line), Some(4));
    });
}

/// The segment of a removal is freed, that of an older row is not.
#[test]
fn a_removed_row_does_not_come_back_when_the_segment_of_its_removal_is_freed() {
    let rig = Rig::new(4);
    rig.world.block_on(async {
        let keyring = rig.open().await;
        put(&keyring, 1, row_of(&[1])).await;
        put(&keyring, 2, row_of(&[2])).await;
        let inner = &keyring.inner;
        let changing = keyring.changing(1).await.unwrap();
        commit(&keyring, changing.removed().unwrap()).await.unwrap();
        drop(changing);
        let at = inner.tenancy.applied();
        let removal = Change::Remove { account: 1 };
        let records = vec![(at, removal.encode())];
        assert_eq!(inner.stands_for(1, at, true).await, Ok(Some(removal)));
        store::Tenant::carry_forward(&**inner, records)
            .await
            .unwrap();
        assert!(inner.tenancy.applied() > at, "it is said again");
        // An older row of an account that is gone is not.
        assert_eq!(inner.stands_for(1, at, false).await, Ok(None));
        assert!(inner.stands_for(2, at, false).await.unwrap().is_some());
        assert_eq!(inner.stands_for(2, Lsn(0), false).await, Ok(None));
    });
}

#[test]
fn bounds_refuse_changes_and_nothing_else() {
    let rig = Rig::new(5);
    rig.world.block_on(async {
        let keyring = rig.open().await;
        let many: Vec<u32> = (0..=limits::APPS_MAX as u32).collect();
        let named = |name: &str| Row {
            apps: vec![App {
                name: name.to_owned(),
                ..app(1)
            }],
            ..Row::default()
        };
        let mut unscoped = row_of(&[1]);
        unscoped.apps[0].scopes = 0;
        for bad in [
            row_of(&many),
            named(""),
            named(&"x".repeat(65)),
            named("a\nb"),
            unscoped,
        ] {
            let changing = keyring.changing(1).await.unwrap();
            let refused = changing.put(bad).await;
            assert!(
                matches!(refused, Err(LoginFault::Refused(_))),
                "{refused:?}"
            );
        }
        assert_eq!(keyring.row(1).await, Ok(Row::default()));
        // Until a checkpoint writes them, so many rows wait and no more.
        let full: Vec<u32> = (1..=limits::APPS_MAX as u32).collect();
        let inner = &keyring.inner;
        let mut account = 0;
        while inner.state.borrow().takes() {
            account += 1;
            let kept = Kept {
                row: row_of(&full),
                written: Lsn(1),
            };
            inner.state.borrow_mut().change(account, Some(kept));
        }
        assert!(account > 100, "{account}");
        let changing = keyring.changing(1).await.unwrap();
        let refused = changing.put(row_of(&full)).await;
        assert!(matches!(refused, Err(LoginFault::Store(_))), "{refused:?}");
        assert!(keyring.begun(20_000, main_of(1)).is_none());
        assert!(!inner.state.borrow().is_behind(4), "mail never waits");
        assert!(inner.state.borrow().is_behind(2), "a checkpoint is due");
        inner.tenancy.checkpoint().await.unwrap();
        inner.state.borrow().check();
        put(&keyring, 1, row_of(&full)).await;
        let part = keyring
            .begun(20_000, main_of(1))
            .expect("there is room again");
        commit(&keyring, part).await.unwrap();
        assert_eq!(keyring.row(20_000).await.unwrap().main, Some(main_of(1)));
    });
}
