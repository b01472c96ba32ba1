//! The lessons alone on their log, on the simulated machine; and one model by itself.

mod fair;

use device::DeviceIndex;
use device::sim::{Halt, SimWorld};
use store::Store;
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::fuzzing::changes;
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

    async fn open(&self) -> Lessons {
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
        let lessons = Lessons::new(&tenancy);
        let tenants = vec![lessons.tenant()];
        tenancy.open(replay, tenants).await.expect("lessons");
        lessons.inner.state.borrow().check();
        lessons
    }

    /// The power goes, and the lessons are opened again.
    fn reopened<T>(&self, look: impl AsyncFnOnce(Lessons) -> T) -> T {
        self.world.crash();
        self.world.block_on(async { look(self.open().await).await })
    }
}

fn domain() -> Whom {
    Whom::Domain("example.org".to_owned())
}

/// Words spread over the numbers, as hashes are.
fn words(from: u64, count: usize) -> Vec<u64> {
    let spread = |word: u64| word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut words: Vec<u64> = (from..from + count as u64).map(spread).collect();
    words.sort_unstable();
    words
}

fn lesson(message: u64, kind: Option<Kind>) -> Lesson {
    Lesson {
        message: message << 1,
        kind,
        words: words(message * 3, 100),
    }
}

/// Without the place in the log up to which a snapshot covers it.
fn models(lessons: &Lessons) -> Vec<(Whom, Model)> {
    let state = lessons.inner.state.borrow();
    state.check();
    let bare = |(whom, model): (&Whom, &Model)| {
        let mut model = model.clone();
        model.snapshot = Lsn(0);
        (whom.clone(), model)
    };
    state.models.iter().map(bare).collect()
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
fn a_message_counts_once_and_the_other_way_round_takes_it_back() {
    let mut model = Model::default();
    let (junk, good) = (lesson(1, Some(Kind::Junk)), lesson(1, Some(Kind::Good)));
    model.take(&junk);
    let once = model.clone();
    model.take(&junk);
    assert_eq!(model, once, "taught twice");
    assert_eq!((model.totals(), model.words_count()), ((1, 0), 100));
    model.take(&good);
    assert_eq!((model.totals(), model.words_count()), ((0, 1), 100));
    assert!(model.counts(&good.words).all(|counts| counts == (0, 1)));
    model.take(&lesson(1, None));
    assert_eq!(model, Model::default(), "nothing is left of it");
    model.take(&lesson(2, None));
    assert_eq!(model, Model::default(), "it was not known");
}

#[test]
fn counts_are_halved_before_they_leave_a_byte_and_words_past_the_bound_go_that_were_seen_least() {
    let mut model = Model::default();
    let common = words(1, 10);
    for message in 0..1_000u64 {
        let mut all = [common.clone(), words(1_000 + message * 90, 90)].concat();
        all.sort_unstable();
        let kind = if message % 3 == 0 {
            Kind::Good
        } else {
            Kind::Junk
        };
        model.take(&Lesson {
            message: message << 1,
            kind: Some(kind),
            words: all,
        });
        let (junk, good) = model.totals();
        assert!(junk < LESSONS_MAX && good < LESSONS_MAX);
        assert!(model.words_count() <= WORDS_PER_MODEL_MAX);
        assert!(model.messages_count() <= MESSAGES_PER_MODEL_MAX);
        for counts in model.counts(&common) {
            assert_eq!(counts, (junk, good), "a word of every message");
        }
    }
    let mut row = Vec::new();
    model.encode(&mut row);
    assert!(row.len() <= ROW_BYTES_MAX && model.words_count() >= WORDS_PER_MODEL_KEPT);
    fuzzing::row(&row);
}

#[test]
fn what_was_taught_is_there_after_a_crash_with_a_checkpoint_and_without() {
    let rig = Rig::new(1);
    let of = [Whom::Account(1), domain()];
    let live = rig.world.block_on(async {
        let lessons = rig.open().await;
        for message in 0..60 {
            let kind = if message % 2 == 0 {
                Kind::Junk
            } else {
                Kind::Good
            };
            let learned = lessons.learn(&of, lesson(message, Some(kind))).await;
            assert_eq!(learned, Ok(true));
            if message == 30 {
                lessons.inner.tenancy.checkpoint().await.unwrap();
            }
        }
        let again = lesson(59, Some(Kind::Good));
        assert_eq!(lessons.learn(&of, again).await, Ok(false), "it is known");
        let back = lesson(58, None);
        assert_eq!(lessons.learn(&of[..1], back).await, Ok(true));
        assert_eq!(lessons.with(&of[0], Model::totals), Some((29, 30)));
        assert_eq!(lessons.with(&of[1], Model::totals), Some((30, 30)));
        models(&lessons)
    });
    rig.reopened(async |lessons| {
        assert_eq!(models(&lessons), live);
        assert_eq!(lessons.remove(&of[0]).await, Ok(true));
        assert_eq!(lessons.remove(&of[0]).await, Ok(false));
        assert_eq!(lessons.forget(&of[1]).await, Ok(true));
        lessons.inner.tenancy.checkpoint().await.unwrap();
    });
    rig.reopened(async |lessons| {
        assert_eq!(lessons.owners(), [domain()]);
        assert_eq!(lessons.with(&domain(), Model::totals), Some((0, 0)));
    });
}

#[test]
fn a_lesson_is_there_after_its_answer_whenever_the_power_goes() {
    let mut seen = [0, 0];
    for seed in 0..30 {
        let rig = Rig::new(seed);
        let acked: Result<_, Halt> = rig.world.run(async {
            let lessons = rig.open().await;
            let cut = rig.world.draw(1..12);
            rig.world.crash_at(rig.world.boundaries() + cut);
            let of = [Whom::Account(1), domain()];
            lessons.learn(&of, lesson(1, Some(Kind::Junk))).await
        });
        rig.reopened(async |lessons| {
            let (count, _) = lessons.count();
            assert!(
                count == 2 || count == 0 && !matches!(acked, Ok(Ok(_))),
                "seed {seed}"
            );
            seen[count / 2] += 1;
        });
    }
    assert!(seen.iter().all(|count| *count > 2), "{seen:?}");
}

/// Many lessons of one domain, some persons that were taught long ago: reclaim empties their segments, the projection is thrown away, and a
/// rebuild from what is left of the log gives the same models. An emptied one stays empty.
#[test]
fn reclaim_carries_models_forward_and_not_their_lessons() {
    let rig = Rig::new(3);
    let live = rig.world.block_on(async {
        let lessons = rig.open().await;
        for account in 0..6 {
            let taught = lesson(account, Some(Kind::Good));
            lessons
                .learn(&[Whom::Account(account as u32)], taught)
                .await
                .unwrap();
        }
        lessons.forget(&Whom::Account(5)).await.unwrap();
        for message in 0..4_000u64 {
            // The words of a message are always the same: taught again and again it takes room in the log alone.
            let kind = if message % 2 == 0 {
                Kind::Junk
            } else {
                Kind::Good
            };
            lessons
                .learn(&[domain()], lesson(message % 7, Some(kind)))
                .await
                .unwrap();
        }
        let mut freed = 0;
        for _ in 0..14 {
            lessons.inner.tenancy.checkpoint().await.unwrap();
            freed += lessons.inner.tenancy.reclaim().await;
        }
        assert!(freed > 0, "{freed} segments were freed");
        let live = models(&lessons);
        lessons
            .inner
            .tenancy
            .store()
            .request_rebuild()
            .await
            .unwrap();
        live
    });
    rig.reopened(async |lessons| {
        assert!(lessons.inner.tenancy.store().open_report().rebuilt);
        assert_eq!(models(&lessons), live);
        assert_eq!(lessons.with(&Whom::Account(5), Model::totals), Some((0, 0)));
    });
}

#[test]
fn a_snapshot_stands_for_the_lessons_before_it_and_is_carried_once() {
    let rig = Rig::new(4);
    rig.world.block_on(async {
        let lessons = rig.open().await;
        let of = [Whom::Account(1), domain()];
        lessons
            .learn(&of, lesson(1, Some(Kind::Junk)))
            .await
            .unwrap();
        let inner = &lessons.inner;
        let at = inner.tenancy.applied();
        let learned = Change::Learn {
            of: of.to_vec(),
            lesson: lesson(1, Some(Kind::Junk)),
        };
        let records = vec![(at, learned.encode())];
        assert_eq!(inner.owed(&records).unwrap().len(), 2);
        let before = models(&lessons);
        store::Tenant::carry_forward(&**inner, records.clone())
            .await
            .unwrap();
        assert!(inner.owed(&records).unwrap().is_empty(), "both are covered");
        assert_eq!(models(&lessons), before);
        // A rebuild from the snapshots alone.
        let mut state = State::default();
        for (whom, model) in &inner.state.borrow().models {
            let snapshot = Change::Snapshot {
                whom: whom.clone(),
                model: model.clone(),
            };
            snapshot.apply(Lsn(9), &mut state);
        }
        state.check();
        assert_eq!(state.words, inner.state.borrow().words);
    });
}

#[test]
fn bounds_refuse_lessons_and_nothing_else() {
    let rig = Rig::new(5);
    rig.world.block_on(async {
        let lessons = rig.open().await;
        let long = Lesson {
            words: words(1, WORDS_PER_LESSON_MAX + 1),
            ..lesson(1, Some(Kind::Junk))
        };
        let unsorted = Lesson {
            words: vec![2, 1],
            ..lesson(1, Some(Kind::Junk))
        };
        for bad in [long, unsorted] {
            let refused = lessons.learn(&[domain()], bad).await;
            assert!(
                matches!(refused, Err(LessonFault::Refused(_))),
                "{refused:?}"
            );
        }
        lessons
            .learn(&[domain()], lesson(1, Some(Kind::Junk)))
            .await
            .unwrap();
        {
            let mut state = lessons.inner.state.borrow_mut();
            for account in 1..MODELS_MAX as u32 {
                state
                    .models
                    .insert(Whom::Account(account), Model::default());
            }
        }
        // The domain has a model; the person has none, and none is made.
        let both = [Whom::Account(u32::MAX), domain()];
        assert_eq!(
            lessons.learn(&both, lesson(2, Some(Kind::Junk))).await,
            Ok(true)
        );
        assert_eq!(lessons.with(&both[0], Model::totals), None);
        assert_eq!(lessons.with(&both[1], Model::totals), Some((2, 0)));
        let refused = lessons.learn(&both[..1], lesson(3, Some(Kind::Junk))).await;
        assert_eq!(refused, Err(LessonFault::Full));
        // Many models at once: a checkpoint comes first.
        let mut refused = None;
        for account in 1..100 {
            let of = [Whom::Account(account)];
            let learned = lessons.learn(&of, lesson(9, Some(Kind::Junk)));
            refused = learned.await.err();
            if refused.is_some() {
                assert!(account > DIRTY_MAX as u32 - 4, "{account}");
                break;
            }
        }
        assert!(
            matches!(refused, Some(LessonFault::Store(_))),
            "{refused:?}"
        );
        assert!(
            !lessons.inner.state.borrow().is_behind(4),
            "mail never waits"
        );
        assert!(
            lessons.inner.state.borrow().is_behind(2),
            "a checkpoint is due"
        );
        lessons.inner.tenancy.checkpoint().await.unwrap();
        let of = [Whom::Account(99)];
        let learned = lessons.learn(&of, lesson(9, Some(Kind::Junk)));
        assert_eq!(learned.await, Ok(true));
        lessons.inner.state.borrow_mut().words = WORDS_MAX;
        let refused = lessons.learn(&both[1..], lesson(3, Some(Kind::Junk))).await;
        assert_eq!(refused, Err(LessonFault::Full));
    });
}

/// What is in memory once `changes` are all that the log has.
fn rebuilt(changes: &[Change]) -> Vec<(Whom, Model)> {
    let mut state = State::default();
    for (lsn, change) in (1..).zip(changes) {
        change.apply(Lsn(lsn), &mut state);
    }
    state.check();
    let bare = |(whom, mut model): (Whom, Model)| {
        model.snapshot = Lsn(0);
        (whom, model)
    };
    state.models.into_iter().map(bare).collect()
}

/// The segment of a removal is freed, those of older lessons are not: a rebuild from what is left must give what was there. Three owners: one
/// that is gone, one that is gone and was taught again (a domain that was added again), one that was emptied.
#[test]
fn a_removed_model_does_not_come_back_when_the_segment_of_its_removal_is_freed() {
    let rig = Rig::new(6);
    rig.world.block_on(async {
        let lessons = rig.open().await;
        let gone = Whom::Account(7);
        let emptied = Whom::Domain("example.net".to_owned());
        let learned = |of: &Whom, message| Change::Learn {
            of: vec![of.clone()],
            lesson: lesson(message, Some(Kind::Junk)),
        };
        let mut log = Vec::new();
        for of in [&gone, &domain(), &emptied] {
            let one = lesson(1, Some(Kind::Junk));
            assert_eq!(lessons.learn(std::slice::from_ref(of), one).await, Ok(true));
            log.push(learned(of, 1));
        }
        assert_eq!(lessons.remove(&gone).await, Ok(true));
        assert_eq!(lessons.remove(&domain()).await, Ok(true));
        assert_eq!(lessons.forget(&emptied).await, Ok(true));
        let freed = [
            Change::Remove { whom: gone },
            Change::Remove { whom: domain() },
            Change::Snapshot {
                whom: emptied,
                model: Model::default(),
            },
        ];
        let at = lessons.inner.tenancy.applied();
        let again = lesson(2, Some(Kind::Junk));
        assert_eq!(lessons.learn(&[domain()], again).await, Ok(true));
        log.push(learned(&domain(), 2));
        let live = models(&lessons);
        assert_ne!(rebuilt(&log), live, "the freed records matter");

        let records: Vec<_> = freed.iter().map(|change| (at, change.encode())).collect();
        let inner = &lessons.inner;
        log.extend(inner.carried(&records).unwrap());
        assert_eq!(rebuilt(&log), live);
        // It says so in the log itself, and what is there stays.
        let before = inner.tenancy.applied();
        store::Tenant::carry_forward(&**inner, records)
            .await
            .unwrap();
        assert!(inner.tenancy.applied() > before);
        assert_eq!(models(&lessons), live);
        // The removal that was carried is carried again, and not for an owner that has a model.
        let removal = Change::Remove {
            whom: Whom::Account(7),
        };
        let records = [(inner.tenancy.applied(), removal.encode())];
        assert_eq!(inner.carried(&records), Ok(vec![removal]));
    });
}

/// A segment with a word of many small models costs what they are, not what they could be: otherwise it is never worth freeing.
#[test]
fn what_reclaim_would_write_is_weighed_by_the_models_sizes() {
    let rig = Rig::new(7);
    rig.world.block_on(async {
        let lessons = rig.open().await;
        let mut records = Vec::new();
        for account in 0..20u32 {
            let taught = lesson(account.into(), Some(Kind::Good));
            let of = vec![Whom::Account(account)];
            lessons.learn(&of, taught.clone()).await.unwrap();
            let learned = Change::Learn { of, lesson: taught };
            records.push((lessons.inner.tenancy.applied(), learned.encode()));
        }
        let inner = &lessons.inner;
        let weighed = store::Tenant::carried_bytes(&**inner, &records).await;
        let changes = inner.carried(&records).unwrap();
        let written = changes.iter().map(|change| change.encode().payload.len());
        let written = written.sum::<usize>() as u64;
        let weighed = weighed.unwrap();
        assert!(
            weighed >= written && weighed <= written + 20 * 200,
            "{weighed} for {written}"
        );
    });
}

/// A rebuild may hold more models than lessons may make, until it reads a removal that reclaim wrote again behind newer lessons.
#[test]
fn more_models_than_lessons_may_make_do_not_stop_an_opening() {
    let rig = Rig::new(8);
    let most = MODELS_MAX + 3;
    rig.world.block_on(async {
        let lessons = rig.open().await;
        {
            let mut state = lessons.inner.state.borrow_mut();
            for account in 0..most as u32 {
                state.change(&Whom::Account(account), |_| {});
            }
        }
        lessons.inner.tenancy.checkpoint().await.unwrap();
    });
    rig.reopened(async |lessons| {
        assert_eq!(lessons.count().0, most);
        let one = lesson(1, Some(Kind::Junk));
        let refused = lessons.learn(&[domain()], one.clone()).await;
        assert_eq!(refused, Err(LessonFault::Full), "and no more are made");
        let known = [Whom::Account(5)];
        assert_eq!(lessons.learn(&known, one).await, Ok(true));
    });
}

/// What could not be read back is not written: the volume would never open again.
#[test]
fn owners_that_no_record_can_hold_are_refused() {
    let rig = Rig::new(9);
    rig.world.block_on(async {
        let lessons = rig.open().await;
        let named = |bytes: usize| Whom::Domain("x".repeat(bytes));
        let account = Whom::Account(1);
        for bad in [
            vec![named(0)],
            vec![account.clone(), named(DOMAIN_BYTES_MAX + 1)],
            vec![account.clone(), named(1), named(2)],
        ] {
            let refused = lessons.learn(&bad, lesson(1, Some(Kind::Junk))).await;
            assert!(
                matches!(refused, Err(LessonFault::Refused(_))),
                "{refused:?}"
            );
        }
        assert_eq!(lessons.count(), (0, 0));
        let longest = [account, named(DOMAIN_BYTES_MAX)];
        let learned = lessons.learn(&longest, lesson(1, Some(Kind::Junk))).await;
        assert_eq!(learned, Ok(true));
    });
    rig.reopened(async |lessons| {
        assert_eq!(lessons.count().0, 2);
        lessons.inner.tenancy.checkpoint().await.unwrap();
    });
    rig.reopened(async |lessons| assert_eq!(lessons.count().0, 2));
}
