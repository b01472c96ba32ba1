//! Trees of files that stand for machines, in tests of this crate and of those that use it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory with `sys`, `proc` and `dev` of a machine that is not there; removed when dropped.
pub struct Fixture {
    /// The directory, below the system's temporary one.
    root: PathBuf,
}

/// How a disk is connected; by this its path below `sys/devices` differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PCI, with a controller of its own.
    Nvme,
    /// ATA, below a host adapter.
    Sata,
    /// SCSI, below a host adapter.
    Scsi,
    Virtio,
}

impl Default for Fixture {
    fn default() -> Fixture {
        Fixture::new()
    }
}

impl Fixture {
    /// A machine without anything.
    pub fn new() -> Fixture {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringpost-machine-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(&root).expect("a temporary directory");
        Fixture { root }
    }

    /// What stands for the root of the file system.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file below the root.
    pub fn file(self, path: &str, text: &str) -> Fixture {
        self.put(path, text);
        self
    }

    /// As `file`, by reference.
    fn put(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        let parent = path.parent().expect("below the root");
        fs::create_dir_all(parent).expect("our own directory");
        fs::write(path, text).expect("our own file");
    }

    /// A symbolic link, as the kernel has them from classes to devices.
    fn link(&self, path: &str, target: &str) {
        let path = self.root.join(path);
        let parent = path.parent().expect("below the root");
        fs::create_dir_all(parent).expect("our own directory");
        symlink(target, path).expect("our own link");
    }

    /// What the firmware says of the machine.
    pub fn dmi(self, vendor: &str, product: &str) -> Fixture {
        self.file("sys/class/dmi/id/sys_vendor", &format!("{vendor}\n"))
            .file("sys/class/dmi/id/product_name", &format!("{product}\n"))
    }

    /// CPUs in equal parts on `nodes` nodes, each a core of its own, at the governor "powersave".
    pub fn cpus(self, count: usize, nodes: usize) -> Fixture {
        let each = count / nodes;
        self.put(
            "sys/devices/system/cpu/online",
            &format!("0-{}\n", count - 1),
        );
        for cpu in 0..count {
            let directory = format!("sys/devices/system/cpu/cpu{cpu}");
            self.put(
                &format!("{directory}/topology/thread_siblings_list"),
                &format!("{cpu}\n"),
            );
            self.put(
                &format!("{directory}/cpufreq/scaling_governor"),
                "powersave\n",
            );
            for (state, latency) in [(0, 0), (1, 2), (2, 130)] {
                let state = format!("{directory}/cpuidle/state{state}");
                self.put(&format!("{state}/latency"), &format!("{latency}\n"));
                self.put(&format!("{state}/disable"), "0\n");
            }
        }
        for node in 0..nodes {
            let list = format!("{}-{}\n", node * each, (node + 1) * each - 1);
            self.put(
                &format!("sys/devices/system/node/node{node}/cpulist"),
                &list,
            );
        }
        self.file(
            "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
            "0\n",
        )
    }

    /// Memory in bytes.
    pub fn memory(self, bytes: u64) -> Fixture {
        self.file(
            "proc/meminfo",
            &format!("MemTotal:       {} kB\nMemFree: 1 kB\n", bytes / 1024),
        )
    }

    /// A disk with its size, the NUMA node of its slot, and its names below `dev/disk/by-id`.
    pub fn disk(
        self,
        name: &str,
        kind: Kind,
        bytes: u64,
        node: Option<usize>,
        ids: &[&str],
    ) -> Fixture {
        let bus = match kind {
            Kind::Nvme => format!("sys/devices/pci0/{name}-slot/nvme/{name}-ctl"),
            Kind::Sata => format!("sys/devices/pci0/{name}-slot/ata1/host0/{name}-dev"),
            Kind::Scsi => format!("sys/devices/pci0/{name}-slot/host0/{name}-dev"),
            Kind::Virtio => format!("sys/devices/pci0/{name}-slot/virtio0/{name}-dev"),
        };
        let block = format!("sys/block/{name}");
        self.put(
            &format!("sys/devices/pci0/{name}-slot/numa_node"),
            &node.map_or("-1\n".to_owned(), |node| format!("{node}\n")),
        );
        self.put(&format!("{bus}/model"), &format!("{name} model\n"));
        self.put(&format!("{bus}/serial"), &format!("{name}-serial\n"));
        if matches!(kind, Kind::Sata | Kind::Scsi) {
            self.put(&format!("{bus}/timeout"), "30\n");
        }
        self.link(&format!("{block}/device"), &format!("../../../{bus}"));
        self.put(&format!("{block}/size"), &format!("{}\n", bytes / 512));
        self.put(&format!("{block}/removable"), "0\n");
        self.put(
            &format!("{block}/queue/scheduler"),
            "[none] mq-deadline kyber\n",
        );
        self.put(&format!("{block}/queue/nr_requests"), "256\n");
        self.put(&format!("dev/{name}"), "");
        for id in ids {
            self.link(&format!("dev/disk/by-id/{id}"), &format!("../../{name}"));
        }
        self
    }

    /// A disk with one partition.
    pub fn partitioned(self, name: &str, kind: Kind, bytes: u64) -> Fixture {
        let part = format!("sys/block/{name}/{name}1/partition");
        self.disk(name, kind, bytes, None, &[]).file(&part, "1\n")
    }

    /// A network card with its receive queues and the NUMA node of its slot.
    pub fn nic(self, name: &str, driver: &str, queues: usize, node: Option<usize>) -> Fixture {
        let device = format!("sys/devices/pci0/{name}-slot");
        self.put(
            &format!("{device}/numa_node"),
            &node.map_or("-1\n".to_owned(), |node| format!("{node}\n")),
        );
        self.link(
            &format!("{device}/driver"),
            &format!("../../../bus/pci/drivers/{driver}"),
        );
        let card = format!("sys/class/net/{name}");
        self.link(&format!("{card}/device"), &format!("../../../../{device}"));
        for queue in 0..queues {
            self.put(&format!("{card}/queues/rx-{queue}/rps_cpus"), "0\n");
        }
        self.put(&format!("{card}/address"), "52:54:00:00:00:01\n");
        self.file(&format!("{card}/operstate"), "up\n")
    }

    /// An interrupt with the name of who asked for it, on every CPU.
    pub fn irq(self, number: u32, name: &str, cpus: usize) -> Fixture {
        self.put(
            &format!("proc/irq/{number}/smp_affinity_list"),
            &format!("0-{}\n", cpus - 1),
        );
        let path = self.root.join("proc/interrupts");
        let mut text = fs::read_to_string(&path).unwrap_or_else(|_| "  CPU0\n".into());
        text.push_str(&format!(" {number}:  0   IR-PCI-MSI 1-edge      {name}\n"));
        fs::write(path, text).expect("our own file");
        self
    }

    /// One machine for each of the program's profiles.
    pub fn of_every_profile() -> Vec<(&'static str, Fixture)> {
        let gib = 1 << 30;
        let q35 = "Standard PC (Q35 + ICH9, 2009)";
        let mut many = Fixture::new()
            .dmi("Maker", "Storage 2U")
            .cpus(64, 2)
            .memory(256 * gib)
            .nic("eth0", "mlx5_core", 63, Some(0));
        for drive in 0..24 {
            many = many.disk(
                &format!("nvme{drive}n1"),
                Kind::Nvme,
                gib,
                Some(1),
                &[&format!("nvme-drive-{drive}")],
            );
        }
        vec![
            (
                "generic",
                Fixture::new()
                    .dmi("Maker", "Desktop")
                    .cpus(4, 1)
                    .memory(8 * gib),
            ),
            (
                "qemu-small",
                Fixture::new()
                    .dmi("QEMU", q35)
                    .cpus(2, 1)
                    .memory(2 * gib)
                    .disk("vda", Kind::Virtio, gib, None, &["virtio-leg-a"])
                    .disk("vdb", Kind::Virtio, gib, None, &["virtio-leg-b"])
                    .partitioned("vdc", Kind::Virtio, gib)
                    .nic("eth0", "virtio_net", 1, None)
                    .irq(11, "virtio2-input.0", 2),
            ),
            (
                "qemu-numa",
                Fixture::new()
                    .dmi("QEMU", q35)
                    .cpus(8, 2)
                    .memory(4 * gib)
                    .disk("nvme0n1", Kind::Nvme, gib, Some(1), &["nvme-leg-a"])
                    .disk("nvme1n1", Kind::Nvme, gib, Some(1), &["nvme-leg-b"])
                    .nic("eth0", "virtio_net", 4, Some(0))
                    .irq(9, "acpi", 8)
                    .irq(30, "eth0-rx-0", 8)
                    .irq(31, "eth0-rx-1", 8)
                    .irq(40, "nvme0q0", 8),
            ),
            (
                "edge-branch",
                Fixture::new()
                    .dmi("Maker", "Branch")
                    .cpus(4, 1)
                    .memory(8 * gib)
                    .disk("sda", Kind::Sata, gib, None, &["ata-one"])
                    .disk("sdb", Kind::Sata, gib, None, &["ata-two"])
                    .nic("eth0", "igb", 4, None),
            ),
            (
                "rack-1u-dual-nvme",
                Fixture::new()
                    .dmi("Maker", "Server 1U")
                    .cpus(32, 1)
                    .memory(128 * gib)
                    .disk("nvme0n1", Kind::Nvme, gib, Some(0), &["nvme-one"])
                    .disk("nvme1n1", Kind::Nvme, gib, Some(0), &["nvme-two"])
                    .nic("eth0", "ice", 32, Some(0)),
            ),
            ("rack-2u-nvme-24", many),
            (
                "san-fc-head",
                Fixture::new()
                    .dmi("Maker", "Blade")
                    .cpus(16, 1)
                    .memory(64 * gib)
                    .disk("sda", Kind::Scsi, gib, None, &["wwn-one"])
                    .disk("sdb", Kind::Scsi, gib, None, &["wwn-two"])
                    .file("sys/class/fc_host/host1/port_state", "Online\n")
                    .nic("eth0", "bnx2x", 8, None),
            ),
            (
                "san-nvmetcp-head",
                Fixture::new()
                    .dmi("Maker", "Blade")
                    .cpus(4, 1)
                    .memory(16 * gib)
                    .disk("nvme0n1", Kind::Nvme, gib, None, &["nvme-uuid.one"])
                    .disk("nvme1n1", Kind::Nvme, gib, None, &["nvme-uuid.two"])
                    .file("sys/class/nvme/nvme0/transport", "tcp\n")
                    .nic("eth0", "ice", 4, None),
            ),
        ]
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
