//! Now and then, as root: asks every disk how it is, and leaves the answers for the daemon and the console.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use files::Mode;
use hardware::health::{self, Report};

fn main() -> ExitCode {
    let root = Path::new("/");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let report = Report {
        looked_at: now.map_or(0, |since| since.as_secs()),
        disks: health::ask(&hardware::probe(root)),
    };
    for alarm in report.alarms() {
        println!("ALARM: {alarm}");
    }
    match leave(&root.join(health::PATH), &report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringpost-disks: /{}: {error}", health::PATH);
            ExitCode::FAILURE
        }
    }
}

fn leave(path: &Path, report: &Report) -> io::Result<()> {
    files::replace(path, &serde_json::to_vec(report)?, Mode::Umask)
}
