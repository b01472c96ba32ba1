//! Seeds over cores: what they end in, that they replay, and that failures are told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sim::Quiet;
use sim::run::{Failure, Summary, kept_seeds, over_cores, run_seed, run_seeds, run_until};

#[test]
fn the_first_seeds_end_well() {
    let summary = run_seeds(0, 8, 1, &Quiet).unwrap();
    assert_eq!(summary.seeds, 8);
    assert!(summary.acked > 200 && summary.crashes >= 16 && summary.faults.torn_writes > 0);
}

/// Recovery freed a segment whose every batch behind the checkpoint was damaged, and with it the good ones before.
#[test]
fn seed_158_damage_behind_the_checkpoint_spares_what_lies_before_it() {
    run_seed(158).unwrap();
}

#[test]
fn each_kept_seed_says_why() {
    let kept = kept_seeds();
    let lines = include_str!("../../seeds.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#')).count();
    assert_eq!(kept.len(), lines);
    assert!(kept.iter().all(|(_, why)| why.len() > 20));
}

#[test]
fn a_swarm_ends_in_time_and_tells_its_failures() {
    let told = Mutex::new(Vec::new());
    let tell = |failure: &Failure| told.lock().unwrap().push(failure.seed);
    let summary = run_until(Instant::now(), 0, &Quiet, &tell);
    assert_eq!(summary.seeds, 0);
    assert!(told.lock().unwrap().is_empty());
}

#[test]
fn a_failure_does_not_hide_the_next_one() {
    let failing = |stop_after| {
        let next = AtomicU64::new(0);
        let failed = over_cores(stop_after, || {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let story = String::new();
            (seed < 100).then(|| match seed % 10 {
                0 => Err(Failure { seed, story }),
                _ => Ok(Summary::default()),
            })
        });
        failed.unwrap_err().len()
    };
    assert_eq!(failing(usize::MAX), 10);
    assert!((3..10).contains(&failing(3)));
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in [1, 3, 5, 7] {
        assert_eq!(run_seed(seed), run_seed(seed));
    }
}
