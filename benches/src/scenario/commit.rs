//! The commit path alone against fio: two files on the disk under measurement, O_DIRECT, dsync, the same block size and
//! the same number in flight, alternately. What an engine could get at most from this disk is what fio gets.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Setting;
use crate::commit::{self, Pattern};
use crate::figures::{Sheet, median};

/// A small batch, and one under load: a little over sixty messages of 10 KiB.
const BLOCKS: [(&str, usize); 2] = [("64k", 64 << 10), ("640k", 640 << 10)];
const IN_FLIGHT: usize = 4;
const MB: f64 = 1e6;

pub fn compare(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    let within = Duration::from_secs(setting.scaled(5, 2));
    for (name, block_bytes) in BLOCKS {
        // Room for several seconds of the fastest disk we know of, so that ours does not stop early.
        let leg_bytes = setting.scaled(8 << 30, 2 << 30);
        let pattern = Pattern {
            block_bytes,
            in_flight: IN_FLIGHT,
            leg_bytes,
            within,
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..setting.rounds {
            theirs.push(fio(&setting.fresh("commit")?, &pattern)? / MB);
            ours.push(commit::bytes_per_second(&setting.fresh("commit")?, &pattern)? / MB);
        }
        sheet.tell(format!("fio.commit.{name}"), median(&theirs), "MB/s/leg");
        sheet.tell(format!("ringpost.commit.{name}"), median(&ours), "MB/s/leg");
        sheet.tell(
            format!("ratio.commit.{name}.fio"),
            median(&ours) / median(&theirs).max(1e-9),
            "ratio",
        );
    }
    Ok(())
}

/// Bytes per second and file: one job per file over files that were written through before, as ours are.
fn fio(directory: &Path, pattern: &Pattern) -> io::Result<f64> {
    let output = Command::new("fio")
        .args([
            "--name=legs",
            "--rw=write",
            "--direct=1",
            "--sync=dsync",
            "--ioengine=io_uring",
            "--numjobs=2",
        ])
        .args([
            "--group_reporting",
            "--time_based",
            "--overwrite=1",
            "--output-format=json",
            "--size=512M",
        ])
        .arg(format!("--iodepth={}", pattern.in_flight))
        .arg(format!("--bs={}", pattern.block_bytes))
        .arg(format!("--runtime={}", pattern.within.as_secs()))
        .arg(format!("--directory={}", directory.display()))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let json = text.find('{').map_or("", |begin| &text[begin..]);
    let value: serde_json::Value = serde_json::from_str(json).map_err(io::Error::other)?;
    let bytes = value["jobs"][0]["write"]["bw_bytes"].as_f64();
    bytes
        .map(|bytes| bytes / 2.0)
        .ok_or_else(|| io::Error::other("fio reported no bandwidth"))
}
