//! What a machine is: the facts that profiles are matched against and zones are placed by. Found by `hardware`, plain data here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::CPUS_DESCRIBED_MAX;

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
    /// It turns, or does not say that it does not (virtual disks).
    #[serde(default)]
    pub rotational: bool,
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
    /// A machine in a few words, for those who plan for one that is not here: `cpus=32 nodes=2 disk_node=1 nic_node=0`. CPUs are
    /// cores without second threads, in equal parts on the nodes. `Err`: the word that is wrong.
    pub fn described(words: &str) -> Result<Shape, String> {
        let (mut cpus, mut nodes, mut disk_node, mut nic_node) = (1, 1, None, None);
        for word in words.split_whitespace() {
            let told = || {
                format!(
                    "`{word}`: write cpus=N nodes=N disk_node=N nic_node=N, with at most {CPUS_DESCRIBED_MAX} CPUs"
                )
            };
            let (name, number) = word.split_once('=').ok_or_else(told)?;
            let number: usize = number.parse().map_err(|_| told())?;
            match name {
                "cpus" if (1..=CPUS_DESCRIBED_MAX).contains(&number) => cpus = number,
                "nodes" if number > 0 => nodes = number,
                "disk_node" => disk_node = Some(number),
                "nic_node" => nic_node = Some(number),
                _ => return Err(told()),
            }
        }
        if cpus % nodes != 0 {
            return Err(format!(
                "{cpus} CPUs are not in equal parts on {nodes} nodes"
            ));
        }
        let each = cpus / nodes;
        Ok(Shape {
            cpus: (0..cpus)
                .map(|number| Cpu {
                    number,
                    node: number / each,
                    second_thread: false,
                })
                .collect(),
            numa_nodes: nodes,
            disks: vec![Disk {
                name: "nvme0n1".into(),
                class: DiskClass::Nvme,
                node: disk_node,
                bytes: 1,
                partitions: 0,
                removable: false,
                rotational: false,
                model: String::new(),
                serial: String::new(),
                ids: Vec::new(),
            }],
            nics: vec![Nic {
                name: "eth0".into(),
                driver: String::new(),
                queues: 1,
                node: nic_node,
                mac: String::new(),
                up: false,
            }],
            ..Shape::default()
        })
    }

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
