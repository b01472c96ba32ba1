//! What a server costs, read from `/proc`: CPU, bytes written, memory of a process and all its descendants, and the
//! counters of the disk under a path.
//!
//! Exited children are counted: the kernel adds a reaped child's CPU and I/O to its parent, which is in the tree.

use std::fs;
use std::ops::Sub;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Kernel ticks per second in `/proc/PID/stat`. USER_HZ has been 100 on every Linux we run on.
const TICKS_PER_SECOND: f64 = 100.0;
/// `/proc/diskstats` counts sectors of this size, whatever the disk's own is.
const SECTOR_BYTES: u64 = 512;

/// Counters of a process tree. Subtract two readings to get what lay between them.
#[derive(Debug, Default, Clone, Copy)]
pub struct Usage {
    /// CPU time in user and kernel mode, in seconds.
    pub cpu_s: f64,
    /// Bytes that were caused to be written to storage.
    pub written_bytes: u64,
}

/// Memory of a process tree at one moment.
#[derive(Debug, Default, Clone, Copy)]
pub struct Memory {
    /// Resident pages, shared ones counted for each process.
    pub resident_bytes: u64,
    /// Shared pages divided among their users: what several processes really cost.
    pub proportional_bytes: u64,
}

/// Counters of one disk since boot.
#[derive(Debug, Default, Clone, Copy)]
pub struct Disk {
    pub writes: u64,
    pub written_bytes: u64,
    pub flushes: u64,
}

impl Sub for Usage {
    type Output = Usage;
    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            cpu_s: (self.cpu_s - earlier.cpu_s).max(0.0),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
        }
    }
}

impl Sub for Disk {
    type Output = Disk;
    fn sub(self, earlier: Disk) -> Disk {
        Disk {
            writes: self.writes.saturating_sub(earlier.writes),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            flushes: self.flushes.saturating_sub(earlier.flushes),
        }
    }
}

/// The given processes and everything below them.
pub fn tree(roots: &[u32]) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if let Some(parent) = stat_fields(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut found: Vec<u32> = roots.to_vec();
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        next += 1;
        for (pid, _) in parents.iter().filter(|(_, its)| *its == parent) {
            if !found.contains(pid) {
                found.push(*pid);
            }
        }
    }
    found
}

/// CPU and bytes written of the tree under `roots`.
pub fn usage(roots: &[u32]) -> Usage {
    let mut usage = Usage::default();
    for pid in tree(roots) {
        if let Some(fields) = stat_fields(pid) {
            // utime, stime, cutime, cstime: fields 14 to 17 of stat, 12th to 15th after the name and state.
            let ticks: u64 = (11..15)
                .filter_map(|index| fields.get(index)?.parse::<u64>().ok())
                .sum();
            usage.cpu_s += ticks as f64 / TICKS_PER_SECOND;
        }
        usage.written_bytes += keyed(&format!("/proc/{pid}/io"), "write_bytes:");
    }
    usage
}

/// The sum over the tree under `roots`.
pub fn memory(roots: &[u32]) -> Memory {
    let mut memory = Memory::default();
    for pid in tree(roots) {
        let rollup = format!("/proc/{pid}/smaps_rollup");
        memory.resident_bytes += keyed(&rollup, "Rss:") * 1_024;
        memory.proportional_bytes += keyed(&rollup, "Pss:") * 1_024;
    }
    memory
}

/// Counters of the disk that holds `path`; zeros when the file system has no disk (tmpfs).
pub fn disk(path: &Path) -> Disk {
    let Ok(meta) = fs::metadata(path) else {
        return Disk::default();
    };
    let device = meta.dev();
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    let text = fs::read_to_string("/proc/diskstats").unwrap_or_default();
    disk_line(&text, major, minor).unwrap_or_default()
}

/// Kernel documentation, admin-guide/iostats: field 5 writes completed, 7 sectors written, 16 flushes (since 5.5).
fn disk_line(text: &str, major: u64, minor: u64) -> Option<Disk> {
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok());
        (number(0)? == major && number(1)? == minor).then_some(())?;
        Some(Disk {
            writes: number(7)?,
            written_bytes: number(9)? * SECTOR_BYTES,
            flushes: number(18).unwrap_or(0),
        })
    })
}

/// Fields of `/proc/PID/stat` after the name: state is 0, parent 1.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = text.rsplit_once(')')?;
    Some(after.split_whitespace().map(String::from).collect())
}

/// The number behind `key` in a file of `/proc`; 0 where it is missing.
fn keyed(path: &str, key: &str) -> u64 {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            line.strip_prefix(key)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_seen() {
        let own = std::process::id();
        assert!(tree(&[own]).contains(&own));
        assert!(memory(&[own]).resident_bytes > 0);
    }

    #[test]
    fn a_diskstats_line_is_read() {
        let line = " 254 0 vda 10 0 80 1 20 3 4096 5 0 6 7 0 0 0 0 8 9\n";
        let disk = disk_line(line, 254, 0).expect("the line is there");
        assert_eq!(
            (disk.writes, disk.written_bytes, disk.flushes),
            (20, 4096 * 512, 8)
        );
        assert!(disk_line(line, 8, 0).is_none());
    }
}
