//! A volume filled to the last segment is opened again and again, with the power cut anywhere: it opens each time, keeps
//! what it acknowledged, and can be emptied afterwards.

use std::rc::Rc;

use crate::common::*;
use bytes::Bytes;
use device::sim::{CacheLanding, Halt, Landing, SimWorld};
use volume::*;

/// Fills until the volume refuses; answers the payloads it took, in order.
fn fill(bench: &Bench, volume: &Volume) -> Vec<Vec<u8>> {
    let mut letters = Vec::new();
    for number in 0..400 {
        let payload = letter(number, 100_000);
        match bench.append(volume, &payload) {
            Ok(_) => letters.push(payload),
            Err(fault) => {
                assert_eq!(fault, CommitFault::Full);
                return letters;
            }
        }
    }
    panic!("400 letters do not fit");
}

fn assert_holds(bench: &Bench, volume: &Volume, letters: &[Vec<u8>], what: &str) {
    assert_eq!(volume.refuses(), None, "{what}");
    assert_eq!(volume.open_report().damaged, [], "{what}");
    let found = bench.payloads(volume);
    assert!(
        found == letters,
        "{what}: {} of {}",
        found.len(),
        letters.len()
    );
}

fn free_count(volume: &Volume) -> usize {
    let segments = volume.segments();
    let free = segments.iter().filter(|s| s.state == SegmentState::Free);
    free.count()
}

/// Checkpoints everything, gives every segment back, and stores again.
fn empty(bench: &Bench, volume: &Volume) {
    let last = volume.segments().iter().map(|s| s.last_lsn).max();
    let checkpoint = Checkpoint {
        lsn: last.expect("segments"),
        note: vec![],
    };
    bench
        .world
        .block_on(volume.set_checkpoint(checkpoint))
        .expect("a table has room");
    for segment in volume.segments() {
        if segment.state == SegmentState::Sealed {
            bench
                .world
                .block_on(volume.free_segment(segment.index))
                .expect("so has the word that a segment is free");
        }
    }
    bench
        .append(volume, &letter(0, 100_000))
        .expect("there is room again");
}

/// Nothing of its log is ever behind a checkpoint: each opening must leave room for the next one.
fn opens_again_and_again(closed: bool) {
    let bench = Bench::new(41, 2);
    let mut volume = bench.open();
    let letters = fill(&bench, &volume);
    for round in 0..40 {
        if closed {
            bench
                .world
                .block_on(volume.close())
                .expect("it needs no room");
        }
        drop(volume);
        bench.world.crash();
        volume = bench
            .try_open(&bench.disks)
            .unwrap_or_else(|refusal| panic!("opening {round}: {refusal}"));
        assert_holds(&bench, &volume, &letters, &format!("opening {round}"));
    }
    empty(&bench, &volume);
}

#[test]
fn a_full_volume_that_is_closed_opens_again_and_again() {
    opens_again_and_again(true);
}

#[test]
fn a_full_volume_that_crashes_opens_again_and_again() {
    opens_again_and_again(false);
}

#[test]
fn openings_of_a_full_volume_keep_its_free_space() {
    let bench = Bench::new(43, 2);
    let mut volume = bench.open();
    fill(&bench, &volume);
    let mut free = Vec::new();
    for _ in 0..12 {
        drop(volume);
        bench.world.crash();
        volume = bench.open();
        free.push(free_count(&volume));
    }
    assert!(free[1..].iter().all(|&now| now == free[1]), "{free:?}");
}

/// One opening that the power cuts at `boundary`, if it lasts so long.
pub fn interrupted_opening(bench: &Bench, boundary: u64) -> bool {
    bench.world.crash_at(bench.world.boundaries() + boundary);
    let (io, disks, witness) = (bench.world.io(), bench.disks.clone(), bench.witness.clone());
    let opening = async move {
        Volume::open(&io, &disks, &settings(), witness)
            .await
            .map(drop)
    };
    match bench.world.run(opening) {
        Ok(opened) => {
            opened.unwrap_or_else(|refusal| panic!("boundary {boundary}: {refusal}"));
            false
        }
        Err(halt) => {
            assert_eq!(halt, Halt::PowerCut);
            true
        }
    }
}

/// The power is cut within the opening itself, at every boundary, up to three times in a row.
#[test]
fn a_full_volume_outlives_openings_that_are_interrupted() {
    for seed in 42..45 {
        let bench = Bench::new(seed, 2);
        let volume = bench.open();
        let letters = fill(&bench, &volume);
        drop(volume);
        let mut interrupted = 0;
        for boundary in 1..=40 {
            for _ in 0..1 + boundary % 3 {
                bench.world.crash();
                interrupted += u32::from(interrupted_opening(&bench, boundary));
            }
            bench.world.crash();
            let volume = bench
                .try_open(&bench.disks)
                .unwrap_or_else(|refusal| panic!("{seed}, after {boundary}: {refusal}"));
            assert_holds(
                &bench,
                &volume,
                &letters,
                &format!("{seed}, after {boundary}"),
            );
        }
        assert!(interrupted > 20, "{interrupted}");
        bench.world.crash();
        empty(&bench, &bench.open());
    }
}

/// The power is cut now and one leg never comes back: the other one has everything.
fn assert_each_leg_opens_alone(bench: &Bench, letters: &[Vec<u8>], what: &str) {
    let cut = bench.world.power_cut();
    for disk in &bench.disks {
        let alone = Bench {
            world: SimWorld::after_cut(7, &cut, CacheLanding::Lost, |_, _| Landing::Random),
            witness: Rc::default(),
            disks: vec![*disk],
        };
        *alone.witness.record.borrow_mut() = bench.witness.record.borrow().clone();
        let volume = alone
            .try_open(&alone.disks)
            .unwrap_or_else(|refusal| panic!("{what}, only {disk:?}: {refusal}"));
        assert_holds(&alone, &volume, letters, &format!("{what}, only {disk:?}"));
    }
}

/// No opening ever comes to its end, for a long time; at some of the moments one leg is lost as well.
#[test]
fn openings_that_never_end_use_nothing_up() {
    for seed in 60..63 {
        let bench = Bench::new(seed, 2);
        let volume = bench.open();
        let letters = fill(&bench, &volume);
        drop(volume);
        bench.world.crash();
        for round in 0..120 {
            let boundary = bench.world.draw(1..24);
            interrupted_opening(&bench, boundary);
            if round % 4 == 0 {
                assert_each_leg_opens_alone(&bench, &letters, &format!("{seed}, {round}"));
            }
            bench.world.crash();
        }
        let volume = bench
            .try_open(&bench.disks)
            .unwrap_or_else(|refusal| panic!("{seed}: {refusal}"));
        assert_holds(&bench, &volume, &letters, &format!("{seed}"));
        empty(&bench, &volume);
    }
}

/// What reclaim and a store's checkpoint do at the brim, cut off at any moment.
#[test]
fn a_full_volume_outlives_work_that_is_interrupted() {
    for seed in 80..86 {
        let bench = Bench::new(seed, 2);
        let mut volume = bench.open();
        let mut letters = fill(&bench, &volume);
        for round in 0..40 {
            let what = format!("seed {seed}, round {round}");
            let sent = letters.len() + 1_000;
            let payload = letter(sent, bench.world.draw(100..60_000) as usize);
            bench
                .world
                .crash_at(bench.world.boundaries() + bench.world.draw(1..30));
            let work = {
                let (volume, payload) = (volume.clone(), payload.clone());
                let checkpoint = bench.world.draw(0..3) > 0;
                async move {
                    if checkpoint {
                        let _ = volume.set_checkpoint(volume.checkpoint()).await;
                    }
                    let mut batch = volume.begin().await;
                    batch.for_deletions();
                    batch.place(&payload);
                    volume.commit(batch).await.is_ok()
                }
            };
            let acked = bench.world.run(work) == Ok(true);
            drop(volume);
            bench.world.crash();
            for _ in 0..bench.world.draw(0..3) {
                let boundary = bench.world.draw(1..30);
                interrupted_opening(&bench, boundary);
                bench.world.crash();
            }
            volume = bench
                .try_open(&bench.disks)
                .unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
            // What was not acknowledged may be there all the same.
            let there = bench
                .payloads(&volume)
                .last()
                .is_some_and(|last| *last == payload);
            assert!(there || !acked, "{what}: acknowledged and gone");
            if there {
                letters.push(payload);
            }
            assert_holds(&bench, &volume, &letters, &what);
        }
        empty(&bench, &volume);
    }
}

async fn append_provisional(volume: Volume, payload: Vec<u8>) -> Result<BatchAddress, CommitFault> {
    let mut batch = volume.begin().await;
    batch.for_reclaim();
    batch.place(&payload);
    volume.commit(batch).await
}

fn reclaim(bench: &Bench, volume: &Volume, number: usize) -> (Vec<u8>, BatchAddress) {
    let payload = letter(number, 9_000);
    let written = append_provisional(volume.clone(), payload.clone());
    let address = bench.world.block_on(written).expect("there is room");
    (payload, address)
}

fn restarted(bench: &Bench, volume: Volume) -> Volume {
    drop(volume);
    bench.world.crash();
    bench.open()
}

/// Reclaim had begun to copy when the power went: what it wrote says nothing new, and its segments come back whole.
#[test]
fn what_reclaim_wrote_is_given_up_with_its_segments() {
    for batches in [1, 40] {
        let bench = Bench::new(44, 2);
        let mut volume = bench.open();
        let letters = vec![letter(1, 500)];
        bench.append(&volume, &letters[0]).expect("there is room");
        volume = restarted(&bench, volume);
        volume = restarted(&bench, volume);
        let free = free_count(&volume);
        let (mut last, mut used) = (Lsn(0), Vec::new());
        for number in 0..batches {
            let (_, address) = reclaim(&bench, &volume, 1_000 + number);
            last = address.lsn;
            used.push(address.segment);
        }
        used.dedup();
        assert_eq!(used.len() > 1, batches > 1);
        volume = restarted(&bench, volume);
        assert_holds(&bench, &volume, &letters, "given up");
        assert_eq!(free_count(&volume), free);
        // Its numbers are not given again.
        let after = bench
            .append(&volume, &letter(2, 500))
            .expect("there is room");
        assert!(after.lsn > last);
    }
}

/// What stands beside it or behind it may have been acknowledged, and that may point to it.
#[test]
fn what_reclaim_wrote_stays_under_what_is_the_stores() {
    for fills_a_segment in [false, true] {
        let bench = Bench::new(45, 2);
        let mut volume = bench.open();
        let mut letters = vec![reclaim(&bench, &volume, 1).0];
        if fills_a_segment {
            letters.extend((2..40).map(|number| reclaim(&bench, &volume, number).0));
        }
        letters.push(letter(100, 500));
        bench
            .append(&volume, &letters[letters.len() - 1])
            .expect("there is room");
        let lost = reclaim(&bench, &volume, 101).0;
        for round in 0..3 {
            volume = restarted(&bench, volume);
            let mut found = bench.payloads(&volume);
            // It shares the segment of the letter, or is alone in the next one.
            found.retain(|payload| *payload != lost);
            assert!(
                found == letters,
                "{fills_a_segment}, {round}: {}",
                found.len()
            );
        }
    }
}

#[test]
fn what_reclaim_wrote_stays_once_a_checkpoint_stands_for_it() {
    for covers in [true, false] {
        let bench = Bench::new(46, 2);
        let mut volume = bench.open();
        let before = bench.append(&volume, &letter(1, 500)).expect("room");
        volume = restarted(&bench, volume);
        let (copied, address) = reclaim(&bench, &volume, 2);
        let checkpoint = Checkpoint {
            lsn: if covers { address.lsn } else { before.lsn },
            note: vec![],
        };
        let written = volume.set_checkpoint(checkpoint);
        bench.world.block_on(written).expect("a table has room");
        for round in 0..3 {
            volume = restarted(&bench, volume);
            let there = bench
                .payloads(&volume)
                .contains(&Bytes::from(copied.clone()));
            assert_eq!(there, covers, "{round}");
        }
    }
}

/// The cut comes while reclaim's batches and a letter are on their way: the letter is there whole, with what it may point to, or not at all.
#[test]
fn a_letter_is_never_there_without_what_reclaim_wrote_before_it() {
    let mut seen = [0, 0];
    for seed in 0..60 {
        let bench = Bench::new(seed, 2);
        let volume = bench.open();
        let (copied, sent) = (letter(1, 30_000), letter(2, 20_000));
        let cut = bench.world.draw(1..12);
        bench.world.crash_at(bench.world.boundaries() + cut);
        let copying = append_provisional(volume.clone(), copied.clone());
        let sending = append(volume.clone(), sent.clone());
        let acked = bench.world.run(async move {
            let copying = copying.await.is_ok();
            (copying, sending.await.is_ok())
        });
        let volume = restarted(&bench, volume);
        let found = bench.payloads(&volume);
        let there = |payload: &Vec<u8>| found.iter().any(|one| one == payload);
        let sent_there = there(&sent);
        assert!(!sent_there || there(&copied), "seed {seed}");
        assert!(sent_there || acked != Ok((true, true)), "seed {seed}");
        seen[usize::from(sent_there)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 3), "{seen:?}");
}

/// What is emptied may still hold the index that an opening would read: until another checkpoint is durable.
#[test]
fn a_segment_that_the_last_checkpoint_needs_is_not_given_back() {
    let bench = Bench::new(47, 2);
    let volume = bench.open();
    let mut last = Lsn(0);
    for number in 0..40 {
        last = bench
            .append(&volume, &letter(number, 100_000))
            .expect("room")
            .lsn;
    }
    let sealed = |s: &SegmentReport| s.state == SegmentState::Sealed;
    let segment = volume
        .segments()
        .into_iter()
        .find(sealed)
        .expect("one")
        .index;
    let checkpoint = || Checkpoint {
        lsn: last,
        note: vec![],
    };
    let world = &bench.world;
    world
        .block_on(volume.set_checkpoint_with(checkpoint(), vec![segment]))
        .expect("room");
    let refused = world.block_on(volume.free_segment(segment));
    assert!(
        matches!(refused, Err(CommitFault::Deferred(_))),
        "{refused:?}"
    );
    world
        .block_on(volume.set_checkpoint_with(checkpoint(), vec![]))
        .expect("room");
    assert_eq!(world.block_on(volume.free_segment(segment)), Ok(()));
}
