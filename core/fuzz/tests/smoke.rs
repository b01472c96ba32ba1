//! Findings of the past stay mended, and a short run of every target finds nothing.

use fuzz::{TARGETS, smoke};

#[test]
fn every_seed_passes() {
    for target in TARGETS {
        for seed in smoke::seeds(target) {
            (target.run)(&seed);
        }
    }
}

/// A fortieth of the smoke run: this is an unoptimised build. `cargo run --release -p fuzz -- smoke` is the whole.
#[test]
fn a_short_run_finds_nothing() {
    for target in TARGETS {
        let report = smoke::run(target, target.runs / 40, 1);
        if let Some((why, input)) = report.finding {
            panic!("{}: {why}\ninput: {}", target.name, input.escape_ascii());
        }
    }
}
