//! `/sys` and `/proc` → `Shape`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use plan::Shape;
use plan::machine::cpu_list;
use plan::shape::{Cpu, Disk, DiskClass, Nic, San};

use crate::read;

/// Looks at the machine below `root` (`/`, or a tree of files in a test). What cannot be read is not there.
/// Nothing here fails. A machine without DMI, without NUMA or with a kernel that leaves a file out is a machine with less to go by, and a
/// profile that needs more than that does not fit it.
pub fn probe(root: &Path) -> Shape {
    let sys = root.join("sys");
    let dmi = |name: &str| read::text(&sys.join("class/dmi/id").join(name)).unwrap_or_default();
    Shape {
        vendor: dmi("sys_vendor"),
        product: dmi("product_name"),
        cpus: cpus(&sys),
        numa_nodes: nodes(&sys).len().max(1),
        memory_bytes: memory(root),
        disks: disks(root, &sys),
        nics: nics(&sys),
        san: san(&sys),
    }
}

fn nodes(sys: &Path) -> Vec<usize> {
    let names = read::names(&sys.join("devices/system/node"));
    names
        .iter()
        .filter_map(|name| read::numbered(name, "node"))
        .collect()
}

fn cpus(sys: &Path) -> Vec<Cpu> {
    let directory = sys.join("devices/system/cpu");
    let online = read::text(&directory.join("online")).and_then(|list| cpu_list(&list));
    let online = online.unwrap_or_else(|| vec![0]);
    let mut node_of = BTreeMap::new();
    for node in nodes(sys) {
        let list = sys.join(format!("devices/system/node/node{node}/cpulist"));
        for cpu in read::text(&list)
            .and_then(|list| cpu_list(&list))
            .unwrap_or_default()
        {
            node_of.insert(cpu, node);
        }
    }
    online
        .into_iter()
        .map(|number| {
            let siblings = directory.join(format!("cpu{number}/topology/thread_siblings_list"));
            // Of two threads of a core the one with the higher number is the second: pinning fills the first ones before it doubles up.
            let first = read::text(&siblings)
                .and_then(|list| cpu_list(&list))
                .and_then(|list| list.into_iter().min());
            Cpu {
                number,
                node: node_of.get(&number).copied().unwrap_or(0),
                second_thread: first.is_some_and(|first| first < number),
            }
        })
        .collect()
}

fn memory(root: &Path) -> u64 {
    let meminfo = read::text(&root.join("proc/meminfo")).unwrap_or_default();
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn disks(root: &Path, sys: &Path) -> Vec<Disk> {
    let ids = ids(root);
    let mut disks = Vec::new();
    for name in read::names(&sys.join("block")) {
        let directory = sys.join("block").join(&name);
        let device = directory.join("device");
        let Some(class) = class(&name, &device) else {
            continue;
        };
        // Sectors of 512 bytes, whatever the disk's own size.
        let bytes = read::number(&directory.join("size"))
            .unwrap_or(0)
            .saturating_mul(512);
        // An empty card reader, or a path of a SAN that is down.
        if bytes == 0 {
            continue;
        }
        let partitions = read::names(&directory)
            .iter()
            .filter(|part| directory.join(part).join("partition").exists())
            .count();
        let word = |file: &str| read::text(&device.join(file)).unwrap_or_default();
        let serial = read::text(&directory.join("serial")).unwrap_or_else(|| word("serial"));
        disks.push(Disk {
            class,
            node: device_node(&device),
            bytes,
            partitions,
            removable: read::number(&directory.join("removable")) == Some(1),
            // Unknown counts as rotating: the plan is then slower than it could be, and not faster than the disk.
            rotational: read::number(&directory.join("queue/rotational")) != Some(0),
            model: word("model"),
            serial,
            ids: ids.get(&name).cloned().unwrap_or_default(),
            name,
        });
    }
    disks
}

/// What kind of disk; `None`: loops, RAM disks, optical drives, device mapper.
fn class(name: &str, device: &Path) -> Option<DiskClass> {
    if name.starts_with("nvme") {
        // `nvme0c0n1` is one path of a disk that has several.
        return (!name.contains('c')).then_some(DiskClass::Nvme);
    }
    if name.starts_with("vd") {
        return Some(DiskClass::Virtio);
    }
    if !name.starts_with("sd") {
        return None;
    }
    let path = read::real(device);
    let ata = path
        .components()
        .any(|part| read::numbered(&part.as_os_str().to_string_lossy(), "ata").is_some());
    Some(if ata {
        DiskClass::Sata
    } else {
        DiskClass::Scsi
    })
}

/// The node of a device or of the nearest one above it that knows its node.
fn device_node(device: &Path) -> Option<usize> {
    let real = read::real(device);
    real.ancestors()
        // A disk hangs below its controller, and the controller below its PCI bridge; any of them may be the one that knows.
        .take_while(|above| !above.ends_with("sys/devices"))
        .find_map(|above| read::node(&above.join("numa_node")))
}

/// Stable names by kernel name: `/dev/disk/by-id` without the partitions' links.
fn ids(root: &Path) -> BTreeMap<String, Vec<String>> {
    let directory = root.join("dev/disk/by-id");
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in read::names(&directory) {
        if let Some(target) = read::target_name(&directory.join(&name)) {
            ids.entry(target).or_default().push(name);
        }
    }
    ids
}

fn nics(sys: &Path) -> Vec<Nic> {
    let directory = sys.join("class/net");
    let mut nics = Vec::new();
    for name in read::names(&directory) {
        let card = directory.join(&name);
        // A card has a device; bridges, bonds and the loopback have none.
        if !card.join("device").exists() {
            continue;
        }
        let queues = read::names(&card.join("queues"))
            .iter()
            .filter(|queue| queue.starts_with("rx-"))
            .count();
        nics.push(Nic {
            driver: driver(&card.join("device")),
            queues,
            node: device_node(&card.join("device")),
            mac: read::text(&card.join("address")).unwrap_or_default(),
            up: read::text(&card.join("operstate")).is_some_and(|state| state == "up"),
            name,
        });
    }
    nics
}

fn driver(device: &Path) -> String {
    read::target_name(&device.join("driver")).unwrap_or_default()
}

fn san(sys: &Path) -> Vec<San> {
    let mut san = Vec::new();
    if !read::names(&sys.join("class/fc_host")).is_empty() {
        san.push(San::Fc);
    }
    let controllers = sys.join("class/nvme");
    let over_tcp = |name: &String| {
        read::text(&controllers.join(name).join("transport")).is_some_and(|way| way == "tcp")
    };
    if read::names(&controllers).iter().any(over_tcp) {
        san.push(San::NvmeTcp);
    }
    if !read::names(&sys.join("class/iscsi_session")).is_empty() {
        san.push(San::Iscsi);
    }
    san
}

/// The words of the kernel's command line.
pub fn kernel_words(root: &Path) -> Vec<String> {
    let line = fs::read_to_string(root.join("proc/cmdline")).unwrap_or_default();
    line.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use plan::Profile;
    use plan::choose::choose;

    use super::*;
    use crate::fixture::{Fixture, Kind};

    #[test]
    fn a_machine_is_read_as_its_kernel_describes_it() {
        let fixture = Fixture::new()
            .dmi("QEMU", "Standard PC (Q35 + ICH9, 2009)")
            .cpus(4, 2)
            .memory(8 << 30)
            .disk(
                "nvme0n1",
                Kind::Nvme,
                1 << 30,
                Some(1),
                &["nvme-QEMU_leg-a"],
            )
            .disk("sda", Kind::Sata, 2 << 30, None, &["ata-X"])
            .disk("sdb", Kind::Scsi, 2 << 30, None, &[])
            .partitioned("vda", Kind::Virtio, 1 << 30)
            .disk("loop0", Kind::Virtio, 1 << 30, None, &[])
            .nic("eth0", "virtio_net", 4, Some(0));
        let shape = probe(fixture.root());
        assert_eq!(shape.vendor, "QEMU");
        assert_eq!(shape.cpus.len(), 4);
        assert_eq!((shape.cpus[3].node, shape.numa_nodes), (1, 2));
        assert_eq!(shape.memory_bytes, 8 << 30);
        let classes: Vec<(&str, DiskClass)> = shape
            .disks
            .iter()
            .map(|disk| (disk.name.as_str(), disk.class))
            .collect();
        assert_eq!(
            classes,
            [
                ("nvme0n1", DiskClass::Nvme),
                ("sda", DiskClass::Sata),
                ("sdb", DiskClass::Scsi),
                ("vda", DiskClass::Virtio)
            ]
        );
        assert_eq!(shape.disks[0].ids, ["nvme-QEMU_leg-a"]);
        assert_eq!(shape.disks[0].node, Some(1));
        assert_eq!(shape.mail_disks().count(), 3, "the partitioned one is none");
        let nic = &shape.nics[0];
        assert_eq!(
            (nic.driver.as_str(), nic.queues, nic.node),
            ("virtio_net", 4, Some(0))
        );
    }

    #[test]
    fn nothing_at_all_is_a_small_machine_and_no_panic() {
        let directory = tempfile::tempdir().expect("a directory");
        let shape = probe(directory.path());
        assert_eq!(shape.cpus.len(), 1);
        assert!(shape.disks.is_empty() && shape.nics.is_empty() && shape.san.is_empty());
    }

    /// Each shape gets the profile that was written for it.
    #[test]
    fn every_shape_finds_its_profile() {
        let profiles: Vec<Profile> = plan::profile::BUILT_IN
            .iter()
            .filter_map(|(name, _)| Profile::built_in(name))
            .collect();
        for (name, fixture) in Fixture::of_every_profile() {
            let choice = choose(&profiles, &probe(fixture.root()));
            assert_eq!(choice.name, name, "{:#?}", choice.verdicts);
        }
    }
}
