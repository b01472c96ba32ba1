//! Seeds over cores, panics turned into failures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use device::sim::FaultCounts;

use crate::Progress;
use crate::volume_exhaustive::{self, SCRIPTS, Tried};
use crate::{
    broken_story, full_story, lintel_story, mailbox_exhaustive, mailbox_story, outbound_story,
    spool_story, submission_story, volume_story,
};

/// The seed of every exhaustive run: latencies, and so which completions overtake others.
const EXHAUSTIVE_SEED: u64 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub seed: u64,
    pub story: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.story)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub seeds: u64,
    /// Acknowledgements that were checked.
    pub acked: u64,
    pub crashes: u64,
    /// Boundaries cut and outcomes opened by exhaustive runs.
    pub boundaries: u64,
    pub outcomes: u64,
    pub faults: FaultCounts,
    /// The sum of the digests of all that was asked of the devices. It depends on the seeds and on nothing else.
    pub digest: u64,
}

impl Summary {
    fn add(&mut self, other: &Summary) {
        self.seeds += other.seeds;
        self.acked += other.acked;
        self.crashes += other.crashes;
        self.boundaries += other.boundaries;
        self.outcomes += other.outcomes;
        self.faults.add(&other.faults);
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

/// Tells every story of one seed.
pub fn run_seed(seed: u64) -> Result<Summary, Failure> {
    let mut summary = Summary {
        seeds: 1,
        ..Summary::default()
    };
    // All of them from the same number, each with a generator of its own: a change in one story leaves the others' runs as they were.
    let stories = [
        volume_story::run,
        broken_story::run,
        mailbox_story::run,
        full_story::run,
        submission_story::run,
        spool_story::run,
        lintel_story::run,
        outbound_story::run,
    ];
    for story in stories {
        let told = caught(|| story(seed)).map_err(|story| Failure { seed, story })?;
        summary.acked += told.acked;
        summary.crashes += told.crashes;
        summary.faults.add(&told.faults);
        // A sum, because threads end in any order.
        summary.digest = summary.digest.wrapping_add(told.digest);
    }
    Ok(summary)
}

/// Seeds `from .. from + count` on every core, until `stop_after` of them have failed: one failure must not hide another.
pub fn run_seeds(
    from: u64,
    count: u64,
    stop_after: usize,
    progress: &dyn Progress,
) -> Result<Summary, Vec<Failure>> {
    progress.begin(count);
    let next = AtomicU64::new(0);
    over_cores(stop_after, || {
        // Taken one by one: seeds differ in length a hundredfold, and halves would leave one core idle.
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= count {
            return None;
        }
        let outcome = run_seed(from + index);
        progress.step();
        Some(outcome)
    })
}

/// The story of mail that leaves alone, for seeds `from .. from + count`.
pub fn run_outbound(
    from: u64,
    count: u64,
    stop_after: usize,
    progress: &dyn Progress,
) -> Result<Summary, Vec<Failure>> {
    progress.begin(count);
    let next = AtomicU64::new(from);
    over_cores(stop_after, || {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= from + count {
            return None;
        }
        let outcome = caught(|| outbound_story::run_alone(seed));
        progress.step();
        let told = outcome.map_err(|story| Failure { seed, story });
        Some(told.map(|told| Summary {
            seeds: 1,
            acked: told.acked,
            crashes: told.crashes,
            faults: told.faults,
            digest: told.digest,
            ..Summary::default()
        }))
    })
}

/// The seeds of `seeds.txt`, each with why it is kept.
pub fn kept_seeds() -> Vec<(u64, &'static str)> {
    let lines = include_str!("../seeds.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(seed, why)| Some((seed.parse().ok()?, why)))
        .collect()
}

/// Replays the kept seeds.
pub fn run_kept(stop_after: usize, progress: &dyn Progress) -> Result<Summary, Vec<Failure>> {
    let kept = kept_seeds();
    progress.begin(kept.len() as u64);
    let next = AtomicUsize::new(0);
    over_cores(stop_after, || {
        let (seed, _) = kept.get(next.fetch_add(1, Ordering::Relaxed))?;
        let outcome = run_seed(*seed);
        progress.step();
        Some(outcome)
    })
}

/// Seed after seed from `from` on until `until`, on every core. A failure is told, and the next seed follows.
pub fn run_until(
    until: Instant,
    from: u64,
    progress: &dyn Progress,
    tell: &(dyn Fn(&Failure) + Sync),
) -> Summary {
    let next = AtomicU64::new(0);
    let swarm = over_cores(1, || {
        if Instant::now() >= until {
            return None;
        }
        let seed = from.wrapping_add(next.fetch_add(1, Ordering::Relaxed));
        progress.begin(1);
        let outcome = run_seed(seed);
        progress.step();
        Some(Ok(outcome.unwrap_or_else(|failure| {
            tell(&failure);
            Summary {
                seeds: 1,
                ..Summary::default()
            }
        })))
    });
    swarm.expect("failures are reported, not handed on")
}

/// Every scripted run, cut everywhere.
pub fn exhaustive(progress: &dyn Progress) -> Result<Summary, Vec<Failure>> {
    let next = AtomicU64::new(0);
    over_cores(1, || {
        // The mailboxes' day takes longest and so begins first.
        let tried = match next.fetch_add(1, Ordering::Relaxed) {
            0 => caught(|| mailbox_exhaustive::run(EXHAUSTIVE_SEED, progress)),
            later => {
                let script = *SCRIPTS.get(later as usize - 1)?;
                caught(|| volume_exhaustive::run(script, EXHAUSTIVE_SEED, progress))
            }
        };
        let tried = tried.map_err(|story| Failure {
            seed: EXHAUSTIVE_SEED,
            story,
        });
        let summary = |tried: Tried| {
            let Tried {
                boundaries,
                outcomes,
            } = tried;
            Summary {
                boundaries,
                outcomes,
                ..Summary::default()
            }
        };
        Some(tried.map(summary))
    })
}

/// Calls `step` on every core until it answers `None` everywhere, or `stop_after` failures are found. `Err`: the failures, by seed.
pub fn over_cores(
    stop_after: usize,
    step: impl Fn() -> Option<Result<Summary, Failure>> + Sync,
) -> Result<Summary, Vec<Failure>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let total = Mutex::new(Summary::default());
    let failed: Mutex<Vec<Failure>> = Mutex::default();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    match step() {
                        None => break,
                        Some(Ok(summary)) => {
                            total.lock().expect("no thread panics here").add(&summary)
                        }
                        Some(Err(failure)) => {
                            let mut failed = failed.lock().expect("no thread panics here");
                            failed.push(failure);
                            // Others finish the seed that they are at, so that what is reported does not depend on which thread was faster.
                            stop.fetch_or(failed.len() >= stop_after, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("no thread panics here");
    if failed.is_empty() {
        return Ok(total.into_inner().expect("no thread panics here"));
    }
    failed.sort_by_key(|failure| failure.seed);
    Err(failed)
}

/// An assertion of the engine is a failure of the story like any other.
fn caught<T>(story: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(story)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}
