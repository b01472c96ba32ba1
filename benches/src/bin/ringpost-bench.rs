//! `cargo xtask bench`: measures ours and its peers in one run. Figures go to standard output, one per line, and as JSON
//! to a file.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use bench::figures::Sheet;
use bench::scenario::{SCENARIOS, Setting};
use bench::{promises, report};
use clap::Parser;

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask bench",
    about = "Measures ours and its peers in one run"
)]
struct Arguments {
    /// Scenarios to run (all when none is named)
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Small numbers: shows that the bench works, and the order of magnitude
    #[arg(long)]
    quick: bool,
    /// Leave ours out: a baseline of the peers alone (accept, fetch, select)
    #[arg(long)]
    peers_only: bool,
    /// How often the servers take turns [default: 3, quick: 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// Where the servers keep their state: the disk that is measured
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Where the figures go as JSON
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
    /// Where the table of promises goes as Markdown
    #[arg(long, default_value = "target/bench.md")]
    table: PathBuf,
    /// Where the page with plots goes
    #[arg(long, default_value = "target/bench.html")]
    page: PathBuf,
    /// List the scenarios and end
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for scenario in SCENARIOS {
            println!("{:10} {}", scenario.name, scenario.about);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = arguments
        .names
        .iter()
        .find(|name| SCENARIOS.iter().all(|known| known.name != **name))
    {
        eprintln!("bench: no scenario '{unknown}'; `cargo xtask bench --list` shows them");
        return ExitCode::from(2);
    }
    if let Err(error) = bench::peers::kill_on_signal() {
        eprintln!("bench: cannot wait for signals: {error}");
        return ExitCode::FAILURE;
    }
    let rounds = arguments
        .rounds
        .unwrap_or(if arguments.quick { 1 } else { 3 });
    let root = match std::path::absolute(&arguments.dir) {
        Ok(root) => root,
        Err(error) => {
            eprintln!("bench: {}: {error}", arguments.dir.display());
            return ExitCode::FAILURE;
        }
    };
    let setting = Setting {
        root: root.clone(),
        rounds,
        quick: arguments.quick,
        peers_only: arguments.peers_only,
    };
    let mut sheet = Sheet::default();
    let mut failed = 0;
    for scenario in SCENARIOS {
        if !arguments.names.is_empty() && !arguments.names.iter().any(|name| name == scenario.name)
        {
            continue;
        }
        eprintln!("--- {}: {}", scenario.name, scenario.about);
        match (scenario.run)(&setting, &mut sheet) {
            // Gigabytes of state are of no use to anybody afterwards; server logs of a failed scenario are.
            Ok(()) if failed == 0 => _ = std::fs::remove_dir_all(&root),
            Ok(()) => {}
            Err(error) => {
                eprintln!("FAILED {}: {error}", scenario.name);
                failed += 1;
            }
        }
    }
    for (path, text) in [
        (&arguments.json, sheet.json()),
        (&arguments.table, promises::table(&sheet)),
        (&arguments.page, report::page(&sheet)),
    ] {
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = folder.and_then(|()| std::fs::write(path, text)) {
            eprintln!("bench: {}: {error}", path.display());
            failed += 1;
        }
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
