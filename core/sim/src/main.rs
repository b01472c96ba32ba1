//! `cargo xtask sim`: seeds, every crash point, hours of random seeds, or planted faults.
#![forbid(unsafe_code)]

mod report;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use sim::{Failure, Progress, Summary};

/// A seed makes and drops disks of many megabytes; the system's allocator gives each back to the kernel and asks again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the world from seeds; a failure prints the seed and the command that replays it
#[derive(Parser)]
#[command(name = "sim", bin_name = "cargo xtask sim")]
struct Arguments {
    /// How many seeds to run
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first of them; without it the kept seeds (core/sim/seeds.txt) come before 0, 1, 2 …
    #[arg(long)]
    from: Option<u64>,
    /// Stop when so many seeds have failed
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    stop_after: u64,
    /// Run this one seed only
    #[arg(long, conflicts_with_all = ["seeds", "from", "exhaustive"])]
    seed: Option<u64>,
    /// Cut the scripted runs at every write boundary instead
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    exhaustive: bool,
    /// Tell the story of mail that leaves alone, whether or not a seed has it
    #[arg(long, conflicts_with_all = ["exhaustive", "hours"])]
    outbound: bool,
    /// Run random seeds for so many hours (0.5 is half an hour); failing seeds are collected in --failures
    #[arg(long, conflicts_with_all = ["seeds", "from", "seed", "exhaustive"])]
    hours: Option<f64>,
    /// The file to which --hours adds each failing seed with the command that replays it
    #[arg(long, default_value = "sim-failures.txt")]
    failures: std::path::PathBuf,
    /// Plant every fault of core/sim/planted, or the one named, in a copy of the tree, and say what finds it
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["seeds", "from", "seed", "exhaustive", "hours"])]
    planted: Option<String>,
    /// Also draw this kind of accident, which the engine does not survive yet (may be given again)
    #[arg(long, value_name = "NAME")]
    knob: Vec<String>,
    /// Print the engine's own events too (best with --seed)
    #[arg(long)]
    events: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.events {
        // Virtual time is not the clock's: no times.
        let events = tracing_subscriber::fmt()
            .without_time()
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG);
        events.with_writer(std::io::stderr).init();
    }
    if let Err(why) = sim::ask_for(arguments.knob.clone()) {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    if let Some(name) = &arguments.planted {
        return report::planted(
            Some(&name[..]).filter(|name| !name.is_empty()),
            arguments.json,
        );
    }
    let bar = Bar::new(arguments.json || arguments.events);
    let began = Instant::now();
    if let Some(hours) = arguments.hours {
        return report::swarm(hours, &arguments.failures, &bar);
    }
    let stop_after = usize::try_from(arguments.stop_after).unwrap_or(usize::MAX);
    let outcome = match (arguments.seed, arguments.exhaustive) {
        (Some(seed), _) if arguments.outbound => sim::run_outbound(seed, 1, 1, &bar),
        (None, _) if arguments.outbound => {
            let from = arguments.from.unwrap_or(0);
            sim::run_outbound(from, arguments.seeds, stop_after, &bar)
        }
        (Some(seed), _) => sim::run_seed(seed).map_err(|failure| vec![failure]),
        (None, true) => sim::exhaustive(&bar),
        (None, false) => match arguments.from {
            Some(from) => sim::run_seeds(from, arguments.seeds, stop_after, &bar),
            None => sim::run_kept(stop_after, &bar)
                .and_then(|_| sim::run_seeds(0, arguments.seeds, stop_after, &bar)),
        },
    };
    bar.0.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    match outcome {
        Ok(summary) => {
            print(&summary, seconds, arguments.json);
            ExitCode::SUCCESS
        }
        Err(failures) => {
            for failure in &failures {
                tell(failure, arguments.exhaustive, arguments.json);
            }
            ExitCode::FAILURE
        }
    }
}

fn print(summary: &Summary, seconds: f64, json: bool) {
    let faults = &summary.faults;
    if json {
        let object = serde_json::json!({
            "ok": true,
            "seconds": seconds,
            "seeds": summary.seeds,
            "acked": summary.acked,
            "crashes": summary.crashes,
            "digest": format!("{:016x}", summary.digest),
            "boundaries": summary.boundaries,
            "outcomes": summary.outcomes,
            "torn_writes": faults.torn_writes,
            "lost_writes": faults.lost_writes,
            "misdirected_writes": faults.misdirected_writes,
            "read_errors": faults.read_errors,
            "write_errors": faults.write_errors,
            "bit_flips": faults.bit_flips,
        });
        println!("{object}");
        return;
    }
    println!(
        "{} seeds, {} boundaries, {} outcomes in {seconds:.1} s: {} acknowledgements kept over {} crashes, digest {:016x}",
        summary.seeds,
        summary.boundaries,
        summary.outcomes,
        summary.acked,
        summary.crashes,
        summary.digest
    );
    println!(
        "faults: {} torn, {} lost, {} misdirected and {} refused writes, {} read errors, {} bits flipped, {} lies, {} hangs",
        faults.torn_writes,
        faults.lost_writes,
        faults.misdirected_writes,
        faults.write_errors,
        faults.read_errors,
        faults.bit_flips,
        faults.lying_flushes,
        faults.hangs
    );
}

fn tell(failure: &Failure, exhaustive: bool, json: bool) {
    let replay = match exhaustive {
        true => "cargo xtask sim --exhaustive".to_owned(),
        false => report::replay(failure),
    };
    if json {
        let object = serde_json::json!({ "ok": false, "seed": failure.seed, "story": failure.story, "replay": replay });
        println!("{object}");
    }
    eprintln!("FAILED {failure}");
    eprintln!("replay it: {replay}");
}

/// On a terminal; elsewhere silence.
struct Bar(ProgressBar);

impl Bar {
    fn new(quiet: bool) -> Bar {
        if quiet || !std::io::stderr().is_terminal() {
            return Bar(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed}, {eta} left");
        bar.set_style(style.expect("the template is a constant"));
        Bar(bar)
    }
}

impl Progress for Bar {
    fn begin(&self, steps: u64) {
        self.0.inc_length(steps);
    }
    fn step(&self) {
        self.0.inc(1);
    }
}
