//! The other system disks: `ringpost-mirror` makes them hold what the ESP here holds; this file asks it to, and reads its answer.
//!
//! It is a program of its own with the rights to mount; the updater talks to the network and has none of them.

use std::fs;
use std::path::Path;

use system::mirror::{self, Line, ORDER, Order, Report, Standing};

use crate::limits::{MIRROR_RUNS_MAX, REPORT_BYTES_MAX};

const UNIT: &str = "ringpost-mirror.service";

/// What the last look found; `None`: it does not run here.
pub fn last(root: &Path) -> Option<Report> {
    let path = root.join(mirror::PATH);
    let bytes = fs::metadata(&path).ok()?.len();
    let text = (bytes <= REPORT_BYTES_MAX).then(|| fs::read_to_string(&path))?;
    serde_json::from_str(&text.ok()?).ok()
}

/// Has everything made level now. `Ok(None)`: this is not an appliance image. Waits as long as it takes.
pub fn sync() -> Result<Option<Report>, String> {
    let root = Path::new("/");
    if !root.join("usr/bin/ringpost-mirror").exists() {
        return Ok(None);
    }
    let asked = mirror::now()?;
    for _ in 0..MIRROR_RUNS_MAX {
        // A run that was under way already began before what we want to be seen.
        system::tool::run("systemctl", &["start", UNIT])?;
        match last(root) {
            Some(report) if report.began >= asked => return Ok(Some(report)),
            _ => {}
        }
    }
    Err(format!("{UNIT} left no report"))
}

/// Makes a blank disk a system disk.
pub fn add(path: &Path) -> Result<Report, String> {
    let order = Path::new(ORDER);
    let folder = order.parent().unwrap_or(Path::new("/"));
    let name = order.file_name().unwrap_or_default().to_string_lossy();
    let told = |error: std::io::Error| format!("{ORDER}: {error}");
    let wanted = Order {
        add: path.to_owned(),
    };
    admin::exchange::put(folder, &name, &wanted).map_err(told)?;
    let report = sync().and_then(|report| report.ok_or("not an appliance image".into()));
    let _ = fs::remove_file(order); // it was taken
    let report = report?;
    match &report.refused {
        Some(why) => Err(why.clone()),
        None => Ok(report),
    }
}

/// What is reported beside the outcome of an update: nothing where there is one disk.
pub fn told(report: &Report) -> Option<String> {
    let other = |line: &&Line| line.standing != Standing::StartedFrom;
    report.disks.iter().find(other)?;
    Some(match report.alarms.is_empty() {
        true => "all system disks are identical".into(),
        false => format!(
            "{}; it is updated when it returns",
            report.alarms.join("; ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(standing: Standing) -> Line {
        Line {
            standing,
            ..Line::default()
        }
    }

    #[test]
    fn one_disk_needs_no_words_and_a_lost_one_has_its_own() {
        let mut report = Report {
            disks: vec![line(Standing::StartedFrom)],
            ..Report::default()
        };
        assert_eq!(told(&report), None);
        report.disks.push(line(Standing::Level));
        assert!(told(&report).is_some_and(|text| text.contains("identical")));
        report.alarms.push("system disk X is missing".into());
        assert!(told(&report).is_some_and(|text| text.starts_with("system disk X is missing;")));
    }

    #[test]
    fn a_report_is_read_as_it_was_left_and_none_is_none() {
        let root = tempfile::tempdir().expect("a directory");
        assert_eq!(last(root.path()), None);
        let path = root.path().join(mirror::PATH);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let report = Report {
            began: 7,
            disks: vec![line(Standing::Level)],
            ..Report::default()
        };
        fs::write(&path, serde_json::to_vec(&report).expect("JSON")).expect("written");
        assert_eq!(last(root.path()), Some(report));
    }
}
