//! Openings that are cut short: what they leave behind means nothing to the openings after the next one either.

use crate::accidents::{medium, wait_in_sync};
use crate::common::*;
use crate::full::interrupted_opening;

/// A volume whose last batch only one leg has, so that the next opening appends it again, and gives the opening before it back
/// (a SKIP): with what should be in its log.
fn a_batch_on_one_leg(seed: u64, letters: usize) -> (Bench, Vec<Vec<u8>>) {
    let bench = Bench::new(seed, 2);
    let lacking = (seed % 2) as usize;
    let volume = bench.open();
    let mut log = Vec::new();
    let mut old = medium(&bench, lacking);
    for number in 0..letters {
        old = medium(&bench, lacking);
        log.push(letter(number, 9_000));
        bench.append(&volume, &log[number]).expect("durable");
    }
    drop(volume);
    bench.world.crash();
    bench.world.restore(bench.disks[lacking], &old);
    (bench, log)
}

/// Opens with both legs, then with each of them alone, and finds `log` each time.
fn assert_whole(bench: &Bench, log: &[Vec<u8>], what: &str) {
    let volume = bench.open();
    assert_eq!(volume.open_report().damaged, [], "{what}");
    assert_eq!(bench.payloads(&volume), log, "{what}");
    wait_in_sync(bench, &volume);
    drop(volume);
    bench.world.crash();
    let record = bench.witness.record.borrow().clone();
    let position = *bench.witness.position.borrow();
    for disk in 0..2 {
        let before = medium(bench, disk);
        let alone = bench.try_open(&bench.disks[disk..=disk]).expect("in sync");
        assert_eq!(alone.open_report().damaged, [], "{what}: leg {disk} alone");
        assert_eq!(bench.payloads(&alone), log, "{what}: leg {disk} alone");
        assert_eq!(alone.refuses(), None, "{what}: leg {disk} alone");
        drop(alone);
        bench.world.crash();
        // As if it had not been: the other leg is looked at from the same state.
        bench.world.restore(bench.disks[disk], &before);
        *bench.witness.record.borrow_mut() = record.clone();
        *bench.witness.position.borrow_mut() = position;
    }
}

/// Simulator seed 1513: the SEAL of an opening that was cut short lay below the table of the next one, and voided batches that the
/// next one had kept. The SKIP over them was void by then, so they counted as damaged.
#[test]
fn seed_1513_the_seal_of_an_opening_cut_short_voids_nothing_later() {
    for (letters, lacking) in [(1, 0), (1, 1), (3, 0)] {
        for boundary in 1.. {
            let (bench, log) = a_batch_on_one_leg(1_512 + lacking, letters);
            let cut = interrupted_opening(&bench, boundary);
            bench.world.crash();
            let what = format!("{letters} letters, leg {lacking} lacks one, boundary {boundary}");
            assert_whole(&bench, &log, &what);
            if !cut {
                assert!(boundary > 10, "{what}");
                break; // the opening came to its end before this boundary
            }
        }
    }
}

/// Two openings after one another are cut short, each at another place; then one comes to its end.
#[test]
fn the_seals_of_two_openings_cut_short_void_nothing_later() {
    for first in (13..31).step_by(3) {
        for second in (12..34).step_by(2) {
            let (bench, log) = a_batch_on_one_leg(1_600 + first % 2, 1);
            for boundary in [first, second] {
                interrupted_opening(&bench, boundary);
                bench.world.crash();
            }
            assert_whole(&bench, &log, &format!("boundaries {first} and {second}"));
        }
    }
}

/// An opening that came to its end counts, and what it voided stays void after any number of openings: nothing comes back from before it.
#[test]
fn what_an_opening_voided_stays_void_after_later_openings() {
    for boundary in (1..40).step_by(2) {
        let (bench, log) = a_batch_on_one_leg(1_700, 3);
        // What only that leg has is out of reach: the volume goes on without it.
        let other = bench.try_open(&bench.disks[..1]).expect("in sync");
        drop(other);
        bench.world.crash();
        let volume = bench.try_open(&bench.disks[..1]).expect("in sync");
        let more = letter(9, 5_000);
        bench.append(&volume, &more).expect("durable");
        drop(volume);
        bench.world.crash();
        interrupted_opening(&bench, boundary);
        bench.world.crash();
        let volume = bench.open();
        let expected = [&log[..2], &[more]].concat();
        assert_eq!(bench.payloads(&volume), expected, "boundary {boundary}");
    }
}
