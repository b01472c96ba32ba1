//! The runner: seeds first as they are, then mutations of them, a counted number of runs for each target.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::mutate::mutate;
use crate::targets::Target;

/// What one target's run came to.
#[derive(Debug)]
pub struct Report {
    pub runs: u64,
    pub span: Duration,
    /// The slowest single input: a parser that is quadratic shows here.
    pub slowest: Duration,
    /// What the finding panicked with, and the input.
    pub finding: Option<(String, Vec<u8>)>,
}

/// The corpus keeps what mutation made of it now and then, up to this many inputs: later runs start from there.
const CORPUS_MAX: usize = 512;
/// One in so many mutated inputs joins the corpus.
const KEEP_ONE_IN: u64 = 64;

/// Runs `target` on its seeds and then `runs` mutations. Stops at the first finding.
pub fn run(target: &Target, runs: u64, seed: u64) -> Report {
    let begin = Instant::now();
    let mut random = Rng::with_seed(base::hash::xxh3_64(target.name.as_bytes(), seed));
    let mut corpus = seeds(target);
    let mut report = Report {
        runs: 0,
        span: Duration::ZERO,
        slowest: Duration::ZERO,
        finding: None,
    };
    let seed_count = corpus.len() as u64;
    for index in 0..seed_count + runs {
        let input = if index < seed_count {
            corpus[index as usize].clone()
        } else {
            let mut input = corpus[random.usize(..corpus.len())].clone();
            let other = random.usize(..corpus.len());
            mutate(&mut input, &corpus[other], target.words, &mut random);
            input
        };
        let before = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        report.slowest = report.slowest.max(before.elapsed());
        report.runs += 1;
        if let Err(panic) = outcome {
            report.finding = Some((words_of(&*panic), input));
            break;
        }
        if index >= seed_count && random.u64(..KEEP_ONE_IN) == 0 {
            if corpus.len() < CORPUS_MAX {
                corpus.push(input);
            } else {
                let at = random.usize(..corpus.len());
                corpus[at] = input;
            }
        }
    }
    report.span = begin.elapsed();
    report
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

/// The target's own seeds, an empty input, and the files of `seeds/NAME/` in name order.
pub fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new()];
    seeds.extend((target.seeds)());
    for path in seed_files(target.name) {
        seeds.push(
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        );
    }
    seeds
}

/// Findings of the past, mended.
pub fn seed_files(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(name);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Writes a finding where it can be replayed from; answers the path.
pub fn keep(target: &Target, input: &[u8]) -> std::io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!(
        "{}-{:016x}",
        target.name,
        base::hash::xxh3_64(input, 0)
    ));
    std::fs::write(&path, input)?;
    Ok(path)
}
