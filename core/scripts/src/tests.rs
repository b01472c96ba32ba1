//! The scripts alone on their log, on the simulated machine; against a model with power cuts and rebuilds.

use device::DeviceIndex;
use device::sim::{Halt, SimWorld};
use store::Store;
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::fuzzing::changes;
use crate::*;

mod reclaim;

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

    async fn open(&self) -> Scripts {
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
        let scripts = Scripts::new(&tenancy);
        let tenants = vec![scripts.tenant()];
        tenancy.open(replay, tenants).await.expect("scripts");
        scripts.inner.state.borrow().check();
        scripts
    }

    /// The power goes, and the scripts are opened again.
    fn reopened<T>(&self, look: impl AsyncFnOnce(Scripts) -> T) -> T {
        self.world.crash();
        self.world.block_on(async { look(self.open().await).await })
    }
}

fn person() -> Owner {
    Owner::Account(1)
}

/// Everything that can be seen: each owner's scripts with their texts, and which is active.
type Seen = BTreeMap<Owner, (Vec<(String, Vec<u8>)>, Option<String>)>;

async fn seen(scripts: &Scripts) -> Seen {
    scripts.inner.state.borrow().check();
    let mut seen = Seen::new();
    for owner in scripts.owners() {
        let list = scripts.list(&owner);
        let mut all = Vec::new();
        for (script, _) in list.scripts() {
            let text = scripts.text(&owner, script.version).await;
            let text = text.expect("a text").expect("it is listed");
            assert_eq!(text.len(), script.bytes as usize);
            all.push((script.name.clone(), text.to_vec()));
        }
        all.sort();
        let active = list.active().map(|script| script.name.clone());
        if !all.is_empty() {
            seen.insert(owner, (all, active));
        }
    }
    seen
}

fn text(of: &str) -> Bytes {
    Bytes::copy_from_slice(of.as_bytes())
}

#[test]
fn every_record_comes_back_as_it_was_and_every_cut_is_refused() {
    for change in changes() {
        let record = change.encode();
        assert!(share().owns(&record), "{change:?}");
        assert_eq!(Change::decode(&record).as_ref(), Ok(&change));
        let is_text = matches!(&change, Change::List { text: Some(_), .. });
        // A text ends where its record does, and the log has a checksum over that.
        let cuts = record.payload.len() - if is_text { 5 } else { 0 };
        for end in 0..cuts {
            let cut = Record {
                kind: record.kind,
                payload: record.payload.slice(..end),
            };
            assert!(Change::decode(&cut).is_err(), "{change:?} to {end}");
        }
        assert!(describe(&record).is_some());
    }
    for record in fuzzing::records() {
        fuzzing::record(&record);
    }
    fuzzing::rows().iter().for_each(|row| fuzzing::row(row));
}

#[test]
fn what_was_stored_is_there_after_a_crash_with_a_checkpoint_and_without() {
    let rig = Rig::new(1);
    rig.world.block_on(async {
        let scripts = rig.open().await;
        assert_eq!(
            scripts.put(&person(), "a", text("keep;"), true).await,
            Ok(())
        );
        scripts.inner.tenancy.checkpoint().await.unwrap();
        assert_eq!(
            scripts.put(&Owner::Box, "all", text("stop;"), false).await,
            Ok(())
        );
        let active = scripts.active(&person()).await.unwrap();
        let version = Version::of(b"keep;");
        assert_eq!(active, Some((version, b"keep;"[..].into())));
        assert_eq!(scripts.active(&Owner::Box).await, Ok(None));
        assert_eq!(
            scripts.named_version(&Owner::Box, "all"),
            Some(Version::of(b"stop;"))
        );
    });
    rig.reopened(async |scripts| {
        let active = scripts.active(&person()).await.unwrap();
        assert_eq!(active.expect("a script").1[..], b"keep;"[..]);
        let renamed = scripts.rename(&person(), "a", "b").await;
        assert_eq!(renamed, Ok(()));
        scripts.inner.tenancy.checkpoint().await.unwrap();
        assert_eq!(scripts.forget(&Owner::Box).await, Ok(true));
        assert_eq!(scripts.forget(&Owner::Box).await, Ok(false));
    });
    rig.reopened(async |scripts| {
        assert_eq!(scripts.owners(), [person()]);
        let list = scripts.list(&person());
        assert_eq!(list.active().expect("it stayed active").name, "b");
        // A text that is not in memory is a row, and goes with its owner.
        let version = list.active().expect("some").version;
        assert!(scripts.text(&person(), version).await.unwrap().is_some());
        assert_eq!(scripts.forget(&person()).await, Ok(true));
        assert_eq!(scripts.text(&person(), version).await, Ok(None));
        scripts.inner.tenancy.checkpoint().await.unwrap();
        let row = scripts.inner.tenancy.store();
        let row = row.get(TEXTS, person().text_key(version)).await.unwrap();
        assert_eq!(row, None);
    });
}

/// The answer to a stored script stands for the script with its text, whenever the power goes.
#[test]
fn a_script_is_there_after_its_answer_whenever_the_power_goes() {
    let mut there = [0, 0];
    for seed in 0..30 {
        let rig = Rig::new(seed);
        let acked: Result<_, Halt> = rig.world.run(async {
            let scripts = rig.open().await;
            let cut = rig.world.draw(1..12);
            rig.world.crash_at(rig.world.boundaries() + cut);
            scripts.put(&person(), "a", text("keep;"), true).await
        });
        rig.reopened(async |scripts| {
            let active = scripts.active(&person()).await.unwrap();
            assert!(
                active.is_some() || !matches!(acked, Ok(Ok(_))),
                "seed {seed}"
            );
            there[usize::from(active.is_some())] += 1;
        });
    }
    assert!(there.iter().all(|count| *count > 2), "{there:?}");
}

#[test]
fn what_is_not_allowed_is_refused_and_changes_nothing() {
    let rig = Rig::new(2);
    rig.world.block_on(async {
        let scripts = rig.open().await;
        let owner = person();
        scripts.put(&owner, "a", text("keep;"), true).await.unwrap();
        scripts
            .put(&owner, "b", text("keep;"), false)
            .await
            .unwrap();
        let before = seen(&scripts).await;
        let refused = |refusal| Err(ScriptFault::Refused(refusal));
        assert_eq!(scripts.remove(&owner, "a").await, refused(Refusal::Active));
        assert_eq!(
            scripts.remove(&owner, "c").await,
            refused(Refusal::Nonexistent)
        );
        assert_eq!(
            scripts.activate(&owner, Some("c")).await,
            refused(Refusal::Nonexistent)
        );
        assert_eq!(
            scripts.rename(&owner, "a", "b").await,
            refused(Refusal::AlreadyExists)
        );
        assert_eq!(
            scripts.put(&owner, "", text(""), false).await,
            refused(Refusal::Name)
        );
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(
            scripts.rename(&owner, "a", &long).await,
            refused(Refusal::Name)
        );
        let large = Bytes::from(vec![b'#'; SCRIPT_BYTES_MAX + 1]);
        assert_eq!(
            scripts.put(&owner, "a", large, false).await,
            refused(Refusal::ScriptTooLarge)
        );
        assert_eq!(seen(&scripts).await, before);
        // Two scripts with one text: it stays until both are gone.
        assert_eq!(scripts.activate(&owner, None).await, Ok(()));
        assert_eq!(scripts.remove(&owner, "a").await, Ok(()));
        let version = scripts.named_version(&owner, "b").expect("it is there");
        assert!(scripts.text(&owner, version).await.unwrap().is_some());
        // The bounds of one owner.
        for count in 1..SCRIPTS_PER_OWNER_MAX {
            let name = count.to_string();
            assert_eq!(
                scripts.put(&owner, &name, text("stop;"), false).await,
                Ok(())
            );
        }
        let more = scripts.put(&owner, "more", text("stop;"), false).await;
        assert_eq!(more, refused(Refusal::TooMany));
        assert_eq!(scripts.has_room(&owner, "b", 9), Ok(()), "it is replaced");
        let each = |name: &str| scripts.has_room(&owner, name, OWNER_BYTES_MAX / 4);
        assert_eq!(each("b"), Ok(()));
        scripts.inner.state.borrow_mut().cost = LISTS_BYTES_MAX;
        let full = scripts.has_room(&Owner::Account(2), "a", 1);
        assert_eq!(full, Err(Refusal::BoxFull));
    });
}

/// Texts that wait for a checkpoint are bounded: the next one makes one.
#[test]
fn texts_in_memory_are_bounded_and_let_go_by_a_checkpoint() {
    let rig = Rig::new(3);
    rig.world.block_on(async {
        let scripts = rig.open().await;
        let large = |n: u8| Bytes::from(vec![n; 60 << 10]);
        let mut was_behind = false;
        for number in 0..60 {
            let owner = Owner::Account(u32::from(number));
            let put = scripts.put(&owner, "a", large(number), false).await;
            assert_eq!(put, Ok(()));
            let state = scripts.inner.state.borrow();
            state.check();
            was_behind |= state.is_behind(3);
            assert!(!state.is_behind(4), "mail goes on");
        }
        assert!(was_behind, "it came near the bound");
        scripts.inner.tenancy.checkpoint().await.unwrap();
        assert!(!scripts.inner.state.borrow().is_dirty());
        let first = Owner::Account(0);
        let read = scripts.text(&first, Version::of(&large(0))).await;
        assert_eq!(read.unwrap().expect("a row")[..], large(0)[..]);
    });
}

#[test]
fn keys_are_remembered_to_their_end_and_the_first_to_end_go_first() {
    let key = |n: u64| [&n.to_be_bytes()[..], &[7; 8]].concat().try_into().unwrap();
    let mut keys = keys::Keys::default();
    let ordered: Vec<(Key, u64)> = (0..1_200).map(|n| (key(n), 10_000 + n)).collect();
    keys.remember(&ordered, 0);
    assert_eq!(keys.len(), KEYS_PER_ACCOUNT_MAX);
    assert_eq!(keys.until(&key(199)), None);
    assert_eq!(keys.until(&key(200)), Some(10_200));
    // The order in which they come changes nothing, and a shorter time does not cut a longer one.
    let mut backwards = keys::Keys::default();
    for one in ordered.iter().rev() {
        backwards.remember(&[*one, (one.0, 5)], 0);
    }
    assert_eq!(backwards, keys);
    keys.remember(&[], 10_500);
    assert_eq!(keys.until(&key(500)), None);
    assert_eq!(keys.len(), 699);
    assert_eq!(keys::Keys::decode(&keys.encode()), Ok(keys));
}

async fn remember(scripts: &Scripts, account: u32, keys: &[(Key, u64)]) {
    let part = scripts.remember(account, keys.to_vec(), 1).unwrap();
    let tenancy = &scripts.inner.tenancy;
    let parts = vec![part];
    tenancy
        .commit(Purpose::Keep, Vec::new(), parts)
        .await
        .unwrap();
}

#[test]
fn keys_outlive_power_cuts_and_are_forgotten_when_they_end() {
    let rig = Rig::new(4);
    let far = 1 << 40;
    rig.world.block_on(async {
        let scripts = rig.open().await;
        remember(&scripts, 1, &[([1; 16], far), ([2; 16], 50)]).await;
        scripts.inner.tenancy.checkpoint().await.unwrap();
        remember(&scripts, 2, &[([3; 16], far)]).await;
        assert!(scripts.remembers(1, &[2; 16], 49));
        assert!(!scripts.remembers(1, &[2; 16], 50), "it ended");
        assert!(
            !scripts.remembers(2, &[1; 16], 1),
            "each account has its own"
        );
    });
    rig.reopened(async |scripts| {
        assert!(scripts.remembers(1, &[1; 16], 1) && scripts.remembers(2, &[3; 16], 1));
        assert_eq!(scripts.expire(60), 1);
        assert_eq!(scripts.count(), (0, 2));
        assert_eq!(scripts.owners(), [Owner::Account(1), Owner::Account(2)]);
        scripts.forget(&Owner::Account(2)).await.unwrap();
        let many = vec![([9; 16], far); KEYS_PER_RECORD_MAX + 1];
        assert!(scripts.remember(1, many, 1).is_err());
        scripts.inner.state.borrow_mut().keys_count = KEYS_MAX;
        let full = scripts.remember(1, vec![([9; 16], far)], 1).map(drop);
        assert_eq!(full, Err(ScriptFault::Refused(Refusal::KeysFull)));
        scripts.inner.state.borrow_mut().keys_count = 1;
        scripts.inner.tenancy.checkpoint().await.unwrap();
    });
    rig.reopened(async |scripts| {
        assert_eq!(scripts.owners(), [Owner::Account(1)]);
    });
}

#[derive(Debug, Clone)]
enum Step {
    Put(u32, u8, u16, bool),
    Activate(u32, Option<u8>),
    Rename(u32, u8, u8),
    Remove(u32, u8),
    Forget(u32),
    Remember(u32, u8),
    Checkpoint,
    /// Many of them, so that segments fill and are freed.
    Reclaim,
    Crash,
    Rebuild,
}

fn step() -> impl Strategy<Value = Step> {
    let of = || 0..3u32;
    let name = || 0..4u8;
    prop_oneof![
        8 => (of(), name(), 0..12u16, any::<bool>()).prop_map(|(of, name, text, active)| Step::Put(of, name, text, active)),
        2 => (of(), proptest::option::of(name())).prop_map(|(of, name)| Step::Activate(of, name)),
        2 => (of(), name(), name()).prop_map(|(of, from, to)| Step::Rename(of, from, to)),
        3 => (of(), name()).prop_map(|(of, name)| Step::Remove(of, name)),
        1 => of().prop_map(Step::Forget),
        2 => (of(), 0..6u8).prop_map(|(of, key)| Step::Remember(of, key)),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::Reclaim),
        2 => Just(Step::Crash),
        1 => Just(Step::Rebuild),
    ]
}

/// A text of one size for each number, some 20 KiB.
fn body(number: u16) -> Bytes {
    Bytes::from(vec![number as u8; 20 << 10])
}

/// What people did, as a map; and the keys that each account has.
#[derive(Default)]
struct Model {
    seen: Seen,
    keys: BTreeSet<(u32, u8)>,
}

impl Model {
    async fn take(&mut self, scripts: &Scripts, step: &Step) {
        let owner = |of: &u32| match of {
            0 => Owner::Box,
            1 => Owner::Domain("example.org".to_owned()),
            of => Owner::Account(*of),
        };
        let name = |name: &u8| format!("script {name}");
        match step {
            Step::Put(of, script, text, activates) => {
                let (of, name) = (owner(of), name(script));
                let put = scripts.put(&of, &name, body(*text), *activates).await;
                assert_eq!(put, Ok(()));
                let (all, active) = self.seen.entry(of).or_default();
                all.retain(|(known, _)| *known != name);
                all.push((name.clone(), body(*text).to_vec()));
                all.sort();
                if *activates {
                    *active = Some(name);
                }
            }
            Step::Activate(of, script) => {
                let script = script.as_ref().map(name);
                let done = scripts.activate(&owner(of), script.as_deref()).await;
                if done.is_ok()
                    && let Some((_, active)) = self.seen.get_mut(&owner(of))
                {
                    *active = script;
                }
            }
            Step::Rename(of, from, to) => {
                let (from, to) = (name(from), name(to));
                let done = scripts.rename(&owner(of), &from, &to).await;
                if done.is_ok() {
                    let (all, active) = self.seen.get_mut(&owner(of)).expect("it has one");
                    let mut its = all.iter_mut().filter(|(name, _)| *name == from);
                    its.next().expect("it was renamed").0.clone_from(&to);
                    all.sort();
                    if active.as_ref() == Some(&from) {
                        *active = Some(to);
                    }
                }
            }
            Step::Remove(of, script) => {
                let done = scripts.remove(&owner(of), &name(script)).await;
                if done.is_ok() {
                    let (all, _) = self.seen.get_mut(&owner(of)).expect("it has one");
                    all.retain(|(known, _)| *known != name(script));
                    if all.is_empty() {
                        self.seen.remove(&owner(of));
                    }
                }
            }
            Step::Forget(of) => {
                scripts.forget(&owner(of)).await.unwrap();
                self.seen.remove(&owner(of));
                if *of >= 2 {
                    self.keys.retain(|(account, _)| account != of);
                }
            }
            Step::Remember(of, key) => {
                remember(scripts, *of + 2, &[([*key; 16], 1 << 40)]).await;
                self.keys.insert((*of + 2, *key));
            }
            Step::Checkpoint => scripts.inner.tenancy.checkpoint().await.unwrap(),
            Step::Reclaim => {
                let filler = Owner::Account(99);
                for number in 0..60 {
                    let filling = body(1_000 + number % 4);
                    scripts.put(&filler, "a", filling, false).await.unwrap();
                    if number % 20 == 19 {
                        scripts.inner.tenancy.checkpoint().await.unwrap();
                        scripts.inner.tenancy.reclaim().await;
                    }
                }
                scripts.forget(&filler).await.unwrap();
            }
            Step::Crash | Step::Rebuild => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever people did, and however often the power went, the projection was lost and segments were freed: what was answered is there.
    #[test]
    fn scripts_and_keys_are_what_people_made_of_them(steps in proptest::collection::vec(step(), 1..60), seed in 0..1_000u64) {
        let rig = Rig::new(seed);
        let mut model = Model::default();
        let mut rest = &steps[..];
        while !rest.is_empty() {
            let is_end = |step: &Step| matches!(step, Step::Crash | Step::Rebuild);
            let count = rest.iter().position(is_end).map_or(rest.len(), |at| at + 1);
            let (now, later) = rest.split_at(count);
            rest = later;
            rig.world.block_on(async {
                let scripts = rig.open().await;
                for step in now {
                    model.take(&scripts, step).await;
                    assert_eq!(seen(&scripts).await, model.seen);
                }
                if matches!(now.last(), Some(Step::Rebuild)) {
                    scripts.inner.tenancy.store().request_rebuild().await.unwrap();
                }
            });
            rig.reopened(async |scripts| {
                assert_eq!(seen(&scripts).await, model.seen);
                for account in 2..5 {
                    for key in 0..6u8 {
                        let expected = model.keys.contains(&(account, key));
                        assert_eq!(scripts.remembers(account, &[key; 16], 1), expected);
                    }
                }
            });
        }
    }
}

#[test]
fn owners_are_listed_in_pieces_without_doubles() {
    let rig = Rig::new(9);
    rig.world.block_on(async {
        let scripts = rig.open().await;
        let domain = Owner::Domain("example.org".to_owned());
        let all = [Owner::Box, domain, Owner::Account(3), Owner::Account(300)];
        for owner in &all[..3] {
            scripts.put(owner, "a", text("keep;"), true).await.unwrap();
        }
        for account in [3, 300] {
            remember(&scripts, account, &[([1; 16], 1 << 40)]).await;
        }
        assert_eq!(scripts.owners(), all);
        let mut pieces = Vec::new();
        let mut after = None;
        for _ in 0..3 {
            let piece = scripts.owners_after(after.as_ref(), 2);
            after = piece.last().cloned();
            pieces.push(piece);
        }
        assert_eq!(pieces[..2], [all[..2].to_vec(), all[2..].to_vec()]);
        assert!(pieces[2].is_empty());
    });
}
