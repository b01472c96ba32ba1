//! A profile and a placement → single steps: this file shall read so.

use std::path::{Path, PathBuf};

use plan::machine::{cpu_list, show_cpus};
use plan::profile::{IrqPlace, Queues};
use plan::{Placement, Profile, Shape};
use serde::{Deserialize, Serialize};

use crate::interrupts::{Owner, interrupts};
use crate::read;

/// One thing to set, and how it shall read afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The key of the profile that asks for it.
    pub key: String,
    /// Below the root.
    pub path: PathBuf,
    pub value: String,
    /// How the file's text is compared.
    pub compare: Compare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// The text is the value.
    Text,
    /// The value stands in brackets among others: `none [mq-deadline]`.
    Bracketed,
    /// Both are lists of CPUs; the kernel's may be a part of ours (`effective_affinity_list`), but no stranger.
    Cpus,
}

/// Everything that the profile tunes by writing files, for this machine.
pub fn steps(root: &Path, profile: &Profile, shape: &Shape, placed: &Placement) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |key: &str, path: String, value: String, compare: Compare| {
        steps.push(Step {
            key: key.to_owned(),
            path: path.into(),
            value,
            compare,
        });
    };
    if let Some(pages) = profile.memory.hugepages {
        let path = "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
        step(
            "memory.hugepages",
            path.into(),
            pages.to_string(),
            Compare::Text,
        );
    }
    for disk in shape.mail_disks() {
        let directory = format!("sys/block/{}", disk.name);
        if let Some(scheduler) = &profile.block.scheduler {
            let path = format!("{directory}/queue/scheduler");
            step(
                "block.scheduler",
                path,
                scheduler.clone(),
                Compare::Bracketed,
            );
        }
        if let Some(requests) = profile.block.requests {
            let path = format!("{directory}/queue/nr_requests");
            step("block.requests", path, requests.to_string(), Compare::Text);
        }
        // NVMe has its time-out in a parameter of the module; only SCSI's can be set for one disk.
        let path = format!("{directory}/device/timeout");
        if let Some(timeout) = profile.block.timeout
            && root.join(&path).exists()
        {
            step(
                "block.timeout",
                path,
                timeout.0.as_secs().to_string(),
                Compare::Text,
            );
        }
    }
    for cpu in &shape.cpus {
        let directory = format!("sys/devices/system/cpu/cpu{}", cpu.number);
        let path = format!("{directory}/cpufreq/scaling_governor");
        if let Some(governor) = &profile.cpu.governor
            && root.join(&path).exists()
        {
            step("cpu.governor", path, governor.clone(), Compare::Text);
        }
        if let Some(limit) = profile.cpu.idle_exit_us
            && placed.zone_cpus().contains(&cpu.number)
        {
            for state in read::names(&root.join(&directory).join("cpuidle")) {
                let state = format!("{directory}/cpuidle/{state}");
                let latency = read::number(&root.join(&state).join("latency"));
                if latency.is_some_and(|latency| latency > limit) {
                    step(
                        "cpu.idle_exit_us",
                        format!("{state}/disable"),
                        "1".into(),
                        Compare::Text,
                    );
                }
            }
        }
    }
    for irq in interrupts(root) {
        let (key, place) = match irq.of(shape) {
            Owner::Nic => ("irq.nic", profile.irq.nic),
            Owner::Disk => ("irq.disks", profile.irq.disks),
            Owner::Other => ("irq.others", profile.irq.others),
        };
        let Some(place) = place else { continue };
        let cpus = match place {
            IrqPlace::Housekeeping => placed.housekeeping.clone(),
            IrqPlace::Storage => placed.storage.clone(),
            // In turn, so that a card's queues spread over the zone.
            IrqPlace::Inbound => placed
                .inbound
                .get(irq.turn % placed.inbound.len().max(1))
                .copied()
                .into_iter()
                .collect(),
        };
        // A machine too small for housekeeping leaves its interrupts where they are.
        if !cpus.is_empty() {
            let path = format!("proc/irq/{}/smp_affinity_list", irq.number);
            step(key, path, show_cpus(&cpus), Compare::Cpus);
        }
    }
    steps
}

/// Queue pairs for a card, when the profile says a number.
pub fn nic_queues(profile: &Profile, placed: &Placement) -> Option<u64> {
    match profile.nic.queues? {
        Queues::Count(count) => Some(count),
        Queues::Inbound => Some(placed.inbound.len() as u64),
    }
}

/// The words that this machine's kernel should be started with.
pub fn command_line(profile: &Profile, placed: &Placement) -> Vec<String> {
    let mut words = Vec::new();
    let kernel = &profile.kernel;
    let zones = show_cpus(&placed.zone_cpus());
    // Where nothing could be set aside there is nothing to isolate from.
    if kernel.isolate && !placed.housekeeping.is_empty() && !zones.is_empty() {
        words.push(format!("isolcpus=managed_irq,domain,{zones}"));
        words.push(format!("nohz_full={zones}"));
        words.push(format!("rcu_nocbs={zones}"));
        words.push(format!("irqaffinity={}", show_cpus(&placed.housekeeping)));
    }
    if let Some(queues) = kernel.nvme_poll_queues {
        words.push(format!("nvme.poll_queues={queues}"));
    }
    words.extend(kernel.arguments.iter().cloned());
    words
}

/// Whether what was read is what was promised.
pub fn agrees(compare: Compare, promised: &str, found: &str) -> bool {
    match compare {
        Compare::Text => promised == found,
        Compare::Bracketed => {
            found == promised
                || found
                    .split_whitespace()
                    .any(|word| word == format!("[{promised}]"))
        }
        Compare::Cpus => match (cpu_list(promised), cpu_list(found)) {
            (Some(promised), Some(found)) => {
                !found.is_empty() && found.iter().all(|cpu| promised.contains(cpu))
            }
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use plan::Machine;
    use plan::place::place;

    use super::*;
    use crate::fixture::Fixture;
    use crate::probe;

    fn numa() -> (Fixture, Profile, Shape, Placement) {
        let (_, fixture) = Fixture::of_every_profile()
            .into_iter()
            .find(|(name, _)| *name == "qemu-numa")
            .expect("listed");
        let profile = Profile::built_in("qemu-numa").expect("ours");
        let shape = probe(fixture.root());
        let placed = place(&profile.zones, &Machine::whole(&shape)).expect("it fits");
        (fixture, profile, shape, placed)
    }

    #[test]
    fn the_command_line_follows_the_zones() {
        let (_fixture, profile, _, placed) = numa();
        assert_eq!(placed.housekeeping, [0]);
        assert_eq!(placed.storage, [4], "beside the disks");
        assert_eq!(
            command_line(&profile, &placed),
            [
                "isolcpus=managed_irq,domain,1-7",
                "nohz_full=1-7",
                "rcu_nocbs=1-7",
                "irqaffinity=0"
            ]
        );
    }

    #[test]
    fn a_cards_interrupts_go_beside_inbound_in_turn_and_others_to_housekeeping() {
        let (fixture, profile, shape, placed) = numa();
        let steps = steps(fixture.root(), &profile, &shape, &placed);
        let value = |path: &str| {
            let step = steps.iter().find(|step| step.path == Path::new(path));
            step.map(|step| step.value.as_str())
        };
        assert_eq!(value("proc/irq/9/smp_affinity_list"), Some("0"));
        assert_eq!(value("proc/irq/30/smp_affinity_list"), Some("1"));
        assert_eq!(value("proc/irq/31/smp_affinity_list"), Some("2"));
        assert_eq!(
            value("proc/irq/40/smp_affinity_list"),
            None,
            "the profile says nothing of disks"
        );
        assert_eq!(value("sys/block/nvme0n1/queue/scheduler"), Some("none"));
        assert_eq!(
            value("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"),
            Some("16")
        );
    }

    #[test]
    fn slow_idle_states_are_switched_off_on_the_zones_cpus_alone() {
        let (fixture, mut profile, shape, placed) = numa();
        profile.cpu.idle_exit_us = Some(20);
        let steps = steps(fixture.root(), &profile, &shape, &placed);
        let states: Vec<&Step> = steps
            .iter()
            .filter(|step| step.key == "cpu.idle_exit_us")
            .collect();
        assert_eq!(states.len(), 7, "{states:?}");
        assert!(
            states
                .iter()
                .all(|step| step.path.ends_with("state2/disable"))
        );
    }

    #[test]
    fn what_is_read_is_compared_as_the_kernel_writes_it() {
        assert!(agrees(Compare::Bracketed, "none", "[none] mq-deadline"));
        assert!(!agrees(Compare::Bracketed, "none", "none [mq-deadline]"));
        assert!(agrees(Compare::Cpus, "0-1", "1"));
        assert!(!agrees(Compare::Cpus, "0-1", "1-2"));
        assert!(!agrees(Compare::Cpus, "0-1", ""));
    }
}
