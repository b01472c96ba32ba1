//! The io_uring rings of a process, as the kernel describes them.

use std::path::Path;

use super::Row;
use crate::read;

/// A row for each ring: entries, whether a kernel thread polls it, files and buffers registered. Nothing of it is a profile's
/// promise; what is (`ring.flags`, buffers) the storage thread knows.
pub fn rings(root: &Path) -> Vec<Row> {
    let directory = root.join("proc/self/fd");
    let mut descriptors: Vec<usize> = read::names(&directory)
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    descriptors.sort_unstable();
    descriptors
        .into_iter()
        .filter(|fd| {
            let target = read::target_name(&directory.join(fd.to_string()));
            target.is_some_and(|target| target.contains("[io_uring]"))
        })
        .map(|fd| {
            let info = read::text(&root.join(format!("proc/self/fdinfo/{fd}"))).unwrap_or_default();
            Row::new(
                "ring",
                format!("descriptor {fd}"),
                "",
                "",
                described(&info),
                true,
            )
        })
        .collect()
}

/// `SqMask: 0xff`, `SqThread: -1`, `UserBufs: 16`, … in words.
fn described(info: &str) -> String {
    let value = |key: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
    };
    let entries = |key: &str| {
        let digits = value(key)?.strip_prefix("0x")?;
        Some(u64::from_str_radix(digits, 16).ok()? + 1)
    };
    let mut words = Vec::new();
    if let (Some(submit), Some(complete)) = (entries("SqMask"), entries("CqMask")) {
        words.push(format!("{submit} + {complete} entries"));
    }
    match value("SqThread") {
        Some("-1") => words.push("no polling thread".to_owned()),
        Some(thread) => words.push(format!("polled by thread {thread}")),
        None => {}
    }
    for (key, name) in [("UserFiles", "files"), ("UserBufs", "buffers")] {
        if let Some(count) = value(key) {
            words.push(format!("{count} {name} registered"));
        }
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_told_as_the_kernel_describes_it() {
        let info = "pos:\t0\nflags:\t02\nSqMask:\t0xff\nSqHead:\t7\nCqMask:\t0x1ff\nSqThread:\t-1\nSqThreadCpu:\t-1\nUserFiles:\t64\nUserBufs:\t128\n";
        assert_eq!(
            described(info),
            "256 + 512 entries, no polling thread, 64 files registered, 128 buffers registered"
        );
        assert_eq!(described(""), "");
    }
}
