//! Acknowledged batches bad on every leg: what is good is served, what is not is named, and the operator gives it up once.

use crate::accidents::{at, wait_in_sync};
use crate::common::*;
use volume::*;

/// Everything a walk gives, and how often it said `Damaged`.
fn walked(bench: &Bench, volume: &Volume, after: Lsn) -> (Vec<Lsn>, usize) {
    let mut walk = volume.walk(after);
    bench.world.block_on(async {
        let (mut found, mut damaged) = (Vec::new(), 0);
        loop {
            match walk.next().await {
                Ok(Some((address, _))) => found.push(address.lsn),
                Ok(None) => return (found, damaged),
                Err(ReadFault::Damaged) => damaged += 1,
                Err(other) => panic!("{other}"),
            }
        }
    })
}

fn spoil(bench: &Bench, address: &BatchAddress) {
    for disk in &bench.disks {
        bench.world.flip_bit(*disk, at(address) + 5_000, 3);
    }
}

fn written(bench: &Bench, volume: &Volume, count: usize) -> Vec<BatchAddress> {
    (0..count)
        .map(|number| {
            bench
                .append(volume, &letter(number, 9_000))
                .expect("durable")
        })
        .collect()
}

#[test]
fn a_walk_is_not_stopped_by_damage_before_what_it_was_asked_for() {
    let bench = Bench::new(70, 2);
    let volume = bench.open();
    let addresses = written(&bench, &volume, 8);
    let lsn = addresses[4].lsn;
    let checkpoint = Checkpoint { lsn, note: vec![] };
    let saved = volume.set_checkpoint(checkpoint);
    bench.world.block_on(saved).expect("recorded");
    for which in [1, 2, 4] {
        spoil(&bench, &addresses[which]);
    }
    let rest: Vec<Lsn> = addresses[5..].iter().map(|address| address.lsn).collect();
    assert_eq!(walked(&bench, &volume, lsn), (rest.clone(), 0));
    // One that was asked for is reported, and so is one at the very end.
    let (found, damaged) = walked(&bench, &volume, addresses[3].lsn);
    assert_eq!((found, damaged), (rest.clone(), 1));
    spoil(&bench, &addresses[7]);
    assert_eq!(walked(&bench, &volume, lsn), (rest[..2].to_vec(), 1));
    drop(volume);
    bench.world.crash();
    let volume = bench.open();
    // The last one is behind the checkpoint and was acknowledged before the table after it; those before it are nobody's concern.
    assert_eq!(walked(&bench, &volume, lsn).0, rest[..2]);
}

#[test]
fn what_was_given_up_is_asked_for_once() {
    for lost in [vec![3], vec![0], vec![2, 3, 5], vec![8]] {
        let bench = Bench::new(71, 2);
        let volume = bench.open();
        // The last two only say that those before them were acknowledged.
        let addresses = written(&bench, &volume, 10);
        drop(volume);
        bench.world.crash();
        lost.iter()
            .for_each(|which| spoil(&bench, &addresses[*which]));
        let lsns: Vec<Lsn> = lost.iter().map(|which| addresses[*which].lsn).collect();
        let volume = bench.open();
        assert_eq!(volume.would_give_up().as_ref(), Some(&lsns));
        let why = volume.refuses().expect("read-only");
        assert!(why.contains("accept-damage"), "{why}");
        bench
            .world
            .block_on(volume.accept_damage())
            .expect("taken over");
        assert_eq!((volume.would_give_up(), volume.refuses()), (None, None));
        bench.append(&volume, b"behind it").expect("durable");
        // Neither this owner nor the next one meets it again.
        let kept = addresses.len() - lost.len();
        assert_eq!(walked(&bench, &volume, Lsn(0)).1, 0, "{lost:?}");
        for _ in 0..3 {
            bench.world.crash();
            let volume = bench.open();
            assert_eq!(volume.refuses(), None, "{lost:?}");
            let (found, damaged) = walked(&bench, &volume, Lsn(0));
            assert_eq!((found.len(), damaged), (kept + 1, 0), "{lost:?}");
        }
        // A leg that is filled anew gets everything there is, and then has it alone.
        let volume = bench.open();
        let ejected = volume.eject(LegIndex(1), "a test");
        bench.world.block_on(ejected).expect("one is enough");
        bench
            .world
            .with_disk(bench.disks[1], |medium| medium.wipe());
        let attached = bench.world.block_on(volume.attach(bench.disks[1]));
        attached.expect("blank devices are welcome");
        wait_in_sync(&bench, &volume);
        bench.world.remove(bench.disks[0]);
        bench.append(&volume, b"alone").expect("durable");
        let (found, damaged) = walked(&bench, &volume, Lsn(0));
        assert_eq!((found.len(), damaged), (kept + 2, 0), "{lost:?}");
    }
}

/// Nothing was written behind the acceptance: the openings after it give its segment back, and what it said with it.
#[test]
fn what_was_given_up_stays_so_when_nothing_follows_it() {
    for lost in [vec![3], vec![0, 1, 5], vec![8]] {
        let bench = Bench::new(74, 2);
        let volume = bench.open();
        let addresses = written(&bench, &volume, 10);
        drop(volume);
        bench.world.crash();
        lost.iter()
            .for_each(|which| spoil(&bench, &addresses[*which]));
        let volume = bench.open();
        let accepted = volume.accept_damage();
        bench.world.block_on(accepted).expect("taken over");
        drop(volume);
        for opening in 0..5 {
            bench.world.crash();
            let volume = bench.open();
            assert_eq!(volume.refuses(), None, "{lost:?}, opening {opening}");
            let (found, damaged) = walked(&bench, &volume, Lsn(0));
            assert_eq!((found.len(), damaged), (10 - lost.len(), 0), "{lost:?}");
        }
    }
}

#[test]
fn an_acceptance_that_is_cut_short_is_asked_for_again() {
    for boundary in 1..200 {
        let bench = Bench::new(72, 2);
        let volume = bench.open();
        let addresses = written(&bench, &volume, 6);
        drop(volume);
        bench.world.crash();
        spoil(&bench, &addresses[2]);
        let volume = bench.open();
        bench.world.crash_at(bench.world.boundaries() + boundary);
        let accepted = bench.world.run(volume.accept_damage());
        drop(volume);
        bench.world.crash();
        let volume = bench.open();
        let again = volume.would_give_up();
        assert!(
            again.is_none() || again == Some(vec![addresses[2].lsn]),
            "boundary {boundary}: {again:?}"
        );
        bench
            .world
            .block_on(volume.accept_damage())
            .expect("taken over");
        assert_eq!(walked(&bench, &volume, Lsn(0)).0.len(), 5, "{boundary}");
        bench.append(&volume, b"goes on").expect("durable");
        if accepted.is_ok() {
            assert!(again.is_none(), "it was over before boundary {boundary}");
            return;
        }
    }
    panic!("an acceptance takes fewer writes than that");
}

#[test]
fn damage_that_a_reader_meets_holds_the_volume_until_it_is_accepted() {
    let bench = Bench::new(73, 2);
    let volume = bench.open();
    let addresses = written(&bench, &volume, 5);
    spoil(&bench, &addresses[1]);
    assert_eq!(walked(&bench, &volume, Lsn(0)).1, 1);
    volume.hold_for_damage();
    assert_eq!(volume.would_give_up(), Some(vec![addresses[1].lsn]));
    let refused = bench.append(&volume, b"no");
    assert!(matches!(refused, Err(CommitFault::Deferred(_))));
    bench
        .world
        .block_on(volume.accept_damage())
        .expect("written again");
    bench.append(&volume, b"yes").expect("durable");
    assert_eq!(volume.would_give_up(), None);
}

/// Accepting damage in a volume that has stopped meanwhile must not make it run again: another owner may have it.
#[test]
fn damage_that_is_accepted_after_the_volume_stopped_leaves_it_stopped() {
    for found_by_recovery in [true, false] {
        let bench = Bench::new(75, 2);
        let volume = bench.open();
        let addresses = written(&bench, &volume, 6);
        drop(volume);
        bench.world.crash();
        if found_by_recovery {
            spoil(&bench, &addresses[2]);
        }
        let volume = bench.open();
        volume.hold_for_damage();
        assert!(volume.would_give_up().is_some());
        let record = bench.witness.record.borrow().clone();
        volume.abandon("a test ends it");
        let accepted = bench.world.block_on(volume.accept_damage());
        let why = accepted.expect_err("it is over").to_string();
        assert!(why.contains("stopped"), "{why}");
        assert!(volume.refuses().is_some());
        assert!(bench.append(&volume, b"too late").is_err());
        assert_eq!(*bench.witness.record.borrow(), record, "untouched");
    }
}
