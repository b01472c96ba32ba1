//! Now and then, as root: asks every disk how it is, and leaves the answers for the daemon and the console.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// Whole or not at all. The directory is the daemon's: a name that lies there is never followed.
fn leave(path: &Path, report: &Report) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&fresh)?;
    file.write_all(&serde_json::to_vec(report)?)?;
    fs::rename(&fresh, path)
}
