//! Every fuzzer of the house, with a smoke run that ordinary `cargo` can do (not shipped).
//!
//! A `Target` is one function over any bytes that must come back without a panic; what else must hold it asserts itself. The runner
//! (`smoke`) feeds it mutations of seeds: bit flips, cuts, splices, repeats and the target's own words, all drawn from one seed, so
//! that a run repeats exactly. No nightly and no coverage: the targets are shaped so that mutated seeds get deep, by making
//! checksums good first where a structure has one.
//!
//! - `cargo run --release -p fuzz -- smoke [--runs N] [--seed S] [--target NAME]` is the run of `cargo xtask test`.
//! - A finding is written to `core/fuzz/findings/`, with the command that replays it: `cargo run -p fuzz -- replay NAME FILE`.
//! - When it is mended, the file moves to `core/fuzz/seeds/NAME/` and stays: `cargo test -p fuzz` replays every seed.
//!
//! Start reading with `targets::TARGETS`, then `smoke`.
#![forbid(unsafe_code)]

pub mod mutate;
pub mod smoke;
pub mod targets;

pub use targets::{TARGETS, Target};
