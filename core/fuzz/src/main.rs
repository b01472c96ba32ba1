//! `fuzz smoke [--runs N] [--seed S] [--target NAME]` · `fuzz replay NAME FILE…` · `fuzz list`
#![forbid(unsafe_code)]

use std::process::ExitCode;

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
    let mut findings = 0;
    for target in TARGETS
        .iter()
        .filter(|target| only.is_none_or(|only| only.name == target.name))
    {
        let report = smoke::run(target, options.runs.unwrap_or(target.runs), options.seed);
        println!(
            "{:<12} {:>8} runs {:>6.2} s, slowest {:.1} ms",
            target.name,
            report.runs,
            report.span.as_secs_f64(),
            report.slowest.as_secs_f64() * 1_000.0
        );
        if let Some((why, input)) = report.finding {
            findings += 1;
            let path = smoke::keep(target, &input)
                .map_err(|error| format!("cannot keep the finding: {error}"))?;
            println!(
                "  finding: {why}\n  replay:  cargo run -p fuzz -- replay {} {}",
                target.name,
                path.display()
            );
        }
    }
    if findings == 0 {
        Ok(())
    } else {
        Err(format!("{findings} finding(s)"))
    }
}

fn replay(target: &Target, files: &[&str]) -> Result<(), String> {
    for file in files {
        let input = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        (target.run)(&input);
        println!("{file}: no finding");
    }
    Ok(())
}
