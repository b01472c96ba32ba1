//! `ringpost-update`: takes a new version, goes back to the old one, reports what is where.
//!
//! Exit status: 0 done, 1 refused with the reason, 2 usage.
#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use admin::update::{Outcome, Request};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use semver::Version;
use serde_json::json;
use update::limits::{ESPS_MAX, TRIES, TRIES_MAX};
use update::signature::Keys;
use update::{Esp, apply, disks, failures, fetch, gate, slots};

/// Manages the versions of this appliance on its system disks.
#[derive(Debug, Parser)]
#[command(name = "ringpost-update", version)]
struct Arguments {
    /// Use the EFI system partition that is mounted here; give one for each system disk
    #[arg(long, value_name = "DIR", default_value = "/efi")]
    esp: Vec<PathBuf>,
    /// Accept images that are signed with one of the public keys in this directory or file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/usr/share/ringpost/update.pub"
    )]
    keys: PathBuf,
    /// Read the running version (IMAGE_VERSION) from this file
    #[arg(long, value_name = "FILE", default_value = "/etc/os-release")]
    os_release: PathBuf,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the installed versions, the running one and the one that boots next
    Status,
    /// Install a new version from a file or URL, with its .minisig file beside it; the next boot tries it
    Apply {
        /// Install the image from this file or URL
        source: String,
        /// Roll back after this many boots without success
        #[arg(long, default_value_t = TRIES, value_parser = clap::value_parser!(u32).range(1..=i64::from(TRIES_MAX)))]
        tries: u32,
    },
    /// Test a version on trial by a mail round trip, and record a failure beside the slots
    Gate {
        /// Fail after this many seconds
        #[arg(long, default_value_t = 120)]
        within: u64,
        /// Use the daemon's control socket at this path
        #[arg(long, default_value = "/var/lib/ringpost/control.sock")]
        socket: PathBuf,
        /// Run this program for the round trip
        #[arg(long, default_value = "/usr/bin/ringpostctl")]
        tool: PathBuf,
    },
    /// Drop the running version, or a newer one that was not booted yet; the next boot starts the previous one
    Rollback,
    /// Copy the system to every system disk now
    Sync,
    /// Carry out the daemon's request in the exchange directory
    Serve {
        /// Use this exchange directory
        #[arg(long, default_value = admin::update::EXCHANGE)]
        exchange: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(refused) => {
            if arguments.json {
                println!("{}", json!({ "refused": refused }));
            }
            eprintln!("ringpost-update: {refused}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    /// Performs the verb. `Err`: why not, for the operator.
    fn run(&self) -> Result<(), String> {
        match &self.verb {
            Verb::Status => self.status(),
            Verb::Apply { source, tries } => {
                let bar = self.bar();
                let applied = self.apply(source, *tries, &mut |done, total| {
                    if let Some(total) = total {
                        bar.set_length(total);
                    }
                    bar.set_position(done);
                });
                bar.finish_and_clear();
                let applied = applied?;
                self.say(
                    &json!(applied),
                    &mirrored(&format!("{} is installed: the next boot tries it; if its mail test fails, it is rolled back", applied.version)),
                );
                Ok(())
            }
            Verb::Rollback => {
                let target = apply::rollback(&self.esps()?, &self.running()?)
                    .map_err(|refused| refused.to_string())?;
                self.say(
                    &json!({ "version": target.to_string() }),
                    &mirrored(&format!("the next boot starts {target}")),
                );
                Ok(())
            }
            Verb::Sync => {
                disks::sync()?;
                self.status()
            }
            Verb::Gate {
                within,
                socket,
                tool,
            } => self.gate(Duration::from_secs(*within), socket, tool),
            Verb::Serve { exchange } => self.serve(exchange),
        }
    }

    /// One request of the daemon: taken, performed, answered. Progress is written as answers before the last one.
    fn serve(&self, exchange: &Path) -> Result<(), String> {
        let told = |error: std::io::Error| format!("{}: {error}", exchange.display());
        let files = admin::update::exchange(exchange);
        let taken = files.take().map_err(told)?;
        let mut running = |outcome: &Outcome| {
            let _ = files.answer(&taken.id, outcome); // the last answer counts
        };
        let outcome = match taken.request {
            Ok(wanted) => self.perform(wanted, &mut running),
            Err(why) => Err(format!("not a request: {why}")),
        };
        // A refusal is an answer: the caller gets it, and the unit has not failed.
        let outcome = outcome.unwrap_or_else(|reason| {
            eprintln!("ringpost-update: refused: {reason}");
            Outcome::Refused { reason }
        });
        files.answer(&taken.id, &outcome).map_err(told)
    }

    /// `running` hears how far it is.
    fn perform(
        &self,
        wanted: Request,
        running: &mut dyn FnMut(&Outcome),
    ) -> Result<Outcome, String> {
        let mut last = Instant::now();
        match wanted {
            Request::Apply { source, tries } => self
                .apply(
                    &source,
                    tries.unwrap_or(TRIES).clamp(1, TRIES_MAX),
                    &mut |done, total| {
                        if last.elapsed() > Duration::from_millis(500) {
                            last = Instant::now();
                            running(&Outcome::Running { done, total });
                        }
                    },
                )
                .map(|applied| Outcome::Done {
                    version: applied.version,
                    next: mirrored("reboot to try it; if its mail test fails, it is rolled back"),
                }),
            Request::Rollback => self
                .esps()
                .and_then(|esps| {
                    apply::rollback(&esps, &self.running()?).map_err(|refused| refused.to_string())
                })
                .map(|target| Outcome::Done {
                    version: target.to_string(),
                    next: mirrored("reboot to start it"),
                }),
            Request::Status => self.slots().map(|status| Outcome::Slots { status }),
            Request::Sync => disks::sync()
                .and_then(|_| self.slots())
                .map(|status| Outcome::Slots { status }),
            Request::AddDisk { path } => disks::add(Path::new(&path))
                .and_then(|_| self.slots())
                .map(|status| Outcome::Slots { status }),
        }
    }

    /// What cannot be recorded is printed: the verdict stands.
    fn gate(&self, within: Duration, socket: &Path, tool: &Path) -> Result<(), String> {
        let verdict = gate::run(socket, tool, within);
        let noted = self.esps().and_then(|esps| {
            let running = self.running()?;
            for esp in &esps {
                match &verdict {
                    Ok(_) => failures::forget(esp, &running),
                    Err(why) => failures::note(esp, &running, why)
                        .map_err(|error| format!("{}: {error}", esp.root().display()))?,
                }
            }
            Ok(())
        });
        if let Err(why) = noted {
            eprintln!("ringpost-update: the verdict cannot be stored: {why}");
        }
        let told = verdict.map_err(|why| format!("this version failed its mail test: {why}"))?;
        self.say(&json!({ "passed": told }), &told);
        Ok(())
    }

    /// Checks and installs a version from a file or URL on every disk.
    fn apply(
        &self,
        source: &str,
        tries: u32,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<apply::Applied, String> {
        let esps = self.esps()?;
        let running = self.running()?;
        let told = |reason: String| format!("{}: {reason}", self.keys.display());
        let text = std::fs::read_to_string(&self.keys).map_err(|error| told(error.to_string()))?;
        let keys = Keys::parse(&text).map_err(told)?;
        let source = fetch::open(source)?;
        apply::apply(&esps, &keys, &running, source, tries, progress)
            .map_err(|refused| refused.to_string())
    }

    /// Prints what is where.
    fn status(&self) -> Result<(), String> {
        let status = self.slots()?;
        self.say(&status, &admin::text::update::show(&status));
        Ok(())
    }

    /// The slots of every disk, with failures and the last look of `ringpost-mirror`.
    fn slots(&self) -> Result<serde_json::Value, String> {
        let mut rows = Vec::new();
        let mut next = None;
        for esp in self.esps()? {
            let slots = esp
                .slots()
                .map_err(|error| format!("{}: {error}", esp.root().display()))?;
            // The box starts from the first of its disks that starts at all.
            next = next.or(Esp::next(&slots).map(|slot| slot.version.to_string()));
            let slots: Vec<serde_json::Value> = slots
                .iter()
                .map(|slot| {
                    let mut row = json!(slot);
                    if let Some(failure) = failures::of(&esp, &slot.version) {
                        row["failed"] = json!(failure);
                    }
                    row
                })
                .collect();
            rows.push(json!({ "esp": esp.root(), "slots": slots }));
        }
        let mut status =
            json!({ "running": self.running()?.to_string(), "next": next, "esps": rows });
        if let Some(report) = disks::last(Path::new("/")) {
            let ago = system::mirror::now().map_or(0, |now| now.saturating_sub(report.began)) / 100;
            status["system_disks"] = json!(report.disks);
            status["looked_s_ago"] = json!(ago);
        }
        Ok(status)
    }

    /// The disks' ESPs, each with room for our files.
    fn esps(&self) -> Result<Vec<Esp>, String> {
        if self.esp.len() > ESPS_MAX {
            return Err(format!(
                "more than {ESPS_MAX} EFI system partitions: name those of the system disks"
            ));
        }
        self.esp
            .iter()
            .map(|root| {
                Esp::at(root).map_err(|error| {
                    format!(
                        "{}: {error}; a system that was booted over the network cannot be updated",
                        root.display()
                    )
                })
            })
            .collect()
    }

    /// The version that runs, by os-release.
    fn running(&self) -> Result<Version, String> {
        let told = |reason: &str| format!("{}: {reason}", self.os_release.display());
        let text =
            std::fs::read_to_string(&self.os_release).map_err(|error| told(&error.to_string()))?;
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("IMAGE_VERSION="));
        version
            .and_then(|version| slots::plain_version(version.trim().trim_matches('"')))
            .ok_or_else(|| told("it has no IMAGE_VERSION=MAJOR.MINOR.PATCH: not a Ringpost image"))
    }

    /// A progress bar on a terminal; nothing elsewhere.
    fn bar(&self) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes} {eta}")
            .expect("a fixed template");
        ProgressBar::new(0).with_style(style)
    }

    /// One JSON document, or text for people.
    fn say(&self, value: &serde_json::Value, text: &str) {
        if self.json {
            println!("{value}");
        } else {
            println!("{text}");
        }
    }
}

/// The version is in place on the disk that runs, whatever becomes of the others: that is reported beside it.
fn mirrored(done: &str) -> String {
    match disks::sync() {
        Ok(report) => match report.as_ref().and_then(disks::told) {
            Some(told) => format!("{done}; {told}"),
            None => done.to_owned(),
        },
        Err(why) => format!("{done}; the other system disk did not get it: {why}"),
    }
}
