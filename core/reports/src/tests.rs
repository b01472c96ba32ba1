//! The sheets alone on their log, on the simulated machine.

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

    async fn open(&self) -> Reports {
        let reports = self.opened(true).await;
        reports.inner.state.borrow().check();
        reports
    }

    /// `is_tenant`: otherwise as a release opens it that has no reports.
    async fn opened(&self, is_tenant: bool) -> Reports {
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
        let reports = Reports::new(&tenancy);
        let tenants = is_tenant.then(|| reports.tenant()).into_iter();
        let opened = tenancy.open(replay, tenants.collect());
        opened.await.expect("sheets");
        reports
    }

    /// The power goes, and the sheets are opened again.
    fn reopened<T>(&self, look: impl AsyncFnOnce(Reports) -> T) -> T {
        self.world.crash();
        self.world.block_on(async { look(self.open().await).await })
    }
}

const SEEN: Subject = Subject(0);
const HEARD: Subject = Subject(2);

fn key(subject: Subject, day: u32, name: &str) -> Key {
    Key {
        subject,
        day: Day(day),
        name: name.to_owned(),
    }
}

fn counted(key: Key, lines: &[(&str, u64)]) -> Addition {
    Addition {
        key,
        head: b"p=none".to_vec(),
        once: None,
        lines: lines
            .iter()
            .map(|(line, count)| (line.as_bytes().to_vec(), *count))
            .collect(),
        other: 0,
    }
}

/// Without the place in the log up to which a snapshot covers it.
fn sheets(reports: &Reports) -> Vec<(Key, Sheet)> {
    reports.inner.state.borrow().check();
    let mut all = Vec::new();
    reports.each(|key, sheet| {
        let mut sheet = sheet.clone();
        sheet.snapshot = Lsn(0);
        all.push((key.clone(), sheet));
    });
    all
}

async fn close(reports: &Reports, key: &Key) -> Result<bool, ReportFault> {
    reports
        .close_with(key, 0, Vec::new(), || Ok(Vec::new()))
        .await
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
    fuzzing::records()
        .iter()
        .for_each(|one| fuzzing::record(one));
    fuzzing::rows().iter().for_each(|row| fuzzing::row(row));
}

#[test]
fn what_was_counted_is_there_after_a_crash_with_a_checkpoint_and_without() {
    let rig = Rig::new(1);
    let (one, two) = (key(SEEN, 5, "a.example"), key(SEEN, 6, "a.example"));
    let live = rig.world.block_on(async {
        let reports = rig.open().await;
        for turn in 0..20 {
            let additions = vec![
                counted(one.clone(), &[("x", 1), ("y", 2)]),
                counted(two.clone(), &[("x", turn)]),
            ];
            assert_eq!(reports.add(additions).await, Ok(0));
            if turn == 10 {
                reports.inner.tenancy.checkpoint().await.unwrap();
            }
        }
        assert_eq!(reports.with(&one, Sheet::total), Some(60));
        assert_eq!(close(&reports, &one).await, Ok(true));
        assert_eq!(close(&reports, &one).await, Ok(false), "once");
        sheets(&reports)
    });
    rig.reopened(async |reports| {
        assert_eq!(sheets(&reports), live);
        assert_eq!(close(&reports, &one).await, Ok(false), "also after a crash");
        let late = vec![counted(one.clone(), &[("x", 7)])];
        assert_eq!(reports.add(late).await, Ok(7), "it is closed");
        assert_eq!(reports.with(&one, Sheet::total), Some(0));
        assert_eq!(reports.forget_before(SEEN, Day(6)).await, Ok(true));
        assert_eq!(reports.forget_before(SEEN, Day(6)).await, Ok(false));
        let late = vec![counted(one.clone(), &[("x", 7)])];
        assert_eq!(reports.add(late).await, Ok(7), "its day is over");
    });
    rig.reopened(async |reports| {
        assert_eq!(sheets(&reports).len(), 1);
        assert_eq!(reports.with(&two, |sheet| sheet.lines.len()), Some(1));
    });
}

#[test]
fn a_volume_of_a_release_without_reports_opens() {
    let rig = Rig::new(7);
    rig.world.block_on(async {
        let older = rig.opened(false).await;
        older.inner.tenancy.checkpoint().await.unwrap();
    });
    let of = key(SEEN, 5, "a.example");
    rig.reopened(async |reports| {
        assert_eq!(reports.count(), (0, 0));
        reports
            .add(vec![counted(of.clone(), &[("x", 1)])])
            .await
            .unwrap();
        reports.inner.tenancy.checkpoint().await.unwrap();
    });
    rig.reopened(async |reports| {
        assert_eq!(reports.with(&of, Sheet::total), Some(1));
    });
}

#[test]
fn a_clock_that_was_wrong_once_stops_no_counting() {
    let rig = Rig::new(6);
    rig.world.block_on(async {
        let reports = rig.open().await;
        let of = key(SEEN, 5, "a.example");
        reports.add(vec![counted(of, &[("x", 1)])]).await.unwrap();
        assert_eq!(reports.forget_before(SEEN, Day(9_000)).await, Ok(true));
        assert_eq!(reports.count().0, 0);
        let of = key(SEEN, 6, "a.example");
        assert_eq!(reports.add(vec![counted(of, &[("x", 1)])]).await, Ok(0));
    });
}

#[test]
fn an_addition_with_a_mark_counts_once() {
    let rig = Rig::new(2);
    rig.world.block_on(async {
        let reports = rig.open().await;
        let of = key(HEARD, 5, "ours.example");
        let mut report = counted(of.clone(), &[("passed", 3)]);
        report.once = Some(b"org 1".to_vec());
        for _ in 0..3 {
            assert_eq!(reports.add(vec![report.clone()]).await, Ok(0));
        }
        report.once = Some(b"org 2".to_vec());
        assert_eq!(reports.add(vec![report]).await, Ok(0));
        let count = |sheet: &Sheet| sheet.lines[&b"passed"[..]];
        assert_eq!(reports.with(&of, count), Some(6));
    });
}

#[test]
fn nothing_grows_past_its_bound_and_what_does_not_fit_is_counted() {
    let rig = Rig::new(3);
    rig.world.block_on(async {
        let reports = rig.open().await;
        let of = key(SEEN, 5, "a.example");
        let lines: Vec<(Vec<u8>, u64)> = (0..LINES_PER_SHEET_MAX as u64 + 50)
            .map(|line| (line.to_be_bytes().to_vec(), 2))
            .collect();
        let mut addition = counted(of.clone(), &[]);
        addition.lines = lines;
        addition
            .lines
            .insert(0, (vec![b'x'; LINE_BYTES_MAX + 1], 5));
        assert_eq!(reports.add(vec![addition]).await, Ok(0));
        let found = reports.with(&of, |sheet| (sheet.lines.len(), sheet.other));
        assert_eq!(found, Some((LINES_PER_SHEET_MAX, 50 * 2 + 5)));

        // Domains of one day.
        let mut lost = 0;
        for domain in 0..SHEETS_PER_DAY_MAX + 7 {
            let of = key(SEEN, 6, &format!("{domain}.example"));
            let addition = vec![counted(of, &[("x", 1)])];
            lost += match reports.add(addition.clone()).await {
                Ok(lost) => lost,
                Err(_) => {
                    // Behind: the next checkpoint takes it.
                    reports.inner.tenancy.checkpoint().await.unwrap();
                    reports.add(addition).await.expect("there is room again")
                }
            };
        }
        assert_eq!(lost, 7);

        // Bytes of all.
        let large = "y".repeat(LINE_BYTES_MAX);
        let mut lost = 0;
        for sheet in 0..200u32 {
            let of = key(SEEN, 7 + sheet / 400, &format!("{sheet}.example"));
            let mut addition = counted(of, &[]);
            addition.lines = (0..120)
                .map(|line| (format!("{line}{}", &large[..600]).into_bytes(), 1))
                .collect();
            if sheet % 16 == 0 {
                reports.inner.tenancy.checkpoint().await.unwrap();
            }
            lost += reports.add(vec![addition]).await.expect("it is bounded");
            let (_, bytes) = reports.count();
            assert!(bytes <= CONTENT_BYTES_MAX, "{bytes}");
            reports.each(|key, sheet| assert!(sheet.cost(&key.name) <= SHEET_BYTES_MAX));
        }
        assert!(lost > 0, "there were no sheets left");
        let other = vec![counted(key(HEARD, 7, "ours.example"), &[("x", 1)])];
        assert_eq!(
            reports.add(other).await,
            Ok(0),
            "the room of another subject"
        );
        reports.inner.state.borrow().check();
        let twice = vec![counted(of.clone(), &[]), counted(of, &[])];
        assert!(matches!(
            reports.add(twice).await,
            Err(ReportFault::Refused(_))
        ));
    });
}

/// A stranger can send as many reports as he likes, each with a mark of its own: past the bound a report is lost, and no sheet grows.
#[test]
fn marks_and_heads_are_within_the_bounds_of_a_sheet() {
    let rig = Rig::new(5);
    rig.world.block_on(async {
        let reports = rig.open().await;
        let of = key(HEARD, 5, "ours.example");
        let mut lost = 0;
        for turn in 0..200u32 {
            let mut report = counted(of.clone(), &[("passed", 1)]);
            report.once = Some(format!("{turn}{}", "m".repeat(600)).into_bytes());
            report.head.clear();
            lost += reports.add(vec![report]).await.expect("it is bounded");
        }
        assert!(lost > 0, "{lost}");
        let passed = reports.with(&of, |sheet| sheet.lines[&b"passed"[..]]);
        assert_eq!(passed, Some(200 - lost), "what is lost is not counted");
        let mut report = counted(of.clone(), &[]);
        report.head = vec![b'h'; HEAD_BYTES_MAX];
        assert_eq!(reports.add(vec![report]).await, Ok(0));
        let cost = reports.with(&of, |sheet| sheet.cost(&of.name));
        assert!(cost <= Some(SHEET_BYTES_MAX), "{cost:?}");

        let of = key(HEARD, 6, "ours.example");
        for turn in 0..LINES_PER_SHEET_MAX as u64 + 50 {
            let mut report = counted(of.clone(), &[("passed", 1)]);
            report.once = Some(turn.to_be_bytes().to_vec());
            reports.add(vec![report]).await.expect("it is bounded");
        }
        let lines = reports.with(&of, |sheet| sheet.lines.len());
        assert_eq!(lines, Some(LINES_PER_SHEET_MAX));
    });
}

#[test]
fn a_count_is_there_after_its_answer_whenever_the_power_goes() {
    let mut seen = [0, 0];
    for seed in 0..30 {
        let rig = Rig::new(seed);
        let of = key(SEEN, 5, "a.example");
        let acked: Result<_, Halt> = rig.world.run(async {
            let reports = rig.open().await;
            let cut = rig.world.draw(1..12);
            rig.world.crash_at(rig.world.boundaries() + cut);
            reports.add(vec![counted(of.clone(), &[("x", 1)])]).await
        });
        rig.reopened(async |reports| {
            let is_there = reports.with(&of, Sheet::total) == Some(1);
            assert!(is_there || !matches!(acked, Ok(Ok(_))), "seed {seed}");
            seen[usize::from(is_there)] += 1;
        });
    }
    assert!(seen.iter().all(|count| *count > 2), "{seen:?}");
}

/// Many additions to one sheet, some sheets of long ago: reclaim empties their segments, the projection is thrown away, and a rebuild from what is
/// left of the log gives the same. What was closed stays closed, and what was forgotten stays away.
#[test]
fn reclaim_carries_sheets_and_floors_forward_and_not_their_additions() {
    let rig = Rig::new(4);
    let live = rig.world.block_on(async {
        let reports = rig.open().await;
        for day in 1..6 {
            let of = key(SEEN, day, "old.example");
            reports.add(vec![counted(of, &[("x", 1)])]).await.unwrap();
        }
        close(&reports, &key(SEEN, 4, "old.example")).await.unwrap();
        reports.forget_before(SEEN, Day(3)).await.unwrap();
        let of = key(SEEN, 9, "busy.example");
        let large = "y".repeat(600);
        for turn in 0..4_000u64 {
            let line = format!("{}{large}", turn % 3);
            let addition = counted(of.clone(), &[(&line, turn)]);
            reports.add(vec![addition]).await.unwrap();
        }
        let mut freed = 0;
        for _ in 0..14 {
            reports.inner.tenancy.checkpoint().await.unwrap();
            freed += reports.inner.tenancy.reclaim().await;
        }
        assert!(freed > 0, "{freed} segments were freed");
        let live = sheets(&reports);
        let store = reports.inner.tenancy.store();
        store.request_rebuild().await.unwrap();
        live
    });
    rig.reopened(async |reports| {
        assert!(reports.inner.tenancy.store().open_report().rebuilt);
        assert_eq!(sheets(&reports), live);
        assert_eq!(reports.inner.state.borrow().floor(SEEN), Day(3));
        let closed = reports.with(&key(SEEN, 4, "old.example"), |sheet| sheet.is_closed);
        assert_eq!(closed, Some(true));
    });
}
