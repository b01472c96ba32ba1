//! Disks, and what is wrong with them.

use serde_json::{Value, json};

/// How a disk is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// Behind a root port of its own, so that it can be pulled and put back.
    Nvme,
    /// A virtio-blk device.
    Virtio,
    /// A disk on an AHCI controller.
    Sata,
    /// A virtio-scsi adapter with one disk that has a world-wide name: stands for a logical unit of a SAN.
    Scsi,
}

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// Node, device and serial number: `leg-a` becomes `/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_leg-a`.
    pub name: String,
    pub bus: Bus,
    pub bytes: u64,
    /// The NUMA node whose PCI expander it hangs on.
    pub node: Option<u32>,
    /// The firmware starts from disks in the order of these numbers; the disk `system.raw` has 1.
    pub start: Option<u32>,
    /// Injected from power-on; `Guest::inject` adds later ones.
    pub faults: Vec<Fault>,
    /// Every request is written down in `log_file`, so that a power cut can take what the disk's write cache held. Not together with
    /// `faults`.
    pub logged: bool,
}

/// A kind of request to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    Read,
    Write,
    Flush,
}

/// A blkdebug rule: this kind of request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind of request that fails.
    pub on: Io,
    /// What it fails with.
    pub errno: i32,
    /// Only requests that touch this sector of 512 bytes; all when `None`.
    pub sector: Option<u64>,
    /// Only the first such request.
    pub once: bool,
}

impl Disk {
    /// A disk without faults.
    pub fn new(name: &str, bus: Bus, bytes: u64) -> Disk {
        Disk {
            name: name.into(),
            bus,
            bytes,
            node: None,
            start: None,
            faults: Vec::new(),
            logged: false,
        }
    }

    /// Where the disk's bytes are, in the run's directory.
    pub fn file(&self) -> String {
        format!("{}.raw", self.name)
    }

    /// Where its requests are written down.
    pub fn log_file(&self) -> String {
        format!("{}.log", self.name)
    }

    /// The name under which udev shows it.
    pub fn by_id(&self) -> String {
        let prefix = match self.bus {
            Bus::Nvme => "nvme-QEMU_NVMe_Ctrl",
            Bus::Virtio => "virtio",
            Bus::Sata => "ata-QEMU_HARDDISK",
            Bus::Scsi => return format!("/dev/disk/by-id/wwn-{:#018x}", self.wwn()),
        };
        let between = if self.bus == Bus::Virtio { '-' } else { '_' };
        format!("/dev/disk/by-id/{prefix}{between}{}", self.name)
    }

    /// A world-wide name (NAA 5) made of the last letter: `leg-a` and `leg-b` are two logical units.
    fn wwn(&self) -> u64 {
        let last = self.name.bytes().last().unwrap_or(0);
        0x5000_c500_0000_0000 + u64::from(last)
    }

    /// The device as `device_add` and `-device` want it.
    pub fn device(&self) -> Value {
        let name = &self.name;
        match self.bus {
            Bus::Nvme => {
                json!({"driver": "nvme", "id": name, "serial": name, "drive": name, "bus": port_of(name)})
            }
            Bus::Virtio => {
                json!({"driver": "virtio-blk-pci", "id": name, "serial": name, "drive": name, "bus": port_of(name)})
            }
            Bus::Sata => {
                json!({"driver": "ide-hd", "id": name, "serial": name, "drive": name, "bus": format!("sata-{name}.0")})
            }
            Bus::Scsi => {
                json!({"driver": "scsi-hd", "id": name, "serial": name, "drive": name, "bus": format!("scsi-{name}.0"), "wwn": self.wwn()})
            }
        }
    }
}

/// The root port that the disk hangs on, so that it can be pulled.
pub(super) fn port_of(name: &str) -> String {
    format!("port-{name}")
}

impl Fault {
    /// Every request of this kind fails with EIO.
    pub fn always(on: Io) -> Fault {
        Fault {
            on,
            errno: EIO,
            sector: None,
            once: false,
        }
    }

    /// The rule as blkdebug wants it.
    fn rule(&self) -> Value {
        let kind = match self.on {
            Io::Read => "read",
            Io::Write => "write",
            Io::Flush => "flush",
        };
        let mut rule =
            json!({"event": "none", "iotype": kind, "errno": self.errno, "once": self.once});
        if let Some(sector) = self.sector {
            rule["sector"] = json!(sector);
        }
        rule
    }
}

/// The errno that disks give for a sector that cannot be read or written.
pub const EIO: i32 = 5;

/// A blkdebug node named `node` over the node `below`.
pub fn blkdebug(node: &str, below: &str, faults: &[Fault]) -> Value {
    let rules: Vec<Value> = faults.iter().map(Fault::rule).collect();
    json!({"driver": "blkdebug", "node-name": node, "image": below, "inject-error": rules})
}

/// A node named `node` that passes everything on to the node `below` and writes it down in the node `log`.
pub(super) fn log_node(node: &str, below: &str, log: &str) -> Value {
    json!({"driver": "blklogwrites", "node-name": node, "file": below, "log": log})
}

/// A node over a raw file, which keeps holes where the guest discards.
pub(super) fn file_node(node: &str, file: &str) -> Value {
    json!({"driver": "raw", "node-name": node, "discard": "unmap",
        "file": {"driver": "file", "filename": file, "discard": "unmap"}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_called_as_udev_calls_them() {
        assert_eq!(
            Disk::new("leg-a", Bus::Nvme, 1).by_id(),
            "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_leg-a"
        );
        assert_eq!(
            Disk::new("leg-a", Bus::Virtio, 1).by_id(),
            "/dev/disk/by-id/virtio-leg-a"
        );
        assert_eq!(
            Disk::new("leg-a", Bus::Sata, 1).by_id(),
            "/dev/disk/by-id/ata-QEMU_HARDDISK_leg-a"
        );
    }
}
