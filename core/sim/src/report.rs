//! What the long runs print: the table of planted faults, and the failures of a swarm.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use sim::planted::Finder;
use sim::planted_run::{self, Verdict};
use sim::{Failure, Progress};

/// The command that tells the story of a failed seed again.
pub fn replay(failure: &Failure) -> String {
    let knobs = sim::asked_for()
        .iter()
        .map(|knob| format!(" --knob {knob}"));
    format!(
        "cargo xtask sim --seed {}{}",
        failure.seed,
        knobs.collect::<String>()
    )
}

/// Runs the planted faults and prints one line for each, as it comes.
pub fn planted(only: Option<&str>, json: bool) -> ExitCode {
    if !json {
        println!(
            "{:<42} {:<30} {:>7} {:>6}  what the checker says",
            "fault", "found by", "seeds", "s"
        );
    }
    let verdicts = planted_run::run(only, |verdict| match json {
        true => println!("{}", object(verdict)),
        false => println!("{}", line(verdict)),
    });
    match verdicts {
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
        Ok(verdicts) => {
            let wrong = verdicts.iter().filter(|verdict| !verdict.is_right());
            let wrong: Vec<&str> = wrong.map(|verdict| &verdict.fault.name[..]).collect();
            if wrong.is_empty() {
                return ExitCode::SUCCESS;
            }
            eprintln!(
                "not found (or found, and declared harmless): {}",
                wrong.join(", ")
            );
            ExitCode::FAILURE
        }
    }
}

fn line(verdict: &Verdict) -> String {
    let (by, seeds, story) = match (&verdict.found, &verdict.fault.finder) {
        (Some(found), _) => (&found.by[..], found.seeds, &found.story[..]),
        (None, Finder::Harmless(why)) => ("nothing: it does no harm", None, &why[..]),
        (None, _) => ("NOTHING", None, ""),
    };
    let seeds = seeds.map_or(String::new(), |seeds| seeds.to_string());
    let story: String = story.chars().take(100).collect();
    format!(
        "{:<42} {by:<30} {seeds:>7} {:>6.1}  {story}",
        verdict.fault.name, verdict.seconds
    )
}

fn object(verdict: &Verdict) -> serde_json::Value {
    let found = verdict.found.as_ref();
    serde_json::json!({
        "fault": verdict.fault.name,
        "breaks": verdict.fault.breaks,
        "invariant": verdict.fault.invariant,
        "ok": verdict.is_right(),
        "found_by": found.map(|found| &found.by),
        "seeds": found.and_then(|found| found.seeds),
        "story": found.map(|found| &found.story),
        "seconds": verdict.seconds,
    })
}

/// Random seeds for `hours`; every failure is printed and added to the file `failures`.
pub fn swarm(hours: f64, failures: &Path, progress: &dyn Progress) -> ExitCode {
    let Ok(span) = Duration::try_from_secs_f64(hours * 3_600.0) else {
        eprintln!("--hours wants a positive number");
        return ExitCode::FAILURE;
    };
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    // Far from the seeds of the ordinary run.
    let from = 1_000_000_000 + since.as_secs() % 1_000_000 * 1_000_000;
    println!(
        "seeds from {from} on, for {hours} hours; failures go to {}",
        failures.display()
    );
    let count = Mutex::new(0_u64);
    let tell = |failure: &Failure| {
        let mut count = count.lock().expect("no holder of this lock panics");
        *count += 1;
        let story = failure.story.lines().next().unwrap_or_default();
        let told = format!("{}   # {story}\n", replay(failure));
        eprint!("FAILED {told}");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(failures);
        if let Err(fault) = file.and_then(|mut file| file.write_all(told.as_bytes())) {
            eprintln!("{}: {fault}", failures.display());
        }
    };
    let summary = sim::run_until(Instant::now() + span, from, progress, &tell);
    let failed = *count.lock().expect("no holder of this lock panics");
    println!(
        "{} seeds, {} acknowledgements, {} crashes, {failed} failures",
        summary.seeds, summary.acked, summary.crashes
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
