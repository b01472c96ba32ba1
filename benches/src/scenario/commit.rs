//! The commit path alone against fio: two files on the disk under measurement, O_DIRECT, dsync, the same block size,
//! alternately. What an engine could get at most from this disk is what fio gets.

use std::io;
use std::path::Path;
use std::process::Command;

use super::Setting;
use crate::figures::{Sheet, median};

/// A commit batch under load: a little over sixty messages of 10 KiB.
const BLOCK_BYTES: usize = 640 * 1_024;
const FILE_BYTES: u64 = 512 * 1_024 * 1_024;

pub fn compare(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    let seconds = setting.scaled(6, 2);
    let mut theirs = Vec::new();
    for _ in 0..setting.rounds {
        let directory = setting.fresh("commit")?;
        theirs.push(fio(&directory, seconds)?);
    }
    sheet.tell("fio.commit", median(&theirs), "MB/s/leg");
    Ok(())
}

/// MB per second and file: one writer per file, one write at a time, each durable before the next.
fn fio(directory: &Path, seconds: u64) -> io::Result<f64> {
    let output = Command::new("fio")
        .args([
            "--name=legs",
            "--rw=write",
            "--direct=1",
            "--sync=dsync",
            "--ioengine=io_uring",
            "--iodepth=1",
        ])
        .args([
            "--numjobs=2",
            "--group_reporting",
            "--time_based",
            "--overwrite=1",
            "--output-format=json",
        ])
        .arg(format!("--bs={BLOCK_BYTES}"))
        .arg(format!("--size={FILE_BYTES}"))
        .arg(format!("--runtime={seconds}"))
        .arg(format!("--directory={}", directory.display()))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let json = text.find('{').map_or("", |begin| &text[begin..]);
    let value: serde_json::Value = serde_json::from_str(json).map_err(io::Error::other)?;
    let bytes = value["jobs"][0]["write"]["bw_bytes"].as_f64();
    bytes
        .map(|bytes| bytes / 2.0 / 1e6)
        .ok_or_else(|| io::Error::other("fio said nothing of its bandwidth"))
}
