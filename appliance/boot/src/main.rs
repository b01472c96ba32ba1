//! `ringpost-boot`: everything it does is in the library, for tests run it on trees of files.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boot::limits::LEGS_WITHIN;
use boot::{Outcome, Report, World, last_end};
use clap::Parser;

/// Finds the settings, chooses and applies the hardware profile, and writes what the daemon reads.
/// The exit status is 0 if the daemon may start, 3 if there are no settings yet, and 1 if the settings are wrong.
#[derive(Debug, Parser)]
#[command(name = "ringpost-boot", version)]
struct Flags {
    /// Use another root directory; nothing outside it is changed and no program is run
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// Only tune again, after a network card came up or a disk was plugged in
    #[arg(long)]
    again: bool,
    #[command(subcommand)]
    word: Option<Word>,
}

/// The verbs that systemd's units use.
#[derive(Debug, clap::Subcommand)]
enum Word {
    /// Record how the mail engine ended, from `SERVICE_RESULT` and `EXIT_STATUS`
    EngineEnded,
    /// Record that the appliance shuts down cleanly
    BoxEnds,
    /// Change the settings of a running appliance
    #[command(subcommand)]
    Settings(SettingsWord),
}

#[derive(Debug, clap::Subcommand)]
enum SettingsWord {
    /// Carry out the daemon's request in the exchange directory
    Serve {
        /// Use this exchange directory
        #[arg(long, default_value = admin::settings::EXCHANGE)]
        exchange: PathBuf,
    },
    /// Revert settings on probation when their time is over
    Guard,
}

const USB: &str = "/run/ringpost/usb";

fn main() -> ExitCode {
    let flags = Flags::parse();
    let here = flags.root == Path::new("/");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let settings = match flags.word {
        Some(Word::EngineEnded) => {
            let word = |name| std::env::var(name).unwrap_or_default();
            let (result, status) = (word("SERVICE_RESULT"), word("EXIT_STATUS"));
            return noted(last_end::engine_ended(&flags.root, now, &result, &status));
        }
        Some(Word::BoxEnds) => return noted(last_end::box_ends(&flags.root)),
        Some(Word::Settings(word)) => Some(word),
        None => None,
    };
    let world = World {
        root: flags.root,
        credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        // A caller waits for an answer; the disks were waited for at the start.
        wait: match settings {
            Some(_) => Duration::ZERO,
            None => LEGS_WITHIN,
        },
        now,
        usb: Box::new(move || if here { mount_usb() } else { None }),
        command: Box::new(move |program, arguments| {
            if here {
                command(program, arguments)
            } else {
                Ok(())
            }
        }),
    };
    if let Some(word) = settings {
        let done = match word {
            SettingsWord::Serve { exchange } => boot::serve::serve(&world, &exchange),
            SettingsWord::Guard => boot::serve::guard(world),
        };
        return match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(misfit) => {
                eprintln!("ringpost-boot: {misfit}");
                ExitCode::FAILURE
            }
        };
    }
    if flags.again {
        return match boot::again(&world) {
            Ok(report) => {
                tell(&report);
                ExitCode::SUCCESS
            }
            Err(misfit) => {
                eprintln!("ringpost-boot: {misfit}");
                ExitCode::from(1)
            }
        };
    }
    let (outcome, report) = boot::run(&world);
    if here && Path::new(USB).exists() {
        let _ = command("umount", &[USB]); // it is read no more
    }
    tell(&report);
    match outcome {
        Outcome::Ready => ExitCode::SUCCESS,
        Outcome::NoSettings => {
            eprintln!("ringpost-boot: no settings: enter them in the set-up screen on the console");
            ExitCode::from(3)
        }
        Outcome::Refused => ExitCode::from(1),
    }
}

fn noted(noted: Result<(), String>) -> ExitCode {
    match noted {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ringpost-boot: cannot record the event: {why}");
            ExitCode::FAILURE
        }
    }
}

fn tell(report: &Report) {
    if let Some(profile) = &report.profile {
        println!("profile {}: {}", profile.name, profile.why);
    }
    if let Some(settings) = &report.settings {
        println!("settings from {settings}");
    }
    for difference in &report.differences {
        println!(
            "not applied: {} is \"{}\", not \"{}\" {}",
            difference.what, difference.found, difference.promised, difference.why
        );
    }
    for missing in &report.missing {
        eprintln!("ringpost-boot: missing: {missing}");
    }
    for alarm in &report.alarms {
        eprintln!("ringpost-boot: {alarm}");
    }
    if let Some(refused) = &report.refused {
        eprintln!("ringpost-boot: {refused}");
    }
}

/// A stick whose file system is called RINGPOST.
fn mount_usb() -> Option<PathBuf> {
    let device = "/dev/disk/by-label/RINGPOST";
    if !Path::new(device).exists() {
        return None;
    }
    std::fs::create_dir_all(USB).ok()?;
    let arguments = ["-t", "vfat", "-o", "nosuid,nodev,noexec,sync", device, USB];
    match command("mount", &arguments) {
        Ok(()) => Some(USB.into()),
        Err(why) => {
            eprintln!("ringpost-boot: the USB stick cannot be read: {why}");
            None
        }
    }
}

fn command(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", told.trim()))
}
