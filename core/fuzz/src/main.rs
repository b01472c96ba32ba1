//! `fuzz smoke [--runs N] [--seed S] [--target NAME]` · `fuzz replay NAME FILE…` · `fuzz list`
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use fuzz::{TARGETS, Target, smoke};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["smoke", options @ ..] => parse(options).and_then(|options| smoke_all(&options)),
        ["replay", name, files @ ..] if !files.is_empty() => {
            find(name).and_then(|target| replay(target, files))
        }
        ["list"] => {
            TARGETS
                .iter()
                .for_each(|target| println!("{}", target.name));
            Ok(())
        }
        _ => {
            eprintln!(
                "usage: fuzz smoke [--runs N] [--seed S] [--target NAME] | fuzz replay NAME FILE… | fuzz list"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

struct Options<'a> {
    /// `None`: each target's own number.
    runs: Option<u64>,
    seed: u64,
    target: Option<&'a str>,
}

fn parse<'a>(words: &[&'a str]) -> Result<Options<'a>, String> {
    let mut options = Options {
        runs: None,
        seed: 1,
        target: None,
    };
    for pair in words.chunks(2) {
        let &[option, value] = pair else {
            return Err(format!("{} needs a value", pair[0]));
        };
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{option} {value}: not a number"))
        };
        match option {
            "--runs" => options.runs = Some(number()?),
            "--seed" => options.seed = number()?,
            "--target" => options.target = Some(value),
            _ => return Err(format!("{option}: no such option")),
        }
    }
    Ok(options)
}

fn find(name: &str) -> Result<&'static Target, String> {
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .ok_or_else(|| format!("{name}: no such target; `fuzz list` names them"))
}

fn smoke_all(options: &Options) -> Result<(), String> {
    let only = options.target.map(find).transpose()?;
    let wanted = TARGETS
        .iter()
        .filter(|target| only.is_none_or(|only| only.name == target.name));
    // The next target is for the thread that is free. A target is on one thread alone: its run is the same every time.
    let (next, findings) = (Mutex::new(wanted), Mutex::new(0));
    let threads = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    // until no target is left
                    let target = next.lock().expect("no holder panics").next();
                    let Some(target) = target else { return };
                    let runs = options.runs.unwrap_or(target.runs);
                    let report = smoke::run(target, runs, options.seed);
                    let mut findings = findings.lock().expect("no holder panics");
                    *findings += u32::from(tell(target, report));
                }
            });
        }
    });
    match findings.into_inner().expect("no holder panics") {
        0 => Ok(()),
        findings => Err(format!("{findings} finding(s)")),
    }
}

/// Prints what a run came to; `true`: it is a finding.
fn tell(target: &Target, report: smoke::Report) -> bool {
    println!(
        "{:<16} {:>8} runs {:>6.2} s, slowest {:.1} ms",
        target.name,
        report.runs,
        report.span.as_secs_f64(),
        report.slowest.as_secs_f64() * 1_000.0
    );
    let Some((why, input)) = report.finding else {
        return false;
    };
    println!("  finding: {why}");
    match smoke::keep(target, &input) {
        Ok(path) => println!(
            "  replay:  cargo run -p fuzz -- replay {} {}",
            target.name,
            path.display()
        ),
        Err(error) => println!("  it cannot be kept: {error}"),
    }
    true
}

fn replay(target: &Target, files: &[&str]) -> Result<(), String> {
    for file in files {
        let input = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        (target.run)(&input);
        println!("{file}: no finding");
    }
    Ok(())
}
