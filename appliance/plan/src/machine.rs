//! What the machine has: CPUs we may use, memory we may use.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::OPEN_FILES_WANTED;
use crate::shape::Shape;

/// Memory and CPUs, as the kernel and the control group allow them to this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cpus: Vec<usize>,
    pub memory_bytes: u64,
    /// Descriptors that this process may have.
    #[serde(default = "open_files_default")]
    pub open_files: u64,
    #[serde(default)]
    pub topology: Topology,
}

fn open_files_default() -> u64 {
    OPEN_FILES_WANTED
}

/// Where CPUs, disks and network cards sit. Empty: all on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// NUMA node of each CPU.
    pub nodes: BTreeMap<usize, usize>,
    /// CPUs that share their core with one of a lower number.
    pub second_threads: Vec<usize>,
    pub disk_node: Option<usize>,
    pub nic_node: Option<usize>,
    /// Some disk turns, or does not say that it does not.
    #[serde(default)]
    pub turning_disks: bool,
}

impl Topology {
    pub fn of(shape: &Shape) -> Topology {
        let cpus = shape.cpus.iter();
        Topology {
            nodes: cpus.clone().map(|cpu| (cpu.number, cpu.node)).collect(),
            second_threads: cpus
                .filter(|cpu| cpu.second_thread)
                .map(|cpu| cpu.number)
                .collect(),
            disk_node: shape.disk_node(),
            nic_node: shape.nic_node(),
            turning_disks: shape
                .disks
                .iter()
                .any(|disk| disk.rotational && !disk.removable),
        }
    }

    pub fn node_of(&self, cpu: usize) -> Option<usize> {
        self.nodes.get(&cpu).copied()
    }
}

impl Machine {
    /// This process's CPUs and memory on a machine of this shape.
    pub fn of(shape: &Shape) -> Machine {
        Machine {
            topology: Topology::of(shape),
            ..Machine::here()
        }
    }

    /// All of a machine that only its shape is known of: nothing else has a share in it.
    pub fn whole(shape: &Shape) -> Machine {
        Machine {
            cpus: shape.cpus.iter().map(|cpu| cpu.number).collect(),
            memory_bytes: shape.memory_bytes,
            open_files: OPEN_FILES_WANTED,
            topology: Topology::of(shape),
        }
    }

    /// Our CPUs, first threads of a core before second ones.
    pub fn in_order(&self) -> Vec<usize> {
        let mut cpus = self.cpus.clone();
        cpus.sort_by_key(|cpu| (self.topology.second_threads.contains(cpu), *cpu));
        cpus
    }

    /// Asks `/proc` and the control group. What cannot be read counts as one CPU and 1 GiB: small, never wrong upwards.
    pub fn here() -> Machine {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let isolated =
            std::fs::read_to_string("/sys/devices/system/cpu/isolated").unwrap_or_default();
        let total = meminfo_total(&meminfo).unwrap_or(1 << 30);
        Machine {
            cpus: with_isolated(allowed_cpus(&status), &isolated),
            memory_bytes: group_limit(&groups).map_or(total, |limit| limit.min(total)),
            // Asked for at the start, before this process looks at what it got.
            open_files: OPEN_FILES_WANTED,
            topology: Topology::default(),
        }
    }
}

/// `Cpus_allowed_list: 0-3,8`, with a tab.
fn allowed_cpus(status: &str) -> Option<Vec<usize>> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    cpu_list(list).filter(|cpus| !cpus.is_empty())
}

/// `0-3,8` as the kernel writes it; an empty list is one. `None`: not a list.
pub fn cpu_list(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        cpus.extend(first..=last.min(first.saturating_add(4095)));
    }
    Some(cpus)
}

/// CPUs as the kernel writes them: `0-3,8`.
pub fn show_cpus(cpus: &[usize]) -> String {
    let mut sorted = cpus.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for cpu in sorted {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => parts.push((cpu, cpu)),
        }
    }
    let shown: Vec<String> = parts
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            _ => format!("{first}-{last}"),
        })
        .collect();
    shown.join(",")
}

/// `isolcpus` takes CPUs out of every process's list so that nothing strays there; a thread that is pinned may go.
fn with_isolated(allowed: Option<Vec<usize>>, isolated: &str) -> Vec<usize> {
    let mut cpus = allowed.unwrap_or_else(|| vec![0]);
    cpus.extend(cpu_list(isolated).unwrap_or_default());
    cpus.sort_unstable();
    cpus.dedup();
    cpus
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
    fn isolated_cpus_may_be_pinned_to() {
        assert_eq!(with_isolated(Some(vec![0, 1]), "2-4\n"), [0, 1, 2, 3, 4]);
        assert_eq!(with_isolated(None, "\n"), [0]);
        assert_eq!(show_cpus(&[8, 0, 1, 2, 5]), "0-2,5,8");
    }

    #[test]
    fn this_machine_has_something() {
        let machine = Machine::here();
        assert!(!machine.cpus.is_empty() && machine.memory_bytes > 0);
    }
}
