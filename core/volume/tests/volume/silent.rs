//! Legs that refuse one write and keep another for ever. Whatever waits for the end of a write has an end all the same: the silent leg
//! leaves, or it is an outage.

use crate::accidents::{assert_legs_equal, state};
use crate::common::*;
use crate::outage::{in_sync, refuse, start, wait_until};
use base::host::{Receiver, oneshot};
use device::IoFault;
use device::sim::Faults;
use volume::*;

/// Every write to it hangs until the disk is released.
fn hang(bench: &Bench, disk: usize) {
    let faults = Faults {
        hang: 1.0,
        ..Faults::default()
    };
    bench.world.set_faults(bench.disks[disk], faults);
}

fn cure(bench: &Bench) {
    (0..bench.disks.len()).for_each(|disk| refuse(bench, disk, None));
}

/// A checkpoint in the background.
fn save(bench: &Bench, volume: &Volume, lsn: Lsn) -> Receiver<Result<(), CommitFault>> {
    let (saving, (done, answer)) = (volume.clone(), oneshot());
    let host = bench.world.io().host;
    host.spawn(Box::pin(async move {
        let note = vec![7];
        done.send(saving.set_checkpoint(Checkpoint { lsn, note }).await);
    }));
    answer
}

fn past_the_deadline(bench: &Bench) {
    let us = settings().hard_deadline_us * 2;
    bench.world.run_for_us(us).expect("time goes by");
}

/// Long enough for a write that does not hang to end, and well within the hard deadline.
fn soon(bench: &Bench) {
    bench.world.run_for_us(10_000).expect("time goes by");
}

/// Seed 969234001156: one leg keeps a write, both refuse the next one, the segment is to be given up, and the checkpoint waits for that.
/// `lasting`: they go on refusing, so that none of them is better than the other.
#[test]
fn a_checkpoint_ends_though_a_leg_keeps_a_write_and_every_leg_refuses_another() {
    for lasting in [false, true] {
        let bench = Bench::new(700, 2);
        let volume = bench.open();
        let before = bench.append(&volume, b"before").expect("durable");
        hang(&bench, 1);
        let kept = start(&bench, &volume, b"kept");
        soon(&bench);
        (0..2).for_each(|disk| refuse(&bench, disk, Some(IoFault::Medium)));
        let saved = save(&bench, &volume, before.lsn);
        soon(&bench);
        if lasting {
            wait_until(&bench, "an outage", || volume.refuses().is_some());
            bench.world.run_for_us(200_000_000).expect("time goes by");
            assert_eq!(in_sync(&volume), 2);
        }
        cure(&bench);
        let saved = bench.world.block_on(saved).expect("answered");
        saved.expect("recorded");
        let kept = bench.world.block_on(kept).expect("answered");
        kept.expect("durable");
        assert_eq!(
            (state(&volume, 0), state(&volume, 1)),
            (LegState::InSync, LegState::Stale)
        );
        bench.append(&volume, b"goes on").expect("durable");
        assert_eq!(volume.checkpoint().note, [7]);
        // The late write lands, and the leg comes back.
        bench.world.release(bench.disks[1]);
        soon(&bench);
        let attached = volume.attach(bench.disks[1]);
        bench.world.block_on(attached).expect("it may come back");
        wait_until(&bench, "in sync again", || in_sync(&volume) == 2);
        assert_legs_equal(&bench, &volume);
    }
}

/// One leg refuses the batch that another one keeps: the one that answers stays, and its batch moves.
#[test]
fn a_leg_that_refuses_one_place_stays_and_the_silent_one_leaves() {
    let bench = Bench::new(701, 2);
    let volume = bench.open();
    bench.append(&volume, b"before").expect("durable");
    hang(&bench, 1);
    refuse(&bench, 0, Some(IoFault::Medium));
    let kept = start(&bench, &volume, b"kept");
    soon(&bench);
    cure(&bench);
    let kept = bench.world.block_on(kept).expect("answered");
    kept.expect("durable");
    assert_eq!(
        (state(&volume, 0), state(&volume, 1)),
        (LegState::InSync, LegState::Stale)
    );
    assert_eq!(volume.counters().segments_spoiled, 1);
    bench.append(&volume, b"goes on").expect("durable");
}

/// Three legs: one refuses, one is silent, one has the batch. What the refusal means waits for the silent one, which leaves.
#[test]
fn a_refusal_is_judged_although_the_leg_it_waited_for_leaves() {
    for fault in [IoFault::Medium, IoFault::NoSpace] {
        let bench = Bench::new(702, 3);
        let volume = bench.open();
        bench.append(&volume, b"before").expect("durable");
        hang(&bench, 2);
        refuse(&bench, 0, Some(fault));
        let kept = start(&bench, &volume, b"kept");
        soon(&bench);
        cure(&bench);
        let kept = bench.world.block_on(kept).expect("answered");
        kept.expect("durable");
        assert_eq!(
            (state(&volume, 1), state(&volume, 2)),
            (LegState::InSync, LegState::Stale)
        );
        assert_eq!(
            in_sync(&volume),
            if fault == IoFault::Medium { 2 } else { 1 }
        );
        bench.append(&volume, b"goes on").expect("durable");
    }
}

/// The same, where the operator takes the silent leg out before its write is late.
#[test]
fn a_refusal_is_judged_although_the_operator_takes_the_silent_leg_out() {
    let bench = Bench::new(703, 2);
    let volume = bench.open();
    bench.append(&volume, b"before").expect("durable");
    hang(&bench, 1);
    refuse(&bench, 0, Some(IoFault::Medium));
    let kept = start(&bench, &volume, b"kept");
    soon(&bench);
    cure(&bench);
    let ejected = volume.eject(LegIndex(1), "a test");
    bench.world.block_on(ejected).expect("recorded");
    let kept = bench.world.block_on(kept).expect("answered");
    kept.expect("durable on the one that is left");
    bench.append(&volume, b"goes on").expect("durable");
}

/// Seed 21104: the leg that keeps a write is also the one that refuses the next. When it has left, nothing that was refused waits any more, and
/// the batches that were held back meanwhile are submitted. `ejected`: the operator takes it out before its write is late.
#[test]
fn what_waited_for_the_judgement_goes_on_when_the_leg_that_refused_leaves() {
    for fault in [IoFault::Medium, IoFault::NoSpace] {
        for ejected in [false, true] {
            let bench = Bench::new(708, 2);
            let volume = bench.open();
            bench.append(&volume, b"before").expect("durable");
            hang(&bench, 1);
            let kept = start(&bench, &volume, b"kept");
            soon(&bench);
            refuse(&bench, 1, Some(fault));
            let refused = start(&bench, &volume, b"refused");
            soon(&bench);
            cure(&bench);
            let held_back = start(&bench, &volume, b"held back");
            if ejected {
                let ejected = volume.eject(LegIndex(1), "a test");
                bench.world.block_on(ejected).expect("recorded");
            }
            for answer in [kept, refused, held_back] {
                let answer = bench.world.block_on(answer).expect("answered");
                answer.expect("durable on the one that is left");
            }
            assert_eq!(
                (state(&volume, 0), state(&volume, 1)),
                (LegState::InSync, LegState::Stale)
            );
            bench.append(&volume, b"goes on").expect("durable");
        }
    }
}

/// Every leg keeps a write and refuses another: none leaves, new mail is refused, and all goes on when the writes end.
#[test]
fn legs_that_are_all_silent_beside_a_refusal_are_an_outage() {
    for legs in 1..=2 {
        let bench = Bench::new(704 + legs as u64, legs);
        let volume = bench.open();
        let before = bench.append(&volume, b"before").expect("durable");
        (0..legs).for_each(|disk| hang(&bench, disk));
        let kept = start(&bench, &volume, b"kept");
        soon(&bench);
        (0..legs).for_each(|disk| refuse(&bench, disk, Some(IoFault::Medium)));
        let saved = save(&bench, &volume, before.lsn);
        soon(&bench);
        cure(&bench);
        wait_until(&bench, "an outage", || volume.refuses().is_some());
        let refused = bench.append(&volume, b"no");
        assert!(matches!(refused, Err(CommitFault::Deferred(_))));
        past_the_deadline(&bench);
        assert_eq!(in_sync(&volume), legs);
        bench
            .disks
            .iter()
            .for_each(|disk| bench.world.release(*disk));
        let saved = bench.world.block_on(saved).expect("answered");
        saved.expect("recorded");
        let kept = bench.world.block_on(kept).expect("answered");
        kept.expect("durable");
        wait_until(&bench, "mail goes on", || volume.refuses().is_none());
        bench.append(&volume, b"goes on").expect("durable");
        assert_eq!(in_sync(&volume), legs);
        assert_legs_equal(&bench, &volume);
    }
}

/// Everything that waits is answered when the volume is abandoned, also what waits for writes that never end.
#[test]
fn abandoning_a_volume_whose_legs_are_silent_answers_everybody_who_waits() {
    let bench = Bench::new(707, 2);
    let volume = bench.open();
    let before = bench.append(&volume, b"before").expect("durable");
    bench.world.block_on(volume.arena_grow()).expect("room");
    (0..2).for_each(|disk| hang(&bench, disk));
    let kept = start(&bench, &volume, b"kept");
    let saved = save(&bench, &volume, before.lsn);
    let (writing, (done, written)) = (volume.clone(), oneshot());
    let host = bench.world.io().host;
    host.spawn(Box::pin(async move {
        let page = bytes::Bytes::from(letter(1, 4096));
        done.send(writing.arena_write(vec![(0, page)]).await);
    }));
    past_the_deadline(&bench);
    assert_eq!(in_sync(&volume), 2);
    volume.abandon("a test ends it");
    let kept = bench.world.block_on(kept).expect("answered");
    assert!(matches!(kept, Err(CommitFault::Deferred(_))));
    let saved = bench.world.block_on(saved).expect("answered");
    assert!(matches!(saved, Err(CommitFault::Deferred(_))));
    let written = bench.world.block_on(written).expect("answered");
    assert!(matches!(written, Err(CommitFault::Deferred(_))));
}
