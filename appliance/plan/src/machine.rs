//! What the machine has: CPUs we may use, memory we may use.

use serde::{Deserialize, Serialize};

/// Memory and CPUs, as the kernel and the control group allow them to this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cpus: Vec<usize>,
    pub memory_bytes: u64,
}

impl Machine {
    /// Asks `/proc` and the control group. What cannot be read counts as one CPU and 1 GiB: small, never wrong upwards.
    pub fn here() -> Machine {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let total = meminfo_total(&meminfo).unwrap_or(1 << 30);
        Machine {
            cpus: allowed_cpus(&status).unwrap_or_else(|| vec![0]),
            memory_bytes: group_limit(&groups).map_or(total, |limit| limit.min(total)),
        }
    }
}

/// `Cpus_allowed_list: 0-3,8`, with a tab.
fn allowed_cpus(status: &str) -> Option<Vec<usize>> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        cpus.extend(first..=last.min(first + 4095));
    }
    (!cpus.is_empty()).then_some(cpus)
}

/// `MemTotal:       24000000 kB`.
fn meminfo_total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The tightest `memory.max` from our group up to the root (cgroup v2).
fn group_limit(groups: &str) -> Option<u64> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut group = std::path::PathBuf::from("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let mut tightest: Option<u64> = None;
    while group.starts_with("/sys/fs/cgroup") {
        let limit = std::fs::read_to_string(group.join("memory.max"))
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if let Some(limit) = limit {
            tightest = Some(tightest.map_or(limit, |before| before.min(limit)));
        }
        group.pop();
    }
    tightest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_and_memory_are_read_as_the_kernel_writes_them() {
        assert_eq!(
            allowed_cpus("Name:\tx\nCpus_allowed_list:\t0-2,7\n"),
            Some(vec![0, 1, 2, 7])
        );
        assert_eq!(allowed_cpus("Cpus_allowed_list:\t\n"), None);
        assert_eq!(
            meminfo_total("MemTotal:       24000000 kB\nMemFree: 1 kB\n"),
            Some(24_576_000_000)
        );
    }

    #[test]
    fn this_machine_has_something() {
        let machine = Machine::here();
        assert!(!machine.cpus.is_empty() && machine.memory_bytes > 0);
    }
}
