//! Every leg refuses at once: a thin pool that is full, an array that restarts. No leg leaves, nothing is lost, mail goes on by itself.

use crate::accidents::{assert_legs_equal, state, wait_in_sync};
use crate::common::*;
use base::host::Receiver;
use device::IoFault;
use device::sim::Faults;
use volume::*;

type Answer = Receiver<Result<BatchAddress, CommitFault>>;

/// Commits in the background, in the order of the calls.
pub fn start(bench: &Bench, volume: &Volume, payload: &[u8]) -> Answer {
    let (done, answer) = base::host::oneshot();
    let mut batch = bench.world.block_on(volume.begin());
    batch.place(payload);
    let committed = volume.commit(batch);
    let host = bench.world.io().host;
    host.spawn(Box::pin(async move { done.send(committed.await) }));
    answer
}

pub fn refuse(bench: &Bench, disk: usize, fault: Option<IoFault>) {
    let faults = Faults {
        refuses_writes: fault,
        ..Faults::default()
    };
    bench.world.set_faults(bench.disks[disk], faults);
}

pub fn in_sync(volume: &Volume) -> usize {
    let legs = volume.legs();
    legs.iter()
        .filter(|leg| leg.state == LegState::InSync)
        .count()
}

pub fn wait_until(bench: &Bench, what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        bench.world.run_for_us(200_000).expect("time goes by");
    }
    panic!("it never came: {what}");
}

#[test]
fn all_legs_that_refuse_writes_stay_serve_reads_and_go_on_by_themselves() {
    let faults = [
        IoFault::NoSpace,
        IoFault::Medium,
        IoFault::Other(5),
        IoFault::Gone,
    ];
    for (case, fault) in faults.into_iter().enumerate() {
        for legs in 1..=3 {
            let bench = Bench::new(40 + case as u64 * 4 + legs as u64, legs);
            let volume = bench.open();
            let payload = letter(1, 20_000);
            let before = bench.append(&volume, &payload).expect("durable");
            let counted = bench.witness.record.borrow().clone();
            for disk in 0..legs {
                refuse(&bench, disk, Some(fault));
            }
            let waiting: Vec<Answer> = (2..5)
                .map(|number| start(&bench, &volume, &letter(number, 9_000)))
                .collect();
            wait_until(&bench, "an outage", || volume.refuses().is_some());
            bench.world.run_for_us(200_000_000).expect("time goes by");
            // Nobody left, nothing was acknowledged, what is stored is read, new mail is refused.
            assert_eq!(in_sync(&volume), legs, "{fault}");
            assert_eq!(*bench.witness.record.borrow(), counted, "{fault}");
            let why = volume.refuses().expect("still");
            assert!(why.contains("every leg refuses writes"), "{why}");
            let address = record(&volume, before, &payload);
            let read = bench.world.block_on(volume.read(&address));
            assert_eq!(read.expect("stored"), payload);
            assert!(matches!(
                bench.append(&volume, b"no"),
                Err(CommitFault::Deferred(_))
            ));
            for disk in 0..legs {
                refuse(&bench, disk, None);
            }
            for (answer, number) in waiting.into_iter().zip(2..) {
                let answer = bench.world.block_on(answer).expect("answered");
                assert_eq!(answer.expect("durable").lsn.0, before.lsn.0 + number - 1);
            }
            bench.append(&volume, b"goes on").expect("durable");
            assert_eq!(volume.refuses(), None);
            assert_eq!(in_sync(&volume), legs, "{fault}");
            assert_eq!(volume.counters().ejected, 0);
            assert_legs_equal(&bench, &volume);
            drop(volume);
            bench.world.crash();
            for disk in &bench.disks {
                // Each leg alone has everything: it said so.
                let mut letters = vec![payload.clone()];
                letters.extend((2..5).map(|number| letter(number, 9_000)));
                letters.push(b"goes on".to_vec());
                let record = bench.witness.record.borrow().clone();
                let position = *bench.witness.position.borrow();
                let content = bench.world.snapshot(*disk);
                let alone = bench.try_open(&[*disk]).expect("in sync");
                assert_eq!(bench.payloads(&alone), letters, "{fault}");
                drop(alone);
                bench.world.crash();
                // As if it had not been: the next leg is looked at from the same state.
                bench.world.restore(*disk, &content);
                *bench.witness.record.borrow_mut() = record;
                *bench.witness.position.borrow_mut() = position;
            }
        }
    }
}

/// The second sibling: the checkpoint meets it first, not a batch. The superblocks say in the end what memory says.
#[test]
fn an_outage_during_a_checkpoint_ends_with_the_checkpoint_recorded() {
    let bench = Bench::new(60, 2);
    let volume = bench.open();
    let lsn = bench.append(&volume, b"a letter").expect("durable").lsn;
    // The table goes into the log, and then no superblock can be written.
    let checkpoint = Checkpoint { lsn, note: vec![7] };
    let (done, answer) = base::host::oneshot();
    let (setting, wanted) = (volume.clone(), checkpoint.clone());
    let host = bench.world.io().host;
    host.spawn(Box::pin(async move {
        done.send(setting.set_checkpoint(wanted).await);
    }));
    let before = volume.counters();
    while volume.counters().superblock_writes == before.superblock_writes {
        bench.world.run_for_us(50).expect("time goes by");
    }
    for disk in 0..2 {
        refuse(&bench, disk, Some(IoFault::NoSpace));
    }
    wait_until(&bench, "no superblock", || volume.refuses().is_some());
    bench.world.run_for_us(100_000_000).expect("time goes by");
    assert_eq!(in_sync(&volume), 2);
    for disk in 0..2 {
        refuse(&bench, disk, None);
    }
    let answer = bench.world.block_on(answer).expect("answered");
    answer.expect("recorded");
    assert_eq!(volume.refuses(), None);
    drop(volume);
    bench.world.crash();
    let found = bench.open().checkpoint();
    assert!(found.lsn >= checkpoint.lsn && found.note == checkpoint.note);
}

/// The third: pages of the arena. They are refused, mail goes on, and the same pages are written later.
#[test]
fn arena_pages_that_every_leg_refuses_eject_nobody() {
    let bench = Bench::new(61, 2);
    let volume = bench.open();
    bench.world.block_on(volume.arena_grow()).expect("room");
    let page = bytes::Bytes::from(letter(1, 4096));
    for disk in 0..2 {
        refuse(&bench, disk, Some(IoFault::NoSpace));
    }
    let refused = volume.arena_write(vec![(0, page.clone())]);
    let refused = bench.world.block_on(refused);
    assert!(matches!(refused, Err(CommitFault::Deferred(_))));
    assert_eq!(in_sync(&volume), 2);
    for disk in 0..2 {
        refuse(&bench, disk, None);
    }
    let written = volume.arena_write(vec![(0, page.clone())]);
    bench.world.block_on(written).expect("durable");
    let mut into = vec![0; 4096];
    let reader = volume.arena_reader();
    reader
        .read_page(0, page_check(0, &page), &mut into)
        .expect("written");
    assert_legs_equal(&bench, &volume);
}

/// Both refuse, and only one comes back: the other leaves, and then mail goes on.
#[test]
fn a_leg_that_stays_away_after_an_outage_leaves() {
    for empty in [false, true] {
        let bench = Bench::new(62, 2);
        let volume = bench.open();
        bench.append(&volume, b"before").expect("durable");
        bench.world.remove(bench.disks[0]);
        bench.world.remove(bench.disks[1]);
        let waiting = (!empty).then(|| start(&bench, &volume, b"waits"));
        if empty {
            // Nothing is written, but a checkpoint comes and meets them.
            let (setting, lsn) = (volume.clone(), Lsn(1));
            let host = bench.world.io().host;
            host.spawn(Box::pin(async move {
                drop(
                    setting
                        .set_checkpoint(Checkpoint { lsn, note: vec![] })
                        .await,
                );
            }));
        }
        wait_until(&bench, "an outage", || volume.refuses().is_some());
        bench.world.run_for_us(30_000_000).expect("time goes by");
        assert_eq!(in_sync(&volume), 2);
        bench.world.insert(bench.disks[1]);
        if let Some(waiting) = waiting {
            let answer = bench.world.block_on(waiting).expect("answered");
            answer.expect("durable on the leg that is left");
        }
        wait_until(&bench, "mail goes on", || volume.refuses().is_none());
        assert_eq!(state(&volume, 0), LegState::Stale);
        bench.append(&volume, b"alone").expect("durable");
        bench.world.insert(bench.disks[0]);
        let attached = volume.attach(bench.disks[0]);
        bench.world.block_on(attached).expect("it may come back");
        wait_in_sync(&bench, &volume);
        assert_legs_equal(&bench, &volume);
    }
}

/// Reads alone find both legs gone: neither is taken out for it, and when they answer again the mail is there.
#[test]
fn reads_that_find_every_leg_gone_eject_nobody() {
    let bench = Bench::new(63, 2);
    let volume = bench.open();
    let payload = letter(1, 20_000);
    let address = bench.append(&volume, &payload).expect("durable");
    let record = record(&volume, address, &payload);
    let epoch = |bench: &Bench| bench.witness.record.borrow().as_ref().map(|r| r.epoch);
    let before = epoch(&bench);
    bench.world.remove(bench.disks[0]);
    bench.world.remove(bench.disks[1]);
    let read = bench.world.block_on(volume.read(&record));
    assert_eq!(read, Err(ReadFault::Unavailable));
    bench.world.run_for_us(90_000_000).expect("time goes by");
    let read = bench.world.block_on(volume.read(&record));
    assert_eq!(read, Err(ReadFault::Unavailable));
    assert!(volume.refuses().is_some());
    bench.world.insert(bench.disks[0]);
    bench.world.insert(bench.disks[1]);
    wait_until(&bench, "mail goes on", || volume.refuses().is_none());
    let read = bench.world.block_on(volume.read(&record));
    assert_eq!(read.expect("there again"), payload);
    bench.append(&volume, b"goes on").expect("durable");
    assert_eq!((in_sync(&volume), epoch(&bench)), (2, before));
}

/// One leg refuses and the other does not: that one leaves, as before, and mail does not wait for more than the batch in flight.
#[test]
fn one_leg_that_refuses_leaves_at_once() {
    for fault in [IoFault::NoSpace, IoFault::Other(5), IoFault::Gone] {
        let bench = Bench::new(64, 2);
        let volume = bench.open();
        refuse(&bench, 1, Some(fault));
        bench.append(&volume, b"on one").expect("durable");
        assert_eq!(state(&volume, 1), LegState::Stale, "{fault}");
        assert_eq!((volume.counters().outages, volume.refuses()), (0, None));
    }
}

#[test]
fn abandoning_a_volume_in_an_outage_answers_everybody_who_waits() {
    let bench = Bench::new(65, 2);
    let volume = bench.open();
    bench.append(&volume, b"kept").expect("durable");
    for disk in 0..2 {
        refuse(&bench, disk, Some(IoFault::NoSpace));
    }
    let waiting = start(&bench, &volume, b"waits");
    wait_until(&bench, "an outage", || volume.refuses().is_some());
    volume.abandon("a test ends it");
    let answer = bench.world.block_on(waiting).expect("answered");
    assert!(matches!(answer, Err(CommitFault::Deferred(_))));
    drop(volume);
    bench.world.crash();
    for disk in 0..2 {
        refuse(&bench, disk, None);
    }
    let volume = bench.open();
    assert_eq!(bench.payloads(&volume), [&b"kept"[..]]);
}
