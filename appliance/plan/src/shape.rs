//! What a machine is: the facts that profiles are matched against and zones are placed by. Found by `hardware`, plain data here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One machine, as its firmware and kernel describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// DMI `sys_vendor`; empty where there is none.
    pub vendor: String,
    /// DMI `product_name`.
    pub product: String,
    /// Online CPUs, by number.
    pub cpus: Vec<Cpu>,
    pub numa_nodes: usize,
    pub memory_bytes: u64,
    pub disks: Vec<Disk>,
    pub nics: Vec<Nic>,
    pub san: Vec<San>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    pub number: usize,
    pub node: usize,
    /// It shares its core with a CPU of a lower number.
    pub second_thread: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskClass {
    Nvme,
    Sata,
    /// SAS, Fibre Channel, iSCSI, USB: what speaks SCSI and is not SATA.
    Scsi,
    Virtio,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The kernel's name: `nvme0n1`. Changes between boots; never written into settings.
    pub name: String,
    pub class: DiskClass,
    pub node: Option<usize>,
    pub bytes: u64,
    /// Partitions make it a system disk, never a leg.
    pub partitions: usize,
    pub removable: bool,
    pub model: String,
    pub serial: String,
    /// Names under `/dev/disk/by-id` that stay the same.
    pub ids: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    pub name: String,
    pub driver: String,
    /// Receive queues in use.
    pub queues: usize,
    pub node: Option<usize>,
    pub mac: String,
    pub up: bool,
}

/// A way to disks that stand elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum San {
    /// A Fibre Channel port.
    Fc,
    /// An NVMe controller reached over TCP.
    NvmeTcp,
    Iscsi,
}

impl Shape {
    /// Disks that may hold mail: whole and unpartitioned, not to be pulled out.
    pub fn mail_disks(&self) -> impl Iterator<Item = &Disk> {
        self.disks
            .iter()
            .filter(|disk| disk.partitions == 0 && !disk.removable)
    }

    /// The NUMA node of most mail disks (`None`: they do not say, or there are none).
    pub fn disk_node(&self) -> Option<usize> {
        most(self.mail_disks().filter_map(|disk| disk.node))
    }

    /// The NUMA node of the network card with the most queues.
    pub fn nic_node(&self) -> Option<usize> {
        let with_node = self.nics.iter().filter(|nic| nic.node.is_some());
        with_node.max_by_key(|nic| nic.queues)?.node
    }
}

/// What occurs most often; the lowest of equals.
fn most(values: impl Iterator<Item = usize>) -> Option<usize> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let (value, _) = counts
        .into_iter()
        .max_by_key(|(value, count)| (*count, usize::MAX - value))?;
    Some(value)
}

impl DiskClass {
    pub fn name(self) -> &'static str {
        match self {
            DiskClass::Nvme => "nvme",
            DiskClass::Sata => "sata",
            DiskClass::Scsi => "scsi",
            DiskClass::Virtio => "virtio",
        }
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            San::Fc => "fc",
            San::NvmeTcp => "nvme-tcp",
            San::Iscsi => "iscsi",
        })
    }
}
