//! The developer's verbs: `cargo xtask setup|check|test|sim|fuzz|qemu|bench|image|boot|keys`.
//!
//! Everything that a person or a CI machine does to this repository starts here, so that there is one
//! command to learn and one place to read what it does. What must hold: a verb that fails says which step failed
//! and exits 1; a verb never succeeds by leaving something out silently (what was left out is printed); the last
//! line of `test` is `N passed, N failed`, so that any runner can read the result.
//!
//! Start reading at `suite.rs` (what `test` runs, in order); `house.rs` is the tidy test that holds the tree to
//! its own rules; `setup.rs` installs Debian packages and nothing else.
#![forbid(unsafe_code)]

mod advisories;
mod bench;
mod house;
mod licences;
mod setup;
mod shell;
mod suite;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The developer's verbs of Ringpost"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install the Debian packages that are missing (apt-get; says the command when it may not)
    Setup {
        /// Also what `bench` compares with: Postfix, Dovecot, fio. No system daemon is started
        #[arg(long)]
        peers: bool,
        /// Also cargo-deny, compiled from its crate (takes minutes)
        #[arg(long)]
        deny: bool,
    },
    /// Format, clippy, licences and the house rules; no test is run
    Check,
    /// Run checks, unit tests, simulator, fuzz smoke and real processes (15 minutes on two cores)
    Test {
        /// Also build the image and run the stories in QEMU
        #[arg(long)]
        all: bool,
        /// Run only these steps: check, unit, sim, fuzz, real, image, qemu, thunderbird, imapflow
        #[arg(long, value_name = "STEP")]
        only: Vec<String>,
    },
    /// Run the simulator; what follows is handed to it (`--seeds N`, `--seed S`, …)
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Run the fuzzers; what follows is handed to them
    Fuzz {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Boot the image in QEMU and tell stories about it: names, `--list`, `--long`; `--help` shows the rest
    Qemu {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Measure ours and the peers in one run; what follows is handed to the bench program (`--quick`, names, `--help`)
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Build the bootable image: UKI, disk image, SBOM, manifest (image/README.md)
    #[command(disable_help_flag = true)]
    Image {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Build the image and boot it in QEMU, its serial console on this terminal
    #[command(disable_help_flag = true)]
    Boot {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Make the OEM's keys: Secure Boot and the signature of updates
    #[command(disable_help_flag = true)]
    Keys {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = root();
    let outcome = match arguments.verb {
        Verb::Setup { peers, deny } => setup::run(peers, deny),
        Verb::Check => suite::check(&root),
        Verb::Test { all, only } => suite::test(&root, all, &only),
        Verb::Sim { rest } => shell::cargo(
            &root,
            &["run", "--quiet", "--release", "-p", "sim", "--"],
            &rest,
        ),
        Verb::Fuzz { rest } => shell::cargo(
            &root,
            &["run", "--quiet", "--release", "-p", "fuzz", "--"],
            &rest,
        ),
        Verb::Qemu { rest } => qemu(&root, &rest),
        Verb::Bench { rest } => bench::run(&root, &rest),
        Verb::Image { rest } => image(&root, "image", &rest),
        Verb::Boot { rest } => image(&root, "boot", &rest),
        Verb::Keys { rest } => image(&root, "keys", &rest),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Stories about guests. What they need is installed first, unless only questions are asked.
fn qemu(root: &Path, rest: &[String]) -> Result<(), String> {
    if !asks(rest) {
        setup::for_boot()?;
    }
    shell::cargo(root, &["run", "--quiet", "-p", "qemu-tests", "--"], rest)
}

/// A verb of the image maker. What it needs is installed first.
fn image(root: &Path, verb: &str, rest: &[String]) -> Result<(), String> {
    if !asks(rest) {
        setup::for_image()?;
        if verb == "boot" {
            setup::for_boot()?;
        }
    }
    let maker = ["run", "--quiet", "-p", "image-maker", "--", verb];
    shell::cargo(root, &maker, rest)
}

/// Whether only a question is asked.
fn asks(rest: &[String]) -> bool {
    let questions = ["--list", "--help", "-h"];
    rest.iter().any(|word| questions.contains(&word.as_str()))
}

/// The repository: two floors above this crate's manifest.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest
        .ancestors()
        .nth(2)
        .expect("core/xtask is two levels below the root")
        .to_path_buf()
}
