//! `cargo xtask bench`: builds the daemon and the bench program in release and hands over.

use std::path::Path;

use crate::{setup, shell};

/// `--help` and names that need no peer still go through `setup`: it is silent when nothing is missing.
pub fn run(root: &Path, rest: &[String]) -> Result<(), String> {
    if !rest.iter().any(|word| word == "--help" || word == "-h") {
        setup::run(true, false)?;
    }
    shell::cargo(
        root,
        &[
            "build",
            "--release",
            "-p",
            "ringpostd",
            "-p",
            "ringpostctl",
            "-p",
            "bench",
            "--bins",
        ],
        &[],
    )?;
    shell::cargo(
        root,
        &[
            "run",
            "--quiet",
            "--release",
            "-p",
            "bench",
            "--bin",
            "ringpost-bench",
            "--",
        ],
        rest,
    )
}
